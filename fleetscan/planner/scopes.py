"""Rule to scopes: the keys that can decide a rule, found from its condition alone (rule-semantics C1 to C9).

Soundness comes first: what cannot be bounded is said (P101), never guessed. The condition is read in negation normal
form for each kind of subject that the rule is judged on; Or is a union, And is its best single operand.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, assert_never

from fleetscan.model.registry import HKLM, HKU, fold
from fleetscan.model.rule import (
    ALWAYS,
    NEVER,
    And,
    Dialect,
    Field,
    Match,
    Message,
    MessageLevel,
    Not,
    Or,
    RegexPattern,
    Subject,
    TextPattern,
)
from fleetscan.model.scope import SID, SID_CLASSES, Element, Glob, Scope
from fleetscan.planner.anchors import Aim, Place, hive_of, places_of, value_places, whole_hives
from fleetscan.planner.filters import row_filter
from fleetscan.planner.globs import covers, widened
from fleetscan.planner.nnf import specialise
from fleetscan.planner.patterns import runs_of
from fleetscan.planner.regexes import widen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fleetscan.model.rule import Expr, Rule

_KEYS = (Subject.KEY, Subject.REMOVED_KEY)
_REMOVED = frozenset({Subject.REMOVED_VALUE, Subject.REMOVED_KEY})
UNANCHORED = 3
"""The assumption level of a rule that could match anywhere (C8)."""

_ROOTLESS = ("HKLM", "HKU", "HKCR", "HKCU", "HKCC")


class Label(StrEnum):
    """How far the plan of a rule goes (C8)."""

    EXACT = "exact"
    COMPLETE = "complete"
    ASSUMED = "complete under assumptions"
    PARTIAL = "partial"
    UNPLANNABLE = "unplannable"


Found = dict[Place, tuple["Expr", ...]]
"""Places, each with the branches that led to it: rows that other branches want are found in their own places."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the subjects of a condition can stand: places, and the branches that could match anywhere."""

    places: Found = field(default_factory=dict)
    unanchored: tuple[str, ...] = ()

    @property
    def rank(self) -> tuple[object, ...]:
        """The better of two operands of And has the lower rank (C7)."""
        open_end = 3 if self.unanchored and not self.places else 2 if self.unanchored else 0
        whole = any(map(is_whole_hive, self.places))
        level = max((place.level for place in self.places), default=0)
        size = max(map(_size, self.places), default=0)
        roots = [len(place.elements) for place in self.places if place.depth is None]
        return (open_end, whole, level, size, -min(roots, default=99), len(self.places))


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleScopes:
    """How one rule is answered: scopes to ask, scopes kept out because a whole hive must be walked, and why."""

    rule: Rule
    label: Label
    scopes: tuple[Scope, ...]
    expensive: tuple[Scope, ...] = ()
    unanchored: tuple[str, ...] = ()
    level: int = 0
    needs_baseline: bool = False
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``include_expensive``: walk whole hives for rules that need it. ``deep``: no assumption, whole hives instead."""

    include_expensive: bool = False
    deep: bool = False


DEFAULT_OPTIONS = Options()


def rule_scopes(rule: Rule, options: Options = DEFAULT_OPTIONS) -> RuleScopes:
    """The scopes of a rule, its label, and what the user must be told."""
    reaches = [_subject_reach(rule, subject, options) for subject in sorted(rule.subjects)]
    places = _maximal(_union(reach.places for reach in reaches))
    unanchored = tuple(dict.fromkeys(branch for reach in reaches for branch in reach.unanchored))
    if unanchored and options.include_expensive:
        places, unanchored = dict.fromkeys(whole_hives(), ()), ()
    costly = frozenset(filter(is_whole_hive, places))
    walk_all = options.include_expensive or options.deep
    asked = frozenset(places) if walk_all else frozenset(places) - costly
    return RuleScopes(
        rule=rule,
        label=_label(asked, complete=not unanchored and len(asked) == len(places)),
        scopes=_scopes(rule, {place: places[place] for place in asked}),
        expensive=_scopes(rule, {place: places[place] for place in costly}),
        unanchored=unanchored,
        level=UNANCHORED if unanchored else max((place.level for place in places), default=0),
        needs_baseline=bool(rule.subjects) and rule.subjects <= _REMOVED,
        messages=tuple(_messages(rule, unanchored, asked, costly - asked)),
    )


def _union(parts: Iterable[Found]) -> Found:
    found: Found = {}
    for part in parts:
        for place, branches in part.items():
            found[place] = (*found.get(place, ()), *branches)
    return found


def _scopes(rule: Rule, places: Found) -> tuple[Scope, ...]:
    found = (
        replace(_scope(place), row_filter=row_filter(branches, rule.dialect, place))
        for place, branches in places.items()
    )
    return tuple(sorted(found, key=lambda scope: scope.text))


def _scope(place: Place) -> Scope:
    root = place.elements[0]
    return Scope(str(root), place.elements[1:], place.depth)


def _label(asked: Iterable[Place], *, complete: bool) -> Label:
    places = tuple(asked)
    if not complete:
        return Label.PARTIAL if places else Label.UNPLANNABLE
    if not places:
        # Nothing can match: all of nothing is read.
        return Label.EXACT
    if any(place.level for place in places if place.level < UNANCHORED):
        return Label.ASSUMED
    exact = all(place.depth == 0 and not any(map(_is_open, place.elements)) for place in places)
    return Label.EXACT if exact else Label.COMPLETE


def _is_open(element: Element) -> bool:
    return isinstance(element, Glob) and element not in (SID, SID_CLASSES)


def _messages(
    rule: Rule, unanchored: tuple[str, ...], asked: frozenset[Place], left_out: frozenset[Place]
) -> Iterable[Message]:
    if unanchored:
        rest = "the other branches are covered" if asked else "nothing of the rule is covered"
        hint = "add a path hint, or use a deep sweep"
        text = f"{_some(unanchored)} names no registry path; not searched. {hint[0].upper()}{hint[1:]}; {rest}"
        yield Message("P101", MessageLevel.LIMIT, text, rule.where)
    if left_out:
        hives = _some(sorted(_scope(place).pattern for place in left_out))
        text = f"needs a walk of {hives}; kept out of the plan unless expensive rules are asked for"
        yield Message("P101", MessageLevel.LIMIT, text, rule.where)
    assumed = sorted(_scope(place).pattern for place in asked if 0 < place.level < UNANCHORED)
    if assumed:
        yield Message("P110", MessageLevel.NOTE, f"assumes that what it names stands in {_some(assumed)}", rule.where)


def _some(names: Iterable[str], limit: int = 3) -> str:
    shown = list(names)
    more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + more


def _subject_reach(rule: Rule, subject: Subject, options: Options) -> Reach:
    expr = specialise(rule.condition, subject, rule.dialect)
    slashed = rule.dialect is Dialect.EQL and subject in _KEYS
    reach = _Reader(Aim.SLASHED if slashed else Aim.NAME).reach(expr)
    if options.deep and any(place.level for place in reach.places):
        return replace(reach, places=dict.fromkeys(whole_hives(), (expr,)))
    return reach


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads a condition for one kind of subject."""

    aim: Aim

    def reach(self, expr: Expr) -> Reach:
        """Places of every subject on which the expression can be TRUE or UNKNOWN."""
        if expr == NEVER:
            return Reach()
        if expr == ALWAYS:
            return Reach(unanchored=("the whole rule",))
        match expr:
            case Match():
                return self._match(expr)
            case Not():
                return Reach(unanchored=(describe(expr),))
            case And():
                return self._conjunction(expr)
            case Or():
                reaches = [self.reach(operand) for operand in expr.operands]
                unanchored = tuple(branch for reach in reaches for branch in reach.unanchored)
                return Reach(_union(reach.places for reach in reaches), unanchored)
            case _:
                assert_never(expr)

    def _conjunction(self, expr: And) -> Reach:
        """The best operand alone; the others only say what its rows must look like."""
        reaches = [self.reach(operand) for operand in expr.operands]
        best = min(range(len(reaches)), key=lambda index: reaches[index].rank)
        others = expr.operands[:best] + expr.operands[best + 1 :]
        places: Found = {
            place: tuple(And((branch, *others)) for branch in branches)
            for place, branches in reaches[best].places.items()
        }
        return Reach(places, reaches[best].unanchored)

    def _match(self, match: Match) -> Reach:
        places: frozenset[Place] | None = None
        if match.field in (Field.PATH, Field.NEW_NAME):
            places = self._texts(match, self.aim, rooted=True)
        elif match.field is Field.KEY:
            places = self._texts(match, Aim.KEY, rooted=False)
        elif match.field is Field.VALUE_NAME:
            places = _named(match)
        elif match.field is Field.HIVE:
            places = _hive(match)
        return Reach(unanchored=(describe(match),)) if places is None else Reach(dict.fromkeys(places, (match,)))

    def _texts(self, match: Match, aim: Aim, *, rooted: bool) -> frozenset[Place] | None:
        if isinstance(match.test, TextPattern):
            patterns: tuple[TextPattern, ...] | None = (match.test,)
        else:
            patterns = widen(match.test) if isinstance(match.test, RegexPattern) else None
        if patterns is None:
            return None
        found: set[Place] = set()
        for pattern in patterns if rooted else _with_roots(patterns):
            places = pattern_places(pattern, aim)
            if places is None:
                return None
            found |= places
        return frozenset(found)


