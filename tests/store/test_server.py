"""What a database server does that a file does not: restarts, timeouts, roles with few rights, several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.store.interface import Baseline
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.store.conftest import Fleet, Server

pytestmark = pytest.mark.live
ALL = {"s-oid": "a.dll", "s-run": "b.exe", "s-winsock": "c.dll"}


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_restarts_in_the_middle_costs_one_host_and_no_more(
    server: Server, postgresql_place: str, fleet: type[Fleet], mode: str
) -> None:
    """With synchronous_commit off a crash may take the last hosts along: a resume asks them again."""
    with open_store(postgresql_place) as store:
        store.put_baseline(Baseline(name="kept", sweep=fleet.sweep(store, {"x": ALL}), created=fleet.start))
        sweep = fleet.begin(store, ["a", "b", "c"])
        store.put(sweep, fleet.result("a", ALL))
        server.stop(mode)
        try:
            with pytest.raises(StoreError, match="cannot be reached") as raised:
                store.put(sweep, fleet.result("b", ALL))
        finally:
            server.start()
        assert "what was stored before is safe" in raised.value.hint
        for host in store.pending(sweep):
            store.put(sweep, fleet.result(host, ALL))
        assert store.pending(sweep) == ()
        store.finish_sweep(sweep, finished=fleet.start, outcome="complete")
        assert store.verify().problems == ()
        assert store.result(sweep, HostId("a")) == fleet.result("a", ALL)
        assert [one.name for one in store.baselines()] == ["kept"]


def test_a_crash_that_nobody_notices_leaves_no_record_behind_that_was_only_remembered(
    server: Server, postgresql_place: str, fleet: type[Fleet]
) -> None:
    """A writer knows the numbers of what it stored; after a crash the server may not."""
    with open_store(postgresql_place) as store:
        sweep = fleet.begin(store, [f"ws-{number}" for number in range(6)])
        for number in range(0, 6, 2):
            store.put(sweep, fleet.result(f"ws-{number}", {"s-oid": "same"}, raw=b"same"))
            server.stop("immediate")
            server.start()
            store.put(sweep, fleet.result(f"ws-{number + 1}", {"s-oid": "same"}, raw=b"same"))
        for host in store.pending(sweep):
            store.put(sweep, fleet.result(host, {"s-oid": "same"}, raw=b"same"))
        store.finish_sweep(sweep, finished=fleet.start, outcome="complete")
        assert store.verify().problems == ()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("statement_timeout=3000", "took longer than the server allows"),
        ("default_transaction_read_only=on", "cannot be written"),
        ("lock_timeout=500", "another process keeps the store busy"),
    ],
)
def test_what_a_server_does_not_allow_is_said_in_one_line(
    postgresql_place: str, fleet: type[Fleet], setting: str, words: str
) -> None:
    with open_store(postgresql_place) as store:
        sweep = fleet.begin(store, ["a"])
    with (
        psycopg.connect(postgresql_place) as other,
        open_store(f"{postgresql_place}%20-c{setting.replace('=', '%3D')}", create=False) as store,
    ):
        if "lock" in setting or "statement" in setting:
            other.execute("SELECT pg_advisory_xact_lock(%s)", [0x666C7363])  # somebody seals, and hangs
        with pytest.raises(StoreError, match=words) as raised:
            store.put(sweep, fleet.result("a", ALL))
        assert raised.value.hint
        other.rollback()
        assert store.pending(sweep) == ("a",)


@pytest.fixture
def clerk(postgresql: str, postgresql_place: str) -> Iterator[str]:
    """The address of a role that may create nothing, in a schema that is not its own."""
    name = f"clerk{os.getpid()}"
    schema = postgresql_place.rpartition("%3D")[2]
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN".encode())
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}".encode())
        yield postgresql_place.replace("tester@", f"{name}@")
        connection.execute(f"DROP OWNED BY {name}".encode())
        connection.execute(f"DROP ROLE {name}".encode())


def grant(postgresql: str, place: str, rights: str) -> None:
    schema, role = place.rpartition("%3D")[2], f"clerk{os.getpid()}"
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"GRANT {rights} ON ALL TABLES IN SCHEMA {schema} TO {role}".encode())


def test_a_role_that_may_not_create_tables_is_told_so(clerk: str) -> None:
    with pytest.raises(StoreError, match="cannot be written") as raised:
        open_store(clerk)
    assert "GRANT" in raised.value.hint


def test_a_role_that_may_write_rows_and_create_nothing_can_sweep_judge_and_prune(
    postgresql: str, postgresql_place: str, clerk: str, fleet: type[Fleet]
) -> None:
    open_store(postgresql_place).close()
    grant(postgresql, postgresql_place, "SELECT, INSERT, UPDATE, DELETE")
    with open_store(clerk, create=False) as store:
        old = fleet.sweep(store, {"a": {"s-oid": "old"}}, days_ago=400)
        fleet.sweep(store, {"a": ALL})
        assert store.prune(90, now=fleet.start).sweeps == (old,)
        assert store.verify().problems == ()


def test_a_role_that_may_only_read_reads(
    postgresql: str, postgresql_place: str, clerk: str, fleet: type[Fleet]
) -> None:
    with open_store(postgresql_place) as store:
        sweep = fleet.sweep(store, {"a": ALL})
    grant(postgresql, postgresql_place, "SELECT")
    with open_store(clerk, create=False) as store:
        assert store.result(sweep, HostId("a")) == fleet.result("a", ALL)
        assert store.verify().problems == ()
        with pytest.raises(StoreError, match="cannot be written") as raised:
            fleet.begin(store, ["a"])
        assert "GRANT" in raised.value.hint


SWEEPER = """
import sys
from tests.store.conftest import Fleet
from fleetscan.store.sql import open_store
place, name = sys.argv[1:]
with open_store(place) as store:
    for round in range(4):
        Fleet.sweep(store, {f"ws-{n}": {"s-oid": f"{n % 7}", "s-run": f"{name}-{round}"} for n in range(20)})
"""


def test_sweeps_of_several_processes_stand_in_one_unbroken_chain(postgresql_place: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}  # noqa: PTH109 - the project
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SWEEPER, postgresql_place, name], env=environment, stderr=subprocess.PIPE
        )
        for name in ("one", "two", "three")
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    with open_store(postgresql_place, create=False) as store:
        assert store.verify().problems == ()
        assert len(store.sweeps()) == 12
        assert store.counts()["seals"] == 12
        assert all(store.pending(sweep.id) == () or sweep.answered == 20 for sweep in store.sweeps())
