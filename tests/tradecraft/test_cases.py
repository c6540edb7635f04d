"""Every case of the detection benchmark, on the state alone and against its baseline, through the real pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleetscan.model.snapshot import Complete
from tests.tradecraft.scoring import Json, false_positives, missed, reports, violations

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize("with_baseline", [False, True], ids=["state", "baseline"])
def test_case(bench: Bench, case: Json, tmp_path: Path, *, with_baseline: bool) -> None:
    before, after = states(bench, case)
    sweeps = [{HOST: before}, {HOST: after}] if with_baseline else [{HOST: after}]
    assessment = bench.assess(sweeps, tmp_path / "store.db")[-1]
    found = reports(assessment, HOST)
    problems = list(violations(case, found))
    if case["kind"] in {"clean", "benign_drift"}:
        problems += false_positives(case, found)
    elif with_baseline or not case["needs_baseline"]:
        problems += missed(case["expected"], found)
    if case["kind"] == "blindspot":
        problems += [f"called removed: {report}" for report in found if report.what == "removed"]
        gaps = [one for one in case["expected"] if one["what"] == "incomplete"]
        if gaps and assessment.is_complete:
            problems.append(f"called complete, though hidden: {gaps}")
    assert not problems, "\n".join(problems)


def test_the_clean_hosts_are_read_completely(bench: Bench) -> None:
    for clean in sorted((bench.folder / "clean").glob("*.reg")):
        result = bench.state(clean.stem)
        assert all(isinstance(scope.status, Complete) for scope in result.scopes), clean
        assert sum(len(scope.rows) for scope in result.scopes) > 300
