"""One SQLite connection with osquery's tables and functions over one machine's registry."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import apsw

from fleetscan.engines.registry_table.errors import SQL_ERROR, DeadlineError, SqlError
from fleetscan.engines.registry_table.facts import FactsModule, fact_tables
from fleetscan.engines.registry_table.functions import register_functions
from fleetscan.engines.registry_table.reading import Reader
from fleetscan.engines.registry_table.versions import Behaviour
from fleetscan.engines.registry_table.vtab import RegistryModule, sql_text
from fleetscan.model.registry import KeyPath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fleetscan.engines.registry_table.blind_spots import Witness
    from fleetscan.engines.registry_table.calls import Calls, Faults
    from fleetscan.engines.registry_table.facts import FactTable
    from fleetscan.hives.mount import Registry
    from fleetscan.hives.tree import Damage

MAX_TEXT: Final = 64 << 20
"""Bytes of one SQL text or value: a query over untrusted contents must not fill the memory."""
OPERATIONS_PER_CHECK: Final = 20_000
KEYS_PER_CHECK: Final = 256

Columns = tuple[str, ...]
Cells = tuple[str | None, ...]
TextRow = dict[str, str]


class Database:
    """Answers SQL over one registry; one thread at a time.

    Statements are compiled anew each time, as osquery does: a plan that ran has used up the lists of its IN terms.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        behaviour: Behaviour | None = None,
        environment: Mapping[str, str] | None = None,
        faults: Faults | None = None,
        witness: Witness | None = None,
        tables: Mapping[str, FactTable] | None = None,
    ) -> None:
        """``environment`` None is the registry's own; ``witness`` is told where something stays hidden.

        ``tables`` are offered beside those that the registry can answer.
        """
        behaviour = behaviour or Behaviour()
        self.deadline: float | None = None
        self._reader = Reader(
            registry,
            behaviour=behaviour,
            environment=registry.environment if environment is None else environment,
            faults=faults,
            witness=witness,
            check=self._check,
        )
        self._connection = apsw.Connection(":memory:", statementcachesize=0)
        self._connection.limit(apsw.SQLITE_LIMIT_LENGTH, MAX_TEXT)
        self._connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
        modules: dict[str, RegistryModule | FactsModule] = {"registry": RegistryModule(self._reader)}
        facts = {**fact_tables(self._reader, behaviour), **(tables or {})}
        modules |= {name: FactsModule(table) for name, table in facts.items()}
        for name, module in modules.items():
            self._attach(name, module)
        self._tables = tuple(sorted(modules))
        self._registry = registry
        register_functions(self._connection)
        self._connection.set_authorizer(_authorize)
        self._connection.set_progress_handler(self._interrupt, OPERATIONS_PER_CHECK)

    @property
    def calls(self) -> Calls:
        """The registry calls made up to now."""
        return self._reader.calls

    def rows(self, sql: str, *, told: Callable[[Columns], None] | None = None) -> Iterator[Cells]:
        """The rows of all statements of ``sql``, as texts; None is NULL.

        ``told`` learns the columns of each statement before its rows. Raises SqlError, and DeadlineError after
        ``deadline`` (a point of ``time.monotonic()``).
        """
        cursor = self._connection.cursor()

        def about_to_run(running: apsw.Cursor, _: str, __: object) -> bool:
            if told is not None:
                told(tuple(column[0] for column in running.get_description() or ()))
            return True

        cursor.set_exec_trace(about_to_run)
        try:
            for row in cursor.execute(sql):
                yield tuple([cell if type(cell) is str else sql_text(cell) for cell in row])
        except apsw.InterruptError as error:
            raise DeadlineError from error
        except apsw.Error as error:
            raise SqlError(message_of(error), code=getattr(error, "result", SQL_ERROR) & 0xFF) from error
        except UnicodeError as error:
            raise SqlError("text that is no valid Unicode") from error
        except ValueError as error:
            # apsw refuses a NUL in the text, where SQLite would stop reading.
            raise SqlError(str(error)) from error
        finally:
            cursor.close(True)  # noqa: FBT003 - apsw takes it by position

    def texts(self, sql: str, *, null: str = "", told: Callable[[Columns], None] | None = None) -> Iterator[TextRow]:
        """The same as the shell shows it: by column name (of two columns of one name the last counts), NULL as text."""
        columns: Columns = ()

        def remember(names: Columns) -> None:
            nonlocal columns
            columns = names
            if told is not None:
                told(names)

        for row in self.rows(sql, told=remember):
            yield dict(zip(columns, (null if cell is None else cell for cell in row), strict=True))

    @property
    def keys_opened(self) -> int:
        """How many keys were opened up to now."""
        return self.calls.open - self.calls.open_failed

    def take_missing(self) -> tuple[str, ...]:
        """The hives that were asked for since the last call, but that the collection lacks."""
        return self._reader.opener.take_missing()

    def damages(self) -> Iterator[Damage]:
        """Damages found up to now that concern the hives that were asked for."""
        for damage in self._registry.damages():
            if not damage.key or self._reader.opener.asked_for(KeyPath.parse(damage.key)):
                yield damage

    def tables(self) -> tuple[str, ...]:
        """The names of the tables."""
        return self._tables

    def column_types(self, sql: str) -> tuple[tuple[str, str], ...]:
        """Names and types of the columns of the first statement, which is not run. Raises SqlError."""
        found: list[tuple[str, str]] = []
        cursor = self._connection.cursor()

        def not_run(running: apsw.Cursor, _: str, __: object) -> bool:
            found.extend((column[0], column[1] or "TEXT") for column in running.get_description() or ())
            return False

        cursor.set_exec_trace(not_run)
        try:
            cursor.execute(sql)
        except apsw.ExecTraceAbort:
            pass
        except apsw.Error as error:
            raise SqlError(message_of(error)) from error
        return tuple(found)

    def close(self) -> None:
        """Release the connection."""
        self._connection.close(True)  # noqa: FBT003 - apsw takes it by position

    def _attach(self, name: str, module: RegistryModule | FactsModule) -> None:
        self._connection.create_module(name, module, use_bestindex_object=True, read_only=True)  # type: ignore[arg-type]  # apsw's protocol asks for methods of writable tables
        self._connection.execute(f"CREATE VIRTUAL TABLE temp.{name} USING {name}")

    def _interrupt(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def _check(self) -> None:
        if self._interrupt():
            raise DeadlineError


def message_of(error: apsw.Error) -> str:
    """SQLite's words, which are what osquery prints."""
    kind, _, words = str(error).partition(": ")
    return words if words and kind.isidentifier() and kind.endswith("Error") else str(error)


_ALLOWED: Final = frozenset(
    {
        apsw.SQLITE_CREATE_TEMP_TABLE,
        apsw.SQLITE_CREATE_TEMP_VIEW,
        apsw.SQLITE_CREATE_TABLE,
        apsw.SQLITE_CREATE_VIEW,
        apsw.SQLITE_DELETE,
        apsw.SQLITE_DROP_TABLE,
        apsw.SQLITE_DROP_TEMP_TABLE,
        apsw.SQLITE_DROP_TEMP_VIEW,
        apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_FUNCTION,
        apsw.SQLITE_INSERT,
        apsw.SQLITE_READ,
        apsw.SQLITE_RECURSIVE,
        apsw.SQLITE_SELECT,
        apsw.SQLITE_TRANSACTION,
        apsw.SQLITE_UPDATE,
    }
)
_PRAGMAS: Final = frozenset({"table_info", "table_xinfo", "compile_options", "function_list", "table_list"})


def _authorize(action: int, first: str | None, second: str | None, _: str | None, __: str | None) -> int:
    # No statement may reach a file, load code or change limits: the SQL may come from a rule somebody downloaded.
    if action in _ALLOWED or (action == apsw.SQLITE_PRAGMA and (first or "").lower() in _PRAGMAS):
        return apsw.SQLITE_OK
    del second
    return apsw.SQLITE_DENY
