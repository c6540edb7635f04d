"""A key that names a DLL and a function: the shape shared by SIPs, trust steps and the other OID functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.domain.entity import Flag, Pairs
from fleetscan.domain.paths import DllPath, normalise
from fleetscan.model.finding import Severity
from fleetscan.model.registry import DEFAULT_VALUE, fold

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from fleetscan.domain.keys import Node
    from fleetscan.model.registry import RegistryRow

TEXT_TYPES = frozenset({"REG_SZ", "REG_EXPAND_SZ"})
_SYSTEM_DLLS = frozenset({"ntdll", "kernel32", "kernelbase", "user32", "shell32"})
"""Signed and always there, with exports that return success: never a provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loadable:
    """What such a key says. ``dll`` None: there is no readable DLL."""

    dll: DllPath | None
    function: str
    attributes: Pairs
    ignored: Pairs
    flags: tuple[Flag, ...]
    incomplete: str


@dataclass(frozen=True, slots=True)
class Names:
    """Value names of one area."""

    dll: str
    function: str
    others: tuple[str, ...] = ()
    needs_function: bool = True
    """Is a key without function name incomplete? crypt32 has a default for OID functions."""


def read_loadable(node: Node, names: Names, environment: Mapping[str, str] | None) -> Loadable:
    """Read DLL, function and whatever else stands in the key."""
    values = node.values_by_name()
    flags = [*repeated(values)]
    dll, raw, dll_type = _dll(values.get(fold(names.dll), []), environment, flags)
    function = _function(values.get(fold(names.function), []), names.function, flags)
    known = {fold(name) for name in (names.dll, names.function, *names.others)}
    extra = sorted(rows[0].name for name, rows in values.items() if name not in known and not _is_unset(rows[0]))
    if extra:
        flags.append(Flag("extra values", f"unusual values: {', '.join(extra)}", Severity.MEDIUM))
    if node.children:
        flags.append(Flag("subkeys", "subkeys below a registration", Severity.LOW))
    others = tuple((name, _data(values.get(fold(name), []))) for name in names.others)
    attributes = (
        ("dll", _shown(dll, raw)),
        ("function", function),
        *((name, data) for name, data in others if data),
        ("type", "text" if dll_type in TEXT_TYPES else dll_type),
        ("extra", ", ".join(f"{name}={_data(values[fold(name)])}" for name in extra)),
        ("oddities", ", ".join(sorted({flag.code for flag in flags if flag.severity >= Severity.MEDIUM}))),
    )
    return Loadable(
        dll=dll,
        function=function,
        attributes=tuple((name, value) for name, value in attributes if value or name in {"dll", "function"}),
        ignored=(("raw", raw), ("value type", dll_type)),
        flags=tuple(flags),
        incomplete=_missing(node, names, values, raw),
    )


def extra_values(values: Mapping[str, list[RegistryRow]], usual: Container[str]) -> Pairs:
    """As an attribute, what stands beside the usual values of a catalogue row; nothing if there is nothing."""
    found = sorted(f"{rows[0].name}={rows[0].data}" for name, rows in values.items() if name not in usual)
    return (("extra", ", ".join(found)),) if found else ()


def _is_unset(row: RegistryRow) -> bool:
    """The unnamed value, empty: editors of the registry leave it behind."""
    return row.name == DEFAULT_VALUE and not row.data


def repeated(values: Mapping[str, list[RegistryRow]]) -> list[Flag]:
    """A flag if a key shows one value name twice."""
    twice = sorted(rows[0].name for rows in values.values() if len(rows) > 1)
    if not twice:
        return []
    text = f"one value name twice ({', '.join(twice)}): a name with a NUL hides another value"
    return [Flag("name twice", text, Severity.MEDIUM)]


def _dll(
    rows: list[RegistryRow], environment: Mapping[str, str] | None, flags: list[Flag]
) -> tuple[DllPath | None, str, str]:
    if not rows:
        return None, "", ""
    row = rows[0]
    if row.type not in TEXT_TYPES:
        flags.append(Flag("type", f"the DLL is stored as {row.type}, not as text", Severity.MEDIUM))
        return None, row.data, row.type
    if not row.data:
        return None, "", row.type
    path = normalise(row.data, environment)
    flags.extend(path.flags)
    if path.base.removesuffix(".dll") in _SYSTEM_DLLS:
        flags.append(Flag("system DLL", f"{path.base} is no provider: its exports only return success", Severity.HIGH))
    if path.is_user_writable:
        flags.append(Flag("writable", "the DLL lies where users can write", Severity.HIGH))
    return path, row.data, row.type


def _function(rows: list[RegistryRow], name: str, flags: list[Flag]) -> str:
    if not rows:
        return ""
    if rows[0].type not in TEXT_TYPES:
        flags.append(Flag("function type", f"{name} is stored as {rows[0].type}, not as text", Severity.MEDIUM))
    return rows[0].data


def _shown(dll: DllPath | None, raw: str) -> str:
    return dll.token if dll else raw


def _data(rows: list[RegistryRow]) -> str:
    return rows[0].data if rows else ""


def _missing(node: Node, names: Names, values: Mapping[str, list[RegistryRow]], raw: str) -> str:
    if node.unread:
        return "the key is listed, but no value was returned: empty, hidden or unreadable"
    if fold(names.dll) not in values:
        return f"no {names.dll} was returned: absent, or hidden behind an empty value"
    if not raw:
        return f"{names.dll} is empty: what Windows loads is not proven"
    if names.needs_function and fold(names.function) not in values:
        return f"no {names.function} was returned: absent, or hidden behind an empty value"
    return ""
