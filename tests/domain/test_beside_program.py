"""Which loaded modules the detection of providers beside programs speaks of: by file name and folder."""

from __future__ import annotations

import sqlite3

import pytest

from fleetscan.queries import load_queries
from fleetscan.settings import content

[SQL] = [one.sql for one in load_queries(content("queries") / "detections") if one.name == "provider-beside-program"]


def is_told(module: str) -> bool:
    database = sqlite3.connect(":memory:")
    database.executescript("CREATE TABLE processes (pid, name, path); CREATE TABLE process_memory_map (pid, path);")
    database.execute("INSERT INTO processes VALUES (1, 'a.exe', 'C:\\a.exe')")
    database.execute("INSERT INTO process_memory_map VALUES (1, ?)", (module,))
    found = database.execute(SQL).fetchall()
    database.close()
    return bool(found)


@pytest.mark.parametrize(
    "module",
    [
        r"C:\Tools\sigtool\mso.dll",
        r"C:\Users\kim\AppData\Local\x\WINTRUST.DLL",
        r"\\host\share\wshext.dll",
        r"C:\Windows\Temp\wintrust.dll",
        r"C:\Windows\Tasks\mswsock.dll",
        r"C:\Windows\System32\spool\drivers\color\msisip.dll",
        r"C:\Program Files Updates\wintrust.dll",
    ],
)
def test_a_provider_from_where_others_write_is_told(module: str) -> None:
    assert is_told(module)


@pytest.mark.parametrize(
    "module",
    [
        r"C:\Windows\System32\wintrust.dll",
        r"D:\WINDOWS\SysWOW64\mswsock.dll",
        r"C:\Windows\WinSxS\x\wintrust.dll",
        r"C:\Program Files\Common Files\Microsoft Shared\OFFICE16\MSO.DLL",
        r"C:\Program Files (x86)\Windows Kits\10\App Certification Kit\wintrust.dll",
        r"C:\Tools\other.dll",
    ],
)
def test_a_provider_from_its_place_and_another_library_are_not(module: str) -> None:
    assert not is_told(module)
