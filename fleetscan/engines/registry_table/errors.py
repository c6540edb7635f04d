"""What can go wrong with one statement: SQLite's words, and its result code for the exit code of the shell."""

from __future__ import annotations

from typing import Final

from fleetscan.errors import QueryError

SQL_ERROR: Final = 1
SQL_INTERRUPTED: Final = 9


class SqlError(QueryError):
    """SQLite does not answer the statement; ``code`` is its result code."""

    def __init__(self, what: str, *, hint: str = "", code: int = SQL_ERROR) -> None:
        """See FleetscanError."""
        super().__init__(what, hint=hint)
        self.code = code


class DeadlineError(SqlError):
    """The query was stopped at its deadline."""

    def __init__(self) -> None:
        """One text for all."""
        super().__init__("stopped at the deadline", hint="a narrower query, or more time", code=SQL_INTERRUPTED)
