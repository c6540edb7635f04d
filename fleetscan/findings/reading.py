"""One sweep read from the store and judged: every distinct block once, however many hosts gave it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fleetscan.baseline.identity import Coverage, CoveredArea, Units, changed_lines
from fleetscan.domain.areas import AREAS
from fleetscan.domain.blind_spots import LINK, with_blind_spots
from fleetscan.domain.decode import decode
from fleetscan.domain.detections import detection_entities
from fleetscan.domain.index import EntityIndex, index
from fleetscan.domain.judge import BITS_32, judge_all
from fleetscan.domain.releases import labels
from fleetscan.domain.shape import whole_host
from fleetscan.domain.users import is_person
from fleetscan.findings.model import RuleHit
from fleetscan.model.detection import is_detection
from fleetscan.model.finding import Certainty, Severity
from fleetscan.model.registry import HKLM, HKU, fold
from fleetscan.model.snapshot import Complete, HostFacts
from fleetscan.store.digest import line_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from fleetscan.domain.known_good import KnownGood
    from fleetscan.domain.verdicts import Judged
    from fleetscan.model.host import HostId
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.snapshot import BlindSpot
    from fleetscan.queries import Query
    from fleetscan.store.interface import BlockId, Cell, Store, SweepId

    HitFinder = Callable[[str, tuple[RegistryRow, ...]], tuple[RuleHit, ...]]
    """Scope id and rows to the hits of all rules of that scope; a pure function."""

_BLOCKS_KEPT = 128
"""Blocks whose rows stay in memory: those that all hosts share are used again and again, so they stay."""
_UNITS_KEPT = 2 * len(AREAS)
_SYSTEM_HIVES = frozenset(map(fold, (".DEFAULT", "S-1-5-18", "S-1-5-19", "S-1-5-20")))


SCOPES = {scope.id: scope for scope in AREAS}
"""The domain scopes by id: only their blocks are decoded, because the rules' own scopes may hold part of the rows."""
_PROFILE_LIST, _CURRENT_VERSION = (
    next(scope.id for scope in AREAS if scope.elements[-1:] == (name,)) for name in ("ProfileList", "CurrentVersion")
)
_WOW_OID = next(
    scope.id
    for scope in AREAS
    if scope.root == HKLM and scope.elements[1:2] == ("WOW6432Node",) and "OID" in scope.elements
)
LISTINGS = frozenset({_PROFILE_LIST, *(scope.id for scope in AREAS if scope.root == HKU and not scope.elements)})
"""The scopes that say who has a profile and whose hive is loaded."""
USERS = frozenset(scope_id for scope_id, scope in SCOPES.items() if scope.root == HKU) | LISTINGS
"""Scopes that are decoded together: who is known, who is loaded, and what stands in the loaded hives."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What verdicts on a host depend on beside its rows; hosts with the same outlook share them."""

    build: str = ""
    os_name: str = ""
    environment: tuple[tuple[str, str], ...] | None = None
    arch: str = ""

    @classmethod
    def of(cls, facts: HostFacts | None) -> Outlook:
        """The outlook of a host."""
        if facts is None:
            return cls()
        variables = None if facts.environment is None else tuple(sorted(facts.environment.items()))
        return cls(facts.os_build, facts.os_name, variables, facts.arch)

    @property
    def facts(self) -> HostFacts:
        """As facts, for the decoders."""
        environment = None if self.environment is None else dict(self.environment)
        return HostFacts(os_build=self.build, os_name=self.os_name, environment=environment, arch=self.arch)

    @property
    def releases(self) -> frozenset[str]:
        """Labels of the Windows release."""
        return labels(self.build, self.os_name)


@dataclass(frozen=True, slots=True)
class HostGroup:
    """Hosts that gave the same answers and are judged alike."""

    hosts: tuple[HostId, ...]
    outlook: Outlook
    cells: tuple[Cell, ...]
    index: EntityIndex
    hits: tuple[RuleHit, ...]
    coverage: Coverage


