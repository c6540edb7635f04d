"""Two stored sweeps compared for ``fleetscan diff``: by their changed cells alone, whatever the size of the fleet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from fleetscan.domain.known_good import load
from fleetscan.findings.assemble import no_hits
from fleetscan.findings.compare import Comparer, Sides, diffs
from fleetscan.findings.fleet import fleet_changes, host_changes
from fleetscan.findings.hits import RuleHits
from fleetscan.findings.model import Gap
from fleetscan.findings.reading import Judge
from fleetscan.findings.records import identity_text
from fleetscan.findings.removals import filtered_by_data
from fleetscan.findings.values import Values

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from fleetscan.baseline.grade import Graded
    from fleetscan.domain.entity import Entity
    from fleetscan.findings.compare import HostDiff, Outlooks
    from fleetscan.findings.model import FleetChange, HostChange
    from fleetscan.model.host import HostId
    from fleetscan.model.rule import Rule
    from fleetscan.queries import Query
    from fleetscan.store.interface import Baseline, Store, Sweep, SweepId


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changed from one sweep to another, and what could not be compared."""

    changes: tuple[HostChange, ...] = ()
    fleet_changes: tuple[FleetChange, ...] = ()
    gaps: tuple[Gap, ...] = ()
    first_seen: tuple[HostId, ...] = ()
    no_longer_listed: tuple[HostId, ...] = ()
    first_asked: tuple[str, ...] = ()
    """Scopes, as text, that only the newer sweep asked for: new rules, about which the past says nothing."""
    no_longer_asked: tuple[str, ...] = ()
    """Scopes, as text, that only the older sweep asked for: what is there now is unknown."""

    @property
    def is_complete(self) -> bool:
        """Does the newer sweep speak of all that the older one knew?"""
        return not (self.gaps or self.no_longer_asked)


def difference(
    store: Store,
    base: Baseline,
    sweep: Sweep,
    *,
    rules: Sequence[Rule] = (),
    detections: Iterable[Query] = (),
    hosts: Collection[HostId] | None = None,
) -> Difference:
    """Compare; ``rules`` say how much a change matters that no decoder knows, ``hosts`` chooses some of the fleet."""
    now, then = (_reached(store, one, hosts) for one in (sweep.id, base.sweep))
    judge = Judge(store, load(), no_hits, {query.scope_id: query for query in detections})
    outlooks = judge.outlooks(base.sweep), judge.outlooks(sweep.id)
    fleet = _Fleet(base, now, then, outlooks)
    values = Values(judge, RuleHits.of(rules) if rules else None, _by_data(store, (base, sweep)))
    comparer = Comparer(judge, values)
    pasts = fleet.pasts()
    found = tuple(
        one
        for golden, chosen in pasts.items()
        for one in diffs(comparer, Sides(base=base.sweep, sweep=sweep.id, golden=golden, hosts=chosen), outlooks)
        if one.changes or one.gaps
    )
    before, after = (dict(store.plan(one).scopes) for one in (base.sweep, sweep.id))
    return Difference(
        changes=tuple(host_changes(found)),
        fleet_changes=fleet_changes(
            found, {host: outlooks[1][host].build for chosen in pasts.values() for host in chosen}
        ),
        gaps=(*_entity_gaps(found), *fleet.gaps()),
        first_seen=fleet.first_seen if fleet.by_past else (),
        no_longer_listed=fleet.no_longer_listed if fleet.by_past else (),
        first_asked=_only_in(after, before),
        no_longer_asked=_only_in(before, after),
    )


class Wants(Protocol):
    """Which entities somebody asked for."""

    def __call__(self, entity: Entity, *, gone: bool | None) -> bool:
        """Is the entity wanted? ``gone``: it is not there any more; None: nobody knows."""
        ...


def only(found: Difference, wants: Wants) -> Difference:
    """What concerns wanted entities; what could not be compared at all stays, because it may hold some."""

    def is_wanted(graded: Graded) -> bool:
        return wants(graded.change.entity, gone=graded.change.after is None)

    fleet = (replace(one, changes=tuple(filter(is_wanted, one.changes))) for one in found.fleet_changes)
    return replace(
        found,
        changes=tuple(one for one in found.changes if is_wanted(one.graded)),
        fleet_changes=tuple(one for one in fleet if one.changes),
        gaps=tuple(gap for gap in found.gaps if gap.entity is None or wants(gap.entity, gone=None)),
        first_seen=(),
        no_longer_listed=(),
    )


