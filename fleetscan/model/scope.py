"""A scope: a pattern over registry keys, the unit in which hosts are asked, stored and compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscan.model.registry import RegistryRow


@dataclass(frozen=True, slots=True)
class Glob:
    """One path element with wildcards: ``*`` any text within the element, ``?`` one character.

    The text ``<SID>`` stands for one user hive below HKEY_USERS: any name that does not end in ``_Classes``.
    """

    text: str


Element = str | Glob
"""A path element: a literal name (compared without case) or a glob."""

SID = Glob("<SID>")
"""Any user hive below HKEY_USERS, its class hive excluded."""

SID_CLASSES = Glob("*_Classes")
"""Any user's class hive below HKEY_USERS."""

UNBOUNDED = None
"""Depth of a scope that takes a whole subtree."""

_CLASSES = "_CLASSES"


@lru_cache(maxsize=65536)
def _compiled(glob: str) -> re.Pattern[str]:
    pieces = {"*": ".*", "?": "."}
    return re.compile("".join(pieces.get(char) or re.escape(char) for char in fold(glob)), re.DOTALL)


def glob_matches(glob: str, text: str) -> bool:
    """Does the whole text follow the glob? Case is folded as the registry folds it."""
    if glob == "*":
        return True
    folded = fold(text)
    if glob == SID.text:
        return not folded.endswith(_CLASSES)
    return _compiled(glob).fullmatch(folded) is not None


def element_matches(element: Element, name: str) -> bool:
    """Does a key's name follow the element?"""
    if isinstance(element, Glob):
        return glob_matches(element.text, name)
    return fold(element) == fold(name)


@dataclass(frozen=True, slots=True)
class RowClause:
    r"""Globs that a row's name, data, type and full name (``key\name``) must follow; the default passes every row."""

    name: str = "*"
    path: str = "*"
    data: str = "*"
    type: str = "*"

    def passes(self, row: RegistryRow) -> bool:
        """Do all four follow?"""
        return (
            glob_matches(self.name, row.name)
            and glob_matches(self.type, row.type)
            and glob_matches(self.data, row.data)
            and (self.path == "*" or glob_matches(self.path, row.subject_name))
        )

    def __str__(self) -> str:
        """The globs that say something, in a fixed order."""
        parts = (("name", self.name), ("path", self.path), ("data", self.data), ("type", self.type))
        return " and ".join(f"{word} {fold(glob)!r}" for word, glob in parts if glob != "*") or "any"


@dataclass(frozen=True, slots=True)
class RowFilter:
    """A necessary condition on the rows of a scope (rule-semantics C11), applied in SQL to what is returned.

    A row passes if one clause passes it. A filter never decides a rule: it only leaves out rows that no rule of the
    scope can match.
    """

    clauses: tuple[RowClause, ...]

    @classmethod
    def of_names(cls, *names: str) -> RowFilter:
        """Rows of these names only."""
        return cls(tuple(RowClause(name=name) for name in names))

    def passes(self, row: RegistryRow) -> bool:
        """Could some rule of the scope need this row?"""
        return any(clause.passes(row) for clause in self.clauses)

    def __str__(self) -> str:
        """The clauses in canonical order."""
        return " or ".join(sorted({str(clause) for clause in self.clauses}))


@dataclass(frozen=True, slots=True)
class Scope:
    """Keys below ``root`` that follow ``elements``, and what lies at most ``depth`` levels below them.

    ``root`` is HKEY_LOCAL_MACHINE or HKEY_USERS; ``depth`` 0 is the key alone, None the whole subtree. ``row_filter``
    None returns every row. Two scopes with the same text are the same scope: ``id`` is derived from it, so that
    snapshots of different rule sets stay comparable scope by scope.
    """

    root: str
    elements: tuple[Element, ...]
    depth: int | None = 0
    row_filter: RowFilter | None = None
    _id: str = field(default="", init=False, repr=False, compare=False)

    @property
    def pattern(self) -> str:
        r"""Root, folded elements, depth: globs in angle brackets, ``\**`` for a subtree, ``\*{2}`` for two levels."""
        below = {None: ("**",), 0: ()}.get(self.depth, (f"*{{{self.depth}}}",))
        return "\\".join((self.root, *map(_element_text, self.elements), *below))

    @property
    def text(self) -> str:
        """Canonical text: pattern and filter."""
        return self.pattern if self.row_filter is None else f"{self.pattern} where {self.row_filter}"

    @property
    def id(self) -> str:
        """Stable id: ``s-`` and 16 hex digits of the SHA-256 of the text."""
        # Kept: every host of a sweep asks for the ids of all scopes, and to write the text is the longest part of it.
        if not self._id:
            object.__setattr__(self, "_id", _digest(self.text))
        return self._id

    def __hash__(self) -> int:
        """Of the id, which is kept: plans are looked up by their scopes for every host."""
        return hash(self.id)

    def contains(self, key: Sequence[str]) -> bool:
        """Does the scope hold the rows of this key (elements, root first)?"""
        fixed = len(self.elements) + 1
        if len(key) < fixed or (self.depth is not None and len(key) > fixed + self.depth):
            return False
        if fold(key[0]) != fold(self.root):
            return False
        return all(map(element_matches, self.elements, key[1:fixed]))

    def includes(self, other: Scope) -> bool:
        """Does this scope surely hold every row of the other? It may say no where it is yes."""
        if self.id == other.id:
            return True
        below = len(other.elements) - len(self.elements)
        if self.root != other.root or below < 0 or self.row_filter is not None:
            return False
        if self.depth is not None and (other.depth is None or below + other.depth > self.depth):
            return False
        return all(map(_holds, self.elements, other.elements))


def _holds(wide: Element, narrow: Element) -> bool:
    if isinstance(narrow, Glob):
        return wide == narrow or wide == Glob("*")
    return element_matches(wide, narrow)


def _element_text(element: Element) -> str:
    if isinstance(element, Glob):
        return element.text if element == SID else f"<{fold(element.text)}>"
    return fold(element).replace("<", "<<")


@lru_cache(maxsize=65536)
def _digest(text: str) -> str:
    return "s-" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


__all__ = [
    "SID",
    "SID_CLASSES",
    "UNBOUNDED",
    "Element",
    "Glob",
    "RowClause",
    "RowFilter",
    "Scope",
    "element_matches",
    "fold",
    "glob_matches",
]
