"""A writer that is killed at any moment leaves a readable store that lacks nothing of what was reported as stored."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest

from fleetscan.model.host import HostId
from fleetscan.store.interface import SweepId
from fleetscan.store.sql import open_store

HOSTS = 120
WRITER = f"""
import sys
from datetime import UTC, datetime
from fleetscan.model.host import HostId
from fleetscan.model.registry import RegistryRow
from fleetscan.model.snapshot import Complete, HostFacts, HostResult, RawAnswer, ScopeResult
from fleetscan.store.interface import PlanRecord, SweepHost
from fleetscan.store.sql import open_store

place, sweep = sys.argv[1:]
start = datetime(2026, 11, 21, tzinfo=UTC)
hosts = [HostId(f"ws-{{number}}") for number in range({HOSTS})]
plan = PlanRecord(digest="d", scopes=(("s-1", "one"),), statements=())
with open_store(place) as store:
    if not sweep:
        sweep = store.begin_sweep(plan, [SweepHost(host, "embedded") for host in hosts], started=start)
        print(sweep, flush=True)
    for host in store.pending(sweep):
        row = RegistryRow("HKLM", "n", "REG_SZ", host * 300, "HKLM\\\\n")
        scope = ScopeResult(scope_id="s-1", status=Complete(), rows=(row,))
        store.put(sweep, HostResult(host=host, facts=HostFacts(hostname=host), scopes=(scope,), started=start,
                                    finished=start, raw=(RawAnswer("q", "", host.encode() * 999),)))
        print(host, flush=True)
    store.finish_sweep(sweep, finished=start, outcome="complete")
    print("finished", flush=True)
"""
DEEP = bool(os.environ.get("FLEETSCAN_DEEP"))


def write_until_killed(place: str, sweep: str, lines: int, delay: float) -> list[str]:
    """What the writer had reported when it was killed, ``delay`` seconds after that many lines."""
    with subprocess.Popen([sys.executable, "-c", WRITER, place, sweep], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [line.strip() for line, _ in zip(process.stdout, range(lines), strict=False)]
        time.sleep(delay)
        process.kill()
        return said + [line.strip() for line in process.stdout]


@pytest.mark.parametrize("seed", range(50 if DEEP else 2))
def test_killed_at_any_moment(place: str, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test
    sweep, reported = "", set[str]()
    for _ in range(3):
        said = write_until_killed(place, sweep, dice.randrange(1, 25), dice.random() * 0.02)
        if not sweep and said:
            sweep = said[0]
        again = reported & set(said)
        assert not again, "a host that was stored was asked again"
        reported |= set(said) - {sweep, "finished"}
        with open_store(place, create=False) as store:
            answered = {str(host.id) for host in store.hosts(SweepId(sweep)) if host.answered}
            assert answered >= reported
            # Stored, and killed before it could say so; a server may even commit after we have looked.
            assert len(answered - reported) <= 2
            assert store.verify().problems == ()
            reported = answered
    with open_store(place, create=False) as store:
        finished = store.sweep(sweep).finished is not None
    if not finished:
        subprocess.run([sys.executable, "-c", WRITER, place, sweep], check=True, capture_output=True, timeout=300)
    with open_store(place, create=False) as store:
        assert store.pending(SweepId(sweep)) == ()
        assert store.sweep(sweep).finished is not None
        assert {str(host.id) for host in store.hosts(SweepId(sweep))} == {f"ws-{number}" for number in range(HOSTS)}
        assert store.raw(SweepId(sweep), HostId("ws-7"))[0].content == b"ws-7" * 999
        assert store.verify().problems == ()
