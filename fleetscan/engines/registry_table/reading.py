"""Listing keys as the table does it: row by row, early ends included (rules 4 to 9), every call counted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fleetscan.engines.registry_table.blind_spots import is_long_key_name, is_long_value_name
from fleetscan.engines.registry_table.calls import FILE_NOT_FOUND, MORE_DATA, CallFailedError, Calls, Faults
from fleetscan.engines.registry_table.opening import Opener
from fleetscan.engines.registry_table.patterns import ExpansionEndedError, elements_of
from fleetscan.engines.registry_table.values import (
    STRING_TYPES,
    Environment,
    environment_of,
    show_value,
    show_value_before_514,
    shown,
)
from fleetscan.engines.registry_table.versions import Behaviour
from fleetscan.model.registry import DEFAULT_VALUE, HIVE_ROOTS, SUBKEY, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from fleetscan.engines.registry_table.blind_spots import Witness
    from fleetscan.hives.mount import Registry
    from fleetscan.hives.tree import Key, Value

Row = tuple[str, str, str, str, str, int]
"""Key, path, name, type, data, mtime: the table's columns in their order."""
PATH: Final = 1
TYPE: Final = 3

SHORT_NAME = 127
"""Characters of a name that is no problem whatever they are."""

_ROOTS = frozenset(HIVE_ROOTS)
# Between names stands a line feed, which is a blank itself: a name that starts, ends or is one makes the text odd.
_ODD_NAMES = re.compile("[\0\\\\\ud800-\udfff]|(?:\\A|\n)[ \t\n\v\f\r]|[ \t\v\f\r](?:\n|\\Z)|(?:\\A|\n)\\Z")


