"""Tables besides ``registry`` that tell about the machine, as far as its hives can: osquery's names and columns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from fleetscan.engines.registry_table.values import DWORD, EXPAND_SZ, QWORD, SZ, decode, environment_of, expand
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    import apsw

    from fleetscan.engines.registry_table.versions import Behaviour
    from fleetscan.hives.mount import Registry
    from fleetscan.hives.tree import Key

Cell = str | int | None
Row = tuple[Cell, ...]


class FactTable(NamedTuple):
    """Columns with their SQL types, and the rows, made when the table is first read."""

    columns: tuple[tuple[str, str], ...]
    rows: Callable[[], Iterable[Row]]


class FactsModule:
    """A small read-only table without constraints."""

    def __init__(self, table: FactTable) -> None:
        """The table to show."""
        self._table = table

    def Create(self, *_: object) -> tuple[str, FactsModule]:  # noqa: N802 - apsw names it
        """Declare the columns."""
        columns = ", ".join(f"`{name}` {sql_type}" for name, sql_type in self._table.columns)
        return f"CREATE TABLE facts({columns})", self

    Connect = Create

    def BestIndexObject(self, info: apsw.IndexInfo) -> bool:  # noqa: N802 - apsw names it
        """Every scan gives all rows."""
        info.estimatedRows = 25
        return True

    def Open(self) -> FactsCursor:  # noqa: N802 - apsw names it
        """A cursor."""
        return FactsCursor(self._table)

    def Disconnect(self) -> None:  # noqa: N802 - apsw names it
        """Nothing to release."""

    Destroy = Disconnect


class FactsCursor:
    """All rows of a small table."""

    def __init__(self, table: FactTable) -> None:
        """Before the first scan."""
        self._table = table
        self._rows: list[Row] = []
        self._place = 0

    def Filter(self, *_: object) -> None:  # noqa: N802 - apsw names it
        """Start."""
        self._rows = list(self._table.rows())
        self._place = 0

    def Eof(self) -> bool:  # noqa: N802 - apsw names it
        """Are all rows given?"""
        return self._place >= len(self._rows)

    def Next(self) -> None:  # noqa: N802 - apsw names it
        """Go on."""
        self._place += 1

    def Column(self, number: int) -> Cell:  # noqa: N802 - apsw names it
        """One cell."""
        return self._place if number < 0 else self._rows[self._place][number]

    def Rowid(self) -> int:  # noqa: N802 - apsw names it
        """The row's place."""
        return self._place

    def Close(self) -> None:  # noqa: N802 - apsw names it
        """Drop the rows."""
        self._rows = []


def fact_tables(registry: Registry, behaviour: Behaviour) -> Mapping[str, FactTable]:
    """The tables by name."""
    facts = _Facts(registry, behaviour)
    return {
        "osquery_info": FactTable(
            _columns(
                "pid:INTEGER uuid instance_id version config_hash config_valid:INTEGER "
                "extensions build_platform build_distro start_time:INTEGER watcher:INTEGER platform_mask:INTEGER"
            ),
            facts.osquery_info,
        ),
    }


def _columns(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, sql_type or "TEXT") for name, _, sql_type in (word.partition(":") for word in text.split()))


class _Facts:
    def __init__(self, registry: Registry, behaviour: Behaviour) -> None:
        self._registry = registry
        self._behaviour = behaviour

    def osquery_info(self) -> Iterable[Row]:
        return ()
