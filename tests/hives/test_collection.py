"""Folders as people collect them become machines, and their hives stand where Windows mounts them."""

from __future__ import annotations

import lzma
from typing import TYPE_CHECKING

import pytest

from fleetscan.errors import HiveError
from fleetscan.hives.collection import collection, machine
from fleetscan.hives.files import read
from fleetscan.hives.load import load
from fleetscan.hives.recognise import Kind, Recognised, account, recognise
from fleetscan.hives.regf import LARGEST, Hive
from fleetscan.hives.tree import MemoryKey
from tests.doubles.hive_writer import HiveWriter, base_block, log_entry, new_log, write

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.hives.mount import Registry

ALICE, BOB = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
EXPORT = "Windows Registry Editor Version 5.00\n"


def _system(mark: str = "") -> MemoryKey:
    root = MemoryKey("ROOT")
    root.add("Select").set("Current", 4, b"\1\0\0\0")
    root.add("ControlSet001", "Services").set("mark", 1, mark.encode("utf-16-le"))
    return root


def _software(profiles: dict[str, str] | None = None) -> MemoryKey:
    root = MemoryKey("ROOT")
    root.add("Classes")
    current = root.add("Microsoft", "Windows NT", "CurrentVersion")
    for sid, path in (profiles or {}).items():
        current.add("ProfileList", sid).set("ProfileImagePath", 2, (path + "\0").encode("utf-16-le"))
    return root


def _user() -> MemoryKey:
    root = MemoryKey("ROOT")
    root.add("Environment")
    root.add("Software", "Run")
    return root


def _classes(sid: str = "") -> MemoryKey:
    root = MemoryKey(f"{sid}_Classes" if sid else "ROOT")
    root.add("CLSID")
    root.add("Local Settings")
    return root


def _owned(root: MemoryKey, *accounts: str, name: str = "TEST") -> bytes:
    """A hive whose root grants these accounts access."""
    sids = b"".join(
        bytes((1, len(parts), 0, 0, 0, 0, 0, int(authority)))
        + b"".join(int(part).to_bytes(4, "little") for part in parts)
        for _, _, authority, *parts in (account.split("-") for account in accounts)
    )
    writer = HiveWriter(name=name)
    return writer.hive(writer.key(root, security=b"\1\0\4\x80" + sids))


def _put(folder: Path, named: dict[str, bytes | MemoryKey] | None = None, **files: bytes | MemoryKey) -> None:
    """Write hives and other files; names that are no Python names come in ``named``."""
    for name, content in {**(named or {}), **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else write(content))


def _only(folder: Path) -> Registry:
    (found,) = collection(folder).machines
    return load(found)


def _below(registry: Registry, root: str) -> list[str]:
    return [key.name for key in registry.roots[root].subkeys()]


def _machines(folder: Path) -> dict[str, list[str]]:
    return {found.name: sorted(file.path.name for file in found.files) for found in collection(folder).machines}


@pytest.mark.parametrize("above", ["", "C/", "uploads/auto/C%3A/", "HOST/2026/C/"])
@pytest.mark.parametrize("config", ["Windows/System32/config", "WINDOWS/system32/Config"])
def test_volume_is_one_machine_with_its_users(tmp_path: Path, above: str, config: str) -> None:
    volume = tmp_path / "case" / above
    profiles = {ALICE: "C:\\Users\\alice", "S-1-5-19": "C:\\Windows\\ServiceProfiles\\LocalService"}
    for name, root in {"SYSTEM": _system(), "SOFTWARE": _software(profiles), "DEFAULT": _user()}.items():
        _put(volume / config, {name: write(root, name=name)})
    _put(volume / "Users" / "Alice", {"NTUSER.DAT": _user(), "note.txt": b"no hive"})
    _put(volume / "Users" / "Alice" / "AppData/Local/Microsoft/Windows", {"UsrClass.dat": _classes()})
    _put(volume / "Users" / "bob", {"ntuser.dat": _owned(_user(), BOB)})
    _put(volume / "Users" / "Default", {"NTUSER.DAT": _user()})
    _put(volume / config.split("/", maxsplit=1)[0] / "ServiceProfiles" / "LocalService", {"NTUSER.DAT": _user()})

    registry = _only(tmp_path / "case")

    assert _below(registry, "HKEY_LOCAL_MACHINE") == ["SOFTWARE", "SYSTEM"]
    assert sorted(_below(registry, "HKEY_USERS")) == sorted(
        [".DEFAULT", "Default", "S-1-5-18", "S-1-5-19", ALICE, f"{ALICE}_Classes", BOB]
    )
    assert sorted(map(str, registry.missing)) == [
        "HKEY_LOCAL_MACHINE\\SAM",
        "HKEY_LOCAL_MACHINE\\SECURITY",
        f"HKEY_USERS\\{BOB}_Classes",
    ]
    assert (registry.damages(), registry.unused) == ((), ())
    classes = registry.open(("HKEY_USERS", ALICE, "Software", "Classes", "CLSID"))
    assert classes is not None


