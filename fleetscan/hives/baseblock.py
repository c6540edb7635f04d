"""The first 4096 bytes of a hive or a log: what the file says about itself.

Format facts of this and of the other modules on hives: the public "Windows registry file format specification" by
M. Suhanov.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SIGNATURE = b"regf"
SIZE = 4096
"""Bytes before the hive bins; offsets in a hive count from here."""

SECTOR = 512
_FIELDS = struct.Struct("<4sIIQIIIIIII64s")
_WORDS = struct.Struct("<127I")
_CHECKSUM = struct.Struct("<I")
_CHECKSUM_AT = 508


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseBlock:
    """The fields that a reader needs. ``valid``: signature and checksum are right."""

    valid: bool
    primary_sequence: int
    secondary_sequence: int
    written: int
    minor_version: int
    file_type: int
    root: int
    bins_size: int
    sector: int
    file_name: str

    @property
    def dirty(self) -> bool:
        """Was a write begun and not ended? Then the log holds what the hive lacks."""
        return not self.valid or self.primary_sequence != self.secondary_sequence


def base_block(data: bytes) -> BaseBlock | None:
    """The base block at the start of ``data``; None if there are not even 512 bytes."""
    if len(data) < SECTOR:
        return None
    signature, first, second, written, _, minor, kind, _, root, size, cluster, name = _FIELDS.unpack_from(data)
    return BaseBlock(
        valid=signature == SIGNATURE and checksum(data) == _CHECKSUM.unpack_from(data, _CHECKSUM_AT)[0],
        primary_sequence=first,
        secondary_sequence=second,
        written=written,
        minor_version=minor,
        file_type=kind,
        root=root,
        bins_size=size,
        sector=SECTOR * cluster if 1 <= cluster <= 8 else SECTOR,  # noqa: PLR2004 - sectors of at most 4096 bytes
        file_name=name.decode("utf-16-le", "replace").partition("\0")[0],
    )


def checksum(data: bytes) -> int:
    """The exclusive or of the first 127 words; 0 and -1 are replaced, as Windows does."""
    total = 0
    for word in _WORDS.unpack_from(data):
        total ^= word
    return {0: 1, 0xFFFFFFFF: 0xFFFFFFFE}.get(total, total)
