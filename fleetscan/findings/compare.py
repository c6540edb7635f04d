"""Two sweeps compared host by host: only cells whose block differs are opened, and only units that differ decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleetscan.baseline.diff import Diff, Side, diff
from fleetscan.baseline.grade import grade
from fleetscan.domain.decode import decode
from fleetscan.domain.judge import judge_all
from fleetscan.findings.reading import LISTINGS, SCOPES, USERS, HostGroup, Judge, Outlook, coverage_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fleetscan.baseline.grade import Graded
    from fleetscan.baseline.identity import Coverage
    from fleetscan.domain.entity import Entity, Ident
    from fleetscan.domain.verdicts import Judged, Verdict
    from fleetscan.model.host import HostId
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.snapshot import HostFacts
    from fleetscan.store.interface import Cell, ChangedCell, SweepId


@dataclass(frozen=True, slots=True)
class HostDiff:
    """What changed on one host, graded, and what could not be compared."""

    host: HostId
    changes: tuple[Graded, ...]
    gaps: tuple[tuple[Entity, str], ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two sides of one comparison; hosts with equal pairs share the result."""

    before: tuple[Cell, ...]
    after: tuple[Cell, ...]
    outlooks: tuple[Outlook, Outlook]
    coverages: tuple[Coverage, Coverage]


@dataclass(slots=True)
class Comparer:
    """Compares hosts and remembers every pair of answers: an update of a whole fleet is decoded once."""

    judge: Judge
    _known: dict[_Pair, tuple[tuple[Graded, ...], tuple[tuple[Entity, str], ...]]] = field(default_factory=dict)

    def compare(self, host: HostId, before: HostGroup, after: HostGroup) -> HostDiff:
        """The difference of two whole answers."""
        old = {cell.scope_id: cell for cell in before.cells if cell.scope_id in SCOPES}
        new = {cell.scope_id: cell for cell in after.cells if cell.scope_id in SCOPES}
        changed = {scope for scope in old.keys() & new.keys() if not _same(old[scope], new[scope])}
        if changed & USERS:
            changed |= LISTINGS & old.keys() & new.keys()
        pair = _Pair(
            tuple(old[scope] for scope in sorted(changed)),
            tuple(new[scope] for scope in sorted(changed)),
            (before.outlook, after.outlook),
            (before.coverage, after.coverage),
        )
        if not changed:
            return HostDiff(host, (), ())
        if pair not in self._known:
            self._known[pair] = self._compare(pair)
        return HostDiff(host, *self._known[pair])

    def _compare(self, pair: _Pair) -> tuple[tuple[Graded, ...], tuple[tuple[Entity, str], ...]]:
        users = [(old, new) for old, new in zip(pair.before, pair.after, strict=True) if old.scope_id in USERS]
        parts = [[(old, new)] for old, new in zip(pair.before, pair.after, strict=True) if old.scope_id not in USERS]
        graded: list[Graded] = []
        gaps: list[tuple[Entity, str]] = []
        for cells in (*parts, users):
            found = self._part(cells, pair)
            graded.extend(found[0])
            gaps.extend(found[1])
        return tuple(graded), tuple(gaps)

    def _part(self, cells: Sequence[tuple[Cell, Cell]], pair: _Pair) -> tuple[list[Graded], list[tuple[Entity, str]]]:
        before_rows: list[RegistryRow] = []
        after_rows: list[RegistryRow] = []
        for old, new in cells:
            old_rows, new_rows = self._differing(old, new)
            before_rows += old_rows
            after_rows += new_rows
        before = self._judged(before_rows, [old for old, _ in cells], pair.outlooks[0])
        after = self._judged(after_rows, [new for _, new in cells], pair.outlooks[1])
        found = diff(_side(before, pair.coverages[0]), _side(after, pair.coverages[1]))
        return _graded(found, _verdicts(before), _verdicts(after), new_release=_moved(pair.outlooks)), [
            (gap.entity, f"{gap.side}: {gap.reason}") for gap in found.not_comparable
        ]

    def _differing(self, old: Cell, new: Cell) -> tuple[Sequence[RegistryRow], Sequence[RegistryRow]]:
        if old.scope_id in LISTINGS:
            return self.judge.rows(old.block), self.judge.rows(new.block)
        return self.judge.differing(old.block, new.block)

    def _judged(self, rows: Sequence[RegistryRow], cells: Sequence[Cell], outlook: Outlook) -> tuple[Judged, ...]:
        unproven = tuple(key for cell in cells for key in cell.unproven)
        entities = decode(rows, outlook.facts, unproven=unproven, known=self.judge.known)
        return judge_all(entities, outlook.facts, known=self.judge.known)


def _same(old: Cell, new: Cell) -> bool:
    return old.block == new.block and old.unproven == new.unproven


def _side(judged: Sequence[Judged], coverage: Coverage) -> Side:
    return Side(tuple(one.entity for one in judged if one.entity.keys), coverage)


def _verdicts(judged: Sequence[Judged]) -> Mapping[Ident, Verdict]:
    return {one.entity.ident: one.verdict for one in judged if one.entity.keys}


def _moved(outlooks: tuple[Outlook, Outlook]) -> bool:
    return outlooks[0].releases != outlooks[1].releases


def _graded(
    found: Diff, before: Mapping[Ident, Verdict], after: Mapping[Ident, Verdict], *, new_release: bool
) -> list[Graded]:
    return [
        grade(
            change,
            before.get(change.entity.ident),
            after.get(change.entity.ident) if change.after else None,
            new_release=new_release,
        )
        for change in found.changes
    ]


def diffs(judge: Judge, base: SweepId, sweep: SweepId, *, golden: HostId | None = None) -> Iterator[HostDiff]:
    """Every host that differs, by its changed cells alone: what did not change is not read."""
    comparer = Comparer(judge)
    by_host: dict[HostId, list[ChangedCell]] = {}
    for cell in judge.store.changed(base, sweep, golden=golden):
        if cell.scope_id in SCOPES and cell.before is not None and cell.after is not None:
            by_host.setdefault(cell.host, []).append(cell)
    facts = judge.store.fleet_facts(base), judge.store.fleet_facts(sweep)
    for host, cells in by_host.items():
        past = golden or host
        before = _partial(judge, (base, past), facts[0].get(past), [cell.before for cell in cells if cell.before])
        after = _partial(judge, (sweep, host), facts[1].get(host), [cell.after for cell in cells if cell.after])
        yield comparer.compare(host, before, after)


def _partial(judge: Judge, place: tuple[SweepId, HostId], facts: HostFacts | None, cells: list[Cell]) -> HostGroup:
    outlook = Outlook.of(facts)
    if any(cell.scope_id in USERS for cell in cells):
        # Who was logged on decides what a missing entity of a user means.
        named = {cell.scope_id for cell in cells}
        tree = judge.store.tree(*place)
        cells = [*cells, *(cell for scope, cell in tree.items() if scope in LISTINGS - named)]
    users = judge.index_of(tuple(cell for cell in cells if cell.scope_id in LISTINGS), outlook)
    return HostGroup((place[1],), outlook, tuple(cells), users, (), coverage_of(tuple(cells), users))
