"""What a hive is, by what it holds: the place where Windows mounts it, and whose it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from fleetscan.hives.regf import Hive


class Kind(Enum):
    """Where a hive belongs."""

    MACHINE = "below HKEY_LOCAL_MACHINE"
    USER = "a user's part of HKEY_USERS"
    CLASSES = "a user's COM classes"


@dataclass(frozen=True, slots=True)
class Recognised:
    """A hive's kind; ``name`` is the key of a machine hive, and ``.DEFAULT`` for the user hive of SYSTEM."""

    kind: Kind
    name: str = ""


_CONTROL_SET = re.compile("CONTROLSET[0-9]{3}")
_USER_KEYS = frozenset({"CONTROL PANEL", "ENVIRONMENT", "CONSOLE", "KEYBOARD LAYOUT", "APPEVENTS", "PRINTERS", "EUDC"})
_CLASS_KEYS = frozenset({"CLSID", "LOCAL SETTINGS", "VIRTUALSTORE", "APPID", "INTERFACE"})
# Each machine hive by keys below its root: all of the first set, none of the second.
_MACHINE_KEYS: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
    ("SECURITY", frozenset({"POLICY"}), frozenset({"CLASSES"})),
    ("SAM", frozenset({"SAM"}), frozenset({"CLASSES"})),
    ("SOFTWARE", frozenset({"MICROSOFT", "CLASSES"}), frozenset({"CONTROL PANEL"})),
    ("SOFTWARE", frozenset({"MICROSOFT", "POLICIES"}), frozenset({"CONTROL PANEL"})),
    ("COMPONENTS", frozenset({"DERIVEDDATA"}), frozenset()),
    ("COMPONENTS", frozenset({"CANONICALDATA"}), frozenset()),
    ("DRIVERS", frozenset({"DRIVERDATABASE"}), frozenset()),
    ("BCD00000000", frozenset({"OBJECTS", "DESCRIPTION"}), frozenset()),
    ("HARDWARE", frozenset({"DEVICEMAP"}), frozenset()),
)
_MACHINE_NAMES = frozenset(
    {"SYSTEM", "SOFTWARE", "SAM", "SECURITY", "COMPONENTS", "DRIVERS", "ELAM", "BBI", "HARDWARE"}
)
_USER_NAME, _CLASSES_NAME = "NTUSER.DAT", "USRCLASS.DAT"
_ACCOUNT = re.compile(rb"\x01\x05\0{5}(?:\x05\x15|\x0c\x01)\0{3}.{16}", re.DOTALL)
_CLASSES_ROOT = re.compile(r"(S-1(?:-\d+){2,14})_Classes", re.IGNORECASE)
_MOST_KEYS = 20_000
WORDS = (*sorted(_MACHINE_NAMES), "DEFAULT", "NTUSER", "USRCLASS")
"""Words that file names of hives hold; a file's name is the last thing that is looked at."""


def recognise(hive: Hive, file_name: str) -> Recognised | None:
    """Tell a hive by the keys below its root, then by the name that Windows wrote into it, then by its file's name."""
    keys = {fold(key.name) for key in list(hive.root.subkeys())[:_MOST_KEYS]}
    embedded = fold(hive.base.file_name.rpartition("\\")[2])
    by_file = _by_name(fold(file_name))
    found = _by_keys(hive, keys, embedded) or _by_name(embedded) or by_file
    # The hive of the SYSTEM account holds what any user's does; only names tell.
    default = found == Recognised(Kind.USER) and embedded != _USER_NAME and not account(hive)
    return by_file if default and by_file == Recognised(Kind.USER, ".DEFAULT") else found


def _by_keys(hive: Hive, keys: set[str], embedded: str) -> Recognised | None:
    if "SELECT" in keys or any(map(_CONTROL_SET.fullmatch, keys)):
        return Recognised(Kind.MACHINE, "SYSTEM")
    if _CLASSES_ROOT.fullmatch(hive.root.name) or embedded == _CLASSES_NAME:
        return Recognised(Kind.CLASSES)
    if keys & _USER_KEYS and "SOFTWARE" in keys:
        return Recognised(Kind.USER, ".DEFAULT" if embedded == "DEFAULT" else "")
    for name, present, absent in _MACHINE_KEYS:
        if present <= keys and not keys & absent:
            return Recognised(Kind.MACHINE, name)
    if len(keys & _CLASS_KEYS) > 1 or (keys and all(key.startswith(".") for key in keys)):
        return Recognised(Kind.CLASSES)
    return None


def _by_name(name: str) -> Recognised | None:
    """By a file's folded name, exact or as one of its words (``HOST1_SYSTEM.hiv``)."""
    if name.endswith((_USER_NAME, _CLASSES_NAME)):
        return Recognised(Kind.USER if name.endswith(_USER_NAME) else Kind.CLASSES)
    for word in re.split(r"[^A-Z0-9]+", name):
        if word == "DEFAULT":
            return Recognised(Kind.USER, ".DEFAULT")
        if word in _MACHINE_NAMES:
            return Recognised(Kind.MACHINE, word)
        if word in {"NTUSER", "USRCLASS"}:
            return Recognised(Kind.USER if word == "NTUSER" else Kind.CLASSES)
    return None


def account(hive: Hive) -> str:
    """The SID of the user whose hive it is: in the root's name, else the one account its permissions name."""
    named = _CLASSES_ROOT.fullmatch(hive.root.name)
    if named:
        return named[1].upper()
    accounts = set(_ACCOUNT.findall(hive.root.security_descriptor()))
    return _sid(accounts.pop()) if len(accounts) == 1 else ""


def _sid(data: bytes) -> str:
    parts = (int.from_bytes(data[at : at + 4], "little") for at in range(8, len(data), 4))
    return "-".join(["S-1", str(int.from_bytes(data[2:8], "big")), *map(str, parts)])


def profile_folder(hive: Hive) -> str:
    r"""The folder of the user's profile in the name Windows wrote into the hive (``...\tony\ntuser.dat``), if it is."""
    parts = hive.base.file_name.split("\\")
    is_profile = len(parts) > 1 and fold(parts[-1]) == _USER_NAME
    return parts[-2] if is_profile else ""
