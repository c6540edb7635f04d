"""What differs between osquery versions, each on the smallest registry that shows it."""

from __future__ import annotations

import pytest

from fleetscan.engines.registry_table.database import Database
from fleetscan.engines.registry_table.versions import CURRENT_VERSION, behaviour_of
from fleetscan.errors import SettingsError
from fleetscan.hives.mount import contents
from fleetscan.hives.tree import MemoryRegistry

KEY = r"HKEY_LOCAL_MACHINE\SOFTWARE\K"
OTHER = r"HKEY_LOCAL_MACHINE\SOFTWARE\L"
SZ, EXPAND_SZ, BINARY = 1, 2, 3


def database(version: str) -> Database:
    memory = MemoryRegistry()
    key = memory.key(KEY.split("\\"))
    key.set("raw", EXPAND_SZ, "%windir%\\x\0".encode("utf-16-le"))
    key.set("short", BINARY, b"\xab").set("empty", BINARY, b"").set("last", SZ, "z\0".encode("utf-16-le"))
    memory.key(OTHER.split("\\")).set("v", SZ, "v\0".encode("utf-16-le"))
    return Database(contents(memory, environment={"windir": r"C:\W"}), behaviour=behaviour_of(version))


def rows(version: str, where: str) -> list[tuple[str | None, ...]]:
    return list(database(version).rows(f"SELECT name, type, data FROM registry WHERE {where}"))


def test_since_514_values_are_expanded_and_an_empty_one_ends_the_listing() -> None:
    assert rows("5.14.0", f"key = '{KEY}'") == [("raw", "REG_SZ", r"C:\W\x"), ("short", "REG_BINARY", "AB")]


def test_before_514_values_are_raw_and_binary_is_padded() -> None:
    longest = len("%windir%\\x\0".encode("utf-16-le"))
    assert rows("5.13.1", f"key = '{KEY}'") == [
        ("raw", "REG_EXPAND_SZ", r"%windir%\x"),
        ("short", "REG_BINARY", "AB" + "00" * (longest - 1)),
        ("empty", "REG_BINARY", "00" * longest),
        ("last", "REG_SZ", "z"),
    ]


@pytest.mark.parametrize(("version", "scans"), [("5.14.9", 2), ("5.15.0", 1)])
def test_in_takes_one_scan_since_515(version: str, scans: int) -> None:
    asked = database(version)

    list(asked.rows(f"SELECT * FROM registry WHERE key IN ('{KEY}', '{OTHER}')"))

    assert asked.calls.table == scans


@pytest.mark.parametrize(("version", "found"), [("5.3.0", 1), ("5.4.0", 0)])
def test_limit_is_taken_for_a_constraint_since_54(version: str, found: int) -> None:
    assert len(list(database(version).rows("SELECT path FROM registry LIMIT 2"))) == found


@pytest.mark.parametrize(("version", "found"), [("5.4.0", 0), ("5.5.0", 2)])
def test_key_compares_without_case_since_55(version: str, found: int) -> None:
    # Both spellings are read, and each row must satisfy both terms.
    sql = f"SELECT 1 FROM registry WHERE key = '{OTHER}' AND key = '{OTHER.replace('SOFTWARE', 'software')}'"
    assert len(list(database(version).rows(sql))) == found


def test_osquery_info_tells_the_version() -> None:
    assert list(database("5.13.1").rows("SELECT version FROM osquery_info")) == [("5.13.1",)]


def test_current_version_has_every_behaviour() -> None:
    assert behaviour_of() == behaviour_of(CURRENT_VERSION)
    assert behaviour_of().runs_unterminated


@pytest.mark.parametrize("text", ["latest", "5", "5.x", "v5.1.0", "5.1.2.3.4"])
def test_no_version(text: str) -> None:
    with pytest.raises(SettingsError, match="no osquery version"):
        behaviour_of(text)
