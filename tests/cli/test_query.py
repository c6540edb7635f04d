"""``fleetscan query``: output forms, machines, what is hidden or absent, exit codes."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from fleetscan.cli.main import main
from fleetscan.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

EXPORT = r"""Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SOFTWARE\Vendor]
"Name"="NAME"
"Comma"="1,2"
"Empty"=hex:
"Payload"="evil"
"""
SQL = r"SELECT name, data FROM registry WHERE key = 'HKEY_LOCAL_MACHINE\SOFTWARE\Vendor'"


@pytest.fixture
def hives(tmp_path: Path) -> Path:
    for name in ("alpha", "beta"):
        (tmp_path / f"{name}.reg").write_text(EXPORT.replace("NAME", name), encoding="utf-16")
    return tmp_path


def test_table(hives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", SQL, "--hives", str(hives / "alpha.reg")]) == ExitCode.CLEAN

    assert capsys.readouterr().out.splitlines() == ["name    data", "------  ------", "Name    alpha", "Comma   1,2"]


def test_json_is_what_the_shell_prints(hives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["query", SQL, "--hives", str(hives / "alpha.reg"), "--json"])

    assert capsys.readouterr().out == '[\n  {"data":"alpha","name":"Name"},\n  {"data":"1,2","name":"Comma"}\n]\n'


def test_csv(hives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["query", SQL, "--hives", str(hives / "alpha.reg"), "--csv"])

    assert capsys.readouterr().out == 'name,data\r\nName,alpha\r\nComma,"1,2"\r\n'


def test_what_is_hidden_is_reported_when_asked(hives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["query", SQL, "--hives", str(hives / "alpha.reg")])
    assert capsys.readouterr().err == ""

    main(["query", SQL, "--hives", str(hives / "alpha.reg"), "--report-hidden"])
    assert capsys.readouterr().err == (
        r"hidden: values behind an empty value: HKEY_LOCAL_MACHINE\SOFTWARE\Vendor: "
        "'Empty' is empty and hides 'Payload' (REG_SZ)\n"
    )


def test_every_machine_of_a_collection(hives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["query", f"{SQL} AND name = 'Name'", "--hives", str(hives), "--machine", "all", "--json"])

    assert code == ExitCode.CLEAN
    assert json.loads(capsys.readouterr().out) == [
        {"host": "alpha", "name": "Name", "data": "alpha"},
        {"host": "beta", "name": "Name", "data": "beta"},
    ]


def test_one_machine_of_a_collection(hives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["query", f"{SQL} AND name = 'Name'", "--hives", str(hives), "--machine", "beta", "--json"])

    assert json.loads(capsys.readouterr().out) == [{"name": "Name", "data": "beta"}]


def test_collection_without_a_choice_names_the_machines(hives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["query", SQL, "--hives", str(hives)])

    assert stopped.value.code == ExitCode.USAGE
    assert "choose one of: alpha, beta" in capsys.readouterr().err


def test_absent_hive_is_not_covered(hives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = r"SELECT * FROM registry WHERE key = 'HKEY_LOCAL_MACHINE\SYSTEM\Select'"

    assert main(["query", sql, "--hives", str(hives / "alpha.reg")]) == ExitCode.INCOMPLETE

    assert "not covered: missing hive" in capsys.readouterr().err


@pytest.mark.parametrize("sql", ["SELECT nope FROM registry", "SELECT * FROM processes", "no sql"])
def test_wrong_sql_is_one_line(hives: Path, capsys: pytest.CaptureFixture[str], sql: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["query", sql, "--hives", str(hives / "alpha.reg")])

    assert stopped.value.code == ExitCode.USAGE
    assert capsys.readouterr().err.count("\n") == 1


def test_statements_are_read_one_by_one_without_sql(
    hives: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 1\n AS a;\nSELECT nope;\nSELECT 2 AS b\n"))

    assert main(["query", "--hives", str(hives / "alpha.reg"), "--json"]) == ExitCode.CLEAN

    said = capsys.readouterr()
    assert said.out == '[\n  {"a":"1"}\n]\n[\n  {"b":"2"}\n]\n'
    assert said.err == "Error: no such column: nope\n"


def test_terminal_controls_of_the_machine_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hostile.reg"
    file.write_text(EXPORT.replace("NAME", "\x1b[2J"), encoding="utf-16")

    main(["query", SQL, "--hives", str(file)])

    assert "\x1b" not in capsys.readouterr().out


def test_older_version_is_emulated(hives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["query", SQL, "--hives", str(hives / "alpha.reg"), "--json", "--osquery-version", "5.13.1"])

    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["Name", "Comma", "Empty", "Payload"]
