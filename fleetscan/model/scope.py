"""A scope: a pattern over registry keys, the unit in which hosts are asked, stored and compared."""

from __future__ import annotations

from dataclasses import dataclass

from fleetscan.model.registry import fold


@dataclass(frozen=True, slots=True)
class Glob:
    """One path element with wildcards: ``*`` any text within the element, ``?`` one character."""

    text: str


Element = str | Glob
"""A path element: a literal name (compared without case) or a glob."""

UNBOUNDED = None
"""Depth of a scope that takes a whole subtree."""


@dataclass(frozen=True, slots=True)
class RowFilter:
    """A necessary condition on the rows of a scope (rule-semantics C11), applied in SQL to what is returned.

    A row passes if its name is in ``names`` (folded comparison) or matches a glob in ``name_globs``, or its data
    matches a glob in ``data_globs``; ``types`` empty means any type. ``subkeys``: subkey rows are wanted as well. The
    default passes every row.
    """

    names: tuple[str, ...] = ()
    name_globs: tuple[str, ...] = ()
    data_globs: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    subkeys: bool = True


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

    @property
    def text(self) -> str:
        """Canonical text: folded elements, globs as written, depth, filter."""
        raise NotImplementedError

    @property
    def id(self) -> str:
        """Stable id: ``s-`` and 16 hex digits of the SHA-256 of the text."""
        raise NotImplementedError


__all__ = ["UNBOUNDED", "Element", "Glob", "RowFilter", "Scope", "fold"]
