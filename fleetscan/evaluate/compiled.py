"""A condition as nested functions from subject to truth: the fast twin of ``judge``, without reasons.

Alternatives on one field become one test: a set for whole texts, one call for all endings, one for all beginnings.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from fleetscan.evaluate.data import DEFAULT_ENVIRONMENT
from fleetscan.evaluate.matching import outcome, text_matcher, variants_of
from fleetscan.model.registry import fold
from fleetscan.model.rule import And, Dialect, Field, IsNull, Match, Not, Or, Subject, TextPattern, Wildcard
from fleetscan.model.truth import Truth
from fleetscan.rules.fields import event_truth
from fleetscan.rules.reach import is_guard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetscan.evaluate.subject import View
    from fleetscan.model.rule import Expr

    Decide = Callable[[View], Truth]

_PRESENT = frozenset({Subject.VALUE, Subject.KEY})
_GROUPED = (Field.PATH, Field.VALUE_NAME, Field.DATA)
_FALSE, _UNKNOWN, _TRUE = Truth.FALSE, Truth.UNKNOWN, Truth.TRUE
_MAX_SEARCHES = 12
"""Patterns that are searched one by one in the joined texts; more are sorted by shape instead."""

_WEIGHTS = {Field.PATH: 1, Field.VALUE_NAME: 1, Field.DATA: 4, Field.UNOBSERVABLE: 50}
_NEGATED = (_TRUE, _UNKNOWN, _FALSE)


def compiled(expr: Expr, dialect: Dialect) -> Decide:
    """The truth of a condition on a subject."""
    match expr:
        case Match():
            return _leaf(expr, dialect)
        case Not():
            return _negated(compiled(expr.operand, dialect))
        case And():
            return _conjunction(expr, dialect)
        case Or():
            return _alternatives(expr, dialect)


def _operands(expr: And | Or, dialect: Dialect, grouped: Sequence[Expr]) -> list[Decide]:
    """Cheap ones first; truth does not depend on the order."""
    rest = (operand for operand in expr.operands if operand not in grouped)
    return [compiled(operand, dialect) for operand in sorted(rest, key=_weight)]


def _conjunction(expr: And, dialect: Dialect) -> Decide:
    """Negated patterns on one field become one test: none of them matches."""
    tests: list[Decide] = []
    grouped: list[Expr] = []
    for field in _GROUPED:
        refused = [o for o in expr.operands if isinstance(o, Not) and _is_plain_on(field, o.operand, dialect)]
        if len(refused) > 1:
            grouped += refused
            tests.append(compiled(Not(Or(tuple(o.operand for o in refused))), dialect))
    # What is unknown of every row is so once, however many such parts there are.
    every = dict.fromkeys([*_operands(expr, dialect, grouped), *tests])
    operands = [operand for operand in every if operand is not _always]
    return operands[0] if len(operands) == 1 else partial(_all, tuple(operands))


def _is_plain_on(field: Field, expr: Expr, dialect: Dialect) -> bool:
    return isinstance(expr, Match) and expr.field is field and _is_plain(expr, dialect)


def _alternatives(expr: Or, dialect: Dialect) -> Decide:
    tests: list[Decide] = []
    grouped: list[Expr] = []
    for field in _GROUPED:
        matches = [m for m in expr.operands if isinstance(m, Match) and _is_plain_on(field, m, dialect)]
        if len(matches) > 1:
            grouped += matches
            tests.append(_group(field, [m.test for m in matches if isinstance(m.test, TextPattern)]))
    hidden = [m for m in expr.operands if isinstance(m, Match) and m.field is Field.UNOBSERVABLE]
    if len(hidden) > 1:
        grouped += hidden
        known = all(map(is_guard, hidden))
        tests.append(_never if known else _unknown)
    tests += _operands(expr, dialect, grouped)
    return tests[0] if len(tests) == 1 else partial(_any, tuple(tests))


def _is_plain(match: Match, dialect: Dialect) -> bool:
    """Is it a pattern that needs nothing but the folded texts? (no case, no percent sign: D4, D5)."""
    if not isinstance(match.test, TextPattern):
        return False
    if match.field is not Field.DATA:
        return True
    plain_texts = dialect is Dialect.EQL or match.name != "NewValue"
    return plain_texts and not match.test.cased and not any("%" in str(part) for part in match.test.parts)


def _leaf(match: Match, dialect: Dialect) -> Decide:  # noqa: PLR0911 - one per kind of leaf
    if match.field is Field.UNOBSERVABLE:
        return _never if is_guard(match) else _unknown
    if match.field in _GROUPED and isinstance(match.test, TextPattern) and _is_plain(match, dialect):
        return _group(match.field, [match.test])
    if match.field is Field.EVENT_KIND:
        said = (False, True, None)
        table = {(kind, added): event_truth(match, kind, added=added) for kind in Subject for added in said}
        return lambda view: table[view.kind, view.added]
    if match.field is Field.NEW_NAME and isinstance(match.test, TextPattern):
        named = _group(Field.PATH, [match.test])
        return lambda view: _UNKNOWN if view.kind in _PRESENT and named(view) is _TRUE else _FALSE
    if match.field is Field.DATA and isinstance(match.test, TextPattern) and match.name != "NewValue":
        return _percent(match)
    if match.field is Field.DATA and isinstance(match.test, IsNull):
        return lambda view: _TRUE if view.texts(match) is None else _FALSE
    return lambda view: outcome(match, view).truth


def _percent(match: Match) -> Decide:
    """A pattern with a percent sign (D4, D5): its variants are known beforehand where the environment is."""
    if not isinstance(match.test, TextPattern) or match.test.cased:
        return lambda view: outcome(match, view).truth
    plain = _group(Field.DATA, [match.test, *_tests(variants_of(match, None))])
    expanded = _group(Field.DATA, [match.test, *_tests(variants_of(match, tuple(sorted(DEFAULT_ENVIRONMENT.items()))))])

    def decide(view: View) -> Truth:
        if view.context.environment is not None:
            return outcome(match, view).truth
        return expanded(view) if view.expandable else plain(view)

    return decide


def _tests(variants: Sequence[tuple[str, Match]]) -> list[TextPattern]:
    return [match.test for _, match in variants if isinstance(match.test, TextPattern)]


def _negated(decide: Decide) -> Decide:
    if decide is _unknown:
        return _unknown
    return _always if decide is _never else lambda view: _NEGATED[decide(view)]


def _always(_view: View) -> Truth:
    return _TRUE


def _never(_view: View) -> Truth:
    return _FALSE


def _unknown(_view: View) -> Truth:
    return _UNKNOWN


def _all(operands: Sequence[Decide], view: View) -> Truth:
    result = _TRUE
    for operand in operands:
        truth = operand(view)
        if truth is _FALSE:
            return _FALSE
        if truth is _UNKNOWN:
            result = _UNKNOWN
    return result


def _any(operands: Sequence[Decide], view: View) -> Truth:
    result = _FALSE
    for operand in operands:
        truth = operand(view)
        if truth is _TRUE:
            return _TRUE
        if truth is _UNKNOWN:
            result = _UNKNOWN
    return result


def _group(field: Field, tests: Sequence[TextPattern]) -> Decide:
    """Does any of the patterns match any of the folded texts?"""
    holds = _any_text(field, tests)
    form = {Field.PATH: "paths", Field.VALUE_NAME: "names"}.get(field, "data")
    texts_of = attrgetter(f"folded_{form}")

    def each(view: View) -> Truth:
        for text in texts_of(view):
            if holds(text):
                return _TRUE
        return _FALSE

    runs = [_as_run(test) for test in tests]
    known = [run for run in runs if run is not None]
    if len(known) < len(runs) or len(runs) > _MAX_SEARCHES:
        return each
    joined_of = attrgetter(f"joined_{form}")

    def together(view: View) -> Truth:
        joined = joined_of(view)
        if joined is None:
            return each(view)
        for run in known:
            if run in joined:
                return _TRUE
        return _FALSE

    return together


def _as_run(test: TextPattern) -> str | None:  # noqa: PLR0911 - one per shape
    """The text to look for in texts joined by NULs, or None for patterns with wildcards inside."""
    if any("\0" in str(part) for part in test.parts):
        return None
    match tuple(part if isinstance(part, Wildcard) else fold(part) for part in test.parts):
        case ():
            return "\0\0"
        case (str(text),):
            return f"\0{text}\0"
        case (str(text), Wildcard.ANY):
            return f"\0{text}"
        case (Wildcard.ANY, str(text)):
            return f"{text}\0"
        case (Wildcard.ANY, str(text), Wildcard.ANY):
            return text
        case _:
            return None


def _any_text(field: Field, tests: Sequence[TextPattern]) -> Callable[[str], bool]:
    """One function for all patterns, by the places of their wildcards."""
    whole: set[str] = set()
    starts: list[str] = []
    ends: list[str] = []
    inner: list[str] = []
    others: list[Callable[[str], bool]] = []
    for test in tests:
        match tuple(part if isinstance(part, Wildcard) else fold(part) for part in test.parts):
            case ():
                whole.add("")
            case (str(text),):
                whole.add(text)
            case (str(text), Wildcard.ANY):
                starts.append(text)
            case (Wildcard.ANY, str(text)):
                ends.append(text)
            case (Wildcard.ANY, str(text), Wildcard.ANY):
                inner.append(text)
            case (Wildcard.ANY,):
                starts.append("")
            case _:
                others.append(text_matcher(test, field).matches_folded)
    return _combined(whole, tuple(starts), tuple(ends), tuple(inner), tuple(others))


def _combined(
    whole: set[str],
    starts: tuple[str, ...],
    ends: tuple[str, ...],
    inner: tuple[str, ...],
    others: tuple[Callable[[str], bool], ...],
) -> Callable[[str], bool]:
    kinds = [bool(kind) for kind in (whole, starts, ends, inner, others)]
    if kinds.count(True) == 1:
        return _single(whole, starts, ends, inner, others)

    def holds(text: str) -> bool:
        if text in whole or text.startswith(starts) or text.endswith(ends):
            return True
        for run in inner:
            if run in text:
                return True
        return any(other(text) for other in others)

    return holds


def _single(
    whole: set[str],
    starts: tuple[str, ...],
    ends: tuple[str, ...],
    inner: tuple[str, ...],
    others: tuple[Callable[[str], bool], ...],
) -> Callable[[str], bool]:
    """As ``_combined``, where the patterns are all of one kind."""
    if whole:
        return whole.__contains__
    if starts:
        return lambda text: text.startswith(starts)
    if ends:
        return lambda text: text.endswith(ends)
    if len(inner) == 1:
        only = inner[0]
        return lambda text: only in text
    if inner:

        def holds(text: str) -> bool:
            for run in inner:  # noqa: SIM110 - a generator costs more than the test
                if run in text:
                    return True
            return False

        return holds
    return others[0] if len(others) == 1 else lambda text: any(holds(text) for holds in others)


def _weight(expr: Expr) -> float:
    """What a test costs and how rarely it decides: names first, data later, what is never known last."""
    match expr:
        case Match(field=field):
            return _WEIGHTS.get(field, 2)
        case Not():
            return 1 + _weight(expr.operand)
        case And() | Or():
            return 1 + sum(map(_weight, expr.operands)) / 4
