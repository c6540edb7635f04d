"""Files that registry contents come in: read within bounds, unpacked if they are compressed, told apart by content."""

from __future__ import annotations

import lzma
from enum import Enum
from typing import TYPE_CHECKING

from fleetscan.errors import HiveError
from fleetscan.hives.baseblock import SIGNATURE
from fleetscan.hives.regf import LARGEST
from fleetscan.hives.regfile import is_reg
from fleetscan.hives.translog import is_log

if TYPE_CHECKING:
    from pathlib import Path

_XZ = b"\xfd7zXZ\0"
_HEAD = 4096 + 32
_CHUNK = 1 << 20
_CREG = b"CREG"
LOG_ENDINGS = (".log", ".log1", ".log2")


class Content(Enum):
    """What a file is, by its first bytes."""

    HIVE = "registry hive"
    LOG = "transaction log of a hive"
    EXPORT = "registry export"
    WINDOWS_9X = "registry of Windows 95, 98 or ME (CREG), a format that is not read"
    OTHER = "no registry file"


def content_of(path: Path) -> Content:
    """Tell a file by its content; raises HiveError if it cannot be read."""
    head = _read(path, _HEAD)
    if head.startswith(_CREG):
        return Content.WINDOWS_9X
    if head.startswith(SIGNATURE):
        return Content.LOG if is_log(head) else Content.HIVE
    if head[4096:4100] == b"hbin":  # a hive whose base block is destroyed; its log may have the copy
        return Content.HIVE
    if is_reg(head):
        return Content.EXPORT
    return Content.LOG if stem(path).lower().endswith(LOG_ENDINGS) else Content.OTHER


def stem(path: Path) -> str:
    """The file's name without the ending of its compression."""
    return path.name[:-3] if path.name.lower().endswith(".xz") else path.name


def read(path: Path) -> bytes:
    """The content, unpacked if it is xz; raises HiveError beyond the size of the largest hive."""
    data = _read(path, LARGEST + 1)
    if len(data) > LARGEST:
        raise HiveError(f"more than {LARGEST} bytes", where=str(path), hint="no registry file is this large")
    return data


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(len(_XZ))
            file.seek(0)
            if head != _XZ:
                return file.read(most)
            with lzma.open(file) as unpacked:
                parts, left = [], most
                while left and (part := unpacked.read(min(left, _CHUNK))):
                    parts.append(part)
                    left -= len(part)
                return b"".join(parts)
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise HiveError(f"cannot be read: {error}", where=str(path), hint="check the file") from error
