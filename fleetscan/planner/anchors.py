r"""From a literal run to physical keys: every spelling it may be part of, mapped to the keys that osquery shows (N4).

A name has several spellings (``HKCR\x`` is ``HKLM\SOFTWARE\Classes\x``). Each pair of ALIASES says: a text that begins
with the first is the name of what stands below the second. A run that agrees with a spelling for as long as both last
is looked for at the physical place as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

from fleetscan.model.registry import HKLM, HKU, fold
from fleetscan.model.scope import SID, SID_CLASSES, Element, Glob
from fleetscan.planner.catalogue import WILD, agreement, catalogue
from fleetscan.planner.patterns import CONTROL_SET, Ending, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetscan.planner.catalogue import Anchor

Path = tuple[Element, ...]

_SOFTWARE = ("SOFTWARE",)
_WOW = "Wow6432Node"
_ANY_CONTROL_SET = Glob("ControlSet*")
_PROFILES = ("HKLM", "SYSTEM", CONTROL_SET, "Hardware Profiles")
_CLASSES_SUFFIX = "_CLASSES"

ALIASES: tuple[tuple[Path, Path], ...] = (
    (("HKCR",), ("HKLM", "SOFTWARE", "Classes")),
    (("HKCR",), ("HKU", SID_CLASSES)),
    (("HKCR",), ("HKU", SID, "Software", "Classes")),
    (("HKCR", _WOW), ("HKLM", "SOFTWARE", _WOW, "Classes")),
    (("HKLM", "SOFTWARE", "Classes", _WOW), ("HKLM", "SOFTWARE", _WOW, "Classes")),
    (("HKLM", "SOFTWARE", _WOW, "Classes"), ("HKLM", "SOFTWARE", "Classes", _WOW)),
    (("HKU", SID, "Software", "Classes"), ("HKU", SID_CLASSES)),
    (("HKU", SID_CLASSES), ("HKU", SID, "Software", "Classes")),
    (("HKCU",), ("HKU", SID)),
    (("HKCU", "Software", "Classes"), ("HKU", SID_CLASSES)),
    (("HKLM", "SYSTEM", _ANY_CONTROL_SET), ("HKLM", "SYSTEM", CONTROL_SET)),
    (("HKCC",), (*_PROFILES, "Current")),
    (("HKCC",), (*_PROFILES, "0001")),
    ((*_PROFILES, "Current"), (*_PROFILES, "0001")),
    ((*_PROFILES, "0001"), (*_PROFILES, "Current")),
)
"""Spelled prefix and physical prefix, where they differ."""

ROOTS: dict[str, tuple[Path, ...]] = {
    "HKLM": (("HKLM",),),
    "HKU\\<SID>": (("HKU", SID),),
    "{S}": (
        ("HKLM", "SOFTWARE"),
        ("HKLM", "SOFTWARE", _WOW),
        ("HKU", SID, "Software"),
        ("HKU", SID, "Software", _WOW),
    ),
    "{C}": (
        ("HKLM", "SOFTWARE", "Classes"),
        ("HKLM", "SOFTWARE", "Classes", _WOW),
        ("HKLM", "SOFTWARE", _WOW, "Classes"),
        ("HKU", SID_CLASSES),
        ("HKU", SID_CLASSES, _WOW),
        ("HKU", SID, "Software", "Classes"),
        ("HKU", SID, "Software", "Classes", _WOW),
        ("HKU", SID, "Software", _WOW, "Classes"),
    ),
    "{CCS}": (
        ("HKLM", "SYSTEM", CONTROL_SET),
        ("HKU", SID, "System", CONTROL_SET),
    ),
}
"""The physical places of the catalogue's bases (C9)."""

_LONG = {"HKLM": HKLM, "HKU": HKU}
_HIVE_ROOTS = (("HKLM",), ("HKU", SID))


@dataclass(frozen=True, slots=True)
class Place:
    """Physical keys: elements (first the root in long form), depth, and the assumption level (C8).

    ``listing``: the key is read only for the names in it that begin so, because of an open run.
    """

    elements: Path
    depth: int | None
    level: int
    listing: str = ""


@dataclass(frozen=True, slots=True)
class _Hit:
    """A run stands at a physical path: ``consumed`` says how much of the run the path's fixed part has used."""

    path: Path
    level: int
    inside: bool = False  # the run ended inside an alias: everything below the path belongs to it


class Aim(Enum):
    """What the text of a pattern is compared with, which decides whose rows are wanted."""

    NAME = "the full name of a value or key"
    SLASHED = "the same, where the name of a key may end in a backslash (N3)"
    KEY = "the key of a value, or its full name"


