"""The OID and Providers trees of both views and of user hives: SIPs, trust steps, usages and other OID functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.domain import guid, oid, sip, trust
from fleetscan.domain.entity import Entity, Flag
from fleetscan.model.finding import Severity
from fleetscan.model.registry import HKLM, HKU, fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fleetscan.domain.entity import Pairs
    from fleetscan.domain.keys import Node
    from fleetscan.domain.known_good import KnownGood
    from fleetscan.model.registry import RegistryRow

_BLANKS = " \t"
_LONGEST_NAME = 254
"""A longer subkey name does not fit osquery's buffer and ends the listing of its parent."""


@dataclass(frozen=True, slots=True)
class View:
    """One copy of the two trees and how identities name it."""

    identity: Pairs
    root: Node

    @property
    def name(self) -> str:
        """native, wow64 or user."""
        return self.identity[0][1]


def views(tree: Node) -> Iterator[View]:
    r"""Every copy of ``Microsoft\Cryptography`` in the tree."""
    for name, path in (("native", ()), ("wow64", ("WOW6432Node",))):
        if node := tree.find(HKLM, "SOFTWARE", *path, "Microsoft", "Cryptography"):
            yield View((("view", name),), node)
    users = tree.find(HKU)
    for user in tuple(users.children.values()) if users else ():
        sid = "S-1-5-18" if user.name.upper() == ".DEFAULT" else user.name
        if sid != user.name and users is not None and users.find(sid):
            continue  # the two names are one hive
        for extra, path in (((), ()), ((("redirected", "wow64"),), ("WOW6432Node",))):
            if node := user.find("Software", *path, "Microsoft", "Cryptography"):
                yield View((("view", "user"), ("sid", sid), *extra), node)


def decode_cryptography(tree: Node, known: KnownGood, environment: Mapping[str, str] | None) -> Iterator[Entity]:
    """Entities of all views."""
    for view in views(tree):
        if oids := view.root.find("OID"):
            yield from _oid_tree(view, oids, known, environment)
        if providers := view.root.find("Providers", "Trust"):
            for step in sound(providers):
                yield from _group(step, "area of a trust step")
                for entry in sound(step):
                    yield trust.decode(view.identity, step.name, entry, known, environment)
            yield from odd_names(providers)


def _oid_tree(view: View, oids: Node, known: KnownGood, environment: Mapping[str, str] | None) -> Iterator[Entity]:
    yield from odd_names(oids)
    for encoding in sound(oids):
        yield from odd_names(encoding)
        for function_set in sound(encoding):
            is_sip = fold(function_set.name).startswith("CRYPTSIPDLL")
            yield from _group(function_set, "SIP function set" if is_sip else "function set", serious=is_sip)
            for entry in sound(function_set):
                place = (view.identity, encoding.name, function_set.name)
                decode = sip.decode if is_sip else oid.decode
                yield decode(place, entry, known, environment)


def sound(node: Node) -> Iterator[Node]:
    """Children whose name can be trusted; the others are reported where they stand and not read as what they look."""
    return (child for child in node.children.values() if not _odd_name(child))


def _group(node: Node, what: str, *, serious: bool = True) -> Iterator[Entity]:
    if node.unread:
        yield area(node, incomplete=f"the {what} is listed, but it gave no row", serious=serious)
    for row in node.values[:1]:
        text = f"values stand directly in a {what}: {', '.join(sorted(value.name for value in node.values))}"
        yield area(node, flag=Flag("stray values", text, Severity.LOW), rows=(row,))
    yield from odd_names(node)


def odd_names(node: Node) -> Iterator[Entity]:
    """An area for every child whose name hides it or its siblings."""
    for child in node.children.values():
        if text := _odd_name(child):
            yield area(child, flag=Flag("odd name", text, Severity.MEDIUM))
            if len(child.name) > _LONGEST_NAME:
                yield area(node, flag=Flag("long name", "a subkey name that ends an agent's listing", Severity.MEDIUM))


def _odd_name(node: Node) -> str:
    name = node.name
    if name != name.strip(_BLANKS):
        twin = guid.parse_braced(name.strip(_BLANKS))
        return "blanks around the key name: agents show its twin instead" + (" (a GUID)" if twin else "")
    if "\0" in name:
        return "a NUL in the key name: tools that end names there see another key"
    if len(name) > _LONGEST_NAME:
        return "a name of 255 characters: it ends an agent's listing of the parent key"
    return ""


def area(
    node: Node,
    *,
    flag: Flag | None = None,
    incomplete: str = "",
    serious: bool = True,
    rows: tuple[RegistryRow, ...] = (),
) -> Entity:
    """A key that is itself odd or whose listing is incomplete."""
    flags = (flag,) if flag else ()
    if incomplete and not serious:
        flags = (*flags, Flag("minor", "an area in which little can hide", Severity.INFO))
    return Entity(
        kind="area",
        identity=(("key", node.path),),
        attributes=(("oddities", flag.code if flag else ""),),
        keys=(node.path,),
        rows=rows or tuple(node.listing[:1]),
        flags=flags,
        incomplete=incomplete,
    )
