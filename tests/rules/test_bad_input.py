"""No rule file can stop the others, raise a traceback, or take more than a bounded time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetscan.errors import SettingsError
from fleetscan.model.rule import MessageLevel
from fleetscan.rules.load import load_rules, load_text
from tests.patience import LONG

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """title: good
logsource: {product: windows, category: registry_set}
detection:
  s:
    TargetObject|contains: '\\Run\\'
  condition: s
"""
GOOD_TOML = """[rule]
name = "good"
language = "eql"
type = "eql"
query = 'registry where registry.value : "x"'
"""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "bomb.yml": (BOMB, 5),
    "deep.yml": ("[" * 100_000, 1),
    "deep-list.yml": ("- " * 100_000, 1),
    "deep-map.yml": ("{a: " * 100_000, 1),
    "alias.yml": ("a: *missing\n", 1),
    "self.yml": ("a: &a [*a]\n", 1),
    "twice.yml": ("title: a\ntitle: b\n", 2),
    "tab.yml": ("title: a\n\tdetection: b\n", 2),
    "tag.yml": ("title: !!python/object:os.system x\n", None),
    "date.yml": ("title: 2024-99-99\n", 1),
    "number.yml": (f"title: {'9' * 10_000}\n", 1),
    "bytes.yml": ("title: \x01\n", None),
    "cut.toml": ('[rule]\nname = "x\n', 2),
    "deep.toml": ("a = " + "[" * 10_000, None),
    "empty.toml": ("", None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_one_problem_with_its_place(name: str) -> None:
    text, line = HOSTILE[name]
    started = time.monotonic()
    report = load_text(text, name)
    assert time.monotonic() - started < LONG
    assert [(problem.code, problem.level) for problem in report.problems] == [("P100", MessageLevel.ERROR)]
    assert line is None or report.problems[0].where.line == line


def test_file_of_10_megabytes_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "huge.yml").write_bytes(b"title: x\n" * 1_200_000)
    started = time.monotonic()
    report = load_rules([tmp_path])
    assert time.monotonic() - started < LONG
    assert "larger than" in report.problems[0].text


def test_one_broken_file_never_stops_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("title: [\n", "utf-8")
    (tmp_path / "b.yml").write_text(GOOD, "utf-8")
    (tmp_path / "c.toml").write_text("x", "utf-8")
    (tmp_path / "d.toml").write_text(GOOD_TOML, "utf-8")
    (tmp_path / "e.yml").write_bytes(b"title: \xff\n")
    (tmp_path / "f.txt").write_text("not a rule", "utf-8")
    report = load_rules([tmp_path])
    assert [rule.title for rule in report.rules] == ["good", "good"]
    assert {problem.where.name.rpartition("/")[2] for problem in report.problems} == {"a.yml", "c.toml", "e.yml"}
    assert (report.files, report.refused) == (5, 3)


def test_yaml_that_is_no_rule_is_skipped_with_a_note() -> None:
    report = load_text("approvals:\n  - reason: x\n", "approvals.yml")
    assert [(problem.level, report.refused) for problem in report.problems] == [(MessageLevel.NOTE, 0)]


def test_second_rule_with_the_same_id_is_refused_unless_it_is_the_same_text(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(f"id: x\n{GOOD}", "utf-8")
    (tmp_path / "b.yml").write_text(f"id: x\n{GOOD}", "utf-8")
    (tmp_path / "c.yml").write_text(f"id: x\nlevel: low\n{GOOD}", "utf-8")
    report = load_rules([tmp_path])
    assert len(report.rules) == 1
    assert [problem.text for problem in report.problems] == [f"id x is already used by {tmp_path / 'a.yml'}:1"]


def test_path_that_does_not_exist_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such rule file"):
        load_rules([tmp_path / "missing"])


@pytest.mark.parametrize(
    "source", ["(a+)+$", "(.*)*x", "([a-z]+)*=", "(x{1,100}){1,100}{1,100}", "a{1000}{1000}", "(?=a)", r"(a)\1"]
)
def test_regular_expression_runs_in_bounded_time_or_is_refused(source: str) -> None:
    from fleetscan.evaluate import judge  # noqa: PLC0415 - beside its use
    from tests.evaluate.writing import row  # noqa: PLC0415

    text = GOOD.replace("TargetObject|contains: '\\Run\\'", f"Details|re: '{source}'")
    started = time.monotonic()
    report = load_text(text, "r.yml")
    for rule in report.rules:
        judge(rule, row("HKEY_LOCAL_MACHINE\\SOFTWARE", "v", data="a" * 50_000 + "!"))
    assert time.monotonic() - started < LONG
    assert report.rules or {problem.code for problem in report.problems} == {"P107"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutated_rule_loads_or_is_refused_but_never_raises(data: st.DataObject) -> None:
    text, name = data.draw(st.sampled_from([(GOOD, "r.yml"), (GOOD_TOML, "r.toml")]))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    inserted = data.draw(st.text(st.sampled_from("{}[]()'\":*&!|>-\n\t\\ aé\x00#,?%@`0.1="), max_size=8))
    report = load_text(text[:start] + inserted + text[end:], name)
    assert len(report.rules) <= 2
    assert all(problem.code and problem.text for problem in report.problems)
