"""WinSock2 parameters: which catalogues are live, their rows and counters, the values and lists that load code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.domain.cryptography import area, odd_names, sound
from fleetscan.domain.entity import Entity, Flag
from fleetscan.domain.loadable import TEXT_TYPES, repeated
from fleetscan.domain.namespaces import decode_namespaces
from fleetscan.domain.paths import normalise
from fleetscan.domain.protocols import decode_protocols
from fleetscan.model.finding import Severity
from fleetscan.model.registry import HKLM, fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fleetscan.domain.keys import Node
    from fleetscan.domain.known_good import KnownGood
    from fleetscan.model.registry import RegistryRow

_SERVICES = ("SYSTEM", "CurrentControlSet", "Services")
_DLL_VALUES = ("AutodialDLL", "NameSpace_Callout")
_ENTRIES = (("32", "Catalog_Entries", "Num_Catalog_Entries"), ("64", "Catalog_Entries64", "Num_Catalog_Entries64"))
_ENTRY_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Catalog:
    """One of the two catalogues: its word in identities, the value that names the live key, the usual name."""

    word: str
    pointer: str
    usual: str


_CATALOGS = (
    Catalog("protocol", "Current_Protocol_Catalog", "Protocol_Catalog9"),
    Catalog("namespace", "Current_NameSpace_Catalog", "NameSpace_Catalog5"),
)


def decode_winsock(tree: Node, known: KnownGood, environment: Mapping[str, str] | None) -> Iterator[Entity]:
    r"""Entities of ``Services\WinSock2\Parameters`` and of the helper DLLs of every transport."""
    services = tree.find(HKLM, *_SERVICES)
    if services is None:
        return
    for service in services.children.values():
        if helper := service.find("Parameters", "Winsock"):
            yield from _helper(service.name, helper, environment)
    if parameters := services.find("WinSock2", "Parameters"):
        yield from _scalars(parameters, environment)
        yield from _pointers(parameters, known)
        yield from odd_names(parameters)
        yield from _catalogs(parameters, known, environment)
    if applications := services.find("WinSock2", "Parameters", "AppId_Catalog"):
        yield from odd_names(applications)
        for node in sound(applications):
            yield _application(node, environment)


def _catalogs(parameters: Node, known: KnownGood, environment: Mapping[str, str] | None) -> Iterator[Entity]:
    found = {catalog: _live(parameters, catalog) for catalog in _CATALOGS}
    for catalog, live in found.items():
        if live is not None:
            yield from _catalog(catalog, live, known, environment)
    for other in parameters.children.values():
        if all(other is not live for live in found.values()):
            yield from _dormant(other)


def _live(parameters: Node, catalog: Catalog) -> Node | None:
    """The catalogue that is in use; where the pointer leads nowhere, the usual one: its rows are still there."""
    named = parameters.text(catalog.pointer).strip("\\").split("\\")
    return (parameters.find(*named) if named[0] else None) or parameters.find(catalog.usual)


def _catalog(catalog: Catalog, live: Node, known: KnownGood, environment: Mapping[str, str] | None) -> Iterator[Entity]:
    yield from odd_names(live)
    for names in _ENTRIES:
        view, entries_name, _ = names
        entries = live.find(entries_name)
        nodes = _entries(entries)
        if counter := _counter(catalog, live, names, nodes):
            yield counter
        if entries is None:
            continue
        if entries.unread:
            yield area(entries, incomplete="the catalogue is listed, but it gave no row", serious=True)
        yield from odd_names(entries)
        yield from _strangers(entries, nodes)
        decode = decode_protocols if catalog.word == "protocol" else decode_namespaces
        yield from decode(view, nodes, known, environment)


def _strangers(entries: Node, nodes: list[Node]) -> Iterator[Entity]:
    """Keys beside the rows that hold values: Windows counts rows by number and does not read them."""
    for node in sound(entries):
        if node.values and all(node is not one for one in nodes):
            yield area(node, flag=Flag("no row", "a key beside the rows of a catalogue, with values", Severity.LOW))


def _dormant(node: Node) -> Iterator[Entity]:
    """A catalogue that no pointer names: a decoy or a leftover, nothing that Windows reads."""
    entries = [entry for _, name, _ in _ENTRIES for entry in _entries(node.find(name))]
    if entries:
        yield Entity(
            kind="winsock_dormant",
            identity=(("key", node.path),),
            keys=(node.path, *(entry.path for entry in entries)),
            rows=tuple(node.listing),
            title=f"{len(entries)} rows of a catalogue that is not live",
        )


def _entries(entries: Node | None) -> list[Node]:
    """Entry keys in catalogue order; other subkeys (volatile notification keys) do not count."""
    nodes = entries.children.values() if entries else ()
    return sorted(
        (node for node in nodes if node.name.isdecimal() and len(node.name) == _ENTRY_DIGITS),
        key=lambda node: node.name,
    )


def _counter(catalog: Catalog, live: Node, names: tuple[str, str, str], nodes: list[Node]) -> Entity | None:
    view, entries_name, name = names
    rows = tuple(row for row in live.values if fold(row.name) == fold(name))
    if not rows and not (nodes and live.read):
        return None
    stated, seen = rows[0].data if rows else "", len(nodes)
    problem = _miscount(name, stated, nodes)
    return Entity(
        kind="winsock_catalog",
        identity=(("catalog", catalog.word), ("view", view)),
        attributes=(("counter", problem or "agrees"),),
        ignored=(("stated", stated), ("seen", str(seen)), ("entries", f"{live.path}\\{entries_name}")),
        keys=(live.path,),
        rows=rows or tuple(row for node in nodes[:1] for row in node.listing[:1]),
        flags=(Flag("counter", problem, Severity.MEDIUM),) if problem else (),
        incomplete=problem if not rows or (stated.isdecimal() and int(stated) > seen) else "",
    )


def _miscount(name: str, stated: str, nodes: list[Node]) -> str:
    """What is wrong with the counter or the numbers of the rows: they run from 1 without a gap."""
    seen = len(nodes)
    if not stated:
        return f"{name} was not returned: absent, or hidden behind an empty value"
    if stated != str(seen):
        return f"{name} says {stated}, {seen} rows were seen: a row is hidden or half removed"
    if nodes and int(nodes[-1].name) != seen:
        return f"{seen} rows with numbers up to {int(nodes[-1].name)}: a row is hidden or half removed"
    return ""


def _pointers(parameters: Node, known: KnownGood) -> Iterator[Entity]:
    """The values that name the live catalogues are always there: without one, no value is known to be absent."""
    values = parameters.values_by_name()
    if not any(child.listing for child in parameters.children.values()) or all(
        fold(catalog.pointer) in values for catalog in _CATALOGS
    ):
        return
    for fact in known.of_kind("winsock_value"):
        if fold(fact.name) not in values:
            yield Entity(
                kind="winsock_scalar",
                identity=(("name", fact.name),),
                keys=(parameters.path,),
                incomplete=f"{fact.name} was not returned: absent, or hidden behind an empty value",
            )


def _scalars(parameters: Node, environment: Mapping[str, str] | None) -> Iterator[Entity]:
    for rows in parameters.values_by_name().values():
        row = rows[0]
        flags = [Flag("name twice", "one value name twice: a name with a NUL hides another value", Severity.MEDIUM)]
        yield _scalar(row, flags if len(rows) > 1 else [], environment)


def _scalar(row: RegistryRow, flags: list[Flag], environment: Mapping[str, str] | None) -> Entity:
    data, loads_code = row.data, row.name.lower() in {name.lower() for name in _DLL_VALUES}
    if loads_code and row.type in TEXT_TYPES and data:
        path = normalise(data, environment)
        data = path.token
        flags = [*flags, *path.flags]
        if path.is_user_writable:
            flags.append(Flag("writable", "the DLL lies where users can write", Severity.HIGH))
    if loads_code and row.type not in TEXT_TYPES:
        flags = [*flags, Flag("type", f"stored as {row.type}, not as text", Severity.MEDIUM)]
    usual = next((one.usual for one in _CATALOGS if fold(one.pointer) == fold(row.name)), "")
    if fold(data) == fold(usual):
        data = usual  # a key has one name in any case
    odd = ", ".join(sorted({flag.code for flag in flags if flag.severity >= Severity.MEDIUM}))
    return Entity(
        kind="winsock_scalar",
        identity=(("name", row.name),),
        attributes=(
            ("dll" if loads_code else "data", data),
            ("type", "text" if row.type in TEXT_TYPES else row.type),
            ("oddities", odd),
        ),
        ignored=(("raw", row.data), ("value type", row.type)),
        keys=(row.key,),
        rows=(row,),
        flags=tuple(flags),
        incomplete="the value is empty: what Windows loads is not proven" if loads_code and not row.data else "",
    )


def _application(node: Node, environment: Mapping[str, str] | None) -> Entity:
    path = normalise(node.text("AppFullPath"), environment)
    categories = _dword(node, "PermittedLspCategories")
    missing = "" if categories else "no PermittedLspCategories was returned"
    return Entity(
        kind="winsock_appid",
        identity=(("name", node.name),),
        attributes=(
            ("path", path.token),
            ("arguments", node.text("AppArgs")),
            ("categories", categories),
        ),
        ignored=(("raw", path.raw),),
        keys=(node.path,),
        rows=(*node.listing[:1], *node.values),
        flags=tuple(repeated(node.values_by_name())),
        title=path.base,
        incomplete="the key is listed, but it gave no row" if node.unread else missing,
    )


def _dword(node: Node, name: str) -> str:
    """A number as ``unsigned`` writes it; data of another type is no number to Windows, whatever it looks like."""
    row = next((row for row in node.values if fold(row.name) == fold(name)), None)
    return dword(row) if row else ""


def dword(row: RegistryRow) -> str:
    """The number of one row, or type and data of a row that holds none."""
    return unsigned(row.data) if row.type == "REG_DWORD" else f"{row.type} {row.data}"


def unsigned(text: str) -> str:
    """A DWORD as hexadecimal; osquery prints it signed."""
    try:
        return f"0x{int(text) & 0xFFFFFFFF:08x}"
    except ValueError:
        return text


def _helper(service: str, node: Node, environment: Mapping[str, str] | None) -> Iterator[Entity]:
    rows = node.values_by_name().get(fold("HelperDllName"), [])
    if not rows:
        return
    row = rows[0]
    path = normalise(row.data, environment)
    flags = [*path.flags, *repeated(node.values_by_name())]
    if path.is_user_writable:
        flags.append(Flag("writable", "the DLL lies where users can write", Severity.HIGH))
    yield Entity(
        kind="winsock_helper",
        identity=(("service", service),),
        attributes=(("dll", path.token), ("type", "text" if row.type in TEXT_TYPES else row.type)),
        ignored=(("raw", row.data), ("value type", row.type)),
        keys=(node.path,),
        rows=tuple(node.values),
        flags=tuple(flags),
        incomplete="" if row.data else "HelperDllName is empty: what Windows loads is not proven",
    )
