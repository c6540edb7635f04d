r"""Text from hosts made harmless for terminals, spreadsheets and pages, in a way that can be undone.

One notation everywhere: a character that could act on its reader instead of being read is written ``<U+001B>``. A
literal ``<U+`` in the text becomes ``<U+003C>U+``, so that ``restore`` always gives the original back. Registry text is
full of backslashes, which rules out backslash escapes: ``C:\new`` would be ambiguous or doubled.
"""

from __future__ import annotations

import re
import unicodedata

_ACTIVE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
"""Control, format (bidi, zero width, tags), surrogate, line and paragraph separator, blanks other than the space."""

_NOT_PLAIN = re.compile(r"[^\x20-\x7e]|<(?=U\+)")
_ESCAPED = re.compile(r"<U\+([0-9A-F]{4,6})>")

FORMULA_STARTS = "=+-@|%\uff1d\uff0b\uff0d\uff20"
"""What a spreadsheet takes as the start of a formula, with the full-width twins that it normalises."""

_FORMULA = re.compile(rf"\s*[{re.escape(FORMULA_STARTS)}]|'")
_CELL_BREAK = re.compile(rf";(?=\s*[{re.escape(FORMULA_STARTS)}])")


def _escape_one(match: re.Match[str]) -> str:
    char = match[0]
    if char == "<" or unicodedata.category(char) in _ACTIVE_CATEGORIES:
        return f"<U+{ord(char):04X}>"
    return char


def visible(text: str) -> str:
    """The text on one line, without any character that acts on a terminal or reorders what is read."""
    return _NOT_PLAIN.sub(_escape_one, text)


def restore(text: str) -> str:
    """The inverse of ``visible``."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def cell(text: str) -> str:
    """``visible`` text that no spreadsheet runs: a leading apostrophe makes a formula text.

    A text that starts with an apostrophe gets another one, so that ``read_cell`` takes away exactly what was added. A
    semicolon before a formula start is escaped, because spreadsheets of many countries split cells there.
    """
    shown = _CELL_BREAK.sub("<U+003B>", visible(text))
    return f"'{shown}" if _FORMULA.match(shown) else shown


def read_cell(text: str) -> str:
    """The inverse of ``cell``: what a parser of our CSV does to get the original text back."""
    return restore(text.removeprefix("'"))