@pytest.mark.parametrize(
    ("above", "name"),
    [
        ("", "case"),
        ("C/", "case"),
        ("uploads/auto/C%3A/", "case"),
        ("host1/C/", "host1"),
        ("host1/2026-01-01/", "2026-01-01"),
    ],
)
def test_machine_is_named_after_the_nearest_folder_that_names_one(tmp_path: Path, above: str, name: str) -> None:
    _put(tmp_path / "case" / above / "Windows" / "System32" / "config", SYSTEM=_system())

    assert list(_machines(tmp_path / "case")) == [name]


def test_folder_of_machines_gives_each(tmp_path: Path) -> None:
    for host in ("h1", "h2"):
        _put(tmp_path / host / "C" / "Windows" / "System32" / "config", SYSTEM=_system(host))
    _put(tmp_path / "h3", SYSTEM=_system(), SOFTWARE=_software())
    _put(tmp_path / "again" / "h3", SYSTEM=_system())

    assert _machines(tmp_path) == {
        "h1": ["SYSTEM"],
        "h2": ["SYSTEM"],
        "h3": ["SYSTEM"],
        "h3-2": ["SOFTWARE", "SYSTEM"],
    }


def test_backups_of_a_volume_are_not_used(tmp_path: Path) -> None:
    _put(tmp_path / "Windows" / "System32" / "config", SYSTEM=_system("live"))
    _put(tmp_path / "Windows" / "System32" / "config" / "RegBack", SYSTEM=_system("backup"))
    _put(tmp_path / "Windows.old" / "Windows" / "System32" / "config", SYSTEM=_system("before"))

    found = collection(tmp_path)

    assert [len(host.files) for host in found.machines] == [1]
    assert [unused.reason for unused in found.unused] == [
        "a backup that Windows made",
        "a previous installation: name the folder to read it",
    ]


def test_folders_that_are_too_deep_are_said(tmp_path: Path) -> None:
    _put(tmp_path.joinpath(*"abcdefghijklmnop"), SYSTEM=_system())
    _put(tmp_path, SYSTEM=_system())

    assert ["too deep" in unused.reason for unused in collection(tmp_path).unused] == [True]


def test_user_without_hive_is_missing(tmp_path: Path) -> None:
    profiles = {ALICE: "C:\\Users\\alice", "S-1-5-18": "%systemroot%\\system32\\config\\systemprofile"}
    _put(tmp_path, SOFTWARE=_software(profiles))

    missing = [str(path) for path in _only(tmp_path).missing]

    assert f"HKEY_USERS\\{ALICE}" in missing
    assert f"HKEY_USERS\\{ALICE}_Classes" in missing


def test_hives_side_by_side_are_told_by_content_whatever_their_names(tmp_path: Path) -> None:
    _put(
        tmp_path,
        a=_system(),
        b=_software(),
        c=_owned(_user(), ALICE),
        d=_classes(ALICE),
        e=write(_user(), name="DEFAULT"),
    )

    registry = _only(tmp_path)

    assert _below(registry, "HKEY_LOCAL_MACHINE") == ["SOFTWARE", "SYSTEM"]
    assert _below(registry, "HKEY_USERS") == [".DEFAULT", "S-1-5-18", ALICE, f"{ALICE}_Classes"]


