"""Rows of the name space catalogue: who answers name queries, and who is asked before DNS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.domain import guid
from fleetscan.domain.entity import Entity, Flag
from fleetscan.domain.loadable import TEXT_TYPES, extra_values, repeated
from fleetscan.domain.paths import normalise
from fleetscan.model.finding import Severity
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fleetscan.domain.keys import Node
    from fleetscan.domain.known_good import KnownGood
    from fleetscan.model.registry import RegistryRow

DNS_PROVIDER = "22059D40-7E9E-11CF-AE5A-00AA00A7112B"
DNS_NAMESPACE = "12"
_GUID_DIGITS = 32
_VALUES = frozenset(
    map(
        fold,
        (
            "LibraryPath", "DisplayString", "ProviderId", "AddressFamily", "SupportedNameSpace", "Enabled", "Version",
            "StoresServiceClassInfo", "ProviderInfo",
        ),
    )
)  # fmt: skip


def decode_namespaces(
    view: str, nodes: Iterable[Node], known: KnownGood, environment: Mapping[str, str] | None
) -> Iterator[Entity]:
    """Entities of one catalogue; ``nodes`` are its entry keys in catalogue order."""
    ordered = list(nodes)
    place = next((node.name for node in ordered if _provider(node) == DNS_PROVIDER), "")
    for node in ordered:
        yield _namespace(view, node, place, known, environment)


def _provider(node: Node) -> str | None:
    rows = node.values_by_name().get(fold("ProviderId"), [])
    return guid.from_hex(rows[0].data) if rows and rows[0].type == "REG_BINARY" else None


def _namespace(view: str, node: Node, dns: str, known: KnownGood, environment: Mapping[str, str] | None) -> Entity:
    provider, number = _provider(node), node.text("SupportedNameSpace")
    if provider is None or not number:
        return _undecoded(view, node)
    values = node.values_by_name()
    path = normalise(node.text("LibraryPath"), environment)
    flags = list(path.flags)
    if path.is_user_writable:
        flags.append(Flag("writable", "the DLL lies where users can write", Severity.HIGH))
    if (library := values.get(fold("LibraryPath"))) and library[0].type not in TEXT_TYPES:
        flags.append(Flag("type", f"the DLL is stored as {library[0].type}, not as text", Severity.MEDIUM))
    if values[fold("ProviderId")][0].data[_GUID_DIGITS:].strip("0"):
        flags.append(Flag("malformed", "ProviderId is longer than a GUID", Severity.MEDIUM))
    flags += repeated(values)
    odd = ", ".join(sorted({flag.code for flag in flags if flag.severity >= Severity.MEDIUM}))
    ranked = _rank(node.name, dns)
    return Entity(
        kind="winsock_namespace",
        identity=(("view", view), ("provider", provider), ("namespace", number)),
        attributes=(
            ("dll", path.token),
            ("enabled", node.text("Enabled")),
            ("version", node.text("Version")),
            ("name", node.text("DisplayString")),
            # Order matters for those who answer the same queries; that of the others changes between releases.
            ("rank", ranked if number == DNS_NAMESPACE else ""),
            ("oddities", odd),
            *extra_values(values, _VALUES),
        ),
        ignored=(("raw", path.raw), ("entry", node.name), ("order", ranked)),
        keys=(node.path,),
        rows=(*node.listing[:1], *node.values),
        flags=tuple(flags),
        title=known.name_of(provider) or node.text("DisplayString"),
        incomplete=_missing(values),
    )


def _missing(values: Mapping[str, list[RegistryRow]]) -> str:
    """What every row has and this one does not show."""
    for name in ("LibraryPath", "Enabled"):
        rows = values.get(fold(name), [])
        if not rows:
            return f"no {name} was returned: absent, or hidden behind an empty value"
        if not rows[0].data:
            return f"{name} is empty: what Windows loads is not proven"
    return ""


def _rank(entry: str, dns: str) -> str:
    if not dns or entry == dns:
        return "is DNS" if dns else ""
    return "before DNS" if entry < dns else "after DNS"


def _undecoded(view: str, node: Node) -> Entity:
    text = "no usable ProviderId and SupportedNameSpace"
    return Entity(
        kind="winsock_namespace",
        identity=(("view", view), ("entry", node.name)),
        attributes=(("dll", node.text("LibraryPath")), ("oddities", text)),
        keys=(node.path,),
        rows=(*node.listing[:1], *node.values),
        flags=() if node.unread else (Flag("malformed", text, Severity.MEDIUM),),
        incomplete="the row is listed, but its key gave no value" if node.unread else "",
    )
