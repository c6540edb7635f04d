"""A machine's hives form the tree that Windows shows: links, views, what is missing, and the environment."""

from __future__ import annotations

import pytest

from fleetscan.hives.environment import expand
from fleetscan.hives.mount import Hives, Registry, contents, hives_of, link_elements, mount
from fleetscan.hives.regfile import apply_reg
from fleetscan.hives.tree import Key, MemoryKey, MemoryRegistry
from fleetscan.model.environment import SYSTEM_ENVIRONMENT
from fleetscan.model.registry import KeyPath

HKLM, HKU = "HKEY_LOCAL_MACHINE", "HKEY_USERS"
HEADER = "Windows Registry Editor Version 5.00\n"


def _text(text: str) -> bytes:
    return (text + "\0").encode("utf-16-le")


def _system(current: int = 1) -> MemoryKey:
    system = MemoryKey("ROOT")
    system.add("Select").set("Current", 4, current.to_bytes(4, "little"))
    for number in (1, 2):
        system.add(f"ControlSet00{number}", "Services").set("n", 1, _text(str(number)))
    return system


def _open(registry: Registry, path: str) -> Key | None:
    return registry.open(path.split("\\"))


def _names(registry: Registry, path: str) -> list[str]:
    key = _open(registry, path)
    assert key is not None, path
    return [subkey.name for subkey in key.subkeys()]


def _values(registry: Registry, path: str) -> list[str]:
    key = _open(registry, path)
    assert key is not None, path
    return [value.name for value in key.values()]


@pytest.mark.parametrize("current", [1, 2])
def test_current_control_set_is_the_one_of_select(current: int) -> None:
    registry = mount(Hives(machine={"SYSTEM": _system(current)}))

    key = _open(registry, f"{HKLM}\\system\\currentcontrolset\\services")

    assert key is not None
    assert key.values()[0].data == _text(str(current))
    assert _names(registry, f"{HKLM}\\SYSTEM") == ["ControlSet001", "ControlSet002", "CurrentControlSet", "Select"]


@pytest.mark.parametrize("data", [b"", b"\1\0", b"\1\0\0\0\0"])
def test_select_that_is_no_number_gives_no_current_control_set(data: bytes) -> None:
    system = _system()
    system.add("Select").set("Current", 4, data)

    assert _open(mount(Hives(machine={"SYSTEM": system})), f"{HKLM}\\SYSTEM\\CurrentControlSet") is None


def test_current_control_set_that_is_stored_stays() -> None:
    system = _system(2)
    system.add("CurrentControlSet", "Stored")

    registry = mount(Hives(machine={"SYSTEM": system}))

    assert _names(registry, f"{HKLM}\\SYSTEM\\CurrentControlSet") == ["Stored"]


def test_control_set_that_does_not_exist_is_a_link_to_nowhere() -> None:
    registry = mount(Hives(machine={"SYSTEM": _system(7)}))

    assert "CurrentControlSet" in _names(registry, f"{HKLM}\\SYSTEM")
    assert _open(registry, f"{HKLM}\\SYSTEM\\CurrentControlSet") is None


def test_system_account_and_default_are_one_hive() -> None:
    default = MemoryKey("ROOT")
    default.add("Software", "Run")

    registry = mount(Hives(users={".DEFAULT": default}))

    assert _names(registry, HKU) == [".DEFAULT", "S-1-5-18"]
    assert _names(registry, f"{HKU}\\S-1-5-18\\Software") == ["Run"]
    assert _names(registry, "HKEY_CURRENT_USER\\Software") == ["Run"]


def test_system_account_that_is_stored_stays() -> None:
    registry = mount(Hives(users={".DEFAULT": MemoryKey("a"), "S-1-5-18": MemoryKey("b").set("own", 1, b"")}))

    assert _values(registry, f"{HKU}\\S-1-5-18") == ["own"]


def test_classes_of_a_user_stand_twice() -> None:
    user, classes = MemoryKey("ROOT"), MemoryKey("S-1-5-21-1_Classes")
    user.add("Software", "Zoo")
    classes.add("CLSID")

    registry = mount(Hives(users={"S-1-5-21-1": user, "S-1-5-21-1_Classes": classes}))

    assert _names(registry, f"{HKU}\\S-1-5-21-1_Classes") == ["CLSID"]
    assert _names(registry, f"{HKU}\\S-1-5-21-1\\Software\\Classes") == ["CLSID"]
    assert _names(registry, f"{HKU}\\S-1-5-21-1\\Software") == ["Classes", "Zoo"]


