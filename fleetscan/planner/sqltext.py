"""SQL text cut into tokens, SELECT cores and conditions: as much grammar as it takes to see how a table is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TOKEN = re.compile(
    r"(?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|$))"
    r"|(?P<text>'(?:[^']|'')*'?)"
    r"|(?P<quoted>\"(?:[^\"]|\"\")*\"?|`[^`]*`?|\[[^\]]*\]?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_$]*)"
    r"|(?P<number>[0-9][0-9A-Za-z.]*)"
    r"|(?P<sign>\|\||<>|!=|<=|>=|==|.)",
    re.DOTALL,
)
_CLAUSES = frozenset({"WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "WINDOW", "UNION", "EXCEPT", "INTERSECT"})
_COMPOUND = frozenset({"UNION", "EXCEPT", "INTERSECT"})


@dataclass(frozen=True, slots=True)
class Token:
    """A word (upper case), text (without quotes), quoted name, number or sign; or a group in parentheses."""

    kind: str
    text: str
    line: int
    group: tuple[Token, ...] = ()

    def __str__(self) -> str:
        """As SQL again, near enough."""
        if self.kind == "group":
            return "(" + " ".join(map(str, self.group)) + ")"
        return f"'{self.text}'" if self.kind == "text" else self.text


Tokens = tuple[Token, ...]


def tokens(sql: str) -> Tokens:
    """All tokens, parentheses nested; an unclosed one ends with the text."""
    stack: list[list[Token]] = [[]]
    line = 1
    for found in _TOKEN.finditer(sql):
        kind, text = str(found.lastgroup), found.group()
        if kind == "sign" and text == "(":
            stack.append([])
        elif kind == "sign" and text == ")" and len(stack) > 1:
            inner = tuple(stack.pop())
            stack[-1].append(Token("group", "", inner[0].line if inner else line, inner))
        elif kind != "space":
            stack[-1].append(_token(kind, text, line))
        line += text.count("\n")
    while len(stack) > 1:
        inner = tuple(stack.pop())
        stack[-1].append(Token("group", "", line, inner))
    return tuple(stack[0])


def _token(kind: str, text: str, line: int) -> Token:
    if kind == "text":
        return Token(kind, text[1:].removesuffix("'").replace("''", "'"), line)
    if kind == "quoted":
        return Token("name", text[1:-1], line)
    return Token(kind, text.upper() if kind == "word" else text, line)


def statements(found: Sequence[Token]) -> Iterator[Tokens]:
    """Statements between semicolons."""
    yield from (part for part in _split(found, {";"}) if part)


def _split(found: Sequence[Token], words: set[str] | frozenset[str]) -> Iterator[Tokens]:
    part: list[Token] = []
    for token in found:
        if token.kind in ("word", "sign") and token.text in words:
            yield tuple(part)
            part = []
        else:
            part.append(token)
    yield tuple(part)


@dataclass(frozen=True, slots=True)
class Core:
    """One SELECT of a compound, with its clauses; ``limited``: a LIMIT applies to it alone."""

    sources: Tokens
    where: Tokens
    limited: bool
    line: int
    nested: bool = False


def cores(statement: Tokens, *, nested: bool = False) -> Iterator[Core]:
    """Every SELECT of a statement, those in parentheses included."""
    parts = list(_split(statement, _COMPOUND))
    for part in parts:
        core = _core(part, alone=len(parts) == 1, nested=nested)
        if core is not None:
            yield core
    for token in statement:
        if token.kind == "group":
            yield from cores(token.group, nested=True)


def _core(part: Tokens, *, alone: bool, nested: bool) -> Core | None:
    words = [token.text if token.kind == "word" else "" for token in part]
    if "SELECT" not in words or "FROM" not in words[words.index("SELECT") :]:
        return None
    start = words.index("FROM", words.index("SELECT"))
    clauses = [index for index in range(start, len(part)) if words[index] in _CLAUSES]
    sources = part[start + 1 : clauses[0] if clauses else None]
    where: Tokens = ()
    for place, index in enumerate(clauses):
        if words[index] == "WHERE":
            where = part[index + 1 : clauses[place + 1] if place + 1 < len(clauses) else None]
    limited = alone and "LIMIT" in words[start:]
    return Core(sources, where, limited, part[words.index("SELECT")].line, nested)


def disjuncts(condition: Tokens) -> tuple[Tokens, ...]:
    """The branches of a top-level OR; a condition in parentheses is opened."""
    condition = _bare(condition)
    return tuple(_split(condition, {"OR"}))


def conjuncts(condition: Tokens) -> tuple[Tokens, ...]:
    """The terms of a top-level AND; the AND of a BETWEEN joins none."""
    condition = _bare(condition)
    terms: list[list[Token]] = [[]]
    between = False
    for token in condition:
        word = token.text if token.kind == "word" else ""
        if word == "AND" and not between:
            terms.append([])
            continue
        between = word == "BETWEEN" or (between and word != "AND")
        terms[-1].append(token)
    return tuple(flat for term in terms if term for flat in _opened(tuple(term)))


def _opened(term: Tokens) -> tuple[Tokens, ...]:
    """A term in parentheses that is itself an AND."""
    inner = _bare(term)
    if inner is term or len(disjuncts(inner)) > 1 or any(token.text == "SELECT" for token in inner):
        return (term,)
    return conjuncts(inner)


def _bare(condition: Tokens) -> Tokens:
    while len(condition) == 1 and condition[0].kind == "group":
        condition = condition[0].group
    return condition
