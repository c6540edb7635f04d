"""What only a whole host shows: a registration that one view has and the other lost, and listings that were cut."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fleetscan.domain.entity import Entity
from fleetscan.domain.verdicts import Judged, Verdict
from fleetscan.model.finding import Severity, VerdictKind, What
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetscan.domain.entity import Ident, Pairs
    from fleetscan.domain.known_good import KnownGood

_TWINS = {"native": "wow64", "wow64": "native", "32": "64", "64": "32"}
TWINNED = frozenset({"sip", "trust", "winsock_protocol", "winsock_namespace"})
"""Kinds of which both views should hold the same."""

_PLACES = frozenset({"sip", "trust"})
"""Kinds whose registrations stand in function sets or steps."""
_CATALOGS = {"protocol": "winsock_protocol", "namespace": "winsock_namespace"}
_TAIL = 3
"""So many registrations missing at the end of a listing, and only there, look like a listing that was cut."""


def whole_host(judged: Iterable[Judged], known: KnownGood, releases: frozenset[str]) -> tuple[Judged, ...]:
    """What is missing from the whole answer of a host, each thing once."""
    table = tuple(judged)
    return tuple(
        {one.entity.ident: one for one in (*cut_listings(table, known, releases), *missing_twins(table))}.values()
    )


def missing_twins(judged: Iterable[Judged]) -> Iterator[Judged]:
    """What is stock in one view and absent from the other, where the other was read.

    A view that has nothing at all of the same function set, step or catalogue is not there or was not read: that is no
    removal. Rows missing at the end of a listing alone make the listing incomplete, not the rows removed.
    """
    everything = tuple(judged)
    table = [one for one in everything if one.entity.kind in TWINNED and one.entity.get("view") in _TWINS]
    seen = {one.entity.ident for one in table}
    groups: dict[tuple[str, str, str], list[Entity]] = {}
    for one in table:
        groups.setdefault(_group(one.entity, one.entity.get("view")), []).append(one.entity)
    missing: dict[tuple[str, str, str], list[Judged]] = {}
    for one in table:
        entity = one.entity
        group = _group(entity, _TWINS[entity.get("view")])
        if one.verdict.stock and _twin_ident(entity) not in seen and group in groups:
            missing.setdefault(group, []).append(one)
    unsure = {*_short_catalogs(everything), *(group for group, found in groups.items() if any(map(_is_unread, found)))}
    for group, absent in missing.items():
        if group not in unsure:
            yield from _report(absent, groups[group])


def cut_listings(judged: Iterable[Judged], known: KnownGood, releases: frozenset[str]) -> Iterator[Judged]:
    """Function sets and steps whose last stock registrations are all missing: what ends a listing is no removal.

    For whole answers only. Both views may be cut at the same place, and 32-bit Windows has one view, so the facts tell
    what should be there; a listing that shows few stock registrations says nothing about the others.
    """
    groups: dict[tuple[str, str, str], list[Entity]] = {}
    for one in judged:
        if one.entity.kind in _PLACES and one.entity.get("view") in _TWINS and not one.entity.get("encoding"):
            groups.setdefault(_group(one.entity, one.entity.get("view")), []).append(one.entity)
    for (kind, _, place), present in groups.items():
        stock = _stock_keys(known, kind, place, releases)
        shown = {fold(entity.keys[0].rpartition("\\")[2]) for entity in present if entity.keys}
        missing = stock - shown
        if len(missing) >= _TAIL and len(stock & shown) >= _TAIL and min(missing) > max(shown):
            yield _cut(present[0].keys[0].rpartition("\\")[0], len(missing))


def _stock_keys(known: KnownGood, kind: str, place: str, releases: frozenset[str]) -> set[str]:
    """Key names that a function set or step has on every host of the release."""
    return {
        f"{{{fact.guid}}}"
        for fact in known.of_kind(kind)
        if fact.guid and fact.fits(releases) and (releases or "any" in fact.windows_versions)
        for own in fact.functions
        if fold(own) == place and fact.is_stock_in(own)
    }


def _short_catalogs(judged: Iterable[Judged]) -> Iterator[tuple[str, str, str]]:
    """Catalogues that hold more rows than were seen."""
    for one in judged:
        if one.entity.kind == "winsock_catalog" and one.entity.incomplete:
            yield _CATALOGS[one.entity.get("catalog")], one.entity.get("view"), ""


def _is_unread(entity: Entity) -> bool:
    """A catalogue row that could not be read: it may be the one that is missed."""
    return entity.kind in _CATALOGS.values() and (bool(entity.incomplete) or not entity.get("provider"))


def _report(absent: list[Judged], present: list[Entity]) -> Iterator[Judged]:
    parent = present[0].keys[0].rpartition("\\")[0]
    last = max(fold(entity.keys[0].rpartition("\\")[2]) for entity in present)
    names = [fold(one.entity.keys[0].rpartition("\\")[2]) for one in absent]
    if len(names) >= _TAIL and min(names) > last and absent[0].entity.kind in {"sip", "trust"}:
        yield _cut(parent, len(names))
        return
    for one in absent:
        entity = one.entity
        twin = _TWINS[entity.get("view")]
        why = (
            f"stock in the {entity.get('view')} view, absent from the {twin} view: sabotage, or room for something else"
        )
        gone = replace(
            entity, identity=_with_view(entity.identity, twin), attributes=(), ignored=(), keys=(), rows=(), flags=()
        )
        verdict = Verdict(
            kind=VerdictKind.STRUCTURAL, what=What.REMOVED, severity=Severity.MEDIUM, why=why, fact=one.verdict.fact
        )
        yield Judged(gone, verdict)


def _cut(parent: str, missing: int) -> Judged:
    why = f"{missing} stock registrations are missing behind the last one shown: the listing was cut"
    entity = Entity(kind="area", identity=(("key", parent),), keys=(parent,), incomplete=why)
    verdict = Verdict(kind=VerdictKind.STRUCTURAL, what=What.INCOMPLETE, severity=Severity.MEDIUM, why=why)
    return Judged(entity, verdict)


def _group(entity: Entity, view: str) -> tuple[str, str, str]:
    return entity.kind, view, fold(entity.get("set") or entity.get("step"))


def _with_view(identity: Pairs, view: str) -> Pairs:
    return tuple((name, view if name == "view" else value) for name, value in identity)


def _twin_ident(entity: Entity) -> Ident:
    kind, pairs = entity.ident
    return kind, tuple((name, fold(_TWINS[entity.get("view")]) if name == "view" else value) for name, value in pairs)