@lru_cache(maxsize=16384)
def places_of(run: Run, aim: Aim = Aim.NAME) -> frozenset[Place]:
    """Every physical place where a subject whose name contains the run can have its row; empty: not anchored."""
    hits = set(_absolute(run)) if run.anchored else _floating(run)
    return frozenset(
        twin
        for hit in hits
        for path, depth in _endings(hit, run, aim)
        if path
        for twin in _system_twin(
            Place(tuple(map(_canonical, path)), depth, hit.level, _listing(run) if depth == 0 else "")
        )
    )


def _listing(run: Run) -> str:
    return fold(run.elements[-1]) if run.ending is Ending.OPEN else ""


def value_places(name: str) -> frozenset[Place]:
    """The keys in which the catalogue knows a value of this name."""
    hits = (hit for anchor in catalogue().holders(fold(name)) for hit in _hits(anchor, Run((), Ending.PATTERN)))
    return frozenset(Place(tuple(map(_canonical, hit.path)), 0, hit.level) for hit in hits)


def _canonical(element: Element) -> Element:
    """The catalogue's spelling of a known element, so that all rules ask for one text."""
    return catalogue().spellings.get(fold(element), element) if isinstance(element, str) else element


def _endings(hit: _Hit, run: Run, aim: Aim) -> Iterator[tuple[Path, int | None]]:
    """What of the path is searched depends on how the run ends (C4)."""
    path = hit.path
    if hit.inside:
        yield path, None
        return
    unnamed = run.ending is Ending.PATTERN and path[-1] == ""
    if unnamed:
        path = path[:-1]
        yield path, 0
    elif run.ending is Ending.CLOSED:
        yield path, None
    elif run.ending is Ending.OPEN:
        yield (*path[:-1], Glob(f"{path[-1]}*")), None
    elif aim is Aim.KEY:
        yield path, 0
    if (run.ending in (Ending.PATTERN, Ending.OPEN) and not unnamed) or aim is not Aim.NAME:
        yield path[:-1], 0


def _system_twin(place: Place) -> Iterator[Place]:
    """``.DEFAULT`` and S-1-5-18 are one user hive: a place in one is a place in the other."""
    yield place
    if len(place.elements) > 1 and isinstance(place.elements[1], str) and place.elements[0] == HKU:
        name = fold(place.elements[1])
        bare = name.removesuffix(_CLASSES_SUFFIX)
        twin = {".DEFAULT": "S-1-5-18", "S-1-5-18": ".DEFAULT"}.get(bare)
        if twin:
            suffix = "_Classes" if bare != name else ""
            yield replace(place, elements=(HKU, twin + suffix, *place.elements[2:]))


def _absolute(run: Run) -> Iterator[_Hit]:
    """The run starts with a hive: its own place, and the place of every spelling that it agrees with."""
    elements = run.elements
    hive = fold(elements[0])
    if hive in _LONG:
        yield _Hit((_LONG[hive], *elements[1:]), 0)
    yield from _aliased(elements, run, 0, 0)


def _aliased(elements: Path, run: Run, start: int, level: int) -> Iterator[_Hit]:
    """Physical places of the aliases that agree with the elements, from the alias' element ``start`` on."""
    for spelled, physical in ALIASES:
        tail = spelled[start:]
        if not tail or not _agree(elements, tail, run.ending):
            continue
        if len(elements) <= len(tail):
            # Too short to reach below the alias, unless a gap follows.
            if run.ending is not Ending.PATTERN:
                yield _Hit(_long(_bound(physical, spelled, elements, start)), level, inside=True)
        else:
            yield _Hit((*_long(_bound(physical, spelled, elements, start)), *elements[len(tail) :]), level)


def _agree(elements: Path, spelled: Path, ending: Ending) -> bool:
    last = len(elements) - 1
    return all(
        _element_agrees(element, known, is_open=index == last and ending is Ending.OPEN)
        for index, (element, known) in enumerate(zip(elements, spelled, strict=False))
    )


def _element_agrees(element: Element, known: Element, *, is_open: bool) -> bool:
    if isinstance(element, Glob):
        return isinstance(known, Glob) and element == known
    name = fold(element)
    if known == _ANY_CONTROL_SET:
        # A whole element has been read as the current control set already; here only a part of it can stand.
        return is_open and (name.startswith("CONTROLSET") or "CONTROLSET".startswith(name))
    if isinstance(known, Glob):
        if is_open:
            return True
        is_class = name.endswith(_CLASSES_SUFFIX)
        return name.startswith(("S-1-", ".DEFAULT")) and is_class == (known == SID_CLASSES)
    return fold(known).startswith(name) if is_open else fold(known) == name


