"""Two sweeps compared host by host: only cells whose block differs are opened, and only units that differ decoded.

Where a registration appeared or vanished, the host's whole answers are: only they show whether a listing was cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING

from fleetscan.baseline.diff import Diff, Side, diff
from fleetscan.baseline.grade import grade
from fleetscan.domain.blind_spots import LINK
from fleetscan.domain.decode import decode
from fleetscan.domain.judge import judge_all
from fleetscan.domain.shape import TWINNED
from fleetscan.findings.detected import compare_detected
from fleetscan.findings.reading import LISTINGS, SCOPES, USERS, HostGroup, Judge, Outlook, coverage_of
from fleetscan.findings.values import is_plain
from fleetscan.model.detection import is_detection
from fleetscan.model.registry import HKU

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fleetscan.baseline.grade import Graded
    from fleetscan.baseline.identity import Coverage
    from fleetscan.domain.entity import Entity, Ident
    from fleetscan.domain.verdicts import Judged, Verdict
    from fleetscan.findings.values import Values
    from fleetscan.model.host import HostId
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.snapshot import BlindSpot
    from fleetscan.store.interface import BlockId, Cell, ChangedCell, Store, SweepId


_PAIRS_KEPT = 1024
_BATCH = 200
"""Hosts whose blind spots and whole answers are read together."""
_ANSWERS_KEPT = 500
"""Decoded parts of whole answers that are remembered, before all are forgotten."""

Outlooks = Mapping["HostId", Outlook]
Found = tuple[tuple["Graded", ...], tuple[tuple["Entity", str], ...]]


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
    detected: tuple[tuple[Cell, ...], tuple[Cell, ...]]
    outlooks: tuple[Outlook, Outlook]
    coverages: tuple[Coverage, Coverage]


@dataclass(slots=True)
class Comparer:
    """Compares hosts and remembers pairs of answers: an update of a whole fleet is decoded once.

    ``values``: also what only rules ask for. Findings leave it out; there the rules speak for themselves.
    """

    judge: Judge
    values: Values | None = None
    _known: dict[_Pair, Found] = field(default_factory=dict)

    def compare(self, host: HostId, before: HostGroup, after: HostGroup) -> HostDiff:
        """The difference of two whole answers, or of all cells that differ."""
        old = {cell.scope_id: cell for cell in before.cells if self._is_compared(cell)}
        new = {cell.scope_id: cell for cell in after.cells if self._is_compared(cell)}
        changed = {scope for scope in old.keys() & new.keys() if not _same(old[scope], new[scope])}
        if changed & USERS:
            changed |= LISTINGS & old.keys() & new.keys()
        detected = _detected(before.cells), _detected(after.cells)
        if not changed and _answers(detected[0]) == _answers(detected[1]):
            return HostDiff(host, (), ())
        pair = _Pair(
            tuple(old[scope] for scope in sorted(changed)),
            tuple(new[scope] for scope in sorted(changed)),
            detected,
            (before.outlook, after.outlook),
            (before.coverage, after.coverage),
        )
        found = self._known.pop(pair, None) or self._compare(pair)
        if len(self._known) >= _PAIRS_KEPT:
            self._known.pop(next(iter(self._known)))
        self._known[pair] = found
        return HostDiff(host, *found)

    def _is_compared(self, cell: Cell) -> bool:
        return cell.scope_id in SCOPES or (self.values is not None and is_plain(cell.scope_id))

    def _compare(self, pair: _Pair) -> Found:
        cells = list(zip(pair.before, pair.after, strict=True))
        plain = [one for one in cells if is_plain(one[0].scope_id)]
        users = [one for one in cells if one[0].scope_id in USERS]
        parts = [[one] for one in cells if one not in plain and one not in users]
        results = [self._part(part, pair) for part in (*parts, users) if part]
        if _answers(pair.detected[0]) != _answers(pair.detected[1]):
            results.append(compare_detected(self.judge, *pair.detected))
        if plain and self.values is not None:
            results.append(self.values.compare(plain, pair.outlooks, pair.coverages))
        return (
            tuple(change for changes, _ in results for change in changes),
            tuple(gap for _, gaps in results for gap in gaps),
        )

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
        if not rows and not unproven:
            return ()
        entities = decode(rows, outlook.facts, unproven=unproven, known=self.judge.known)
        return judge_all(entities, outlook.facts, known=self.judge.known)


def _same(old: Cell, new: Cell) -> bool:
    return old.block == new.block and old.unproven == new.unproven


def _detected(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    return tuple(cell for cell in cells if is_detection(cell.scope_id))


def _answers(cells: Iterable[Cell]) -> frozenset[tuple[str, BlockId | None]]:
    """What the detections showed; one that showed nothing differs from one that was not asked in its status only."""
    return frozenset((cell.scope_id, cell.block) for cell in cells if cell.block is not None)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Two sweeps, with one host of the older one in place of each host's own past where ``golden`` names it."""

    base: SweepId
    sweep: SweepId
    golden: HostId | None = None
    hosts: frozenset[HostId] | None = None
    """Only these hosts; None: all that both sweeps have."""


