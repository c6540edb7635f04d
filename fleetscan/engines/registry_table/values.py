"""Values to texts: how the table shows each registry type (rule 7), and what such a text leaves out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from fleetscan.model.registry import fold

SZ, EXPAND_SZ, BINARY, DWORD, DWORD_BIG_ENDIAN, LINK, MULTI_SZ = 1, 2, 3, 4, 5, 6, 7
RESOURCE_LIST, FULL_RESOURCE_DESCRIPTOR, QWORD = 8, 9, 11
NONE = 0

STRING_TYPES: Final = frozenset({SZ, EXPAND_SZ, MULTI_SZ})
"""Types that show with empty data when they hold no byte; any other type ends the listing (rule 8a)."""

NONE_TEXT = "(zero-length binary value)"
UNKNOWN_TYPE = "UNKNOWN"

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
    return data[: len(data) & ~1].decode("utf-16-le", "replace")


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


def _text(data: bytes, _: Environment) -> str:
    return decode(data).partition("\0")[0]


def _expanded(data: bytes, environment: Environment) -> str:
    return expand(decode(data).partition("\0")[0], environment)


def _strings(data: bytes, _: Environment) -> str:
    return ",".join(decode(data).partition("\0\0")[0].removesuffix("\0").split("\0")) if data[:2] != b"\0\0" else ""


def _hex(data: bytes, _: Environment) -> str:
    return data.hex().upper()


def _number(width: int, order: str, *, signed: bool) -> Callable[[bytes, Environment], str]:
    def show(data: bytes, _: Environment) -> str:
        if len(data) < width:
            return ""
        return str(int.from_bytes(data[:width], "big" if order == "big" else "little", signed=signed))

    return show


_SHOW: Final[Mapping[int, Callable[[bytes, Environment], str]]] = {
    NONE: lambda _, __: NONE_TEXT,
    SZ: _text,
    EXPAND_SZ: _expanded,
    BINARY: _hex,
    DWORD: _number(4, "little", signed=True),
    DWORD_BIG_ENDIAN: _number(4, "big", signed=False),
    LINK: _text,
    MULTI_SZ: _strings,
    RESOURCE_LIST: _hex,
    FULL_RESOURCE_DESCRIPTOR: _hex,
    QWORD: _number(8, "little", signed=False),
}

_NUMBER_WIDTH: Final = {DWORD: 4, DWORD_BIG_ENDIAN: 4, QWORD: 8}


def show_value(value_type: int, data: bytes, environment: Environment) -> tuple[str, str]:
    """Type and data as the table shows them since osquery 5.14."""
    show = _SHOW.get(value_type)
    if show is None:
        return UNKNOWN_TYPE, ""
    name = TYPE_NAMES[SZ if value_type == EXPAND_SZ else value_type]
    return name, show(data, environment)


def show_value_before_514(value_type: int, data: bytes, longest: int) -> tuple[str, str]:
    """The same before 5.14: REG_EXPAND_SZ raw, REG_BINARY padded with zeros to the longest value of its key."""
    if value_type == EXPAND_SZ:
        return TYPE_NAMES[EXPAND_SZ], _text(data, {})
    if value_type == BINARY:
        return TYPE_NAMES[BINARY], data.ljust(longest, b"\0").hex().upper()
    return show_value(value_type, data, {})


def is_short_number(value_type: int, data: bytes) -> bool:
    """Does the table read past the data? (undefined there; shown as empty here)."""
    return 0 < len(data) < _NUMBER_WIDTH.get(value_type, 0)


def text_behind_end(value_type: int, data: bytes) -> str:
    """What a string value holds behind the place where the table stops; without terminators."""
    if value_type not in STRING_TYPES or not data:
        return ""
    text = decode(data)
    if value_type != MULTI_SZ:
        return text.partition("\0")[2].strip("\0")
    return "" if text.startswith("\0") and not text.strip("\0") else text[_end_of_strings(text) :].strip("\0")


def _end_of_strings(text: str) -> int:
    if text.startswith("\0"):
        return 0
    end = text.find("\0\0")
    return len(text) if end < 0 else end
