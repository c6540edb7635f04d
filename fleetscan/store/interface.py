"""What a store promises to the layers above: sweeps, blocks, trees, baselines and the chain of evidence.

The contract suite in ``tests/store`` runs on SQLite and on PostgreSQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NewType, Protocol

from fleetscan.planner.detections import detection_scopes
from fleetscan.store.digest import canonical, sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from fleetscan.model.host import HostId
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.snapshot import BlindSpot, HostFacts, HostResult, RawAnswer, Status
    from fleetscan.planner.plan import Plan
    from fleetscan.store.records import ChangeRecord, EntityRecord, FindingRecord, JudgedWith, Shared

SweepId = NewType("SweepId", str)
"""Name of a sweep: its start in UTC and four hex digits, ``20261121-211045-3f2a``."""

COMPLETE = "complete"
INCOMPLETE = "incomplete"
"""Outcomes of a finished sweep: is every scope of every host covered?"""

BlockId = NewType("BlockId", int)
"""Number of a block, unique in one store and never used again; equal content has one number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRecord:
    """What a sweep remembers of a rule: enough for coverage by rule, and the hash of its text."""

    id: str
    title: str
    digest: str
    label: str = ""
    scope_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRecord:
    """What was asked: scopes and statements as id and text, and the rules that wanted them."""

    digest: str
    scopes: tuple[tuple[str, str], ...]
    statements: tuple[tuple[str, str], ...]
    rules: tuple[RuleRecord, ...] = ()

    @property
    def rules_digest(self) -> str:
        """SHA-256 (hex) over ids and text hashes of all rules."""
        return sha256(canonical(sorted([rule.id, rule.digest] for rule in self.rules))).hex()

    @classmethod
    def of(cls, plan: Plan) -> PlanRecord:
        """The record of a plan."""
        rules = tuple(
            RuleRecord(
                id=planned.rule.id,
                title=planned.rule.title,
                digest=planned.rule.digest,
                label=planned.label,
                scope_ids=planned.scope_ids,
            )
            for planned in plan.rules
        )
        return cls(
            digest=plan.digest,
            scopes=(*((scope.id, scope.text) for scope in plan.scopes), *detection_scopes(plan)),
            statements=tuple((statement.id, statement.sql) for statement in plan.statements),
            rules=rules,
        )


@dataclass(frozen=True, slots=True)
class SweepHost:
    """A host as it was named in a sweep."""

    id: HostId
    engine: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One sweep: ``finished`` None while it runs or after it was killed; ``pruned`` when its answers were dropped."""

    id: SweepId
    started: datetime
    finished: datetime | None
    outcome: str
    note: str
    plan_digest: str
    rules_digest: str
    seal: str
    """SHA-256 (hex) of the evidence chain at this sweep; empty while it is not finished."""
    previous: str
    """The seal before it in the chain; empty for the first."""
    hosts: int
    answered: int
    pruned: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHost:
    """A host of a sweep and how far it came; ``complete``: every scope is covered, ``covered``: something is."""

    id: HostId
    engine: str
    groups: tuple[str, ...]
    answered: bool
    complete: bool
    covered: bool
    started: datetime | None
    finished: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What a sweep knows of one scope of one host. ``block`` None: nothing was returned and nothing is covered."""

    scope_id: str
    status: Status
    unproven: tuple[str, ...]
    block: BlockId | None


@dataclass(frozen=True, slots=True)
class CoverageCell:
    """The one status of a host and scope, also for hosts that were never asked."""

    host: HostId
    scope_id: str
    status: Status
    unproven: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DistinctTree:
    """Cells that all of ``hosts`` share: judge them once."""

    cells: tuple[Cell, ...]
    hosts: tuple[HostId, ...]


