"""Rewriting of rule conditions: negation normal form, folding of constants, what a condition can reach on state.

The planner works on the normal form, the evaluator reports what is left of it (rule-semantics V2, V3, V5, K2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.model.rule import ALWAYS, NEVER, And, Evidence, Field, IsNull, Match, Not, Or, TextPattern, Wildcard
from fleetscan.model.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fleetscan.model.rule import Expr, Test

MAX_SPLITS = 12
"""Unknowns with both polarities that ``settle`` splits on; beyond, a tautology stays possible, never hidden."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A Match or its negation, as leaf of the negation normal form."""

    match: Match
    positive: bool = True


def nnf(expr: Expr, *, positive: bool = True) -> Expr:
    """The same condition with Not only directly above a Match."""
    if isinstance(expr, Not):
        return nnf(expr.operand, positive=not positive)
    if isinstance(expr, Match):
        return expr if positive else Not(expr)
    operands = tuple(nnf(operand, positive=positive) for operand in expr.operands)
    return And(operands) if isinstance(expr, And) == positive else Or(operands)


def literals(expr: Expr) -> Iterator[Literal]:
    """The leaves of a condition with the sign they have in negation normal form, in the order of the rule."""
    yield from _literals(expr, positive=True)


def _literals(expr: Expr, *, positive: bool) -> Iterator[Literal]:
    if isinstance(expr, Not):
        yield from _literals(expr.operand, positive=not positive)
    elif isinstance(expr, Match):
        yield Literal(expr, positive)
    else:
        for operand in expr.operands:
            yield from _literals(operand, positive=positive)


def fold_constants(expr: Expr) -> Expr:
    """The same condition without constants (unless it is one), nesting joined, duplicates and absorbed terms gone.

    Expects negation normal form; keeps the order of the rule.
    """
    if isinstance(expr, Match | Not):
        return expr
    kind, unit, zero = (And, ALWAYS, NEVER) if isinstance(expr, And) else (Or, NEVER, ALWAYS)
    terms: dict[Expr, None] = {}
    for operand in map(fold_constants, expr.operands):
        if operand == zero:
            return zero
        if operand != unit:
            terms.update(dict.fromkeys(operand.operands if isinstance(operand, kind) else (operand,)))
    kept = tuple(_without_absorbed(terms, Or if kind is And else And))
    if len(kept) == 1:
        return kept[0]
    return kind(kept)


def _without_absorbed(terms: Mapping[Expr, None], dual: type[And | Or]) -> Iterator[Expr]:
    """``a or (a and b)`` is ``a``; ``a and (a or b)`` is ``a``."""
    parts = {term: frozenset(term.operands) if isinstance(term, dual) else frozenset({term}) for term in terms}
    smallest_first = sorted(set(parts.values()), key=len)
    for term, mine in parts.items():
        if len(mine) == 1 or not any(other < mine for other in smallest_first if len(other) < len(mine)):
            yield term


def substitute(expr: Expr, value: Callable[[Match], Truth]) -> Expr:
    """The folded condition in negation normal form, with every decided Match replaced by its value."""
    return fold_constants(_substituted(nnf(expr), value))


def _substituted(expr: Expr, value: Callable[[Match], Truth]) -> Expr:
    if isinstance(expr, Not):
        inner = _substituted(expr.operand, value)
        return NEVER if inner == ALWAYS else ALWAYS if inner == NEVER else expr
    if isinstance(expr, Match):
        truth = value(expr)
        return expr if truth is Truth.UNKNOWN else ALWAYS if truth is Truth.TRUE else NEVER
    operands = tuple(_substituted(operand, value) for operand in expr.operands)
    return And(operands) if isinstance(expr, And) else Or(operands)


def settle(residual: Expr, splits: int = MAX_SPLITS) -> Expr:
    """The residual, or the constant it always is (rule-semantics K2: ``Image = x or not Image = x`` is TRUE).

    A folded formula in which no unknown has both signs is never constant, so only those unknowns are tried both ways.
    """
    signs: dict[Match, set[bool]] = {}
    for literal in literals(residual):
        signs.setdefault(literal.match, set()).add(literal.positive)
    both = next((match for match, seen in signs.items() if len(seen) == 2), None)  # noqa: PLR2004 - both signs
    if both is None or splits == 0:
        return residual
    cases = [settle(_assign(residual, both, truth), splits - 1) for truth in (Truth.FALSE, Truth.TRUE)]
    if cases[0] == cases[1] and cases[0] in (ALWAYS, NEVER):
        return cases[0]
    return residual


def _assign(expr: Expr, match: Match, truth: Truth) -> Expr:
    return substitute(expr, lambda other: truth if other == match else Truth.UNKNOWN)


def needs(expr: Expr) -> bool:
    """Does a finding with this residual need something (if), or only the absence of something (unless, V3)?"""
    match expr:
        case Match():
            return True
        case Not():
            return False
        case And():
            return any(map(needs, expr.operands))
        case Or():
            return all(map(needs, expr.operands))


def best(expr: Expr, value: Callable[[Literal], Truth]) -> Truth:
    """The highest truth a condition reaches if every leaf takes its highest value independently."""
    return _best(nnf(expr), value)


def _best(expr: Expr, value: Callable[[Literal], Truth]) -> Truth:
    if isinstance(expr, Match):
        return value(Literal(expr))
    if isinstance(expr, Not):
        # In negation normal form a Not stands above a Match.
        return value(next(literals(expr)))
    truths = (_best(operand, value) for operand in expr.operands)
    return min(truths, default=Truth.TRUE) if isinstance(expr, And) else max(truths, default=Truth.FALSE)


def evidence_of(expr: Expr) -> Evidence:
    """Content if every branch that can be TRUE holds a positive Match on data (V5)."""
    return Evidence.CONTENT if _tests_data(fold_constants(nnf(expr))) else Evidence.PRESENCE


def _tests_data(expr: Expr) -> bool:
    match expr:
        case Match(field=Field.DATA | Field.DATA_LENGTH, test=test):
            return not isinstance(test, IsNull)
        case Match() | Not():
            return False
        case And():
            return any(map(_tests_data, expr.operands))
        case Or():
            branches = [operand for operand in expr.operands if _can_be_true(operand)]
            return bool(branches) and all(map(_tests_data, branches))


def _can_be_true(expr: Expr) -> bool:
    return (
        best(expr, lambda leaf: Truth.UNKNOWN if leaf.match.field is Field.UNOBSERVABLE else Truth.TRUE) is Truth.TRUE
    )


def any_of(terms: Iterable[Expr]) -> Expr:
    """Or, without the node around a single term."""
    kept = tuple(terms)
    return kept[0] if len(kept) == 1 else Or(kept)


def all_of(terms: Iterable[Expr]) -> Expr:
    """And, without the node around a single term."""
    kept = tuple(terms)
    return kept[0] if len(kept) == 1 else And(kept)


def matches_everything(test: Test) -> bool:
    """Is it a pattern of wildcards that any text satisfies?"""
    return isinstance(test, TextPattern) and bool(test.parts) and all(part is Wildcard.ANY for part in test.parts)
