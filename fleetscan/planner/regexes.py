"""A regular expression as path patterns that every match satisfies: literal runs kept, everything else a gap."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fleetscan.model.rule import TextPattern, Wildcard

if TYPE_CHECKING:
    from fleetscan.model.rule import RegexPattern

_BEGIN, _END = "\0^", "\0$"  # anchors; a registry name holds no NUL
_UNREADABLE = re.compile(r"\\[xuUNpPQEokcG0-9]")  # more than one character stands for one: nothing is said
_TOKEN = re.compile(
    r"(?P<escape>\\[\\.\-*+?(){}\[\]|^$/ ])|(?P<other>\\.)|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<sign>[.^$()|])|(?P<repeat>[*+?]\??|\{[0-9,]+\}\??)|(?P<char>.)",
    re.DOTALL,
)


def widen(regex: RegexPattern) -> tuple[TextPattern, ...] | None:
    """Patterns of which every matching text satisfies one; None: nothing can be said.

    Groups and alternatives inside them become gaps; only alternatives of the whole expression are told apart.
    """
    if _UNREADABLE.search(regex.source.replace("\\\\", "")):
        return None
    branches: list[list[str | Wildcard]] = [[]]
    depth = 0
    for token in _TOKEN.finditer(regex.source):
        kind, text = token.lastgroup, token.group()
        branch = branches[-1]
        if text == "(" and kind == "sign":
            depth += 1
            branch.append(Wildcard.ANY)
        elif text == ")" and kind == "sign":
            depth -= 1
            branch.append(Wildcard.ANY)
        elif depth > 0:
            continue
        elif text == "|" and kind == "sign":
            branches.append([])
        else:
            _take(branch, kind, text)
    if depth != 0:
        return None
    return tuple(_pattern(branch, regex) for branch in branches)


def _take(branch: list[str | Wildcard], kind: str | None, text: str) -> None:
    if kind == "char":
        branch.append(text)
    elif kind == "escape":
        branch.append(text[1])
    elif kind == "repeat":
        # What is repeated may be absent, or stand there more often.
        if branch:
            branch.pop()
        branch.append(Wildcard.ANY)
    elif kind == "sign" and text != ".":
        branch.append(_BEGIN if text == "^" else _END)
    else:
        branch.append(Wildcard.ANY)


def _pattern(branch: list[str | Wildcard], regex: RegexPattern) -> TextPattern:
    anchors = not regex.multiline
    starts = regex.whole or (anchors and branch[:1] == [_BEGIN])
    ends = regex.whole or (anchors and branch[-1:] == [_END])
    parts = [part for part in branch if part not in (_BEGIN, _END)]
    before = () if starts else (Wildcard.ANY,)
    after = () if ends else (Wildcard.ANY,)
    return TextPattern(_merged([*before, *parts, *after]))


def _merged(parts: list[str | Wildcard]) -> tuple[str | Wildcard, ...]:
    merged: list[str | Wildcard] = []
    for part in parts:
        if merged and not isinstance(part, Wildcard) and not isinstance(merged[-1], Wildcard):
            merged[-1] += part
        elif not (merged and part is Wildcard.ANY and merged[-1] is Wildcard.ANY):
            merged.append(part)
    return tuple(merged)
