"""The three seed rules on every state of the benchmark: how many rows are certain, how many possible, and which."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from fleetscan.findings.hits import RuleHits
from fleetscan.model.registry import fold
from tests.tradecraft.pipeline import load_yaml
from tests.tradecraft.test_cases import states

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.findings.model import RuleHit
    from fleetscan.model.rule import Rule
    from fleetscan.model.snapshot import HostResult
    from tests.tradecraft.pipeline import Bench
    from tests.tradecraft.scoring import Json


def hits(result: HostResult, rules: dict[str, Rule]) -> dict[tuple[str, str, str, str], RuleHit]:
    """Every hit once, by rule name, key, value name and data."""
    names = {rule.id: name for name, rule in rules.items()}
    finder = RuleHits.of(rules.values())
    found = [hit for scope in result.scopes for hit in finder(scope.scope_id, scope.rows)]
    return {(names[hit.rule_id], fold(hit.row.key), fold(hit.row.name), hit.row.data): hit for hit in found}


def test_counts_of_a_state(ruled_bench: Bench, rules: dict[str, Rule], case: Json) -> None:
    before, after = states(ruled_bench, case)
    now, past = hits(after, rules), hits(before, rules)
    for name in rules:
        expected = case["seed_rules"][name]
        whole = Counter(str(hit.certainty) for key, hit in now.items() if key[0] == name)
        assert (whole["certain"], whole["possible"]) == (expected["certain"], expected["possible"]), name
        touched = {key: hit for key, hit in now.items() if key[0] == name and key not in past}
        listed = {(fold(row["key"]), fold(row["name"])): row["verdict"] for row in expected.get("touched", ())}
        if listed and "agents" not in case:
            shown = {(key[1], key[2]): str(hit.certainty) for key, hit in touched.items()}
            # A value rewritten in another spelling is touched for the benchmark, and equal once it is expanded.
            assert set(shown.items()) <= set(listed.items())
            assert {row for row in listed.items() if row not in shown.items()} <= _unchanged(now, past, name)


def _unchanged(
    now: dict[tuple[str, str, str, str], RuleHit], past: dict[tuple[str, str, str, str], RuleHit], name: str
) -> set[tuple[tuple[str, str], str]]:
    return {((key[1], key[2]), str(hit.certainty)) for key, hit in now.items() if key[0] == name and key in past}


def test_the_rows_of_the_benchmark_are_the_rows_that_match(
    ruled_bench: Bench, rules: dict[str, Rule], tradecraft_folder: Path
) -> None:
    cases = {case["id"]: case for case in load_yaml(tradecraft_folder / "cases.yml")["cases"]}
    lines = (tradecraft_folder / "seed_rows.jsonl").read_text(encoding="utf-8").splitlines()
    wanted = [json.loads(line) for line in lines]
    by_case: dict[str, set[tuple[str, str, str, str]]] = {}
    for case_id in {row["case"] for row in wanted}:
        _, after = states(ruled_bench, cases[case_id])
        by_case[case_id] = {(*key[:3], str(hit.certainty)) for key, hit in hits(after, rules).items()}
    offline = {row["case"] for row in wanted if cases[row["case"]].get("seed_rules_offline")}
    missing = [
        row
        for row in wanted
        if row["case"] not in offline
        and (row["rule"], fold(row["key"]), fold(row["name"]), row["verdict"]) not in by_case[row["case"]]
    ]
    assert missing == []
