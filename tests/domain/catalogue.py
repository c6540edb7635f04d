"""WinSock2 catalogue rows built byte by byte from the layout, independent of the parser."""

from __future__ import annotations

import struct
from uuid import UUID

from fleetscan.model.registry import SUBKEY, RegistryRow
from tests.domain.rows import TCP, WINSOCK

STOCK_PATH = r"%SystemRoot%\system32\mswsock.dll"


def packed(
    *,
    path: str = STOCK_PATH,
    provider: str = TCP,
    catalog_id: int = 1001,
    chain: tuple[int, ...] = (),
    chain_length: int = 1,
    numbers: tuple[int, int, int] = (2, 1, 6),
    flags: tuple[int, int] = (0x20066, 8),
    name: str = r"@%SystemRoot%\System32\mswsock.dll,-60100",
    tail: bytes = b"",
) -> bytes:
    """888 bytes: ``numbers`` are family, socket type, protocol; ``flags`` service and provider flags."""
    family, socket_type, protocol = numbers
    out = bytearray(888)
    text = path.encode("cp1252") + b"\0" + tail
    out[: len(text)] = text
    struct.pack_into("<4I", out, 260, flags[0], 0, 0, 0)
    struct.pack_into("<I", out, 276, flags[1])
    out[280:296] = UUID(provider).bytes_le
    struct.pack_into("<2I", out, 296, catalog_id, chain_length)
    for index, entry in enumerate(chain):
        struct.pack_into("<I", out, 304 + 4 * index, entry)
    struct.pack_into("<7i", out, 332, 2, family, 16, 16, socket_type, protocol, 0)
    encoded = name.encode("utf-16-le")
    out[376 : 376 + len(encoded)] = encoded
    return bytes(out)


def entry(number: int, data: bytes, *, view: str = "64", catalog: str = "Protocol_Catalog9") -> list[RegistryRow]:
    """The rows of one entry key."""
    entries = f"{WINSOCK}\\{catalog}\\Catalog_Entries{'' if view == '32' else '64'}"
    path = f"{entries}\\{number:012}"
    return [
        RegistryRow(entries, f"{number:012}", SUBKEY, ""),
        RegistryRow(path, "PackedCatalogItem", "REG_BINARY", data.hex().upper()),
    ]


def namespace(
    number: int, provider: str, library: str, *, space: int = 12, enabled: int = 1, view: str = "64"
) -> list[RegistryRow]:
    """The rows of one name space entry."""
    entries = f"{WINSOCK}\\NameSpace_Catalog5\\Catalog_Entries{'' if view == '32' else '64'}"
    path = f"{entries}\\{number:012}"
    values = [
        ("LibraryPath", "REG_SZ", library),
        ("DisplayString", "REG_SZ", "a name"),
        ("ProviderId", "REG_BINARY", UUID(provider).bytes_le.hex().upper()),
        ("SupportedNameSpace", "REG_DWORD", str(space)),
        ("Enabled", "REG_DWORD", str(enabled)),
        ("Version", "REG_DWORD", "0"),
        ("StoresServiceClassInfo", "REG_DWORD", str(number % 2)),
    ]
    return [
        RegistryRow(entries, f"{number:012}", SUBKEY, ""),
        *(RegistryRow(path, name, value_type, data) for name, value_type, data in values),
    ]