@dataclass(slots=True)
class Judge:
    """Decodes and judges blocks and remembers the results; one for both sweeps of a comparison."""

    store: Store
    known: KnownGood
    find_hits: HitFinder
    detections: Mapping[str, Query] = field(default_factory=dict)
    """Today's detections by scope id."""
    _rows: dict[BlockId, tuple[RegistryRow, ...]] = field(default_factory=dict)
    _units: dict[BlockId | None, Units] = field(default_factory=dict)
    _blocks: dict[tuple[object, ...], tuple[Judged, ...]] = field(default_factory=dict)
    _machines: dict[tuple[object, ...], tuple[Judged, ...]] = field(default_factory=dict)
    _indexes: dict[tuple[object, ...], EntityIndex] = field(default_factory=dict)
    _hits: dict[tuple[str, BlockId], tuple[RuleHit, ...]] = field(default_factory=dict)

    def rows(self, block: BlockId | None) -> tuple[RegistryRow, ...]:
        """The rows of a block; none for no block. Only the last few blocks are kept."""
        if block is None:
            return ()
        rows = self._rows.pop(block, None)
        if rows is None:
            rows = self.store.block(block)
            if len(self._rows) >= _BLOCKS_KEPT:
                self._rows.pop(next(iter(self._rows)))
        self._rows[block] = rows
        return rows

    def units(self, block: BlockId | None) -> Units:
        """The rows of a block by unit."""
        found = self._units.pop(block, None)
        if found is None:
            found = Units.of(self.rows(block))
            if len(self._units) >= _UNITS_KEPT:
                self._units.pop(next(iter(self._units)))
        self._units[block] = found
        return found

    def differing(
        self, old: BlockId | None, new: BlockId | None
    ) -> tuple[tuple[RegistryRow, ...], tuple[RegistryRow, ...]]:
        """The rows of two blocks in the units that differ; only those are decoded, and no block is remembered."""
        before, after = (() if block is None else self.store.block_lines(block) for block in (old, new))
        return changed_lines(before, after, line_rows)

    def groups(self, sweep: SweepId, only: Container[HostId] | None = None) -> Iterator[HostGroup]:
        """Every distinct answer of a sweep with the hosts that gave it, or with those of ``only``."""
        facts = self.store.fleet_facts(sweep)
        blind = self.store.blind_spots(sweep)
        for tree in self.store.trees(sweep):
            alike: dict[tuple[Outlook, tuple[BlindSpot, ...]], list[HostId]] = {}
            for host in tree.hosts if only is None else [host for host in tree.hosts if host in only]:
                key = self._outlook(tree.cells, facts.get(host)), tuple(blind.get(host, ()))
                alike.setdefault(key, []).append(host)
            for (outlook, spots), hosts in alike.items():
                yield self.group(tuple(hosts), outlook, tree.cells, spots)

    def outlooks(self, sweep: SweepId) -> Mapping[HostId, Outlook]:
        """The outlook of every host that has a result, by what it said and what its registry says."""
        made: dict[tuple[int, BlockId | None], Outlook] = {}
        found = {}
        blocks: Mapping[HostId, BlockId] | None = None
        for host, facts in self.store.fleet_facts(sweep).items():  # equal facts are one object
            block = None
            if not facts.os_build:
                blocks = self.store.scope_blocks(sweep, _CURRENT_VERSION) if blocks is None else blocks
                block = blocks.get(host)
            key = id(facts), block
            if key not in made:
                made[key] = self._stated(block, Outlook.of(facts))
            found[host] = made[key]
        return found

    def _outlook(self, cells: tuple[Cell, ...], facts: HostFacts | None) -> Outlook:
        outlook = Outlook.of(facts)
        if not outlook.arch and self._lacks_wow(cells):
            outlook = replace(outlook, arch=BITS_32)
        if outlook.build:
            return outlook
        return self._stated(next((cell.block for cell in cells if cell.scope_id == _CURRENT_VERSION), None), outlook)

    def _lacks_wow(self, cells: tuple[Cell, ...]) -> bool:
        """Was the 32-bit view of 64-bit Windows asked for, and is it not there?"""
        return any(
            cell.scope_id == _WOW_OID
            and isinstance(cell.status, Complete)
            and not cell.unproven
            and not self.rows(cell.block)
            for cell in cells
        )

    def _stated(self, block: BlockId | None, outlook: Outlook) -> Outlook:
        """The build from the registry itself, for engines that cannot ask the host for it."""
        if outlook.build:
            return outlook
        found = {fold(row.name): row.data for row in self.rows(block)}
        build = found.get("CURRENTBUILDNUMBER") or found.get("CURRENTBUILD", "")
        return replace(outlook, build=build, os_name=outlook.os_name or found.get("PRODUCTNAME", ""))

    def group(
        self, hosts: tuple[HostId, ...], outlook: Outlook, cells: tuple[Cell, ...], spots: tuple[BlindSpot, ...]
    ) -> HostGroup:
        """Hosts with one whole answer, judged."""
        hits = tuple(hit for cell in cells for hit in self._cell_hits(cell))
        found = with_blind_spots(self.index_of(cells, outlook), spots, outlook.facts, known=self.known)
        hidden = tuple(spot.key for spot in spots if spot.kind != LINK)
        return HostGroup(hosts, outlook, cells, found, hits, coverage_of(cells, found, hidden))

    def covered(
        self, hosts: tuple[HostId, ...], outlook: Outlook, cells: tuple[Cell, ...], spots: tuple[BlindSpot, ...]
    ) -> HostGroup:
        """Hosts with one whole answer and what it covers; no rule is tried, and what is not hidden is not indexed."""
        found = self.decoded(cells, outlook)
        table = (
            with_blind_spots(index(found), spots, outlook.facts, known=self.known)
            if spots
            else EntityIndex(found, {}, {})
        )
        hidden = tuple(spot.key for spot in spots if spot.kind != LINK)
        return HostGroup(hosts, outlook, cells, table, (), coverage_of(cells, table, hidden))

    def anew(self) -> Judge:
        """The same judge with nothing remembered."""
        return Judge(self.store, self.known, self.find_hits, self.detections)

    @property
    def remembers(self) -> int:
        """How many decoded parts of answers are in memory."""
        return len(self._blocks) + len(self._machines)

    def index_of(self, cells: tuple[Cell, ...], outlook: Outlook) -> EntityIndex:
        """All judged entities of the domain scopes among the cells."""
        used = [cell for cell in cells if cell.scope_id in SCOPES or is_detection(cell.scope_id)]
        key = _alike(used, outlook)
        if key not in self._indexes:
            told = (row for cell in used if is_detection(cell.scope_id) for row in self.rows(cell.block))
            self._indexes[key] = index((*self.decoded(cells, outlook), *detection_entities(told)))
        return self._indexes[key]

    def decoded(self, cells: tuple[Cell, ...], outlook: Outlook) -> tuple[Judged, ...]:
        """What a whole answer says of the machine, which many hosts share, and of its users."""
        users = self._judged(tuple(cell for cell in cells if cell.scope_id in USERS), outlook)
        return (*self._machine([cell for cell in cells if cell.scope_id in SCOPES.keys() - USERS], outlook), *users)

    def _machine(self, cells: list[Cell], outlook: Outlook) -> tuple[Judged, ...]:
        key = _alike(cells, outlook)
        if key not in self._machines:
            found = [one for cell in cells for one in self._judged((cell,), outlook)]
            self._machines[key] = (*found, *whole_host(found, self.known, outlook.releases))
        return self._machines[key]

    def _judged(self, cells: tuple[Cell, ...], outlook: Outlook) -> tuple[Judged, ...]:
        key = (outlook, *((cell.block, cell.unproven) for cell in cells))
        if key not in self._blocks:
            rows = (row for cell in cells for row in self.rows(cell.block))
            unproven = tuple(key for cell in cells for key in cell.unproven)
            facts = outlook.facts
            entities = decode(rows, facts, unproven=unproven, known=self.known)
            judged = judge_all(entities, facts, known=self.known)
            self._blocks[key] = tuple(one for one in judged if one.entity.keys)
        return self._blocks[key]

    def _cell_hits(self, cell: Cell) -> tuple[RuleHit, ...]:
        if cell.block is None:
            return ()
        key = cell.scope_id, cell.block
        if key not in self._hits:
            rows = self.rows(cell.block)
            find = self._detected if is_detection(cell.scope_id) else self.find_hits
            self._hits[key] = find(cell.scope_id, rows)
        return self._hits[key]

    def detection(self, scope_id: str) -> tuple[str, Severity]:
        """Title and severity of a detection, also of one that is not among today's."""
        query = self.detections.get(scope_id)
        title = query.title if query else f"a detection of then: {scope_id}"
        return title, (query.severity if query else None) or Severity.MEDIUM

    def _detected(self, scope_id: str, rows: tuple[RegistryRow, ...]) -> tuple[RuleHit, ...]:
        """Any row of a detection is a hit."""
        query = self.detections.get(scope_id)
        title, severity = self.detection(scope_id)
        return tuple(
            RuleHit(
                rule_id=query.name if query else scope_id,
                title=title,
                severity=severity,
                certainty=Certainty.CERTAIN,
                row=row,
                scope_id=scope_id,
                techniques=query.techniques if query else (),
            )
            for row in rows
        )

    def users(self, cells: Iterable[Cell], outlook: Outlook) -> EntityIndex:
        """Who has a profile and whose hive is loaded, by the cells that say so; not remembered."""
        listed = tuple(cell for cell in cells if cell.scope_id in LISTINGS)
        if not listed:
            return index(())
        unproven = tuple(key for cell in listed for key in cell.unproven)
        rows = (row for cell in listed for row in self.rows(cell.block))
        found = judge_all(
            decode(rows, outlook.facts, unproven=unproven, known=self.known), outlook.facts, known=self.known
        )
        return index(tuple(one for one in found if one.entity.keys))


