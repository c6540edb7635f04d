"""The embedded engine over .reg exports: answers, failures that stay with their statement, bounds, hives that lack."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING

import pytest

from fleetscan.engines.embedded import EmbeddedEngine
from fleetscan.model.host import Host, HostId
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answered, Failed, Statement
from tests.patience import given_time

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.engines.interface import Answers

EXPORT = r"""Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SOFTWARE\Vendor]
"Version"="1.2"
"Count"=dword:ffffffff

[HKEY_LOCAL_MACHINE\SOFTWARE\Vendor\Sub]
@="default"
"""
VENDOR = r"HKEY_LOCAL_MACHINE\SOFTWARE\Vendor"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    file = tmp_path / "software.reg"
    file.write_text(EXPORT, encoding="utf-16")
    return file


def ask(
    hives: Path | str, *sql: str, engine: EmbeddedEngine | None = None, deadline: float | None = None, **settings: str
) -> Answers:
    host = Host(id=HostId("pc1"), engine="embedded", settings={"hives": str(hives), **settings})
    statements = [Statement(id=f"q{number}", sql=text) for number, text in enumerate(sql)]
    return (engine or EmbeddedEngine()).ask(host, statements, deadline=deadline)


def test_rows_are_texts_by_column_name(export: Path) -> None:
    answers = ask(export, f"SELECT name, type, data, NULL AS empty FROM registry WHERE key = '{VENDOR}'")

    assert answers.answers["q0"] == Answered(
        [
            {"name": "Sub", "type": "subkey", "data": "", "empty": ""},
            {"name": "Version", "type": "REG_SZ", "data": "1.2", "empty": ""},
            {"name": "Count", "type": "REG_DWORD", "data": "-1", "empty": ""},
        ]
    )


def test_raw_answer_is_what_the_shell_prints(export: Path) -> None:
    answers = ask(export, f"SELECT name AS n, data AS d FROM registry WHERE key = '{VENDOR}' AND name = 'Version'")

    (raw,) = answers.raw
    assert raw.content == b'[\n  {"d":"1.2","n":"Version"}\n]\n'
    assert raw.sha256 == hashlib.sha256(raw.content).hexdigest()
    assert json.loads(raw.content) == [{"d": "1.2", "n": "Version"}]


def test_failing_statement_leaves_the_others(export: Path) -> None:
    answers = ask(export, "SELECT 1 AS one", "SELECT nope FROM registry", "SELECT * FROM processes", "SELECT 2 AS two")

    assert answers.answers == {
        "q0": Answered([{"one": "1"}]),
        "q1": Failed(Reason.OSQUERY_ERROR, "no such column: nope"),
        "q2": Failed(Reason.OSQUERY_ERROR, "no such table: processes"),
        "q3": Answered([{"two": "2"}]),
    }
    assert [raw.statement_id for raw in answers.raw] == ["q0", "q3"]


def test_absent_hives_fail_every_statement(tmp_path: Path) -> None:
    answers = ask(tmp_path / "nowhere", "SELECT 1", "SELECT 2")

    reasons = [answer.reason for answer in answers.answers.values() if isinstance(answer, Failed)]
    assert reasons == [Reason.UNREADABLE, Reason.UNREADABLE]


def test_unknown_version_fails_every_statement(export: Path) -> None:
    (answer,) = ask(export, "SELECT 1", osquery_version="latest").answers.values()

    assert answer == Failed(Reason.NOT_ASKED, "'latest' is no osquery version (try: write it as 5.23.1)")


def test_statement_over_an_absent_hive_is_not_covered_rather_than_clean(export: Path) -> None:
    system = r"HKEY_LOCAL_MACHINE\SYSTEM"
    answers = ask(export, rf"SELECT * FROM registry WHERE key = '{system}\Select'", "SELECT 1 AS one")

    assert answers.answers["q0"] == Failed(Reason.NO_HIVE, f"not in the collection: {system}")
    assert answers.missing == (system,)
    assert answers.blind_spots == ()
    assert answers.answers["q1"] == Answered([{"one": "1"}])


def test_absent_hive_beside_a_present_one_is_told_with_the_rows(export: Path) -> None:
    answers = ask(export, rf"SELECT key FROM registry WHERE key IN ('{VENDOR}', 'HKEY_LOCAL_MACHINE\SAM\SAM')")

    answer = answers.answers["q0"]
    assert isinstance(answer, Answered)
    assert len(answer.rows) == 3
    assert answers.missing == (r"HKEY_LOCAL_MACHINE\SAM",)


def test_keys_an_export_wrote_are_told_as_parts_of_their_hives(export: Path) -> None:
    assert ask(export, "SELECT 1").parts == (VENDOR,)


def test_export_of_one_user_does_not_say_which_users_there_are(tmp_path: Path) -> None:
    (tmp_path / "own.reg").write_text(
        "Windows Registry Editor Version 5.00\n\n[HKEY_CURRENT_USER\\Software\\Run]\n", encoding="utf-16"
    )

    assert ask(tmp_path, "SELECT 1").parts == (
        r"HKEY_CURRENT_USER\Software\Run",
        r"HKEY_USERS\CURRENT_USER\Software\Run",
    )


def test_deadline_stops_an_endless_statement(export: Path) -> None:
    answers = given_time(
        lambda seconds: ask(export, ENDLESS, "SELECT 1", deadline=time.monotonic() + seconds),
        lambda answers: answers.answers["q0"] != answers.answers["q1"],
        seconds=0.2,
    )

    assert answers.answers["q0"] == Failed(Reason.DEADLINE, "stopped at the deadline")
    assert answers.answers["q1"] == Failed(Reason.DEADLINE, "not asked before the deadline")


@pytest.mark.parametrize(
    "sql",
    [
        r"SELECT count(*) FROM registry WHERE key LIKE 'HKEY_LOCAL_MACHINE\SOFTWARE\%%'",
        r"""WITH RECURSIVE walk(path, type) AS (SELECT 'HKEY_LOCAL_MACHINE\SOFTWARE', 'subkey' UNION ALL
        SELECT r.path, r.type FROM walk w CROSS JOIN registry r WHERE w.type = 'subkey' AND r.key = w.path)
        SELECT count(*) FROM walk""",
    ],
    ids=["pattern", "walk"],
)
def test_keys_that_open_as_their_own_parent_do_not_hang_it(tmp_path: Path, sql: str) -> None:
    blank = "".join(rf"[HKEY_LOCAL_MACHINE\SOFTWARE\Vendor\{name}]" + "\n\n" for name in (" ", "  "))
    file = tmp_path / "hostile.reg"
    file.write_text(f"{EXPORT}\n{blank}", encoding="utf-16")
    stopped = Failed(Reason.DEADLINE, "stopped at the deadline")

    answer = given_time(
        lambda seconds: ask(file, sql, engine=EmbeddedEngine(max_seconds=seconds)).answers["q0"],
        lambda answer: answer == stopped,
        seconds=0.5,
    )

    assert answer == stopped


def test_answer_is_bounded_in_bytes(export: Path) -> None:
    answers = ask(export, ENDLESS, "SELECT 1 AS one", engine=EmbeddedEngine(max_bytes=10_000))

    assert answers.answers["q0"] == Failed(Reason.TOO_LARGE, "more than 10000 bytes")
    assert answers.answers["q1"] == Answered([{"one": "1"}])


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH DATABASE '/tmp/fleetscan-must-not-exist' AS other",
        "PRAGMA temp_store_directory = '/tmp'",
        "SELECT load_extension('evil')",
        "SELECT zeroblob(1000000000)",
        "VACUUM INTO '/tmp/fleetscan-must-not-exist'",
    ],
)
def test_statement_cannot_leave_the_engine(export: Path, sql: str) -> None:
    (answer,) = ask(export, sql).answers.values()

    assert isinstance(answer, Failed)
    assert answer.reason is Reason.OSQUERY_ERROR


def test_the_machine_of_a_collection_is_chosen_by_name(tmp_path: Path) -> None:
    for name in ("alpha", "beta"):
        (tmp_path / f"{name}.reg").write_text(EXPORT.replace("1.2", name), encoding="utf-16")
    sql = f"SELECT data FROM registry WHERE key = '{VENDOR}' AND name = 'Version'"

    assert ask(tmp_path, sql, machine="beta").answers["q0"] == Answered([{"data": "beta"}])
    unnamed = ask(tmp_path, sql).answers["q0"]
    assert isinstance(unnamed, Failed)
    assert "choose one of: alpha, beta" in unnamed.detail


@pytest.mark.parametrize("table", ["system_info", "default_environment"])
def test_facts_of_an_absent_hive_are_not_covered(export: Path, table: str) -> None:
    answers = ask(export, f"SELECT * FROM {table}")

    assert answers.answers["q0"] == Failed(Reason.NO_HIVE, r"not in the collection: HKEY_LOCAL_MACHINE\SYSTEM")