@lru_cache(maxsize=16384)
def pattern_places(pattern: TextPattern, aim: Aim = Aim.NAME) -> frozenset[Place] | None:
    """Places of the names that follow a pattern: those of its best literal run; None: it could match anywhere."""
    reaches = [Reach(dict.fromkeys(places, ())) for run in runs_of(pattern) if (places := places_of(run, aim))]
    return frozenset(min(reaches, key=lambda reach: reach.rank).places) if reaches else None


def _with_roots(patterns: Iterable[TextPattern]) -> Iterable[TextPattern]:
    r"""``registry.key`` has no hive: a text that does not begin with a gap begins below some hive."""
    for pattern in patterns:
        if pattern.parts and isinstance(pattern.parts[0], str):
            first = pattern.parts[0].lstrip("\\")
            for root in _ROOTLESS:
                yield TextPattern((f"{root}\\{first}", *pattern.parts[1:]), pattern.cased)
        else:
            yield pattern


def _named(match: Match) -> frozenset[Place] | None:
    """A value's name alone is searched where the catalogue knows such a value."""
    if isinstance(match.test, TextPattern) and match.test.is_literal:
        return value_places(str(match.test)) or None
    return None


def _hive(match: Match) -> frozenset[Place] | None:
    words = {"HKLM": "HKLM", "HKU": "HKU", "HKEY_USERS": "HKU", "HKEY_LOCAL_MACHINE": "HKLM"}
    if isinstance(match.test, TextPattern) and match.test.is_literal:
        name = words.get(fold(str(match.test)))
        return hive_of([name]) if name else frozenset()
    return whole_hives()


