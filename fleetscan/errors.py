"""The exception tree and the exit codes: branches by what the reader can do about it.

Every error says what is wrong, where, and what to try next. The command line prints it in one line, without a
traceback; a traceback on the screen is a bug of fleetscan.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """The contract with cron, systemd and CI (README, "Exit codes")."""

    CLEAN = 0  # no finding, and everything that was asked for is covered
    FINDINGS = 1
    USAGE = 2  # usage or configuration; nothing was asked
    INCOMPLETE = 3  # no finding, but some host or scope is not covered


@dataclass(frozen=True, slots=True)
class Place:
    """Where a problem stands: a file, optionally with line and column (1-based), or a host, a query, a key."""

    name: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        """``file:line:column``, as editors and terminals understand it."""
        return ":".join(str(part) for part in (self.name, self.line, self.column) if part is not None)


class FleetscanError(Exception):
    """Root of all expected errors: what, where, and what to try.

    ``usual_hint`` is the next step of errors that name no other.
    """

    usual_hint: ClassVar[str] = ""

    def __init__(self, what: str, *, where: Place | str | None = None, hint: str = "") -> None:
        """``what`` is a sentence without full stop; ``hint`` is the next step."""
        super().__init__(what)
        self.what = what
        self.where = Place(where) if isinstance(where, str) else where
        self.hint = hint or self.usual_hint

    def __str__(self) -> str:
        """One line: place, what, next step."""
        place = f"{self.where}: " if self.where else ""
        hint = f" (try: {self.hint})" if self.hint else ""
        return f"{place}{self.what}{hint}"


class SettingsError(FleetscanError):
    """Fix the settings, the inventory or the command line."""

    usual_hint = "fleetscan COMMAND --help; forms of files: docs/reference/inventory.md, docs/how-to/schedule.md"


class InventoryError(SettingsError):
    """The inventory cannot be used."""

    usual_hint = "compare with inventory/example-ssh.yml, or read docs/reference/inventory.md"


class ApprovalError(SettingsError):
    """An approvals file cannot be used."""


class RuleError(FleetscanError):
    """Fix a rule. ``code`` is the code of rule-semantics section 9 (P101...), empty for plain syntax errors."""

    def __init__(self, what: str, *, where: Place | str | None = None, hint: str = "", code: str = "") -> None:
        """See FleetscanError."""
        super().__init__(what, where=where, hint=hint)
        self.code = code


class QueryError(FleetscanError):
    """Fix the SQL."""


class HiveError(FleetscanError):
    """A registry hive, log or .reg export cannot be read. ``offset`` is the byte offset in the file, if known."""

    def __init__(
        self, what: str, *, where: Place | str | None = None, hint: str = "", offset: int | None = None
    ) -> None:
        """See FleetscanError."""
        at = "" if offset is None else f" at offset {offset:#x}"
        super().__init__(f"{what}{at}", where=where, hint=hint)
        self.offset = offset


class HostError(FleetscanError):
    """Reach a host: the sweep goes on, the host is not covered."""


class StoreError(FleetscanError):
    """The store cannot be read or written."""
