r"""The shape of a name: what rules can see of it, so that a name per user, class or device needs no look of its own.

A pattern on names is made of literal *runs*. Text that no run can touch is as good as any other: it is replaced by one
sign. ``Users\S-1-5-21-7\Run`` and ``Users\S-1-5-21-8\Run`` then have one shape, and every rule says the same of both.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from fleetscan.evaluate.names import SHORT_ROOTS
from fleetscan.model.registry import DEFAULT_VALUE, fold
from fleetscan.model.rule import Dialect, Field, IsNull, TextPattern, Wildcard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fleetscan.model.rule import Match

Shape = TypeVar("Shape", str, str | None)

_CLASSES = "_CLASSES"
_CONTROL_SET = "CONTROLSET"
_SPECIAL = ("SYSTEM", "SOFTWARE", "CLASSES", "WOW6432NODE", "HARDWARE PROFILES", "CURRENT", "CURRENTCONTROLSET", "0001")
_USERS = (".DEFAULT", "S-1-5-18")
_FULL_NAMES = frozenset({Field.PATH, Field.NEW_NAME, Field.KEY})
_NAMES = _FULL_NAMES | {Field.VALUE_NAME, Field.HIVE}
_REMEMBERED = 1 << 17


def seen_in_shape(match: Match, dialect: Dialect) -> bool:
    """Is a Match decided by the shape of the name and the kind of the subject?

    A ``?`` counts the signs that a shape leaves out, a regular expression may do anything.
    """
    if match.field is Field.EVENT_KIND:
        return True
    if match.field is Field.DATA and isinstance(match.test, IsNull):
        # Sysmon shows data for every value; Elastic for some types only.
        return dialect is Dialect.SIGMA and match.name != "NewValue"
    if match.field not in _NAMES:
        return False
    test = match.test
    return isinstance(test, IsNull) or (isinstance(test, TextPattern) and Wildcard.ONE not in test.parts)


class Shapes:
    """Shapes of keys and of last elements, for the runs of a set of rules."""

    def __init__(self, matches: Iterable[Match]) -> None:
        """``matches``: every Match of the rules."""
        # The words by which one place has several names (N4) are seen as well: spellings of a shape are shapes.
        whole, heads, tails, inner = {*_SPECIAL, *_USERS}, {_CLASSES}, set[str](), set[str]()
        own: set[str] = set()
        for match in matches:
            for run in _runs(match):
                if match.field is Field.VALUE_NAME:
                    own.add(run)
                    continue
                head, *middle = run.split("\\")
                if not middle:
                    inner.add(run)
                    continue
                heads.add(head)
                tails.add(middle.pop())
                whole.update(middle)
        every = "".join((*whole, *heads, *tails, *inner, *own))
        self._sign = next(sign for sign in map(chr, range(1, 0x110000)) if sign not in every)
        cover = partial(_cover, frozenset(whole), _by_sign(heads, -1), _by_sign(tails, 0))
        self._cover_element = partial(cover, tuple(inner))
        self._cover_name = partial(cover, tuple(inner | own))
        self._elements: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._names: dict[str, str | None] = {}

    def key(self, key: str) -> str:
        """The shape of a key: itself a key, in folded case."""
        shape = self._keys.get(key)
        if shape is None:
            root, *rest = [element for element in fold(key).split("\\") if element] or [""]
            shape = "\\".join((SHORT_ROOTS.get(root, root), *map(self._element, rest)))
            shape = _remember(self._keys, key, shape)
        return shape

    def name(self, name: str) -> str | None:
        """The shape of a last element; None where it holds a backslash, and so ends in elements of its own."""
        if name in self._names:
            return self._names[name]
        shape = None
        if "\\" not in name:
            shape = name if name in {"", DEFAULT_VALUE} else self._shape(fold(name), self._cover_name)
        return _remember(self._names, name, shape)

    def _element(self, element: str) -> str:
        shape = self._elements.get(element)
        if shape is None:
            shape = _remember(self._elements, element, self._shape(element, self._cover_element))
        return shape

    def _shape(self, text: str, cover: Callable[[str], bytearray]) -> str:
        if text.startswith(_CONTROL_SET):
            return text
        stem = text.removesuffix(_CLASSES)
        if stem.endswith(_CLASSES):
            return text
        # A user and the user's class hive spell each other's names.
        seen = [one or other for one, other in zip(cover(stem), cover(stem + _CLASSES), strict=False)]
        return "".join(self._kept(stem, seen)) + text[len(stem) :]

    def _kept(self, text: str, seen: list[int]) -> Iterator[str]:
        before = 1
        for char, kept in zip(text, seen, strict=True):
            if kept:
                yield char
            elif before:
                yield self._sign
            before = kept


def _remember(memory: dict[str, Shape], text: str, shape: Shape) -> Shape:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[text] = shape
    return shape


def _runs(match: Match) -> Iterator[str]:
    if match.field in _NAMES and isinstance(match.test, TextPattern):
        yield from (fold(part) for part in match.test.parts if not isinstance(part, Wildcard) and part)


def _by_sign(texts: Iterable[str], at: int) -> Mapping[str, tuple[str, ...]]:
    """Texts by their first or last sign, the longest first."""
    found: dict[str, list[str]] = defaultdict(list)
    for text in sorted(filter(None, texts), key=len, reverse=True):
        found[text[at]].append(text)
    return {sign: tuple(group) for sign, group in found.items()}


def _cover(
    whole: frozenset[str],
    heads: Mapping[str, tuple[str, ...]],
    tails: Mapping[str, tuple[str, ...]],
    inner: tuple[str, ...],
    text: str,
) -> bytearray:
    """Which signs of an element some run can touch.

    A run with backslashes touches an element as a whole, begins (its head) in the end of it, or ends (its tail) in the
    beginning of it; a run without one stands anywhere in it.
    """
    if not text or text in whole:
        return bytearray(b"\1" * len(text))
    cover = bytearray(len(text))
    for head in heads.get(text[-1], ()):
        if text.endswith(head):
            cover[-len(head) :] = b"\1" * len(head)
            break
    for tail in tails.get(text[0], ()):
        if text.startswith(tail):
            cover[: len(tail)] = b"\1" * len(tail)
            break
    for run in inner:
        if run in text:
            _mark(cover, run, text)
    return cover


def _mark(cover: bytearray, run: str, text: str) -> None:
    at = text.find(run)
    while at >= 0:
        cover[at : at + len(run)] = b"\1" * len(run)
        at = text.find(run, at + 1)