@dataclass(frozen=True, slots=True)
class Matching:
    """Wants what rules match, or what detections returned."""

    rules: RuleHits
    detections: frozenset[str] = frozenset()
    """Their scopes."""

    def __call__(self, entity: Entity, *, gone: bool | None) -> bool:
        """See ``Wants``."""
        if any(row.key in self.detections for row in entity.rows) or self.rules("", entity.rows):
            return True
        return gone is not False and bool(self.rules.removed("", entity.rows))


@dataclass(frozen=True, slots=True)
class Named:
    """Wants what holds a text in its kind, identity or name."""

    text: str

    def __call__(self, entity: Entity, *, gone: bool | None) -> bool:  # noqa: ARG002 - one contract
        """See ``Wants``."""
        shown = f"{entity.kind} {identity_text(entity)} {entity.label}"
        return self.text.casefold() in shown.casefold()


def _reached(store: Store, sweep: SweepId, hosts: Collection[HostId] | None) -> Mapping[HostId, bool]:
    """The hosts, and whether they gave anything."""
    found = store.reached(sweep)
    return found if hosts is None else {host: covered for host, covered in found.items() if host in hosts}


def _by_data(store: Store, sides: tuple[Baseline, Sweep]) -> frozenset[str]:
    base, sweep = sides
    return filtered_by_data(scope for one in (base.sweep, sweep.id) for scope in store.plan(one).scopes)


@dataclass(frozen=True, slots=True)
class _Fleet:
    """Who is compared with whom, and who cannot be."""

    base: Baseline
    now: Mapping[HostId, bool]
    then: Mapping[HostId, bool]
    outlooks: tuple[Outlooks, Outlooks]

    @property
    def by_past(self) -> bool:
        """Are hosts compared with their own past?"""
        return self.base.own_past or not self.base.golden

    def pasts(self) -> Mapping[HostId | None, frozenset[HostId]]:
        """Golden hosts (None: each host's own past) with the hosts that are compared with them."""
        by_past = self.by_past
        own = {host for host, reached in self.now.items() if reached and by_past and self.then.get(host)}
        found: dict[HostId | None, set[HostId]] = {None: own} if own else {}
        for host, reached in self.now.items():
            if reached and host not in own and (golden := self._golden(host)) is not None:
                found.setdefault(golden, set()).add(host)
        return {past: frozenset(hosts) for past, hosts in found.items()}

    def _golden(self, host: HostId) -> HostId | None:
        """The golden host that this one is compared with; one alone stands for every build."""
        golden = [name for name in self.base.golden if name in self.outlooks[0]]
        if len(golden) == 1 and not self.base.own_past:
            return golden[0]
        build = self._build(1, host) if golden else ""
        return next((name for name in golden if self._build(0, name) == build), None)

    def _build(self, side: int, host: HostId) -> str:
        outlook = self.outlooks[side].get(host)
        return outlook.build if outlook else ""

    def gaps(self) -> Iterator[Gap]:
        """Hosts that cannot be compared, with the reason."""
        for host, reached in sorted(self.now.items()):
            if why := self._gap(host) if reached else self._missing(host):
                yield Gap(host=host, reason=why)

    def _missing(self, host: HostId) -> str:
        return "the host was not reached" if host in self.then or self.base.golden else ""

    def _gap(self, host: HostId) -> str:
        if (self.by_past and self.then.get(host)) or self._golden(host) is not None:
            return ""
        if self.base.golden:
            build = self._build(1, host)
            return f"no golden host of build {build}" if build else "no golden host: the host's build is not known"
        return "baseline: the host was not reached" if host in self.then else ""

    @property
    def first_seen(self) -> tuple[HostId, ...]:
        """Hosts that gave something and were not in the older sweep, if that matters."""
        return tuple(sorted(host for host, reached in self.now.items() if reached and host not in self.then))

    @property
    def no_longer_listed(self) -> tuple[HostId, ...]:
        """Hosts of the older sweep that the newer one does not know."""
        return tuple(sorted(self.then.keys() - self.now.keys()))


def _entity_gaps(diffs: Iterable[HostDiff]) -> Iterator[Gap]:
    for found in diffs:
        for entity, reason in found.gaps:
            yield Gap(host=found.host, reason=reason, entity=entity)


def _only_in(scopes: Mapping[str, str], others: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(scopes[scope] or scope for scope in sorted(scopes.keys() - others.keys()))
