"""Writes registry hives and logs from keys built by hand: the other half of the reader, for round trips and damage."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from fleetscan.hives.baseblock import checksum
from fleetscan.hives.marvin import marvin32
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscan.hives.tree import Key, Value

NONE = 0xFFFFFFFF
SEGMENT = 16344
EPOCH = 11_644_473_600
SUBKEYS_AT, VALUES_AT, PARENT_AT = 28, 36, 16
"""Places in the data of a key's cell."""


class HiveWriter:
    """Cells in hive bins of 4096 bytes, or as large as a cell needs, as Windows cuts them.

    ``lists`` is the signature of the subkey lists, ``leaf`` the longest list before they are cut (``ri``).
    """

    def __init__(self, *, lists: bytes = b"lh", leaf: int = 500, minor: int = 5, name: str = "TEST") -> None:
        self.lists = lists
        self.leaf = leaf
        self.minor = minor
        self.name = name
        self.bins = bytearray()
        self._end = 0

    def cell(self, data: bytes) -> int:
        """Write a cell; the result is its offset."""
        size = -(-(len(data) + 4) // 8) * 8
        if len(self.bins) + size > self._end:
            self._open_bin(size)
        offset = len(self.bins)
        self.bins += struct.pack("<i", -size) + data.ljust(size - 4, b"\0")
        return offset

    def _open_bin(self, room: int) -> None:
        """End the bin with a free cell; start one in which ``room`` bytes have place."""
        if left := self._end - len(self.bins):
            self.bins += struct.pack("<i", left).ljust(left, b"\0")
        size = -(-(room + 32) // 4096) * 4096
        self._end += size
        self.bins += struct.pack("<4sII", b"hbin", self._end - size, size).ljust(32, b"\0")

    def patch(self, cell: int, at: int, *words: int) -> None:
        """Overwrite words in the data of a cell."""
        struct.pack_into(f"<{len(words)}I", self.bins, cell + 4 + at, *words)

    def key(self, key: Key, parent: int = NONE, *, security: bytes = b"") -> int:
        """Write a key with all below it; the result is its offset."""
        flags, name = (0x20, key.name.encode("latin-1")) if _is_latin(key.name) else (0, _utf16(key.name))
        flags |= (0x4 if parent == NONE else 0) | (0x10 if key.link_target is not None else 0)
        ticks = (key.mtime + EPOCH) * 10_000_000 if key.mtime else 0
        head = struct.pack("<2sHQ4xI", b"nk", flags, ticks, parent)
        tail = struct.pack("<IIIIIIII20xHH", 0, 0, NONE, NONE, 0, NONE, NONE, NONE, len(name), 0)
        offset = self.cell(head + tail + name)
        if security:
            descriptor = self.cell(struct.pack("<2s14xI", b"sk", len(security)) + security)
            self.patch(offset, 44, descriptor)
        if values := [self.value(value) for value in key.values()]:
            self.patch(offset, VALUES_AT, len(values), self.cell(struct.pack(f"<{len(values)}I", *values)))
        subkeys = [(fold(subkey.name), self.key(subkey, offset)) for subkey in key.subkeys()]
        if subkeys:
            self.patch(offset, 20, len(subkeys))
            self.patch(offset, SUBKEYS_AT, self.subkey_list(subkeys))
        return offset

    def subkey_list(self, subkeys: Sequence[tuple[str, int]]) -> int:
        """Write a list of folded names and offsets, cut into leaves if it is long."""
        leaves = [self._leaf(subkeys[at : at + self.leaf]) for at in range(0, len(subkeys), self.leaf)]
        if len(leaves) == 1:
            return leaves[0]
        return self.cell(struct.pack(f"<2sH{len(leaves)}I", b"ri", len(leaves), *leaves))

    def _leaf(self, subkeys: Sequence[tuple[str, int]]) -> int:
        words: list[int] = []
        for name, offset in subkeys:
            hint = {b"lh": [name_hash(name)], b"lf": [_hint(name)], b"li": []}[self.lists]
            words += [offset, *hint]
        return self.cell(struct.pack(f"<2sH{len(words)}I", self.lists, len(subkeys), *words))

    def value(self, value: Value) -> int:
        """Write a value with its data: inline, in a cell or in segments."""
        flags, name = (1, value.name.encode("latin-1")) if _is_latin(value.name) else (0, _utf16(value.name))
        size, data = len(value.data), value.data
        if size <= 4:
            field, place = size | 0x80000000, int.from_bytes(data.ljust(4, b"\0"), "little")
        elif size <= SEGMENT or self.minor <= 3:
            field, place = size, self.cell(data)
        else:
            segments = [self.cell(data[at : at + SEGMENT]) for at in range(0, size, SEGMENT)]
            listed = self.cell(struct.pack(f"<{len(segments)}I", *segments))
            field, place = size, self.cell(struct.pack("<2sHI", b"db", len(segments), listed))
        return self.cell(struct.pack("<2sHIIIHH", b"vk", len(name), field, place, value.type, flags, 0) + name)

    def hive(self, root: int, *, sequences: tuple[int, int] = (1, 1)) -> bytes:
        """The finished file."""
        bins = bytes(self.bins)
        if left := self._end - len(bins):
            bins += struct.pack("<i", left).ljust(left, b"\0")
        size = len(bins)
        return base_block(sequences, root, size, name=self.name, minor=self.minor).ljust(4096, b"\0") + bins


def write(key: Key, **options: object) -> bytes:
    """A hive whose root is ``key``; options are those of HiveWriter."""
    writer = HiveWriter(**options)  # type: ignore[arg-type] # passed on as given
    return writer.hive(writer.key(key))


def base_block(
    sequences: tuple[int, int], root: int, size: int, *, name: str = "", kind: int = 0, minor: int = 5, written: int = 0
) -> bytes:
    """The first sector of a hive (kind 0) or a log (1: old, 6: new)."""
    block = struct.pack(
        "<4sIIQIIIIIII64s", b"regf", *sequences, written, 1, minor, kind, 1, root, size, 1, _utf16(name)
    )
    block = block.ljust(508, b"\0")
    return block + struct.pack("<I", checksum(block.ljust(512, b"\0")))


def log_entry(sequence: int, size: int, pages: Sequence[tuple[int, bytes]]) -> bytes:
    """One entry of a new log: pages by their offset in the hive bins."""
    body = b"".join(struct.pack("<II", offset, len(page)) for offset, page in pages)
    body += b"".join(page for _, page in pages)
    body = body.ljust(-(-(40 + len(body)) // 512) * 512 - 40, b"\0")
    head = struct.pack("<4sIIIIIQ", b"HvLE", 40 + len(body), 0, sequence, size, len(pages), marvin32(body))
    return head + struct.pack("<Q", marvin32(head)) + body


def new_log(first: int, size: int, entries: Sequence[bytes]) -> bytes:
    """A log of the new format."""
    return base_block((first, first), 32, size, kind=6) + b"".join(entries)


def name_hash(folded: str) -> int:
    """Hash of a name in lists of type ``lh``."""
    total = 0
    for (unit,) in struct.iter_unpack("<H", _utf16(folded)):
        total = (37 * total + unit) & 0xFFFFFFFF
    return total


def _hint(name: str) -> int:
    return int.from_bytes(name.encode("latin-1", "replace")[:4].ljust(4, b"\0"), "little")


def _is_latin(name: str) -> bool:
    return all(ord(char) < 256 for char in name)


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")
