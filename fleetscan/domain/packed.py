"""PackedCatalogItem byte by byte: a library path and a WSAPROTOCOL_INFOW (windows-domain 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from fleetscan.domain import guid

SIZE = 888
_PATH = 260
_NAME = 376
_INFO = Struct("<4I I 16s I i 7I 7i")
"""Service flags 1 to 4, provider flags, GUID, catalogue id, chain length, 7 chain entries, version, family, largest and
smallest socket address, socket type, protocol, largest protocol offset: all that identity and attributes need."""
_MESSAGE_SIZE = slice(368, 372)
_MOST_CHAIN = 7
LAYERED, BASE = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedItem:
    """The fields of one row. ``problems`` say what is malformed; fields behind a cut are zero or empty."""

    path: str
    tail: bytes
    """What stands behind the path's NUL: uninitialised on Windows 7 and 8.1, no meaning."""
    service_flags: int
    provider_flags: int
    provider: str
    catalog_id: int
    chain_length: int
    chain: tuple[int, ...]
    version: int
    family: int
    max_address: int
    min_address: int
    socket_type: int
    protocol: int
    message_size: int
    name: str
    problems: tuple[str, ...] = ()

    @property
    def chain_class(self) -> str:
        """layered, base or chain."""
        return {LAYERED: "layered", BASE: "base"}.get(self.chain_length, "chain")


def parse(data_hex: str) -> PackedItem | None:
    """Parse what osquery prints; None if not even the identity can be read.

    Agents before 5.14 pad with zeros to the largest value of the key: zeros behind 888 bytes are cut.
    """
    try:
        data = bytes.fromhex(data_hex)
    except ValueError:
        return None
    problems = []
    if len(data) > SIZE and not any(data[SIZE:]):
        data = data[:SIZE]
    if len(data) != SIZE:
        problems.append(f"malformed: {len(data)} bytes instead of {SIZE}")
    if len(data) < _PATH + _INFO.size:
        return None
    return _parse(data, problems)


def _parse(data: bytes, problems: list[str]) -> PackedItem:
    path, separator, tail = data[:_PATH].partition(b"\0")
    if not separator:
        problems.append("the library path has no end")
    numbers = _INFO.unpack_from(data, _PATH)
    flags, provider_flags, provider, catalog_id, length = numbers[0], *numbers[4:8]
    version, family, largest, smallest, socket_type, protocol, _ = numbers[15:22]
    if not 0 <= length <= _MOST_CHAIN:
        problems.append(f"impossible chain length {length}")
    if any(numbers[1:4]):
        problems.append("reserved service flags are set")
    return PackedItem(
        path=path.decode("cp1252", "replace"),
        tail=tail,
        service_flags=flags,
        provider_flags=provider_flags,
        provider=guid.from_bytes(provider),
        catalog_id=catalog_id,
        chain_length=length,
        chain=tuple(numbers[8 : 8 + max(0, min(length, _MOST_CHAIN))]) if length > BASE else (),
        version=version,
        family=family,
        max_address=largest,
        min_address=smallest,
        socket_type=socket_type,
        protocol=protocol,
        message_size=int.from_bytes(data[_MESSAGE_SIZE], "little"),
        name=_name(data[_NAME:SIZE], problems),
        problems=tuple(problems),
    )


def _name(data: bytes, problems: list[str]) -> str:
    text = data[: len(data) // 2 * 2].decode("utf-16-le", "replace")
    name, separator, _ = text.partition("\0")
    if not separator and data:
        problems.append("the protocol name has no end")
    return name
