"""The environment of SYSTEM: what ``%NAME%`` means in a registry value when a machine does not say otherwise."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = re.compile(r"%([^%]+)%")
_PROFILE = r"C:\Windows\system32\config\systemprofile"

SYSTEM_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "SystemRoot": r"C:\Windows",
        "windir": r"C:\Windows",
        "SystemDrive": "C:",
        "ProgramFiles": r"C:\Program Files",
        "ProgramW6432": r"C:\Program Files",
        "ProgramFiles(x86)": r"C:\Program Files (x86)",
        "CommonProgramFiles": r"C:\Program Files\Common Files",
        "CommonProgramW6432": r"C:\Program Files\Common Files",
        "CommonProgramFiles(x86)": r"C:\Program Files (x86)\Common Files",
        "ProgramData": r"C:\ProgramData",
        "ALLUSERSPROFILE": r"C:\ProgramData",
        "PUBLIC": r"C:\Users\Public",
        "ComSpec": r"C:\Windows\system32\cmd.exe",
        "TEMP": r"C:\Windows\TEMP",
        "TMP": r"C:\Windows\TEMP",
        "USERPROFILE": _PROFILE,
        "APPDATA": rf"{_PROFILE}\AppData\Roaming",
        "LOCALAPPDATA": rf"{_PROFILE}\AppData\Local",
    }
)
"""A Windows installed in ``C:\\Windows`` (rule-semantics D5)."""


def completed(variables: Mapping[str, str]) -> Mapping[str, str]:
    """The variables of a machine, with the defaults for what it did not say.

    Machines name few (osquery's ``default_environment`` has no SystemRoot) and may give them unexpanded, as they stand
    in the registry: each value is expanded once with the defaults and the other variables.
    """
    given = {fold(name): value for name, value in variables.items()}
    spelled = {fold(name): name for name in (*variables, *SYSTEM_ENVIRONMENT)}
    raw = {fold(name): value for name, value in SYSTEM_ENVIRONMENT.items()} | given
    known = {name: value for name, value in raw.items() if "%" not in value}

    def expanded(value: str) -> str:
        return _VARIABLE.sub(lambda found: known.get(fold(found[1]), found[0]), value)

    return MappingProxyType({spelled[name]: expanded(value) for name, value in raw.items()})
