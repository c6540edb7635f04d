"""The EQL grammar: query text to syntax tree, with bounded time and errors that name line and column."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from lark import Lark, Token, Tree, UnexpectedInput

from fleetscan.errors import Place, RuleError
from fleetscan.rules.source import BROKEN

if TYPE_CHECKING:
    from lark import ParseTree

MAX_NESTING = 60
"""Parentheses and ``not`` in one another; real queries have five."""

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_ESCAPE = re.compile(r"\\(u\{([0-9a-fA-F]{2,8})\}|.)", re.DOTALL)
_WORDS = {
    "VBAR": "|",
    "RPAR": ")",
    "LPAR": "(",
    "COLON": ":",
    "NAME": "a field",
    "STRING": "a string",
    "$END": "the end of the query",
}


@lru_cache(maxsize=1)
def _parser() -> Lark:
    grammar = resources.files("fleetscan.rules").joinpath("eql.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", maybe_placeholders=False, propagate_positions=True)


def parse(query: str, where: Place) -> ParseTree:
    """The syntax tree of a query; ``where`` is the place of its first character."""
    try:
        tree = _parser().parse(query)
    except UnexpectedInput as error:
        raise RuleError(
            f"EQL is not understood here: {_reason(error)}", where=_at(where, error), code="P105"
        ) from error
    _refuse_deep(tree, where)
    return tree


def _at(where: Place, error: UnexpectedInput) -> Place:
    line, column = error.line, error.column
    if line < 1:
        return where
    first = where.line or 1
    return Place(where.name, first + line - 1, column if line > 1 else None)


def _reason(error: UnexpectedInput) -> str:
    token = getattr(error, "token", None)
    found = repr(str(token)[:40]) if token else repr(str(getattr(error, "char", ""))[:1])
    if token is not None and token.type == "$END":
        return "the query ends too early"
    expected = sorted(_WORDS[name] for name in (getattr(error, "expected", None) or ()) if name in _WORDS)
    return f"unexpected {found}" + (f", expected {' or '.join(expected)}" if expected else "")


def _refuse_deep(tree: ParseTree, where: Place) -> None:
    pending: list[tuple[ParseTree, int]] = [(tree, 0)]
    while pending:
        node, depth = pending.pop()
        if depth > MAX_NESTING:
            raise RuleError(f"nested deeper than {MAX_NESTING}", where=where, code=BROKEN)
        pending.extend((child, depth + 1) for child in node.children if isinstance(child, Tree))


def text_of(token: Token) -> str:
    """The text that a string literal stands for (T5)."""
    if token.type == "RAW_STRING":
        return token[3:-3] if token.startswith('"""') else token[2:-1]
    return _ESCAPE.sub(_unescaped, token[1:-1])


def _unescaped(match: re.Match[str]) -> str:
    code = match[2]
    if code is not None:
        number = int(code, 16)
        return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"  # noqa: PLR2004 - Unicode
    return _ESCAPES.get(match[1], match[1])
