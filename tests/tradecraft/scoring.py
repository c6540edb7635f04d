"""The benchmark's own scoring rules (its README), applied to assessments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleetscan.model.finding import FindingState, Severity
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetscan.domain.entity import Entity
    from fleetscan.findings.model import Assessment

Json = dict[str, Any]
_NOT_IDENTITY = frozenset({"kind", "what", "min_severity", "max_severity", "detail", "alt"})
_STRICT = frozenset({"incomplete", "removed", "not_observed"})
_CLOSED = frozenset({FindingState.GONE, FindingState.NOT_COMPARABLE})


@dataclass(frozen=True)
class Report:
    """One statement about one entity of one host."""

    entity: Entity
    what: str
    severity: Severity
    is_change: bool
    why: str

    def __str__(self) -> str:
        """For failure messages."""
        return f"{self.severity} {self.what} {self.entity.label}: {self.why}"


def reports(assessment: Assessment, host: str) -> list[Report]:
    """Everything an assessment says about a host."""
    found = []
    for finding in assessment.findings:
        if finding.host == host and finding.state not in _CLOSED:
            why = "; ".join(finding.why)
            is_change = finding.change is not None and finding.verdict.is_fine
            found.append(Report(finding.entity, finding.what, finding.severity, is_change, why))
    for change in assessment.changes:
        if change.host == host:
            graded = change.graded
            found.append(Report(graded.change.entity, graded.what, graded.severity, is_change=True, why=graded.why))
    return found


def named(spec: Json, entity: Entity) -> bool:
    """Does the entity have the identity of the specification? Left-out fields are wildcards."""
    if spec["kind"] != entity.kind:
        return False
    wanted = {name: value for name, value in spec.items() if name not in _NOT_IDENTITY}
    if entity.kind == "sip" and "encoding" not in wanted and entity.get("encoding"):
        return False  # a set under another encoding is another entity
    return all(fold(entity.get(name)) == fold(_text(value)) for name, value in wanted.items())


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _specs(expected: Json) -> list[Json]:
    return [expected, *({**alternative} for alternative in expected.get("alt", ()))]


def _is_expected(entity: Entity, case: Json) -> bool:
    return any(named(spec, entity) for expected in case["expected"] for spec in _specs(expected))


def missed(expected: Iterable[Json], found: list[Report]) -> Iterator[str]:
    """Expected entities that are not reported at or above their minimum severity."""
    for one in expected:
        least = Severity[one.get("min_severity", "info").upper()]
        hits = [report for report in found if any(named(spec, report.entity) for spec in _specs(one))]
        good = [
            hit for hit in hits if hit.severity >= least and (one.get("what") not in _STRICT or hit.what == one["what"])
        ]
        if not good:
            yield f"missed {one}; reported: {[str(hit) for hit in hits]}"


def false_positives(case: Json, found: list[Report]) -> Iterator[str]:
    """On clean and benign cases: unexpected entities from medium on, and expected ones above their maximum."""
    for report in found:
        if report.severity >= Severity.MEDIUM and not _is_expected(report.entity, case):
            yield f"false positive {report}"
        for one in case["expected"]:
            most = Severity[one.get("max_severity", "critical").upper()]
            if report.severity > most and any(named(spec, report.entity) for spec in _specs(one)):
                yield f"above {most}: {report}"


def violations(case: Json, found: list[Report]) -> Iterator[str]:
    """Entities that must not be reported: as a change from low on, as a state finding from medium on."""
    for report in found:
        least = Severity.LOW if report.is_change else Severity.MEDIUM
        if report.severity < least or _is_expected(report.entity, case):
            continue
        for absent in case["expected_absent"]:
            if named(absent, report.entity) and absent.get("what", report.what) == report.what:
                yield f"violation of {absent}: {report}"
