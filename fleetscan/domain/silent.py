"""Keys that a parent lists and that gave no row, where no decoder speaks of them: the host is not complete there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fleetscan.domain.entity import Entity
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_STRUCTURE = re.compile(
    r"""(?ix) HKEY_LOCAL_MACHINE\\ (?:
      SOFTWARE (?:\\WOW6432Node)? (?: \\Microsoft
        (?: \\Cryptography (?: \\OID (?:\\EncodingType\ [^\\]*)? | \\Providers (?:\\Trust)? )?
          | \\Windows\ NT (?: \\CurrentVersion (?:\\ProfileList)? )? )? )?
    | SYSTEM (?: \\CurrentControlSet (?: \\Services (?: \\WinSock2 (?:\\.*)? )? )? )?
    )"""
)
"""Keys that hold the watched areas together; what lies below them is read by the decoders."""
_HELPER = re.compile(
    r"(?i)HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\(?P<service>[^\\]+)\\Parameters\\Winsock"
)
_VOLATILE = re.compile(r"[0-9A-Fa-f]{8}")
"""Notification keys that Windows makes beside the catalogues; they are empty."""
_WHY = "the key is listed, but it gave no row: empty, hidden or unreadable"


def silent_areas(unproven: Sequence[str], entities: Iterable[Entity]) -> Iterator[Entity]:
    """An incomplete entity for every silent key of the watched areas of which no entity speaks."""
    if not unproven:
        return
    told = {fold(key) for entity in entities for key in entity.keys}
    for key in unproven:
        if fold(key) in told:
            continue
        if match := _HELPER.fullmatch(key):
            yield _silent("winsock_helper", "service", match["service"], key)
        elif _STRUCTURE.fullmatch(key) and not _is_noise(key, told):
            yield _silent("area", "key", key, key)


def _is_noise(key: str, told: set[str]) -> bool:
    parent, _, name = key.rpartition("\\")
    below_a_row = fold(parent) in told and not fold(parent).endswith(("\\PARAMETERS", "\\APPID_CATALOG"))
    return _VOLATILE.fullmatch(name) is not None or below_a_row


def _silent(kind: str, field: str, value: str, key: str) -> Entity:
    return Entity(kind=kind, identity=((field, value),), keys=(key,), incomplete=_WHY)
