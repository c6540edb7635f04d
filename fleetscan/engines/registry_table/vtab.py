"""The SQLite virtual table: what SQLite hands down and what the table makes of it (rules 18 to 23)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import apsw

from fleetscan.engines.registry_table.patterns import (
    expand_key_pattern,
    expand_path_pattern,
    in_byte_order,
    key_of_path,
)
from fleetscan.model.registry import HIVE_ROOTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetscan.engines.registry_table.reading import Reader, Row

KEY, PATH = 0, 1
NO_COLUMN = -1
TEXT_COLUMNS = range(5)
COLUMNS: Final = ("key", "path", "name", "type", "data", "mtime")

EQ: Final = apsw.SQLITE_INDEX_CONSTRAINT_EQ
LIKE: Final = apsw.SQLITE_INDEX_CONSTRAINT_LIKE
_RANGES: Final = frozenset(
    {
        apsw.SQLITE_INDEX_CONSTRAINT_GT,
        apsw.SQLITE_INDEX_CONSTRAINT_GE,
        apsw.SQLITE_INDEX_CONSTRAINT_LT,
        apsw.SQLITE_INDEX_CONSTRAINT_LE,
    }
)
_LIMITS: Final = frozenset({apsw.SQLITE_INDEX_CONSTRAINT_LIMIT, apsw.SQLITE_INDEX_CONSTRAINT_OFFSET})

COST_CONSTRAINED = 1
COST_ALL = 1_000_000
COST_REFUSED_RANGE = 10

Constraint = tuple[int, int, bool]
"""Column, operator, and whether the operand is a whole IN list."""
ONE_KEY: Final[tuple[Constraint, ...]] = ((KEY, EQ, False),)


class RegistryModule:
    """The module apsw asks for the table of one connection."""

    def __init__(self, reader: Reader) -> None:
        """All scans of the connection go through one reader."""
        self._reader = reader

    def Create(self, *_: object) -> tuple[str, RegistryTable]:  # noqa: N802 - apsw names it
        """The declaration of rule 21."""
        collation = " COLLATE NOCASE" if self._reader.behaviour.key_ignores_case else ""
        schema = (
            f"CREATE TABLE registry(key TEXT{collation}, path TEXT, name TEXT, type TEXT, data TEXT, mtime BIGINT,"
            " PRIMARY KEY (key, path)) WITHOUT ROWID"
        )
        return schema, RegistryTable(self._reader)

    Connect = Create


class RegistryTable:
    """Takes constraints of the planner; remembers each offered plan, because SQLite hands back only its number."""

    def __init__(self, reader: Reader) -> None:
        """No plan yet."""
        self.reader = reader
        self.plans: dict[int, tuple[Constraint, ...]] = {}
        self.plans_run: set[int] = set()
        self.idle: list[RegistryCursor] = []
        """Cursors that were closed: SQLite opens one for every row of a recursion."""

    def BestIndexObject(self, info: apsw.IndexInfo) -> bool:  # noqa: N802 - apsw names it
        """Rule 22. Costs are summed in the order of the terms, as osquery does: the plans of OR depend on it."""
        taken: list[Constraint] = []
        cost = COST_ALL
        for index in range(info.nConstraint):
            if not info.get_aConstraint_usable(index):
                continue
            column, operator = self._column(info, index), info.get_aConstraint_op(index)
            if operator in _RANGES and column in TEXT_COLUMNS:
                cost += COST_REFUSED_RANGE
            elif column in (KEY, PATH):
                taken.append((column, operator, self._takes_whole_list(info, index, operator)))
                info.set_aConstraintUsage_argvIndex(index, len(taken))
                cost = COST_CONSTRAINED
        info.idxNum = len(self.plans) + 1
        info.estimatedCost = cost
        self.plans[info.idxNum] = tuple(taken)
        return True

    def _column(self, info: apsw.IndexInfo, index: int) -> int:
        if info.get_aConstraint_op(index) in _LIMITS:
            # SQLite names no column for these; osquery reads the number 0 it finds there, which is ``key``.
            return KEY if self.reader.behaviour.limit_reaches_table else NO_COLUMN
        return info.get_aConstraint_iColumn(index)

    def _takes_whole_list(self, info: apsw.IndexInfo, index: int, operator: int) -> bool:
        if operator != EQ or not self.reader.behaviour.in_at_once or not info.get_aConstraintUsage_in(index):
            return False
        info.set_aConstraintUsage_in(index, True)  # noqa: FBT003 - apsw takes it by position
        return True

    def Open(self) -> RegistryCursor:  # noqa: N802 - apsw names it
        """A cursor for one loop of a query."""
        return self.idle.pop() if self.idle else RegistryCursor(self)

    def Disconnect(self) -> None:  # noqa: N802 - apsw names it
        """Nothing to release."""

    Destroy = Disconnect


_NO_ROWS: Final[Iterator[Row]] = iter(())


class RegistryCursor:
    """The rows of one scan."""

    __slots__ = ("_row", "_rows", "_table")

    def __init__(self, table: RegistryTable) -> None:
        """Before the first scan; SQLite opens a cursor for every turn of a loop, so this does next to nothing."""
        self._table = table

    def Filter(self, plan: int, _: str, operands: tuple[Any, ...] | None) -> None:  # noqa: N802 - apsw names it
        """Start a scan: gather the keys of all constraints, read each once."""
        table, reader = self._table, self._table.reader
        reader.calls.table += 1
        constraints = table.plans[plan]
        rows: list[Row] = []
        if constraints == ONE_KEY and operands and isinstance(operands[0], str) and operands[0]:
            # The shape of every turn of a recursive walk.
            rows = reader.rows_of(operands[0])
        else:
            keys = self._keys(constraints, operands or (), first_turn=plan not in table.plans_run)
            table.plans_run.add(plan)
            for key in in_byte_order(keys):
                rows += reader.rows_of(key)
        self._rows: Iterator[Row] = iter(rows)
        self._row: Row | None = next(self._rows, None)

    def _keys(self, plan: tuple[Constraint, ...], operands: tuple[Any, ...], *, first_turn: bool) -> Iterable[str]:
        lister = None
        keys: set[str] = set()
        constrained = False
        for (column, operator, at_once), operand in zip(plan, operands, strict=True):
            # In later turns of an inner loop osquery finds the list of an IN used up (rule 23).
            texts = _texts(operand, at_once=at_once) if first_turn or not at_once else []
            for text in texts:
                constrained = constrained or _passes_for_constraint(operator)
                if operator == EQ:
                    keys.add(text if column == KEY else key_of_path(text))
                elif operator == LIKE:
                    lister = lister or self._table.reader.expansion()
                    keys |= (expand_key_pattern if column == KEY else expand_path_pattern)(text, lister)
        return keys if constrained else HIVE_ROOTS

    def Eof(self) -> bool:  # noqa: N802 - apsw names it
        """Are all rows given?"""
        return self._row is None

    def Next(self) -> None:  # noqa: N802 - apsw names it
        """Go on."""
        self._row = next(self._rows, None)

    def Column(self, number: int) -> str | int:  # noqa: N802 - apsw names it
        """One cell."""
        return self._row[number]  # type: ignore[index]  # SQLite asks only between Eof and Eof

    def Rowid(self) -> int:  # noqa: N802 - apsw names it
        """Not asked for: the table is WITHOUT ROWID."""
        return 0

    def Close(self) -> None:  # noqa: N802 - apsw names it
        """Drop the rows, and serve again."""
        self._rows = _NO_ROWS
        self._table.idle.append(self)


def _passes_for_constraint(operator: int) -> bool:
    """Does the table's check for = or LIKE on a column answer yes? It compares bits of operator numbers (rule 19)."""
    return bool(operator & EQ or operator & LIKE)


def _texts(operand: Any, *, at_once: bool) -> list[str]:  # noqa: ANN401 - any SQLite value
    """Operands as the texts SQLite makes of them; NULL and an empty text are dropped, except in a list."""
    if at_once:
        members = operand if isinstance(operand, set | frozenset) else {operand}
        return [text for member in members if (text := sql_text(member)) is not None]
    text = sql_text(operand)
    return [text] if text else []


def sql_text(value: apsw.SQLiteValue) -> str | None:
    """A value as ``sqlite3_value_text`` gives it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return sql_float(value) if isinstance(value, float) else str(value)


def sql_float(value: float) -> str:
    """A float with 15 significant digits, and always with a point, as SQLite writes it."""
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - the test for NaN
        return {"inf": "Inf", "-inf": "-Inf"}.get(str(value), "")
    text = f"{value:.15g}"
    if "." in text:
        return text
    mantissa, exponent, power = text.partition("e")
    return f"{mantissa}.0{exponent}{power}"
