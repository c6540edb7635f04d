"""``fleetscan diff``: detections and values beside entities, in every form and under every filter; which sweeps."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from fleetscan.cli import main
from fleetscan.model.host import HostId
from fleetscan.model.registry import HKLM, RegistryRow
from fleetscan.model.scope import Scope
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answered, Failed
from fleetscan.store.interface import Baseline, PlanRecord, SweepHost
from fleetscan.store.sql import open_store
from tests.domain.rows import PE, sip
from tests.findings.sweeps import START, put_sweep
from tests.findings.test_difference import INI, Answers, put, put_values

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fleetscan.planner.plan import Answer

CLEAN = sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData")
OTHER = INI | {"sha256": "cd" * 32}
SILENT = Failed(Reason.TIMEOUT, "no answer")
RUN = Scope(HKLM, ("SOFTWARE", "Microsoft", "Windows", "CurrentVersion", "Run"), None)
RULE = """
title: A run key
id: 11111111-2222-3333-4444-555555555555
logsource: {category: registry_set, product: windows}
detection: {selection: {TargetObject|contains: '\\CurrentVersion\\Run\\'}, condition: selection}
level: high
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and output of one diff."""
    code = main(["diff", *arguments])
    return code, capsys.readouterr().out


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a diff that cannot do what it is told."""
    with pytest.raises(SystemExit) as caught:
        main(["diff", *arguments])
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Two sweeps of detections: new on ``a``, another file on ``b``, gone on ``c``, not asked any more on ``d``."""
    found: list[Mapping[str, Answer]] = [{"wintrust-ini": one} for one in (Answered([INI]), Answered([OTHER]), SILENT)]
    path = tmp_path / "store.db"
    with open_store(path) as store:
        put(store, 0, a={}, b=found[0], c=found[0], d=found[0])
        put(store, 1, a=found[0], b=found[1], c={}, d=found[2])
    return str(path)


CHANGES = {
    ("a", "new", "high"),
    ("b", "changed", "high"),
    ("c", "removed", "info"),
    ("d", "not comparable", "info"),
}


def test_a_detection_is_compared_in_every_form(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, "--store", place)
    assert code == 1
    assert text.count("wintrust.dll.ini") == 4
    for words in ("SIP registrations from a text file", "sha256 abab", "sweep: timeout"):
        assert words in text
    _, lines = run(capsys, "--store", place, "--json")
    records = [json.loads(line) for line in lines.splitlines()]
    assert {(one["host"], one["change"], one["severity"]) for one in records} == CHANGES
    assert {one["kind"] for one in records} == {"file"}
    assert {"name": "sha256", "old": "", "new": "ab" * 32} in records[0]["attributes"]
    _, table = run(capsys, "--store", place, "--csv")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert {(row["host"], row["change"], row["severity"]) for row in rows} == CHANGES


@pytest.mark.parametrize(
    ("filters", "hosts"),
    [
        (("--entity", "wintrust.dll.INI"), "abcd"),
        (("--entity", "mso.dll"), ""),
        (("--rule", "wintrust-ini"), "abcd"),
        (("--rule", "SIP registrations from a text file"), "abcd"),
        (("--rule", "provider-file-owner"), ""),
        (("--limit", "a,d"), "ad"),
        (("--first", "2"), "ab"),
        (("--against", "b", "--limit", "a,c"), "c"),
    ],
    ids=lambda part: part if isinstance(part, str) else " ".join(part),
)
def test_filters_choose_detections_too(
    place: str, filters: tuple[str, ...], hosts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, lines = run(capsys, "--store", place, "--json", *filters)
    assert sorted(json.loads(line)["host"] for line in lines.splitlines()) == list(hosts)


def test_what_the_fleet_got_at_once_is_one_line_for_people_and_one_a_host_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(tmp_path / "store.db")
    with open_store(place) as store:
        put(store, 0, a={}, b={}, c={})
        put(store, 1, **{host: {"wintrust-ini": Answered([INI])} for host in "abc"})
    _, text = run(capsys, "--store", place)
    assert text.count("wintrust.dll.ini") == 1
    assert "3 of 3 hosts" in text
    _, lines = run(capsys, "--store", place, "--json", "--rule", "wintrust-ini")
    told = {(one["host"], one["fleet"]) for one in map(json.loads, lines.splitlines())}
    assert told == {(host, "3 of 3 hosts of build 19045") for host in "abc"}
    _, text = run(capsys, "--store", place, "--limit", "a")
    assert "3 of 3 hosts" not in text


def test_a_value_that_a_rule_asks_for_is_compared_and_graded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, rule = str(tmp_path / "store.db"), tmp_path / "rule.yml"
    rule.write_text(RULE, encoding="utf-8")
    row = RegistryRow(f"{HKLM}\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run", "x", "REG_SZ", "y.exe")
    with open_store(place) as store:
        put_values(store, 0, Answers((), (RUN,)))
        put_values(store, 1, Answers((row,), (RUN,)))
    code, lines = run(capsys, "--store", place, "--json")
    assert (code, [json.loads(line)["severity"] for line in lines.splitlines()]) == (1, ["low"])
    _, text = run(capsys, "--store", place, "-r", str(rule), "--rule", "a run KEY")
    assert "high" in text
    assert "key (certain, added since the baseline)" in text


@pytest.mark.parametrize(
    ("before", "after", "code", "told", "why"),
    [
        ((), (RUN,), 0, "asked for the first time, so there is nothing to compare with", "baseline: not asked"),
        ((RUN,), (), 3, "no longer asked, so what is there now is unknown", "sweep: not asked"),
    ],
    ids=["a new rule is no gap in what was known", "a rule that is gone is"],
)
def test_scopes_that_only_one_sweep_asked(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    before: tuple[Scope, ...],
    after: tuple[Scope, ...],
    code: int,
    told: str,
    why: str,
) -> None:
    place = str(tmp_path / "store.db")
    with open_store(place) as store:
        put_values(store, 0, Answers((), before))
        put_values(store, 1, Answers((), after))
    found, text = run(capsys, "--store", place)
    assert found == code
    assert text.splitlines()[1:] == ["nothing changed", f"{told}: 1 scope (--json names them)"]
    _, lines = run(capsys, "--store", place, "--json")
    [record] = map(json.loads, lines.splitlines())
    assert (record["entity"], record["why"]) == (RUN.text, why)


def test_hosts_of_one_side_are_in_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(tmp_path / "store.db")
    with open_store(place) as store:
        put_sweep(store, {"a": CLEAN, "away": CLEAN, "back": None, **{f"left-{n:02}": CLEAN for n in range(12)}})
        put_sweep(store, {"a": CLEAN, "away": None, "back": CLEAN, "joined": CLEAN}, day=1)
    code, text = run(capsys, "--store", place)
    assert code == 3
    assert "seen for the first time: joined" in text
    assert "left-09 and 2 more" in text
    _, lines = run(capsys, "--store", place, "--json")
    told = {(one["host"], one["change"]) for one in map(json.loads, lines.splitlines())}
    assert {("joined", "first seen"), ("left-11", "no longer listed"), ("away", "not comparable")} <= told
    assert ("back", "not comparable") in told


def test_without_base_it_takes_the_last_sweep_that_came_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(tmp_path / "store.db")
    with open_store(place) as store:
        first = put_sweep(store, {"a": CLEAN})
        killed = START + timedelta(days=1)
        store.begin_sweep(
            PlanRecord(digest="d", scopes=(), statements=()), [SweepHost(HostId("a"), "x")], started=killed
        )
        put_sweep(store, {"a": CLEAN}, day=2)
        store.put_baseline(Baseline(name="gold", sweep=first, host=HostId("a"), created=START))
    _, text = run(capsys, "--store", place)
    assert f"compared with {first}\n" in text
    _, text = run(capsys, "gold", "--store", place)
    assert f"compared with gold (sweep {first}), every host with a\n" in text


def test_a_base_that_cannot_be_used_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(tmp_path / "store.db")
    with open_store(place) as store:
        old = put_sweep(store, {"a": CLEAN, "off": None})
        new = put_sweep(store, {"a": CLEAN}, day=9)
        assert "no baseline and no sweep nothing" in fails(capsys, "nothing", "--store", place)
        assert "beginning of 2 sweeps" in fails(capsys, old[:4], "--store", place)
        assert "off gave no answer" in fails(capsys, old, "--against", "off", "--store", place)
        store.prune(1, now=datetime(2026, 11, 12, tzinfo=UTC))
    assert "were pruned" in fails(capsys, old, new, "--store", place)
    assert "there is no sweep before" in fails(capsys, "--store", place)
