"""The report document: everything any format may print, as frozen values that know no store and no host.

All texts are raw, as the host gave them; every renderer escapes for its own reader (``report.escape``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fleetscan.model.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime

    from fleetscan.model.finding import Certainty

Pairs = tuple[tuple[str, str], ...]
"""Names and values in the order in which they are shown."""


class State(StrEnum):
    """What the baseline says about a finding."""

    NEW = "new"
    STILL_THERE = "still there"
    CHANGED = "changed"
    GONE = "gone"
    APPROVED = "approved"
    NO_BASELINE = "no baseline"
    NOT_COMPARABLE = "not comparable"


class Verdict(StrEnum):
    """What the known-good list says about an entity; only KNOWN_GOOD and LIKELY_STOCK fold on the console."""

    NONE = ""
    KNOWN_GOOD = "known good"
    LIKELY_STOCK = "likely stock, unconfirmed"
    UNKNOWN = "unknown"
    HIJACK = "hijack pattern"
    STRUCTURAL = "structural"
    INCOMPLETE = "incomplete"


class Covered(StrEnum):
    """What one host can say about one rule, or what it gave for one scope."""

    CLEAN = "proven clean"
    FINDING = "finding"
    COMPLETE = "complete"
    PARTIAL = "partial"
    UNREACHABLE = "unreachable"
    NOT_COVERED = "not covered"


PROVEN = frozenset({Covered.CLEAN, Covered.FINDING, Covered.COMPLETE})
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
    techniques: tuple[str, ...] = ()
    description: str = ""
    guidance: str = ""
    """Triage and response, Markdown, shown as text."""
    false_positives: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    author: str = ""
    license: str = ""
    risk_score: int | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepInfo:
    """What was asked, when, with which rules; the hashes tie the report to the store."""

    id: str
    started: datetime
    finished: datetime
    plan: str = ""
    rules: str = ""
    previous: str = ""
    baseline: str = ""
    inventory: str = ""
    version: str = ""
    generated: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """What a finding or a change is about: a decoded registration, or a registry value as it is."""

    kind: str
    identity: Pairs
    name: str = ""
    attributes: Pairs = ()
    """Decoded attributes, one pair each: dll, function, chain, flags..."""

    def get(self, name: str) -> str:
        """The identity part or attribute of that name, empty when there is none."""
        return next((value for key, value in (*self.identity, *self.attributes) if key == name), "")

    @property
    def guid(self) -> str:
        """The GUID in its identity, whatever its kind calls it."""
        return next((value for name in ("id", "provider", "guid") if (value := self.get(name))), "")


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """One attribute that differs between baseline and sweep; None is "not there"."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One row that speaks for a finding, with the way back: rule, row, statement, hash of the host's raw answer."""

    source: str
    """Who says so: a rule id, ``known good``, ``baseline`` or the name of a detection query."""
    reason: str = ""
    rule_id: str = ""
    severity: Severity = Severity.INFO
    certainty: Certainty | None = None
    qualifier: str = ""
    """What would excuse a possible finding, in words."""
    key: str = ""
    value: str = ""
    type: str = ""
    data: str = ""
    mtime: int = 0
    scope_id: str = ""
    statement_id: str = ""
    raw_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Prevalence:
    """On how many of the hosts that could tell an entity is."""

    hosts: int
    of: int

    def __str__(self) -> str:
        """``1 of 4000``."""
        return f"{self.hosts} of {self.of}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One matter on one host, with all that speaks for it."""

    id: str
    """Fingerprint, stable over sweeps; what ``triage`` and ``approve`` take."""
    host: str
    title: str
    severity: Severity
    certainty: Certainty
    entity: Entity
    state: State = State.NO_BASELINE
    verdict: Verdict = Verdict.NONE
    reasons: tuple[str, ...] = ()
    rule_ids: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    changes: tuple[AttributeChange, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    prevalence: Prevalence | None = None
    approval: str = ""
    triage: Pairs = ()
    """What triage answered, if it was run."""

    @property
    def is_folded(self) -> bool:
        """Is it stock as far as the known-good list can tell? The console counts such rows, it does not list them."""
        return self.verdict in {Verdict.KNOWN_GOOD, Verdict.LIKELY_STOCK}

    @property
    def needs_attention(self) -> bool:
        """Is it neither stock, nor approved, nor gone?"""
        return not self.is_folded and self.state not in {State.APPROVED, State.GONE}

    @property
    def qualifiers(self) -> tuple[str, ...]:
        """What would excuse it, each wording once."""
        return tuple(dict.fromkeys(row.qualifier for row in self.evidence if row.qualifier))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A difference between baseline and sweep: added, removed, modified, replaced or not comparable."""

    host: str
    what: str
    entity: Entity
    attributes: tuple[AttributeChange, ...] = ()
    severity: Severity = Severity.INFO
    finding_id: str = ""
    reason: str = ""


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
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """One host: facts, and coverage by rule and by scope. Hosts with equal coverage may share the tuples."""

    name: str
    groups: tuple[str, ...] = ()
    facts: Pairs = ()
    rules: tuple[RuleCoverage, ...] = ()
    scopes: tuple[ScopeCoverage, ...] = ()
    blind_spots: tuple[tuple[str, str, str], ...] = ()
    """Kind, key, what is hidden."""
    started: datetime | None = None
    finished: datetime | None = None

    @property
    def unreachable(self) -> str:
        """Why nothing of the host is covered; empty when something is."""
        if not self.scopes or any(scope.status is not Covered.UNREACHABLE for scope in self.scopes):
            return ""
        return self.scopes[0].reason or Covered.UNREACHABLE

    @property
    def is_complete(self) -> bool:
        """Is everything that was asked of the host covered?"""
        return all(rule.status in PROVEN for rule in self.rules) and all(
            scope.status in PROVEN for scope in self.scopes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityPrevalence:
    """One entity over the fleet, by OS build; ``new_on`` tells an update of the fleet from a new thing on one host."""

    entity: Entity
    prevalence: Prevalence
    builds: tuple[tuple[str, Prevalence], ...] = ()
    new_on: int = 0
    severity: Severity = Severity.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One approval and what it did in this sweep."""

    id: str
    owner: str
    reason: str
    scope: str
    created: date | None = None
    expires: date | None = None
    uses: int = 0
    state: str = "active"
    """active, expired or never used."""
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One report."""

    sweep: SweepInfo
    hosts: tuple[HostReport, ...]
    findings: tuple[Finding, ...] = ()
    changes: tuple[Change, ...] = ()
    rules: tuple[RuleInfo, ...] = ()
    scopes: tuple[ScopeInfo, ...] = ()
    statements: tuple[StatementInfo, ...] = ()
    prevalence: tuple[EntityPrevalence, ...] = ()
    approvals: tuple[Approval, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know beside the rows: rules that could not be planned, an expired approval..."""

    @property
    def attention(self) -> Iterator[Finding]:
        """The findings that need a person, in their order."""
        return (finding for finding in self.findings if finding.needs_attention)

    @property
    def severities(self) -> Counter[Severity]:
        """How many findings need a person, by severity."""
        return Counter(finding.severity for finding in self.attention)

    @property
    def states(self) -> Counter[State]:
        """How many findings that are not stock have which state."""
        return Counter(finding.state for finding in self.findings if not finding.is_folded)


def entity_label(entity: Entity) -> str:
    """One line that names the entity: kind, identity, and the name people know it by."""
    place = " ".join(value for _, value in entity.identity if value)
    name = f" ({entity.name})" if entity.name else ""
    return f"{entity.kind} {place}{name}".strip()
