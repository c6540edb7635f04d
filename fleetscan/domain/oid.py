"""The other functions of the OID tree: collected and compared, judged only where the DLL cannot be right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.domain import guid
from fleetscan.domain.entity import Entity, Flag
from fleetscan.domain.loadable import Names, read_loadable
from fleetscan.domain.paths import normalise
from fleetscan.model.finding import Severity
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetscan.domain.entity import Pairs
    from fleetscan.domain.keys import Node
    from fleetscan.domain.known_good import KnownGood

_NAMES = Names("Dll", "FuncName", ("CryptFlags",), needs_function=False)


def decode(
    place: tuple[Pairs, str, str], node: Node, _known: KnownGood, environment: Mapping[str, str] | None
) -> Entity:
    """The entity of one key below a function set that is not a SIP set."""
    view, encoding, function_set = place
    read = read_loadable(node, _NAMES, environment)
    # These keys may hold any values of their own (names and numbers of object identifiers, places of stores).
    attributes, flags = read.attributes, tuple(flag for flag in read.flags if flag.code != "extra values")
    if node.name.upper() == "DEFAULT" and (listed := _list(node)):
        paths = [normalise(text, environment) for text in listed]
        writable = Flag("writable", "a DLL of the list lies where users can write", Severity.HIGH)
        flags = tuple(flag for path in paths for flag in path.flags)
        flags += (writable,) if any(path.is_user_writable for path in paths) else ()
        attributes = (("dll", ", ".join(path.token for path in paths)), ("function", ""), ("type", "list"))
    return Entity(
        kind="oid_other",
        identity=(
            *view,
            ("encoding", encoding),
            ("set", function_set),
            ("id", guid.parse_braced(node.name) or node.name),
        ),
        attributes=attributes,
        ignored=read.ignored,
        keys=(node.path,),
        rows=(*node.listing[:1], *node.values),
        flags=flags,
        title="",
        # Keys of these sets may hold other values only (system store locations and the like): no DLL is no gap.
        incomplete=read.incomplete if node.unread or _has_empty_dll(node) else "",
    )


def _list(node: Node) -> list[str]:
    """The DLLs of a DEFAULT key; osquery joins REG_MULTI_SZ with commas."""
    rows = node.values_by_name().get(fold("Dll"), [])
    if not rows or rows[0].type != "REG_MULTI_SZ":
        return []
    return [text for text in rows[0].data.split(",") if text]


def _has_empty_dll(node: Node) -> bool:
    rows = node.values_by_name().get(fold("Dll"), [])
    return bool(rows) and not rows[0].data