def test_names_with_something_in_front_are_several_machines(tmp_path: Path) -> None:
    _put(
        tmp_path,
        {
            "h1-SYSTEM": _system(),
            "h1-SOFTWARE.xz": lzma.compress(write(_software())),
            "h1_NTUSER.DAT": _owned(_user(), ALICE),
            "h2-SYSTEM": _system(),
            "h2-HKLM-SOFTWARE.reg": f"{EXPORT}[HKEY_LOCAL_MACHINE\\SOFTWARE]\n".encode(),
            "lsp.reg": f"{EXPORT}[HKEY_LOCAL_MACHINE\\SYSTEM\\x]\n".encode(),
        },
    )

    assert _machines(tmp_path) == {
        "h1": ["h1-SOFTWARE.xz", "h1-SYSTEM", "h1_NTUSER.DAT"],
        "h2": ["h2-HKLM-SOFTWARE.reg", "h2-SYSTEM"],
        "lsp": ["lsp.reg"],
    }


def test_users_with_their_name_in_front_belong_to_the_machine(tmp_path: Path) -> None:
    _put(
        tmp_path / "host",
        {"SYSTEM": _system(), "alice-NTUSER.DAT": _owned(_user(), ALICE), "bob-NTUSER.DAT": _owned(_user(), BOB)},
    )

    assert list(_machines(tmp_path / "host")) == ["host"]
    assert _below(_only(tmp_path / "host"), "HKEY_USERS") == [ALICE, BOB]


def test_second_hive_of_a_kind_is_a_machine_of_its_own(tmp_path: Path) -> None:
    _put(tmp_path / "host", {"SYSTEM": _system("new"), "SYSTEM-old": _system("old")})
    _put(tmp_path / "host", {"NTUSER.DAT": _owned(_user(), ALICE), "NTUSER-before.DAT": _owned(_user(), ALICE)})

    assert _machines(tmp_path / "host") == {
        "host": ["NTUSER.DAT", "SYSTEM"],
        "SYSTEM-old": ["SYSTEM-old"],
        "NTUSER-before": ["NTUSER-before.DAT"],
    }


def test_second_hive_of_a_place_is_reported(tmp_path: Path) -> None:
    _put(tmp_path, a=_system("first"), b=_system("second"))

    registry = _only(tmp_path)

    assert [reason for _, reason in registry.unused] == ["a second hive for HKEY_LOCAL_MACHINE\\SYSTEM"]
    assert [damage.key for damage in registry.damages() if "not used" in damage.what] == ["HKEY_LOCAL_MACHINE\\SYSTEM"]


def test_no_file_is_left_out_in_silence(tmp_path: Path) -> None:
    _put(
        tmp_path,
        {
            "SYSTEM": _system(),
            "readme.txt": b"text",
            "old.LOG1": new_log(1, 4096, []),
            "ME.DAT": b"CREG" + bytes(100),
            "NTUSER.DAT{1}.TM.blf": b"x",
            "SOFTWARE.sav": _software(),
            "bad.xz": b"\xfd7zXZ\0garbage",
        },
    )
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)

    unused = {unused.file.rpartition("/")[2]: unused.reason for unused in collection(tmp_path).unused}

    assert sorted(unused) == [
        "ME.DAT",
        "NTUSER.DAT{1}.TM.blf",
        "SOFTWARE.sav",
        "bad.xz",
        "link",
        "old.LOG1",
        "readme.txt",
    ]
    assert "Windows 95, 98 or ME" in unused["ME.DAT"]
    assert unused["old.LOG1"] == "a log without its hive"


def test_logs_beside_a_hive_are_replayed(tmp_path: Path) -> None:
    old, new = write(_system("old")), write(_system("new"))
    pages = [(0, new[4096:8192])]
    log = new_log(5, len(new) - 4096, [log_entry(5, len(new) - 4096, pages)])
    _put(tmp_path, {"SYSTEM": base_block((6, 5), 32, len(old) - 4096) + old[512:]})
    _put(tmp_path, {"system.LOG1": log, "SYSTEM.LOG": b""})

    registry = _only(tmp_path)

    services = registry.open(("HKEY_LOCAL_MACHINE", "SYSTEM", "CurrentControlSet", "Services"))
    assert services is not None
    assert services.values()[0].data == "new".encode("utf-16-le")
    assert collection(tmp_path).unused == ()


