"""What a sweep means once everything is judged: findings, changes, prevalence, coverage, use of approvals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fleetscan.errors import ExitCode
from fleetscan.findings.fingerprint import fingerprint
from fleetscan.model.finding import Certainty, FindingState, Severity, What

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetscan.baseline.approvals import Approval, ApprovalUse
    from fleetscan.baseline.grade import Graded
    from fleetscan.domain.entity import Entity
    from fleetscan.domain.verdicts import Verdict
    from fleetscan.model.host import HostId
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.snapshot import Status

REPORTED = Severity.LOW
"""Findings from this severity on count for the exit code; what is below is explained, not reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleHit:
    """A rule's judgement on one row. ``excuse`` says in words what would excuse a possible hit."""

    rule_id: str
    title: str
    severity: Severity
    certainty: Certainty
    row: RegistryRow
    excuse: str = ""
    scope_id: str = ""
    techniques: tuple[str, ...] = ()
    change: str = ""
    """``added`` or ``modified`` since the baseline, or both where nobody can say; empty if not judged as that."""

    @property
    def told(self) -> str:
        """Rule, certainty and change in a few words."""
        return f"{self.title} ({self.certainty}{f', {self.change} since the baseline' if self.change else ''})"


@dataclass(frozen=True, slots=True)
class Prevalence:
    """On how many hosts of a group an entity was seen exactly so; ``build`` empty: the whole fleet."""

    hosts: int
    of: int
    build: str = ""

    def __str__(self) -> str:
        """``1 of 4000`` with the build, if it is one build."""
        return f"{self.hosts} of {self.of}" + (f" on {self.build}" if self.build else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One matter on one host with all that speaks for it: verdict, rules, change. One line in every report."""

    fingerprint: str
    """Stable over sweeps: of host, kind and identity, never of attributes."""
    host: HostId
    entity: Entity
    verdict: Verdict
    severity: Severity
    certainty: Certainty
    what: What
    why: tuple[str, ...]
    """Sentences, the weightiest first."""
    state: FindingState = FindingState.NO_BASELINE
    hits: tuple[RuleHit, ...] = ()
    change: Graded | None = None
    prevalence: Prevalence | None = None
    capped: str = ""
    """Why the severity is lower than its evidence alone would make it; empty if it is not."""
    approval: Approval | None = None

    @property
    def title(self) -> str:
        """What and where, in one line."""
        return f"{self.what.replace('_', ' ')}: {self.entity.label}"

    @property
    def is_stock(self) -> bool:
        """Known good, or likely stock: folded on the console, kept everywhere else."""
        return self.verdict.is_fine and self.severity is Severity.INFO

    @property
    def is_capped(self) -> bool:
        """Is the severity lower than its evidence alone would make it?"""
        return bool(self.capped)

    @property
    def is_coverage(self) -> bool:
        """Does it say what was not seen, rather than what was found?"""
        return self.what in {What.INCOMPLETE, What.NOT_OBSERVED, What.OBSERVED}

    @property
    def is_open(self) -> bool:
        """Does somebody have to look at it?"""
        closed = {FindingState.APPROVED, FindingState.GONE, FindingState.NOT_COMPARABLE}
        return self.severity >= REPORTED and self.state not in closed


@dataclass(frozen=True, slots=True, kw_only=True)
class HostChange:
    """A graded change on one host."""

    host: HostId
    graded: Graded
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetChange:
    """The same changes on many hosts at once, as an update makes them: one line."""

    changes: tuple[Graded, ...]
    hosts: tuple[HostId, ...]
    of: int
    """Hosts of the same build that were compared."""
    present: Prevalence
    """Hosts of the build that are so now, those without a past included where a census was taken."""
    build: str
    severity: Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What could not be compared: a host, or an entity of a host."""

    host: HostId
    reason: str
    entity: Entity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StockGroup:
    """Hosts that share the same known-good rows with rule hits; their findings are written once, for the first host."""

    hosts: tuple[HostId, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class PrevalenceLine:
    """An entity with its attributes over the fleet; ``builds`` by OS build, ``new_on`` hosts that have it new."""

    entity: Entity
    verdict: Verdict
    total: Prevalence
    builds: tuple[Prevalence, ...]
    new_on: int = 0


@dataclass(frozen=True, slots=True)
class HostCoverage:
    """What one host gave, by scope id; ``incomplete`` names entities and areas that were not seen whole."""

    host: HostId
    scopes: tuple[tuple[str, Status], ...]
    incomplete: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """Everything that reports print of one sweep. ``findings`` are ordered: severity, rare first, host."""

    sweep: str
    baseline: str = ""
    findings: tuple[Finding, ...] = ()
    stock: tuple[StockGroup, ...] = ()
    changes: tuple[HostChange, ...] = ()
    fleet_changes: tuple[FleetChange, ...] = ()
    gaps: tuple[Gap, ...] = ()
    first_seen: tuple[HostId, ...] = ()
    no_longer_listed: tuple[HostId, ...] = ()
    coverage: tuple[HostCoverage, ...] = ()
    prevalence: tuple[PrevalenceLine, ...] = ()
    approvals: tuple[ApprovalUse, ...] = ()
    hosts: int = 0
    reached: int = 0

    @property
    def is_complete(self) -> bool:
        """Is everything covered on every host?"""
        return not any(host.incomplete for host in self.coverage)

    @property
    def exit_code(self) -> ExitCode:
        """Findings go before gaps; only a complete sweep without findings is clean."""
        if any(finding.is_open and not finding.is_coverage for finding in self.findings):
            return ExitCode.FINDINGS
        return ExitCode.CLEAN if self.is_complete else ExitCode.INCOMPLETE

    def all_findings(self) -> Iterator[Finding]:
        """Findings and known-good rows of every host, as the CSV and the store hold them."""
        yield from self.findings
        for group in self.stock:
            for host in group.hosts:
                for finding in group.findings:
                    yield replace(finding, host=host, fingerprint=fingerprint(host, finding.entity.ident))
