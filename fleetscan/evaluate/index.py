r"""Which rules can match at all below a key and under a name: a conservative index, so that most rows meet no rule.

From each condition three necessary things are drawn where it has them: literal *runs*, of which one must stand in the
full name; the *elements* that such a run needs in the key; and the *last elements* that a name must be one of.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from fleetscan.evaluate.names import folded_spellings
from fleetscan.model.logic import nnf
from fleetscan.model.registry import DEFAULT_VALUE, fold
from fleetscan.model.rule import And, Field, Match, Not, Or, TextPattern, Wildcard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fleetscan.model.rule import Expr

T = TypeVar("T")
Needed = frozenset[str] | None
"""Texts of which one is needed; None: nothing is known."""

MAX_ALTERNATIVES = 64
"""A condition with more alternatives is tried on every row."""

_DEFAULT = fold(DEFAULT_VALUE)
_KEYS_REMEMBERED = 1 << 17


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    item: T
    runs: Needed
    names: Needed


class Index(Generic[T]):
    """Items found by the names that their conditions can match."""

    def __init__(self, items: Iterable[tuple[T, Expr]]) -> None:
        """Pairs of item and condition; ``candidates`` keeps their order."""
        entries = []
        for item, condition in items:
            normal = nnf(condition)
            entries.append(_Entry(item, _needed(normal, _run), _needed(normal, _name)))
        self._everywhere: list[int] = []
        self._by_element: dict[str, list[int]] = defaultdict(list)
        self._entries = entries
        uses = Counter(element for entry in entries for run in entry.runs or () for element in _elements(run))
        for number, entry in enumerate(entries):
            wanted = [min(_elements(run), key=lambda e: (uses[e], -len(e)), default="") for run in entry.runs or ("",)]
            if all(wanted):
                for element in dict.fromkeys(wanted):
                    self._by_element[element].append(number)
            else:
                self._everywhere.append(number)
        self._below: dict[tuple[str, int | None], tuple[dict[str, list[T]], list[T]]] = {}

    def candidates(self, key: str, name: str, current: int | None) -> Sequence[T]:
        """The items whose condition may not be FALSE on something of that name in that key."""
        if "\\" in name:
            return [
                entry.item for entry in self._entries
            ]  # it ends in elements of its own; too rare to be clever about
        found = self._below.get((key, current))
        if found is None:
            if len(self._below) >= _KEYS_REMEMBERED:
                self._below.clear()
            found = self._below[key, current] = self._split(self._in_key(key, current))
        by_name, any_name = found
        if not by_name:
            return any_name
        named = by_name.get(fold(name) or _DEFAULT)
        return any_name if named is None else named

    def _in_key(self, key: str, current: int | None) -> list[_Entry[T]]:
        keys = folded_spellings(key, current)
        numbers = set(self._everywhere)
        for element in {element for spelling in keys for element in spelling.split("\\")}:
            numbers.update(self._by_element.get(element, ()))
        entries = [self._entries[number] for number in sorted(numbers)]
        return [entry for entry in entries if entry.runs is None or any(can_stand(run, keys) for run in entry.runs)]

    def _split(self, entries: list[_Entry[T]]) -> tuple[dict[str, list[T]], list[T]]:
        """Items by last element, each list with those that take any, and the latter by themselves."""
        names = {name for entry in entries for name in entry.names or ()}
        by_name = {
            name: [entry.item for entry in entries if entry.names is None or name in entry.names] for name in names
        }
        return by_name, [entry.item for entry in entries if entry.names is None]


def _needed(expr: Expr, of_match: Callable[[Match], str | None]) -> Needed:
    """Texts of which every match of the condition (in negation normal form) needs one."""
    match expr:
        case Match():
            text = of_match(expr)
            return None if text is None else frozenset({text})
        case Or():
            joined: set[str] = set()
            for operand in expr.operands:
                needed = _needed(operand, of_match)
                if needed is None or len(joined) > MAX_ALTERNATIVES:
                    return None
                joined |= needed
            return frozenset(joined)
        case And():
            known = [needed for operand in expr.operands if (needed := _needed(operand, of_match)) is not None]
            return max(known, key=_selectivity, default=None)
        case Not():
            return None


def _run(match: Match) -> str | None:
    if match.field is not Field.PATH or not isinstance(match.test, TextPattern):
        return None
    return fold(max((part for part in match.test.parts if not isinstance(part, Wildcard)), key=len, default="")) or None


def _name(match: Match) -> str | None:
    """The last element that a value or key must have."""
    if not isinstance(match.test, TextPattern):
        return None
    if match.field is Field.VALUE_NAME and match.test.is_literal:
        return fold(str(match.test)) or _DEFAULT
    if match.field is Field.PATH and match.test.parts:
        tail = match.test.parts[-1]
        _, separator, last = tail.rpartition("\\") if isinstance(tail, str) else ("", "", "")
        # A tail that ends in a backslash is the unnamed value or a key of EQL: any name.
        return fold(last) if separator and last else None
    return None


def _selectivity(needed: frozenset[str]) -> tuple[int, float]:
    """Runs with whole elements first, then few and long ones."""
    shortest = min(map(len, needed), default=0)
    return int(bool(needed) and all(any(_elements(text)) for text in needed)), shortest - len(needed) / 4


def _elements(run: str) -> list[str]:
    r"""The whole elements that a run needs in the key: what stands between two backslashes.

    Not the last of a run that ends in a backslash: EQL also spells a key with one, so it may be the key's own name.
    """
    inner = run.split("\\")[1:-1]
    return inner[:-1] if run.endswith("\\") else inner


def can_stand(run: str, keys: Sequence[str]) -> bool:
    r"""Can the run stand in the name of something in a key (its spellings folded, each with its last backslash)?

    Wholly in the key; or its last element begins the name; or, if it ends in a backslash, that is the one EQL adds.
    """
    head, separator, tail = run.rpartition("\\")
    if not separator or (not tail and "\\" not in head):
        return True
    endings = [head + "\\"] if tail else [head + "\\", head.rpartition("\\")[0] + "\\"]
    return any(run in key or any(map(key.endswith, endings)) for key in keys)
