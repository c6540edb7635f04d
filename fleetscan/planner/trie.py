"""All scopes merged into one deterministic trie of key patterns: whatever many rules need is read once.

The trie is built by subset construction. Its edges are tried in order and the first that matches a key's name is taken;
an edge leads to everything that any matching scope wants, so no key is reached twice. Two globs of which neither
contains the other are widened into each other: more is read, never less.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleetscan.model.registry import HKU, fold
from fleetscan.model.scope import SID, SID_CLASSES, Element, Glob
from fleetscan.planner.globs import covers, is_literal, overlaps, widened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fleetscan.model.scope import RowFilter, Scope

State = tuple[int, int]
"""A scope (its position in the list) and how many of its elements have been passed; one more for each level below."""

_CLASS_HIVES = widened(SID_CLASSES)


@dataclass(slots=True, eq=False)
class Node:
    """What is known about a key that was reached: scopes that hold its rows, and where its subkeys lead."""

    states: frozenset[State]
    held: tuple[int, ...] = ()
    edges: tuple[Edge, ...] = ()


@dataclass(slots=True, eq=False)
class Edge:
    """Names that follow ``glob`` (widened, folded) lead to ``node``; None: nowhere. ``text`` is the name to ask for.

    ``exact``: SQL can compare with the name itself, for it folds ASCII as the registry does.
    """

    glob: str
    text: str
    literal: bool
    node: Node | None = field(repr=False, default=None)

    @property
    def exact(self) -> bool:
        """Does the edge take one name only, in SQL as well?"""
        return self.literal and self.text.isascii()


Named = frozenset[State]
"""The states of scopes that know a key by its full name: all elements on the way were literal."""


@dataclass(frozen=True, slots=True)
class _Label:
    glob: str
    text: str
    literal: bool
    user: bool  # the label <SID>: shares no name with class hives


class Trie:
    """The trie of a list of scopes: ``roots`` maps a hive root to its node."""

    def __init__(self, scopes: Sequence[Scope]) -> None:
        """Merge the scopes."""
        self.scopes = tuple(scopes)
        self.known = tuple(_known(scope) for scope in self.scopes)
        self._names = [tuple(fold(e) if isinstance(e, str) else None for e in scope.elements) for scope in self.scopes]
        self._nodes: dict[frozenset[State], Node] = {}
        self._labels: dict[Element, _Label] = {}
        self._ways = [tuple(map(self._label, scope.elements)) for scope in self.scopes]
        self._any = self._label(Glob("*"))
        starts: dict[str, set[State]] = defaultdict(set)
        for index, scope in enumerate(self.scopes):
            starts[scope.root].add((index, 0))
        self.roots = {root: self._node(frozenset(states)) for root, states in sorted(starts.items())}

    def filters(self, node: Node) -> tuple[RowFilter, ...] | None:
        """The row filters of a node's scopes; None: all rows are wanted."""
        found = [self.scopes[index].row_filter for index in node.held]
        kept = tuple(row_filter for row_filter in found if row_filter is not None)
        return None if len(kept) < len(found) else kept

    def named(self, root: str) -> Named:
        """The states at a hive root, which every scope knows by name."""
        return self.roots[root].states

    def follow(self, named: Named, edge: Edge) -> Named:
        """The states that still know the key by name behind an edge.

        The name of a user hive differs from host to host; behind it the way is known by name again.
        """
        if edge.literal:
            name = fold(edge.text)
            names = self._names
            return frozenset([(i, at + 1) for i, at in named if at < len(names[i]) and names[i][at] == name])
        if edge.node is None or self.roots.get(HKU) is None or named is not self.roots[HKU].states:
            return frozenset()
        return frozenset((index, at) for index, at in edge.node.states if at == 1)

    def _node(self, states: frozenset[State]) -> Node:
        """The node of a set of states, made with everything below it; a stack instead of recursion."""
        if states in self._nodes:
            return self._nodes[states]
        first = self._nodes[states] = Node(states)
        todo = [first]
        while todo:
            node = todo.pop()
            node.held = tuple(sorted({index for index, at in node.states if at >= len(self.scopes[index].elements)}))
            edges = []
            for label, target in self._targets(node.states):
                child = self._nodes.get(target) if target else None
                if target and child is None:
                    child = self._nodes[target] = Node(target)
                    todo.append(child)
                edges.append(Edge(label.glob, label.text, label.literal, child))
            node.edges = tuple(edges)
        return first

    def _targets(self, states: frozenset[State]) -> Iterable[tuple[_Label, frozenset[State]]]:
        """Edges in the order in which they are tried, each with all states its names may lead to."""
        literals, globs, spelled = self._steps(states)
        blurred = [name for name in literals if not is_literal(spelled[name].glob)]
        found: list[tuple[_Label, frozenset[State]]] = []
        for name, own in literals.items():
            label = spelled[name]
            rivals = literals if name in blurred else blurred
            wider = [target for glob, target in globs.items() if _share(label, spelled[glob])]
            wider += [literals[rival] for rival in rivals if overlaps(label.glob, spelled[rival].glob)]
            found.append((label, frozenset(own.union(*wider))))
        found.extend(self._glob_targets(globs, spelled))
        return found

    def _glob_targets(
        self, globs: dict[str, set[State]], spelled: dict[str, _Label]
    ) -> Iterable[tuple[_Label, frozenset[State]]]:
        order = sorted(globs, key=lambda name: (-len(spelled[name].glob.replace("*", "")), name))
        tried: list[_Label] = []
        for glob in order:
            label = spelled[glob]
            target: set[State] = set()
            for other in order:
                gone = any(_covers(earlier, spelled[other]) for earlier in tried)
                if not gone and _share(label, spelled[other]):
                    target |= globs[other]
            yield label, frozenset(target)
            tried.append(label)

    def _steps(
        self, states: frozenset[State]
    ) -> tuple[dict[str, set[State]], dict[str, set[State]], dict[str, _Label]]:
        literals: dict[str, set[State]] = defaultdict(set)
        globs: dict[str, set[State]] = defaultdict(set)
        spelled: dict[str, _Label] = {}
        for index, at in sorted(states):
            scope = self.scopes[index]
            fixed = len(scope.elements)
            if at < fixed:
                label, target = self._ways[index][at], (index, at + 1)
            elif scope.depth is None:
                label, target = self._any, (index, fixed)
            elif at < fixed + scope.depth:
                label, target = self._any, (index, at + 1)
            else:
                continue
            name = fold(label.text) if label.literal or label.user else label.glob
            (literals if label.literal else globs)[name].add(target)
            spelled.setdefault(name, label)
        if any(label.user for label in spelled.values()) and _CLASS_HIVES not in globs:
            # The class hives are no user hives: an edge of their own takes their names away.
            globs[_CLASS_HIVES] = set()
            spelled[_CLASS_HIVES] = self._label(SID_CLASSES)
        return dict(sorted(literals.items())), dict(globs), spelled

    def _label(self, element: Element) -> _Label:
        if element not in self._labels:
            glob = widened(element)
            text = element.text if isinstance(element, Glob) else element
            self._labels[element] = _Label(glob, text, isinstance(element, str), element == SID)
        return self._labels[element]


def _known(scope: Scope) -> int:
    """How many elements of a scope are known by name."""
    globs = (index for index, element in enumerate(scope.elements) if isinstance(element, Glob))
    return next(globs, len(scope.elements))


def _share(one: _Label, other: _Label) -> bool:
    if (one.user and covers(_CLASS_HIVES, other.glob)) or (other.user and covers(_CLASS_HIVES, one.glob)):
        return False
    return overlaps(one.glob, other.glob)


def _covers(wide: _Label, narrow: _Label) -> bool:
    """Does ``wide`` take every name of ``narrow``? <SID> lacks the class hives, which have an edge before it."""
    return covers(wide.glob, narrow.glob)