def describe(expr: Expr) -> str:
    """The expression in a few words, for messages."""
    match expr:
        case Match():
            return f"{expr.name} {_test_text(expr)}"
        case Not():
            return f"not {describe(expr.operand)}"
        case And() | Or():
            word = " and " if isinstance(expr, And) else " or "
            return "(" + word.join(map(describe, expr.operands)) + ")"
        case _:
            assert_never(expr)


def _test_text(match: Match) -> str:
    test = match.test
    if isinstance(test, TextPattern):
        return f'"{test}"'
    return f"/{test.source}/" if isinstance(test, RegexPattern) else type(test).__name__


_WHOLE_HKLM = {
    (),
    ("SOFTWARE",),
    ("SYSTEM",),
    ("SOFTWARE", "MICROSOFT"),
    ("SOFTWARE", "WOW6432NODE"),
    ("SOFTWARE", "CLASSES"),
    ("SOFTWARE", "WOW6432NODE", "MICROSOFT"),
    ("SOFTWARE", "WOW6432NODE", "CLASSES"),
    ("SOFTWARE", "CLASSES", "WOW6432NODE"),
    ("SYSTEM", "CURRENTCONTROLSET"),
    ("SYSTEM", "CURRENTCONTROLSET", "ENUM"),
}
_WHOLE_USER = {
    (),
    ("SOFTWARE",),
    ("SOFTWARE", "MICROSOFT"),
    ("SOFTWARE", "CLASSES"),
    ("SOFTWARE", "WOW6432NODE"),
    ("WOW6432NODE",),
    ("SYSTEM",),
    ("SYSTEM", "CURRENTCONTROLSET"),
}


