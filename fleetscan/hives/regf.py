r"""Registry hives (``regf``): a lazy reader for files that nobody vouches for.

A key that is asked for is a key that is read; nothing is indexed when a hive is opened. Names come exactly as stored
(Latin-1 or UTF-16, with NUL and lone surrogates). What is damaged is reported with its offset, and everything around it
is read. The subkeys of a key are read below one parent only, so no list can lead in a circle; the contents of all keys
together are no larger than a file can hold, so shared cells cannot multiply.

libregf was tried first: it opens no key of a hive that is truncated or has one bad list below its root, cannot list the
sound keys beside a bad one, ends names at the first NUL, and reads data of one to three bytes wrong. This reader is as
fast. libregf is an oracle in the tests.
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_left, bisect_right
from itertools import chain
from typing import TYPE_CHECKING

from fleetscan.errors import HiveError
from fleetscan.hives.baseblock import SIGNATURE, SIZE
from fleetscan.hives.translog import replay
from fleetscan.hives.tree import Damage, Value
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LARGEST = 1 << 31
"""Hives of more bytes are refused (Windows itself has this bound)."""

MOST_DEPTH = 512
"""Levels of keys; Windows makes no deeper ones."""

_MOST_DAMAGES = 1000
_NONE = 0xFFFFFFFF
_KEY = struct.Struct("<i2sHQ4xII4xI4xIII24xHH")
_VALUE = struct.Struct("<i2sHIIIH")
_LIST = struct.Struct("<i2sH")
_SIZE = struct.Struct("<i")
_BIN = struct.Struct("<4sII")
_BIG = struct.Struct("<i2sHI")
_DESCRIPTOR = struct.Struct("<i2s14xI")
_FLAG_ROOT, _FLAG_LINK, _FLAG_LATIN, _FLAG_PREDEFINED = 0x4, 0x10, 0x20, 0x40
_INLINE = 0x80000000
_SEGMENT = 16344
_LAST_WITHOUT_SEGMENTS = 3
_REG_LINK = 6
_EPOCH = 11_644_473_600
_TICKS = 10_000_000
_HASH_MASK = 0xFFFFFFFF
_MOST_INDEXED = 64
_MOST_STRAYS = 10_000
_KINDS = ("roots", "subkeys", "owner", "list", "values")
_STRIDE = {b"lf": 2, b"lh": 2, b"li": 1}


class Hive:
    """One hive, with its logs replayed if it is dirty."""

    def __init__(self, data: bytes, name: str, logs: Sequence[tuple[str, bytes]] = ()) -> None:
        """``logs`` are name and content, in the order LOG, LOG1, LOG2. Raises HiveError if no root key can be read."""
        if len(data) > LARGEST:
            raise HiveError(f"{len(data)} bytes are more than a hive can have", where=name)
        if not data.startswith(SIGNATURE) and data[SIZE : SIZE + 4] != b"hbin":
            raise HiveError("no registry hive: neither base block nor hive bin", where=name, offset=0)
        self.name = name
        self._damages: dict[Damage, None] = {}
        replayed = replay(data, name, logs)
        self.data = replayed.data
        self.base = replayed.base
        self.log_entries = replayed.entries
        """How many log entries were applied."""
        for damage in replayed.damages:
            self._damages[damage] = None
        self._owner: dict[int, int] = {}
        self._listed: dict[int, array[int]] = {}
        self._budget = len(self.data) * 3 // 2
        self._strays: set[tuple[int, int]] = set()
        self._paid = {kind: bytearray(len(self.data) // 64 + 1) for kind in _KINDS}
        self._indices: dict[int, dict[str, RegfKey]] = {}
        self._gaps = self._find_gaps()
        self.root = self._root()
        self._check_size()

    def damages(self, mounted: str = "") -> tuple[Damage, ...]:
        """What was found damaged up to now, each once; ``mounted`` is the full text of the hive's root key."""
        return tuple(
            Damage(file=damage.file, what=damage.what, offset=damage.offset, key=(mounted + damage.key).strip("\\"))
            for damage in self._damages
        )

    def damaged(self, what: str, offset: int, key: RegfKey | None = None) -> None:
        """Note a damage; ``offset`` counts from the start of the hive bins."""
        if len(self._damages) < _MOST_DAMAGES:
            path = key.path if key else ""
            self._damages[Damage(file=self.name, what=what, offset=SIZE + offset, key=path)] = None
        elif len(self._damages) == _MOST_DAMAGES:
            self._damages[Damage(file=self.name, what="more damages are not listed")] = None

    def _check_size(self) -> None:
        bins = len(self.data) - SIZE
        if self.base.bins_size > bins:
            self.damaged(f"truncated: {self.base.bins_size} bytes of hive bins announced, {bins} present", bins)

    def _find_gaps(self) -> list[int]:
        """Where the chain of hive bins is broken: starts and ends of what is none, in turn."""
        data, at, end = self.data, SIZE, min(len(self.data), SIZE + self.base.bins_size)
        gaps: list[int] = []
        while at + _BIN.size <= end:
            signature, offset, size = _BIN.unpack_from(data, at)
            sound = signature == b"hbin" and offset == at - SIZE and size and size % SIZE == 0 and at + size <= end
            if sound == bool(len(gaps) % 2):
                gaps.append(at - SIZE)
                if not sound:
                    self.damaged("no hive bin: what lies here cannot be trusted", at - SIZE)
            at += size if sound else SIZE
        return gaps

    def distrust(self, offset: int, what: str, key: RegfKey | None) -> None:
        """Report a cell that lies where no hive bin is."""
        if self._gaps and bisect_right(self._gaps, offset) % 2:
            self.damaged(f"{what} in a place that is no hive bin", offset, key)

    def _root(self) -> RegfKey:
        root = self.key_at(self.base.root, None)
        if root is None and (first := self._first_root()) is not None:
            self.damaged(f"no root key at {self.base.root:#x}: found by its flag", first)
            root = self.key_at(first, None)
        if root is None:
            raise HiveError("no root key can be read", where=self.name, offset=SIZE + self.base.root)
        return root

    def _first_root(self) -> int | None:
        """A key with the flag of a root in the first hive bin, where Windows puts it."""
        for match in re.compile(rb"nk.[\0-\x03]", re.DOTALL).finditer(self.data, SIZE, SIZE + SIZE):
            if self.data[match.start() + 2] & _FLAG_ROOT:
                return match.start() - 4 - SIZE
        return None

    def key_at(self, offset: int, parent: RegfKey | None) -> RegfKey | None:
        """The key in the cell at ``offset``, listed by ``parent``; None, with a damage, if there is none."""
        at = SIZE + offset
        try:
            fields = _KEY.unpack_from(self.data, at)
        except struct.error:
            self.damaged("a key outside the file", offset, parent)
            return None
        if fields[1] != b"nk":
            self.damaged("no key where a list points to one", offset, parent)
            return None
        key = RegfKey(self, offset, parent, fields)
        if fields[0] > 0:
            self.damaged("a key in a free cell", offset, key)
        self.distrust(offset, "a key", key)
        if parent is not None and key.parent_offset != parent.offset:
            if self.belongs(key, parent):
                self.damaged("a key that names another parent", offset, key)
            else:
                self.damaged("a key of another parent, listed here too: its subkeys are read there only", offset, key)
                key.cut()
                if len(self._strays) >= _MOST_STRAYS and (offset, parent.offset) not in self._strays:
                    return None
                self._strays.add((offset, parent.offset))
        return key

    def admit(self, kind: str, offset: int, size: int) -> bool:
        """May ``size`` bytes of content of the key at ``offset`` be read? Asked before they are.

        In a sound hive no two keys share a cell, so all contents together are smaller than the file. Each key pays
        once; the marks (a bit for each eight bytes) let it be read again.
        """
        paid = self._paid[kind]
        place, bit = (SIZE + offset) // 64, 1 << (SIZE + offset) // 8 % 8
        if paid[place] & bit:
            return True
        if size > self._budget:
            return False
        self._budget -= size
        paid[place] |= bit
        return True

    def belongs(self, child: RegfKey, parent: RegfKey) -> bool:
        """Is ``child``, listed by ``parent`` but pointing elsewhere, its subkey?

        It is if the key it points to does not list it, and no other key has had it before. So the subkeys of every key
        are read below one parent, and no list leads in a circle.
        """
        if child.offset == self.root.offset:
            return False
        owner = self._owner.get(child.offset)
        if owner is None:
            listed = self._listed_at(child.parent_offset)
            place = bisect_left(listed, child.offset)
            owner = child.parent_offset if listed[place : place + 1] == array("I", [child.offset]) else parent.offset
            self._owner[child.offset] = owner
        return owner == parent.offset

    def _listed_at(self, offset: int) -> array[int]:
        """What the key at ``offset`` lists, sorted; empty if there is no key. Nothing is reported."""
        if offset not in self._listed:
            listed = array("I")
            try:
                fields = _KEY.unpack_from(self.data, SIZE + offset)
            except struct.error:
                fields = (0, b"")
            if fields[1] == b"nk":
                leaves = self.leaves(fields[6], "owner", offset, None)
                listed = array("I", sorted(chain.from_iterable(words[::stride] for stride, _, words in leaves)))
            self._listed[offset] = listed
        return self._listed[offset]

    def leaves(
        self, listed: int, kind: str, offset: int, key: RegfKey | None
    ) -> Iterator[tuple[int, bytes, tuple[int, ...]]]:
        """The leaves of a subkey list: words per element, signature, words; nothing if it may not be read.

        ``kind`` and ``offset`` are what is charged for it. Without ``key`` nothing is reported.
        """
        leaves = self._leaves(listed, offset, key)
        size = sum(min(_STRIDE[signature] * count, self.room(leaf, 8)) for leaf, signature, count in leaves)
        if not self.admit(kind, offset, 4 * size):
            if key is not None:
                self.damaged("subkey lists are shared: together larger than the file, not read", listed, key)
            return
        for leaf, signature, count in leaves:
            yield _STRIDE[signature], signature, self.words(leaf, 8, _STRIDE[signature] * count, key)

    def _leaves(self, listed: int, offset: int, key: RegfKey | None) -> list[tuple[int, bytes, int]]:
        """Offset, signature and length of each leaf; one if the list is not cut into several."""
        header = self._list_at(listed, key)
        if header is None or header[0] != b"ri":
            return [] if header is None else [(listed, *header)]
        if not self.admit("roots", offset, 4 * min(header[1], self.room(listed, 8))):
            return []
        leaves: dict[int, tuple[int, bytes, int]] = {}
        for leaf in self.words(listed, 8, header[1], key):
            below = None if leaf in leaves else self._list_at(leaf, key)
            if below is not None and below[0] != b"ri":
                leaves[leaf] = (leaf, *below)
            elif key is not None:
                self.damaged("a part of a subkey list is no list, or stands there twice", leaf, key)
        return list(leaves.values())

    def _list_at(self, offset: int, key: RegfKey | None) -> tuple[bytes, int] | None:
        try:
            _, signature, count = _LIST.unpack_from(self.data, SIZE + offset)
        except struct.error:
            signature, count = b"", 0
        if signature in _STRIDE or signature == b"ri":
            return signature, count
        if key is not None:
            self.damaged("a subkey list is none", offset, key)
        return None

    def words(self, offset: int, skip: int, count: int, key: RegfKey | None) -> tuple[int, ...]:
        """``count`` words of the cell at ``offset``, ``skip`` bytes behind its start, or as many as it can hold."""
        room = self.room(offset, skip)
        if room < count and key is not None:
            self.damaged(f"a list of {count} words in a cell for {room}", offset, key)
        return struct.unpack_from(f"<{min(room, count)}I", self.data, SIZE + offset + skip) if room else ()

    def room(self, offset: int, skip: int) -> int:
        """Words that the cell at ``offset`` can hold behind its first ``skip`` bytes."""
        at = SIZE + offset
        size = abs(_SIZE.unpack_from(self.data, at)[0]) if at + 4 <= len(self.data) else 0
        return max(0, min(size, len(self.data) - at) - skip) // 4

    def index(self, key: RegfKey) -> dict[str, RegfKey]:
        """The subkeys of ``key`` by folded name, the first of each name; the last few indices are kept."""
        index = self._indices.get(key.offset)
        if index is None:
            index = {}
            for subkey in key.subkeys():
                index.setdefault(fold(subkey.name), subkey)
            if len(self._indices) >= _MOST_INDEXED:
                self._indices.clear()
            self._indices[key.offset] = index
        return index

    def content(self, field: int, offset: int, key: RegfKey) -> bytes:
        """The data of a value: in the offset field itself, in a cell, or in segments."""
        size = field & ~_INLINE
        if field & _INLINE:
            if size > _SIZE.size:
                self.damaged(f"{size} bytes of data in a field for 4", offset, key)
            return offset.to_bytes(4, "little")[:size]
        if not size:
            return b""
        self.distrust(offset, "data", key)
        at = SIZE + offset
        cell = _SIZE.unpack_from(self.data, at)[0] if at + 4 < len(self.data) else 0
        if cell >= 0:
            self.damaged("data in a free cell", offset, key)
        room = min(abs(cell), len(self.data) - at) - 4
        if size <= room:
            return self.data[at + 4 : at + 4 + size]
        if size > _SEGMENT and self.base.minor_version > _LAST_WITHOUT_SEGMENTS and self.data[at + 4 : at + 6] == b"db":
            return self._segments(size, offset, key)
        self.damaged(f"{size} bytes of data in a cell for {max(0, room)}", offset, key)
        return self.data[at + 4 : at + 4 + max(0, room)]

    def _segments(self, size: int, offset: int, key: RegfKey) -> bytes:
        _, _, count, listed = _BIG.unpack_from(self.data.ljust(SIZE + offset + _BIG.size, b"\0"), SIZE + offset)
        left = min(size, len(self.data))
        segments = []
        for segment in self.words(listed, 4, count, key):
            at = SIZE + segment
            room = abs(_SIZE.unpack_from(self.data, at)[0]) - 4 if at + 4 <= len(self.data) else 0
            part = self.data[at + 4 : at + 4 + max(0, min(left, _SEGMENT, room))]
            segments.append(part)
            left -= len(part)
            if not left or not part:
                break
        data = b"".join(segments)
        if len(data) < size:
            self.damaged(f"{size} bytes of data in segments of {len(data)}", offset, key)
        return data


