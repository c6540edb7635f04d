"""What the table hides in the keys that were read: found beside the rows, by looking at what is stored.

Not reported, because Windows itself writes it and nothing of weight stays out of sight: an empty value with nothing but
empty values behind it (``ProviderInfo`` of the name space catalog, ``OpenWithProgids``); links that Windows sets
(CurrentControlSet, the current hardware profile, a user's classes); device properties, whose types (0xffffnnnn) are the
format of that store; and types without a name in the driver database, the device tree and the resource arbiters.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from fleetscan.engines.registry_table.patterns import BLANKS
from fleetscan.engines.registry_table.values import (
    LINK as LINK_TYPE,
)
from fleetscan.engines.registry_table.values import (
    NONE,
    STRING_TYPES,
    TYPE_NAMES,
    show_value,
    shown,
    tells_all,
    utf16_length,
)
from fleetscan.model.registry import DEFAULT_VALUE, SUBKEY, RegistryRow, fold
from fleetscan.model.snapshot import BlindSpot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fleetscan.hives.tree import Key, Value

MAX_SPOTS = 10_000
MAX_ROWS = 400
"""Rows kept of one blind spot: function sets and catalogues have tens of keys with two values each."""
MAX_ALL_ROWS = 4_000
_LONGEST_DATA = 4_096
NAMES_SHOWN = 5

BEHIND_EMPTY = "values behind an empty value"
NUL_NAME = "name with NUL"
LONG_KEY_NAME = "255-character name"
LONG_VALUE_NAME = "16383-character value name"
TWIN = "unreachable twin"
NONE_PAYLOAD = "REG_NONE payload"
UNKNOWN_PAYLOAD = "unknown type payload"
BEHIND_NUL = "data behind NUL"
SHORT_NUMBER = "short number"
LINK = "link"
CUT_PATTERN = "pattern cut short"
DEPTH = "depth limit"
DAMAGE = "damage"
MISSING_HIVE = "missing hive"

LONGEST_KEY_NAME = 254
"""Characters that fit in the table's buffer; Windows allows 255."""
LONGEST_VALUE_NAME = 16382

_EXPECTED_LINK = re.compile(
    r"HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet|.*\\Hardware Profiles\\Current"
    r"|HKEY_USERS\\S-1-5-18|HKEY_USERS\\[^\\]+\\Software\\Classes",
    re.IGNORECASE,
)

_EXPECTED_TYPES = re.compile(
    r"HKEY_LOCAL_MACHINE\\SYSTEM\\(DriverDatabase|(CurrentControlSet|ControlSet\d{3})\\(Enum|Control\\Arbiters))(\\.*)?",
    re.IGNORECASE | re.DOTALL,
)
_HIDDEN_PAYLOADS = {NONE: NONE_PAYLOAD, LINK_TYPE: BEHIND_NUL, **dict.fromkeys(STRING_TYPES, BEHIND_NUL)}

Seen = tuple[str, str]
"""Kind and detail."""


