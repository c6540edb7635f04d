"""Known places of the Windows registry: where a path fragment without hive may be anchored (rule-semantics C6, C9).

The places are data, in ``catalogue.txt`` beside this module. They are kept as a tree of folded elements below a base
({S}, {C}, {CCS}, HKLM or one user hive), and answer one question: where may this run of elements stand?
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from fleetscan.model.registry import fold
from fleetscan.planner.patterns import Ending

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BASES = ("{S}", "{C}", "{CCS}", "HKLM", "HKU\\<SID>")
WILD = "*"
_UNNAMED = ("", "(DEFAULT)")


@dataclass(slots=True)
class Node:
    """One element of known places: what stands below it, and which value names are known in it."""

    base: str
    path: tuple[str, ...]
    terminal: bool = False
    children: dict[str, Node] = field(default_factory=dict)
    values: set[str] = field(default_factory=set)

    def child(self, element: str) -> Node:
        """The node below, created where missing."""
        name = fold(element)
        if name not in self.children:
            self.children[name] = Node(self.base, (*self.path, element))
        return self.children[name]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A run may stand below ``base`` and ``path``; ``literals`` of its elements are equal to known ones."""

    base: str
    path: tuple[str, ...]
    literals: int

    @property
    def below_wildcard(self) -> bool:
        """Does the run start below an element that is not known?"""
        return WILD in self.path


class Catalogue:
    """The known places, indexed for runs."""

    def __init__(self, places: Iterable[tuple[str, tuple[str, ...], tuple[str, ...]]]) -> None:
        """``places`` are base, elements of a key, value names in it."""
        self.roots = {base: Node(base, (), terminal=True) for base in BASES}
        self.spellings: dict[str, str] = {}
        for base, elements, names in places:
            node = self.roots[base]
            for element in elements:
                node = node.child(element)
                self.spellings.setdefault(fold(element), element)
            node.terminal = node.terminal or not names
            node.values.update(map(fold, names))
        self._starts: dict[str, list[Node]] = defaultdict(list)
        self._holders: dict[str, list[Node]] = defaultdict(list)
        self._wild: dict[tuple[int, str], list[Node]] = defaultdict(list)
        for root in self.roots.values():
            self._index(root)

    def _index(self, node: Node) -> None:
        for name in node.values:
            if name not in _UNNAMED:
                self._holders[name].append(node)
        for element, child in node.children.items():
            if element == WILD:
                for offset, name in set(_literals_below(child, 1)):
                    self._wild[offset, name].append(child)
            else:
                self._starts[element].append(child)
            self._index(child)

    def anchors(self, run: tuple[str, ...], ending: Ending) -> tuple[Anchor, ...]:
        """Where the run may stand; the run's elements are folded. Anchors of two literals displace weaker ones."""
        found = set(self._found(run, ending))
        strong = {anchor for anchor in found if anchor.literals > 1}
        return tuple(sorted(strong or found, key=lambda anchor: (anchor.base, anchor.path)))

    def holders(self, name: str) -> tuple[Anchor, ...]:
        """The keys in which a value of this name is known; the name is folded."""
        nodes = self._holders.get(name, ())
        return tuple(Anchor(node.base, node.path, 1) for node in nodes)

    def _found(self, run: tuple[str, ...], ending: Ending) -> Iterator[Anchor]:
        for node in self._starts.get(run[0], ()):
            literals = agreement(node, run[1:], ending, 1)
            if literals is not None:
                yield Anchor(node.base, node.path[:-1], literals)
        if len(run) == 1 and ending is not Ending.CLOSED:
            for node in self._holders.get(run[0], ()):
                yield Anchor(node.base, node.path, 1)
        seen: set[int] = set()
        for offset in range(1, len(run)):
            for node in self._wild.get((offset, run[offset]), ()):
                literals = agreement(node, run[1:], ending, 0) if id(node) not in seen else None
                seen.add(id(node))
                if literals:
                    yield Anchor(node.base, node.path[:-1], literals)


def _literals_below(node: Node, offset: int) -> Iterator[tuple[int, str]]:
    """Literal elements that can be reached from a wildcard through wildcards only, with their distance."""
    for name in node.values:
        yield offset, name
    for element, child in node.children.items():
        if element == WILD:
            yield from _literals_below(child, offset + 1)
        else:
            yield offset, element


def agreement(node: Node, rest: tuple[str, ...], ending: Ending, literals: int) -> int | None:
    """The most literals in which the rest of a run agrees with places below the node; None: it contradicts all."""
    if not rest:
        return literals
    found = [literals] if node.terminal else []
    name, last = rest[0], len(rest) == 1
    if last and ending is Ending.OPEN:
        found += [literals + (known == name) for known in (*node.children, *node.values) if known.startswith(name)]
    elif last and ending is Ending.PATTERN:
        found += [literals + (name not in _UNNAMED)] if name in node.values else []
        found += [literals] if name in _UNNAMED else []
    if name in node.children:
        found.append(agreement(node.children[name], rest[1:], ending, literals + 1) or -1)
    if WILD in node.children:
        found.append(agreement(node.children[WILD], rest[1:], ending, literals) or -1)
    best = max(found, default=-1)
    return best if best >= 0 else None


def parse(text: str) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Base, elements and value names of every line."""
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        place, _, names = line.partition(" : ")
        base = next(base for base in BASES if place == base or place.startswith(base + "\\"))
        elements = tuple(element for element in place[len(base) :].split("\\") if element)
        yield base, elements, tuple(name.strip() for name in names.split("|") if name.strip())


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The catalogue of the package."""
    return Catalogue(parse(files(__package__).joinpath("catalogue.txt").read_text(encoding="utf-8")))
