"""The store on a SQL database: SQLite in one file, or PostgreSQL; ``open_store`` is the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleetscan.store import baselines, evidence, judged, triages
from fleetscan.store.database import Database, connect
from fleetscan.store.migrate import migrate
from fleetscan.store.prune import prune
from fleetscan.store.read import Reader
from fleetscan.store.records import ChangeRecord, EntityRecord, FindingRecord, JudgedWith, Shared
from fleetscan.store.verify import verify
from fleetscan.store.write import Writer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from fleetscan.model.host import HostId
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.snapshot import BlindSpot, HostFacts, HostResult, RawAnswer
    from fleetscan.store.interface import (
        Baseline,
        BlockId,
        Cell,
        ChangedCell,
        CoverageCell,
        DistinctBlock,
        DistinctTree,
        PlanRecord,
        Pruned,
        StoredHost,
        Sweep,
        SweepHost,
        SweepId,
        Verification,
    )


def open_store(place: str | Path, *, create: bool = True) -> SqlStore:
    """The store at a file name, ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``, brought to today's schema.

    StoreError for anything that is not a store, is truncated, cannot be written, or comes from a newer fleetscan.
    """
    database = connect(place, create=create)
    try:
        migrate(database, create=create)
    except BaseException:
        database.close()
        raise
    return SqlStore(database)


class SqlStore:
    """See ``interface.Store``; every method is one line to the module that does it."""

    def __init__(self, database: Database) -> None:
        """``database`` has today's schema."""
        self.database = database
        self._writer = Writer(database)
        self._reader = Reader(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """See interface."""
        self.database.close()

    def begin_sweep(
        self, plan: PlanRecord, hosts: Sequence[SweepHost], *, started: datetime, note: str = ""
    ) -> SweepId:
        """See interface."""
        return self._writer.begin(plan, hosts, started, note)

    def put(self, sweep: SweepId, *results: HostResult) -> None:
        """See interface."""
        self._writer.put(sweep, results)

    def finish_sweep(self, sweep: SweepId, *, finished: datetime, outcome: str) -> str:
        """See interface."""
        self._writer.forget(sweep)
        return evidence.seal(self.database, sweep, finished, outcome)

    def reopen_sweep(self, sweep: SweepId) -> None:
        """See interface."""
        evidence.reopen(self.database, sweep)

    def sweeps(self) -> tuple[Sweep, ...]:
        """See interface."""
        return self._reader.sweeps()

    def sweep(self, name: str = "latest") -> Sweep:
        """See interface."""
        return self._reader.sweep(name)

    def plan(self, sweep: SweepId) -> PlanRecord:
        """See interface."""
        return self._reader.plan(sweep)

    def hosts(self, sweep: SweepId) -> tuple[StoredHost, ...]:
        """See interface."""
        return self._reader.hosts(sweep)

    def reached(self, sweep: SweepId) -> Mapping[HostId, bool]:
        """See interface."""
        return self._reader.reached(sweep)

    def pending(self, sweep: SweepId) -> tuple[HostId, ...]:
        """See interface."""
        return self._reader.pending(sweep)

    def coverage(self, sweep: SweepId) -> Iterator[CoverageCell]:
        """See interface."""
        return self._reader.coverage(sweep)

    def tree(self, sweep: SweepId, host: HostId) -> Mapping[str, Cell]:
        """See interface."""
        return self._reader.tree(sweep, host)

    def cells(self, sweep: SweepId, hosts: Sequence[HostId]) -> Mapping[HostId, tuple[Cell, ...]]:
        """See interface."""
        return self._reader.cells(sweep, hosts)

    def trees(self, sweep: SweepId) -> Iterator[DistinctTree]:
        """See interface."""
        return self._reader.trees(sweep)

    def blocks(self, sweep: SweepId) -> tuple[DistinctBlock, ...]:
        """See interface."""
        return self._reader.blocks(sweep)

    def block_hosts(self, sweep: SweepId, scope_id: str, block: BlockId) -> tuple[HostId, ...]:
        """See interface."""
        return self._reader.block_hosts(sweep, scope_id, block)

    def scope_blocks(self, sweep: SweepId, scope_id: str) -> Mapping[HostId, BlockId]:
        """See interface."""
        return self._reader.scope_blocks(sweep, scope_id)

    def block(self, block: BlockId) -> tuple[RegistryRow, ...]:
        """See interface."""
        return self._reader.block(block)

    def block_lines(self, block: BlockId) -> tuple[bytes, ...]:
        """See interface."""
        return self._reader.block_lines(block)

    def block_digest(self, block: BlockId) -> str:
        """See interface."""
        return self._reader.block_digest(block)

    def facts(self, sweep: SweepId, host: HostId) -> HostFacts | None:
        """See interface."""
        return self._reader.facts(sweep, host)

    def fleet_facts(self, sweep: SweepId) -> Mapping[HostId, HostFacts]:
        """See interface."""
        return self._reader.fleet_facts(sweep)

    def raw(self, sweep: SweepId, host: HostId) -> tuple[RawAnswer, ...]:
        """See interface."""
        return self._reader.raw(sweep, host)

    def raw_hashes(self, sweep: SweepId) -> Mapping[HostId, tuple[tuple[str, str], ...]]:
        """See interface."""
        return self._reader.raw_hashes(sweep)

    def blind_spots(
        self, sweep: SweepId, hosts: Sequence[HostId] | None = None
    ) -> Mapping[HostId, tuple[BlindSpot, ...]]:
        """See interface."""
        return self._reader.blind_spots(sweep, hosts)

    def result(self, sweep: SweepId, host: HostId) -> HostResult | None:
        """See interface."""
        return self._reader.result(sweep, host)

    def changed(
        self, base: SweepId, sweep: SweepId, *, golden: HostId | None = None, hosts: Collection[HostId] | None = None
    ) -> Iterator[ChangedCell]:
        """See interface."""
        return self._reader.changed(base, sweep, golden, hosts)

    def put_baseline(self, baseline: Baseline) -> None:
        """See interface."""
        baselines.put(self.database, baseline)

    def baselines(self) -> tuple[Baseline, ...]:
        """See interface."""
        return baselines.load(self.database)

    def baseline(self, name: str) -> Baseline:
        """See interface."""
        return baselines.find(self.database, name)

    def delete_baseline(self, name: str) -> None:
        """See interface."""
        baselines.remove(self.database, name)

    def put_findings(
        self,
        sweep: SweepId,
        findings: Iterable[FindingRecord],
        shared: Iterable[Shared[FindingRecord]] = (),
        how: JudgedWith | None = None,
    ) -> None:
        """See interface."""
        judged.put(self.database, sweep, FindingRecord, findings, shared, how)

    def judged_with(self, sweep: SweepId) -> JudgedWith | None:
        """See interface."""
        return judged.judged_with(self.database, sweep)

    def findings(self, sweep: SweepId) -> tuple[FindingRecord, ...]:
        """See interface."""
        return judged.load(self.database, sweep, FindingRecord)

    def put_changes(
        self, sweep: SweepId, changes: Iterable[ChangeRecord], shared: Iterable[Shared[ChangeRecord]] = ()
    ) -> None:
        """See interface."""
        judged.put(self.database, sweep, ChangeRecord, changes, shared)

    def changes(self, sweep: SweepId) -> tuple[ChangeRecord, ...]:
        """See interface."""
        return judged.load(self.database, sweep, ChangeRecord)

    def put_entities(
        self, sweep: SweepId, entities: Iterable[EntityRecord], shared: Iterable[Shared[EntityRecord]] = ()
    ) -> None:
        """See interface."""
        judged.put(self.database, sweep, EntityRecord, entities, shared)

    def entities(self, sweep: SweepId) -> tuple[EntityRecord, ...]:
        """See interface."""
        return judged.load(self.database, sweep, EntityRecord)

    def put_triage(self, fingerprint: str, record: Mapping[str, Any], *, taken: datetime) -> None:
        """See interface."""
        triages.put(self.database, fingerprint, record, taken)

    def triages(self) -> Mapping[str, Mapping[str, Any]]:
        """See interface."""
        return triages.load(self.database)

    def counts(self) -> Mapping[str, int]:
        """See interface."""
        return self._reader.counts()

    def verify(self) -> Verification:
        """See interface."""
        return verify(self.database)

    def prune(self, keep_days: int, *, now: datetime) -> Pruned:
        """See interface."""
        return prune(self.database, keep_days, now)
