"""What the user is told about a rule that loads: limits and notes of rule-semantics section 9."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from fleetscan.model.logic import literals
from fleetscan.model.rule import (
    Dialect,
    Field,
    Message,
    MessageLevel,
    TextPattern,
    Wildcard,
)
from fleetscan.model.truth import Truth
from fleetscan.rules.reach import best_verdict, highest, unknowns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fleetscan.model.rule import Rule

    Finder = Callable[[Rule], Iterator[tuple[str, MessageLevel, str]]]

_APPLICATION_HIVE = "\\REGISTRY\\A\\"
_AMCACHE = "\\ROOT\\INVENTORYAPPLICATIONFILE"
_WELL_KNOWN = (
    "CurrentControlSet",
    "CurrentVersion",
    "Explorer",
    "Microsoft",
    "Policies",
    "Services",
    "Software",
    "Windows NT",
    "Wow6432Node",
)
_MIN_MISSPELT = 7
_DWORD = re.compile(r"(?i)^(DWORD|QWORD) \((.*)\)$")
_DWORD_FORM = {"DWORD": re.compile(r"(?i)0x[0-9a-f]{8}"), "QWORD": re.compile(r"(?i)0x[0-9a-f]{8}-0x[0-9a-f]{8}")}


def with_remarks(rule: Rule) -> Rule:
    """The rule with its messages."""
    messages = list(rule.messages)
    for finder in _FINDERS:
        for code, level, text in finder(rule):
            message = Message(code, level, text, rule.where)
            if message not in messages:
                messages.append(message)
    return replace(rule, messages=tuple(messages))


def _texts(rule: Rule, *fields: Field) -> Iterator[TextPattern]:
    for leaf in literals(rule.condition):
        if leaf.match.field in fields and isinstance(leaf.match.test, TextPattern):
            yield leaf.match.test


def _application_hives(rule: Rule) -> Iterator[tuple[str, MessageLevel, str]]:
    for test in _texts(rule, Field.PATH, Field.KEY):
        folded = str(test).upper()
        if _APPLICATION_HIVE in folded or _AMCACHE in folded:
            text = "application hives are not visible to osquery; read them offline"
            yield "P102", MessageLevel.LIMIT, f"{test}: {text}"
            return


def _deletions(rule: Rule) -> Iterator[tuple[str, MessageLevel, str]]:
    if rule.needs_baseline:
        text = "needs two sweeps: deletions show only against a baseline that covers these keys"
        yield "P106", MessageLevel.LIMIT, text


def _best_case(rule: Rule) -> Iterator[tuple[str, MessageLevel, str]]:
    top = highest(rule)
    if top is Truth.FALSE:
        yield "P109", MessageLevel.LIMIT, f"{_impossible(rule)} cannot be observed on state"
    elif best_verdict(rule).startswith("possible") and rule.kind != "sequence":
        yield "P108", MessageLevel.LIMIT, f"can only give possible findings (needs {', '.join(unknowns(rule))})"


def _impossible(rule: Rule) -> str:
    kinds = [
        f"{leaf.match.name} {leaf.match.test}"
        for leaf in literals(rule.condition)
        if leaf.match.field is Field.EVENT_KIND and leaf.positive
    ]
    return ", ".join(dict.fromkeys(kinds)) or "what the rule asks for"


def _misspelt(rule: Rule) -> Iterator[tuple[str, MessageLevel, str]]:
    if rule.dialect is Dialect.SIGMA:
        for test in _texts(rule, Field.DATA):
            if hint := _number_hint(str(test)):
                yield "P201", MessageLevel.NOTE, f"{test} can never match: did you mean {hint}?"
    for test in _texts(rule, Field.PATH, Field.KEY):
        for element, known in _near_misses(test):
            yield "P201", MessageLevel.NOTE, f"{element} in {test}: did you mean {known}?"


def _number_hint(text: str) -> str:
    """``DWORD (0x00000001)`` for a form that Sysmon never writes, else nothing."""
    found = _DWORD.fullmatch(text)
    if found is None or set(text) & {"*", "?"}:
        return ""
    kind, inner = found[1].upper(), found[2]
    digits = re.fullmatch(r"(?i)(0x)?([0-9a-f]+)", inner)
    if _DWORD_FORM[kind].fullmatch(inner):
        return ""
    if digits is None or kind == "QWORD":
        return "DWORD (0x00000001)" if kind == "DWORD" else "QWORD (0x00000000-0x00000001)"
    return f"DWORD (0x{int(digits[2], 16) % 2**32:08x})"


def _near_misses(test: TextPattern) -> Iterator[tuple[str, str]]:
    """Whole elements one edit away from a name that nearly every pattern uses."""
    for position, part in enumerate(test.parts):
        if isinstance(part, Wildcard):
            continue
        elements = part.split("\\")
        open_start = position > 0
        open_end = position < len(test.parts) - 1
        for at, element in enumerate(elements):
            partial = (at == 0 and open_start) or (at == len(elements) - 1 and open_end)
            if partial or len(element) < _MIN_MISSPELT:
                continue
            if known := _meant(element.lower()):
                yield element, known


@lru_cache(maxsize=8192)
def _meant(element: str) -> str:
    """The well-known name that is one edit away from an element; empty if there is none."""
    return next((known for known in _WELL_KNOWN if _one_edit(element, known.lower())), "")


def _one_edit(text: str, other: str) -> bool:
    """Are they one insertion, deletion, change or swap of neighbours apart?"""
    if text == other or abs(len(text) - len(other)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    rest, other_rest = text[start:], other[start:]
    return (
        rest[1:] == other_rest[1:]
        or rest[1:] == other_rest
        or rest == other_rest[1:]
        or (rest[2:] == other_rest[2:] and rest[:2] == other_rest[:2][::-1])
    )


def _wildcards(rule: Rule) -> Iterator[tuple[str, MessageLevel, str]]:
    if rule.dialect is Dialect.EQL:
        return  # wildcards are everyday writing there
    for test in _texts(rule, Field.PATH, Field.DATA, Field.KEY):
        inner = test.parts[1:-1]
        if any(isinstance(part, Wildcard) for part in inner) or Wildcard.ONE in test.parts:
            yield "P202", MessageLevel.NOTE, f"{test}: * and ? inside a value are wildcards"
        for part in test.parts:
            if not isinstance(part, Wildcard) and re.search(r"\w[*?]$", part):
                text = f"{part}: the escaped * or ? is a literal character; for a backslash and a wildcard write \\\\*"
                yield "P202", MessageLevel.NOTE, text


def _deprecated(rule: Rule) -> Iterator[tuple[str, MessageLevel, str]]:
    if rule.status == "deprecated":
        yield "P203", MessageLevel.NOTE, "the rule is deprecated"


_FINDERS: tuple[Finder, ...] = (_application_hives, _deletions, _best_case, _misspelt, _wildcards, _deprecated)
