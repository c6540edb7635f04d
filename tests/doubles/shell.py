"""A small osqueryi-like shell over SQLite: enough of its protocol to talk to, and to be made to lie."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time

ROWS = (
    ("HKEY_LOCAL_MACHINE\\SOFTWARE\\A", "plain", "REG_SZ", "text"),
    ("HKEY_LOCAL_MACHINE\\SOFTWARE\\A", "ünïcødé", "REG_SZ", "日本語 😀"),
    ("HKEY_LOCAL_MACHINE\\SOFTWARE\\A", "nul", "REG_SZ", "before\x00after"),
    ("HKEY_LOCAL_MACHINE\\SOFTWARE\\A", "hostile", "REG_SZ", '\x1b[31mred"\\,}]\n]'),
)


AWAY = "S-1-5-21-1-2-3-1001"
SUBKEYS = (
    ("HKEY_LOCAL_MACHINE", "SOFTWARE", "subkey", ""),
    ("HKEY_LOCAL_MACHINE\\SOFTWARE", "A", "subkey", ""),
    ("HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\ProfileList", AWAY, "subkey", ""),
    ("HKEY_USERS", "S-1-5-18", "subkey", ""),
)
"""Enough to be walked; one user of the machine is not logged on."""

EMPTY = (
    "os_version (name, version, build, platform, arch)",
    "system_info (hostname, computer_name, uuid, hardware_vendor, hardware_model)",
    "default_environment (variable, value)",
)
"""Tables that every osquery has, and that a plan asks for facts."""


class RefusalError(Exception):
    """osquery says no, with a message."""


def database() -> sqlite3.Connection:
    """A registry table with a few rows that are hard to transport, and osquery_info."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE registry (key TEXT, path TEXT, name TEXT, type TEXT, data TEXT, mtime TEXT)")
    connection.executemany("INSERT INTO registry SELECT ?1, ?1 || '\\' || ?2, ?2, ?3, ?4, '0'", (*SUBKEYS, *ROWS))
    for table in EMPTY:
        connection.execute(f"CREATE TABLE {table}")
    connection.execute("CREATE TABLE osquery_info (version TEXT, build_platform TEXT, pid INTEGER, build_distro TEXT)")
    connection.execute("INSERT INTO osquery_info VALUES ('5.23.1', 'double', ?, '')", (os.getpid(),))
    # SYSTEM runs osquery, beside somebody else's program.
    connection.execute("CREATE TABLE processes (pid INTEGER, uid INTEGER, euid INTEGER, elevated_token INTEGER)")
    connection.executemany(
        "INSERT INTO processes VALUES (?, ?, ?, ?)", [(os.getpid() + 1, 1001, -1, 0), (os.getpid(), 18, -1, 1)]
    )
    connection.create_function("wait", 1, wait)
    return connection


def wait(seconds: float) -> str:
    """A query that takes its time."""
    time.sleep(seconds)
    return "waited"


def answer_script(script: str) -> tuple[str, str, int]:
    """Standard output, standard error and exit code for a script, as osqueryi --json gives them."""
    connection = database()
    out: list[str] = []
    err: list[str] = []
    for number, line in enumerate(script.splitlines(), 1):
        if line.startswith(".print"):
            out.append(line.removeprefix(".print").strip() + "\n")
        elif line.startswith(".exit"):
            break
        elif line and not line.startswith("."):
            try:
                out.append(render(connection.execute(line)))
            except sqlite3.Error as error:
                out.append("[\n\n]\n")
                err.append(f"Error: near line {number}: {error}\n")
    return "".join(out), "".join(err), 1 if err else 0


def answer_rows(sql: str) -> list[dict[str, str]]:
    """The rows of one statement, as the extension socket gives them."""
    try:
        return rows_of(database().execute(sql))
    except sqlite3.Error as error:
        raise RefusalError(str(error)) from error


def rows_of(cursor: sqlite3.Cursor) -> list[dict[str, str]]:
    """Rows as osquery gives them: every value a text."""
    names = [column[0] for column in cursor.description or ()]
    return [{n: "" if v is None else str(v) for n, v in zip(names, row, strict=True)} for row in cursor]


def render(cursor: sqlite3.Cursor) -> str:
    """One array, one object per line, texts only, columns in alphabetical order."""
    rows = (json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows_of(cursor))
    return "[\n" + ",\n".join(f"  {row}" for row in rows) + "\n]\n"


def main() -> None:
    """Be the shell: flags are taken and ignored."""
    out, err, code = answer_script(sys.stdin.buffer.read().decode())
    sys.stderr.write(err)
    sys.stdout.buffer.write(out.encode())
    raise SystemExit(code)


if __name__ == "__main__":
    main()
