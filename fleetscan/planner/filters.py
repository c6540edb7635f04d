"""Row filters: what every matching row of a subtree must look like, so that large subtrees give small answers (C11).

A filter is a necessary condition, never a decision. Where the spelling of a name or the text of a value may differ
from what the row shows, there is no condition.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from fleetscan.model.registry import DEFAULT_VALUE, HKLM, HKU, fold
from fleetscan.model.rule import (
    And,
    Dialect,
    Field,
    Match,
    NumberEquals,
    Or,
    RegexPattern,
    TextPattern,
    Wildcard,
)
from fleetscan.model.scope import SID, SID_CLASSES, Glob, RowClause, RowFilter
from fleetscan.planner.anchors import ALIASES
from fleetscan.planner.globs import overlaps
from fleetscan.planner.regexes import widen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fleetscan.model.rule import Expr
    from fleetscan.planner.anchors import Path, Place

Clauses = frozenset[RowClause]

MOST_CLAUSES = 256
_PASSES = RowClause()
_SHORT = {HKLM: "HKLM", HKU: "HKU"}
_SID_SIGNS = frozenset("S0123456789-_CLASE.DFUT")
_DWORD = 32
_NUMBER_SIGNS = "DWORQ (0X)-123456789ABCEF"
_SYSMON = ("DWORD (0X????????)", "QWORD (0X????????-0X????????)", "BINARY DATA", "(EMPTY)", "")
_ELASTIC = ("0X????????", "0X????????????????", "(EMPTY)", "")


def row_filter(branches: Sequence[Expr], dialect: Dialect, place: Place) -> RowFilter | None:
    r"""The filter for rows that satisfy one of the branches, in a place; None: every row is wanted.

    The branches are in negation normal form. Exact keys are returned whole; of a key that is read because of an open
    run (``\Run*``) only what begins so is wanted.
    """
    if place.listing:
        # A wildcard sign in the run is a character of the name.
        return RowFilter((RowClause(name=f"{glob_text([place.listing])}*"),))
    if place.depth == 0 and not any(
        isinstance(part, Glob) and part not in (SID, SID_CLASSES) for part in place.elements
    ):
        return None
    reader = _Reader(dialect, _spelled_prefixes(place))
    found: set[RowClause] = set()
    for branch in branches:
        clauses = reader.clauses(branch)
        if clauses is None:
            return None
        found |= clauses
    if not found or len(found) > MOST_CLAUSES:
        return None
    return RowFilter(tuple(sorted(found, key=str)))


class _Reader:
    """Reads a condition for one place."""

    def __init__(self, dialect: Dialect, prefixes: tuple[str, ...] | None) -> None:
        self._dialect = dialect
        self._prefixes = prefixes

    def clauses(self, expr: Expr) -> Clauses | None:
        """Clauses of which every row on which the expression is TRUE or UNKNOWN passes one; None: no condition."""
        if isinstance(expr, Match):
            return self._match(expr)
        if isinstance(expr, Or):
            parts = [self.clauses(operand) for operand in expr.operands]
            known = [part for part in parts if part is not None]
            return frozenset().union(*known) if len(known) == len(parts) else None
        if isinstance(expr, And):
            known = [part for operand in expr.operands if (part := self.clauses(operand)) is not None]
            return _both(known) if known else None
        return None

    def _match(self, match: Match) -> Clauses | None:
        if match.field is Field.DATA and isinstance(match.test, NumberEquals):
            return _number(match.test.value)
        found: set[RowClause] = set()
        for pattern in _patterns(match):
            clauses = self._pattern(match.field, pattern)
            if clauses is None:
                return None
            found |= clauses
        return frozenset(found) or None

    def _pattern(self, field: Field, pattern: TextPattern) -> Clauses | None:
        if field in (Field.PATH, Field.NEW_NAME):
            return self._path(pattern)
        if field is Field.VALUE_NAME:
            return _value_name(glob_text(pattern.parts))
        if field is Field.DATA:
            return _sysmon_data(pattern) if self._dialect is Dialect.SIGMA else _elastic_data(pattern)
        return None

    def _path(self, pattern: TextPattern) -> Clauses | None:
        """The end of the pattern that can only lie below the place's fixed elements, where a name has one spelling."""
        if self._prefixes is None:
            return None
        parts = list(pattern.parts)
        if self._dialect is Dialect.EQL and parts:
            parts = _unslashed(parts)
        keep = 0
        for index, part in enumerate(parts):
            inside = isinstance(part, str) and any(_may_overlap(fold(part), prefix) for prefix in self._prefixes)
            if inside or (index == 0 and not isinstance(part, Wildcard)):
                keep = index + 1
        rest = parts[keep:]
        if not any(isinstance(part, str) for part in rest):
            return None
        return frozenset({RowClause(path="*" + glob_text(rest).lstrip("*"))})


