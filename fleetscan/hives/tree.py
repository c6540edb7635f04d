"""What a registry consists of, whatever file it came from; and the same built by hand for tests and .reg exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fleetscan.model.registry import HKLM, HKU, KeyPath, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Value:
    """One value: stored name ("" is the unnamed value; may hold NUL or lone surrogates), type number, raw bytes."""

    name: str
    type: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Something in a file that cannot be right: what, and the byte offset in the file where it stands (None: unknown).

    ``key`` is the full text of the key that is affected, from its hive root.
    """

    file: str
    what: str
    offset: int | None = None
    key: str = ""

    def __str__(self) -> str:
        """One line: file, offset, key, what."""
        at = "" if self.offset is None else f" at {self.offset:#x}"
        return f"{self.file}{at}: {self.key}: {self.what}" if self.key else f"{self.file}{at}: {self.what}"


class Key(Protocol):
    """One key. Implementations read lazily: asking one key reads one key."""

    @property
    def name(self) -> str:
        """Stored name; may hold NUL, blanks at the ends, lone surrogates."""
        ...

    @property
    def mtime(self) -> int:
        """Last write time, seconds since 1970 UTC (0 if the file does not say)."""
        ...

    @property
    def link_target(self) -> str | None:
        r"""Target of a registry symbolic link (``\Registry\Machine\...`` or a long-form path), else None."""
        ...

    def subkeys(self) -> Sequence[Key]:
        """Subkeys in stored order (Windows: by upper-cased name)."""
        ...

    def subkey(self, name: str) -> Key | None:
        """The subkey of that name, compared in folded case."""
        ...

    def values(self) -> Sequence[Value]:
        """Values in stored order (Windows: order of creation)."""
        ...


class MemoryKey:
    """A key built by hand: ``MemoryKey("SOFTWARE").add("Microsoft", "Cryptography").set("v", 1, b"...")``."""

    def __init__(self, name: str, *, mtime: int = 0, link_target: str | None = None) -> None:
        """An empty key."""
        self.name = name
        self.mtime = mtime
        self.link_target = link_target
        self._subkeys: dict[str, MemoryKey] = {}
        self._values: dict[str, Value] = {}

    def add(self, *names: str) -> MemoryKey:
        """The key below, created where missing; its spelling is that of the first creation."""
        key = self
        for name in names:
            below = key._subkeys.get(fold(name))
            if below is None:
                below = key._subkeys[fold(name)] = MemoryKey(name)
            key = below
        return key

    def set(self, name: str, value_type: int, data: bytes) -> MemoryKey:
        """Set a value; a rewritten value keeps its place, as on Windows."""
        self._values[fold(name)] = Value(name, value_type, data)
        return self

    def remove(self, name: str) -> None:
        """Remove a subkey with all below it, if it exists."""
        self._subkeys.pop(fold(name), None)

    def unset(self, name: str) -> None:
        """Remove a value, if it exists."""
        self._values.pop(fold(name), None)

    def subkeys(self) -> Sequence[MemoryKey]:
        """See Key."""
        return [self._subkeys[name] for name in sorted(self._subkeys)]

    def subkey(self, name: str) -> MemoryKey | None:
        """See Key."""
        return self._subkeys.get(fold(name))

    def values(self) -> Sequence[Value]:
        """See Key."""
        return list(self._values.values())


class MemoryRegistry:
    """Hive roots built by hand; HKEY_LOCAL_MACHINE and HKEY_USERS exist, others appear with their first key."""

    def __init__(self) -> None:
        """An empty registry."""
        self.roots: dict[str, MemoryKey] = {HKLM: MemoryKey(HKLM), HKU: MemoryKey(HKU)}
        self._exported: list[KeyPath] = []
        self._below: tuple[str, ...] | None = None

    @property
    def exported(self) -> tuple[KeyPath, ...]:
        """The topmost keys that imported exports wrote: an export shows these and what is below, nothing beside."""
        topmost: list[KeyPath] = []
        for path in sorted(self._exported, key=lambda path: path.folded):
            if not topmost or not path.starts_with(topmost[-1]):
                topmost.append(path)
        return tuple(topmost)

    def note_exported(self, elements: tuple[str, ...]) -> None:
        """An export writes the key of these elements."""
        if self._below is None or tuple(map(fold, elements[: len(self._below)])) != self._below:
            path = KeyPath(elements)
            self._exported.append(path)
            self._below = path.folded

    def key(self, elements: Iterable[str]) -> MemoryKey:
        """The key of these elements, first a root in long form, created where missing; links are not followed."""
        root, *names = elements
        return self.roots.setdefault(root, MemoryKey(root)).add(*names)

    def find(self, elements: Iterable[str]) -> MemoryKey | None:
        """The key of these elements, if it exists; links are not followed."""
        root, *names = elements
        key = self.roots.get(root)
        for name in names:
            if key is None:
                return None
            key = key.subkey(name)
        return key
