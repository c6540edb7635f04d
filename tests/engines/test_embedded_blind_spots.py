"""What strict mode hides is reported beside the rows, and what hides nothing is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetscan.engines.registry_table.blind_spots import Witness
from fleetscan.engines.registry_table.calls import Fault, Faults
from fleetscan.engines.registry_table.database import Database
from fleetscan.hives.mount import contents
from fleetscan.hives.tree import MemoryKey, MemoryRegistry
from fleetscan.model.registry import RegistryRow
from fleetscan.model.snapshot import BlindSpot

KEY = r"HKEY_LOCAL_MACHINE\SOFTWARE\K"
SZ, BINARY, DWORD, MULTI_SZ, NONE = 1, 3, 4, 7, 0
TEXT = "text\0".encode("utf-16-le")


def registry() -> tuple[MemoryRegistry, MemoryKey]:
    memory = MemoryRegistry()
    return memory, memory.key(KEY.split("\\"))


def seen(memory: MemoryRegistry, where: str = f"key = '{KEY}'", *faults: Fault) -> list[BlindSpot]:
    witness = Witness()
    database = Database(contents(memory), witness=witness, faults=Faults(faults))
    list(database.rows(f"SELECT * FROM registry WHERE {where}"))
    return [replace(spot, rows=()) for spot in witness.spots()]


def kinds(spots: list[BlindSpot]) -> list[tuple[str, str]]:
    return [(spot.kind, spot.key) for spot in spots]


def test_values_behind_an_empty_value_are_named() -> None:
    memory, key = registry()
    key.set("a", SZ, TEXT).set("empty", BINARY, b"").set("Payload", SZ, TEXT)

    assert seen(memory) == [
        BlindSpot("values behind an empty value", KEY, "'empty' is empty and hides 'Payload' (REG_SZ)")
    ]


def test_what_is_hidden_is_kept_as_rows() -> None:
    memory, key = registry()
    key.set("a", SZ, TEXT).set("empty", BINARY, b"").set("Payload", SZ, TEXT)
    key.add("!" + "x" * 254)
    key.add("later").set("v", DWORD, b"\1\0\0\0")
    witness = Witness()
    list(Database(contents(memory), witness=witness).rows(f"SELECT * FROM registry WHERE key = '{KEY}'"))
    [spot] = witness.spots()
    assert spot.rows == (
        RegistryRow(KEY, "later", "subkey", ""),
        RegistryRow(f"{KEY}\\later", "v", "REG_DWORD", "1"),
        RegistryRow(KEY, "a", "REG_SZ", "text"),
        RegistryRow(KEY, "empty", "REG_BINARY", ""),
        RegistryRow(KEY, "Payload", "REG_SZ", "text"),
    )


def test_the_rows_of_blind_spots_are_bounded() -> None:
    memory, key = registry()
    for number in range(12):
        below = key.add(f"k{number}").set("empty", BINARY, b"")
        for value in range(500):
            below.set(f"v{value}", BINARY, b"x" * 5000)
    witness = Witness()
    list(Database(contents(memory), witness=witness).rows(f"SELECT * FROM registry WHERE key LIKE '{KEY}\\%'"))
    kept = [row for spot in witness.spots() for row in spot.rows]
    assert len(witness.spots()) == 12
    assert len(kept) == 10 * 400
    assert max(len(row.data) for row in kept) == 2 * 4096


def test_empty_values_at_the_end_hide_nothing() -> None:
    memory, key = registry()
    key.set("DisplayString", SZ, TEXT).set("ProviderInfo", BINARY, b"").set("ProgId", NONE, b"")

    assert seen(memory) == []


def test_types_without_a_name_are_expected_where_windows_writes_them() -> None:
    memory = MemoryRegistry()
    enum = r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Enum\PCI\LogConf"
    for where in (enum, enum.replace("Enum", "Services")):
        memory.key(where.split("\\")).set("BasicConfigVector", 10, b"\1")

    assert seen(memory, f"key = '{enum}'") == []
    assert kinds(seen(memory, f"key = '{enum.replace('Enum', 'Services')}'")) == [
        ("unknown type payload", enum.replace("Enum", "Services"))
    ]


@pytest.mark.parametrize(
    ("value_type", "data", "kind"),
    [
        (NONE, b"\1", "REG_NONE payload"),
        (0x1234, b"\1", "unknown type payload"),
        (SZ, "shown\0hidden\0".encode("utf-16-le"), "data behind NUL"),
        (MULTI_SZ, "a\0\0hidden\0\0".encode("utf-16-le"), "data behind NUL"),
        (DWORD, b"\1\0", "short number"),
    ],
)
def test_data_that_the_table_does_not_show(value_type: int, data: bytes, kind: str) -> None:
    memory, key = registry()
    key.set("v", value_type, data)

    assert seen(memory) == [BlindSpot(kind, KEY, "data not shown of 'v'")]


@pytest.mark.parametrize(
    ("value_type", "data"),
    [
        (SZ, TEXT),
        (SZ, "unterminated".encode("utf-16-le")),
        (SZ, b""),
        (SZ, "padded\0\0\0\0".encode("utf-16-le")),
        (MULTI_SZ, "a\0b\0\0".encode("utf-16-le")),
        (MULTI_SZ, b"\0\0"),
        (BINARY, b"\0\0\0\0"),
        (DWORD, b"\1\0\0\0"),
        (0xFFFF0012, b"device property"),
    ],
)
def test_data_that_is_wholly_shown_or_expected(value_type: int, data: bytes) -> None:
    memory, key = registry()
    key.set("v", value_type, data).set("w", SZ, TEXT)

    assert seen(memory) == []


def test_value_name_with_a_nul() -> None:
    memory, key = registry()
    key.set("Dll\0x", SZ, TEXT).set("later", SZ, TEXT)

    assert seen(memory) == [
        BlindSpot("name with NUL", KEY, r"hides 'Dll\x00x' (REG_SZ), 'later' (REG_SZ)"),
    ]


def test_value_name_with_a_nul_behind_its_twin() -> None:
    memory, key = registry()
    key.set("Dll", SZ, TEXT).set("Dll\0x", SZ, TEXT)

    assert kinds(seen(memory)) == [("name with NUL", KEY)]


def test_value_name_that_is_too_long() -> None:
    memory, key = registry()
    key.set("n" * 16383, SZ, TEXT)

    assert kinds(seen(memory)) == [("16383-character value name", KEY)]


def test_key_name_of_255_characters() -> None:
    memory, key = registry()
    key.add("k" * 255)
    key.set("v", SZ, TEXT)

    (spot,) = seen(memory)
    assert (spot.kind, spot.key) == ("255-character name", KEY)
    assert spot.detail.endswith("hides 0 later subkeys and 1 values")


@pytest.mark.parametrize("name", [" blank", "blank ", "nul\0", "lone\ud800", "tab\t"])
def test_key_that_cannot_be_asked_for(name: str) -> None:
    memory, key = registry()
    key.add(name).set("v", SZ, TEXT)

    assert kinds(seen(memory)) == [("unreachable twin", KEY)]


def test_link_is_told_when_it_is_followed() -> None:
    memory, key = registry()
    key.add("Link").link_target = r"\Registry\Machine\SOFTWARE\Target"
    memory.key((*KEY.split("\\")[:2], "Target")).set("v", SZ, TEXT)

    assert seen(memory) == []
    assert kinds(seen(memory, rf"key = '{KEY}\Link'")) == [("link", rf"{KEY}\Link")]


def test_link_of_windows_itself_is_expected() -> None:
    memory = MemoryRegistry()
    system = memory.key(("HKEY_LOCAL_MACHINE", "SYSTEM"))
    system.add("ControlSet001", "Control").set("v", SZ, TEXT)
    system.add("CurrentControlSet").link_target = r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001"

    assert seen(memory, r"key = 'HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control'") == []


def test_pattern_that_lost_branches() -> None:
    memory, key = registry()
    key.add("a", "deep")
    key.add("b", "deep")
    fault = Fault(op="open", key=rf"{KEY}\a", code=5)

    assert kinds(seen(memory, rf"key LIKE '{KEY}\%%'", fault)) == [("pattern cut short", rf"{KEY}\a")]


def test_pattern_that_ends_at_its_depth_limit() -> None:
    memory, key = registry()
    key.add(*"abcdefghijklmnopqrstuvwxyzabcdefghijklmnop")

    assert kinds(seen(memory, rf"key LIKE '{KEY}\%%'")) == [("depth limit", rf"{KEY}\%%")]


def test_only_keys_that_were_read_are_reported() -> None:
    memory, key = registry()
    key.add("Other").set("empty", BINARY, b"").set("Payload", SZ, TEXT)

    assert seen(memory) == []
