"""``fleetscan store``: the lists, what verify says, what prune drops, and the exit codes of each."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from argparse import ArgumentParser
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from fleetscan.cli import store as verb
from fleetscan.cli.main import main
from fleetscan.errors import ExitCode, SettingsError
from fleetscan.model.host import HostId
from fleetscan.model.registry import RegistryRow
from fleetscan.model.snapshot import Complete, HostFacts, HostResult, RawAnswer, ScopeResult
from fleetscan.store.interface import PlanRecord, RuleRecord, Sweep, SweepHost
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = datetime(2026, 11, 21, 21, 10, tzinfo=UTC)
PLAN = PlanRecord(
    digest="9a" * 32,
    scopes=(("s-1", "HKLM One"),),
    statements=(("q-1", "SELECT 1"),),
    rules=(RuleRecord(id="r-1", title="One", digest="b2" * 32),),
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store with two finished sweeps, 100 days apart; one of two hosts answered."""
    path = tmp_path / "fleetscan.db"
    with open_store(path) as store:
        for age, data in ((100, "old"), (0, "new")):
            start = START - timedelta(days=age)
            hosts = [SweepHost(HostId(name), "embedded") for name in ("ws-1", "ws-2")]
            sweep = store.begin_sweep(PLAN, hosts, started=start, note=f"{data} \x1b[31mred")
            rows = (RegistryRow("K", "n", "REG_SZ", data, "K\\n"),)
            scope = ScopeResult(scope_id="s-1", status=Complete(), rows=rows)
            store.put(
                sweep,
                HostResult(host=HostId("ws-1"), facts=HostFacts(), scopes=(scope,), started=start, finished=start),
            )
            store.finish_sweep(sweep, finished=start, outcome="incomplete")
    return path


def fleetscan(place: Path, *words: str) -> int:
    return main(["store", *words, "--store", str(place)])


def alter(place: Path, statement: str) -> None:
    with closing(sqlite3.connect(place)) as connection:
        connection.execute(statement)
        connection.commit()


def latest(place: Path) -> Sweep:
    with open_store(place) as store:
        return store.sweep()


def test_info_counts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleetscan(place, "info") == ExitCode.CLEAN
    printed = capsys.readouterr().out
    assert "sweeps           " in printed
    assert "bytes on disk" in printed


def test_sweeps_are_listed_and_their_notes_do_not_act_on_the_terminal(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleetscan(place, "sweeps") == ExitCode.CLEAN
    printed = capsys.readouterr().out
    assert latest(place).id in printed
    assert "1 of 2" in printed
    assert "2026-11-21 21:10:00Z" in printed
    assert "\x1b" not in printed


def test_an_empty_store_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_store(tmp_path / "empty.db").close()
    assert fleetscan(tmp_path / "empty.db", "sweeps") == ExitCode.CLEAN
    assert "fleetscan sweep" in capsys.readouterr().out


def test_a_sound_store_verifies(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleetscan(place, "verify") == ExitCode.CLEAN
    printed = capsys.readouterr().out
    assert "sound" in printed
    assert "seal" in printed


def test_an_altered_store_does_not(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alter(place, "UPDATE sweep SET note = 'nothing to see'")
    assert fleetscan(place, "verify") == ExitCode.FINDINGS
    printed = capsys.readouterr().out
    assert "note is not what was sealed" in printed
    assert "2 problems" in printed


@pytest.fixture
def package(place: Path, tmp_path: Path) -> Path:
    """The manifest of a report of the latest sweep."""
    sweep = latest(place)
    (tmp_path / "findings.csv").write_bytes(b"finding\r\n")
    manifest = {
        "files": {"findings.csv": hashlib.sha256(b"finding\r\n").hexdigest()},
        "sweep": sweep.id,
        "plan": sweep.plan_digest,
        "rules": sweep.rules_digest,
        "previous": sweep.previous,
        "seal": sweep.seal,
    }
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest))
    return path


def test_a_report_belongs_to_its_store(place: Path, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleetscan(place, "verify", "--manifest", str(package)) == ExitCode.CLEAN
    assert "files of the report" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("files", {"findings.csv": "0" * 64}, "does not match its hash"),
        ("files", {"missing.csv": "0" * 64}, "cannot be read"),
        ("files", {"../../etc/passwd": "0" * 64}, "outside of the report's folder"),
        ("files", {"/etc/passwd": "0" * 64}, "outside of the report's folder"),
        ("files", {"nul\0": "0" * 64}, "outside of the report's folder"),
        ("sweep", "20200101-000000-0000", "the store has no sweep"),
        ("plan", "0" * 64, "plan"),
        ("rules", "0" * 64, "rules"),
        ("previous", "0" * 64, "previous"),
        ("seal", "0" * 64, "seal"),
    ],
)
def test_a_report_that_was_altered_or_is_not_of_this_store(
    place: Path, package: Path, capsys: pytest.CaptureFixture[str], field: str, value: object, words: str
) -> None:
    package.write_text(json.dumps({**json.loads(package.read_text()), field: value}))
    assert fleetscan(place, "verify", "--manifest", str(package)) == ExitCode.FINDINGS
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", 'has no "files"'),
        (b'{"files": {"a": 1}}', 'has no "files"'),
    ],
)
def test_what_is_no_manifest(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, words: str
) -> None:
    path = tmp_path / "other.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        fleetscan(place, "verify", "--manifest", str(path))
    assert stop.value.code == ExitCode.USAGE
    assert words in capsys.readouterr().err