def is_whole_hive(place: Place) -> bool:
    """Does the place take a whole hive, or most of one?"""
    if place.depth is not None:
        return False
    root, *rest = place.elements
    below = tuple(rest) if root == HKLM else tuple(rest[1:])
    if any(isinstance(element, Glob) for element in below[:-1]):
        return len(below) <= len(("SOFTWARE", "*"))
    names = tuple(fold(element.text if isinstance(element, Glob) else element).rstrip("*") for element in below)
    known = _WHOLE_HKLM if root == HKLM else _WHOLE_USER
    return names in known or (root == HKU and not rest)


def _size(place: Place) -> int:
    if place.depth is None:
        return 2
    return 1 if place.depth or any(map(_is_open, place.elements)) else 0


def _maximal(places: Found) -> Found:
    """Without the places that others contain, whose branches go to one that contains them."""
    rivals: dict[tuple[Element, ...], list[Place]] = {}
    for place in places:
        if not place.listing:
            rivals.setdefault(_literal_start(place), []).append(place)
    holders: dict[Place, Place] = {}
    for place in places:
        start = _start(place)
        candidates = (rival for length in range(len(start) + 1) for rival in rivals.get(start[:length], ()))
        holder = next((rival for rival in candidates if _holds(rival, place)), None)
        if holder is not None:
            holders[place] = holder
    kept = {place: branches for place, branches in places.items() if place not in holders}
    for place, first in holders.items():
        holder = first
        while holder in holders:
            holder = holders[holder]
        kept[holder] = (*kept[holder], *places[place])
    return kept


_START = 5


def _start(place: Place) -> tuple[Element, ...]:
    """The first elements: a place can only be held by one whose literal start is a start of these."""
    return tuple(part if isinstance(part, Glob) else fold(part) for part in place.elements[:_START])


def _literal_start(place: Place) -> tuple[Element, ...]:
    start = _start(place)
    globs = (index for index, part in enumerate(start) if isinstance(part, Glob))
    return start[: next(globs, len(start))]


def _holds(wide: Place, narrow: Place) -> bool:
    below = len(narrow.elements) - len(wide.elements)
    if below < 0:
        return False
    if wide.depth is not None and (narrow.depth is None or below + narrow.depth > wide.depth):
        return False
    if wide is narrow or wide == narrow:
        return False
    if not all(map(_element_holds, wide.elements, narrow.elements)):
        return False
    same = wide.depth == narrow.depth and below == 0 and _element_tuple(wide) == _element_tuple(narrow)
    return not same or bool(narrow.listing) or wide.level < narrow.level


def _element_tuple(place: Place) -> tuple[object, ...]:
    return tuple(element if isinstance(element, Glob) else fold(element) for element in place.elements)


def _element_holds(wide: Element, narrow: Element) -> bool:
    if wide == narrow:
        return True
    if not isinstance(wide, Glob):
        return isinstance(narrow, str) and fold(wide) == fold(narrow)
    if wide == SID:
        return isinstance(narrow, str) and not fold(narrow).endswith("_CLASSES")
    if narrow == SID:
        return wide.text == "*"
    return covers(fold(wide.text), widened(narrow) if isinstance(narrow, Glob) else fold(narrow))
