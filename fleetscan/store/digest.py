"""Canonical bytes and their SHA-256: what equal content is, in the store.

Rows are canonical without mtime and without order. Every record of the store is named by the hash of such bytes, so
that equal content is stored once and any stored byte can be checked.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from fleetscan.errors import StoreError
from fleetscan.model.registry import make_row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fleetscan.model.registry import RegistryRow

_LEVEL = 1  # much faster than the usual 6 for little more room, and most content is stored once for a fleet
_NOT_READABLE = re.compile("[\0\ud800-\udfff]")
_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(list[list[str]]).decode
_AMBIGUOUS = re.compile(rb'"\],\["[,\]]')
LARGEST = 256 * 1024 * 1024
"""No record of a store grows beyond this when it is unpacked: a planted zip bomb is an error, not a full memory."""


def sha256(content: bytes) -> bytes:
    """The 32 bytes that name ``content``."""
    return hashlib.sha256(content).digest()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, check_circular=False).encode


def canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """JSON with sorted names, no blanks, UTF-8; lone surrogates of hostile names survive."""
    return _encode(value).encode("utf-8", "surrogatepass")


def parse(content: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """The value of canonical bytes."""
    try:
        return json.loads(content.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise StoreError("a record of the store is damaged", hint="fleetscan store verify") from error


def block_bytes(rows: Iterable[RegistryRow]) -> bytes:
    """The rows of one scope: sorted, without mtime; the path only where it is not simply key and name."""
    cells: list[tuple[str, ...]] = []
    append = cells.append
    for row in rows:
        key, name = row.key, row.name
        append(
            (key, name, row.type, row.data)
            if row.path == f"{key}\\{name}"
            else (key, name, row.type, row.data, row.path)
        )
    cells.sort()
    try:
        return _ENCODE(cells)  # the same bytes, faster
    except UnicodeEncodeError:
        return canonical(cells)


def block_rows(content: bytes) -> tuple[RegistryRow, ...]:
    """The rows of a block, in canonical order; their mtime is 0."""
    try:
        cells = _DECODE(content)
    except ValueError:  # lone surrogates; and what is damaged, for its words
        cells = parse(content)
    return tuple(map(_row, cells))


def _row(cells: list[str]) -> RegistryRow:
    match cells:
        case [str(key), str(name), str(kind), str(data)]:
            return make_row(key, name, kind, data, f"{key}\\{name}")
        case [str(key), str(name), str(kind), str(data), str(path)]:
            return make_row(key, name, kind, data, path)
        case _:
            raise StoreError("a row of the store is damaged", hint="fleetscan store verify")


def block_lines(content: bytes) -> tuple[bytes, ...]:
    """The canonical rows of a block, one by one and not decoded: equal lines are equal rows."""
    if content == b"[]":
        return ()
    # Between two rows, and nowhere else, stands this text with the second quote opening a name. Where it closes one,
    # a comma or a bracket follows; then the block is read by its grammar.
    if content.startswith(b'[["') and content.endswith(b'"]]') and not _AMBIGUOUS.search(content):
        return tuple(content[3:-3].split(b'"],["'))
    return tuple(block_bytes([row])[3:-3] for row in block_rows(content))


def line_rows(lines: Iterable[bytes]) -> tuple[RegistryRow, ...]:
    """The rows of some lines."""
    content = b'"],["'.join(lines)
    return block_rows(b'[["' + content + b'"]]') if content else ()


def pack(content: bytes) -> bytes:
    """Compress for the store."""
    return zlib.compress(content, _LEVEL)


def unpack(content: bytes) -> bytes:
    """The bytes that were packed; StoreError if they are damaged or grow without end."""
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(content, LARGEST)
    except zlib.error as error:
        raise StoreError("a record of the store is damaged", hint="fleetscan store verify") from error
    if not unpacker.eof:
        raise StoreError("a record of the store is cut off or too large", hint="fleetscan store verify")
    return plain


def readable(text: str) -> str:
    """Text for a column that people query: what a database cannot hold (NUL, lone surrogates) becomes U+FFFD."""
    return _NOT_READABLE.sub("\ufffd", text)