class Witness:
    """Collects blind spots; each (kind, key) once, at most MAX_SPOTS of them."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._spots: dict[Seen, BlindSpot] = {}
        self._dropped = 0
        self._rows = 0

    def spots(self) -> tuple[BlindSpot, ...]:
        """What was seen, in the order of seeing."""
        spots = tuple(self._spots.values())
        if self._dropped:
            spots += (BlindSpot("more", "", f"{self._dropped} more blind spots are not listed"),)
        return spots

    def subkeys(self, key: str, subkeys: Sequence[Key], values: Sequence[Value]) -> None:
        """A key is being listed whose subkeys have odd names."""
        for index, subkey in enumerate(subkeys):
            if is_long_key_name(subkey.name):
                later = len(subkeys) - index - 1
                hidden = f"the key '{_brief(subkey.name)}' hides {later} later subkeys and {len(values)} values"
                behind = islice(_keys_behind(key, subkeys[index + 1 :], values), MAX_ROWS)
                self.see(LONG_KEY_NAME, key, hidden, behind)
        for kind, detail in _twins(subkeys):
            self.see(kind, key, detail)

    def values(self, key: str, values: Sequence[Value]) -> None:
        """A key is being listed of which not all values show, or not all of their data."""
        for kind, detail, behind in _in_values(values):
            if kind != UNKNOWN_PAYLOAD or not _EXPECTED_TYPES.fullmatch(key):
                self.see(kind, key, detail, islice(_value_rows(key, behind), MAX_ROWS))

    def followed(self, key: str, target: str) -> None:
        """A link was followed: the rows of ``key`` are those of another key."""
        if not _EXPECTED_LINK.fullmatch(key):
            self.see(LINK, key, f"leads to {_brief(target)}, whose contents are shown here")

    def skipped(self, key: str) -> None:
        """An expansion passes by what lies below a key, because listing it ended with "not found"."""
        self.see(CUT_PATTERN, key, "the pattern passes by what lies below this key")

    def expansion_ended(self, key: str) -> None:
        """An expansion ended at a key that cannot be listed to its end."""
        self.see(
            CUT_PATTERN, key, "this key cannot be listed to its end, so the pattern lost what lies deeper everywhere"
        )

    def depth_reached(self, pattern: str) -> None:
        """A recursion stopped at its depth limit."""
        self.see(DEPTH, pattern, "the pattern ends 32 levels below its start; what lies deeper was not read")

    def see(self, kind: str, key: str, detail: str, rows: Iterable[RegistryRow] = ()) -> None:
        """Note one place, with the rows that are hidden there."""
        spot = (kind, key)
        if spot in self._spots:
            return
        if len(self._spots) >= MAX_SPOTS:
            self._dropped += 1
            return
        kept = tuple(rows) if self._rows < MAX_ALL_ROWS else ()
        self._rows += len(kept)
        self._spots[spot] = BlindSpot(kind, key, detail, kept)


def is_long_key_name(name: str) -> bool:
    """Is the name too long for the table? Lists no later subkey and no value (rule 8d)."""
    return len(name) * 2 > LONGEST_KEY_NAME and utf16_length(name) > LONGEST_KEY_NAME


def is_long_value_name(name: str) -> bool:
    """Is the name too long for the table? Ends the listing (rule 8c)."""
    return len(name) * 2 > LONGEST_VALUE_NAME and utf16_length(name) > LONGEST_VALUE_NAME


def _brief(text: str) -> str:
    short = text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - what fits on a line of a report
    return repr(short)[1:-1]


def _twins(subkeys: Sequence[Key]) -> Iterator[Seen]:
    # Quick first: nearly every key has plain, distinct names.
    names = [subkey.name for subkey in subkeys]
    odd = [name for name in names if not _is_reachable(name)]
    if len({fold(name) for name in names}) != len(names):
        met: set[str] = set()
        for name in names:
            if fold(name) in met:
                odd.append(name)
            met.add(fold(name))
    if odd:
        yield TWIN, "what lies below cannot be asked for: " + _names(odd)


def _is_reachable(name: str) -> bool:
    return bool(name) and name.strip(BLANKS) == name and "\0" not in name and "\\" not in name and shown(name) == name


def _keys_behind(key: str, subkeys: Sequence[Key], values: Sequence[Value]) -> Iterator[RegistryRow]:
    for subkey in subkeys:
        name = shown(subkey.name)
        yield RegistryRow(key, name, SUBKEY, "")
        yield from _value_rows(f"{key}\\{name}", subkey.values())
    yield from _value_rows(key, values)


def _value_rows(key: str, values: Sequence[Value]) -> Iterator[RegistryRow]:
    for value in values:
        value_type, text, _ = show_value(value.type, value.data[:_LONGEST_DATA], {})
        yield RegistryRow(key, shown(value.name) or DEFAULT_VALUE, value_type, text)


def _in_values(values: Sequence[Value]) -> Iterator[tuple[str, str, Sequence[Value]]]:
    places: dict[str, list[str]] = {}
    for index, value in enumerate(values):
        if end := _end(index, values):
            yield *end, values[index:]
            break
        if kind := _hidden_payload(value):
            places.setdefault(kind, []).append(value.name)
    for kind, names in places.items():
        yield kind, f"data not shown of {_names(names)}", ()


def _end(index: int, values: Sequence[Value]) -> Seen | None:
    """What the listing loses if it ends at this value."""
    value = values[index]
    later = values[index + 1 :]
    if not value.data and value.type not in STRING_TYPES:
        hides = any(hidden.data for hidden in later)
        return (BEHIND_EMPTY, f"'{_brief(value.name)}' is empty and hides {_described(later)}") if hides else None
    if is_long_value_name(value.name):
        return LONG_VALUE_NAME, f"hides itself and {_described(later)}" if later else "hides itself"
    if "\0" in value.name:
        cut = fold(value.name.partition("\0")[0])
        if any(fold(other.name) == cut for other in values):
            return NUL_NAME, f"'{_brief(value.name)}' is not shown, the value of the cut name is shown twice"
        return NUL_NAME, f"hides {_described(values[index:])}"
    return None


def _hidden_payload(value: Value) -> str:
    if not value.data or tells_all(value.type, value.data):
        return ""
    return _HIDDEN_PAYLOADS.get(value.type, SHORT_NUMBER) if value.type in TYPE_NAMES else UNKNOWN_PAYLOAD


def _described(values: Sequence[Value]) -> str:
    kinds = [f"'{_brief(v.name)}' ({TYPE_NAMES.get(v.type, f'type {v.type:#x}')})" for v in values[:NAMES_SHOWN]]
    more = f" and {len(values) - NAMES_SHOWN} more" if len(values) > NAMES_SHOWN else ""
    return ", ".join(kinds) + more


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(f"'{_brief(name)}'" for name in names[:NAMES_SHOWN]) + more
