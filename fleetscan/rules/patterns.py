"""Texts of rules as patterns: wildcards, hive roots in short form (rule-semantics T3, N6), regular expressions."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fleetscan.errors import RuleError
from fleetscan.model.rule import Dialect, RegexPattern, TextPattern, Wildcard

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROOTS = (
    ("HKEY_LOCAL_MACHINE\\", "HKLM\\"),
    ("HKEY_USERS\\", "HKU\\"),
    ("HKEY_CLASSES_ROOT\\", "HKCR\\"),
    ("HKEY_CURRENT_USER\\", "HKCU\\"),
    ("HKEY_CURRENT_CONFIG\\", "HKCC\\"),
    ("\\REGISTRY\\MACHINE\\", "HKLM\\"),
    ("\\REGISTRY\\USER\\", "HKU\\"),
)
_EQL_ROOTS = (*_ROOTS, ("MACHINE\\", "HKLM\\"), ("USER\\", "HKU\\"))
_HKCU = "HKCU\\"

REGEX_MEMORY = 8 << 20
"""Bytes re2 may use for one expression; it refuses what would need more, instead of running long."""


def pattern(parts: Iterable[str | Wildcard], *, cased: bool = False) -> TextPattern:
    """A pattern with neighbouring texts joined, empty texts and repeated ``*`` dropped."""
    joined: list[str | Wildcard] = []
    for part in parts:
        if part == "" or (part is Wildcard.ANY and joined and joined[-1] is Wildcard.ANY):
            continue
        if joined and not isinstance(part, Wildcard) and not isinstance(joined[-1], Wildcard):
            joined[-1] = f"{joined[-1]}{part}"
        else:
            joined.append(part)
    return TextPattern(tuple(joined), cased)


def wildcards(text: str, *, cased: bool = False) -> TextPattern:
    """A pattern from text in which ``*`` and ``?`` cannot be escaped (EQL, T5)."""
    return pattern((_wildcard(piece) for piece in re.split(r"([*?])", text)), cased=cased)


def _wildcard(piece: str) -> str | Wildcard:
    return Wildcard(piece) if piece in {"*", "?"} else piece


def short_root(test: TextPattern, dialect: Dialect) -> TextPattern:
    """The pattern with a hive root at its start in the short form (N6)."""
    if not test.parts or isinstance(test.parts[0], Wildcard):
        return test
    head, rest = test.parts[0], test.parts[1:]
    upper = head.upper()
    for root, short in _EQL_ROOTS if dialect is Dialect.EQL else _ROOTS:
        if upper.startswith(root):
            head = short + head[len(root) :]
            break
    if dialect is Dialect.EQL and head.upper() == _HKCU and _is_star_element(rest):
        head = "HKU\\"  # HKCU\*\: the star stands for the SID, which only HKU has
    return replace(test, parts=(head, *rest))


def _is_star_element(rest: tuple[str | Wildcard, ...]) -> bool:
    match rest:
        case (Wildcard.ANY, str(after), *_):
            return after.startswith("\\")
        case _:
            return False


def compile_regex(regex: RegexPattern, *, ignore_case: bool) -> Any:  # noqa: ANN401 - re2 has no types
    """The compiled expression of an engine without backtracking; RuleError where it does not compile (T8)."""
    return _compile(regex, ignore_case)


@lru_cache(maxsize=4096)
def _compile(regex: RegexPattern, ignore_case: bool) -> Any:  # noqa: ANN401, FBT001 - re2 has no types
    import re2  # noqa: PLC0415 - most rules have no regular expression

    options = re2.Options()
    options.log_errors = False
    options.max_mem = REGEX_MEMORY
    flags = "".join(letter for letter, on in (("i", ignore_case), ("m", regex.multiline), ("s", regex.dot_all)) if on)
    source = f"^(?:{regex.source})$" if regex.whole else regex.source
    try:
        return re2.compile(f"(?{flags}:{source})" if flags else source, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise RuleError(
            f"regular expression {regex.source[:80]!r}: {reason}",
            hint="fleetscan has no look-around and no back-references: they cannot be bounded in time",
            code="P107",
        ) from error
