"""Every rule of the corpus loads, or is refused with a code, and reaches what its manifest says it reaches."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest

from fleetscan.model.rule import MessageLevel
from fleetscan.rules.load import load_rules
from fleetscan.rules.reach import best_verdict
from tests.conftest import corpus_folder

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.model.rule import Message, Rule


def _entries() -> list[dict[str, Any]]:
    folder = corpus_folder("corpus")
    if folder is None:
        return []
    entries: list[dict[str, Any]] = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    return entries


@lru_cache(maxsize=1)
def _loaded(folder: Path) -> tuple[dict[str, Rule], dict[str, list[Message]]]:
    """Rules and refusals by file."""
    report = load_rules([folder])
    refused: dict[str, list[Message]] = {}
    for problem in report.problems:
        refused.setdefault(problem.where.name, []).append(problem)
    return {rule.where.name: rule for rule in report.rules}, refused


@pytest.mark.parametrize("entry", _entries(), ids=lambda entry: entry["file"].rpartition("/")[2])
def test_rule_is_what_the_manifest_expects(entry: dict[str, Any], corpus_folder_of_rules: Path) -> None:
    rules, refused = _loaded(corpus_folder_of_rules)
    file, expect = str(corpus_folder_of_rules / entry["file"]), entry["expect"]
    if not expect["loads"]:
        assert {problem.code for problem in refused[file]} & set(expect["codes"])
        assert all(problem.level is MessageLevel.ERROR and problem.where.line for problem in refused[file])
        return
    rule = rules[file]
    assert rule.id == entry["id"]
    assert rule.kind == expect["kind"]
    assert str(rule.dialect) == expect["language"]
    assert set(expect["codes"]) <= set(rule.codes)
    if expect.get("evidence"):
        assert rule.evidence == expect["evidence"]
    if expect["best_verdict"]:
        # The manifest reads "process.name != null" as one more unknown; K1 decides it, for every event has a process.
        assert expect["best_verdict"] in {best_verdict(rule), best_verdict(rule, decide_guards=False)}


def test_no_rule_is_left_without_answer_or_code(corpus_folder_of_rules: Path) -> None:
    rules, refused = _loaded(corpus_folder_of_rules)
    files = {
        str(path) for path in corpus_folder_of_rules.rglob("*") if path.suffix in {".yml", ".toml"} and path.is_file()
    }
    assert files == rules.keys() | refused.keys()
    assert all(problem.code for problems in refused.values() for problem in problems)


def test_each_rule_carries_who_wrote_it(corpus_folder_of_rules: Path) -> None:
    rules, _ = _loaded(corpus_folder_of_rules)
    assert [rule.where for rule in rules.values() if not rule.author or not rule.title] == []
