"""All rows below a key as osquery prints them, straight from the tree: what rows mean is tested, not the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.model.registry import DEFAULT_VALUE, SUBKEY, RegistryRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetscan.hives.mount import Registry
    from fleetscan.hives.tree import Value

_TYPES = {0: "REG_NONE", 1: "REG_SZ", 2: "REG_SZ", 3: "REG_BINARY", 4: "REG_DWORD", 7: "REG_MULTI_SZ"}


def rows_below(registry: Registry, path: tuple[str, ...]) -> Iterator[RegistryRow]:
    """Rows of the key and of all keys below."""
    key = registry.open(path)
    if key is None:
        return
    text = "\\".join(path)
    for subkey in key.subkeys():
        yield RegistryRow(text, subkey.name, SUBKEY, "")
        yield from rows_below(registry, (*path, subkey.name))
    for value in key.values():
        yield RegistryRow(text, value.name or DEFAULT_VALUE, _TYPES.get(value.type, "UNKNOWN"), _data(value))


def _data(value: Value) -> str:
    if value.type in {1, 2}:
        return value.data.decode("utf-16-le", "replace").split("\0")[0]
    if value.type == 4:
        return str(int.from_bytes(value.data, "little", signed=True))
    return value.data.hex().upper()
