"""On how many hosts an entity is: counted from groups of equal hosts, never from rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleetscan.findings.model import Prevalence, PrevalenceLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fleetscan.domain.entity import Entity, Ident
    from fleetscan.domain.verdicts import Judged
    from fleetscan.findings.reading import HostGroup

    Shape = tuple[Ident, str, str]

MANY = 5
"""Fewer hosts are never many, however small the fleet."""
SHARE = 3
"""An entity on a third of the hosts of a build, or of the fleet, is common."""


def shape(entity: Entity) -> Shape:
    """What must be equal for two hosts to have the same thing: identity, DLL and function."""
    return entity.ident, entity.get("dll"), entity.get("function")


@dataclass(slots=True)
class Census:
    """Hosts by entity and OS build."""

    builds: Counter[str] = field(default_factory=Counter)
    _seen: dict[Shape, Counter[str]] = field(default_factory=dict)
    _examples: dict[Shape, Judged] = field(default_factory=dict)

    def add(self, group: HostGroup) -> None:
        """Count a group of equal hosts."""
        count, build = len(group.hosts), group.outlook.build
        self.builds[build] += count
        for one in group.index.judged:
            if one.entity.rows or one.entity.keys:
                key = shape(one.entity)
                self._seen.setdefault(key, Counter())[build] += count
                self._examples.setdefault(key, one)

    def of(self, entity: Entity, build: str) -> Prevalence:
        """The entity within the build, or over the fleet where no build is known."""
        seen = self._seen.get(shape(entity), Counter())
        if build:
            return Prevalence(seen[build], self.builds[build], build)
        return Prevalence(seen.total(), self.builds.total())

    def is_common(self, entity: Entity, build: str) -> bool:
        """Is it on so many hosts that it is part of the fleet rather than of one incident?"""
        seen = self._seen.get(shape(entity), Counter())
        total = Prevalence(seen.total(), self.builds.total())
        return any(one.hosts >= MANY and one.hosts * SHARE >= one.of for one in (self.of(entity, build), total))

    def lines(self, new: Mapping[Shape, int]) -> tuple[PrevalenceLine, ...]:
        """Every entity, rare ones first."""
        found = [self._line(key, seen, new.get(key, 0)) for key, seen in self._seen.items()]
        return tuple(sorted(found, key=_rare_first))

    def _line(self, key: Shape, seen: Counter[str], new_on: int) -> PrevalenceLine:
        example = self._examples[key]
        builds = tuple(Prevalence(seen[build], self.builds[build], build) for build in sorted(seen))
        total = Prevalence(seen.total(), self.builds.total())
        return PrevalenceLine(example.entity, example.verdict, total, builds, new_on)


def _rare_first(line: PrevalenceLine) -> tuple[int, object]:
    return line.total.hosts, line.entity.ident


def census(groups: Iterable[HostGroup]) -> Census:
    """The census of a sweep."""
    found = Census()
    for group in groups:
        found.add(group)
    return found
