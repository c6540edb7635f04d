"""The benchmark as fixtures and as parameters: one test for every case of whatever set the folder holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import corpus_folder
from tests.tradecraft.pipeline import Bench, load_yaml


@pytest.fixture(scope="session")
def bench(tradecraft_folder: Path) -> Bench:
    """The benchmark's folder with the plan."""
    return Bench(tradecraft_folder)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``case`` runs over all cases of ``cases.yml``; without the benchmark one skipped test says why."""
    if "case" in metafunc.fixturenames:
        folder = corpus_folder("tradecraft")
        if folder is None:
            skip = pytest.mark.skip(reason="corpus 'tradecraft' is absent: set FLEETSCAN_TRADECRAFT to its folder")
            metafunc.parametrize("case", [pytest.param({}, marks=skip, id="absent")])
        else:
            cases = load_yaml(folder / "cases.yml")["cases"]
            metafunc.parametrize("case", cases, ids=[case["id"] for case in cases])