def _bound(physical: Path, spelled: Path, elements: Path, start: int) -> Path:
    """The physical prefix, with a literal SID of the run in place of the wildcard."""
    position = next((index for index, known in enumerate(spelled) if isinstance(known, Glob)), None)
    if position is None or not start <= position < start + len(elements):
        return physical
    sid = elements[position - start]
    if isinstance(sid, Glob) or not fold(sid).startswith(("S-1-", ".DEFAULT")):
        return physical
    bare = sid[: -len(_CLASSES_SUFFIX)] if fold(sid).endswith(_CLASSES_SUFFIX) else sid
    literal: dict[Element, Element] = {SID: bare, SID_CLASSES: f"{bare}_Classes"}
    return tuple(literal.get(known, known) for known in physical)


def _long(path: Path) -> Path:
    hive = path[0]
    return (_LONG[hive], *path[1:]) if isinstance(hive, str) and hive in _LONG else path


def _floating(run: Run) -> set[_Hit]:
    """The run may stand anywhere: at the roots of hives that its elements name, or where the catalogue knows them."""
    named = list(_at_roots(run))
    strong = {hit for hit, literals, at_hive in named if literals > 1 or at_hive}
    anchors = catalogue().anchors(tuple(map(fold, run.elements)), run.ending)
    known = {hit for anchor in anchors if anchor.literals > 1 for hit in _hits(anchor, run)}
    if strong or known:
        found = strong | known
    else:
        found = {hit for hit, _, _ in named} | {hit for anchor in anchors for hit in _hits(anchor, run)}
    return {_Hit(hit.path, hit.level if run.whole else max(hit.level, 1), hit.inside) for hit in _in_hive(found, run)}


def _in_hive(hits: set[_Hit], run: Run) -> Iterator[_Hit]:
    r"""A run behind ``HKU\*`` stands in that hive; class names stand in the class hives."""
    if run.hive is None:
        yield from hits
        return
    own: dict[str, tuple[Path, ...]] = {"HKLM": ((HKLM,),), "HKU": ((HKU,),), "HKCU": ((HKU,),)}
    aliases = [physical for spelled, physical in ALIASES if spelled == (run.hive,)]
    roots = own.get(run.hive) or tuple(map(_long, aliases))
    for hit in hits:
        if any(hit.path[: len(root)] == root for root in roots):
            yield hit


def _hits(anchor: Anchor, run: Run) -> Iterator[_Hit]:
    between: Path = tuple(Glob(WILD) if element == WILD else element for element in anchor.path)
    at_hive = not anchor.path and anchor.base == "HKLM"
    certain = 0 if anchor.literals > 1 or at_hive else 1
    level = 2 if anchor.below_wildcard else certain
    for root in ROOTS[anchor.base]:
        yield _Hit((*_long(root), *between, *run.elements), level)
        if anchor.base == "HKLM":
            yield from _aliased((*root, *between, *run.elements), run, 0, level)


def _at_roots(run: Run) -> Iterator[tuple[_Hit, int, bool]]:
    r"""The run starts inside the fixed part of a base (``\Software\...``): hit, literals, at a hive's root."""
    if not run.whole and len(run.elements) > 1 and fold(run.elements[0]).endswith(_CLASSES_SUFFIX):
        # The end of a class hive's name: ``*_Classes\\...``.
        hive: Path = ("HKU", SID_CLASSES, *run.elements[1:])
        for hit in (_Hit(_long(hive), 0), *_aliased(hive, run, 0, 0)):
            yield hit, 2, True
        return
    for base, roots in ROOTS.items():
        for root in roots:
            for start in range(len(root)):
                literals = _root_literals(run, root[start:], base)
                if literals:
                    at_hive = start <= 1 or root[:start] in _HIVE_ROOTS
                    level = 0 if literals > 1 or at_hive else 1
                    prefix = _long(root[:start]) if start else ()
                    yield _Hit(_long((*prefix, *run.elements)), level), literals, at_hive
                    for hit in _aliased((*root[:start], *run.elements), run, 0, level):
                        yield hit, literals, at_hive


def _root_literals(run: Run, tail: Path, base: str) -> int:
    """In how many literals does the run agree with a base's fixed part and what is known below it? 0: it does not."""
    elements: Path = run.elements
    if not isinstance(tail[0], str) or not _agree(elements, tail, run.ending):
        return 0
    pairs = zip(elements, tail, strict=False)
    equal = sum(isinstance(known, str) and fold(known) == fold(str(element)) for element, known in pairs)
    if not equal:
        return 0
    rest = tuple(fold(str(element)) for element in elements[len(tail) :])
    return agreement(catalogue().roots[base], rest, run.ending, equal) or equal


def whole_hives() -> frozenset[Place]:
    """Everything."""
    return frozenset({Place((HKLM,), None, 3), Place((HKU,), None, 3)})


def hive_of(names: Iterable[str]) -> frozenset[Place]:
    """The whole hives of these names."""
    return frozenset(Place((_LONG[name],), None, 3) for name in names)
