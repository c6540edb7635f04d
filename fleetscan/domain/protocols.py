"""Rows of the protocol catalogue: base providers, layered providers, chains, and NetBIOS counted as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.domain import packed
from fleetscan.domain.entity import Entity, Flag
from fleetscan.domain.loadable import extra_values
from fleetscan.domain.paths import DllPath, normalise
from fleetscan.model.finding import Severity
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fleetscan.domain.keys import Node
    from fleetscan.domain.known_good import KnownGood

NETBIOS = 17
_ENTRY_VALUES = frozenset(map(fold, ("PackedCatalogItem", "ProtocolName")))


@dataclass(frozen=True, slots=True)
class _Row:
    node: Node
    item: packed.PackedItem
    path: DllPath
    flags: tuple[Flag, ...]


def decode_protocols(
    view: str, nodes: Iterable[Node], known: KnownGood, environment: Mapping[str, str] | None
) -> Iterator[Entity]:
    """Entities of one catalogue; ``nodes`` are its entry keys in catalogue order."""
    rows: list[_Row] = []
    for node in nodes:
        read = _read(node, environment)
        if isinstance(read, _Row):
            rows.append(read)
        else:
            yield _unreadable(view, node, read)
    providers = {row.item.catalog_id: row.item.provider for row in rows}
    first = _first(rows)
    for row in rows:
        if row.item.family != NETBIOS:
            yield _protocol(view, row, providers, known, is_first=row in first)
    yield from _netbios(view, [row for row in rows if row.item.family == NETBIOS], known)


def _read(node: Node, environment: Mapping[str, str] | None) -> _Row | str:
    values = node.values_by_name()
    found = values.get(fold("PackedCatalogItem"))
    if not found:
        return "" if node.unread else "no PackedCatalogItem was returned"
    item = packed.parse(found[0].data) if found[0].type == "REG_BINARY" else None
    if item is None:
        return f"malformed: a {found[0].type} of {len(found[0].data) // 2} bytes cannot be read as catalogue row"
    path = normalise(item.path, environment)
    flags = [Flag("malformed", problem, Severity.MEDIUM) for problem in item.problems]
    flags.extend(path.flags)
    if path.is_user_writable:
        flags.append(Flag("writable", "the DLL lies where users can write", Severity.HIGH))
    if len(found) > 1:
        flags.append(Flag("name twice", "one value name twice: a name with a NUL hides another value", Severity.MEDIUM))
    named = values.get(fold("ProtocolName"))
    if named and named[0].data != item.name:
        flags.append(Flag("name differs", "ProtocolName is not the name inside the row", Severity.LOW))
    return _Row(node, item, path, tuple(flags))


def _unreadable(view: str, node: Node, problem: str) -> Entity:
    malformed = problem.startswith("malformed")
    return Entity(
        kind="winsock_protocol",
        identity=(("view", view), ("entry", node.name)),
        attributes=(("oddities", problem),),
        keys=(node.path,),
        rows=(*node.listing[:1], *node.values),
        flags=(Flag("malformed", problem, Severity.MEDIUM),) if malformed else (),
        incomplete="" if malformed else problem or "the row is listed, but its key gave no value",
    )


def _first(rows: list[_Row]) -> list[_Row]:
    """The rows that are asked first for their family, type and protocol; layered rows are never asked."""
    seen: dict[tuple[int, int, int], _Row] = {}
    for row in rows:
        if row.item.chain_length != packed.LAYERED:
            seen.setdefault((row.item.family, row.item.socket_type, row.item.protocol), row)
    return list(seen.values())


def _protocol(view: str, row: _Row, providers: Mapping[int, str], known: KnownGood, *, is_first: bool) -> Entity:
    item = row.item
    identity = [
        ("view", view),
        ("provider", item.provider),
        ("family", str(item.family)),
        ("type", str(item.socket_type)),
        ("protocol", str(item.protocol)),
        ("chain", item.chain_class),
    ]
    flags = list(row.flags)
    if item.chain_class == "chain":
        resolved = [providers.get(entry, "") for entry in item.chain]
        identity.append(("chain_providers", ",".join(provider or "?" for provider in resolved)))
        if not all(resolved):
            flags.append(Flag("dangling chain", "the chain names a row that is not there", Severity.MEDIUM))
    odd = ", ".join(sorted({flag.code for flag in flags if flag.severity >= Severity.MEDIUM}))
    facts = known.find("protocol", item.provider)
    return Entity(
        kind="winsock_protocol",
        identity=tuple(identity),
        attributes=(
            ("dll", row.path.token),
            ("service_flags", f"0x{item.service_flags:08X}"),
            ("provider_flags", f"0x{item.provider_flags:08X}"),
            ("version", str(item.version)),
            ("addresses", f"{item.min_address}..{item.max_address}"),
            ("name", item.name),
            ("first", "yes" if is_first else "no"),
            ("oddities", odd),
            *extra_values(row.node.values_by_name(), _ENTRY_VALUES),
        ),
        ignored=(("raw", item.path), ("entry", row.node.name), ("catalog_id", str(item.catalog_id))),
        keys=(row.node.path,),
        rows=(*row.node.listing[:1], *row.node.values),
        flags=tuple(flags),
        title=next((fact.name for fact in facts if _numbers_fit(fact.numbers, item)), item.name),
    )


def _numbers_fit(numbers: Mapping[str, int], item: packed.PackedItem) -> bool:
    wanted = {"address_family": item.family, "socket_type": item.socket_type, "protocol": item.protocol}
    return all(numbers.get(name, value) == value for name, value in wanted.items())


def _netbios(view: str, rows: list[_Row], known: KnownGood) -> Iterator[Entity]:
    groups: dict[tuple[str, int], list[_Row]] = {}
    for row in rows:
        groups.setdefault((row.item.provider, row.item.socket_type), []).append(row)
    for (provider, socket_type), group in groups.items():
        flags = tuple(dict.fromkeys(flag for row in group for flag in row.flags))
        yield Entity(
            kind="winsock_netbios",
            identity=(("view", view), ("provider", provider), ("type", str(socket_type))),
            attributes=(
                ("dll", " | ".join(sorted({row.path.token for row in group}))),
                ("service_flags", " | ".join(sorted({f"0x{row.item.service_flags:08X}" for row in group}))),
                ("count", str(len(group))),
                ("oddities", ", ".join(sorted({flag.code for flag in flags if flag.severity >= Severity.MEDIUM}))),
            ),
            keys=tuple(row.node.path for row in group),
            rows=tuple(value for row in group for value in row.node.values),
            flags=flags,
            title=known.name_of(provider),
        )
