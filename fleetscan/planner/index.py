"""Which scopes hold a key: the scopes as a tree of elements, followed once for each distinct key of an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from fleetscan.model.registry import fold
from fleetscan.model.scope import Glob, glob_matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleetscan.model.scope import Element, Scope


@dataclass(slots=True)
class _Branch:
    literals: dict[str, _Branch] = field(default_factory=dict)
    globs: dict[str, _Branch] = field(default_factory=dict)
    exact: list[int] = field(default_factory=list)
    subtrees: list[int] = field(default_factory=list)
    bounded: list[tuple[int, int]] = field(default_factory=list)

    def child(self, element: Element) -> _Branch:
        if isinstance(element, Glob):
            return self.globs.setdefault(element.text, _Branch())
        return self.literals.setdefault(fold(element), _Branch())

    def steps(self, name: str) -> Iterator[_Branch]:
        literal = self.literals.get(fold(name))
        if literal is not None:
            yield literal
        for glob, branch in self.globs.items():
            if glob_matches(glob, name):
                yield branch

    def everything(self) -> Iterator[int]:
        yield from self.exact
        yield from self.subtrees
        yield from (index for index, _ in self.bounded)
        for branch in (*self.literals.values(), *self.globs.values()):
            yield from branch.everything()


class ScopeIndex:
    """Positions of the scopes of a list, by key."""

    def __init__(self, scopes: Sequence[Scope]) -> None:
        """Build the tree once; every question follows one path of it."""
        self._top = _Branch()
        for index, scope in enumerate(scopes):
            branch = self._top.child(scope.root)
            for element in scope.elements:
                branch = branch.child(element)
            if scope.depth is None:
                branch.subtrees.append(index)
            elif scope.depth:
                branch.bounded.append((index, scope.depth))
            else:
                branch.exact.append(index)

    def holding(self, key: Sequence[str]) -> tuple[int, ...]:
        """The scopes that hold the rows of the key."""
        found, branches = self._follow(key)
        for branch in branches:
            found.update(branch.exact)
        return tuple(sorted(found))

    def touching(self, key: Sequence[str]) -> tuple[int, ...]:
        """The scopes that hold the rows of the key, or keys below it."""
        found, branches = self._follow(key)
        for branch in branches:
            found.update(branch.everything())
        return tuple(sorted(found))

    def _follow(self, key: Sequence[str]) -> tuple[set[int], list[_Branch]]:
        """Subtree and bounded scopes on the way, and the branches at the key itself."""
        found: set[int] = set()
        branches = [self._top]
        length = len(key)
        for at, name in enumerate(key, start=1):
            branches = [step for branch in branches for step in branch.steps(name)]
            for branch in branches:
                found.update(branch.subtrees)
                found.update(index for index, depth in branch.bounded if length - at <= depth)
        return found, branches


@lru_cache(maxsize=8)
def scope_index(scopes: tuple[Scope, ...]) -> ScopeIndex:
    """The index of a plan's scopes, built once."""
    return ScopeIndex(scopes)
