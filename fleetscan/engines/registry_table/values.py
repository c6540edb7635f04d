"""Values to texts: how the table shows each registry type (rule 7), and what such a text leaves out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal

from fleetscan.model.registry import fold

SZ, EXPAND_SZ, BINARY, DWORD, DWORD_BIG_ENDIAN, LINK, MULTI_SZ = 1, 2, 3, 4, 5, 6, 7
RESOURCE_LIST, FULL_RESOURCE_DESCRIPTOR, QWORD = 8, 9, 11
NONE = 0

STRING_TYPES: Final = frozenset({SZ, EXPAND_SZ, MULTI_SZ})
"""Types that show with empty data when they hold no byte; any other type ends the listing (rule 8a)."""

NONE_TEXT = "(zero-length binary value)"
UNKNOWN_TYPE = "UNKNOWN"
DEVICE_PROPERTY = 0xFFFF0000
"""Types of the store of device properties: data that nobody expects to see as text (see blind_spots)."""

TYPE_NAMES: Final[Mapping[int, str]] = {
    NONE: "REG_NONE",
    SZ: "REG_SZ",
    EXPAND_SZ: "REG_EXPAND_SZ",
    BINARY: "REG_BINARY",
    DWORD: "REG_DWORD",
    DWORD_BIG_ENDIAN: "REG_DWORD_BIG_ENDIAN",
    LINK: "REG_LINK",
    MULTI_SZ: "REG_MULTI_SZ",
    RESOURCE_LIST: "REG_RESOURCE_LIST",
    FULL_RESOURCE_DESCRIPTOR: "REG_FULL_RESOURCE_DESCRIPTOR",
    QWORD: "REG_QWORD",
}

_SURROGATE = re.compile("[\ud800-\udfff]")
_VARIABLE = re.compile("%([^%]*)%")
_EXPANSION_LIMIT = 1 << 20
"""Characters of an expanded text; Windows allows 32767, and a hostile value must not multiply itself."""

Environment = Mapping[str, str]
"""Variables by folded name."""


def environment_of(variables: Mapping[str, str]) -> Environment:
    """Variables prepared for look-up: their names ignore case."""
    return {fold(name): value for name, value in variables.items()}


def shown(text: str) -> str:
    """The text as UTF-8 can carry it: an unpaired surrogate becomes U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def utf16_length(text: str) -> int:
    """Length in the units Windows counts."""
    return len(text) if text.isascii() else len(text) + sum(char > "\uffff" for char in text)


def decode(data: bytes) -> str:
    """Stored UTF-16 text, terminators included; half a unit at the end is dropped."""
    return (data[:-1] if len(data) & 1 else data).decode("utf-16-le", "replace")


def expand(text: str, environment: Environment) -> str:
    """Replace ``%NAME%``; unknown variables stay as written."""
    if "%" not in text:
        return text
    pieces: list[str] = []
    room = _EXPANSION_LIMIT
    position = 0
    while (match := _VARIABLE.search(text, position)) and room > 0:
        value = environment.get(fold(match.group(1)))
        piece = text[position : match.start()] + (match.group() if value is None else value)
        pieces.append(piece)
        room -= len(piece)
        position = match.end()
    pieces.append(text[position:])
    return "".join(pieces)[:_EXPANSION_LIMIT]


Shown = tuple[str, bool]
"""The text that the table shows, and whether it tells all that is stored."""


def _text(data: bytes, _: Environment) -> Shown:
    text, _end, rest = decode(data).partition("\0")
    return text, not rest or not rest.strip("\0")


def _expanded(data: bytes, environment: Environment) -> Shown:
    text, whole = _text(data, environment)
    return expand(text, environment), whole


def _strings(data: bytes, _: Environment) -> Shown:
    text = decode(data)
    end = 0 if text.startswith("\0") else text.find("\0\0")
    if end < 0:
        return text.removesuffix("\0").replace("\0", ","), True
    return text[:end].replace("\0", ","), not text[end:].strip("\0")


def _hex(data: bytes, _: Environment) -> Shown:
    return data.hex().upper(), True


def _number(width: int, order: Literal["big", "little"], *, signed: bool) -> Callable[[bytes, Environment], Shown]:
    def show(data: bytes, _: Environment) -> Shown:
        if len(data) < width:
            return "", not data
        return str(int.from_bytes(data[:width], order, signed=signed)), True

    return show


_SHOW: Final[Mapping[int, tuple[str, Callable[[bytes, Environment], Shown]]]] = {
    NONE: ("REG_NONE", lambda _, __: (NONE_TEXT, False)),
    SZ: ("REG_SZ", _text),
    EXPAND_SZ: ("REG_SZ", _expanded),
    BINARY: ("REG_BINARY", _hex),
    DWORD: ("REG_DWORD", _number(4, "little", signed=True)),
    DWORD_BIG_ENDIAN: ("REG_DWORD_BIG_ENDIAN", _number(4, "big", signed=False)),
    LINK: ("REG_LINK", _text),
    MULTI_SZ: ("REG_MULTI_SZ", _strings),
    RESOURCE_LIST: ("REG_RESOURCE_LIST", _hex),
    FULL_RESOURCE_DESCRIPTOR: ("REG_FULL_RESOURCE_DESCRIPTOR", _hex),
    QWORD: ("REG_QWORD", _number(8, "little", signed=False)),
}


def show_value(value_type: int, data: bytes, environment: Environment) -> tuple[str, str, bool]:
    """Type and data as the table shows them since osquery 5.14, and whether they tell all that is stored."""
    known = _SHOW.get(value_type)
    if known is None:
        return UNKNOWN_TYPE, "", value_type & DEVICE_PROPERTY == DEVICE_PROPERTY
    text, whole = known[1](data, environment)
    return known[0], text, whole


def show_value_before_514(value_type: int, data: bytes, longest: int) -> tuple[str, str]:
    """The same before 5.14: REG_EXPAND_SZ raw, REG_BINARY padded with zeros to the longest value of its key."""
    if value_type == EXPAND_SZ:
        return TYPE_NAMES[EXPAND_SZ], _text(data, {})[0]
    if value_type == BINARY:
        return TYPE_NAMES[BINARY], data.ljust(longest, b"\0").hex().upper()
    return show_value(value_type, data, {})[:2]


def tells_all(value_type: int, data: bytes) -> bool:
    """Does what the table shows of this value tell all that is stored?"""
    return show_value(value_type, data, {})[2]