class Reader:
    """Reads keys for one database connection; not for use by several threads at once."""

    def __init__(
        self,
        registry: Registry,
        *,
        behaviour: Behaviour | None = None,
        environment: Mapping[str, str] | None = None,
        faults: Faults | None = None,
        witness: Witness | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """``environment`` None is the registry's own; ``witness`` is told where something stays hidden.

        ``check`` is called before each key and may raise to stop.
        """
        self.calls = Calls()
        self.behaviour = behaviour or Behaviour()
        self.opener = Opener(registry, witness)
        self.environment: Environment = environment_of(registry.environment if environment is None else environment)
        self._faults = faults or Faults()
        self._witness = witness
        self._check = check

    def find(self, key: str, *, needed: bool = True) -> Key | None:
        """A key for tables that are made of some values; links are followed. See facts.Machine."""
        try:
            return self.opener.open(elements_of(key), needed=needed)
        except CallFailedError:
            return None

    def rows_of(self, key: str) -> list[Row]:
        """The rows of a key as the table shows them; what a failing call cuts off is missing without a word."""
        try:
            rows = self._listing(key)
        except _ListingEndedError as ended:
            rows = ended.rows
        self.calls.rows += len(rows)
        return rows

    def expansion(self) -> Expansion:
        """A lister for one scan's patterns."""
        return Expansion(self, self._witness)

    def children_of(self, key: str) -> list[str]:
        """Paths of the subkeys of a key; raises CallFailedError where osquery's listing fails.

        There is no cheaper listing: osquery reads all values here as well.
        """
        try:
            rows = self._listing(key)
        except _ListingEndedError as ended:
            raise CallFailedError(ended.code) from None
        return [row[PATH] for row in rows if row[TYPE] == SUBKEY]

    def _listing(self, key: str) -> list[Row]:
        self._check()
        opened = None if self._faults else self.opener.listed(key)
        clean = key
        rows: list[Row] = []
        if opened is None:
            elements = elements_of(key)
            if not elements or elements[0] not in _ROOTS:
                return rows
            clean = "\\".join(elements)
        try:
            opened = self._counted_open(clean) if opened is None else self._count_open(opened)
            subkeys, values = opened.subkeys(), opened.values()
            mtime = opened.mtime
            if subkeys:
                mtime = self._list_subkeys(key, clean, subkeys, values, rows)
            if values and self.behaviour.reads_expanded:
                self._list_values(key, clean, mtime, values, rows)
            elif values:
                self._list_values_before_514(key, clean, mtime, values, rows)
        except CallFailedError as failure:
            raise _ListingEndedError(rows, failure.code) from None
        return rows

    def _count_open(self, opened: Key) -> Key:
        self.calls.open += 1
        return opened

    def _counted_open(self, clean: str) -> Key:
        self.calls.open += 1
        try:
            self._faults.check("open", clean)
            return self.opener.open(clean.split("\\"))
        except CallFailedError:
            self.calls.open_failed += 1
            raise

    def _list_subkeys(
        self, key: str, clean: str, subkeys: Sequence[Key], values: Sequence[Value], rows: list[Row]
    ) -> int:
        """Add the rows of the subkeys; the result is the write time that value rows carry."""
        names = [subkey.name for subkey in subkeys]
        if self._faults or not _are_plain(names):
            return self._list_odd_subkeys(key, clean, subkeys, values, rows)
        self.calls.list_subkey += len(names)
        paths = [f"{key}\\{name}" for name in names]
        if "\\" in clean:
            self.opener.learn(paths, subkeys)
        times = [subkey.mtime for subkey in subkeys]
        rows += [(key, path, name, SUBKEY, "", mtime) for path, name, mtime in zip(paths, names, times, strict=True)]
        return times[-1]

    def _list_odd_subkeys(
        self, key: str, clean: str, subkeys: Sequence[Key], values: Sequence[Value], rows: list[Row]
    ) -> int:
        if self._witness is not None:
            self._witness.subkeys(key, subkeys, values)
        mtime = 0
        for index, subkey in enumerate(subkeys):
            self.calls.list_subkey += 1
            self._faults.check("list", clean, index)
            if is_long_key_name(subkey.name):
                raise CallFailedError(MORE_DATA)
            name = shown(subkey.name.partition("\0")[0])
            mtime = subkey.mtime
            rows.append((key, f"{key}\\{name}", name, SUBKEY, "", mtime))
        return mtime

    def _list_values(self, key: str, clean: str, mtime: int, values: Sequence[Value], rows: list[Row]) -> None:
        environment, count, hidden = self.environment, 0, bool(self._faults)
        if not hidden:
            for value in values:
                name, data = value.name, value.data
                if not data or len(name) > SHORT_NAME or "\0" in name:
                    hidden = True
                    break
                value_type, text, whole = show_value(value.type, data, environment)
                hidden = hidden or not whole
                if not name.isascii():
                    name = shown(name)
                rows.append((key, f"{key}\\{name}", name or DEFAULT_VALUE, value_type, text, mtime))
                count += 1
        self.calls.list_value += count
        self.calls.read_value += 2 * count
        if hidden:
            if self._witness is not None:
                self._witness.values(key, values)
            self._list_odd_values(key, clean, mtime, values, rows, start=count)

    def _list_odd_values(
        self, key: str, clean: str, mtime: int, values: Sequence[Value], rows: list[Row], *, start: int
    ) -> None:
        for value in values[start:]:
            self.calls.list_value += 1
            if is_long_value_name(value.name):
                raise CallFailedError(MORE_DATA)
            self.calls.read_value += 1
            name = value.name.partition("\0")[0]
            # The table reads by name: a value whose name holds a NUL is not found, or another one is read for it.
            read = value if name == value.name else _value_named(name, values)
            self._faults.check("read", clean, name)
            if not read.data and read.type not in STRING_TYPES:
                return
            self.calls.read_value += 1
            value_type, text, _ = show_value(read.type, read.data, self.environment)
            name = shown(name)
            rows.append((key, f"{key}\\{name}", name or DEFAULT_VALUE, value_type, text, mtime))

    def _list_values_before_514(
        self, key: str, clean: str, mtime: int, values: Sequence[Value], rows: list[Row]
    ) -> None:
        if self._witness is not None:
            self._witness.values(key, values)
        longest = max(len(value.data) for value in values)
        for value in values:
            self.calls.list_value += 1
            if is_long_value_name(value.name):
                raise CallFailedError(MORE_DATA)
            name = shown(value.name.partition("\0")[0])
            self._faults.check("read", clean, name)
            value_type, text = show_value_before_514(value.type, value.data, longest)
            rows.append((key, f"{key}\\{name}", name or DEFAULT_VALUE, value_type, text, mtime))


class Expansion:
    """The lister of one scan. A key that is listed again costs its calls again, but is not read again here."""

    def __init__(self, reader: Reader, witness: Witness | None) -> None:
        """Knows nothing yet."""
        self._reader = reader
        self._witness = witness
        self._seen: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {}

    def subkey_paths(self, key: str) -> Iterable[str]:
        """See patterns.Lister."""
        calls = self._reader.calls
        if (seen := self._seen.get(key)) is not None:
            paths, cost = seen
            calls.open += cost[0]
            calls.open_failed += cost[1]
            calls.list_subkey += cost[2]
            calls.list_value += cost[3]
            calls.read_value += cost[4]
            return paths
        before = _costs(calls)
        paths = tuple(self._list(key))
        self._seen[key] = (paths, tuple(now - then for now, then in zip(_costs(calls), before, strict=True)))
        return paths

    def _list(self, key: str) -> Iterator[str]:
        try:
            yield from self._reader.children_of(key)
        except CallFailedError as failure:
            if failure.code == FILE_NOT_FOUND:
                if self._witness is not None:
                    self._witness.skipped(key)
                return
            if self._witness is not None:
                self._witness.expansion_ended(key)
            raise ExpansionEndedError(key) from None

    def depth_reached(self, pattern: str) -> None:
        """See patterns.Lister."""
        if self._witness is not None:
            self._witness.depth_reached(pattern)


class _ListingEndedError(Exception):
    def __init__(self, rows: list[Row], code: int) -> None:
        super().__init__(code)
        self.rows = rows
        self.code = code


def _costs(calls: Calls) -> tuple[int, ...]:
    return (calls.open, calls.open_failed, calls.list_subkey, calls.list_value, calls.read_value)


def _are_plain(names: list[str]) -> bool:
    """Are all names short, free of odd characters, and different from each other without case?"""
    text = "\n".join(names)
    if _ODD_NAMES.search(text) or max(map(len, names)) > SHORT_NAME:
        return False
    folded = text.upper().split("\n") if text.isascii() else map(fold, names)
    return len(set(folded)) == len(names)


def _value_named(name: str, values: Iterable[Value]) -> Value:
    wanted = fold(name)
    for value in values:
        if fold(value.name) == wanted:
            return value
    raise CallFailedError(FILE_NOT_FOUND)