@dataclass(frozen=True, slots=True)
class DistinctBlock:
    """A block as answer to a scope, with the number of hosts of the sweep that gave it."""

    scope_id: str
    block: BlockId
    hosts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedCell:
    """A cell that differs between two sweeps; None on a side that does not have the host or the scope at all."""

    host: HostId
    scope_id: str
    before: Cell | None
    after: Cell | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A name for a sweep: without ``host`` every host is compared with its own past, else with that golden host.

    With ``others`` there are several golden hosts, and each host is compared with the one of its OS build.
    ``own_past``: golden hosts are only for hosts that have no past in the sweep. ``earlier`` are sweeps, newest first,
    for hosts of which the sweep has nothing; never stored.
    """

    name: str
    sweep: SweepId
    host: HostId | None = None
    others: tuple[HostId, ...] = ()
    own_past: bool = False
    created: datetime
    note: str = ""
    earlier: tuple[SweepId, ...] = ()

    @property
    def golden(self) -> tuple[HostId, ...]:
        """All golden hosts."""
        return () if self.host is None else (self.host, *self.others)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that ``verify`` found, in words."""

    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was checked, counted by kind of record, and what is wrong."""

    checked: Mapping[str, int]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What ``prune`` dropped, and which old sweeps it kept, with the reason."""

    sweeps: tuple[SweepId, ...] = ()
    kept: tuple[tuple[SweepId, str], ...] = ()
    records: Mapping[str, int] = field(default_factory=dict)


