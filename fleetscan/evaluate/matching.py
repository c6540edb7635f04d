"""One Match on one subject: TRUE, FALSE or UNKNOWN, and by which text (rule-semantics sections 3, 4, 5, K1)."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fleetscan.evaluate.data import data_length, expand, number_of
from fleetscan.model.registry import fold
from fleetscan.model.rule import (
    Circumstance,
    Field,
    IsNull,
    LengthCompare,
    Match,
    NumberCompare,
    NumberEquals,
    RegexPattern,
    Subject,
    TextPattern,
    Wildcard,
)
from fleetscan.model.truth import Truth
from fleetscan.rules.fields import NAME_FIELDS, event_truth
from fleetscan.rules.patterns import compile_regex
from fleetscan.rules.reach import is_guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fleetscan.evaluate.subject import View

_COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}
_VARIABLE = re.compile(r"%[^%]+%")
_TYPE_NAMES = {"REG_DWORD": ("REG_DWORD", "SZ_DWORD"), "REG_QWORD": ("REG_QWORD", "SZ_QWORD")}
_INTERCHANGEABLE = {"REG_SZ": "REG_EXPAND_SZ", "REG_EXPAND_SZ": "REG_SZ"}
_DECIMAL = re.compile(r"-?\d{1,20}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Truth of one Match: ``text`` that matched, ``how`` it needed help (D6) or why it is unknown."""

    truth: Truth
    text: str = ""
    how: str = ""


TRUE = Outcome(Truth.TRUE)
FALSE = Outcome(Truth.FALSE)


def outcome(match: Match, view: View) -> Outcome:  # noqa: PLR0911 - one per field
    """The truth of a Match on a subject."""
    match match.field:
        case Field.UNOBSERVABLE:
            return FALSE if is_guard(match) else Outcome(Truth.UNKNOWN, how=f"{match.name} is not visible in state")
        case Field.EVENT_KIND:
            return Outcome(event_truth(match, view.kind, added=view.added), how=f"the subject is a {view.kind}")
        case Field.DATA_TYPE:
            return _data_type(match, view)
        case Field.DATA_LENGTH:
            return _length(match, view)
        case Field.NEW_NAME:
            return _new_name(match, view)
        case Field.DATA:
            return _data(match, view)
        case Field.PATH | Field.VALUE_NAME | Field.KEY | Field.HIVE:
            return _name(match, view)


def _name(match: Match, view: View) -> Outcome:
    texts = view.texts(match)
    if isinstance(match.test, IsNull):
        return Outcome(Truth.of(texts is None))
    if texts is None:
        return FALSE
    if isinstance(match.test, LengthCompare):
        fits = _COMPARE[match.test.operator]
        return _first(texts, [i for i, text in enumerate(texts) if fits(len(text), match.test.value)])
    return _found(match, texts, view)


def _found(match: Match, texts: tuple[str, ...], view: View) -> Outcome:
    """The first text that a pattern matches; names are compared without case by every operator (T1)."""
    test = match.test
    if isinstance(test, TextPattern):
        matcher = text_matcher(test, match.field)
        candidates = texts if matcher.cased else _folded(match, texts, view)
        hit = matcher.first(candidates)
        return FALSE if hit is None else Outcome(Truth.TRUE, texts[hit])
    if isinstance(test, RegexPattern):
        regex = compile_regex(test, ignore_case=test.ignore_case or match.field in NAME_FIELDS)
        return _first(texts, [i for i, text in enumerate(texts) if _search(regex, text)])
    return FALSE


def _first(texts: tuple[str, ...], hits: list[int]) -> Outcome:
    return Outcome(Truth.TRUE, texts[hits[0]]) if hits else FALSE


def _folded(match: Match, texts: tuple[str, ...], view: View) -> tuple[str, ...]:
    name = match.name if match.field is Field.DATA else match.field
    cache = view.folded
    folded = cache.get(name)
    if folded is None:
        folded = cache[name] = tuple(map(fold, texts))
    return folded


def _new_name(match: Match, view: View) -> Outcome:
    """The object is there, but whether it was renamed is not visible (E4)."""
    if isinstance(match.test, IsNull):
        return Outcome(Truth.UNKNOWN, how="a rename is not visible in state")
    if view.kind not in {Subject.VALUE, Subject.KEY} or _found(match, view.paths, view) is FALSE:
        return FALSE
    return Outcome(Truth.UNKNOWN, how="a rename is not visible in state")


