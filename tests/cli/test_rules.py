"""``fleetscan rules``: the list, the check of files and folders with its exit code, and the explanation of one rule."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from fleetscan.cli.main import main
from fleetscan.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """title: good
id: good-rule
level: high
tags: [attack.t1547.001]
logsource: {product: windows, category: registry_set}
detection:
  selection:
    TargetObject|contains: 'HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run\\'
    Image|endswith: '\\a.exe'
  condition: selection
"""
BROKEN = """title: broken
logsource: {product: windows, category: process_creation}
detection:
  s:
    a|nonsense: 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.yml").write_text(GOOD, "utf-8")
    return tmp_path


def test_shipped_rules_are_listed_with_level_technique_source_and_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "list"]) == ExitCode.CLEAN
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("d6c2ce7e-afb5-4337-9ca4-4b5254ed0565"))
    assert all(word in line for word in ("WinSock2 catalogue entry", "medium", "T1547.001", "sigma: ", "complete"))


def test_list_as_json_can_be_read_by_a_program(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "list", "--json", "--rules", str(folder)]) == ExitCode.CLEAN
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["title"], listed["level"]) == ("good-rule", "good", "high")


def test_check_of_a_good_folder_is_clean(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check", str(folder)]) == ExitCode.CLEAN
    printed = capsys.readouterr().out
    assert "rules loaded" in printed
    assert f"{folder / 'good.yml'}:1: limit P108: can only give possible findings (needs Image)" in printed


def test_check_names_every_problem_with_file_and_line_and_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.yml").write_text(BROKEN, "utf-8")
    assert main(["rules", "check", str(folder)]) == ExitCode.INCOMPLETE
    printed = capsys.readouterr().out
    assert f"{folder / 'broken.yml'}:2: error P103: category process_creation is not a registry category" in printed
    assert f"{folder / 'broken.yml'}:5: error P107: a|nonsense: Unknown modifier" in printed
    assert "good.yml:1: limit P108" in printed


def test_file_asked_for_by_name_that_cannot_be_loaded_is_a_usage_error(folder: Path) -> None:
    (folder / "broken.yml").write_text(BROKEN, "utf-8")
    assert main(["rules", "check", str(folder / "broken.yml")]) == ExitCode.USAGE


def test_check_as_json_counts_and_places(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.yml").write_text(BROKEN, "utf-8")
    main(["rules", "check", "--json", str(folder)])
    printed = json.loads(capsys.readouterr().out)
    assert (printed["files"], printed["loaded"], printed["refused"]) == (2, 1, 1)
    assert {(m["code"], m["line"]) for m in printed["messages"] if m["level"] == "error"} >= {("P103", 2), ("P107", 5)}


@pytest.mark.parametrize("arguments", [["check", "missing"], ["explain", "no such rule"]])
def test_what_does_not_exist_is_one_line_and_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["rules", *arguments])
    assert stop.value.code == ExitCode.USAGE
    assert capsys.readouterr().err.count("\n") == 1


def test_folder_without_rules_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["rules", "check", str(tmp_path)])
    assert stop.value.code == ExitCode.USAGE


@pytest.mark.parametrize("name", ["good-rule", "GOOD"])
def test_explain_goes_from_detection_to_cost(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "explain", name, "--rules", str(folder)]) == ExitCode.CLEAN
    printed = capsys.readouterr().out
    headings = ["Condition", "Scopes", "SQL", "What is lost", "Cost"]
    assert [printed.index(f"\n{heading}") for heading in headings] == sorted(
        printed.index(f"\n{heading}") for heading in headings
    )
    assert "not visible in state: Image" in printed
    assert "WITH RECURSIVE" in printed


def test_explain_takes_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "explain", str(folder / "good.yml")]) == ExitCode.CLEAN
    assert 'Image matches "*\\a.exe"  (unobservable)' in capsys.readouterr().out


def test_text_of_a_rule_cannot_act_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.yml").write_text(GOOD.replace("title: good", 'title: "a\\e[2Jb"'), "utf-8")
    main(["rules", "list", "--rules", str(tmp_path)])
    main(["rules", "explain", "good-rule", "--rules", str(tmp_path)])
    assert "\x1b" not in capsys.readouterr().out


def test_corpus_is_checked_in_seconds(corpus_folder_of_rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started = time.process_time()
    assert main(["rules", "check", str(corpus_folder_of_rules)]) in {ExitCode.CLEAN, ExitCode.INCOMPLETE}
    assert time.process_time() - started < 10
    assert "rules loaded" in capsys.readouterr().out
