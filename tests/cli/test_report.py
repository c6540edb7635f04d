"""``fleetscan report``: reports of a stored sweep, several formats at once, every failure one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleetscan.cli.main import main
from fleetscan.errors import ExitCode

ROOT = Path(__file__).parents[2]
SINGLE = {"report.txt", "findings.jsonl", "report.html", "navigator.json", "findings.sarif", "findings.ocsf.jsonl"}
PACKAGE = {"findings.csv", "changes.csv", "coverage.csv", "approvals.csv", "queries.csv", "manifest.json"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with a sweep of the demo fleet."""
    place = str(tmp_path_factory.mktemp("report") / "demo.db")
    assert main(["sweep", "-i", str(ROOT / "inventory" / "demo.yml"), "--store", place, "--quiet"]) == ExitCode.FINDINGS
    return place


def test_without_format_the_table_is_printed(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--store", store]) == ExitCode.FINDINGS
    out = capsys.readouterr().out
    assert "DbgUiContinue" in out
    assert "What to do next" in out


def test_every_format_in_one_call(store: str, tmp_path: Path) -> None:
    formats = ["--format", "table,csv,json", "--format", "html", "--format", "navigator,sarif,ocsf"]
    assert (
        main(["report", "latest", "--store", store, *formats, "--output", str(tmp_path / "out")]) == ExitCode.FINDINGS
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == SINGLE | PACKAGE


def test_the_package_passes_store_verify_until_it_is_changed(store: str, tmp_path: Path) -> None:
    main(["report", "--store", store, "--format", "csv", "--output", str(tmp_path)])
    manifest = str(tmp_path / "manifest.json")
    assert main(["store", "verify", "--store", store, "--manifest", manifest]) == ExitCode.CLEAN
    with (tmp_path / "findings.csv").open("a") as stream:
        stream.write("forged\r\n")
    assert main(["store", "verify", "--store", store, "--manifest", manifest]) != ExitCode.CLEAN


def test_one_format_goes_to_standard_output_alone(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", "--store", store, "--format", "json"])
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(json.loads(line)["event"]["module"] == "fleetscan" for line in lines)


def test_a_baseline_turns_findings_into_states(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baseline", "create", "before", "--store", store]) == ExitCode.CLEAN
    capsys.readouterr()
    assert main(["report", "--store", store, "--baseline", "before"]) == ExitCode.FINDINGS
    out = capsys.readouterr().out
    assert "Against the baseline: 6 still there" in out
    assert "no baseline" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--format", "pdf"],
            "no report format is called 'pdf' (try: one of table, csv, json, html, navigator, sarif, ocsf)",
        ),
        (["--format", "csv,json"], "several formats need a folder (try: --output FOLDER)"),
        (["nothing-like-it"], "nothing-like-it"),
        (["--rules", "/nonexistent/rules"], "/nonexistent/rules"),
    ],
)
def test_bad_input_is_one_line(
    store: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["report", "--store", store, *arguments])
    assert caught.value.code == ExitCode.USAGE
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("fleetscan: ")
    assert error.count("\n") == 1


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["report", "--store", str(tmp_path / "none.db")])
    assert "none.db" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        main(["report", "--store", store, "--format", "html", "--output", str(tmp_path / "file" / "x.html")])
    assert "the report cannot be written" in capsys.readouterr().err


def test_a_reader_that_goes_away_leaves_no_traceback(store: str) -> None:
    command = [sys.executable, "-m", "fleetscan", "report", "--store", store, "--format", "json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=os.environ | {"NO_COLOR": "1"}
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