def _data_type(match: Match, view: View) -> Outcome:
    if view.kind is not Subject.VALUE:
        return Outcome(Truth.of(isinstance(match.test, IsNull)))
    own = _TYPE_NAMES.get(view.row.type, (view.row.type,))
    if (found := _found(match, own, view)) is not FALSE:
        return found
    other = _INTERCHANGEABLE.get(view.row.type)
    # Folded texts are cached by field: the other type must not meet the cache of the own one.
    if other and _matches_type(match, other):
        return Outcome(Truth.UNKNOWN, how=f"osquery may show {other} as {view.row.type}")
    return FALSE


def _matches_type(match: Match, text: str) -> bool:
    if isinstance(match.test, TextPattern):
        return text_matcher(replace(match.test, cased=False), Field.DATA_TYPE).matches(text)
    return isinstance(match.test, RegexPattern) and _search(compile_regex(match.test, ignore_case=True), text)


def _length(match: Match, view: View) -> Outcome:
    length = data_length(view.row) if view.kind is Subject.VALUE else None
    if length is None or not isinstance(match.test, NumberCompare):
        return FALSE
    return Outcome(Truth.of(_COMPARE[match.test.operator](length, match.test.value)), f"{length} characters")


def _data(match: Match, view: View) -> Outcome:
    texts = view.texts(match)
    match match.test:
        case IsNull():
            return Outcome(Truth.of(texts is None))
        case _ if texts is None:
            return FALSE
        case NumberEquals(value=value):
            return _number_equals(value, texts, view)
        case NumberCompare(operator=sign, value=value):
            return _number_compare(sign, value, view)
        case TextPattern() | RegexPattern():
            return _text_data(match, texts, view)
        case LengthCompare() | Circumstance():
            return FALSE


def _number_equals(value: int, texts: tuple[str, ...], view: View) -> Outcome:
    if str(value) in texts:
        return Outcome(Truth.TRUE, str(value))
    number = number_of(view.row)
    return Outcome(Truth.of(number is not None and (value == number or str(value) == view.row.data)), view.row.data)


def _number_compare(sign: str, value: int, view: View) -> Outcome:
    number = number_of(view.row)
    if number is None and _DECIMAL.fullmatch(view.row.data):
        number = int(view.row.data)
    return Outcome(Truth.of(number is not None and _COMPARE[sign](number, value)), view.row.data)


def _text_data(match: Match, texts: tuple[str, ...], view: View) -> Outcome:
    """Plain, then with ``%%`` as ``%`` (D4), then with the environment in the pattern and in the data (D5)."""
    found = _found(match, texts, view)
    if found is not FALSE:
        return found
    for help_text, other in _variants(match, view):
        if (found := _found(other, texts, view)) is not FALSE:
            return replace(found, how=help_text)
    if view.expanded:
        expanded = f"equal after expansion of {_variables(view.row.data)}"
        for how, other in (("", match), *_variants(match, view)):
            if _any(other, view.expanded):
                return Outcome(Truth.TRUE, view.expanded[0], f"{expanded}, {how}" if how else expanded)
    return FALSE


def _variants(match: Match, view: View) -> Iterable[tuple[str, Match]]:
    """The pattern as D4 and D5(a) let it be tried, with the words that say so."""
    if not _has_percent(match.test):
        return ()
    environment = view.environment if view.expandable and isinstance(match.test, TextPattern) else None
    return variants_of(match, tuple(sorted(environment.items())) if environment is not None else None)


def _has_percent(test: object) -> bool:
    if isinstance(test, TextPattern):
        return any("%" in str(part) for part in test.parts)
    return isinstance(test, RegexPattern) and "%%" in test.source


@lru_cache(maxsize=4096)
def variants_of(match: Match, environment: tuple[tuple[str, str], ...] | None) -> tuple[tuple[str, Match], ...]:
    """A Match as D4 and, with an environment, D5(a) let it be tried besides, with the words that say so."""
    if isinstance(match.test, RegexPattern):
        single = replace(match.test, source=match.test.source.replace("%%", "%"))
        return (("with %% read as %", replace(match, test=single)),)
    variants: list[tuple[str, Match]] = []
    tried = [match]
    single_percent = _mapped(match, lambda text: text.replace("%%", "%"))
    if single_percent != match:
        tried.append(single_percent)
        variants.append(("with %% read as %", single_percent))
    for candidate in tried if environment is not None else ():
        expanded = _mapped(candidate, lambda text: expand(text, dict(environment or ())))
        if expanded != candidate:
            variants.append((f"equal after expansion of {_variables(str(candidate.test))}", expanded))
    return tuple(variants)


