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
_FULL_NAMES = frozenset({Field.PATH, Field.NEW_NAME})
_KEYS_REMEMBERED = 1 << 17


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    item: T
    runs: Needed
    names: Needed


class Index(Generic[T]):
    """Items found by the names that their conditions can match."""

    def __init__(self, items: Iterable[tuple[T, Expr]]) -> None:
        """Pairs of item and condition."""
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
        self._below: dict[tuple[str, int | None], _Below[T]] = {}

    def candidates(self, key: str, name: str, current: int | None) -> Sequence[T]:
        """The items whose condition may not be FALSE on something of that name in that key."""
        if "\\" in name:
            return [entry.item for entry in self._entries]  # it ends in elements of its own; too rare to index
        below = self._below.get((key, current))
        if below is None:
            if len(self._below) >= _KEYS_REMEMBERED:
                self._below.clear()
            below = self._below[key, current] = self._in_key(folded_spellings(key, current))
        folded = fold(name) or _DEFAULT
        found = below.by_name.get(folded, below.any_name) if below.by_name else below.any_name
        asking = [ask.item for ask in below.asking if ask.allows(folded)]
        return [*found, *asking] if asking else found

    def _in_key(self, keys: Sequence[str]) -> _Below[T]:
        numbers = set(self._everywhere)
        for element in {element for spelling in keys for element in spelling.split("\\")}:
            numbers.update(self._by_element.get(element, ()))
        sure: list[_Entry[T]] = []
        asking: list[_Ask[T]] = []
        for entry in (self._entries[number] for number in sorted(numbers)):
            if entry.runs is None or any(run in key for run in entry.runs for key in keys):
                sure.append(entry)
            elif (ask := _ask(entry, keys)) is not None:
                asking.append(ask)
        names = {name for entry in sure for name in entry.names or ()}
        by_name = {name: [e.item for e in sure if e.names is None or name in e.names] for name in names}
        return _Below(by_name, [entry.item for entry in sure if entry.names is None], asking)


@dataclass(frozen=True, slots=True)
class _Ask(Generic[T]):
    """An item of which a run stands in the full name only if the last element starts so, or holds that."""

    item: T
    names: Needed
    starts: tuple[str, ...]
    parts: tuple[str, ...]

    def allows(self, name: str) -> bool:
        if self.names is not None and name not in self.names:
            return False
        return name.startswith(self.starts) or any(part in name for part in self.parts)


@dataclass(slots=True)
class _Below(Generic[T]):
    """What can match in one key: items by last element, items for any, and those that depend on the last element."""

    by_name: dict[str, list[T]]
    any_name: list[T]
    asking: list[_Ask[T]]


def _ask(entry: _Entry[T], keys: Sequence[str]) -> _Ask[T] | None:
    """What an entry asks of the last element, or None if none of its runs can reach from these keys into it."""
    starts: list[str] = []
    parts: list[str] = []
    for run in entry.runs or ():
        # EQL also spells a key with a backslash at its end: there the run's own last one may be that.
        body = run.removesuffix("\\")
        head, separator, tail = body.rpartition("\\")
        if not separator:
            parts.append(body)
        elif any(key.endswith(f"{head}\\") for key in keys):
            starts.append(tail)
    return _Ask(entry.item, entry.names, tuple(starts), tuple(parts)) if starts or parts else None


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
    if match.field not in _FULL_NAMES or not isinstance(match.test, TextPattern):
        return None
    return fold(max((part for part in match.test.parts if not isinstance(part, Wildcard)), key=len, default="")) or None


def _name(match: Match) -> str | None:
    """The last element that a value or key must have."""
    if not isinstance(match.test, TextPattern):
        return None
    if match.field is Field.VALUE_NAME and match.test.is_literal:
        return fold(str(match.test)) or _DEFAULT
    if match.field in _FULL_NAMES and match.test.parts:
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
