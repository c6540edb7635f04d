"""One test a case, of every corpus folder below FLEETSCAN_CONFORMANCE, or of that folder itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]


def _root() -> Path:
    return Path(os.environ.get("FLEETSCAN_CONFORMANCE") or PROJECT.parent / "shared" / "conformance")


def _corpora(root: Path) -> list[Path]:
    if (root / "cases.jsonl").is_file():
        return [root]
    return sorted(path.parent for path in root.glob("*/cases.jsonl"))


def _cases(corpus: Path) -> Iterator[Any]:
    for line in (corpus / "cases.jsonl").read_text("utf-8").split("\n"):
        if line.strip():
            case = json.loads(line)
            yield pytest.param(corpus, case, id=f"{corpus.name}:{case['id']}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise with every case of every corpus; without a corpus the test is skipped with the reason."""
    if "case" in metafunc.fixturenames:
        cases = [case for corpus in _corpora(_root()) for case in _cases(corpus)]
        reason = f"no conformance corpus in {_root()}: set FLEETSCAN_CONFORMANCE to its folder"
        absent = [pytest.param(None, None, id="absent", marks=pytest.mark.skip(reason=reason))]
        metafunc.parametrize(("corpus", "case"), cases or absent)