def _mapped(match: Match, change: Callable[[str], str]) -> Match:
    test = match.test
    if not isinstance(test, TextPattern):
        return match
    parts = tuple(part if isinstance(part, Wildcard) else change(part) for part in test.parts)
    return replace(match, test=replace(test, parts=parts))


def _variables(text: str) -> str:
    return ", ".join(dict.fromkeys(_VARIABLE.findall(text.replace("%%", "%"))))


def _any(match: Match, texts: tuple[str, ...]) -> bool:
    if isinstance(match.test, TextPattern):
        return any(map(text_matcher(match.test, match.field).matches, texts))
    if isinstance(match.test, RegexPattern):
        regex = compile_regex(match.test, ignore_case=match.test.ignore_case)
        return any(_search(regex, text) for text in texts)
    return False


def _search(regex: Any, text: str) -> bool:  # noqa: ANN401 - re2 has no types
    try:
        return regex.search(text) is not None
    except UnicodeEncodeError:
        # A lone surrogate, as a registry name may hold; re2 works on UTF-8, which has none.
        return regex.search(text.encode("utf-8", "replace").decode("utf-8")) is not None


class TextMatcher:
    """A compiled TextPattern. ``cased``: texts are compared as they are; else both sides must be folded."""

    def __init__(self, test: TextPattern, *, cased: bool) -> None:
        """``cased`` False folds the pattern once, here."""
        self.cased = cased
        parts = tuple(part if isinstance(part, Wildcard) or cased else fold(part) for part in test.parts)
        self._holds = _predicate(parts)

    def matches(self, text: str) -> bool:
        """Does it match a text that is not folded yet?"""
        return self._holds(text if self.cased else fold(text))

    @property
    def matches_folded(self) -> Callable[[str], bool]:
        """The test for texts that are folded already (as they are, if it is cased)."""
        return self._holds

    def first(self, texts: tuple[str, ...]) -> int | None:
        """The index of the first text it matches; texts are folded unless it is cased."""
        holds = self._holds
        for index, text in enumerate(texts):
            if holds(text):
                return index
        return None


@lru_cache(maxsize=1 << 16)
def text_matcher(test: TextPattern, field: Field) -> TextMatcher:
    """The matcher of a pattern on a field."""
    return TextMatcher(test, cased=test.cased and field not in NAME_FIELDS)


def _predicate(parts: tuple[str | Wildcard, ...]) -> Callable[[str], bool]:  # noqa: PLR0911 - one per shape
    """The cheapest test for the shape of a pattern; nearly all are one of the first four."""
    match parts:
        case ():
            return lambda text: not text
        case (Wildcard.ANY,):
            return lambda _text: True
        case (str(literal),):
            return lambda text: text == literal
        case (Wildcard.ANY, str(literal), Wildcard.ANY):
            return lambda text: literal in text
        case (Wildcard.ANY, str(literal)):
            return lambda text: text.endswith(literal)
        case (str(literal), Wildcard.ANY):
            return lambda text: text.startswith(literal)
        case _ if Wildcard.ONE not in parts:
            return _runs_in_order(parts)
        case _:
            return _by_regex(parts)


def _runs_in_order(parts: tuple[str | Wildcard, ...]) -> Callable[[str], bool]:
    """Literal runs with ``*`` between them: leftmost places suffice, so time is linear."""
    head = "" if isinstance(parts[0], Wildcard) else parts[0]
    tail = "" if isinstance(parts[-1], Wildcard) else parts[-1]
    middle = [part for part in parts[bool(head) : len(parts) - bool(tail)] if not isinstance(part, Wildcard)]

    def holds(text: str) -> bool:
        if not text.startswith(head) or not text.endswith(tail):
            return False
        at, end = len(head), len(text) - len(tail)
        for run in middle:
            at = text.find(run, at, end)
            if at < 0:
                return False
            at += len(run)
        return at <= end

    return holds


def _by_regex(parts: tuple[str | Wildcard, ...]) -> Callable[[str], bool]:
    forms = {Wildcard.ANY: ".*", Wildcard.ONE: "."}
    source = "".join(forms[part] if isinstance(part, Wildcard) else _escaped(part) for part in parts)
    regex = compile_regex(RegexPattern(source, dot_all=True, whole=True), ignore_case=False)
    return lambda text: _search(regex, text)


def _escaped(text: str) -> str:
    """Literal for re2, which refuses some escapes of ``re.escape``; lone surrogates match none."""
    plain = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(
        char if char.isalnum() or char == "_" or not char.isascii() else f"\\x{ord(char):02x}" for char in plain
    )
