"""``fleetscan baseline``: naming sweeps and golden hosts, and what happens to the names."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from fleetscan.cli import baseline as verb
from fleetscan.cli.main import main
from fleetscan.errors import ExitCode
from fleetscan.model.host import HostId
from fleetscan.model.snapshot import Complete, HostFacts, HostResult, Reason, ScopeResult, Unreachable
from fleetscan.store.interface import PlanRecord, SweepHost, SweepId
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 11, 21, 21, 10, tzinfo=UTC)
PLAN = PlanRecord(digest="d", scopes=(("s-1", "HKLM One"),), statements=())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store with two sweeps of three hosts: complete, unreachable, never asked."""
    path = tmp_path / "fleetscan.db"
    with open_store(path) as store:
        for age in (10, 0):
            start = START - timedelta(days=age)
            hosts = [SweepHost(HostId(name), "embedded") for name in ("ws-1", "ws-2", "ws-3")]
            sweep = store.begin_sweep(PLAN, hosts, started=start)
            for name, status in (("ws-1", Complete()), ("ws-2", Unreachable(Reason.TIMEOUT))):
                facts = HostFacts(os_name="Microsoft Windows 11 \x1b[31m", os_build="22631")
                scope = ScopeResult(scope_id="s-1", status=status)
                store.put(
                    sweep, HostResult(host=HostId(name), facts=facts, scopes=(scope,), started=start, finished=start)
                )
            store.finish_sweep(sweep, finished=start, outcome="incomplete")
    return path


def fleetscan(place: Path, *words: str) -> int:
    return main(["baseline", *words, "--store", str(place)])


def sweep_ids(place: Path) -> list[SweepId]:
    with open_store(place) as store:
        return [sweep.id for sweep in store.sweeps()]


def refused(place: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        fleetscan(place, *words)
    assert stop.value.code == ExitCode.USAGE
    return capsys.readouterr().err


def test_the_latest_sweep_becomes_the_baseline_and_gaps_are_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleetscan(place, "create", "monday") == ExitCode.CLEAN
    printed = capsys.readouterr().out
    assert f"baseline monday: sweep {sweep_ids(place)[1]}, each host against its own past" in printed
    assert "2 of 3 hosts are not complete" in printed


def test_an_older_sweep_by_the_beginning_of_its_id(place: Path) -> None:
    fleetscan(place, "create", "old", "--sweep", "20261111")
    with open_store(place) as store:
        assert store.baseline("old").sweep == sweep_ids(place)[0]


def test_a_golden_host(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleetscan(place, "create", "gold", "--host", "ws-1", "--note", "image 24H2") == ExitCode.CLEAN
    assert "every host against ws-1" in capsys.readouterr().out
    assert fleetscan(place, "show", "gold") == ExitCode.CLEAN
    printed = capsys.readouterr().out
    assert "image 24H2" in printed
    assert "ws-1" in printed
    assert "ws-2" not in printed


def test_several_golden_hosts_and_the_own_past_first(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleetscan(place, "create", "by-build", "--host", "ws-1", "--host", "ws-2")
    fleetscan(place, "create", "both", "--host", "ws-1", "--own-past")
    printed = capsys.readouterr().out
    assert "every host against the one of its build among ws-1, ws-2" in printed
    assert "each host against its own past, a host without one against ws-1" in printed
    fleetscan(place, "list")
    printed = capsys.readouterr().out
    assert "ws-1, ws-2" in printed
    assert "own past, ws-1" in printed
    with open_store(place) as store:
        found = [(one.golden, one.own_past) for one in store.baselines()]
    assert found == [(("ws-1",), True), (("ws-1", "ws-2"), False)]


def test_the_time_comes_from_the_clock(place: Path) -> None:
    parser = ArgumentParser()
    verb.configure(parser)
    args = parser.parse_args(["create", "now", "--store", str(place)])
    verb.run(args, clock=lambda: START + timedelta(days=1))
    with open_store(place) as store:
        assert store.baseline("now").created == START + timedelta(days=1)


def test_list_show_and_delete(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleetscan(place, "list") == ExitCode.CLEAN
    assert "no baseline yet" in capsys.readouterr().out
    fleetscan(place, "create", "monday")
    fleetscan(place, "create", "gold", "--host", "ws-1")
    capsys.readouterr()
    assert fleetscan(place, "list") == ExitCode.CLEAN
    printed = capsys.readouterr().out
    assert printed.index("gold") < printed.index("monday")
    assert "own past" in printed
    assert fleetscan(place, "show", "monday") == ExitCode.CLEAN
    printed = capsys.readouterr().out
    assert [line.split()[:2] for line in printed.splitlines()[-3:]] == [
        ["ws-1", "complete"],
        ["ws-2", "unreachable"],
        ["ws-3", "not"],
    ]
    assert "\x1b" not in printed
    assert fleetscan(place, "delete", "monday") == ExitCode.CLEAN
    assert "there is no baseline monday" in refused(place, capsys, "show", "monday")


def test_a_name_is_given_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleetscan(place, "create", "monday")
    assert "fleetscan baseline delete monday" in refused(place, capsys, "create", "monday")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("create", "x", "--sweep", "1999"), "there is no sweep 1999"),
        (("create", "x", "--sweep", "2026"), "is the beginning of 2 sweeps"),
        (("create", "x", "--host", "ws-3"), "no answer of host ws-3"),
        (("create", "x", "--host", "stranger"), "no answer of host stranger"),
        (("create", "latest"), "cannot have this name"),
        (("create", "Auto"), "already means a sweep"),
        (("create", "2026"), "already means a sweep"),
        (("create", "20261111-000000-3f2a"), "already means a sweep"),
        (("create", ""), "cannot have this name"),
        (("create", " monday"), "cannot have this name"),
        (("create", "a\x1b[31mred"), "cannot have this name"),
        (("create", "two\nlines"), "cannot have this name"),
        (("create", "x" * 65), "cannot have this name"),
        (("delete", "nobody"), "there is no baseline nobody"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], answer: str
) -> None:
    printed = refused(place, capsys, *words)
    assert answer in printed
    assert printed.count("\n") == 1


def test_names_that_differ_by_case_alone_collide(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleetscan(place, "create", "Monday")
    assert "there is a baseline Monday already" in refused(place, capsys, "create", "monday")


@pytest.mark.parametrize("name", ["it's; DROP TABLE", "../../etc/passwd", "größer", "%s {0} $HOME"])
def test_names_are_texts_and_nothing_else(place: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert fleetscan(place, "create", name) == ExitCode.CLEAN
    assert fleetscan(place, "show", name) == ExitCode.CLEAN
    assert name in capsys.readouterr().out
    assert fleetscan(place, "delete", name) == ExitCode.CLEAN


def test_a_sweep_that_is_not_finished_can_be_a_baseline_and_says_so(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_store(place) as store:
        store.reopen_sweep(store.sweep().id)
    assert fleetscan(place, "create", "early") == ExitCode.CLEAN
    assert "the sweep is not finished" in capsys.readouterr().out


def test_a_baseline_whose_sweep_was_pruned_cannot_be_made(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_store(place) as store:
        store.prune(5, now=START)
    assert "were pruned" in refused(place, capsys, "create", "x", "--sweep", "20261111")