def _value_name(glob: str) -> Clauses:
    """The unnamed value is the empty name in a rule, ``(Default)`` in a row (N2)."""
    unnamed = {DEFAULT_VALUE} if not glob.strip("*") else set()
    return frozenset(RowClause(name=name) for name in {glob or DEFAULT_VALUE} | unnamed)


def _patterns(match: Match) -> Iterable[TextPattern]:
    if isinstance(match.test, TextPattern):
        return (match.test,)
    if isinstance(match.test, RegexPattern) and match.field is not Field.DATA:
        return widen(match.test) or ()
    return ()


def glob_text(parts: Iterable[str | Wildcard]) -> str:
    """The parts as a glob; a literal wildcard sign becomes ``?``."""
    return "".join(part.value if isinstance(part, Wildcard) else part.replace("*", "?") for part in parts)


def _unslashed(parts: list[str | Wildcard]) -> list[str | Wildcard]:
    r"""In EQL a name may end in a backslash that the row does not show (N2, N3): the end of the pattern is a gap."""
    last = parts[-1]
    if isinstance(last, str) and not last.endswith("\\"):
        return parts
    kept = list(parts)
    while kept and (isinstance(kept[-1], Wildcard) or kept[-1].endswith("\\")):
        tail = kept.pop()
        if isinstance(tail, str) and tail.rstrip("\\"):
            kept.append(tail.rstrip("\\"))
            break
    return [*kept, Wildcard.ANY]


def _both(parts: list[Clauses]) -> Clauses:
    """Rows must pass a clause of each: combined where that stays small, else the shortest list."""
    best = min(parts, key=len)
    for part in parts:
        if part is not best and len(part) * len(best) <= MOST_CLAUSES // 4:
            best = frozenset(_combined(one, other) for one, other in product(best, part))
    return best


def _combined(one: RowClause, other: RowClause) -> RowClause:
    return RowClause(
        name=_longer(one.name, other.name),
        path=_longer(one.path, other.path),
        data=_longer(one.data, other.data),
        type=_longer(one.type, other.type),
    )


def _longer(one: str, other: str) -> str:
    """Either is necessary; the longer one says more."""
    return max(one, other, key=lambda glob: (len(glob), glob))


# Data


def _number(value: int) -> Clauses:
    texts = {value, value - (1 << _DWORD)} if value >= 1 << (_DWORD - 1) else {value}
    return frozenset(RowClause(data=f"*{text}*") for text in texts)


def _sysmon_data(pattern: TextPattern) -> Clauses | None:
    glob = fold(glob_text(pattern.parts))
    if pattern.is_literal and overlaps(glob, _SYSMON[0]):
        return _hex_number(glob.removeprefix("DWORD (0X").rstrip(")"), glob)
    if pattern.is_literal and overlaps(glob, _SYSMON[1]):
        return _hex_number(glob.removeprefix("QWORD (0X").rstrip(")").replace("-0X", ""), glob)
    return None if _is_made_up(glob, _SYSMON) else _text_data(glob)


def _elastic_data(pattern: TextPattern) -> Clauses | None:
    glob = fold(glob_text(pattern.parts))
    if pattern.is_literal and glob.isascii() and glob.isdigit():
        return _number(int(glob))
    if pattern.is_literal and (overlaps(glob, _ELASTIC[0]) or overlaps(glob, _ELASTIC[1])):
        return _hex_number(glob.removeprefix("0X"), glob)
    digits_only = not glob.strip("*?0123456789")
    return None if digits_only or _is_made_up(glob, _ELASTIC) else _text_data(glob)