def test_unreadable_hive_is_a_damage_and_its_place_is_missing(tmp_path: Path) -> None:
    _put(tmp_path, SYSTEM=_system(), SOFTWARE=b"regf" + bytes(9000))

    registry = _only(tmp_path)

    assert any(damage.file.endswith("SOFTWARE") for damage in registry.damages())
    assert "HKEY_LOCAL_MACHINE\\SOFTWARE" in map(str, registry.missing)


def test_machine_of_unreadable_hives_only_is_an_error(tmp_path: Path) -> None:
    _put(tmp_path, SOFTWARE=b"regf" + bytes(9000))

    with pytest.raises(HiveError, match="no root key"):
        _only(tmp_path)


def test_hive_of_no_known_place_is_mounted_under_its_name(tmp_path: Path) -> None:
    _put(tmp_path, {"strange.hiv": MemoryKey("ROOT").add("x")})

    assert _below(_only(tmp_path), "HKEY_LOCAL_MACHINE") == ["strange.hiv"]


def test_exports_of_one_machine_are_imported_together(tmp_path: Path) -> None:
    _put(
        tmp_path,
        {
            "h-HKLM-SYSTEM.reg": f'{EXPORT}[HKEY_LOCAL_MACHINE\\SYSTEM\\Select]\n"Current"=dword:2\n'.encode(),
            "h-HKLM-SOFTWARE.reg": f"{EXPORT}[HKEY_LOCAL_MACHINE\\SOFTWARE\\x]\n".encode(),
            "h-HKCU.reg": f"{EXPORT}[HKEY_CURRENT_USER\\Software\\own]\n".encode(),
        },
    )

    registry = _only(tmp_path)

    assert _below(registry, "HKEY_LOCAL_MACHINE") == ["SOFTWARE", "SYSTEM"]
    assert _below(registry, "HKEY_USERS") == ["CURRENT_USER"]
    assert registry.open(("HKEY_CURRENT_USER", "Software", "own")) is not None
    assert [str(path) for path in registry.missing] == ["HKEY_LOCAL_MACHINE\\SAM", "HKEY_LOCAL_MACHINE\\SECURITY"]


def test_export_that_breaks_off_is_imported_up_to_there(tmp_path: Path) -> None:
    _put(tmp_path, {"x.reg": f"{EXPORT}[HKEY_USERS\\a]\nnonsense\n[HKEY_USERS\\b]\n".encode()})

    registry = _only(tmp_path)

    assert _below(registry, "HKEY_USERS") == ["a"]
    assert ["the rest is not imported" in damage.what for damage in registry.damages()] == [True]


def test_export_of_what_a_hive_holds_is_not_used_and_said(tmp_path: Path) -> None:
    _put(tmp_path, {"SYSTEM.reg": f"{EXPORT}[HKEY_LOCAL_MACHINE\\SYSTEM\\x]\n".encode()}, SYSTEM=_system())

    registry = _only(tmp_path)

    assert registry.open(("HKEY_LOCAL_MACHINE", "SYSTEM", "x")) is None
    assert any("its hive is here" in damage.what for damage in registry.damages())


def test_files_can_be_named_one_by_one_in_order(tmp_path: Path) -> None:
    _put(tmp_path, {"base.reg": f"{EXPORT}[HKEY_USERS\\a]\n[HKEY_USERS\\b]\n".encode()})
    _put(tmp_path, {"change.reg": f"{EXPORT}[-HKEY_USERS\\a]\n".encode()})

    registry = load(machine("host", [tmp_path / "base.reg", tmp_path / "change.reg"]))

    assert _below(registry, "HKEY_USERS") == ["b"]


def test_hive_that_is_named_alone_still_stands_in_its_users_folder(tmp_path: Path) -> None:
    volume, classes = tmp_path / "C", "Users/Alice/AppData/Local/Microsoft/Windows"
    _put(volume / "Windows" / "System32" / "config", SOFTWARE=_software({ALICE: "C:\\Users\\alice"}))
    _put(volume / "Users" / "Alice", {"NTUSER.DAT": _user()})
    _put(volume / classes, {"UsrClass.dat": _classes()})
    files = ["Windows/System32/config/SOFTWARE", "Users/Alice/NTUSER.DAT", f"{classes}/UsrClass.dat"]

    registry = load(machine("host", [volume / file for file in files]))

    assert _below(registry, "HKEY_USERS") == [ALICE, f"{ALICE}_Classes"]


