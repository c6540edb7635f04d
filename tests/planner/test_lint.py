"""Unsafe queries are told from safe ones; the conformance cases say which is which."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fleetscan.errors import SettingsError
from fleetscan.planner.lint import Weight, lint, lint_file
from fleetscan.planner.plan import make_plan
from tests.conftest import corpus_folder
from tests.planner.asking import target

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

K = r"HKEY_LOCAL_MACHINE\SOFTWARE\X"

UNSAFE = {
    "short hive name": (r"SELECT * FROM registry WHERE key = 'HKLM\SOFTWARE\X'", "hive HKLM is unknown"),
    "hive in lower case": (r"SELECT * FROM registry WHERE key LIKE 'hkey_local_machine\X\%'", "is unknown"),
    "current user": (r"SELECT * FROM registry WHERE key = 'HKEY_CURRENT_USER\Software\X'", "service account"),
    "users without SID": (
        r"SELECT * FROM registry WHERE key = 'HKEY_USERS\Software\X'",
        "name of a user hive is missing",
    ),
    "no key at all": ("SELECT * FROM registry WHERE name = 'x'", "only the hive roots"),
    "glob": (rf"SELECT * FROM registry WHERE key GLOB '{K}*'", "GLOB on key or path alone"),
    "not equal": (rf"SELECT * FROM registry WHERE key != '{K}'", "!= on key or path alone"),
    "escape": (rf"SELECT * FROM registry WHERE key LIKE '{K}\%' ESCAPE '!'", "ESCAPE is not handed"),
    "function": (rf"SELECT * FROM registry WHERE lower(key) = '{K.lower()}'", "inside an expression"),
    "unary plus": (rf"SELECT * FROM registry WHERE +key = '{K}'", "inside an expression"),
    "branch without key": (rf"SELECT * FROM registry WHERE key = '{K}' OR name = 'x'", "OR branch without key or path"),
    "or beside a pattern": (
        rf"SELECT * FROM registry WHERE (key LIKE '{K}\a' OR key LIKE '{K}\b') AND path LIKE '%x'",
        "OR beside another condition",
    ),
    "limit": ("SELECT * FROM registry LIMIT 5", "LIMIT without key or path"),
    "in inside a join": (rf"SELECT * FROM t JOIN registry r ON r.key IN ('{K}', 'b')", "first turn only"),
    "default value by path": (rf"SELECT * FROM registry WHERE path = '{K}\(Default)'", "never true"),
    "trailing backslash": (rf"SELECT * FROM registry WHERE key LIKE '{K}\'", "trailing or doubled"),
    "expanded type": (rf"SELECT * FROM registry WHERE key = '{K}' AND type = 'REG_EXPAND_SZ'", "reported as REG_SZ"),
    "number": (rf"SELECT * FROM registry WHERE key = '{K}' AND data > 5", "not compared as a number"),
}


@pytest.mark.parametrize(("sql", "words"), UNSAFE.values(), ids=UNSAFE.keys())
def test_unsafe_query_is_named_with_its_safe_form(sql: str, words: str) -> None:
    faults = [fault for fault in lint(sql, "q.sql") if fault.weight is Weight.UNSAFE]
    assert any(words in fault.what for fault in faults), faults
    assert all(fault.safe for fault in faults)


FRAGILE = {
    "recursion": (rf"SELECT * FROM registry WHERE key LIKE '{K}\%%'", "%% ends silently"),
    "two wildcards": (rf"SELECT * FROM registry WHERE key LIKE '{K}\%\a\%'", "unreadable key"),
    "users by wildcard": (r"SELECT * FROM registry WHERE key LIKE 'HKEY_USERS\%\Software\X'", "wildcard for the SID"),
    "case of a path": (rf"SELECT * FROM registry WHERE path = '{K}\v'", "case-sensitive"),
    "two conditions": (rf"SELECT * FROM registry WHERE key = '{K}' AND path LIKE '{K}\v'", "read the keys of all"),
}


@pytest.mark.parametrize(("sql", "words"), FRAGILE.values(), ids=FRAGILE.keys())
def test_fragile_query_is_told_from_an_unsafe_one(sql: str, words: str) -> None:
    faults = list(lint(sql, "q.sql"))
    assert any(words in fault.what for fault in faults)
    assert {fault.weight for fault in faults} == {Weight.FRAGILE}


def _cases() -> list[dict[str, Any]]:
    folder = corpus_folder("conformance")
    file = folder / "registry_table" / "cases.jsonl" if folder else None
    if file is None or not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_recorded_safe_queries_pass_and_recorded_unsafe_ones_do_not(conformance_folder: Path) -> None:
    cases = _cases()
    if not cases:
        pytest.skip(f"no recorded cases in {conformance_folder}")
    safe = [case for case in cases if case["class"] == "safe"]
    blamed = [case["id"] for case in safe if any(f.weight is Weight.UNSAFE for f in lint(case["sql"], "q"))]
    # A constraint on a subquery reaches the table only because SQLite flattens it.
    assert len(blamed) <= len(safe) // 100, blamed
    unsafe = [case for case in cases if case["class"] == "unsafe"]
    missed = [case["id"] for case in unsafe if not any(lint(case["sql"], "q"))]
    # What no reader of the SQL can know: that an underscore was meant as a wildcard, that a key has two spellings.
    assert len(missed) <= len(unsafe) // 10, missed


def test_own_statements_are_safe() -> None:
    plan = make_plan([target(endswith=r"\shell\open\command\(Default)"), target(contains=r"\Services\\")])
    assert [str(fault) for text in plan.statements for fault in lint(text.sql, text.id)] == []


def test_pack_names_the_query(tmp_path: Path) -> None:
    file = tmp_path / "pack.json"
    file.write_text(json.dumps({"queries": {"bad": {"query": "SELECT * FROM registry", "interval": 60}}}))
    (fault,) = lint_file(file)
    assert (str(fault.where), fault.query) == (str(file), "bad")


def test_sql_file_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "q.sql"
    file.write_text(f"-- fine\nSELECT 1 FROM registry WHERE key = '{K}';\n\nSELECT 1 FROM registry;\n")
    (fault,) = lint_file(file)
    assert str(fault.where) == f"{file}:4"


BROKEN = {"no json": "{", "no query": "{}", "binary": "\x00\x01", "unclosed": "["}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_broken_pack_is_one_error_with_its_place(text: str, tmp_path: Path) -> None:
    file = tmp_path / "pack.json"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        lint_file(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM registry WHERE key = '", "((((", "SELECT", "FROM registry WHERE", ")", "'"]
)
def test_broken_sql_is_no_traceback(sql: str) -> None:
    assert isinstance(list(lint(sql, "q")), list)