def test_classes_that_are_stored_in_the_users_hive_stay() -> None:
    user = MemoryKey("ROOT")
    user.add("Software", "Classes", "own")

    registry = mount(Hives(users={"S-1-5-21-1": user, "S-1-5-21-1_Classes": MemoryKey("c")}))

    assert _names(registry, f"{HKU}\\S-1-5-21-1\\Software\\Classes") == ["own"]


def test_classes_root_shows_the_users_part_over_the_machines() -> None:
    software, default = MemoryKey("ROOT"), MemoryKey("ROOT")
    software.add("Classes", "both").set("v", 1, b"machine").set("m", 1, b"")
    software.add("Classes", "both", "below machine")
    software.add("Classes", "machine")
    default.add("Software", "Classes", "Both").set("v", 1, b"user")
    default.add("Software", "Classes", "user")

    registry = mount(Hives(machine={"SOFTWARE": software}, users={".DEFAULT": default}))

    both = _open(registry, "HKEY_CLASSES_ROOT\\both")
    assert both is not None
    assert _names(registry, "HKEY_CLASSES_ROOT") == ["Both", "machine", "user"]
    assert [(value.name, value.data) for value in both.values()] == [("v", b"user"), ("m", b"")]
    assert _names(registry, "HKEY_CLASSES_ROOT\\both") == ["below machine"]


def test_current_config_is_the_hardware_profile() -> None:
    system = _system()
    system.add("ControlSet001", "Hardware Profiles", "0001", "Software")

    assert _names(mount(Hives(machine={"SYSTEM": system})), "HKEY_CURRENT_CONFIG") == ["Software"]


def test_absent_hives_are_missing() -> None:
    registry = mount(Hives(machine={"System": _system()}), missing=(KeyPath((HKU, "S-1-5-21-1")),))

    assert [str(path) for path in registry.missing] == [
        f"{HKLM}\\SOFTWARE",
        f"{HKLM}\\SAM",
        f"{HKLM}\\SECURITY",
        HKU,
        f"{HKU}\\S-1-5-21-1",
    ]


def test_export_shows_its_topmost_keys_under_every_name_they_have() -> None:
    memory = MemoryRegistry()
    machine = f'[{HKLM}\\SYSTEM\\Select]\n"Current"=dword:2\n[{HKLM}\\SYSTEM\\ControlSet002\\Services]\n'
    users = f"[{HKU}\\.DEFAULT\\Software]\n[{HKU}\\S-1-5-21-1_Classes]\n[{HKU}\\S-1-5-21-1\\Software]\n"
    apply_reg(memory, f"{HEADER}{machine}{users}", "t")
    registry = mount(hives_of(memory), exported=memory.exported)

    assert sorted(map(str, registry.parts())) == [
        f"{HKLM}\\SYSTEM\\ControlSet002\\Services",
        f"{HKLM}\\SYSTEM\\CurrentControlSet\\Services",
        f"{HKLM}\\SYSTEM\\Select",
        f"{HKU}\\.DEFAULT\\Software",
        f"{HKU}\\S-1-5-18\\Software",
        f"{HKU}\\S-1-5-21-1\\Software",
        f"{HKU}\\S-1-5-21-1\\Software\\Classes",
        f"{HKU}\\S-1-5-21-1_Classes",
    ]


@pytest.mark.parametrize("top", [HKLM, f"{HKLM}\\SYSTEM"])
def test_export_of_a_whole_hive_shows_its_links_too(top: str) -> None:
    memory = MemoryRegistry()
    system = f'[{HKLM}\\SYSTEM\\ControlSet001]\n[{HKLM}\\SYSTEM\\Select]\n"Current"=dword:1\n'
    apply_reg(memory, f"{HEADER}[{top}]\n{system}", "t")

    parts = mount(hives_of(memory), exported=memory.exported).parts()

    assert list(map(str, parts)) == [top, f"{HKLM}\\SYSTEM\\CurrentControlSet"]


def test_contents_that_no_export_wrote_are_no_parts() -> None:
    assert mount(Hives(machine={"SYSTEM": _system()})).parts() == ()


@pytest.mark.parametrize(
    ("target", "elements"),
    [
        (r"\Registry\Machine\SOFTWARE\x", (HKLM, "SOFTWARE", "x")),
        (r"\REGISTRY\USER\S-1", (HKU, "S-1")),
        (r"HKEY_USERS\S-1", (HKU, "S-1")),
        (r"\Registry\A\x", ("Registry", "A", "x")),
        ("", ()),
    ],
)
def test_target_of_a_link_is_read(target: str, elements: tuple[str, ...]) -> None:
    assert link_elements(target) == elements


