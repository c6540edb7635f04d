"""fleetscan's own inventory: ``hosts``, ``groups`` and ``vars`` in YAML, every key checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from fleetscan.errors import InventoryError, Place
from fleetscan.inventory.document import Mapping, Node, Scalar, Sequence, kind
from fleetscan.inventory.ranges import expand_range, split_port
from fleetscan.inventory.resolve import ALL, Declarations, Group, Setting, Settings
from fleetscan.inventory.vocabulary import LISTS, Single, Value, check_name, expand, suggestion, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping as AbstractMapping
    from pathlib import Path

_TOP = ("hosts", "groups", "vars")
_GROUP = ("hosts", "children", "vars", "concurrency")
_MAX_CONCURRENCY = 10_000
_BETWEEN = re.compile(r"[,;\s]+")


def read_native(tree: Node, path: Path, environment: AbstractMapping[str, str]) -> Declarations:
    """The declarations of a parsed file."""
    return _Reader(path, environment).read(tree)


class _Reader:
    def __init__(self, path: Path, environment: AbstractMapping[str, str]) -> None:
        self.path = path
        self.environment = environment
        self.declared = Declarations()

    def place(self, node: Node) -> Place:
        return Place(str(self.path), node.line)

    def wrong(self, node: Node, name: str, wanted: str) -> NoReturn:
        raise InventoryError(f"{name} must be {wanted}, not {kind(node)}", where=self.place(node))

    def read(self, tree: Node) -> Declarations:
        top = dict(self.entries(tree, "an inventory", _TOP))
        everything = Group(Place(str(self.path), 1))
        if "vars" in top:
            everything.settings = self.settings(top["vars"], "vars")
        if "hosts" in top:
            self.hosts(top["hosts"], everything)
        self.declared.groups[ALL] = everything
        for name, node in self.pairs(top.get("groups"), "groups"):
            if name.text == ALL or name.is_null:
                raise InventoryError(f"{name.text!r} cannot name a group", where=self.place(name))
            self.declared.groups[name.text] = self.group(node, name)
        if not self.declared.hosts:
            raise InventoryError("no hosts", where=str(self.path), hint="hosts: [name] or groups: ... hosts: [name]")
        return self.declared

    def pairs(self, node: Node | None, name: str) -> Iterator[tuple[Scalar, Node]]:
        """The pairs of a mapping; nothing written is an empty mapping."""
        match node:
            case None:
                return
            case Mapping():
                yield from node
            case Scalar() if node.is_null:
                return
            case _:
                self.wrong(node, name, "a mapping")

    def entries(self, node: Node, name: str, known: tuple[str, ...]) -> Iterator[tuple[str, Node]]:
        for key, value in self.pairs(node, name):
            if key.text not in known:
                hint = suggestion(key.text, known)
                raise InventoryError(f"unknown key {key.text!r} in {name}", where=self.place(key), hint=hint)
            yield key.text, value

    def names(self, node: Node, name: str) -> Iterator[tuple[Scalar, Node | None]]:
        """The names of a list, or the names and values of a mapping."""
        if isinstance(node, Sequence):
            for item in node.items:
                if not isinstance(item, Scalar) or item.is_null:
                    self.wrong(item, f"an entry of {name}", "a name")
                yield item, None
            return
        if isinstance(node, Scalar) and not node.is_null:
            words = ", ".join(repr(word) if "[" in word else word for word in _BETWEEN.split(node.text) if word)
            what = f"{name} must be a list or a mapping, not a text"
            raise InventoryError(what, where=self.place(node), hint=f"{name}: [{words}]")
        yield from self.pairs(node, name)

    def group(self, node: Node, name: Scalar) -> Group:
        group = Group(self.place(name))
        for key, value in self.entries(node, f"group {name.text}", _GROUP):
            match key:
                case "hosts":
                    self.hosts(value, group)
                case "children":
                    self.children(value, group)
                case "vars":
                    group.settings = self.settings(value, "vars")
                case _:
                    group.concurrency = self.concurrency(value)
        return group

    def children(self, node: Node, group: Group) -> None:
        for name, value in self.names(node, "children"):
            if value is not None and not (isinstance(value, Scalar) and value.is_null):
                self.wrong(value, f"child {name.text}", "a name; define the group under groups:")
            if name.text in group.children:
                first = group.children[name.text].line
                raise InventoryError(f"{name.text!r} stands twice, first on line {first}", where=self.place(name))
            group.children[name.text] = self.place(name)

    def hosts(self, node: Node, group: Group) -> None:
        for name, value in self.names(node, "hosts"):
            where = self.place(name)
            settings = {} if value is None else self.settings(value, name.text)
            pattern, port = split_port(name.text)
            if port is not None:
                number = value_of("port", port, where=where, folder=self.path.parent)
                settings = {"port": Setting(number, where), **settings}
            for host in expand_range(pattern, where):
                if host in group.hosts:
                    raise InventoryError(f"{host!r} stands twice, first on line {group.hosts[host].line}", where=where)
                group.hosts[host] = where
                self.declared.add_host(host, settings, where)

    def settings(self, node: Node, name: str) -> Settings:
        found: Settings = {}
        for key, value in self.pairs(node, f"the settings of {name}"):
            where = self.place(key)
            check_name(key.text, where)
            found[key.text] = Setting(self.value(key, value, where), where)
        return found

    def value(self, key: Scalar, node: Node, where: Place) -> Value:
        if key.text in LISTS and isinstance(node, Sequence):
            texts = [item for item in node.items if isinstance(item, Scalar) and not item.is_null]
            if not texts or len(texts) != len(node.items):
                self.wrong(node, key.text, "a value or a list of values")
            return tuple(str(self.single(key, text, where)) for text in texts)
        if not isinstance(node, Scalar) or node.is_null:
            self.wrong(node, key.text, "a value")
        return self.single(key, node, where)

    def single(self, key: Scalar, node: Scalar, where: Place) -> Single:
        text = expand(node.text, self.environment, self.place(node))
        return value_of(key.text, text, where=where, folder=self.path.parent)

    def concurrency(self, node: Node) -> int:
        text = node.text if isinstance(node, Scalar) else ""
        if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MAX_CONCURRENCY:
            return int(text)
        where = self.place(node)
        raise InventoryError(f"concurrency must be a number from 1 to {_MAX_CONCURRENCY}", where=where)
