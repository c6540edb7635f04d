"""A condition as an indented tree, for people who want to see what their rule came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.evaluate.words import formal
from fleetscan.model.rule import And, Match, Not, Or

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetscan.model.rule import Expr


def condition_lines(expr: Expr, indent: int = 0) -> Iterator[str]:
    """One line a node."""
    pad = "  " * indent
    match expr:
        case Match():
            yield f"{pad}{formal(expr)}  ({expr.field})"
        case Not(operand=Match() as match):
            yield f"{pad}not {formal(match)}  ({match.field})"
        case Not():
            yield f"{pad}not"
            yield from condition_lines(expr.operand, indent + 1)
        case And() | Or():
            word = "all of" if isinstance(expr, And) else "any of"
            yield f"{pad}{word}" if expr.operands else f"{pad}{'always' if isinstance(expr, And) else 'never'}"
            for operand in expr.operands:
                yield from condition_lines(operand, indent + 1)
