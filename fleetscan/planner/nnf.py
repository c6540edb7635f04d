"""The condition of a rule for one kind of subject: negations pushed to the tests, what the kind decides folded away."""

from __future__ import annotations

from typing import assert_never

from fleetscan.model.rule import (
    ALWAYS,
    NEVER,
    And,
    Dialect,
    Expr,
    Field,
    IsNull,
    Match,
    Not,
    Or,
    Subject,
)
from fleetscan.model.truth import Truth
from fleetscan.rules.fields import event_truth

_REMOVED = (Subject.REMOVED_VALUE, Subject.REMOVED_KEY)
_KEYS = (Subject.KEY, Subject.REMOVED_KEY)
_DATA = (Field.DATA, Field.DATA_TYPE, Field.DATA_LENGTH)


def specialise(expr: Expr, subject: Subject, dialect: Dialect, *, negated: bool = False) -> Expr:
    """The expression in negation normal form; Not stands only on a Match, ALWAYS and NEVER only alone."""
    match expr:
        case Not():
            return specialise(expr.operand, subject, dialect, negated=not negated)
        case And() | Or():
            operands = [specialise(operand, subject, dialect, negated=negated) for operand in expr.operands]
            return _join(operands, conjunction=isinstance(expr, And) is not negated)
        case Match():
            truth = _decided(expr, subject, dialect)
            if truth is not None:
                return ALWAYS if truth is not negated else NEVER
            return Not(expr) if negated else expr
        case _:
            assert_never(expr)


def _join(operands: list[Expr], *, conjunction: bool) -> Expr:
    neutral, absorbing = (ALWAYS, NEVER) if conjunction else (NEVER, ALWAYS)
    if absorbing in operands:
        return absorbing
    kept = tuple(operand for operand in operands if operand != neutral)
    if len(kept) == 1:
        return kept[0]
    return And(kept) if conjunction else Or(kept)


def _decided(match: Match, subject: Subject, dialect: Dialect) -> bool | None:
    """Truth of a Match that is the same for every subject of this kind; None: it depends, or is never known."""
    is_null = isinstance(match.test, IsNull)
    if match.field is Field.EVENT_KIND:
        truths = {event_truth(match, subject), event_truth(match, subject, added=True)}
        return {frozenset({Truth.TRUE}): True, frozenset({Truth.FALSE}): False}.get(frozenset(truths))
    if match.field in _DATA:
        if subject in _KEYS or subject in _REMOVED:
            return is_null
        # A value always has a text in Sigma (D1); in EQL a binary value has none (D2).
        return False if is_null and dialect is Dialect.SIGMA else None
    if match.field is Field.VALUE_NAME:
        return _decided_name(subject, is_null=is_null)
    return False if is_null and match.field is not Field.UNOBSERVABLE else None


def _decided_name(subject: Subject, *, is_null: bool) -> bool | None:
    if subject in _KEYS:
        return is_null
    return False if is_null else None
