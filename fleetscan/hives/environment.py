"""The environment of a machine's SYSTEM account, as far as its registry tells; it expands REG_EXPAND_SZ."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from fleetscan.model.environment import SYSTEM_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fleetscan.hives.tree import Key, Value

_TEXTS = (1, 2)  # REG_SZ, REG_EXPAND_SZ
_LONGEST = 4096
_VARIABLE = re.compile("%([^%]+)%")
_NT = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
_CURRENT = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion"
_SESSION = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
_SOURCES = (
    (_CURRENT, "ProgramFilesDir", ("ProgramFiles", "ProgramW6432")),
    (_CURRENT, "ProgramFilesDir (x86)", ("ProgramFiles(x86)",)),
    (_CURRENT, "CommonFilesDir", ("CommonProgramFiles", "CommonProgramW6432")),
    (_CURRENT, "CommonFilesDir (x86)", ("CommonProgramFiles(x86)",)),
    (_NT + r"\ProfileList", "ProgramData", ("ProgramData", "ALLUSERSPROFILE")),
    (_NT + r"\ProfileList", "Public", ("PUBLIC",)),
)


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace ``%NAME%`` once; names compare without case, unknown ones stay as written."""
    if "%" not in text:
        return text
    known = {name.upper(): value for name, value in environment.items()}
    return _VARIABLE.sub(lambda match: known.get(match[1].upper(), match[0]), text)


def environment_of(open_key: Callable[[Sequence[str]], Key | None]) -> Mapping[str, str]:
    r"""Ask the registry for the system folder, the program folders and the machine's variables.

    What it does not tell is taken from SYSTEM_ENVIRONMENT, moved to the system's own folder and drive.
    """
    root = _text(open_key, _NT, "SystemRoot")
    if not re.fullmatch(r"[A-Za-z]:\\[^%]+", root):
        root = SYSTEM_ENVIRONMENT["SystemRoot"]
    environment = {name: _moved(value, root) for name, value in SYSTEM_ENVIRONMENT.items()}
    for key, value, names in _SOURCES:
        if text := _text(open_key, key, value):
            environment.update(dict.fromkeys(names, expand(text, environment)))
    for name, text in _machine_variables(open_key):
        environment[_spelling(name, environment)] = expand(text, environment)
    return MappingProxyType(environment)


def _moved(value: str, root: str) -> str:
    if value.startswith(SYSTEM_ENVIRONMENT["SystemRoot"]):
        return root + value[len(SYSTEM_ENVIRONMENT["SystemRoot"]) :]
    return root[:2] + value[2:]


def _machine_variables(open_key: Callable[[Sequence[str]], Key | None]) -> Iterator[tuple[str, str]]:
    key = open_key(_SESSION.split("\\"))
    for value in key.values() if key else ():
        if value.type in _TEXTS and value.name:
            yield value.name, text_of(value)


def _spelling(name: str, environment: Mapping[str, str]) -> str:
    """The spelling under which a variable already stands, so that each name stands once."""
    return next((known for known in environment if known.upper() == name.upper()), name)


def _text(open_key: Callable[[Sequence[str]], Key | None], path: str, name: str) -> str:
    key = open_key(path.split("\\"))
    for value in key.values() if key else ():
        if value.name.upper() == name.upper() and value.type in _TEXTS:
            return text_of(value)
    return ""


def text_of(value: Value) -> str:
    """The text of a string value up to its first NUL, bounded in length."""
    data = value.data[: 2 * _LONGEST]
    return data[: len(data) & ~1].decode("utf-16-le", "replace").partition("\0")[0]
