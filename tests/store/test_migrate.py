"""Numbered migrations: a store of every earlier version opens with all it holds, also from two processes at once."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, inspect, text

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.store import baselines, evidence, judged, schema, triages
from fleetscan.store.database import connect
from fleetscan.store.digest import pack, sha256
from fleetscan.store.migrate import migrate, migrations
from fleetscan.store.records import FindingRecord
from fleetscan.store.schema import TABLES
from fleetscan.store.sql import SqlStore, open_store

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fleetscan.store.database import Database
    from tests.store.conftest import Fleet

ALL = {"s-oid": "a.dll", "s-run": "b.exe", "s-winsock": "c.dll"}
NEWEST = max(migrations())


def test_versions_are_numbered_without_gaps() -> None:
    assert sorted(migrations()) == list(range(1, NEWEST + 1))
    assert NEWEST >= 2


def insert_old(database: Database, version: int) -> None:
    """Rows as an earlier version wrote them: a baseline, a pruned sweep, and triage since there is any."""
    with database.engine.begin() as connection:
        run = connection.exec_driver_sql
        host = "(SELECT id FROM host WHERE name = 'a')"
        run(f"INSERT INTO baseline (name, sweep, host, created, note) VALUES ('gold', 2, {host}, 7, 'why')")
        run("UPDATE sweep SET pruned = 99 WHERE id = 1")
        run("DELETE FROM result WHERE sweep = 1")
        run("DELETE FROM meta WHERE name = 'head'")
        if version >= 4:
            query = "INSERT INTO triage (fingerprint, taken, record) SELECT 'f', 7, content FROM raw LIMIT 1"
            run(query)
        if version >= 5:
            run("UPDATE baseline SET others = '[\"b\"]', own_past = 1")
        if version >= 3:
            run("INSERT INTO judging (sweep, kind) VALUES (2, 1)")
            insert_old_finding(connection)
        if version >= 6:
            for fill in (evidence.complete_chain, baselines.hash_all, triages.hash_all, judged.hash_all):
                fill(connection)


OLD = FindingRecord(host=HostId("a"), fingerprint="0123456789ab", rule_id="r", severity="low")


def insert_old_finding(connection: Connection) -> None:
    """A finding as it was written before version 7: its fingerprint stands in the record."""
    body = judged.body_bytes(OLD)
    row = {"sha256": sha256(body), "record": pack(body), **judged.columns_of(OLD)}
    number = connection.execute(insert(schema.finding).values(**row).returning(schema.finding.c.id)).scalar_one()
    digest = judged.sheet_digest(1, [(sha256(body), "")])
    sheet = connection.execute(insert(schema.sheet).values(sha256=digest, kind=1).returning(schema.sheet.c.id))
    values = {"sheet": sheet.scalar_one(), "number": number}
    connection.execute(text("INSERT INTO sheet_item (sheet, position, item) VALUES (:sheet, 0, :number)"), values)
    host = "SELECT 2, 1, id, :sheet FROM host WHERE name = 'a'"
    connection.execute(text(f"INSERT INTO judged (sweep, kind, host, sheet) {host}"), values)


@pytest.mark.parametrize("version", range(1, NEWEST))
def test_a_store_of_an_earlier_version_is_brought_up_with_all_it_holds(
    place: str, fleet: type[Fleet], version: int
) -> None:
    database = connect(place, create=True)
    migrate(database, create=True, upto=version)
    with SqlStore(database) as old:
        fleet.sweep(old, {"a": ALL}, days_ago=400)
        sweep = fleet.begin(old, ["a"])
        old.put(sweep, fleet.result("a", ALL))
        seal = old.finish_sweep(sweep, finished=fleet.start, outcome="complete")
        stopped = fleet.sweep(old, {"a": ALL, "b": None})
        with database.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE sweep SET finished = NULL, outcome = 'running' WHERE id = 3")
        insert_old(database, version)
    for _ in range(2):
        with open_store(place, create=False) as store:
            assert store.result(sweep, HostId("a")) == fleet.result("a", ALL)
            assert store.sweep(sweep).seal == seal
            assert store.verify().problems == ()
            [baseline] = store.baselines()
            assert (baseline.name, baseline.sweep, baseline.golden[0], baseline.note) == ("gold", sweep, "a", "why")
            assert baseline.own_past == (version >= 5)
            assert len(store.triages()) == (version >= 4)
            assert store.findings(sweep) == ((OLD,) if version >= 3 else ())
    with open_store(place, create=False) as store:
        store.put(stopped, fleet.result("b", ALL))
        store.finish_sweep(stopped, finished=fleet.start, outcome="complete")
        store.put_findings(sweep, [FindingRecord(host=HostId("a"), fingerprint="f", rule_id="r", severity="low")])
        assert len(store.findings(sweep)) == 1
        assert store.verify().problems == ()


def test_the_tables_that_queries_name_are_those_of_the_newest_version(place: str) -> None:
    with open_store(place) as store, store.database.reading() as connection:
        real = {
            name: {str(column["name"]) for column in inspect(connection).get_columns(name)}
            for name in inspect(connection).get_table_names()
        }
    assert real == {table.name: {column.name for column in table.columns} for table in TABLES}


def test_opening_again_changes_nothing(place: str) -> None:
    for _ in range(2):
        with open_store(place) as store, store.database.reading() as connection:
            version = connection.exec_driver_sql("SELECT value FROM meta WHERE name = 'schema'").scalar()
            assert version == str(NEWEST)


def test_a_migration_that_fails_leaves_the_store_as_it_was(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(place).close()
    broken = {**migrations(), NEWEST + 1: "CREATE TABLE extra (id BIGINT);\nCREATE TABLE host (id BIGINT);\n"}
    with monkeypatch.context() as patch:
        patch.setattr("fleetscan.store.migrate.migrations", lambda: broken)
        with pytest.raises(StoreError):
            open_store(place)
    with open_store(place) as store, store.database.reading() as connection:
        assert "extra" not in inspect(connection).get_table_names()
        assert store.sweeps() == ()


def test_two_processes_may_create_and_migrate_at_once(place: str) -> None:
    program = "import sys; from fleetscan.store.sql import open_store; open_store(sys.argv[1]).close()"
    processes = [
        subprocess.Popen([sys.executable, "-c", program, place], stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 2, errors
    with open_store(place, create=False) as store:
        assert store.verify().problems == ()
