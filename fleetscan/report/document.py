"""The report document: everything any format may print of one sweep, as frozen values that know no store and no host.

Judgements are those of ``findings.model``, as they are; this adds what was asked, what is covered, and the way from a
row back to the query and the host's raw answer. All texts are raw, as the host gave them: a renderer escapes for its
own reader (``report.escape``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from fleetscan.findings.model import REPORTED
from fleetscan.model.finding import FindingState, Severity, VerdictKind
from fleetscan.model.snapshot import jump_of
from fleetscan.planner.sql import area

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from fleetscan.baseline.approvals import Approval
    from fleetscan.baseline.diff import AttributeChange
    from fleetscan.baseline.grade import Graded
    from fleetscan.domain.entity import Entity, Ident
    from fleetscan.findings.model import Assessment, Finding, RuleHit
    from fleetscan.model.finding import Certainty
    from fleetscan.model.registry import RegistryRow

Pairs = tuple[tuple[str, str], ...]
"""Names and values in the order in which they are shown."""

NOT_COMPARABLE = "not comparable"


class Covered(StrEnum):
    """What one host can say about one rule, or what it gave for one scope."""

    CLEAN = "proven clean"
    FINDING = "finding"
    COMPLETE = "complete"
    PARTIAL = "partial"
    UNREACHABLE = "unreachable"
    NOT_COVERED = "not covered"
    NOT_ANSWERABLE = "not answerable"  # the host has no such table; nobody could ask it there


PROVEN = frozenset({Covered.CLEAN, Covered.FINDING, Covered.COMPLETE, Covered.NOT_ANSWERABLE})
"""Statuses that leave nothing open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInfo:
    """A rule of the sweep as reports speak of it."""

    id: str
    title: str
    severity: Severity
    dialect: str = ""
    label: str = ""
    """How state can answer it: exact, complete, complete under assumptions, partial or unplannable."""
    scope_ids: tuple[str, ...] = ()
    needs_baseline: bool = False
    """It speaks of what disappeared; without a baseline it says nothing."""
    techniques: tuple[str, ...] = ()
    description: str = ""
    guidance: str = ""
    """Triage and response, Markdown, shown as text."""
    false_positives: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    author: str = ""
    license: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class StatementInfo:
    """A statement that was sent to hosts."""

    id: str
    sql: str


