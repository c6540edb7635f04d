r"""All spellings of a registry name, and the one canonical form of a place (rule-semantics N1 to N4, N8).

Windows shows one object under several names (``HKLM\SOFTWARE\Classes\X`` is ``HKCR\X``), and every sensor has its own
favourite. A pattern that matches any of them means the object.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from fleetscan.model.registry import DEFAULT_VALUE, fold
from fleetscan.model.rule import Dialect, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetscan.model.registry import RegistryRow

Elements = tuple[str, ...]

SHORT_ROOTS = {
    "HKEY_LOCAL_MACHINE": "HKLM",
    "HKEY_USERS": "HKU",
    "HKEY_CLASSES_ROOT": "HKCR",
    "HKEY_CURRENT_CONFIG": "HKCC",
    "HKEY_CURRENT_USER": "HKCU",
}
DEFAULT_CONTROL_SET = 1
"""Assumed where ``HKLM\\SYSTEM\\Select`` was not read."""

_CONTROL_SET = re.compile(r"CONTROLSET(\d{3})")
_CCS: Elements = ("HKLM", "SYSTEM", "CurrentControlSet")
_PROFILES = (*_CCS, "Hardware Profiles")
_CLASSES = "_CLASSES"
_DEFAULT_USERS = {".DEFAULT": "S-1-5-18", "S-1-5-18": ".DEFAULT"}


def elements_of(key: str) -> Elements:
    """The elements of a key, the root in its short form."""
    elements = [element for element in key.split("\\") if element]
    if elements:
        elements[0] = SHORT_ROOTS.get(fold(elements[0]), elements[0])
    return tuple(elements)


def closure(elements: Elements, current: int | None = None) -> tuple[Elements, ...]:
    """The smallest set of spellings that holds ``elements`` and is closed under N4; the given one first."""
    found = {tuple(map(fold, elements)): elements}
    pending = [elements]
    while pending:
        spelling = pending.pop()
        others = _others(spelling, tuple(map(fold, spelling)), current or DEFAULT_CONTROL_SET)
        pending.extend(other for other in others if found.setdefault(tuple(map(fold, other)), other) is other)
    return tuple(found.values())


def _others(name: Elements, folded: Elements, current: int) -> Iterator[Elements]:
    """The spellings one line of the table of N4 away."""
    if folded[:1] == ("HKLM",):
        if folded[1:2] == ("SYSTEM",):
            yield from _control_sets(name, folded, current)
        elif folded[1:2] == ("SOFTWARE",):
            yield from _machine_classes(name, folded)
    elif folded[:1] == ("HKU",) and len(name) > 1:
        yield from _user(name, folded)
    elif folded[:1] == ("HKCC",):
        yield (*_PROFILES, "Current", *name[1:])


def _control_sets(name: Elements, folded: Elements, current: int) -> Iterator[Elements]:
    third = folded[2] if len(folded) > 2 else ""  # noqa: PLR2004 - HKLM, SYSTEM, the set
    if third == "CURRENTCONTROLSET":
        yield (*name[:2], f"ControlSet{current:03d}", *name[3:])
        yield from _hardware_profiles(name, folded)
    elif _CONTROL_SET.fullmatch(third):
        yield (*name[:2], "CurrentControlSet", *name[3:])


def _hardware_profiles(name: Elements, folded: Elements) -> Iterator[Elements]:
    match folded[3:5]:
        case ("HARDWARE PROFILES", "CURRENT"):
            yield (*name[:4], "0001", *name[5:])
            yield ("HKCC", *name[5:])
        case ("HARDWARE PROFILES", "0001"):
            yield (*name[:4], "Current", *name[5:])
        case _:
            pass


def _machine_classes(name: Elements, folded: Elements) -> Iterator[Elements]:
    match folded[2:4]:
        case ("CLASSES", "WOW6432NODE"):
            yield (*name[:2], "Wow6432Node", "Classes", *name[4:])
            yield ("HKCR", *name[3:])
        case ("WOW6432NODE", "CLASSES"):
            yield (*name[:2], "Classes", "Wow6432Node", *name[4:])
        case ("CLASSES", *_):
            yield ("HKCR", *name[3:])
        case _:
            pass


def _user(name: Elements, folded: Elements) -> Iterator[Elements]:
    if folded[1].endswith(_CLASSES):
        yield ("HKU", name[1][: -len(_CLASSES)], "Software", "Classes", *name[2:])
        return
    yield ("HKCU", *name[2:])
    if folded[2:4] == ("SOFTWARE", "CLASSES"):
        yield ("HKU", f"{name[1]}_Classes", *name[4:])
        yield ("HKCR", *name[4:])
    if other := _DEFAULT_USERS.get(folded[1]):
        yield ("HKU", other, *name[2:])


@lru_cache(maxsize=1 << 16)
def key_spellings(key: str, current: int | None) -> tuple[str, ...]:
    """All spellings of what lies in a key, up to the last backslash (which is not part of the text)."""
    return tuple("\\".join(spelling) for spelling in closure(elements_of(key), current))


@lru_cache(maxsize=1 << 16)
def folded_spellings(key: str, current: int | None) -> tuple[str, ...]:
    """The same in folded case, each with its last backslash: what a name only has to be added to."""
    return tuple(fold(f"{spelling}\\") for spelling in key_spellings(key, current))


def spellings(row: RegistryRow, subject: Subject, dialect: Dialect, current: int | None = None) -> tuple[str, ...]:
    """All names of a subject (N2, N3, N4)."""
    keys = key_spellings(row.key, current)
    return tuple(f"{key}\\{name}" for key in keys for name in last_elements(row.name, subject, dialect))


def last_elements(name: str, subject: Subject, dialect: Dialect) -> tuple[str, ...]:
    """The spellings of the last element: the unnamed value is ``(Default)``, in EQL also the empty text."""
    if subject in {Subject.KEY, Subject.REMOVED_KEY}:
        return (name, f"{name}\\") if dialect is Dialect.EQL else (name,)
    if name in {"", DEFAULT_VALUE}:
        return (DEFAULT_VALUE, "") if dialect is Dialect.EQL else (DEFAULT_VALUE,)
    return (name,)


def place(row: RegistryRow) -> str:
    r"""The identity of what a row stands for: equal for all rows that show the same object (N8).

    Towards ``CurrentControlSet``, ``Software\Classes``, ``Classes\Wow6432Node`` and ``S-1-5-18``, folded.
    """
    name = (*elements_of(row.key), row.name)
    folded = tuple(map(fold, name))
    match folded:
        case ("HKLM", "SOFTWARE", "WOW6432NODE", "CLASSES", *rest):
            folded = ("HKLM", "SOFTWARE", "CLASSES", "WOW6432NODE", *rest)
        case ("HKLM", "SYSTEM", control_set, *rest) if _CONTROL_SET.fullmatch(control_set):
            folded = ("HKLM", "SYSTEM", "CURRENTCONTROLSET", *rest)
        case ("HKU", ".DEFAULT", *rest):
            folded = ("HKU", "S-1-5-18", *rest)
        case _:
            pass
    if folded[:1] == ("HKU",) and len(folded) > 1 and folded[1].endswith(_CLASSES):
        folded = ("HKU", folded[1][: -len(_CLASSES)], "SOFTWARE", "CLASSES", *folded[2:])
    return "\\".join(folded)


def other_control_set(row: RegistryRow, current: int | None) -> int | None:
    """The number of the control set a row lies in, if it is known not to be the current one (N4: mark the finding)."""
    match tuple(map(fold, elements_of(row.key)[:3])):
        case ("HKLM", "SYSTEM", control_set) if found := _CONTROL_SET.fullmatch(control_set):
            number = int(found[1])
            return number if number != (current or DEFAULT_CONTROL_SET) else None
        case _:
            return None
