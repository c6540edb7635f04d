"""The fleet scenario: two sweeps, and the summary that must come out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleetscan.model.finding import FindingState, Severity
from tests.tradecraft.pipeline import load_yaml
from tests.tradecraft.scoring import Json, named

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.findings.model import Assessment, Finding
    from fleetscan.model.snapshot import HostResult
    from tests.tradecraft.pipeline import Bench

SWEEPS = ("t0", "t1")


@pytest.fixture(scope="module")
def fleet(tradecraft_folder: Path) -> Json:
    return load_yaml(tradecraft_folder / "fleet.yml")


@pytest.fixture(scope="module")
def assessments(ruled_bench: Bench, fleet: Json, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Assessment]:
    """Both sweeps, the second compared with the first."""
    sweeps = [_hosts(ruled_bench, fleet, sweep) for sweep in SWEEPS]
    place = tmp_path_factory.mktemp("fleet")
    [first] = ruled_bench.assess(sweeps[:1], place / "first.db")
    _, second = ruled_bench.assess(sweeps, place / "both.db")
    return {"t0": first, "t1": second}


def _hosts(bench: Bench, fleet: Json, sweep: str) -> dict[str, HostResult]:
    found = {}
    for host in fleet["hosts"]:
        spec = host[sweep]
        if spec["status"] == "unreachable":
            found[host["name"]] = bench.unreachable(spec["reason"])
        elif spec["status"] == "reached":
            layers = tuple(spec.get("overlays", ())), tuple(spec.get("extra", ()))
            found[host["name"]] = bench.state(host["base"], *layers)
    return found


def _of(assessment: Assessment, expected: Json) -> list[Finding]:
    return [
        finding
        for finding in assessment.findings
        if finding.host == expected["host"] and named(expected["entity"], finding.entity)
    ]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_expected_finding_is_there(assessments: dict[str, Assessment], fleet: Json, sweep: str) -> None:
    expected = fleet["expected"][sweep]
    for part in ("findings", "new_findings", "incomplete", "persisting"):
        for one in expected.get(part, ()):
            [finding] = _of(assessments[sweep], one)
            assert finding.severity >= Severity[one["min_severity"].upper()], finding.title
            if part == "persisting":
                assert finding.state is FindingState.STILL_THERE
            elif part == "new_findings":
                assert finding.state is FindingState.NEW


@pytest.mark.parametrize("sweep", SWEEPS)
def test_hosts_without_finding_have_none(assessments: dict[str, Assessment], fleet: Json, sweep: str) -> None:
    quiet = set(fleet["expected"][sweep].get("no_finding_hosts", ()))
    loud = [
        (finding.host, finding.title)
        for finding in assessments[sweep].findings
        if finding.host in quiet
        and finding.severity >= Severity.MEDIUM
        and not finding.is_coverage
        and finding.state is not FindingState.GONE
    ]
    assert loud == []


@pytest.mark.parametrize("sweep", SWEEPS)
def test_what_is_on_many_hosts_is_low_and_counted(assessments: dict[str, Assessment], fleet: Json, sweep: str) -> None:
    assessment = assessments[sweep]
    for one in fleet["expected"][sweep].get("common", ()):
        findings = [
            finding
            for finding in assessment.findings
            if named(one["entity"], finding.entity) and finding.state is not FindingState.NOT_COMPARABLE
        ]
        assert len(findings) == one["hosts"]
        assert max(finding.severity for finding in findings) <= Severity[one["max_severity"].upper()]
        [line] = [line for line in assessment.prevalence if named(one["entity"], line.entity)]
        assert line.total.hosts == one["hosts"]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_what_is_rare_stands_out(assessments: dict[str, Assessment], fleet: Json, sweep: str) -> None:
    assessment = assessments[sweep]
    most = fleet["rare_threshold"]["hosts_at_most"]
    for one in fleet["expected"][sweep].get("rare", ()):
        [line] = [line for line in assessment.prevalence if named(one["entity"], line.entity)]
        assert line.total.hosts == one["hosts"] <= most
        before = [other for other in assessment.prevalence if other.total.hosts > most]
        assert assessment.prevalence.index(line) < assessment.prevalence.index(before[0])
        [finding] = _of(assessment, one)
        assert finding.severity >= Severity.MEDIUM
        assert finding.capped == ""


@pytest.mark.parametrize("sweep", SWEEPS)
def test_an_update_of_the_whole_fleet_is_one_line(assessments: dict[str, Assessment], fleet: Json, sweep: str) -> None:
    for one in fleet["expected"][sweep].get("fleet_wide_changes", ()):
        lines = [
            line
            for line in assessments[sweep].fleet_changes
            if any(named(entity, graded.change.entity) for graded in line.changes for entity in one["entities"])
        ]
        assert len(lines) == one["lines"]
        [line] = lines
        assert (line.present.hosts, line.present.of) == (one["hosts"], one["of"])
        assert len(line.changes) == len(one["entities"])
        assert line.severity <= Severity[one["max_severity"].upper()]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_what_was_not_seen_is_never_resolved(assessments: dict[str, Assessment], fleet: Json, sweep: str) -> None:
    expected, assessment = fleet["expected"][sweep], assessments[sweep]
    for one in expected.get("resolved", ()):
        assert [finding.state for finding in _of(assessment, one)] == [FindingState.GONE]
    silent = expected.get("not_comparable", {})
    for one in silent.get("findings_not_rechecked", ()):
        assert [finding.state for finding in _of(assessment, one)] == [FindingState.NOT_COMPARABLE]
    unreached = {gap.host for gap in assessment.gaps if gap.entity is None}
    assert unreached == set(silent.get("hosts_unreachable", ()))
    assert set(assessment.first_seen) == set(silent.get("first_seen", ()))
    assert set(assessment.no_longer_listed) == set(silent.get("no_longer_listed", ()))
    incomplete = {host.host for host in assessment.coverage if host.incomplete}
    assert incomplete == set(silent.get("partial_hosts", ())) | set(expected.get("unreachable", ()))
    assert not [change for change in assessment.changes if change.host in unreached]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_counts_and_exit_code(assessments: dict[str, Assessment], fleet: Json, sweep: str) -> None:
    expected, assessment = fleet["expected"][sweep], assessments[sweep]
    assert (assessment.hosts, assessment.reached) == (expected["hosts"], expected["reached"])
    assert assessment.exit_code == expected.get("exit_code", 1)