@dataclass(frozen=True, slots=True)
class ScopeInfo:
    """A scope of the plan, with its canonical text."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class RawHash:
    """The hash of a host's raw answer to a statement; the store keeps the bytes under it."""

    statement_id: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepInfo:
    """What was asked, when, with which rules; the hashes tie the report to the store."""

    id: str
    started: datetime
    finished: datetime
    plan: str = ""
    rules: str = ""
    seal: str = ""
    previous: str = ""
    baseline: str = ""
    inventory: str = ""
    """Inventory file, or folder of hives; empty where it is not known."""
    store: str = ""
    """Where the sweep is kept, as it was named on the command line; empty for the usual place."""
    version: str = ""
    generated: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One row that speaks for a finding, with the way back: rule, row, statements, hashes of the host's raw answers."""

    source: str
    """Who says so: a rule id, ``known good`` or ``baseline``."""
    reason: str = ""
    rule_id: str = ""
    severity: Severity = Severity.INFO
    certainty: Certainty | None = None
    excuse: str = ""
    """What would excuse a possible hit, in words."""
    key: str = ""
    value: str = ""
    type: str = ""
    data: str = ""
    mtime: int = 0
    scope_id: str = ""
    raw: tuple[RawHash, ...] = ()
    """The answer that holds the row; several where it is not known which of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One difference on one host, or the same on many: added, removed, modified, replaced or not comparable."""

    hosts: tuple[str, ...]
    of: int = 0
    """Hosts of the same build that were compared, where it speaks of many."""
    what: str
    entity: Entity | None
    attributes: tuple[AttributeChange, ...] = ()
    severity: Severity = Severity.INFO
    finding: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCoverage:
    """What one host can say about one rule."""

    rule_id: str
    status: Covered
    reason: str = ""
    detail: str = ""
    findings: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeCoverage:
    """What one host gave for one scope."""

    scope_id: str
    status: Covered
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """One host: facts, and coverage by rule and by scope. Hosts with equal coverage share the tuples."""

    name: str
    groups: tuple[str, ...] = ()
    facts: Pairs = ()
    """Names ``os``, ``version``, ``build``, ``arch``, ``osquery``, ``hostname``, ``account`` and ``limits`` (of the
    account that asked); empty ones left out.
    """
    rules: tuple[RuleCoverage, ...] = ()
    scopes: tuple[ScopeCoverage, ...] = ()
    incomplete: tuple[str, ...] = ()
    """Entities and areas that were not seen whole, in words."""
    blind_spots: tuple[tuple[str, str, str], ...] = ()
    """Kind, key, what is hidden."""
    finished: datetime | None = None

    @property
    def unreachable(self) -> str:
        """Why nothing of the host is covered; empty when something is."""
        if not self.scopes or any(scope.status is not Covered.UNREACHABLE for scope in self.scopes):
            return ""
        return self.scopes[0].reason or Covered.UNREACHABLE

    @property
    def jump(self) -> str:
        """The jump host that let nobody through to this host; empty for none."""
        return jump_of(self.scopes[0].detail)[0] if self.unreachable and self.scopes else ""

    @property
    def is_complete(self) -> bool:
        """Is everything that was asked of the host covered?"""
        return not self.incomplete and all(scope.status in PROVEN for scope in self.scopes)

    @property
    def state(self) -> Covered:
        """Complete, partial or unreachable as a whole."""
        if self.unreachable:
            return Covered.UNREACHABLE
        return Covered.COMPLETE if self.is_complete else Covered.PARTIAL

    @property
    def build(self) -> str:
        """The build of its operating system."""
        return self._fact("build")

    @property
    def limits(self) -> str:
        """What the account that asked could not see, in words."""
        return self._fact("limits")

    def _fact(self, wanted: str) -> str:
        return next((value for name, value in self.facts if name == wanted), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One report. ``assessment`` holds what was judged; the rest says what it stands on."""

    sweep: SweepInfo
    assessment: Assessment
    hosts: tuple[HostReport, ...]
    rules: tuple[RuleInfo, ...] = ()
    scopes: tuple[ScopeInfo, ...] = ()
    statements: tuple[StatementInfo, ...] = ()
    raw: Mapping[str, tuple[RawHash, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Hashes of raw answers by host."""
    scope_statements: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """The statements that can answer a scope; a scope that is not in it may be answered by any."""
    triage: Mapping[str, Pairs] = field(default_factory=lambda: MappingProxyType({}))
    """What triage answered, by fingerprint."""
    notes: tuple[str, ...] = ()
    """What a reader must know beside the rows: rules that could not be planned, an expired approval..."""

    @property
    def open_findings(self) -> Iterator[Finding]:
        """The findings that somebody has to look at, in their order."""
        return (finding for finding in self.assessment.findings if finding.is_open)

    @property
    def severities(self) -> Counter[Severity]:
        """How many open findings there are by severity."""
        return Counter(finding.severity for finding in self.open_findings)

    @property
    def states(self) -> Counter[FindingState]:
        """How many findings that a report lists, or that are approved, have which state."""
        return Counter(finding.state for finding in self.assessment.findings if is_listed(finding) or finding.approval)

    @property
    def stock(self) -> Mapping[str, Counter[VerdictKind]]:
        """Known-good and likely stock rows by host, as counts."""
        counts: dict[str, Counter[VerdictKind]] = {host.name: Counter() for host in self.hosts}
        for group in self.assessment.stock:
            kinds = Counter(finding.verdict.kind for finding in group.findings)
            for host in group.hosts:
                counts.setdefault(host, Counter()).update(kinds)
        for finding in self.assessment.findings:
            if finding.is_stock:
                counts.setdefault(finding.host, Counter())[finding.verdict.kind] += 1
        return counts


def guid_of(entity: Entity) -> str:
    """The GUID in the entity's identity, whatever its kind calls it."""
    return next((value for name, value in entity.identity if name in {"id", "provider", "guid"}), "")


def rule_ids(finding: Finding) -> tuple[str, ...]:
    """The rules that hit, each once, in the order of their hits."""
    return tuple(dict.fromkeys(hit.rule_id for hit in finding.hits))


def techniques(finding: Finding) -> tuple[str, ...]:
    """ATT&CK technique ids of the rules that hit, each once."""
    return tuple(dict.fromkeys(technique for hit in finding.hits for technique in hit.techniques))


def excuses(finding: Finding) -> tuple[str, ...]:
    """What would excuse it, each wording once."""
    return tuple(dict.fromkeys(hit.excuse for hit in finding.hits if hit.excuse))


def attribute_changes(finding: Finding) -> tuple[AttributeChange, ...]:
    """What differs from the baseline, attribute by attribute."""
    return finding.change.change.attributes if finding.change else ()


def scope_of(approval: Approval) -> str:
    """Where an approval counts, in words."""
    patterns = approval.hosts if approval.scope == "host" else approval.groups if approval.scope == "group" else ()
    return " ".join((approval.scope, *patterns))


def evidence(document: Document, finding: Finding) -> Iterator[Evidence]:
    """Everything that speaks for the finding: hits of rules, rows that known good judged, the change."""
    seen = {hit.row for hit in finding.hits}
    for hit in finding.hits:
        yield _of_hit(document, finding.host, hit)
    if not finding.verdict.is_fine:
        values = tuple(row for row in finding.entity.rows if not row.is_subkey)
        rows = tuple(row for row in values if row not in seen) or values[:1]
        yield from (_of_verdict(document, finding, row) for row in rows or (None,))
    if finding.change is not None:
        change = finding.change
        key = next(iter(finding.entity.keys), "")
        yield Evidence(source="baseline", reason=change.why, severity=change.severity, key=key)


def _of_hit(document: Document, host: str, hit: RuleHit) -> Evidence:
    return Evidence(
        source=hit.rule_id,
        rule_id=hit.rule_id,
        severity=hit.severity,
        certainty=hit.certainty,
        excuse=hit.excuse,
        key=hit.row.key,
        value=hit.row.name,
        type=hit.row.type,
        data=hit.row.data,
        mtime=hit.row.mtime,
        scope_id=hit.scope_id,
        raw=_raw_of(document, host, hit.row.key, hit.scope_id),
    )


def _of_verdict(document: Document, finding: Finding, row: RegistryRow | None) -> Evidence:
    verdict = finding.verdict
    return Evidence(
        source="known good",
        reason=verdict.why,
        severity=verdict.severity,
        key=row.key if row else next(iter(finding.entity.keys), ""),
        value=row.name if row else "",
        type=row.type if row else "",
        data=row.data if row else "",
        mtime=row.mtime if row else 0,
        raw=_raw_of(document, finding.host, row.key) if row else (),
    )


def _raw_of(document: Document, host: str, key: str, scope_id: str = "") -> tuple[RawHash, ...]:
    """The host's answer that holds the rows of a key: of the scope's statements, the one for the key's area."""
    answers = document.raw.get(host, ())
    wanted = document.scope_statements.get(scope_id)
    if wanted is not None:
        answers = tuple(answer for answer in answers if answer.statement_id in wanted)
    name = area(key)
    return tuple(answer for answer in answers if answer.statement_id.rpartition("-")[0] == name) or answers


def changes(document: Document, *, folded: bool) -> Iterator[ChangeRow]:
    """The differences: one row for each host, or ``folded``, with one row for what an update brought to many."""
    assessment = document.assessment
    told: set[tuple[str, Ident]] = set()
    for change in assessment.fleet_changes if folded else ():
        for graded in change.changes:
            told.update((host, graded.change.entity.ident) for host in change.hosts)
            severity = min(graded.severity, change.severity)
            yield _of_change(change.hosts, graded, of=change.of, severity=severity)
    for item in assessment.changes:
        if (item.host, item.graded.change.entity.ident) not in told:
            yield _of_change((item.host,), item.graded, finding=item.fingerprint)
    for gap in assessment.gaps:
        yield ChangeRow(hosts=(gap.host,), what=NOT_COMPARABLE, entity=gap.entity, why=gap.reason)


def _of_change(
    hosts: tuple[str, ...], graded: Graded, *, of: int = 0, finding: str = "", severity: Severity | None = None
) -> ChangeRow:
    return ChangeRow(
        hosts=hosts,
        of=of,
        what=graded.change.kind,
        entity=graded.change.entity,
        attributes=graded.change.attributes,
        severity=graded.severity if severity is None else severity,
        finding=finding,
        why=graded.why,
    )


def is_listed(finding: Finding) -> bool:
    """Does the console list it: open, or it was there at the baseline and is gone or out of sight now?"""
    out_of_sight = finding.state is FindingState.NOT_COMPARABLE and finding.severity >= REPORTED
    return finding.is_open or out_of_sight or finding.state is FindingState.GONE
