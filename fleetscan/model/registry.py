"""Registry names and rows: what osquery's ``registry`` table returns, and how its texts compare."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

SUBKEY = "subkey"
"""Type of a row that stands for a subkey (osquery's word)."""

DEFAULT_VALUE = "(Default)"
"""Name that osquery gives to the unnamed value."""

HKLM = "HKEY_LOCAL_MACHINE"
HKU = "HKEY_USERS"
HIVE_ROOTS = (
    "HKEY_CLASSES_ROOT",
    "HKEY_CURRENT_CONFIG",
    "HKEY_CURRENT_USER",
    "HKEY_CURRENT_USER_LOCAL_SETTINGS",
    HKLM,
    "HKEY_PERFORMANCE_DATA",
    "HKEY_PERFORMANCE_NLSTEXT",
    "HKEY_PERFORMANCE_TEXT",
    HKU,
)
"""The nine roots osquery knows, in its own order."""


@lru_cache(maxsize=65536)
def fold(text: str) -> str:
    """Fold case as the registry compares names.

    A character folds to its upper-case form if that is one character, else to itself: ``ß`` does not equal ``SS``.
    """
    if text.isascii():
        return text.upper()
    return "".join(upper if len(upper := char.upper()) == 1 else char for char in text)


@dataclass(frozen=True, slots=True)
class KeyPath:
    """A registry key by its elements, first the hive root in long form; equality and hash ignore case."""

    elements: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> KeyPath:
        r"""Split at backslashes; empty elements vanish (osquery does the same when it opens a key)."""
        return cls(tuple(element for element in text.split("\\") if element))

    @property
    def folded(self) -> tuple[str, ...]:
        """The elements in folded case: the key's identity."""
        return tuple(map(fold, self.elements))

    @property
    def name(self) -> str:
        """The last element."""
        return self.elements[-1] if self.elements else ""

    @property
    def parent(self) -> KeyPath:
        """The key above."""
        return KeyPath(self.elements[:-1])

    def child(self, name: str) -> KeyPath:
        """The subkey of that name."""
        return KeyPath((*self.elements, name))

    def starts_with(self, other: KeyPath) -> bool:
        """Is this key ``other`` or below it?"""
        return self.folded[: len(other.elements)] == other.folded

    def __str__(self) -> str:
        """Elements joined by backslashes."""
        return "\\".join(self.elements)

    def __eq__(self, other: object) -> bool:
        """Equal without case."""
        return isinstance(other, KeyPath) and self.folded == other.folded

    def __hash__(self) -> int:
        """Consistent with ``__eq__``."""
        return hash(self.folded)


@dataclass(frozen=True, slots=True)
class RegistryRow:
    r"""One row of osquery's ``registry`` table, all texts as osquery prints them.

    ``key`` is the key that was listed; a row of type ``subkey`` stands for the key ``key\name``. ``mtime`` is in
    seconds since 1970 UTC, 0 where unknown; it is evidence, never part of a row's identity (osquery gives value rows
    the time of another key in some cases).
    """

    key: str
    name: str
    type: str
    data: str
    path: str = ""
    mtime: int = 0

    @property
    def is_subkey(self) -> bool:
        """Does the row stand for a subkey rather than a value?"""
        return self.type == SUBKEY

    @property
    def subject_name(self) -> str:
        """Full name of what the row stands for; built from key and name, because ``path`` is ambiguous."""
        return f"{self.key}\\{self.name}"


@dataclass(slots=True)
class _Unfrozen:
    """The fields of a row, in the same layout, while it is made."""

    key: str
    name: str
    type: str
    data: str
    path: str
    mtime: int


def make_row(key: str, name: str, kind: str, data: str, path: str, mtime: int = 0) -> RegistryRow:
    """A row, made faster: a frozen dataclass sets each field past its own guard; rows come in millions."""
    row = _Unfrozen(key, name, kind, data, path, mtime)
    row.__class__ = RegistryRow  # type: ignore[assignment]
    return row  # type: ignore[return-value]