class Store(Protocol):
    """Keeps sweeps. Safe for many threads and for several processes at once.

    Every method raises StoreError (what, where, what to try) and nothing else for what a database or a disk does.
    """

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def close(self) -> None:
        """Release files and connections; what was put is already safe."""
        ...

    # -- writing a sweep
    def begin_sweep(
        self, plan: PlanRecord, hosts: Sequence[SweepHost], *, started: datetime, note: str = ""
    ) -> SweepId:
        """Record what will be asked of whom."""
        ...

    def put(self, sweep: SweepId, *results: HostResult) -> None:
        """Store results of hosts, all wholly or none; when it returns, a kill of the process loses nothing.

        Several at once cost little more than one. A second result of the same host replaces the first, except that one
        in which nothing is covered never replaces one in which something is.
        """
        ...

    def finish_sweep(self, sweep: SweepId, *, finished: datetime, outcome: str) -> str:
        """Seal the sweep: append it to the chain of evidence; returns the seal (hex)."""
        ...

    def reopen_sweep(self, sweep: SweepId) -> None:
        """Let a sweep be continued: ``put`` works again, the next ``finish_sweep`` seals it anew."""
        ...

    # -- reading
    def sweeps(self) -> tuple[Sweep, ...]:
        """All sweeps, oldest first."""
        ...

    def sweep(self, name: str = "latest") -> Sweep:
        """The sweep of that id, of a unique beginning of it, or the latest."""
        ...

    def plan(self, sweep: SweepId) -> PlanRecord:
        """What the sweep asked."""
        ...

    def hosts(self, sweep: SweepId) -> tuple[StoredHost, ...]:
        """All hosts of the sweep, by name."""
        ...

    def reached(self, sweep: SweepId) -> Mapping[HostId, bool]:
        """All hosts of the sweep, in no order, and whether something of them is covered: cheaper than ``hosts``."""
        ...

    def pending(self, sweep: SweepId) -> tuple[HostId, ...]:
        """Hosts that have no result, or one in which a scope is not complete: whom to ask on resume."""
        ...

    def coverage(self, sweep: SweepId) -> Iterator[CoverageCell]:
        """Exactly one status for every host and planned scope, by host name and scope id."""
        ...

    def tree(self, sweep: SweepId, host: HostId) -> Mapping[str, Cell]:
        """The cells of one host by scope id; empty if it has no result."""
        ...

    def cells(self, sweep: SweepId, hosts: Sequence[HostId]) -> Mapping[HostId, tuple[Cell, ...]]:
        """The cells of some hosts by scope id; hosts with the same answer have one and the same object."""
        ...

    def trees(self, sweep: SweepId) -> Iterator[DistinctTree]:
        """Every distinct tree with the hosts that have it: the fleet, each thing once."""
        ...

    def blocks(self, sweep: SweepId) -> tuple[DistinctBlock, ...]:
        """Every distinct block by scope with its number of hosts."""
        ...

    def block_hosts(self, sweep: SweepId, scope_id: str, block: BlockId) -> tuple[HostId, ...]:
        """The hosts that answered the scope with that block, by name."""
        ...

    def scope_blocks(self, sweep: SweepId, scope_id: str) -> Mapping[HostId, BlockId]:
        """The block with which each host answered the scope; hosts without one are left out."""
        ...

    def block(self, block: BlockId) -> tuple[RegistryRow, ...]:
        """The rows of a block in canonical order; mtime is 0 (it is in the raw answers)."""
        ...

    def block_lines(self, block: BlockId) -> tuple[bytes, ...]:
        """The rows of a block in canonical order, not decoded: equal lines are equal rows (``digest.line_rows``)."""
        ...

    def block_digest(self, block: BlockId) -> str:
        """SHA-256 (hex) of the block's canonical bytes."""
        ...

    def facts(self, sweep: SweepId, host: HostId) -> HostFacts | None:
        """What the host said about itself; None if it has no result."""
        ...

    def fleet_facts(self, sweep: SweepId) -> Mapping[HostId, HostFacts]:
        """The facts of all hosts that have a result."""
        ...

    def raw(self, sweep: SweepId, host: HostId) -> tuple[RawAnswer, ...]:
        """The raw answers of the host."""
        ...

    def raw_hashes(self, sweep: SweepId) -> Mapping[HostId, tuple[tuple[str, str], ...]]:
        """Statement id and SHA-256 (hex) of every raw answer, for all hosts that gave one; no answer is read."""
        ...

    def blind_spots(
        self, sweep: SweepId, hosts: Sequence[HostId] | None = None
    ) -> Mapping[HostId, tuple[BlindSpot, ...]]:
        """The places where the table hides something, for the hosts that have any: of ``hosts``, or of all."""
        ...

    def result(self, sweep: SweepId, host: HostId) -> HostResult | None:
        """The whole result of a host as it was put, in canonical order and without mtime."""
        ...

    def changed(
        self, base: SweepId, sweep: SweepId, *, golden: HostId | None = None, hosts: Collection[HostId] | None = None
    ) -> Iterator[ChangedCell]:
        """Cells that differ: each host against its own past, or ``hosts`` (None: all) against ``golden`` of the base.

        Only ids are compared; no block is opened. A host that only one sweep has gives all its cells, with None on
        the other side. The cells of a host come one after the other.
        """
        ...

    # -- baselines
    def put_baseline(self, baseline: Baseline) -> None:
        """Keep a baseline; a name that exists is an error."""
        ...

    def baselines(self) -> tuple[Baseline, ...]:
        """All baselines by name."""
        ...

    def baseline(self, name: str) -> Baseline:
        """The baseline of that name."""
        ...

    def delete_baseline(self, name: str) -> None:
        """Forget the name; the sweep stays until it is pruned."""
        ...

    # -- what was judged, for reports and for SQL tools
    def put_findings(
        self,
        sweep: SweepId,
        findings: Iterable[FindingRecord],
        shared: Iterable[Shared[FindingRecord]] = (),
        how: JudgedWith | None = None,
    ) -> None:
        """Replace the findings of the sweep: those of single hosts, and those that groups of hosts share."""
        ...

    def judged_with(self, sweep: SweepId) -> JudgedWith | None:
        """What the findings of the sweep were made with; None if nobody judged it, or nobody said."""
        ...

    def findings(self, sweep: SweepId) -> tuple[FindingRecord, ...]:
        """The findings of the sweep by host and fingerprint."""
        ...

    def put_changes(
        self, sweep: SweepId, changes: Iterable[ChangeRecord], shared: Iterable[Shared[ChangeRecord]] = ()
    ) -> None:
        """Replace the changes of the sweep: those of single hosts, and those that groups of hosts share."""
        ...

    def changes(self, sweep: SweepId) -> tuple[ChangeRecord, ...]:
        """The changes of the sweep by host and entity."""
        ...

    def put_entities(
        self, sweep: SweepId, entities: Iterable[EntityRecord], shared: Iterable[Shared[EntityRecord]] = ()
    ) -> None:
        """Replace the entities of the sweep: those of single hosts, and those that groups of hosts share."""
        ...

    def entities(self, sweep: SweepId) -> tuple[EntityRecord, ...]:
        """The entities of the sweep by host, kind and identity."""
        ...

    def put_triage(self, fingerprint: str, record: Mapping[str, Any], *, taken: datetime) -> None:
        """Keep what triage answered for a finding, any JSON object, in place of an earlier answer."""
        ...

    def triages(self) -> Mapping[str, Mapping[str, Any]]:
        """What triage answered, by fingerprint."""
        ...

    # -- upkeep
    def counts(self) -> Mapping[str, int]:
        """How many records of each kind there are."""
        ...

    def verify(self) -> Verification:
        """Check every hash, every reference and the chain of evidence."""
        ...

    def prune(self, keep_days: int, *, now: datetime) -> Pruned:
        """Drop the answers of sweeps older than that, except what a baseline or an open finding needs."""
        ...