def test_a_manifest_without_end_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetscan.store.manifest._LARGEST", 100)
    if not os.path.exists("/dev/zero"):  # noqa: PTH110 - a device
        pytest.skip("no /dev/zero")
    with pytest.raises(SystemExit):
        fleetscan(place, "verify", "--manifest", "/dev/zero")
    assert "too large" in capsys.readouterr().err


def prune(place: Path, keep: str, now: datetime) -> ExitCode:
    parser = ArgumentParser()
    verb.configure(parser)
    args = parser.parse_args(["prune", "--keep", keep, "--store", str(place)])
    return verb.run(args, clock=lambda: now)


def test_prune_says_what_it_dropped_and_what_it_kept(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prune(place, "90d", START) == ExitCode.CLEAN
    printed = capsys.readouterr().out
    assert "older than 90 days" in printed
    assert "records dropped: " in printed
    assert fleetscan(place, "sweeps") == ExitCode.CLEAN
    assert "pruned 2026-11-21" in capsys.readouterr().out
    assert prune(place, "90d", START) == ExitCode.CLEAN
    assert "nothing is older than 90 days" in capsys.readouterr().out
    assert prune(place, "1w", START + timedelta(days=30)) == ExitCode.CLEAN
    assert "the latest sweep" in capsys.readouterr().out


def test_prune_says_how_much_room_came_back(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_store(place) as store:
        start = START - timedelta(days=95)
        sweep = store.begin_sweep(PLAN, [SweepHost(HostId("ws-1"), "embedded")], started=start)
        scope = ScopeResult(scope_id="s-1", status=Complete(), rows=())
        raw = (RawAnswer("q-1", "", os.urandom(500_000)),)
        result = HostResult(
            host=HostId("ws-1"), facts=HostFacts(), scopes=(scope,), started=start, finished=start, raw=raw
        )
        store.put(sweep, result)
        store.finish_sweep(sweep, finished=start, outcome="incomplete")
        other = store.begin_sweep(PLAN, [SweepHost(HostId("ws-1"), "embedded")], started=START)
        store.finish_sweep(other, finished=START, outcome="incomplete")
    before = place.stat().st_size
    assert prune(place, "90d", START) == ExitCode.CLEAN
    after = place.stat().st_size
    assert f"given back: {before - after:,} bytes" in capsys.readouterr().out
    assert before - after > 400_000


@pytest.mark.parametrize(("text", "number"), [("90d", 90), ("12W", 84), (" 1y ", 365)])
def test_days_are_written_as_people_do(text: str, number: int) -> None:
    assert verb.days(text) == number


@pytest.mark.parametrize("text", ["", "90", "0d", "-1d", "1.5d", "99999999d", "d", "9\u0663d", "forever\x1b[0m"])
def test_other_words_for_days_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="not a number of days"):
        verb.days(text)


@pytest.mark.parametrize("action", ["info", "sweeps", "verify"])
def test_without_a_store_the_answer_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        fleetscan(tmp_path / "missing.db", action)
    assert stop.value.code == ExitCode.USAGE
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "there is no store" in printed
    assert not (tmp_path / "missing.db").exists()


def make_truncated(place: Path) -> None:
    with place.open("r+b") as file:
        file.truncate(place.stat().st_size // 2)


def make_future(place: Path) -> None:
    alter(place, "UPDATE meta SET value = '999' WHERE name = 'schema'")


def make_damaged(place: Path) -> None:
    content = place.read_bytes()
    place.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_truncated, "the store is truncated"),
        (make_future, "schema version 999"),
        (make_damaged, "the store is damaged"),
    ],
)
@pytest.mark.parametrize(
    "words_of_command",
    [
        ("store", "info"),
        ("store", "verify"),
        ("store", "prune", "--keep", "1d"),
        ("baseline", "create", "x"),
        ("baseline", "show", "x"),
        ("evaluate",),
        ("report",),
        ("diff",),
        ("approve", "f", "--owner", "o", "--reason", "r", "--expires", "2999-01-01"),
        ("sweep", "-i", "inventory/demo.yml", "-q"),
    ],
    ids=" ".join,
)
def test_a_store_that_cannot_be_used_is_one_line_and_exit_code_2_and_stays_as_it_is(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], None],
    words: str,
    words_of_command: tuple[str, ...],
) -> None:
    make(place)
    before = place.read_bytes()
    with pytest.raises(SystemExit) as stop:
        main([*words_of_command, "--store", str(place)])
    assert stop.value.code == ExitCode.USAGE
    printed = capsys.readouterr()
    [line] = printed.err.splitlines()
    assert words in line
    assert line.startswith(f"fleetscan: {place}: ")
    assert "(try: " in line
    assert printed.out == ""
    assert place.read_bytes() == before


def test_a_verify_with_one_problem_says_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alter(place, "UPDATE meta SET value = 'x' WHERE name = 'generation'")
    assert fleetscan(place, "verify") == ExitCode.FINDINGS
    assert "\n1 problem (try: " in capsys.readouterr().out
