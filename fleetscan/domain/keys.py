"""Rows arranged as the tree of keys they came from: what was listed, what was read, what carries values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleetscan.model.registry import RegistryRow, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(slots=True)
class Node:
    """One key. ``listing`` are the rows that list it in its parent; ``read`` says that it gave a row itself."""

    name: str
    path: str
    values: list[RegistryRow] = field(default_factory=list)
    listing: list[RegistryRow] = field(default_factory=list)
    children: dict[str, Node] = field(default_factory=dict)
    read: bool = False

    @property
    def unread(self) -> bool:
        """Listed by its parent, but it gave no row: empty, hidden or unreadable."""
        return bool(self.listing) and not self.read

    def find(self, *names: str) -> Node | None:
        """The key below, by names in any case."""
        node: Node | None = self
        for name in names:
            node = node.children.get(fold(name)) if node else None
        return node

    def values_by_name(self) -> dict[str, list[RegistryRow]]:
        """Value rows by folded name; more than one row under a name is a trace of hiding."""
        table: dict[str, list[RegistryRow]] = {}
        for row in self.values:
            table.setdefault(fold(row.name), []).append(row)
        return table

    def text(self, name: str) -> str:
        """Data of the first value of that name, empty if there is none."""
        wanted = fold(name)
        return next((row.data for row in self.values if fold(row.name) == wanted), "")

    def walk(self) -> Iterator[Node]:
        """The key and all below, parents first."""
        yield self
        for child in self.children.values():
            yield from child.walk()


def grow(rows: Iterable[RegistryRow]) -> Node:
    """The tree of all keys that the rows speak of."""
    root = Node("", "")
    places: dict[str, Node] = {}
    for row in rows:
        node = places.get(row.key)
        if node is None:
            node = places[row.key] = _place(root, row.key)
        node.read = True
        if row.is_subkey:
            child = node.children.get(fold(row.name))
            if child is None:
                child = node.children[fold(row.name)] = Node(row.name, f"{node.path}\\{row.name}")
            child.listing.append(row)
        else:
            node.values.append(row)
    return root


def _place(root: Node, key: str) -> Node:
    node = root
    for name in key.split("\\"):
        if not name:
            continue
        child = node.children.get(fold(name))
        if child is None:
            path = f"{node.path}\\{name}" if node.path else name
            child = node.children[fold(name)] = Node(name, path)
        node = child
    return node
