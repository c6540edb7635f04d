"""A path pattern cut into what can be searched for: literal runs of elements, and how they begin and end (C3 to C5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from fleetscan.model.registry import fold
from fleetscan.model.rule import Wildcard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetscan.model.rule import TextPattern

CONTROL_SET = "CurrentControlSet"
_CONTROL_SET = re.compile(r"\*?CURRENTCONTROLSET\*?|\*?CONTROLSET([0-9]{3}|\?{1,3}|\*)|\*CONTROLSET", re.IGNORECASE)

_LONG_ROOTS = {
    ("HKEY_LOCAL_MACHINE",): "HKLM",
    ("HKEY_USERS",): "HKU",
    ("HKEY_CLASSES_ROOT",): "HKCR",
    ("HKEY_CURRENT_CONFIG",): "HKCC",
    ("HKEY_CURRENT_USER",): "HKCU",
    ("", "REGISTRY", "MACHINE"): "HKLM",
    ("", "REGISTRY", "USER"): "HKU",
}
HIVES = frozenset({"HKLM", "HKU", "HKCR", "HKCC", "HKCU"})

_ANY = "\ue000"
_ONE = "\ue001"
_GAPS = re.compile(f"[{_ANY}{_ONE}]")


class Ending(Enum):
    """How a literal run ends."""

    PATTERN = "the pattern ends with it"
    CLOSED = "a backslash, then a gap"
    OPEN = "a gap inside its last element"


@dataclass(frozen=True, slots=True)
class Run:
    """A literal run of path elements.

    ``anchored``: it starts with a hive, at the beginning of the pattern. ``whole``: its first element is known to be a
    whole element. ``hive``: a floating run that must lie in this hive. ``assumed``: a control set was read as one
    element.
    """

    elements: tuple[str, ...]
    ending: Ending
    anchored: bool = False
    whole: bool = True
    hive: str | None = None
    assumed: bool = False


def runs_of(pattern: TextPattern) -> tuple[Run, ...]:
    """The literal runs of a pattern, first to last; each is a necessary condition, so any of them may be searched."""
    elements, assumed = _elements(pattern)
    floating = not elements or bool(_GAPS.match(elements[0]))
    runs = list(_cut(elements, assumed=assumed))
    if not runs:
        return ()
    if floating:
        return tuple(runs)
    return tuple(_rooted(runs))


def _rooted(runs: list[Run]) -> Iterator[Run]:
    """The first run starts the text; if it is a hive and no more, what follows floats inside that hive."""
    first, *rest = runs
    hive = fold(first.elements[0])
    if hive not in HIVES:
        # The text of a name starts with its hive, so this pattern can only match inside a name that has none.
        yield first
        yield from rest
        return
    yield Run(first.elements, first.ending, anchored=True, assumed=first.assumed)
    for run in rest:
        yield Run(run.elements, run.ending, whole=run.whole, hive=hive, assumed=run.assumed)


def _elements(pattern: TextPattern) -> tuple[list[str], bool]:
    signs = {Wildcard.ANY: _ANY, Wildcard.ONE: _ONE}
    text = "".join(signs[part] if isinstance(part, Wildcard) else part for part in pattern.parts)
    elements = text.split("\\")
    for root, short in _LONG_ROOTS.items():
        if tuple(map(fold, elements[: len(root)])) == root:
            elements[: len(root)] = [short]
    assumed = False
    for index, element in enumerate(elements):
        if _CONTROL_SET.fullmatch(element.replace(_ANY, "*").replace(_ONE, "?")):
            assumed = assumed or bool(_GAPS.search(element))
            # At its ends the pattern may go on: there a wildcard stays the gap that it is.
            before = _ANY if index == 0 and element.startswith(_ANY) else ""
            after = _ANY if index == len(elements) - 1 and element.endswith(_ANY) else ""
            elements[index] = before + CONTROL_SET + after
    return elements, assumed


def _cut(elements: list[str], *, assumed: bool) -> Iterator[Run]:
    """Cut the pattern at its gaps."""
    run: list[str] = []
    whole = True
    for index, element in enumerate(elements):
        pieces = _GAPS.split(element)
        run.append(pieces[0])
        for piece in pieces[1:]:
            yield from _finished(run, whole=whole, assumed=assumed, ending=_gap_ending(run))
            run, whole = [piece], False
        if len(pieces) > 1 and not pieces[-1] and index < len(elements) - 1:
            # ``*\element``: the next element is whole.
            run, whole = [], True
    yield from _finished(run, whole=whole, assumed=assumed, ending=Ending.PATTERN)


def _gap_ending(run: list[str]) -> Ending:
    return Ending.OPEN if run[-1] else Ending.CLOSED


def _finished(run: list[str], *, whole: bool, assumed: bool, ending: Ending) -> Iterator[Run]:
    elements = list(run)
    if ending is Ending.CLOSED:
        elements.pop()
    while elements and not elements[0]:
        # A backslash before the first element says that the element is whole.
        elements.pop(0)
        whole = True
    has_name = any(elements)
    if has_name:
        yield Run(tuple(_clean(elements)), ending, whole=whole, assumed=assumed)


def _clean(elements: Iterable[str]) -> Iterator[str]:
    """Doubled backslashes inside a pattern never match a name; keep a last empty element (the unnamed value)."""
    kept = list(elements)
    last = len(kept) - 1
    return (element for index, element in enumerate(kept) if element or index == last)
