"""The entity: what a group of registry rows means, with the identity under which two sweeps are compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from fleetscan.domain.labels import label
from fleetscan.model.finding import Severity
from fleetscan.model.registry import RegistryRow, fold

if TYPE_CHECKING:
    from collections.abc import Iterable

Pairs = tuple[tuple[str, str], ...]
"""An ordered mapping that can be hashed."""

Ident = tuple[str, Pairs]
"""Kind and folded identity: equal for the same thing on two hosts or in two sweeps."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Something odd in the shape of a registration: a stable code, a sentence, and how much it matters alone."""

    code: str
    text: str
    severity: Severity


@dataclass(frozen=True, kw_only=True)
class Entity:
    """One thing that Windows would load, list or obey (windows-domain 4.6).

    ``identity`` is matched, ``attributes`` are compared, ``ignored`` is shown and never compared. ``incomplete`` says
    why what was seen is not everything; such an entity is never clean and never compared attribute by attribute.
    """

    kind: str
    identity: Pairs
    attributes: Pairs = ()
    ignored: Pairs = ()
    keys: tuple[str, ...] = ()
    rows: tuple[RegistryRow, ...] = ()
    flags: tuple[Flag, ...] = ()
    title: str = ""
    incomplete: str = ""

    @cached_property
    def ident(self) -> Ident:
        """Kind and identity without case."""
        return self.kind, tuple((name, fold(value)) for name, value in self.identity)

    def get(self, name: str) -> str:
        """An identity field, attribute or ignored field by name; empty if there is none."""
        for pairs in (self.identity, self.attributes, self.ignored):
            for key, value in pairs:
                if key == name:
                    return value
        return ""

    @property
    def label(self) -> str:
        """The entity in one line for people."""
        return label(self.kind, self.identity, self.title)

    @property
    def severity_of_flags(self) -> Severity:
        """The highest severity among the flags."""
        return max((flag.severity for flag in self.flags), default=Severity.INFO)


def merge_duplicates(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    """One entity for every identity; several registrations under one identity are kept as lists and flagged."""
    groups: dict[Ident, list[Entity]] = {}
    for entity in entities:
        groups.setdefault(entity.ident, []).append(entity)
    return tuple(_merged(group) for group in groups.values())


def _merged(group: list[Entity]) -> Entity:
    first = group[0]
    if len(group) == 1:
        return first
    # Sorted by content, so that the order of rows and entry numbers changes nothing.
    ordered = sorted(group, key=lambda entity: entity.attributes)
    differ = any(entity.attributes != first.attributes for entity in group)
    severity = Severity.HIGH if differ else Severity.MEDIUM
    flag = Flag("duplicate", f"{len(group)} registrations under one identity", severity)
    return replace(
        first,
        attributes=_joined([entity.attributes for entity in ordered]),
        ignored=_joined([entity.ignored for entity in ordered]),
        keys=tuple(key for entity in ordered for key in entity.keys),
        rows=tuple(row for entity in ordered for row in entity.rows),
        flags=(flag, *dict.fromkeys(flag for entity in ordered for flag in entity.flags)),
        incomplete=next((entity.incomplete for entity in ordered if entity.incomplete), ""),
    )


def _joined(parts: list[Pairs]) -> Pairs:
    names = dict.fromkeys(name for pairs in parts for name, _ in pairs)
    tables = [dict(pairs) for pairs in parts]
    return tuple((name, " | ".join(table.get(name, "") for table in tables)) for name in names)
