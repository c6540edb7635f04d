"""The main job, resumed: who is asked again, what is said of the others, and several processes at one sweep."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleetscan.engines.named import engine_named
from fleetscan.errors import ExitCode, SettingsError
from fleetscan.progress import HostStarted
from fleetscan.store.interface import COMPLETE, INCOMPLETE
from fleetscan.store.sql import open_store
from fleetscan.sweep import Request, ask, begin, prepare, resume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscan.engines.interface import Answers, Engine
    from fleetscan.model.host import Host
    from fleetscan.planner.plan import Statement
    from fleetscan.progress import Event
    from fleetscan.store.interface import Store, SweepId
    from fleetscan.sweep import Prepared

DEMO = Path(__file__).parents[2] / "inventory" / "demo"
RULE = """
title: {title}
id: 5f3f3d0e-8d0b-4d8e-9b57-0a3b0f6b9f0{number}
status: experimental
description: Enough of a rule to have something to ask.
author: fleetscan
logsource: {{category: registry_set, product: windows}}
detection:
  selection: {{TargetObject|contains: '\\{key}\\'}}
  condition: selection
level: low
"""


class Asked:
    """An observer that remembers who was asked."""

    def __init__(self) -> None:
        self.hosts: set[str] = set()

    def notify(self, event: Event) -> None:
        if isinstance(event, HostStarted):
            self.hosts.add(event.host)


def now() -> datetime:
    return datetime.now(UTC)


def prepared(folder: Path, *names: str, key: str = "CurrentVersion\\Run", limit: tuple[str, ...] = ()) -> Prepared:
    """A sweep of clean machines; one called ``broken`` cannot be read."""
    lines = [
        f"  {name}: {{engine: embedded, hives: '{DEMO / ('broken-SOFTWARE' if name == 'broken' else EXPORT)}'}}\n"
        for name in names
    ]
    (folder / "fleet.yml").write_text("hosts:\n" + "".join(lines))
    rule = folder / "rule.yml"
    rule.write_text(RULE.format(title=f"A value below {key}", number=len(key) % 10, key=key))
    return prepare(Request(inventory=str(folder / "fleet.yml"), rules=(rule,), limit=limit))


EXPORT = "base-server-2022.reg"


def swept(what: Prepared, store: Store, sweep: SweepId) -> set[str]:
    """Ask; the hosts that were asked."""
    asked = Asked()
    ask(what, store, sweep, engine_named, observer=asked, stop=threading.Event(), now=now)
    return asked.hosts


def test_only_hosts_that_are_not_complete_are_asked_again(tmp_path: Path) -> None:
    what = prepared(tmp_path, "a", "b", "broken")
    with open_store(str(tmp_path / "s.db")) as store:
        first = begin(what, store, now=now())
        assert swept(what, store, first) == {"a", "b", "broken"}
        sweep, said = resume(what, store)
        assert sweep == first
        assert said == (f"sweep {first}: 1 of 3 hosts are left to ask",)
        assert swept(what, store, sweep) == {"broken"}
        assert store.sweep(first).outcome == INCOMPLETE


def test_a_complete_sweep_stays_sealed_and_nobody_is_asked(tmp_path: Path) -> None:
    what = prepared(tmp_path, "a", "b")
    with open_store(str(tmp_path / "s.db")) as store:
        first = begin(what, store, now=now())
        swept(what, store, first)
        before = store.sweep(first)
        assert before.outcome == COMPLETE
        sweep, said = resume(what, store, first)
        assert said == (f"sweep {first} is complete",)
        assert swept(what, store, sweep) == set()
        assert store.sweep(first) == before


def test_hosts_that_came_or_went_since_are_named(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "s.db")) as store:
        first = begin(prepared(tmp_path, "a", "broken", "gone"), store, now=now())
        what = prepared(tmp_path, "a", "broken", "new", limit=("!broken",))
        sweep, said = resume(what, store)
        assert said == (
            f"sweep {first}: 1 of 3 hosts are left to ask",
            f"not asked, because they are not in sweep {first}: new (try: a new sweep)",
            f"not complete in sweep {first}, and not in -i {tmp_path}/fleet.yml as chosen: broken, gone",
        )
        assert swept(what, store, sweep) == {"a"}
        assert store.sweep(first).outcome == INCOMPLETE
        assert set(store.pending(first)) == {"broken", "gone"}


def test_without_a_name_the_latest_sweep_that_asked_the_same_goes_on(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "s.db")) as store:
        what = prepared(tmp_path, "a")
        first = begin(what, store, now=now())
        other = begin(prepared(tmp_path, "a", key="CurrentVersion\\RunOnce"), store, now=now())
        assert resume(what, store)[0] == first
        with pytest.raises(SettingsError, match=f"sweep {other} asked something else"):
            resume(what, store, other)
        with pytest.raises(SettingsError, match=f"sweep {other} asked something else.*--resume SWEEP"):
            resume(prepared(tmp_path, "a", key="Winlogon\\Notify"), store)


class Meddler:
    """An engine; while host ``b`` is asked, another process seals the sweep."""

    def __init__(self, place: str, sweep: SweepId) -> None:
        self.place = place
        self.sweep = sweep

    def ask(self, host: Host, statements: Sequence[Statement], *, deadline: float | None = None) -> Answers:
        if host.id == "b":
            with open_store(self.place) as store:
                store.finish_sweep(self.sweep, finished=now(), outcome=INCOMPLETE)
        return engine_named(host.engine).ask(host, statements, deadline=deadline)


def test_a_sweep_that_another_process_sealed_meanwhile_is_gone_on_with(tmp_path: Path) -> None:
    place = str(tmp_path / "s.db")
    what = prepared(tmp_path, "a", "b", "c", "d", "e", "f")
    with open_store(place) as store:
        sweep = begin(what, store, now=now())

        def meddled(_name: str) -> Engine:
            return Meddler(place, sweep)

        ask(what, store, sweep, meddled, observer=Asked(), stop=threading.Event(), now=now)
        assert store.sweep(sweep).outcome == COMPLETE
        assert store.pending(sweep) == ()
        assert not store.verify().problems


def test_two_processes_may_go_on_with_one_sweep(tmp_path: Path) -> None:
    what = prepared(tmp_path, *(f"h{n}" for n in range(6)), "broken")
    with open_store(str(tmp_path / "s.db")) as store:
        sweep = begin(what, store, now=now())
        words = ["sweep", "-i", "fleet.yml", "-r", str(what.request.rules[0]), "--store", "s.db", "-q", "--resume"]
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "fleetscan", *words],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in "ab"
        ]
        errors = [process.communicate(timeout=300)[1] for process in running]
        assert [process.returncode for process in running] == [ExitCode.INCOMPLETE] * 2, errors
        assert store.pending(sweep) == ("broken",)
        assert store.sweep(sweep).outcome == INCOMPLETE
        assert not store.verify().problems
