"""GUIDs as the registry writes them: braced text, and 16 bytes with three little-endian fields."""

from __future__ import annotations

import re
from uuid import UUID

_BARE = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z")
_HEX_DIGITS = 32


def parse_braced(text: str) -> str | None:
    """The GUID of ``{...}`` in upper case without braces; None if the text is not exactly that."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    inner = text[1:-1]
    return inner.upper() if _BARE.match(inner) else None


def is_guid(text: str) -> bool:
    """Is it a GUID without braces?"""
    return _BARE.match(text) is not None


def from_bytes(data: bytes) -> str:
    """The GUID of 16 mixed-endian bytes, upper case without braces."""
    return str(UUID(bytes_le=data)).upper()


def from_hex(text: str) -> str | None:
    """The GUID of a REG_BINARY as osquery prints it.

    Agents before 5.14 pad binary values with zeros to the largest value of the key: what follows 16 bytes is cut.
    """
    try:
        data = bytes.fromhex(text[:_HEX_DIGITS])
    except ValueError:
        return None
    return from_bytes(data) if len(data) == _HEX_DIGITS // 2 else None
