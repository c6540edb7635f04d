"""Tables about the machine, made from what its hives tell."""

from __future__ import annotations

from fleetscan.engines.registry_table.database import Database
from fleetscan.hives.mount import contents
from fleetscan.hives.tree import MemoryRegistry

SZ, EXPAND_SZ, DWORD = 1, 2, 4
NT = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
CONTROL = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control"
SAM_NAMES = ("HKEY_LOCAL_MACHINE", "SAM", "SAM", "Domains", "Account", "Users", "Names")
ANN = "S-1-5-21-1-2-3-1001"


def text(content: str) -> bytes:
    return f"{content}\0".encode("utf-16-le")


def machine() -> Database:
    memory = MemoryRegistry()
    version = memory.key(NT.split("\\"))
    version.set("ProductName", SZ, text("Windows 10 Pro")).set("CurrentVersion", SZ, text("6.3"))
    version.set("CurrentMajorVersionNumber", DWORD, b"\x0a\0\0\0").set("CurrentMinorVersionNumber", DWORD, b"\0\0\0\0")
    version.set("CurrentBuildNumber", SZ, text("19045")).set("UBR", DWORD, b"\x10\0\0\0")
    version.add("ProfileList", ANN).set("ProfileImagePath", EXPAND_SZ, text(r"%SystemDrive%\Users\Ann.old"))
    version.add("ProfileList", "S-1-5-18").set(
        "ProfileImagePath", EXPAND_SZ, text(r"%systemroot%\system32\config\systemprofile")
    )
    version.add("ProfileList", f"{ANN}.bak").set("ProfileImagePath", SZ, text(r"C:\Users\TEMP"))
    memory.key((*SAM_NAMES, "ann")).set("", 1001, b"")
    memory.key(f"{CONTROL}\\ComputerName\\ComputerName".split("\\")).set("ComputerName", SZ, text("PC-7"))
    environment = memory.key(f"{CONTROL}\\Session Manager\\Environment".split("\\"))
    environment.set("PROCESSOR_ARCHITECTURE", SZ, text("AMD64")).set("Path", EXPAND_SZ, text(r"%SystemRoot%\x"))
    return Database(contents(memory))


def rows(sql: str, database: Database | None = None) -> list[tuple[str | None, ...]]:
    return list((database or machine()).rows(sql))


def test_os_version() -> None:
    sql = "SELECT name, version, major, minor, build, revision, arch, platform FROM os_version"
    assert rows(sql) == [
        ("Microsoft Windows 10 Pro", "10.0.19045", "10", "0", "19045", "16", "64-bit", "windows"),
    ]


def test_system_info() -> None:
    assert rows("SELECT hostname, computer_name, cpu_type FROM system_info") == [("PC-7", "PC-7", "x86_64")]


def test_users_come_from_profiles_and_their_names_from_accounts() -> None:
    assert rows("SELECT uid, username, directory, uuid, type FROM users") == [
        ("18", "systemprofile", r"C:\Windows\system32\config\systemprofile", "S-1-5-18", "special"),
        ("1001", "ann", r"C:\Users\Ann.old", ANN, "local"),
    ]


def test_users_join_the_registry() -> None:
    sql = rf"SELECT u.username FROM users u JOIN registry r ON r.name = u.uuid WHERE r.key = '{NT}\ProfileList'"
    assert sorted(rows(sql)) == [("ann",), ("systemprofile",)]


def test_default_environment() -> None:
    assert rows("SELECT variable, value, expand FROM default_environment WHERE expand = 1") == [
        ("Path", r"%SystemRoot%\x", "1")
    ]


def test_time_is_now_in_utc() -> None:
    assert rows("SELECT abs(unix_time - CAST(strftime('%s', 'now') AS INTEGER)) < 5, timezone FROM time") == [
        ("1", "UTC")
    ]


def test_tables_are_empty_where_the_hives_tell_nothing() -> None:
    nothing = Database(contents(MemoryRegistry()))
    for table in ("os_version", "system_info", "users", "default_environment"):
        assert rows(f"SELECT * FROM {table}", nothing) == []
