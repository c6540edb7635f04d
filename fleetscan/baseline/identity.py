"""What two sweeps are compared by: units of rows that are decoded together, and what each side covered."""

from __future__ import annotations

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
    repeated: tuple[RegistryRow, ...]
    """Rows that occur again: a value name shown twice is a trace of hiding."""

    @classmethod
    def of(cls, rows: Iterable[RegistryRow]) -> Units:
        """Arrange rows."""
        table = tuple(rows)
        by_unit: dict[str, list[RegistryRow]] = {}
        for row in table:
            by_unit.setdefault(unit_of(row), []).append(row)
        return cls(frozenset(table), {unit: tuple(found) for unit, found in by_unit.items()}, _repeated(table))


def _repeated(rows: tuple[RegistryRow, ...]) -> tuple[RegistryRow, ...]:
    if len(frozenset(rows)) == len(rows):
        return ()
    return tuple(row for row, count in Counter(rows).items() for _ in range(count - 1))


def changed_rows(
    before: Units, after: tuple[RegistryRow, ...]
) -> tuple[tuple[RegistryRow, ...], tuple[RegistryRow, ...]]:
    """Both sides reduced to the units that differ: what is equal on both sides is not decoded at all.

    Only rows that differ are looked at one by one; those of ``after`` that are equal come from the index of ``before``.
    """
    new = frozenset(after)
    again = _repeated(after) if len(new) != len(after) else ()
    return _changed(before, before.rows - new, new - before.rows, again)


def changed_lines(
    before: Units,
    old: frozenset[bytes],
    after: Sequence[bytes],
    read: Callable[[Iterable[bytes]], tuple[RegistryRow, ...]],
) -> tuple[tuple[RegistryRow, ...], tuple[RegistryRow, ...]]:
    """The same for rows that are not decoded yet: only lines that differ are; ``old`` are those of ``before``."""
    new = frozenset(after)
    again: tuple[RegistryRow, ...] = ()
    if len(new) != len(after):
        again = read(line for line, count in Counter(after).items() for _ in range(count - 1))
    return _changed(before, frozenset(read(old - new)), frozenset(read(new - old)), again)


def _changed(
    before: Units, gone: frozenset[RegistryRow], come: frozenset[RegistryRow], again: tuple[RegistryRow, ...]
) -> tuple[tuple[RegistryRow, ...], tuple[RegistryRow, ...]]:
    units = {unit_of(row) for row in (*gone, *come)}
    if again != before.repeated:
        units |= {unit_of(row) for row in (*again, *before.repeated)}
    if not units:
        return (), ()
    old_rows = tuple(row for unit in sorted(units) for row in before.by_unit.get(unit, ()))
    kept = tuple(row for row in dict.fromkeys(old_rows) if row not in gone)
    return old_rows, (*kept, *sorted(come, key=_content), *(row for row in again if unit_of(row) in units))


def _content(row: RegistryRow) -> tuple[str, ...]:
    return row.key, row.name, row.type, row.data


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