def _is_made_up(glob: str, shapes: Iterable[str]) -> bool:
    """May the pattern match a text that the row does not show, but that the event would have had?"""
    numeric = set(glob) <= set("*?" + _NUMBER_SIGNS)
    return any(overlaps(glob, shape) for shape in shapes if numeric or "?" not in shape)


def _hex_number(digits: str, text: str) -> Clauses | None:
    if digits.strip("0123456789ABCDEF"):
        return None
    value = int(digits, 16)
    return _number(value) | {RowClause(data=f"*{text}*")}


def _text_data(glob: str) -> Clauses | None:
    """A part of a joined list may match, and text with a variable may match once it is expanded (D1, D4, D5).

    A variable changes neither what stands before the first of them nor what stands behind the last.
    """
    if "%" in glob or not glob.strip("*?"):
        return None
    starts = ("",) if glob[0] in "*?" else ("%", glob[0])
    ends = ("",) if glob[-1] in "*?" else ("%", glob[-1])
    expanded = {f"{start}{'*' if '%' in (start, end) else '*%*'}{end}" for start in starts for end in ends}
    return frozenset(RowClause(data=data) for data in {f"*{glob.strip('*')}*", *expanded})


# Spelled prefixes


_LONGEST_ALIAS = max(len(path) for pair in ALIASES for path in pair)


def _spelled_prefixes(place: Place) -> tuple[str, ...] | None:
    """The texts with which names below the place begin, up to its first wildcard, in every spelling.

    A user hive's name is cut off. None: the place is so shallow that a name below it may have a spelling of its own.
    """
    root = place.elements[0]
    path: Path = (_SHORT[str(root)], *place.elements[1:])
    fixed = next(
        (index for index, part in enumerate(path) if isinstance(part, Glob) and part not in (SID, SID_CLASSES)),
        len(path),
    )
    # Spellings differ in the first elements only.
    folded: Path = tuple(part if isinstance(part, Glob) else fold(part) for part in path[:fixed])
    heads = _spelled_heads(folded[:_LONGEST_ALIAS])
    if heads is None:
        return None
    rest = "".join(f"\\{part}" for part in folded[_LONGEST_ALIAS:])
    return tuple(head + rest for head in heads)


@lru_cache(maxsize=4096)
def _spelled_heads(head: Path) -> tuple[str, ...] | None:
    known = {head}
    for _ in range(3):
        for spelled, physical in ALIASES:
            for prefix in tuple(known):
                if len(physical) > len(prefix) and _begins(physical, prefix):
                    return None
                if len(spelled) > len(prefix) and _begins(spelled, prefix):
                    return None
                if _begins(prefix, physical):
                    known.add((*spelled, *prefix[len(physical) :]))
                if _begins(prefix, spelled):
                    known.add((*physical, *prefix[len(spelled) :]))
    return tuple(sorted({_after_hive(prefix) for prefix in known}))


def _begins(path: Path, prefix: Path) -> bool:
    if len(prefix) > len(path):
        return False
    for one, other in zip(path, prefix, strict=False):  # noqa: SIM110 - a generator costs more than the test
        if not _same(one, other):
            return False
    return True


def _same(one: str | Glob, other: str | Glob) -> bool:
    if isinstance(one, Glob) or isinstance(other, Glob):
        # A literal SID stands for itself: it may be the one of the alias.
        return one == other or (isinstance(one, Glob) != isinstance(other, Glob))
    return fold(one) == fold(other)


def _after_hive(prefix: Path) -> str:
    texts = ["" if isinstance(part, Glob) else fold(part) for part in prefix]
    return "\\".join(texts)


def _may_overlap(chunk: str, prefix: str) -> bool:
    """Can the chunk lie in the prefix, or begin in it?"""
    head = chunk.split("\\", 1)[0]
    if "CONTROLSET" in chunk or (head and not head.strip("".join(_SID_SIGNS))):
        return True
    if chunk in prefix or not chunk:
        return True
    longest = min(len(chunk), len(prefix))
    return any(prefix.endswith(chunk[:length]) for length in range(1, longest + 1))