class RegfKey:
    """One key of a hive; see Key."""

    __slots__ = (
        "_flags", "_name", "_security", "_subkeys", "_subkeys_count", "_ticks", "_values", "_values_count",
        "depth", "hive", "offset", "parent", "parent_offset",
    )  # fmt: skip

    def __init__(self, hive: Hive, offset: int, parent: RegfKey | None, fields: tuple[int, ...]) -> None:
        """``fields`` are those of the key's cell."""
        self.hive = hive
        self.offset = offset
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        (
            _, _, self._flags, self._ticks, self.parent_offset, self._subkeys_count, self._subkeys,
            self._values_count, self._values, self._security, length, _,
        ) = fields  # fmt: skip
        start = SIZE + offset + 80
        self._name = hive.data[start : start + length]
        if len(self._name) < length or length > abs(fields[0]) - 80:
            hive.damaged("the name of a key is cut off", offset, self)
            self._name = self._name[: max(0, abs(fields[0]) - 80)]

    def cut(self) -> None:
        """Read no subkeys: this is a second place of the key, or the end of a loop."""
        self._subkeys_count = 0

    @property
    def name(self) -> str:
        """See Key."""
        if self._flags & _FLAG_LATIN:
            return self._name.decode("latin-1")
        return _utf16(self._name)

    @property
    def path(self) -> str:
        """The names from the hive's root down, a backslash before each; empty for the root."""
        names = []
        key: RegfKey = self
        while key.parent is not None:
            names.append(key.name)
            key = key.parent
        return "".join(f"\\{name}" for name in reversed(names))

    @property
    def mtime(self) -> int:
        """See Key."""
        return max(0, self._ticks // _TICKS - _EPOCH)

    @property
    def link_target(self) -> str | None:
        """See Key."""
        if not self._flags & _FLAG_LINK:
            return None
        for value in self.values():
            if value.type == _REG_LINK and value.name == "SymbolicLinkValue":
                return _utf16(value.data).rstrip("\0")
        return None

    def subkeys(self) -> Sequence[RegfKey]:
        """See Key."""
        if not self._subkeys_count or self._subkeys == _NONE:
            return ()
        hive = self.hive
        if self.depth >= MOST_DEPTH:
            hive.damaged(f"keys more than {MOST_DEPTH} levels deep are not read", self._subkeys, self)
            return ()
        listed = [words[::stride] for stride, _, words in hive.leaves(self._subkeys, "subkeys", self.offset, self)]
        offsets = dict.fromkeys(chain.from_iterable(listed))
        total = sum(map(len, listed))
        if len(offsets) < total:
            hive.damaged("a subkey list names a key twice", self._subkeys, self)
        if total != self._subkeys_count:
            hive.damaged(f"{self._subkeys_count} subkeys announced, {total} listed", self._subkeys, self)
        subkeys = [key for offset in offsets if (key := hive.key_at(offset, self)) is not None]
        self._check_order(subkeys)
        return subkeys

    def _check_order(self, subkeys: list[RegfKey]) -> None:
        """Windows finds keys by bisection: out of order, a key is listed but cannot be opened."""
        before = ""
        for key in subkeys:
            name = fold(key.name)
            if name <= before and key is not subkeys[0]:
                if name == before:
                    self.hive.damaged("two keys of one name: only one can be opened on Windows", key.offset, key)
                elif _units(name) < _units(before) and ((before + name).isascii() or _surely_before(name, before)):
                    self.hive.damaged("subkeys out of order: Windows may not find this one", key.offset, key)
            before = name

    def subkey(self, name: str) -> RegfKey | None:
        """See Key."""
        if not self._subkeys_count or self._subkeys == _NONE or self.depth >= MOST_DEPTH:
            return None
        folded = fold(name)
        hashed, signature = _hash(folded), b""
        for _, signature, words in self.hive.leaves(self._subkeys, "subkeys", self.offset, self):
            if signature != b"lh":
                break
            for offset in (offset for offset, hint in zip(words[::2], words[1::2], strict=True) if hint == hashed):
                key = self.hive.key_at(offset, self)
                if key is not None and fold(key.name) == folded:
                    return key
        # Other lists carry no hash; and a hash may be wrong, which hides a key from Windows but not from us.
        found = self.hive.index(self).get(folded)
        if found is not None and signature == b"lh" and folded.isascii():
            self.hive.damaged("the hash of this key is wrong: Windows does not find it", found.offset, found)
        return found

    def values(self) -> Sequence[Value]:
        """See Key."""
        if not self._values_count or self._values == _NONE or self._flags & _FLAG_PREDEFINED:
            return ()
        hive = self.hive
        shared = "values share their data: together larger than the file, not read"
        if not hive.admit("list", self.offset, 4 * min(self._values_count, hive.room(self._values, 4))):
            hive.damaged(shared, self._values, self)
            return ()
        listed = hive.words(self._values, 4, self._values_count, self)
        found = [value for offset in listed if (value := self._value(offset)) is not None]
        if not hive.admit("values", self.offset, sum(24 + min(value[2] & ~_INLINE, len(hive.data)) for value in found)):
            hive.damaged(shared, self._values, self)
            return ()
        return [
            Value(name, value_type, hive.content(field, content, self)) for name, value_type, field, content in found
        ]

    def _value(self, offset: int) -> tuple[str, int, int, int] | None:
        """Name, type, size field and data offset of the value in the cell at ``offset``."""
        hive = self.hive
        at = SIZE + offset
        try:
            size, signature, length, field, content, value_type, flags = _VALUE.unpack_from(hive.data, at)
        except struct.error:
            signature, size = b"", 0
        if signature != b"vk":
            hive.damaged("no value where a list points to one", offset, self)
            return None
        hive.distrust(offset, "a value", self)
        name = hive.data[at + 24 : at + 24 + length]
        if size > 0 or length > -size - 24 or len(name) < length:
            hive.damaged("a value in a free cell" if size > 0 else "the name of a value is cut off", offset, self)
            name = name[: max(0, abs(size) - 24)]
        return name.decode("latin-1") if flags & 1 else _utf16(name), value_type, field, content

    def security_descriptor(self) -> bytes:
        """The key's self-relative security descriptor; empty if it cannot be read."""
        at = SIZE + self._security
        try:
            _, signature, length = _DESCRIPTOR.unpack_from(self.hive.data, at)
        except struct.error:
            return b""
        return self.hive.data[at + 24 : at + 24 + length] if signature == b"sk" else b""


def _utf16(data: bytes) -> str:
    return data[: len(data) & ~1].decode("utf-16-le", "surrogatepass")


def _units(text: str) -> bytes:
    """Text as Windows orders it: by 16-bit units."""
    return text.encode("utf-16-be", "surrogatepass")


def _surely_before(name: str, other: str) -> bool:
    """Does ``name`` stand before ``other`` in either case of its letters? Windows knows fewer pairs than Python."""
    return _units(name) < _units(other) and _units(name.lower()) < _units(other.lower())


def _hash(folded: str) -> int:
    """The hash of a name in lists of type lh."""
    total = 0
    units = map(ord, folded) if folded.isascii() else struct.unpack(f">{len(_units(folded)) // 2}H", _units(folded))
    for unit in units:
        total = (37 * total + unit) & _HASH_MASK
    return total
