"""Every case of the detection benchmark, on the state alone and against its baseline, through the real pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.findings.hits import RuleHits
from fleetscan.model.snapshot import Complete
from tests.tradecraft.scoring import Json, false_positives, missed, reports, violations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleetscan.findings.model import Assessment
    from fleetscan.model.rule import Rule
    from fleetscan.model.snapshot import HostResult
    from tests.tradecraft.pipeline import Bench

HOST = "host"


def states(bench: Bench, case: Json) -> tuple[HostResult, HostResult]:
    """What the agents returned at the baseline and at the sweep."""
    agents = case.get("agents", {})
    before = bench.state(
        case["base"],
        tuple(case.get("overlays", ())) if agents else tuple(case.get("baseline_overlays", ())),
        (),
        agents.get("baseline", ""),
    )
    after = bench.state(
        case["base"], tuple(case.get("overlays", ())), tuple(case.get("extra", ())), agents.get("current", "")
    )
    return before, after


def test_case(ruled_bench: Bench, rules: dict[str, Rule], case: Json, tmp_path: Path) -> None:
    before, after = states(ruled_bench, case)
    finder = RuleHits.of(rules.values())
    alone, compared = ruled_bench.assess([{HOST: before}, {HOST: after}], tmp_path / "s.db", find_hits=finder)
    problems = [*_problems(case, alone, compared=False), *_problems(case, compared, compared=True)]
    assert not problems, "\n".join(problems)


def _problems(case: Json, assessment: Assessment, *, compared: bool) -> Iterator[str]:
    found = reports(assessment, HOST)
    yield from violations(case, found)
    if case["kind"] in {"clean", "benign_drift"}:
        yield from false_positives(case, found)
        if not any(group.findings for group in assessment.stock):
            yield "stock rows with hits are lost, not folded"
    elif compared or not case["needs_baseline"]:
        yield from missed(case["expected"], found)
    if case["kind"] == "blindspot":
        yield from (f"called removed: {report}" for report in found if report.what == "removed")
        if assessment.is_complete and any(one.get("what") == "incomplete" for one in case["expected"]):
            yield "called complete, though something is hidden"


def test_the_clean_hosts_are_read_completely(ruled_bench: Bench) -> None:
    for clean in sorted((ruled_bench.folder / "clean").glob("*.reg")):
        result = ruled_bench.state(clean.stem)
        assert all(isinstance(scope.status, Complete) for scope in result.scopes), clean
        assert sum(len(scope.rows) for scope in result.scopes) > 300


def test_over_hives_nothing_hides_without_a_trace(ruled_bench: Bench, hidden_case: Json, tmp_path: Path) -> None:
    """Each thing that a reader of whole hives sees is reported at its severity, whatever it hides behind."""
    layers = tuple(hidden_case["overlays"]), tuple(hidden_case.get("extra", ()))
    result = ruled_bench.state(hidden_case["base"], *layers, offline=True)
    [assessment] = ruled_bench.assess([{HOST: result}], tmp_path / "s.db")
    problems = list(missed(hidden_case["expected_offline"], reports(assessment, HOST)))
    assert not problems, "\n".join(problems)
