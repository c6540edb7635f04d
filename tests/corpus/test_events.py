"""Every recorded event of the corpus, as the row it leaves behind, gets the verdict and the words expected of it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest

from fleetscan.evaluate import compile_rules, judge, judge_rows, removed_subject
from fleetscan.model.registry import RegistryRow
from fleetscan.rules.load import load_rules
from tests.conftest import corpus_folder

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.evaluate import CompiledRules
    from fleetscan.model.rule import Rule


def _cases() -> list[dict[str, Any]]:
    folder = corpus_folder("corpus")
    file = folder / "events" / "expected.json" if folder else None
    if file is None or not file.is_file():
        return []
    cases: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))["cases"]
    return cases


@lru_cache(maxsize=1)
def _rules(folder: Path) -> dict[str, Rule]:
    return {rule.id: rule for rule in load_rules([folder / "sigma"]).rules}


@lru_cache(maxsize=1)
def _compiled(folder: Path) -> CompiledRules:
    return compile_rules(_rules(folder).values())


def _row(case: dict[str, Any]) -> RegistryRow:
    row = case["row"]
    return RegistryRow(row["key"], row["name"], row["type"] or "", row["data"] or "", row["path"])


@pytest.mark.parametrize("case", _cases(), ids=lambda case: f"{case['events_file']}-{case['index']}")
def test_event_is_judged_as_expected(case: dict[str, Any], corpus_folder_of_rules: Path) -> None:
    rule, row = _rules(corpus_folder_of_rules)[case["rule_id"]], _row(case)
    removed = case["mode"] == "diff-removed"
    judgement = judge(rule, row, subject=removed_subject(row) if removed else None)
    found = (judgement.certainty, judgement.qualifier, judgement.residual_text)
    assert found == (case["verdict"], case["qualifier"], case["residual"])
    assert judgement.matches


@pytest.mark.parametrize("case", _cases(), ids=lambda case: f"{case['events_file']}-{case['index']}")
def test_event_is_found_among_all_rules_at_once(case: dict[str, Any], corpus_folder_of_rules: Path) -> None:
    removed = case["mode"] == "diff-removed"
    found = judge_rows(_compiled(corpus_folder_of_rules), [_row(case)], removed=removed)
    assert case["verdict"] in {judgement.certainty for judgement in found if judgement.rule.id == case["rule_id"]}
