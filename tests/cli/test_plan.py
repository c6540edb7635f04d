"""``fleetscan plan`` says what is asked, how far it goes and what it costs."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from fleetscan.cli.main import main
from fleetscan.errors import ExitCode
from fleetscan.rules.load import load_rules
from tests.conftest import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

RULE = r"""title: Broad
id: 33333333-3333-4333-8333-333333333333
logsource:
    category: registry_set
    product: windows
detection:
    a:
        TargetObject: 'HKLM\SOFTWARE\A\b'
        Image: 'x.exe'
    b:
        TargetObject|contains: '\Software\Classes\'
        Details: 'x'
    condition: a or b
level: low
"""


def test_every_shipped_rule_is_shown_with_scopes_cost_and_sql(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan"]) == ExitCode.CLEAN
    out = capsys.readouterr().out
    for rule in load_rules([PROJECT / "rules"]).rules:
        assert f"{rule.title} ({rule.id})" in out
    assert "answered: " in out
    assert "state cannot decide: Image" in out
    assert "registry calls" in out
    assert "WITH RECURSIVE" in out


def test_expensive_part_is_named_and_taken_in_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broad.yml"
    file.write_text(RULE)
    assert main(["plan", "-r", str(file)]) == ExitCode.CLEAN
    out = capsys.readouterr().out
    assert "answered: partial" in out
    assert r"expensive, left out: HKEY_LOCAL_MACHINE\SOFTWARE\CLASSES\**" in out
    assert "expensive, not in the plan (--include-expensive): Broad" in out
    main(["plan", "-r", str(file), "--include-expensive"])
    assert "answered: complete" in capsys.readouterr().out


def test_json_holds_the_whole_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--format", "json"]) == ExitCode.CLEAN
    document = json.loads(capsys.readouterr().out)
    known = {scope["id"] for scope in document["scopes"]}
    assert all(set(rule["scopes"]) <= known for rule in document["rules"])
    assert document["estimate"]["calls"] > 0


def test_sql_is_complete_statements(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--format", "sql"]) == ExitCode.CLEAN
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("--")]
    assert lines
    assert all(sqlite3.complete_statement(line) for line in lines)


def test_one_rule_by_title(capsys: pytest.CaptureFixture[str]) -> None:
    rules = load_rules([PROJECT / "rules"]).rules
    assert main(["plan", rules[0].title]) == ExitCode.CLEAN
    out = capsys.readouterr().out
    assert rules[0].id in out
    assert rules[1].id not in out


def test_unknown_rule_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["plan", "no such rule"])
    assert caught.value.code == ExitCode.USAGE
    assert "no such rule" in capsys.readouterr().err


def test_lint_of_the_shipped_pack_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--lint", str(PROJECT / "queries" / "packs" / "fleetscan.json")]) == ExitCode.CLEAN
    assert "no unsafe query" in capsys.readouterr().out


def test_lint_of_an_unsafe_query_prints_the_safe_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "q.sql"
    file.write_text(r"SELECT * FROM registry WHERE key LIKE 'HKLM\SOFTWARE\%'")
    assert main(["plan", "--lint", str(file)]) == ExitCode.FINDINGS
    out = capsys.readouterr().out
    assert f"{file}:1: unsafe: hive HKLM is unknown to osquery; safe: HKEY_LOCAL_MACHINE" in out
    assert "1 unsafe" in out
