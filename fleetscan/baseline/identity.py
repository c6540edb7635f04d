"""What two sweeps are compared by: units of rows that are decoded together, and what each side covered."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.domain.users import sid_of
from fleetscan.model.registry import HKU, KeyPath, fold
from fleetscan.model.snapshot import Complete, Partial, Reason, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fleetscan.domain.entity import Entity
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.scope import Scope
    from fleetscan.model.snapshot import Status

_WINSOCK = "HKEY_LOCAL_MACHINE\\SYSTEM\\CURRENTCONTROLSET\\SERVICES\\WINSOCK2\\PARAMETERS"
_PROFILES = "HKEY_LOCAL_MACHINE\\SOFTWARE\\MICROSOFT\\WINDOWS NT\\CURRENTVERSION\\PROFILELIST"
_BY_KEY = frozenset({Reason.UNPROVEN, Reason.HIDDEN})
"""Reasons that name the uncovered keys one by one (``unproven``, ``hidden``); the rest of the scope is covered."""
_FEW = 8
_PLAIN = re.compile(r"[A-Z0-9 _.{}$-]+")


def unit_of(row: RegistryRow) -> str:
    """Rows of one unit are decoded together; rows of different units never belong to one entity.

    A registration is its key, the WinSock2 catalogues are one unit (chains, order, counters), and so are the users.
    """
    key = fold(row.key)
    if key.startswith(_WINSOCK):
        return _WINSOCK
    if key in {HKU, _PROFILES}:
        return HKU
    return f"{key}\\{fold(row.name)}" if row.is_subkey else key


@dataclass(frozen=True, slots=True)
class Units:
    """Rows as a set and by unit; made once for a block that many hosts share."""

    rows: frozenset[RegistryRow]
    by_unit: Mapping[str, tuple[RegistryRow, ...]]

    @classmethod
    def of(cls, rows: Iterable[RegistryRow]) -> Units:
        """Arrange rows."""
        table = tuple(rows)
        by_unit: dict[str, list[RegistryRow]] = {}
        for row in table:
            by_unit.setdefault(unit_of(row), []).append(row)
        return cls(frozenset(table), {unit: tuple(found) for unit, found in by_unit.items()})


def changed_lines(
    old: Sequence[bytes], new: Sequence[bytes], read: Callable[[Iterable[bytes]], tuple[RegistryRow, ...]]
) -> tuple[tuple[RegistryRow, ...], tuple[RegistryRow, ...]]:
    """Both sides of a block reduced to the units that differ: what is equal on both sides is not decoded at all.

    ``read`` decodes lines. Equal lines are equal rows; a line begins with the key, which ends at ``","``.
    """
    units = frozenset(unit_of(row) for row in read(_differing(old, new)))
    if not units:
        return (), ()
    near = _Near.of(units)
    sides = (read(filter(near.holds, lines)) for lines in (old, new))
    before, after = (tuple(row for row in rows if unit_of(row) in units) for rows in sides)
    return before, after


def _differing(old: Sequence[bytes], new: Sequence[bytes]) -> list[bytes]:
    """Lines of one side only, and lines that one side has more often: a value name shown twice is a trace of hiding."""
    left, right = frozenset(old), frozenset(new)
    found = [*(left - right), *(right - left)]
    if len(left) < len(old) or len(right) < len(new):
        often = Counter(old), Counter(new)
        found += [line for line in left & right if often[0][line] != often[1][line]]
    return found


@dataclass(frozen=True, slots=True)
class _Near:
    """Tells by the bytes of a line whether its row may belong to some units: it may say yes where it is no."""

    units: frozenset[str]
    above: frozenset[str]
    """The keys that may list a unit's key."""
    names: tuple[bytes, ...] = ()
    """The last names of the units, where they are few and plain: a line of theirs holds one. Saves most of the work."""

    @classmethod
    def of(cls, units: frozenset[str]) -> _Near:
        """What is near these units."""
        # A listed name never holds a backslash in a registry; in the answer of a lying host it may hold many.
        above = (unit[:end] for unit in units for end, letter in enumerate(unit) if letter == "\\")
        names = tuple(unit.rpartition("\\")[2] for unit in units)
        plain = len(names) <= _FEW and all(map(_PLAIN.fullmatch, names)) and units.isdisjoint({_WINSOCK, HKU})
        return cls(units, frozenset(above), tuple(name.encode() for name in names) if plain else ())

    def holds(self, line: bytes) -> bool:
        """May the line's row be in one of the units?"""
        if self.names and line.isascii():
            folded = line.upper()
            for one in self.names:
                if one in folded:
                    break
            else:
                return False
        text, _, rest = line.partition(b'","')
        key = _folded(text)
        if key is None or key in self.units:
            return True
        if key.startswith(_WINSOCK) or key in {HKU, _PROFILES}:
            return _WINSOCK in self.units or HKU in self.units
        if key not in self.above:
            return False
        name = _folded(rest.partition(b'","')[0])
        return name is None or f"{key}\\{name}" in self.units


def _folded(text: bytes) -> str | None:
    """The folded text of a part of a line, if that is ASCII in which only backslashes are escaped; else None."""
    bare = text.replace(b"\\\\", b"\\")
    if not text.isascii() or 2 * bare.count(b"\\") != text.count(b"\\"):
        return None
    return bare.decode("ascii").upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredArea:
    """What one side knows of one scope: its status, and the keys that are not proven."""

    scope: Scope
    status: Status
    unproven: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one side of a comparison covered. Without areas everything counts as covered (rows read from files)."""

    areas: tuple[CoveredArea, ...] | None = None
    hidden: tuple[str, ...] = ()
    """Keys behind which the engine knows something it cannot show."""
    loaded: frozenset[str] | None = None
    """Folded names of the loaded user hives; None: all."""

    def gap(self, entity: Entity) -> str:
        """Why the side cannot speak of the entity; empty if it can."""
        return next((reason for key in entity.keys if (reason := self._gap(key))), "") if entity.keys else ""

    def hidden_gap(self, key: str) -> str:
        """Why the side could not see the key whatever was asked: its hive was not loaded, or something hides it."""
        folded, sid = fold(key), fold(sid_of(key))
        if sid and self.loaded is not None and sid not in self.loaded:
            return "the user's hive was not loaded"
        if any(_holds(fold(hidden), folded) for hidden in self.hidden):
            return "something is hidden there"
        return ""

    def _gap(self, key: str) -> str:
        folded = fold(key)
        if reason := self.hidden_gap(key):
            return reason
        if self.areas is None:
            return ""
        if any(_holds(fold(unproven), folded) for area in self.areas for unproven in area.unproven):
            return "the key, or one above it, gave no row"
        elements = KeyPath.parse(key).elements
        reasons = [_reason(area) for area in self.areas if area.scope.contains(elements)]
        return "not asked" if not reasons else "" if "" in reasons else reasons[0]


def _reason(area: CoveredArea) -> str:
    status = area.status
    if isinstance(status, Complete) or (isinstance(status, Partial) and status.reason in _BY_KEY):
        return ""
    return _words(status)


def _words(status: Partial | Unreachable) -> str:
    return f"{status.reason}: {status.detail}" if status.detail else str(status.reason)


def _holds(above: str, key: str) -> bool:
    return key == above or key.startswith(f"{above}\\")
