"""The walk on the real table: what is asked, that nothing is asked twice, and what a silent key proves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from fleetscan.engines.registry_table.calls import Fault, Faults
from fleetscan.engines.registry_table.database import Database
from fleetscan.engines.registry_table.facts import scanner_tables
from fleetscan.hives.mount import contents
from fleetscan.hives.tree import MemoryRegistry
from fleetscan.model.registry import HKLM, HKU, fold
from fleetscan.model.scope import SID, SID_CLASSES, Glob, RowClause, RowFilter, Scope
from fleetscan.model.snapshot import Complete, Partial, Reason, Unreachable
from fleetscan.planner.plan import Answered, Failed, assemble, covers, make_plan, rows_in_scope
from tests.planner.asking import all_rows, ask, bare, registry_of, target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscan.hives.mount import Registry

USER = "S-1-5-21-1-2-3-1001"
ANY = Glob("*")
ACCESS_DENIED = 5
LINES = (
    r"HKLM\SOFTWARE\A : v",
    r"HKLM\SOFTWARE\A\B : v",
    r"HKLM\SOFTWARE\A\B\C : v = long",
    r"HKLM\SOFTWARE\A\B\Run : v",
    r"HKLM\SOFTWARE\A\B\RunOnce : v",
    r"HKLM\SOFTWARE\A\X_Y : v",
    r"HKLM\SOFTWARE\A\XzY : v",
    r"HKLM\SOFTWARE\A\50%\K : v",
    r"HKLM\SOFTWARE\A\Größe : v",
    r"HKLM\SOFTWARE\A\it's : v",
    r"HKLM\SOFTWARE\A\* : v",
    r"HKLM\SOFTWARE\A\empty",
    rf"HKU\{USER}\Software\A\B : v",
    rf"HKU\{USER}_Classes\A\B : v",
    r"HKU\.DEFAULT\Software\A\B : v",
    r"HKU\S-1-5-18\Software\A\B : v",
)


def scope(root: str, *parts: str | Glob, depth: int | None = 0, names: Sequence[str] = ()) -> Scope:
    return Scope(root, parts, depth, RowFilter.of_names(*names) if names else None)


def keys_asked(scopes: Sequence[Scope], registry: Registry) -> Counter[str]:
    """Every key text that the walks of the plan read; keys that only prove absence are read once in each statement."""
    asked: Counter[str] = Counter()
    for text in make_plan([], extra_scopes=scopes).statements:
        if text.scope_ids:
            head = text.sql.partition(" SELECT w.key AS key")[0]
            database = Database(registry)
            own = Counter(fold(row["key"]) for row in database.texts(f"{head} SELECT key FROM walk WHERE type = 'ask'"))
            # The table was opened once for each, and for the list of user hives.
            assert database.calls.open == own.total() + head.count("hives(name)")
            asked |= own
    return asked


SCOPES = {
    "exact": [scope(HKLM, "SOFTWARE", "A", "B")],
    "subtree": [scope(HKLM, "SOFTWARE", "A", depth=None)],
    "one level": [scope(HKLM, "SOFTWARE", "A", depth=1)],
    "a literal beside a glob": [scope(HKLM, "SOFTWARE", "A", ANY), scope(HKLM, "SOFTWARE", "A", "B", depth=None)],
    "globs that overlap": [
        scope(HKLM, "SOFTWARE", "A", "B", Glob("Run*")),
        scope(HKLM, "SOFTWARE", "A", "B", Glob("*n*")),
    ],
    "exact below a subtree": [scope(HKLM, "SOFTWARE", "A", depth=None), scope(HKLM, "SOFTWARE", "A", "B", "C")],
    "an underscore is no wildcard": [scope(HKLM, "SOFTWARE", "A", "X_Y"), scope(HKLM, "SOFTWARE", "A", Glob("X*"))],
    "signs of LIKE": [scope(HKLM, "SOFTWARE", "A", "50%", ANY), scope(HKLM, "SOFTWARE", "A", "it's")],
    "letters beyond ASCII": [scope(HKLM, "SOFTWARE", "A", "GRÖßE"), scope(HKLM, "SOFTWARE", "A", Glob("grÖ*"))],
    "a key named like a wildcard": [scope(HKLM, "SOFTWARE", "A", "*")],
    "user hives": [scope(HKU, SID, "Software", "A", depth=None)],
    "class hives": [scope(HKU, SID_CLASSES, "A", depth=None), scope(HKU, SID, "A")],
    "every user hive": [scope(HKU, ANY, ANY), scope(HKU, SID, "Software", "A", "B")],
    "a row filter": [scope(HKLM, "SOFTWARE", depth=None, names=("v",))],
    "everything": [scope(HKLM, depth=None), scope(HKU, depth=None)],
}


@pytest.mark.parametrize("scopes", SCOPES.values(), ids=SCOPES.keys())
def test_every_row_of_a_scope_comes_back(scopes: list[Scope]) -> None:
    registry = registry_of(LINES)
    # .DEFAULT is the same hive as S-1-5-18: its rows come under the other name.
    every = [row for row in all_rows(registry) if not row.key.upper().startswith(r"HKEY_USERS\.DEFAULT")]
    results = ask(make_plan([], extra_scopes=scopes), registry)
    for asked in scopes:
        expected = {bare(row) for row in rows_in_scope(asked, every)}
        assert {bare(row) for row in results[asked.id].rows} == expected
        assert results[asked.id].status == Complete()


@pytest.mark.parametrize("scopes", SCOPES.values(), ids=SCOPES.keys())
def test_no_key_is_read_twice(scopes: list[Scope]) -> None:
    asked = keys_asked(scopes, registry_of(LINES))
    # A name beyond ASCII is compared loosely in SQL: the price is a second read.
    assert [key for key, times in asked.items() if times > 1 and key.isascii()] == []


def test_statement_is_one_line_without_semicolon_and_stable() -> None:
    first, second = (make_plan([], extra_scopes=SCOPES["signs of LIKE"]) for _ in range(2))
    assert first == second
    assert first.digest == second.digest
    assert all("\n" not in text.sql and ";" not in text.sql for text in first.statements)
    assert len({text.id for text in first.statements}) == len(first.statements)


def test_listed_key_without_rows_is_unproven_and_the_scope_complete() -> None:
    asked = scope(HKLM, "SOFTWARE", "A", "empty")
    result = ask(make_plan([], extra_scopes=[asked]), registry_of(LINES))[asked.id]
    assert (result.status, result.unproven) == (Complete(), (r"HKEY_LOCAL_MACHINE\SOFTWARE\A\empty",))


def test_absent_key_is_proven_by_the_key_above_it() -> None:
    asked = scope(HKLM, "SOFTWARE", "A", "no", "such", "key")
    result = ask(make_plan([], extra_scopes=[asked]), registry_of(LINES))[asked.id]
    assert (result.status, result.rows, result.unproven) == (Complete(), (), ())


def denied(key: str) -> Faults:
    return Faults((Fault(op="open", key=key, code=ACCESS_DENIED),))


def test_unreadable_key_above_hides_nothing_that_is_known_by_name() -> None:
    asked = scope(HKLM, "SOFTWARE", "A", "B", "C")
    faults = denied(r"HKEY_LOCAL_MACHINE\SOFTWARE\A")
    result = ask(make_plan([], extra_scopes=[asked]), registry_of(LINES), faults=faults)[asked.id]
    assert [row.name for row in result.rows] == ["v"]


def test_unreadable_key_above_leaves_an_absent_key_unproven() -> None:
    asked = scope(HKLM, "SOFTWARE", "A", "no")
    faults = denied(r"HKEY_LOCAL_MACHINE\SOFTWARE\A")
    result = ask(make_plan([], extra_scopes=[asked]), registry_of(LINES), faults=faults)[asked.id]
    assert result.unproven == (r"HKEY_LOCAL_MACHINE\SOFTWARE\A",)


def test_unreadable_key_of_a_subtree_is_unproven_and_its_siblings_are_read() -> None:
    asked = scope(HKLM, "SOFTWARE", "A", "B", depth=None)
    faults = denied(r"HKEY_LOCAL_MACHINE\SOFTWARE\A\B\Run")
    result = ask(make_plan([], extra_scopes=[asked]), registry_of(LINES), faults=faults)[asked.id]
    assert r"HKEY_LOCAL_MACHINE\SOFTWARE\A\B\Run" in result.unproven
    assert {row.key.rpartition("\\")[2] for row in result.rows} == {"B", "C", "RunOnce"}


def test_hive_root_that_gives_nothing_leaves_its_scopes_partial() -> None:
    asked = scope(HKU, SID, "Software")
    result = ask(make_plan([], extra_scopes=[asked]), registry_of([r"HKLM\SOFTWARE\A"]))[asked.id]
    assert isinstance(result.status, Partial)
    assert result.status.reason is Reason.UNPROVEN


def test_long_name_beside_a_key_known_by_name_does_not_hide_it() -> None:
    lines = [*LINES, "HKLM\\SOFTWARE\\A\\" + "!" * 255]
    asked = scope(HKLM, "SOFTWARE", "A", "B")
    assert ask(make_plan([], extra_scopes=[asked]), registry_of(lines))[asked.id].rows


def test_long_name_in_a_user_hive_does_not_hide_what_is_known_by_name() -> None:
    lines = [*LINES, f"HKU\\{USER}\\Software\\" + "!" * 255]
    asked = scope(HKU, SID, "Software", "A", "B")
    rows = ask(make_plan([], extra_scopes=[asked]), registry_of(lines))[asked.id].rows
    assert any(USER in row.key for row in rows)


def test_class_hive_is_read_under_one_name() -> None:
    lines = [
        rf"HKU\{USER}_Classes\x : v",
        rf"HKU\{USER}\Software\Classes\x : v",
        r"HKU\S-1-5-19\Software\Classes\x : v",
    ]
    scopes = [scope(HKU, SID, "Software", "Classes", "x"), scope(HKU, SID_CLASSES, "x")]
    results = ask(make_plan([], extra_scopes=scopes), registry_of(lines))
    assert [row.key for row in results[scopes[0].id].rows] == [r"HKEY_USERS\S-1-5-19\Software\Classes\x"]
    assert [row.key for row in results[scopes[1].id].rows] == [rf"HKEY_USERS\{USER}_Classes\x"]


def test_failed_statement_leaves_its_scopes_unreachable_and_no_other() -> None:
    machine, user = scope(HKLM, "SOFTWARE", "A"), scope(HKU, SID, "Software", "A")
    plan = make_plan([], extra_scopes=[machine, user])
    database = Database(registry_of(LINES), tables=scanner_tables(elevated=True))
    answers = {
        text.id: Failed(Reason.DENYLISTED, "watchdog")
        if user.id in text.scope_ids
        else Answered(list(database.texts(text.sql)))
        for text in plan.statements
    }
    results = {result.scope_id: result.status for result in assemble(plan, answers)[1]}
    assert results == {machine.id: Complete(), user.id: Unreachable(Reason.DENYLISTED, "watchdog")}


def test_nothing_answered_is_not_asked() -> None:
    plan = make_plan([], extra_scopes=[scope(HKLM, "SOFTWARE", "A")])
    assert [result.status for result in assemble(plan, {})[1]] == [Unreachable(Reason.NOT_ASKED)]


def test_facts_are_read_and_their_failure_fails_no_scope() -> None:
    asked = scope(HKLM, "SOFTWARE", "A")
    plan = make_plan([], extra_scopes=[asked])
    lines = [*LINES, rf"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList\{USER}"]
    database = Database(registry_of(lines), tables=scanner_tables(elevated=True))
    answers = {
        text.id: Failed(Reason.OSQUERY_ERROR, "no such table: time")
        if text.id == "facts-time"
        else Answered(list(database.texts(text.sql)))
        for text in plan.statements
    }
    facts, results = assemble(plan, answers)
    assert facts.osquery_version
    assert dict(facts.extra) == {"account_id": "1001", "elevated": "yes"}
    assert facts.profiles_known == (USER,)
    assert facts.profiles_loaded == ("S-1-5-18", USER)
    assert results[0].status == Complete()


def test_row_filter_passes_by_name_path_and_data() -> None:
    lines = [r"HKLM\SOFTWARE\A\B : Path = %X%\y", r"HKLM\SOFTWARE\A\B : Other = evil.dll", r"HKLM\SOFTWARE\A\B : z = z"]
    clauses = (RowClause(name="path"), RowClause(data="*EVIL*"))
    asked = Scope(HKLM, ("SOFTWARE", "A"), None, RowFilter(clauses))
    rows = ask(make_plan([], extra_scopes=[asked]), registry_of(lines))[asked.id].rows
    assert sorted(row.name for row in rows) == ["Other", "Path"]


def test_stored_scopes_cover_a_rule_that_needs_no_more() -> None:
    wide = [scope(HKLM, "SOFTWARE", "A", depth=None)]
    assert covers(wide, target(whole=r"HKLM\SOFTWARE\A\B\v"))
    assert not covers(wide, target(whole=r"HKLM\SOFTWARE\Z\v"))
    assert not covers(wide, target(contains="xyzzy"))


@pytest.mark.parametrize("blank", [" ", "\t", "\n"], ids=["blank", "tab", "line break"])
def test_names_with_blanks_at_their_ends_are_unproven_and_make_no_endless_walk(blank: str) -> None:
    """Osquery opens the twin without the blank, or the parent: such names would double the walk at every level."""
    top = MemoryRegistry()
    level = top.key((HKLM, "SOFTWARE", "A"))
    for _ in range(12):
        level.add(f"a{blank}")
        level.add(blank)
        level = level.add("a")
    scopes = [scope(HKLM, "SOFTWARE", "A", depth=None)]
    database = Database(contents(top))
    plan = make_plan([], extra_scopes=scopes)
    answers = {text.id: Answered(list(database.texts(text.sql))) for text in plan.statements if text.scope_ids}
    (result,) = assemble(plan, answers)[1]
    assert database.calls.open < 40
    assert sum(row.name == "a" for row in result.rows) == 12
    assert len(result.unproven) >= 24, "what cannot be opened is named"


def test_a_value_really_called_default_is_told_from_the_unnamed_one() -> None:
    memory = MemoryRegistry()
    key = memory.key((HKLM, "SOFTWARE", "A"))
    key.set("", 1, "unnamed".encode("utf-16-le")).set("(Default)", 1, "named".encode("utf-16-le"))
    key.add("(Default)").mtime = 1_700_000_000
    plan = make_plan([], extra_scopes=[scope(HKLM, "SOFTWARE", "A")])
    (result,) = ask(plan, contents(memory)).values()
    top = rf"{HKLM}\SOFTWARE\A"
    found = {
        (row.path.removeprefix(top.upper()).removeprefix(top), row.type, row.data, row.mtime) for row in result.rows
    }
    assert found == {
        ("\\", "REG_SZ", "unnamed", 0),
        (r"\(Default)", "REG_SZ", "named", 0),
        (r"\(Default)", "subkey", "", 1_700_000_000),
    }