@pytest.mark.parametrize(("content", "what"), [(b"text", "no registry file"), (b"CREG", "Windows 95, 98 or ME")])
def test_named_file_that_is_no_registry_file_is_an_error(tmp_path: Path, content: bytes, what: str) -> None:
    _put(tmp_path, file=content)

    with pytest.raises(HiveError, match=what):
        collection(tmp_path / "file")


def test_folder_without_a_registry_is_an_error(tmp_path: Path) -> None:
    _put(tmp_path, {"readme.txt": b"text"})

    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(HiveError, match=r"no registry hive or export|no such file or folder"):
            collection(path)


def test_folder_of_several_machines_is_not_one_machine(tmp_path: Path) -> None:
    _put(tmp_path, {"a-SYSTEM": _system(), "b-SYSTEM": _system()})

    with pytest.raises(HiveError, match="2 machines are here: a, b"):
        machine("host", [tmp_path])


def test_compressed_file_is_unpacked_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(tmp_path, {"SYSTEM.xz": lzma.compress(bytes(100_000))})

    assert len(read(tmp_path / "SYSTEM.xz")) == 100_000
    assert LARGEST == 1 << 31
    monkeypatch.setattr("fleetscan.hives.files.LARGEST", 99_999)
    with pytest.raises(HiveError, match="more than 99999 bytes"):
        read(tmp_path / "SYSTEM.xz")


@pytest.mark.parametrize(
    ("keys", "embedded", "file", "kind"),
    [
        (["SAM"], "", "x", Recognised(Kind.MACHINE, "SAM")),
        (["Policy", "RXACT", "SAM"], "", "x", Recognised(Kind.MACHINE, "SECURITY")),
        (["Microsoft", "Policies"], "", "x", Recognised(Kind.MACHINE, "SOFTWARE")),
        (["ControlSet003"], "", "x", Recognised(Kind.MACHINE, "SYSTEM")),
        (["DriverDatabase"], "", "x", Recognised(Kind.MACHINE, "DRIVERS")),
        (["Objects", "Description"], "", "x", Recognised(Kind.MACHINE, "BCD00000000")),
        (["Software", "Console"], r"\??\C:\Users\x\ntuser.dat", "x", Recognised(Kind.USER)),
        (["Software", "Console"], r"temRoot\System32\Config\DEFAULT", "x", Recognised(Kind.USER, ".DEFAULT")),
        ([".txt", ".doc"], "", "x", Recognised(Kind.CLASSES)),
        ([], r"\Microsoft\Windows\UsrClass.dat", "x", Recognised(Kind.CLASSES)),
        ([], r"\SystemRoot\System32\Config\SAM", "x", Recognised(Kind.MACHINE, "SAM")),
        ([], "", "HOST1_SOFTWARE.hiv", Recognised(Kind.MACHINE, "SOFTWARE")),
        ([], "", "DEFAULT", Recognised(Kind.USER, ".DEFAULT")),
        ([], "", "bob-NTUSER.DAT", Recognised(Kind.USER)),
        (["Software", "Console"], "", "DEFAULT", Recognised(Kind.USER, ".DEFAULT")),
        (["Software", "Console"], "", "default-NTUSER.DAT", Recognised(Kind.USER)),
        (["Root"], "", "Amcache.hve", None),
    ],
)
def test_hive_is_recognised(keys: list[str], embedded: str, file: str, kind: Recognised | None) -> None:
    root = MemoryKey("ROOT")
    for key in keys:
        root.add(key)

    assert recognise(Hive(write(root, name=embedded), "t"), file) == kind


@pytest.mark.parametrize(
    ("accounts", "sid"),
    [
        ([], ""),
        ([ALICE], ALICE),
        (["S-1-12-1-1-2-3-4"], "S-1-12-1-1-2-3-4"),
        ([ALICE, ALICE], ALICE),
        ([ALICE, BOB], ""),
        (["S-1-5-18"], ""),
    ],
)
def test_owner_of_a_hive_is_the_one_account_of_its_permissions(accounts: list[str], sid: str) -> None:
    assert account(Hive(_owned(_user(), *accounts), "t")) == sid