def _linked(*links: tuple[str, str]) -> Registry:
    memory = MemoryRegistry()
    memory.key((HKLM, "a", "b")).set("v", 1, b"")
    for key, target in links:
        memory.key((HKLM, *key.split("\\"))).link_target = f"{HKLM}\\{target}"
    return contents(memory)


def test_links_are_followed_in_the_middle_and_at_the_end() -> None:
    registry = _linked(("x", "y"), ("y", "a"))

    assert _values(registry, f"{HKLM}\\x\\b") == ["v"]
    assert _names(registry, f"{HKLM}\\x") == ["b"]
    assert _names(registry, f"{HKLM}") == ["a", "x", "y"]


@pytest.mark.parametrize("links", [[("x", "x")], [("x", "y"), ("y", "x")], [("x", r"x\deeper")], [("x", "nowhere")]])
def test_links_in_a_circle_or_to_nowhere_give_no_key(links: list[tuple[str, str]]) -> None:
    assert _open(_linked(*links), f"{HKLM}\\x\\b") is None


def test_link_to_a_key_above_can_be_walked_again_and_again() -> None:
    registry = _linked((r"a\back", "a"))

    assert _values(registry, f"{HKLM}\\a" + r"\back" * 20 + r"\b") == ["v"]
    assert _open(registry, f"{HKLM}\\a" + r"\back" * 40 + r"\b") is None


@pytest.mark.parametrize("path", ["", "hkey_local_machine", "HKEY_X\\a", f"{HKLM}\\none\\a"])
def test_key_that_does_not_exist_is_none(path: str) -> None:
    assert _open(_linked(), path) is None


def test_contents_are_shown_as_they_are() -> None:
    memory = MemoryRegistry()
    memory.key((HKLM, "SYSTEM", "Select")).set("Current", 4, b"\1\0\0\0")
    memory.key((HKLM, "SYSTEM", "ControlSet001"))

    registry = contents(memory)

    assert list(registry.roots) == [HKLM, HKU]
    assert _names(registry, f"{HKLM}\\SYSTEM") == ["ControlSet001", "Select"]
    assert (registry.missing, registry.damages()) == ((), ())


def test_roots_that_are_stored_stand_instead_of_the_views() -> None:
    memory = MemoryRegistry()
    memory.key((HKU, ".DEFAULT", "a"))
    memory.key(("HKEY_CURRENT_USER", "own"))

    assert _names(mount(hives_of(memory)), "HKEY_CURRENT_USER") == ["own"]


def test_environment_is_that_of_the_machine() -> None:
    software, system = MemoryKey("ROOT"), _system()
    software.add("Microsoft", "Windows NT", "CurrentVersion").set("SystemRoot", 1, _text("D:\\WINNT"))
    software.add("Microsoft", "Windows", "CurrentVersion").set("ProgramFilesDir", 1, _text("D:\\Programme"))
    variables = system.add("ControlSet001", "Control", "Session Manager", "Environment")
    variables.set("TEMP", 2, _text("%SystemRoot%\\T")).set("OWN", 1, _text("x")).set("Number", 4, bytes(4))

    environment = mount(Hives(machine={"SOFTWARE": software, "SYSTEM": system})).environment

    assert {
        name: environment[name] for name in ("SystemRoot", "windir", "SystemDrive", "ProgramFiles", "TEMP", "OWN")
    } == {
        "SystemRoot": "D:\\WINNT",
        "windir": "D:\\WINNT",
        "SystemDrive": "D:",
        "ProgramFiles": "D:\\Programme",
        "TEMP": "D:\\WINNT\\T",
        "OWN": "x",
    }
    assert environment["ComSpec"] == "D:\\WINNT\\system32\\cmd.exe"
    assert "Number" not in environment


@pytest.mark.parametrize("root", ["", "nonsense", "%SystemRoot%", "C:\\%x%"])
def test_environment_without_a_usable_system_folder_is_the_default(root: str) -> None:
    software = MemoryKey("ROOT")
    software.add("Microsoft", "Windows NT", "CurrentVersion").set("SystemRoot", 1, _text(root))

    assert dict(mount(Hives(machine={"SOFTWARE": software})).environment) == dict(SYSTEM_ENVIRONMENT)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("%systemroot%\\x", "C:\\Windows\\x"),
        ("%SystemRoot%%SystemDrive%", "C:\\WindowsC:"),
        ("%unknown%\\x", "%unknown%\\x"),
        ("100% %", "100% %"),
        ("%loop%", "%loop%"),
    ],
)
def test_variables_are_replaced_once(text: str, expanded: str) -> None:
    assert expand(text, {**SYSTEM_ENVIRONMENT, "loop": "%loop%"}) == expanded
