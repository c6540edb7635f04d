"""The shell behaves as osqueryi does: chunks, commands, JSON, errors with line numbers, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from fleetscan.errors import SettingsError
from fleetscan.osqueryi import ELEVATED_VARIABLE, HIVES_VARIABLE, parse_arguments
from fleetscan.planner.facts import FACTS

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.engines.registry_table.printer import Style

EXPORT = r"""Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SOFTWARE\Vendor]
"Name"="a \"b\" \\ ü"
"Comma"="1,2"
"""
WHERE = r"FROM registry WHERE key = 'HKEY_LOCAL_MACHINE\SOFTWARE\Vendor'"


class Said(NamedTuple):
    """What a run of the shell left behind."""

    out: str
    err: str
    code: int


@pytest.fixture
def hives(tmp_path: Path) -> Path:
    file = tmp_path / "software.reg"
    file.write_text(EXPORT, encoding="utf-16")
    return file


def shell(hives: Path, script: str | bytes, *arguments: str) -> Said:
    done = subprocess.run(
        [sys.executable, "-m", "fleetscan.osqueryi", *arguments],
        input=script if isinstance(script, bytes) else script.encode(),
        capture_output=True,
        check=False,
        timeout=300,
        env={HIVES_VARIABLE: str(hives)},
    )
    return Said(done.stdout.decode(), done.stderr.decode(), done.returncode)


def test_each_line_is_a_chunk_with_its_own_array(hives: Path) -> None:
    said = shell(hives, "SELECT 1 AS b, 2 AS a;\nSELECT 3 AS c;\n", "--json")

    assert said == Said('[\n  {"a":"2","b":"1"}\n]\n[\n  {"c":"3"}\n]\n', "", 0)


def test_statements_of_one_line_share_one_array(hives: Path) -> None:
    said = shell(hives, "SELECT 1 AS a; SELECT 2 AS b;\n", "--json")

    assert said.out == '[\n  {"a":"1"},\n  {"b":"2"}\n]\n'


def test_statement_over_several_lines_is_one_chunk(hives: Path) -> None:
    said = shell(hives, "SELECT\n  ';' AS a,\n 2 AS b\n;\n", "--json")

    assert said.out == '[\n  {"a":";","b":"2"}\n]\n'


def test_no_rows_are_an_empty_array_and_no_table(hives: Path) -> None:
    assert shell(hives, "SELECT 1 WHERE 0;\n", "--json").out == "[\n\n]\n"
    assert shell(hives, "SELECT 1 WHERE 0;\n").out == ""


def test_null_is_the_empty_text_and_can_be_named(hives: Path) -> None:
    said = shell(hives, "SELECT NULL AS n;\n.nullvalue none\nSELECT NULL AS n;\n", "--json")

    assert said.out == '[\n  {"n":""}\n]\n[\n  {"n":"none"}\n]\n'


def test_text_is_escaped_and_kept_as_utf_8(hives: Path) -> None:
    said = shell(hives, f"SELECT data, char(31) AS c {WHERE} AND name = 'Name';\n", "--json")

    assert said.out == '[\n  {"c":"\\u001F","data":"a \\"b\\" \\\\ ü"}\n]\n'
    assert json.loads(said.out) == [{"c": "\x1f", "data": 'a "b" \\ ü'}]


def test_error_goes_to_stderr_with_its_line_and_the_array_is_still_printed(hives: Path) -> None:
    said = shell(hives, "SELECT 1 AS a;\n\nSELECT 2 AS b; SELECT\n nope;\nSELECT 3 AS c;\n", "--json")

    assert said.out == '[\n  {"a":"1"}\n]\n[\n  {"b":"2"}\n]\n[\n  {"c":"3"}\n]\n'
    assert said.err == "Error: near line 3: no such column: nope\n"
    assert said.code == 1


def test_bail_stops_behind_the_first_failing_chunk(hives: Path) -> None:
    said = shell(hives, ".bail on\nSELECT nope;\nSELECT 1;\n", "--json")

    assert said == Said("[\n\n]\n", "Error: near line 2: no such column: nope\n", 1)


def test_print_frames_answers(hives: Path) -> None:
    said = shell(hives, ".print 0f3a:q1\nSELECT 1 AS a;\n.print 'two words' end\n", "--json")

    assert said.out == '0f3a:q1\n[\n  {"a":"1"}\n]\ntwo words end\n'


def test_exit_stops_at_once_with_its_code(hives: Path) -> None:
    assert shell(hives, "SELECT nope;\n.exit 7\nSELECT 1;\n", "--json").code == 7
    assert shell(hives, ".exit\nSELECT nope;\n", "--json") == Said("", "", 0)


def test_unterminated_statement_runs_in_new_versions_only(hives: Path) -> None:
    new = shell(hives, "SELECT 1 AS a", "--json", "--osquery_version=5.23.0")
    old = shell(hives, "SELECT 1 AS a", "--json", "--osquery_version=5.22.1")

    assert new == Said('[\n  {"a":"1"}\n]\n', "", 0)
    assert old == Said("", "Error: incomplete SQL: SELECT 1 AS a\n", 0)


def test_carriage_returns_are_accepted(hives: Path) -> None:
    said = shell(hives, b"SELECT 1 AS a;\r\n.print x\r\n", "--json")

    assert said == Said('[\n  {"a":"1"}\n]\nx\n', "", 0)


def test_argument_runs_instead_of_the_script(hives: Path) -> None:
    assert shell(hives, "SELECT 9;\n", "--json", "SELECT 1 AS a; SELECT 2 AS a;").out == (
        '[\n  {"a":"1"},\n  {"a":"2"}\n]\n'
    )
    failed = shell(hives, "", "--json", "SELECT 1 AS a; SELECT nope;")
    assert failed == Said('[\n  {"a":"1"}\n]\n', "Error: no such column: nope\n", 1)


def test_query_file_runs_as_an_argument(hives: Path, tmp_path: Path) -> None:
    file = tmp_path / "query.sql"
    file.write_text("SELECT 1 AS a;\n", "utf-8")

    assert shell(hives, "", "--json", f"--query_file={file}").out == '[\n  {"a":"1"}\n]\n'
    absent = shell(hives, "", "--json", "--query_file=nowhere.sql")
    assert absent == Said("", "Error: nowhere.sql: the query file cannot be read: No such file or directory\n", 1)


def test_flags_of_osquery_are_accepted(hives: Path) -> None:
    said = shell(
        hives,
        "SELECT 1 AS a;\n",
        "--json",
        "--flagfile=",
        "--config_path",
        "none.conf",
        "--disable_extensions",
        "--enable_tables=registry,osquery_info",
        "--nodisable_audit",
    )
    assert said == Said('[\n  {"a":"1"}\n]\n', "", 0)


@pytest.mark.parametrize(
    ("mode", "out"),
    [
        ("csv", 'name,data\nComma,"1,2"\n'),
        ("list", "name|data\nComma|1,2\n"),
        ("line", " name = Comma\n data = 1,2\n"),
        ("pretty", "+-------+------+\n| name  | data |\n+-------+------+\n| Comma | 1,2  |\n+-------+------+\n"),
        ("column", "name   data\n-----  ----\nComma  1,2\n"),
    ],
)
def test_mode(hives: Path, mode: str, out: str) -> None:
    said = shell(hives, f".mode {mode}\nSELECT name, data {WHERE} AND name = 'Comma';\n")

    assert said == Said(out, "", 0)


def test_other_commands_say_something(hives: Path) -> None:
    said = shell(
        hives, ".timer on\nSELECT 1 WHERE 0;\n.show\n.tables reg\n.schema registry\n.types SELECT 1 AS a;\n.nope\n"
    )

    assert "Run Time: real " in said.out
    assert "mode: pretty" in said.out
    assert "  => registry\n" in said.out
    assert "CREATE TABLE registry(`key` TEXT" in said.out
    assert said.err == 'Error: unknown command or invalid arguments:  "nope". Enter ".help" for help\n'
    assert said.code == 1


def test_start_without_hives_fails_instead_of_answering_nothing(tmp_path: Path) -> None:
    said = shell(tmp_path / "nowhere", "SELECT 1;\n", "--json")

    assert said.out == ""
    assert said.err.startswith("Error: ")
    assert said.code == 1


def test_environment_stands_in_for_flags() -> None:
    options = parse_arguments(["--csv", "--hives=a"], {HIVES_VARIABLE: "b"})
    style: Style = options.style
    assert (options.hives, style.mode, style.separator) == (("a",), "csv", ",")
    assert parse_arguments([], {HIVES_VARIABLE: "b"}).hives == ("b",)


@pytest.mark.parametrize(("value", "token"), [("0", "0"), ("1", "1")])
def test_the_shell_tells_of_itself_whether_it_runs_with_elevation(hives: Path, value: str, token: str) -> None:
    said = shell(hives, f"{FACTS['facts-scanner']};\n", "--json", "--elevated", value)
    assert json.loads(said.out) == [{"uid": "1001", "euid": "-1", "elevated_token": token}]
    assert shell(hives, "SELECT * FROM processes;\n", "--json").err == "Error: near line 1: no such table: processes\n"


def test_elevation_is_yes_no_or_unknown() -> None:
    assert [parse_arguments([], {ELEVATED_VARIABLE: text}).elevated for text in ("", "0", "1")] == [None, False, True]
    assert parse_arguments(["--elevated=0"], {ELEVATED_VARIABLE: "1"}).elevated is False
    with pytest.raises(SettingsError, match="--elevated is 0 or 1"):
        parse_arguments(["--elevated=yes"], {})
