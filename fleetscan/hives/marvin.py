"""Marvin32: the hash that guards the entries of a registry log."""

from __future__ import annotations

import struct
import sys
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SEED = 0x82EF4D887A4E55C5
"""The seed that Windows uses in registry logs."""

_MASK = 0xFFFFFFFF


def marvin32(data: bytes | memoryview, seed: int = SEED) -> int:
    """The 64-bit hash of ``data``: a word at a time, then the rest behind an end mark and one empty round."""
    whole = len(data) & ~3
    tail = bytes(data[whole:]) + b"\x80"
    final = int.from_bytes(tail, "little")
    low, high = _rounds(_words(data[:whole]), seed & _MASK, seed >> 32)
    low, high = _rounds((final, 0), low, high)
    return high << 32 | low


def _words(data: bytes | memoryview) -> Iterable[int]:
    words = array("I")
    if words.itemsize != 4 or sys.byteorder != "little":  # noqa: PLR2004 - a word of the hash has 4 bytes
        return (word for (word,) in struct.iter_unpack("<I", data))
    words.frombytes(data)
    return words


def _rounds(words: Iterable[int], low: int, high: int) -> tuple[int, int]:
    """The state after all words. Written out flat: logs have megabytes, and this is the whole cost of a replay."""
    mask = _MASK
    for word in words:
        low = (low + word) & mask
        high ^= low
        low = ((low << 20 | low >> 12) + high) & mask
        high = (high << 9 | high >> 23) & mask ^ low
        low = ((low << 27 | low >> 5) + high) & mask
        high = (high << 19 | high >> 13) & mask
    return low, high