def _alike(cells: Iterable[Cell], outlook: Outlook) -> tuple[object, ...]:
    """What must be equal for two hosts to have the same entities."""
    return (outlook, *((cell.scope_id, cell.block, cell.unproven) for cell in cells))


def coverage_of(cells: tuple[Cell, ...], found: EntityIndex, hidden: tuple[str, ...] = ()) -> Coverage:
    """What the cells cover of the domain areas, and whose hives were there."""
    areas = tuple(
        CoveredArea(scope=SCOPES[cell.scope_id], status=cell.status, unproven=cell.unproven)
        for cell in cells
        if cell.scope_id in SCOPES
    )
    persons = {
        fold(one.entity.get("sid"))
        for one in found.judged
        if one.entity.kind == "user" and one.entity.get("hive") == "loaded" and is_person(one.entity.get("sid"))
    }
    return Coverage(areas, (*hidden, *_cut(found)), frozenset(persons) | _SYSTEM_HIVES)


def _cut(found: EntityIndex) -> Iterator[str]:
    """Keys whose listing was cut: what is not shown below them may still be there."""
    for one in found.judged:
        if one.entity.incomplete and one.entity.kind == "area":
            yield one.entity.get("key")
        elif one.entity.incomplete and one.entity.kind == "winsock_catalog":
            yield one.entity.get("entries")
