"""The texts under which sensors show a value's data, made from what osquery prints (rule-semantics D1, D2, D5)."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from fleetscan.model.environment import SYSTEM_ENVIRONMENT
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetscan.model.registry import RegistryRow

EMPTY = "(Empty)"
BINARY = "Binary Data"

EXPANDABLE = frozenset({"REG_SZ", "REG_EXPAND_SZ"})
"""Types that may hold environment variables; osquery since 5.14 reports expanded text as REG_SZ."""

_STRINGS = frozenset({"REG_SZ", "REG_EXPAND_SZ", "REG_LINK"})
_BITS = {"REG_DWORD": 32, "REG_QWORD": 64}
_MAX_DIGITS = 20
_VARIABLE = re.compile(r"%([^%]+)%")

DEFAULT_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {fold(name): value for name, value in SYSTEM_ENVIRONMENT.items()}
)
"""The environment of SYSTEM on a plain Windows, used where the host did not say its own (D5)."""


def environment_of(variables: Mapping[str, str] | None) -> Mapping[str, str]:
    """Variables by folded name; the default where there are none."""
    if variables is None:
        return DEFAULT_ENVIRONMENT
    return MappingProxyType({fold(name): value for name, value in variables.items()})


def expand(text: str, environment: Mapping[str, str]) -> str:
    """``%NAME%`` replaced once; an unknown name is left alone."""
    if "%" not in text:
        return text
    return _VARIABLE.sub(lambda found: environment.get(fold(found[1]), found[0]), text)


def number_of(row: RegistryRow) -> int | None:
    """The unsigned number of a DWORD or QWORD row (osquery prints them signed)."""
    bits = _BITS.get(row.type)
    if bits is None or len(row.data) > _MAX_DIGITS:
        return None
    try:
        modulus: int = 2**bits
        return int(row.data) % modulus
    except ValueError:
        return None


def sysmon_texts(row: RegistryRow) -> tuple[str, ...]:  # noqa: PLR0911 - one per type
    """The texts of a value for Sigma's Details (D1)."""
    match row.type:
        case "REG_DWORD":
            number = number_of(row)
            return (BINARY,) if number is None else (f"DWORD (0x{number:08x})",)
        case "REG_QWORD":
            number = number_of(row)
            return (BINARY,) if number is None else (f"QWORD (0x{number >> 32:08x}-0x{number & 0xFFFFFFFF:08x})",)
        case "REG_SZ" | "REG_EXPAND_SZ":
            return (row.data,) if row.data else (EMPTY, "")
        case "REG_MULTI_SZ":
            return (BINARY, row.data, *row.data.split(",")) if row.data else (BINARY, EMPTY, "")
        case "REG_DWORD_BIG_ENDIAN":
            return (BINARY, *_big_endian(row.data))
        case "REG_LINK":
            return (BINARY, row.data)
        case _:
            return (BINARY,)


def _big_endian(data: str) -> tuple[str, ...]:
    if len(data) > _MAX_DIGITS or not re.fullmatch(r"-?\d+", data):
        return ()
    return (f"DWORD (0x{int(data) % 2**32:08x})",)


def elastic_texts(row: RegistryRow) -> tuple[str, ...] | None:
    """The texts of a value for EQL's registry.data.strings, or None where Elastic shows none (D2)."""
    number = number_of(row)
    if number is not None:
        return (str(number), f"0x{number:0{_BITS[row.type] // 4}x}")
    if row.type in _STRINGS:
        return (row.data,) if row.data else ("", "(empty)")
    if row.type == "REG_MULTI_SZ":
        return (row.data, *row.data.split(",")) if "," in row.data else (row.data,)
    return None


def data_length(row: RegistryRow) -> int | None:
    """Number of characters of the joined data; None where the data is null (D9)."""
    texts = elastic_texts(row)
    return None if texts is None else len(texts[0])