def diffs(comparer: Comparer, sides: Sides, outlooks: tuple[Outlooks, Outlooks]) -> Iterator[HostDiff]:
    """Every host that differs, by its changed cells, a few at a time; whole answers where something came or went."""
    store = comparer.judge.store
    cells = (
        cell
        for cell in store.changed(sides.base, sides.sweep, golden=sides.golden, hosts=sides.hosts)
        if sides.hosts is None or cell.host in sides.hosts
    )
    hosts = ((host, tuple(found)) for host, found in groupby(cells, key=attrgetter("host")))
    users = _user_scopes(store, (sides.base, sides.sweep))
    judge = comparer.judge.anew()
    while batch := dict(islice(hosts, _BATCH)):
        pasts = {host: sides.golden or host for host in batch}
        before = _Said(sides.base, outlooks[0], store.blind_spots(sides.base, tuple(set(pasts.values()))))
        after = _Said(sides.sweep, outlooks[1], store.blind_spots(sides.sweep, tuple(batch)))
        found: dict[HostId, HostDiff] = {}
        for host, changed in batch.items():
            whole = _Whole.of(changed, users)
            old = _partial(comparer.judge, before, pasts[host], [one.before for one in changed if one.before], whole)
            new = _partial(comparer.judge, after, host, [one.after for one in changed if one.after], whole)
            found[host] = comparer.compare(host, old, new)
        if moved := [host for host, one in found.items() if any(map(_is_one_sided, one.changes))]:
            # That a listing was cut shows beside its counter and the other view, which need not have changed.
            olds = _whole_answers(judge, before, [pasts[host] for host in moved])
            news = _whole_answers(judge, after, moved)
            found |= {host: comparer.compare(host, olds[pasts[host]], news[host]) for host in moved}
            if judge.remembers > _ANSWERS_KEPT:
                judge = comparer.judge.anew()
        yield from found.values()


def _is_one_sided(change: Graded) -> bool:
    """Did a registration or a catalogue row appear or vanish?"""
    return change.change.entity.kind in TWINNED and None in (change.change.before, change.change.after)


def _whole_answers(judge: Judge, said: _Said, hosts: Sequence[HostId]) -> Mapping[HostId, HostGroup]:
    """What is known of each host by all of its cells; hosts with the same answer share it."""
    cells = judge.store.cells(said.sweep, tuple(dict.fromkeys(hosts)))
    made: dict[tuple[object, ...], HostGroup] = {}
    found: dict[HostId, HostGroup] = {}
    for host in hosts:
        outlook, spots, own = said.outlooks.get(host) or Outlook(), said.blind.get(host, ()), cells.get(host, ())
        key = id(own), outlook, spots
        if key not in made:
            made[key] = judge.covered((host,), outlook, own, spots)
        found[host] = made[key]
    return found


def _user_scopes(store: Store, sweeps: Iterable[SweepId]) -> frozenset[str]:
    """Scopes in the hives of users: who was logged on decides what a missing entity means."""
    texts = (scope for sweep in sweeps for scope in store.plan(sweep).scopes)
    return USERS | {scope_id for scope_id, text in texts if text.startswith(HKU)}


@dataclass(frozen=True, slots=True)
class _Said:
    """What some hosts of one sweep said about themselves."""

    sweep: SweepId
    outlooks: Outlooks
    blind: Mapping[HostId, tuple[BlindSpot, ...]]


@dataclass(frozen=True, slots=True)
class _Whole:
    """What must be looked at as a whole because a part of it changed."""

    users: bool
    detections: bool

    @classmethod
    def of(cls, changed: Iterable[ChangedCell], users: frozenset[str]) -> _Whole:
        """Decided on the scopes that changed."""
        names = {cell.scope_id for cell in changed}
        return cls(not users.isdisjoint(names), any(map(is_detection, names)))

    def needs(self, scope_id: str) -> bool:
        """Is the scope part of it?"""
        return (self.users and scope_id in LISTINGS) or (self.detections and is_detection(scope_id))


def _partial(judge: Judge, said: _Said, host: HostId, changed: list[Cell], whole: _Whole) -> HostGroup:
    outlook = said.outlooks.get(host) or Outlook()
    cells = {cell.scope_id: cell for cell in changed}
    if whole.users or whole.detections:
        tree = judge.store.tree(said.sweep, host)
        cells |= {scope: cell for scope, cell in tree.items() if whole.needs(scope)}
    found = judge.users(cells.values(), outlook)
    hidden = tuple(spot.key for spot in said.blind.get(host, ()) if spot.kind != LINK)
    return HostGroup(
        (host,), outlook, tuple(cells.values()), found, (), coverage_of(tuple(cells.values()), found, hidden)
    )
