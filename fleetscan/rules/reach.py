"""What a rule can reach on state at best: certain, possible, or nothing (rule-semantics section 7, P108, P109)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fleetscan.model.logic import best, fold_constants, literals, needs, nnf
from fleetscan.model.rule import (
    ALWAYS,
    NEVER,
    And,
    Circumstance,
    Dialect,
    Field,
    IsNull,
    Match,
    Not,
    Or,
    Subject,
    TextPattern,
)
from fleetscan.model.truth import Truth
from fleetscan.rules.fields import ALWAYS_PRESENT, event_truth

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetscan.model.logic import Literal
    from fleetscan.model.rule import Expr, Rule

_NEVER_NULL = frozenset({Field.PATH, Field.KEY, Field.HIVE})


def is_guard(match: Match) -> bool:
    """Does it test for the absence of something that every registry event carries (K1)?"""
    absent = (
        isinstance(match.test, IsNull) or match.test == TextPattern(()) or match.test == TextPattern((), cased=True)
    )
    return match.field is Field.UNOBSERVABLE and absent and match.name in ALWAYS_PRESENT


def highest(rule: Rule) -> Truth:
    """The highest truth the rule reaches on any subject it is judged on."""
    return max((best(rule.condition, _leaf(rule, subject)) for subject in rule.subjects), default=Truth.FALSE)


def best_verdict(rule: Rule, *, decide_guards: bool = True) -> str:
    """``certain``, ``certain-or-possible``, ``possible-unless``, ``possible-if`` or ``never``.

    ``decide_guards`` False reads ``process.name != null`` as a demand that state leaves open, instead of as K1 does.
    """
    if not decide_guards:
        rule = replace(rule, condition=_undecided_guards(nnf(rule.condition)))
    reached = {subject: best(rule.condition, _leaf(rule, subject)) for subject in rule.subjects}
    top = max(reached.values(), default=Truth.FALSE)
    if top is Truth.FALSE:
        return "never"
    if top is Truth.TRUE:
        return "certain-or-possible" if _hidden_fields(rule) else "certain"
    subject = next(subject for subject, truth in reached.items() if truth is top)
    return "possible-if" if needs(_hoped(rule, subject)) else "possible-unless"


def _undecided_guards(expr: Expr) -> Expr:
    if isinstance(expr, And | Or):
        return type(expr)(tuple(map(_undecided_guards, expr.operands)))
    match = next(literals(expr)).match
    present = Match(Field.UNOBSERVABLE, Circumstance(f"{match.name} is present"), match.name)
    if not is_guard(match):
        return expr
    return Not(present) if isinstance(expr, Match) else present


def unknowns(rule: Rule) -> tuple[str, ...]:
    """Names of the fields a judgement may depend on though state does not show them, in the order of the rule."""
    names: dict[str, None] = {}
    for leaf in literals(rule.condition):
        if leaf.match.field is Field.NEW_NAME or (leaf.match.field is Field.UNOBSERVABLE and not is_guard(leaf.match)):
            names[leaf.match.name] = None
    return tuple(names)


def _hidden_fields(rule: Rule) -> bool:
    return any(leaf.match.field is Field.UNOBSERVABLE and not is_guard(leaf.match) for leaf in literals(rule.condition))


def _hoped(rule: Rule, subject: Subject) -> Expr:
    """What is left of the rule when everything observable turns out as the rule wants it."""
    value = _leaf(rule, subject)

    def hoped(expr: Expr) -> Expr:
        if isinstance(expr, And | Or):
            return type(expr)(tuple(map(hoped, expr.operands)))
        truth = value(next(literals(expr)))
        return expr if truth is Truth.UNKNOWN else ALWAYS if truth is Truth.TRUE else NEVER

    return fold_constants(hoped(nnf(rule.condition)))


def _leaf(rule: Rule, subject: Subject) -> Callable[[Literal], Truth]:
    def value(leaf: Literal) -> Truth:
        low, high = _range(leaf.match, rule.dialect, subject)
        return high if leaf.positive else low.negate()

    return value


def _range(match: Match, dialect: Dialect, subject: Subject) -> tuple[Truth, Truth]:  # noqa: PLR0911 - one line per field
    """The lowest and the highest truth of a Match on subjects of one kind."""
    null = isinstance(match.test, IsNull)
    if match.field is Field.UNOBSERVABLE:
        return (Truth.FALSE, Truth.FALSE) if is_guard(match) else (Truth.UNKNOWN, Truth.UNKNOWN)
    if match.field is Field.EVENT_KIND:
        return event_truth(match, subject), event_truth(match, subject, added=True)
    if match.field is Field.NEW_NAME:
        return (Truth.UNKNOWN, Truth.UNKNOWN) if null else (Truth.FALSE, Truth.UNKNOWN)
    if match.field in _NEVER_NULL and null:
        return Truth.FALSE, Truth.FALSE
    has_data = subject is Subject.VALUE
    if match.field in {Field.DATA, Field.DATA_LENGTH, Field.DATA_TYPE}:
        if not has_data:
            return Truth.of(null), Truth.of(null)
        if null and dialect is Dialect.SIGMA:
            return Truth.FALSE, Truth.FALSE
    if match.field is Field.VALUE_NAME and subject in {Subject.KEY, Subject.REMOVED_KEY}:
        return Truth.of(null), Truth.of(null)
    return Truth.FALSE, Truth.TRUE
