"""Conditions in words: the residual of a possible finding, and the sentence that tells people what would excuse it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.model.logic import needs, nnf
from fleetscan.model.rule import (
    And,
    Circumstance,
    IsNull,
    LengthCompare,
    Match,
    Not,
    NumberCompare,
    NumberEquals,
    Or,
    RegexPattern,
    TextPattern,
    Wildcard,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fleetscan.model.rule import Expr, Test

_WRITERS = {
    "Image": "a process whose image",
    "process.executable": "a process whose executable",
    "process.name": "a process whose name",
}
"""Fields that say who wrote the value: "written by ..." reads better than "Image is ..."."""


def formal(expr: Expr) -> str:
    """A condition in full: ``(Image matches "*a.exe" and not User matches "x")``."""
    match expr:
        case Match():
            return _formal_match(expr)
        case Not():
            return f"not {formal(expr.operand)}"
        case And():
            return f"({' and '.join(map(formal, expr.operands))})" if expr.operands else "TRUE"
        case Or():
            return f"({' or '.join(map(formal, expr.operands))})" if expr.operands else "FALSE"


def _formal_match(match: Match) -> str:  # noqa: PLR0911 - one per test
    test = match.test
    match test:
        case TextPattern():
            return f'{match.name} matches "{test}"'
        case RegexPattern():
            return f"{match.name} matches /{test.source}/"
        case IsNull():
            return f"{match.name} is absent"
        case NumberEquals():
            return f"{match.name} == {test.value}"
        case NumberCompare():
            return f"{match.name} {test.operator} {test.value}"
        case LengthCompare():
            return f"length({match.name}) {test.operator} {test.value}"
        case Circumstance():
            return test.text


def qualifier(residual: Expr) -> str:
    """``if`` or ``unless`` (V3)."""
    return "if" if needs(residual) else "unless"


def excuse(residual: Expr) -> str:
    """What would have to be so (if), or what would excuse the finding (unless): ``Image is a.exe or b.exe``."""
    return _plain(_asked(residual))


def sentence(residual: Expr) -> str:
    """As people read it: ``possible, unless written by a.exe``."""
    return f"possible, {qualifier(residual)} {_spoken(_asked(residual))}"


def _asked(residual: Expr) -> Expr:
    return nnf(residual) if needs(residual) else nnf(residual, positive=False)


def _plain(expr: Expr) -> str:
    match expr:
        case Match():
            return f"{expr.name} {_test(expr.test)}" if not isinstance(expr.test, Circumstance) else expr.test.text
        case Not():
            return f"not {_plain(expr.operand)}"
        case And():
            return " and ".join(_nested(operand) for operand in expr.operands)
        case Or():
            return " or ".join(_listed(expr.operands))


def _nested(expr: Expr) -> str:
    text = _plain(expr)
    several = isinstance(expr, Or) and len({_group(operand) for operand in expr.operands}) > 1
    return f"({text})" if several else text


def _listed(operands: Iterable[Expr]) -> list[str]:
    """``Image is a or b`` for neighbours that say the same of the same field."""
    texts: list[str] = []
    last = None
    for operand in operands:
        group = _group(operand)
        if group is not None and group == last:
            texts.append(_quoted(operand))
        else:
            texts.append(
                f"({_plain(operand)})" if isinstance(operand, And) and len(operand.operands) > 1 else _plain(operand)
            )
        last = group
    return texts


def _group(expr: Expr) -> tuple[str, str] | None:
    if isinstance(expr, Match) and isinstance(expr.test, TextPattern):
        return expr.name, _verb(expr.test)
    return None


def _quoted(expr: Expr) -> str:
    return _core(expr.test) if isinstance(expr, Match) and isinstance(expr.test, TextPattern) else _plain(expr)


def _test(test: Test) -> str:  # noqa: PLR0911 - one per test
    match test:
        case TextPattern():
            return f"{_verb(test)} {_core(test)}"
        case RegexPattern():
            return f"matches /{test.source}/"
        case IsNull():
            return "is absent"
        case NumberEquals():
            return f"is {test.value}"
        case NumberCompare():
            return f"{test.operator} {test.value}"
        case LengthCompare():
            return f"has a length {test.operator} {test.value}"
        case Circumstance():
            return test.text


def _verb(test: TextPattern) -> str:
    """How a pattern is said: by where its wildcards stand."""
    wild = [at for at, part in enumerate(test.parts) if isinstance(part, Wildcard)]
    last = len(test.parts) - 1
    if any(test.parts[at] is Wildcard.ONE for at in wild):
        return "matches"
    return {(): "is", (0,): "ends in", (last,): "starts with", (0, last): "contains"}.get(tuple(wild), "matches")


def _core(test: TextPattern) -> str:
    if _verb(test) == "matches":
        return str(test)
    text = "".join(part for part in test.parts if not isinstance(part, Wildcard))
    return text or '""'


def _spoken(expr: Expr) -> str:
    """As ``_plain``, with "written by" where every part speaks of the writing process."""
    operands = expr.operands if isinstance(expr, Or) else (expr,)
    groups = {_group(operand) for operand in operands}
    group = next(iter(groups))
    if len(groups) != 1 or group is None or group[0] not in _WRITERS:
        return _plain(expr)
    name, verb = group
    alternatives = " or ".join(map(_quoted, operands))
    return f"written by {alternatives}" if verb == "is" else f"written by {_WRITERS[name]} {verb} {alternatives}"
