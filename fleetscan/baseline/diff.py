"""The entity diff: what appeared, vanished or changed between two readings of one host, and what cannot be compared.

Meanings are compared, not lines: entry numbers, catalogue ids, write times, spelling of paths and bytes without
meaning are no part of an entity's attributes. What one side did not cover is never added or removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from fleetscan.baseline.identity import Coverage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fleetscan.domain.entity import Entity, Ident


class ChangeKind(StrEnum):
    """What happened to an entity."""

    ADDED = "added"
    REMOVED = "removed"
    MODIFIED = "modified"
    REPLACED = "replaced"  # the same identity loads another file


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """One attribute, before and after; None is "not there"."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entity that differs. ``before`` is None for what was added, ``after`` for what was removed."""

    kind: ChangeKind
    before: Entity | None = None
    after: Entity | None = None
    attributes: tuple[AttributeChange, ...] = ()

    @property
    def entity(self) -> Entity:
        """The entity as it is now, or as it was."""
        entity = self.after or self.before
        if entity is None:
            raise ValueError("a change without entity")
        return entity


@dataclass(frozen=True, slots=True)
class NotComparable:
    """An entity of one side that the other side could not speak of."""

    entity: Entity
    side: str
    reason: str


class Covers(Protocol):
    """What one side of a comparison covered."""

    def gap(self, entity: Entity) -> str:
        """Why the side cannot speak of the entity; empty if it can."""
        ...


@dataclass(frozen=True, slots=True)
class Reasons:
    """Coverage known entity by entity: why this side cannot speak of it, empty where it can."""

    by_ident: Mapping[Ident, str]

    def gap(self, entity: Entity) -> str:
        """See ``Covers``."""
        return self.by_ident.get(entity.ident, "")


@dataclass(frozen=True, slots=True)
class Side:
    """One reading: its entities and what it covered."""

    entities: tuple[Entity, ...]
    coverage: Covers = field(default_factory=Coverage)


@dataclass(frozen=True, slots=True)
class Diff:
    """The difference of two readings."""

    changes: tuple[Change, ...] = ()
    not_comparable: tuple[NotComparable, ...] = ()


def diff(before: Side, after: Side) -> Diff:
    """Compare two readings by identity; ordered by kind and identity."""
    old, new = _table(before.entities), _table(after.entities)
    changes: list[Change] = []
    gaps: list[NotComparable] = []
    for ident in sorted(old.keys() | new.keys()):
        _compare(old.get(ident), new.get(ident), before.coverage, after.coverage, changes, gaps)
    return Diff(tuple(changes), tuple(gaps))


def _table(entities: Iterable[Entity]) -> dict[Ident, Entity]:
    return {entity.ident: entity for entity in entities}


def _compare(
    old: Entity | None,
    new: Entity | None,
    before: Covers,
    after: Covers,
    changes: list[Change],
    gaps: list[NotComparable],
) -> None:
    if old is None and new is not None:
        if reason := before.gap(new):
            gaps.append(NotComparable(new, "baseline", reason))
        else:
            changes.append(Change(kind=ChangeKind.ADDED, after=new))
    elif new is None and old is not None:
        if reason := after.gap(old):
            gaps.append(NotComparable(old, "sweep", reason))
        else:
            changes.append(Change(kind=ChangeKind.REMOVED, before=old))
    elif old is not None and new is not None and old.attributes != new.attributes:
        if reason := new.incomplete or old.incomplete:
            gaps.append(NotComparable(new, "sweep" if new.incomplete else "baseline", reason))
        else:
            changes.append(_modified(old, new))


def _modified(old: Entity, new: Entity) -> Change:
    before, after = dict(old.attributes), dict(new.attributes)
    names = [*before, *(name for name in after if name not in before)]
    attributes = tuple(
        AttributeChange(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )
    kind = ChangeKind.REPLACED if any(one.name == "dll" for one in attributes) else ChangeKind.MODIFIED
    return Change(kind=kind, before=old, after=new, attributes=attributes)


def apply(changes: Iterable[Change], entities: Iterable[Entity]) -> Mapping[Ident, Entity]:
    """The entities after the changes: ``apply(diff(a, b).changes, a)`` is b."""
    table = _table(entities)
    for change in changes:
        if change.after is None:
            table.pop(change.entity.ident, None)
        else:
            table[change.after.ident] = change.after
    return table


def reverse(change: Change) -> Change:
    """The change from after to before."""
    kinds = {ChangeKind.ADDED: ChangeKind.REMOVED, ChangeKind.REMOVED: ChangeKind.ADDED}
    return Change(
        kind=kinds.get(change.kind, change.kind),
        before=change.after,
        after=change.before,
        attributes=tuple(AttributeChange(one.name, one.new, one.old) for one in change.attributes),
    )
