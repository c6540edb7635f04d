"""Places where the table hides something, tied to the entities they hide: such an entity is never fine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.domain.areas import AREAS
from fleetscan.domain.decode import decode
from fleetscan.domain.entity import Entity
from fleetscan.domain.index import EntityIndex, index
from fleetscan.domain.judge import judge_all
from fleetscan.domain.verdicts import Judged, Verdict
from fleetscan.model.finding import Severity, VerdictKind, What
from fleetscan.model.registry import KeyPath, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetscan.domain.known_good import KnownGood
    from fleetscan.model.snapshot import BlindSpot, HostFacts

LINK = "link"
"""The one kind behind which nothing is hidden: the data shown is that of the link's target."""
_WHOLE_SCOPES = frozenset({"missing hive", "damage", "pattern cut short", "depth limit"})
"""Kinds that the status of the scopes already tells."""


def with_blind_spots(
    found: EntityIndex,
    spots: Iterable[BlindSpot],
    facts: HostFacts | None = None,
    *,
    known: KnownGood | None = None,
) -> EntityIndex:
    """The entities, with what is hidden behind them; areas in which something is hidden become entities.

    Where the engine found what is hidden, that is decoded and judged with what the key shows.
    """
    relevant = [spot for spot in spots if spot.kind not in _WHOLE_SCOPES and _is_watched(spot.key)]
    if not relevant:
        return found
    changed: dict[object, Judged] = {}
    for spot in relevant:
        judged = found.by_key.get(fold(str(KeyPath.parse(spot.key)))) or _area(spot)
        current = changed.get(judged.entity.ident, judged)
        changed[judged.entity.ident] = Judged(current.entity, _hidden(current.verdict, spot))
        for one in _revealed(judged.entity, spot, facts, known):
            changed[one.entity.ident] = one
    kept = [changed.pop(one.entity.ident, one) for one in found.judged]
    return index((*kept, *changed.values()))


def _revealed(entity: Entity, spot: BlindSpot, facts: HostFacts | None, known: KnownGood | None) -> Iterator[Judged]:
    """What is wrong with what was found behind the spot."""
    if not spot.rows:
        return
    for one in judge_all(decode((*entity.rows, *spot.rows), facts, known=known), facts, known=known):
        if one.verdict.what is not What.INCOMPLETE and one.verdict.severity >= Severity.MEDIUM:
            yield Judged(one.entity, _hidden(one.verdict, spot))


def _is_watched(key: str) -> bool:
    elements = KeyPath.parse(key).elements
    return any(scope.contains(elements) for scope in AREAS)


def _area(spot: BlindSpot) -> Judged:
    entity = Entity(kind="area", identity=(("key", spot.key),), keys=(spot.key,))
    nothing = Verdict(kind=VerdictKind.NOT_JUDGED, what=What.OBSERVED, severity=Severity.INFO, why="")
    return Judged(entity, nothing)


def _hidden(verdict: Verdict, spot: BlindSpot) -> Verdict:
    why = f"{spot.kind}: {spot.detail}"
    if not verdict.is_fine:
        return Verdict(
            kind=verdict.kind,
            what=verdict.what,
            severity=max(verdict.severity, Severity.MEDIUM),
            why=f"{verdict.why}; {why}",
            fact=verdict.fact,
        )
    what = What.SUSPICIOUS if spot.kind == LINK else What.INCOMPLETE
    return Verdict(kind=VerdictKind.STRUCTURAL, what=what, severity=Severity.MEDIUM, why=why, fact=verdict.fact)
