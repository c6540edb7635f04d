"""What differs between osquery versions, as named behaviours instead of version comparisons in the code."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleetscan.errors import SettingsError

CURRENT_VERSION = "5.23.1"
"""The version that is emulated unless a host's settings or the command line name another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How the table of one osquery version behaves; ``version`` is what ``osquery_info`` says."""

    version: str = CURRENT_VERSION
    limit_reaches_table: bool = True
    """5.4.0: SQLite 3.38 offers LIMIT and OFFSET to tables, and the table takes them for constraints on ``key``."""
    key_ignores_case: bool = True
    """5.5.0: ``key`` is declared COLLATE NOCASE."""
    reads_expanded: bool = True
    """5.14.0: values are read one by one through RegGetValueW (expansion, early end at an empty value)."""
    in_at_once: bool = True
    """5.15.0: IN on ``key`` and ``path`` arrives in one scan."""
    runs_unterminated: bool = True
    """5.23.0: the shell runs a last statement that lacks its semicolon."""


def behaviour_of(version: str | None = None) -> Behaviour:
    """The behaviour of an osquery version such as ``5.13.1``; None is the current one."""
    text = version or CURRENT_VERSION
    match = re.match(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?![\d.])", text)
    if match is None:
        raise SettingsError(f"'{text[:40]}' is no osquery version", hint="write it as 5.23.1")
    number = tuple(int(part or 0) for part in match.groups())
    return Behaviour(
        version=text,
        limit_reaches_table=number >= (5, 4, 0),
        key_ignores_case=number >= (5, 5, 0),
        reads_expanded=number >= (5, 14, 0),
        in_at_once=number >= (5, 15, 0),
        runs_unterminated=number >= (5, 23, 0),
    )
