"""Prune against a model: what is needed stays, and nothing else; a kill leaves a sound store, and room comes back."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.store.interface import COMPLETE, INCOMPLETE, Baseline
from fleetscan.store.records import FindingRecord
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.store.interface import SweepId
    from fleetscan.store.sql import SqlStore
    from tests.store.conftest import Fleet

HOSTS = ("a", "b")
KEEP = 90


@dataclass(frozen=True)
class Step:
    """One sweep of the model: which hosts answered, and what was judged of them; None: it was not judged."""

    age: int
    note: str
    outcome: str
    answered: tuple[str, ...]
    judged: tuple[tuple[str, str, str], ...] | None
    is_baseline: bool
    finished: bool


FINDING = st.tuples(
    st.sampled_from(HOSTS), st.sampled_from(["f-1", "f-2"]), st.sampled_from(["new", "still there", "gone", "approved"])
)
STEP = st.builds(
    Step,
    age=st.sampled_from([0, 1, 89, 90, 91, 400]),
    note=st.sampled_from(["", "job x", "once"]),
    outcome=st.sampled_from([COMPLETE, INCOMPLETE]),
    answered=st.sets(st.sampled_from(HOSTS)).map(lambda hosts: tuple(sorted(hosts))),
    judged=st.none() | st.lists(FINDING, max_size=3, unique_by=lambda one: one[:2]).map(tuple),
    is_baseline=st.sampled_from([False, False, False, True]),
    finished=st.sampled_from([True, True, True, False]),
)


def put_step(store: SqlStore, fleet: type[Fleet], step: Step, number: int) -> SweepId:
    sweep = fleet.begin(store, HOSTS, days_ago=step.age, note=step.note)
    for host in step.answered:
        store.put(sweep, fleet.result(host, {"s-oid": f"{number}.dll", "s-run": "same"}))
    if step.finished:
        store.finish_sweep(sweep, finished=fleet.start, outcome=step.outcome)
    if step.judged is not None:
        store.put_findings(
            sweep,
            [
                FindingRecord(
                    host=HostId(host), fingerprint=f"{host}-{name}", rule_id="r", severity="high", state=state
                )
                for host, name, state in step.judged
            ],
        )
    if step.is_baseline:
        store.put_baseline(Baseline(name=f"base-{number}", sweep=sweep, created=fleet.start))
    return sweep


def needed(steps: list[Step]) -> set[int]:
    """What must stay, in plain words: the latest, baselines, what auto would take, evidence of open findings."""
    found = {len(steps) - 1} | {number for number, step in enumerate(steps) if step.is_baseline}
    for note in {step.note for step in steps}:
        series = [number for number, step in enumerate(steps) if step.note == note]
        finished = [number for number in series if steps[number].finished]
        if finished and (note == "" or len(series) > 1):
            found.add(finished[-1])
    for host in HOSTS:
        seen = [number for number, step in enumerate(steps) if step.judged is not None and host in step.answered]
        if not seen:
            continue
        for of, name, state in steps[seen[-1]].judged or ():
            if of == host and state not in {"gone", "approved"}:
                everywhere = [
                    number
                    for number, step in enumerate(steps)
                    if any((one, other) == (host, name) for one, other, _ in step.judged or ())
                ]
                found |= {seen[-1], everywhere[0]}
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=1, max_size=6))
def test_exactly_what_nothing_needs_is_dropped(
    tmp_path_factory: pytest.TempPathFactory, fleet: type[Fleet], steps: list[Step]
) -> None:
    with open_store(tmp_path_factory.mktemp("prune") / "s.db") as store:
        check_prune(store, fleet, steps)


@pytest.mark.live
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=1, max_size=6))
def test_exactly_what_nothing_needs_is_dropped_on_a_server(
    postgresql_place: str, fleet: type[Fleet], steps: list[Step]
) -> None:
    with open_store(postgresql_place) as store:
        with store.database.engine.begin() as connection:
            for table in ("baseline", "judging", "judged", "result", "seal", "sweep"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
            connection.exec_driver_sql("DELETE FROM meta WHERE name = 'head'")
        check_prune(store, fleet, steps)


def check_prune(store: SqlStore, fleet: type[Fleet], steps: list[Step]) -> None:
    sweeps = [put_step(store, fleet, step, number) for number, step in enumerate(steps)]
    before = {sweep: everything(store, sweep) for sweep in sweeps}
    drop = {sweeps[number] for number, step in enumerate(steps) if step.age > KEEP} - {
        sweeps[number] for number in needed(steps)
    }
    pruned = store.prune(KEEP, now=fleet.start)
    assert set(pruned.sweeps) == drop
    assert store.verify().problems == ()
    for sweep in sweeps:
        if sweep in drop:
            with pytest.raises(StoreError, match="were pruned"):
                store.hosts(sweep)
        else:
            assert everything(store, sweep) == before[sweep]
    again = store.prune(KEEP, now=fleet.start)
    assert (again.sweeps, again.records) == ((), {})


def everything(store: SqlStore, sweep: SweepId) -> object:
    return (
        store.sweep(sweep),
        store.hosts(sweep),
        [store.result(sweep, HostId(host)) for host in HOSTS],
        store.findings(sweep),
        list(store.coverage(sweep)),
    )


def fill(store: SqlStore, fleet: type[Fleet], *, hosts: int = 40, size: int = 4000) -> tuple[SweepId, SweepId]:
    """An old sweep that shares little with a young one."""
    dice = random.Random(7)  # noqa: S311 - a test
    old = fleet.sweep(
        store, {f"ws-{number}": {"s-oid": dice.randbytes(size).hex()} for number in range(hosts)}, days_ago=400
    )
    return old, fleet.sweep(store, {f"ws-{number}": {"s-oid": f"{number}"} for number in range(hosts)})


def test_the_room_comes_back(tmp_path: Path, fleet: type[Fleet]) -> None:
    path = tmp_path / "store.db"
    with open_store(path) as store:
        fill(store, fleet, size=20_000)
    before = path.stat().st_size
    with open_store(path) as store:
        assert store.prune(KEEP, now=fleet.start).records["block"] == 40
        log = path.with_name("store.db-wal")
        assert path.stat().st_size + log.stat().st_size < before * 0.6, "before anything is closed"
        assert store.verify().problems == ()


@pytest.mark.live
def test_the_room_on_a_server_is_used_again(postgresql_place: str, fleet: type[Fleet]) -> None:
    def size() -> int:
        with store.database.reading() as connection:
            query = "SELECT pg_total_relation_size('block') + pg_total_relation_size('cell')"
            return int(connection.exec_driver_sql(query).scalar_one())

    with open_store(postgresql_place) as store:
        sizes = []
        for _ in range(4):
            fill(store, fleet)
            sizes.append(size())
            store.prune(KEEP, now=fleet.start)
        assert sizes[-1] < sizes[0] * 1.6, sizes


def test_a_sweep_that_runs_meanwhile_loses_nothing(place: str, fleet: type[Fleet]) -> None:
    """Prune and sweep from two stores at once; what the sweep shares with the old one is dropped under its hands."""
    with open_store(place) as store, open_store(place) as other:
        fill(store, fleet, hosts=10)
        hosts = [f"ws-{number}" for number in range(60)]
        sweep = fleet.begin(store, hosts)
        problems: list[BaseException] = []

        def prune() -> None:
            try:
                for _ in range(6):
                    other.prune(KEEP, now=fleet.start)
                    old = fleet.sweep(other, {"x": {"s-oid": "shared", "s-run": "y"}}, days_ago=400)
                    assert old
            except BaseException as error:  # noqa: BLE001 - reported by the test
                problems.append(error)

        pruner = threading.Thread(target=prune)
        pruner.start()
        for host in hosts:
            store.put(sweep, fleet.result(host, {"s-oid": "shared", "s-run": host}))
        pruner.join(timeout=300)
        assert problems == []
        store.finish_sweep(sweep, finished=fleet.start + timedelta(minutes=1), outcome=COMPLETE)
        assert [store.result(sweep, HostId(host)) for host in hosts] == [
            fleet.result(host, {"s-oid": "shared", "s-run": host}) for host in hosts
        ]
        assert store.verify().problems == ()


PRUNER = """
import sys
from datetime import datetime
from fleetscan.store.sql import open_store
with open_store(sys.argv[1], create=False) as store:
    print("open", flush=True)
    store.prune(90, now=datetime.fromisoformat(sys.argv[2]))
"""


def test_a_prune_that_is_killed_leaves_a_sound_store(place: str, fleet: type[Fleet]) -> None:
    with open_store(place) as store:
        old, young = fill(store, fleet, hosts=150)
        expected = store.result(young, HostId("ws-7"))
    for delay in (0.0, 0.01, 0.03, 0.06):
        command = [sys.executable, "-c", PRUNER, place, fleet.start.isoformat()]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            time.sleep(delay)
            process.kill()
        with open_store(place, create=False) as store:
            assert store.verify().problems == ()
            assert store.result(young, HostId("ws-7")) == expected
            if store.sweep(old).pruned is None:
                assert len(store.hosts(old)) == 150
    with open_store(place) as store:
        store.prune(KEEP, now=fleet.start)
        assert store.sweep(old).pruned is not None
        assert store.verify().problems == ()
