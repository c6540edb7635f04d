"""A condition as nested functions from subject to truth: the fast twin of ``judge``, without reasons.

Alternatives on one field become one test: a set for whole texts, one call for all endings, one for all beginnings.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from fleetscan.evaluate.matching import outcome, text_matcher
from fleetscan.model.registry import fold
from fleetscan.model.rule import And, Dialect, Field, Match, Not, Or, Subject, TextPattern, Wildcard
from fleetscan.model.truth import Truth
from fleetscan.rules.fields import event_truth
from fleetscan.rules.reach import is_guard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetscan.evaluate.subject import View
    from fleetscan.model.rule import Expr

    Decide = Callable[[View], Truth]

_GROUPED = (Field.PATH, Field.VALUE_NAME, Field.DATA)
_FALSE, _UNKNOWN, _TRUE = Truth.FALSE, Truth.UNKNOWN, Truth.TRUE


def compiled(expr: Expr, dialect: Dialect) -> Decide:
    """The truth of a condition on a subject."""
    match expr:
        case Match():
            return _leaf(expr, dialect)
        case Not():
            inner = compiled(expr.operand, dialect)
            return lambda view: Truth.negate(inner(view))
        case And():
            return partial(_all, tuple(_operands(expr, dialect, ())))
        case Or():
            return _alternatives(expr, dialect)


def _operands(expr: And | Or, dialect: Dialect, grouped: Sequence[Expr]) -> list[Decide]:
    """Cheap ones first; truth does not depend on the order."""
    rest = (operand for operand in expr.operands if operand not in grouped)
    return [compiled(operand, dialect) for operand in sorted(rest, key=_weight)]


def _alternatives(expr: Or, dialect: Dialect) -> Decide:
    tests: list[Decide] = []
    grouped: list[Expr] = []
    for field in _GROUPED:
        matches = [m for m in expr.operands if isinstance(m, Match) and m.field is field and _is_plain(m, dialect)]
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


def _leaf(match: Match, dialect: Dialect) -> Decide:
    if match.field is Field.UNOBSERVABLE:
        return _never if is_guard(match) else _unknown
    if match.field in _GROUPED and isinstance(match.test, TextPattern) and _is_plain(match, dialect):
        return _group(match.field, [match.test])
    if match.field is Field.EVENT_KIND:
        table = {(kind, added): event_truth(match, kind, added=added) for kind in Subject for added in (False, True)}
        return lambda view: table[view.kind, view.added]
    return lambda view: outcome(match, view).truth


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
    texts_of = attrgetter({Field.PATH: "folded_paths", Field.VALUE_NAME: "folded_names"}.get(field, "folded_data"))

    def decide(view: View) -> Truth:
        for text in texts_of(view):
            if holds(text):
                return _TRUE
        return _FALSE

    return decide


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
    if len(inner) == 1 and not (whole or starts or ends or others):
        only = inner[0]
        return lambda text: only in text

    def holds(text: str) -> bool:
        if text in whole or text.startswith(starts) or text.endswith(ends):
            return True
        for run in inner:
            if run in text:
                return True
        return any(other(text) for other in others)

    return holds


def _weight(expr: Expr) -> int:
    match expr:
        case Match(field=field):
            return 3 if field is Field.DATA else 1
        case Not():
            return 1 + _weight(expr.operand)
        case And() | Or():
            return sum(map(_weight, expr.operands)) + 1
