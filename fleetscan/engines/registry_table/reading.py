"""Opening and listing keys as the table does it: row by row, early ends included (rules 2 to 9), every call counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fleetscan.engines.registry_table.blind_spots import is_long_key_name, is_long_value_name
from fleetscan.engines.registry_table.calls import (
    FILE_NOT_FOUND,
    MORE_DATA,
    TOO_MANY_LINKS,
    CallFailedError,
    Calls,
    Faults,
)
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
from fleetscan.hives.mount import link_elements
from fleetscan.model.registry import DEFAULT_VALUE, HIVE_ROOTS, SUBKEY, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from fleetscan.engines.registry_table.blind_spots import Witness
    from fleetscan.hives.mount import Registry
    from fleetscan.hives.tree import Key, Value
    from fleetscan.model.registry import KeyPath

MAX_LINKS = 64
"""Links followed while one key is opened."""
MAX_OPEN_KEYS = 16384
"""Keys kept open, so that a walk finds the parent of the next key without starting at the hive."""

_ROOTS = frozenset(HIVE_ROOTS)


class Row(NamedTuple):
    """One row, in the order of the table's columns."""

    key: str
    path: str
    name: str
    type: str
    data: str
    mtime: int


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
        self.environment: Environment = environment_of(registry.environment if environment is None else environment)
        self._roots = registry.roots
        self._faults = faults or Faults()
        self._witness = witness
        self._check = check
        self._open_keys: dict[tuple[str, ...], Key] = {}
        self._missing = {path.folded: str(path) for path in registry.missing}
        self._missing_asked: dict[str, None] = {}
        self._hives_asked: set[tuple[str, ...]] = set()

    def rows_of(self, key: str) -> list[Row]:
        """The rows of a key as the table shows them; what a failing call cuts off is missing without a word."""
        rows: list[Row] = []
        try:
            rows.extend(self._listing(key))
        except _ListingEndedError as ended:
            rows.extend(ended.rows)
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
        return [row.path for row in rows if row.type == SUBKEY]

    def _listing(self, key: str) -> list[Row]:
        elements = elements_of(key)
        if not elements or elements[0] not in _ROOTS:
            return []
        self._check()
        rows: list[Row] = []
        clean = "\\".join(elements)
        try:
            opened = self._open(elements, clean)
            subkeys = opened.subkeys()
            values = opened.values()
            if self._witness is not None:
                self._witness.listed(key, subkeys, values)
            mtime = self._list_subkeys(key, clean, opened.mtime, subkeys, rows)
            list_values = self._list_values if self.behaviour.reads_expanded else self._list_values_before_514
            list_values(key, clean, mtime, values, rows)
        except CallFailedError as failure:
            raise _ListingEndedError(rows, failure.code) from None
        return rows

    def take_missing(self) -> tuple[str, ...]:
        """The hives that were asked for since the last call, but that the source lacks."""
        asked = tuple(self._missing_asked)
        self._missing_asked.clear()
        return asked

    def _ask_for_missing(self, folded: tuple[str, ...]) -> None:
        # A key below a missing hive cannot be found; a key above it is listed without it.
        for depth in (1, 2):
            if key := self._missing.get(folded[:depth]):
                self._missing_asked[key] = None
        if len(folded) == 1:
            self._missing_asked |= {key: None for missing, key in self._missing.items() if missing[:-1] == folded}

    def _open(self, elements: Sequence[str], clean: str) -> Key:
        self.calls.open += 1
        folded = tuple(map(fold, elements))
        if self._missing:
            self._ask_for_missing(folded)
        try:
            self._faults.check("open", clean)
            return self._find(folded, MAX_LINKS)
        except CallFailedError:
            self.calls.open_failed += 1
            raise

    def asked_for(self, key: KeyPath) -> bool:
        """Was any key opened in the hive in which ``key`` lies?"""
        folded = key.folded[:2]
        return folded in self._hives_asked or any(asked[: len(folded)] == folded for asked in self._hives_asked)

    def _find(self, folded: tuple[str, ...], links_left: int) -> Key:
        self._hives_asked.add(folded[:2])
        known = len(folded)
        while known and folded[:known] not in self._open_keys:
            known -= 1
        key = self._open_keys[folded[:known]] if known else None
        for depth in range(known, len(folded)):
            key = self._roots.get(folded[0]) if key is None else key.subkey(folded[depth])
            if key is None:
                raise CallFailedError(FILE_NOT_FOUND)
            if key.link_target is not None:
                key = self._follow(key.link_target, links_left)
            self._remember(folded[: depth + 1], key)
        if key is None:
            raise CallFailedError(FILE_NOT_FOUND)
        return key

    def _follow(self, target: str, links_left: int) -> Key:
        if links_left == 0:
            raise CallFailedError(TOO_MANY_LINKS)
        return self._find(tuple(map(fold, link_elements(target))), links_left - 1)

    def _remember(self, folded: tuple[str, ...], key: Key) -> None:
        if len(self._open_keys) >= MAX_OPEN_KEYS:
            self._open_keys.pop(next(iter(self._open_keys)))
        self._open_keys[folded] = key

    def _list_subkeys(self, key: str, clean: str, mtime: int, subkeys: Sequence[Key], rows: list[Row]) -> int:
        calls, faulty = self.calls, bool(self._faults)
        for index, subkey in enumerate(subkeys):
            calls.list_subkey += 1
            if faulty:
                self._faults.check("list", clean, index)
            name = subkey.name
            if is_long_key_name(name):
                raise CallFailedError(MORE_DATA)
            if "\0" in name:
                name = name.partition("\0")[0]
            name = shown(name)
            mtime = subkey.mtime
            rows.append(Row(key, f"{key}\\{name}", name, SUBKEY, "", mtime))
        return mtime

    def _list_values(self, key: str, clean: str, mtime: int, values: Sequence[Value], rows: list[Row]) -> None:
        calls, environment, faulty = self.calls, self.environment, bool(self._faults)
        for value in values:
            calls.list_value += 1
            name = value.name
            if is_long_value_name(name):
                raise CallFailedError(MORE_DATA)
            calls.read_value += 1
            if "\0" in name:
                name = name.partition("\0")[0]
                value = _value_named(name, values)  # noqa: PLW2901 - the other value is what the table reads
            if faulty:
                self._faults.check("read", clean, name)
            if not value.data and value.type not in STRING_TYPES:
                return
            calls.read_value += 1
            value_type, data = show_value(value.type, value.data, environment)
            name = shown(name)
            rows.append(Row(key, f"{key}\\{name}", name or DEFAULT_VALUE, value_type, data, mtime))

    def _list_values_before_514(
        self, key: str, clean: str, mtime: int, values: Sequence[Value], rows: list[Row]
    ) -> None:
        longest = max((len(value.data) for value in values), default=0)
        for value in values:
            self.calls.list_value += 1
            if is_long_value_name(value.name):
                raise CallFailedError(MORE_DATA)
            name = shown(value.name.partition("\0")[0])
            self._faults.check("read", clean, name)
            value_type, data = show_value_before_514(value.type, value.data, longest)
            rows.append(Row(key, f"{key}\\{name}", name or DEFAULT_VALUE, value_type, data, mtime))


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
            for counter, amount in zip(_COUNTERS, cost, strict=True):
                setattr(calls, counter, getattr(calls, counter) + amount)
            return paths
        before = [getattr(calls, counter) for counter in _COUNTERS]
        paths = tuple(self._list(key))
        cost = tuple(getattr(calls, counter) - start for counter, start in zip(_COUNTERS, before, strict=True))
        self._seen[key] = (paths, cost)
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


_COUNTERS = ("open", "open_failed", "list_subkey", "list_value", "read_value")


class _ListingEndedError(Exception):
    def __init__(self, rows: list[Row], code: int) -> None:
        super().__init__(code)
        self.rows = rows
        self.code = code


def _value_named(name: str, values: Iterable[Value]) -> Value:
    wanted = fold(name)
    for value in values:
        if fold(value.name) == wanted:
            return value
    raise CallFailedError(FILE_NOT_FOUND)
