"""Which names two globs share: what the trie needs to read no key twice, and SQL's LIKE as a superset of a glob."""

from __future__ import annotations

from functools import lru_cache

from fleetscan.model.registry import fold
from fleetscan.model.scope import SID, Element, Glob

_CLASSES = "*_CLASSES"


def widened(element: Element) -> str:
    r"""The element as a folded glob that LIKE can express: what LIKE treats specially, or folds badly, becomes ``?``.

    LIKE folds ASCII only, ``_`` and ``%`` are its wildcards, and a literal ``*`` or ``?`` is a wildcard here.
    """
    if isinstance(element, Glob):
        text = "*" if element == SID else element.text
        return "".join(char if char in "*?" else _widened_char(char) for char in fold(text))
    return "".join("?" if char in "*?" else _widened_char(char) for char in fold(element))


def _widened_char(char: str) -> str:
    return char if char.isascii() and char not in "_%" else "?"


def like(glob: str) -> str:
    """A widened glob in LIKE's own signs."""
    return glob.translate({ord("*"): "%", ord("?"): "_"})


def is_literal(glob: str) -> bool:
    """Does the widened glob stand for one name only?"""
    return "*" not in glob and "?" not in glob


@lru_cache(maxsize=262144)
def overlaps(one: str, other: str) -> bool:
    """Is there a text that follows both globs?"""
    if "*" not in one and "*" not in other:
        return len(one) == len(other) and all(
            "?" in pair or pair[0] == pair[1] for pair in zip(one, other, strict=True)
        )
    # Positions (i, j) from which both rests can still be finished, from the end backwards.
    row = _ends(other)
    for char in reversed(one):
        row = _step(char, other, row)
    return row[0]


def _ends(other: str) -> list[bool]:
    reach = [True]
    for char in reversed(other):
        reach.append(char == "*" and reach[-1])
    return reach[::-1]


def _step(char: str, other: str, below: list[bool]) -> list[bool]:
    row = [False] * (len(other) + 1)
    row[-1] = char == "*" and below[-1]
    for j in range(len(other) - 1, -1, -1):
        mate = other[j]
        if char == "*":
            row[j] = below[j] or row[j + 1]
        elif mate == "*":
            row[j] = row[j + 1] or below[j]
        else:
            row[j] = ("?" in (char, mate) or char == mate) and below[j + 1]
    return row


@lru_cache(maxsize=262144)
def covers(wide: str, narrow: str) -> bool:
    """Does every text that follows ``narrow`` follow ``wide``? It may say no where it is yes, never the reverse."""
    if "*" not in wide:
        return "*" not in narrow and len(wide) == len(narrow) and all(map(_char_covers, wide, narrow))
    reach = {0}
    for char in narrow:
        reach = _covering_step(wide, _closure(wide, reach), char)
    return len(wide) in _closure(wide, reach)


def _char_covers(wide: str, narrow: str) -> bool:
    return wide in ("?", narrow)


def _closure(wide: str, reach: set[int]) -> set[int]:
    closed = set(reach)
    for position in reach:
        at = position
        while at < len(wide) and wide[at] == "*":
            at += 1
            closed.add(at)
    return closed


def _covering_step(wide: str, reach: set[int], char: str) -> set[int]:
    found = set()
    for position in reach:
        if position < len(wide):
            sign = wide[position]
            if sign == "*":
                found.add(position)
            elif char != "*" and _char_covers(sign, char):
                found.add(position + 1)
    return found


def user_hives_are_excluded(label: Element, glob: str) -> bool:
    """``<SID>`` shares no name with a glob that only class hives follow."""
    return label == SID and covers(_CLASSES, glob)
