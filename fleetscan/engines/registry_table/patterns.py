"""Key texts and LIKE patterns: how osquery cuts them and what it expands them to (rules 2, 10 to 18)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fleetscan.engines.registry_table.errors import SqlError
from fleetscan.model.registry import HIVE_ROOTS

if TYPE_CHECKING:
    from collections.abc import Iterable

BLANKS = " \t\n\v\f\r"
MAX_ROUNDS = 32
MAX_KEYS = 1_000_000
"""Keys one pattern may expand to. A subkey with a blank name opens as its own parent, so that two of them make the
number of paths double at every level; osquery has no bound but its watchdog."""
RECURSIVE = "%%"


class ExpansionEndedError(Exception):
    """A key could not be listed; osquery gives up the rest of the expansion."""


class Lister(Protocol):
    """What an expansion asks of the registry."""

    def subkey_paths(self, key: str) -> Iterable[str]:
        """Paths of the subkeys of ``key``; raises ExpansionEndedError. A key that is not found has none."""
        ...

    def depth_reached(self, pattern: str) -> None:
        """Told when a recursion stops at its depth limit with keys left to list."""
        ...


def elements_of(text: str) -> list[str]:
    """Elements between backslashes, without blanks at their ends; empty ones vanish (rule 2)."""
    return [stripped for part in text.split("\\") if (stripped := part.strip(BLANKS))]


def key_of_path(path: str) -> str:
    """The text before the last backslash, the whole text if there is none (rule 18)."""
    return path.rpartition("\\")[0] if "\\" in path else path


def expand_key_pattern(pattern: str, lister: Lister) -> set[str]:
    """The keys that ``key LIKE pattern`` reads."""
    elements = elements_of(pattern)
    if not elements:
        return set()
    first, *rest = elements
    keys = set(HIVE_ROOTS) if "%" in first else {first}
    if not rest:
        return _grow(keys, pattern, lister) if first.endswith(RECURSIVE) else keys
    for element in rest:
        if "%" not in element:
            keys = {f"{key}\\{element}" for key in keys}
        elif element.endswith(RECURSIVE) and element == elements[-1]:
            return _grow(keys, pattern, lister)
        else:
            try:
                keys = _children(keys, lister)
            except ExpansionEndedError:
                return keys
    return keys


def expand_path_pattern(pattern: str, lister: Lister) -> set[str]:
    """The keys that ``path LIKE pattern`` reads."""
    return expand_key_pattern(pattern if pattern.endswith(RECURSIVE) else key_of_path(pattern), lister)


def _children(keys: set[str], lister: Lister) -> set[str]:
    # The order of listing matters for the cost where a failure ends it: osquery keeps a sorted set.
    found: set[str] = set()
    for key in in_byte_order(keys):
        found.update(lister.subkey_paths(key))
        if len(found) > MAX_KEYS:
            raise SqlError(f"a pattern expands to more than {MAX_KEYS} keys", hint="a pattern that starts deeper")
    return found


def _grow(keys: set[str], pattern: str, lister: Lister) -> set[str]:
    for _ in range(MAX_ROUNDS):
        try:
            grown = keys | _children(keys, lister)
        except ExpansionEndedError:
            return keys
        if len(grown) == len(keys):
            return keys
        keys = grown
    lister.depth_reached(pattern)
    return keys


def in_byte_order(keys: Iterable[str]) -> list[str]:
    """Keys in the byte order of their UTF-8 text, which is that of their code points."""
    return sorted(keys)
