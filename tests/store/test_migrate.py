"""Numbered migrations: a store of every earlier version opens with all it holds, also from two processes at once."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import inspect

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.store.database import connect
from fleetscan.store.migrate import migrate, migrations
from fleetscan.store.records import FindingRecord
from fleetscan.store.schema import TABLES
from fleetscan.store.sql import SqlStore, open_store

if TYPE_CHECKING:
    from tests.store.conftest import Fleet

ALL = {"s-oid": "a.dll", "s-run": "b.exe", "s-winsock": "c.dll"}
NEWEST = max(migrations())


def test_versions_are_numbered_without_gaps() -> None:
    assert sorted(migrations()) == list(range(1, NEWEST + 1))
    assert NEWEST >= 2


@pytest.mark.parametrize("version", range(1, NEWEST))
def test_a_store_of_an_earlier_version_is_brought_up_with_all_it_holds(
    place: str, fleet: type[Fleet], version: int
) -> None:
    database = connect(place, create=True)
    migrate(database, create=True, upto=version)
    with SqlStore(database) as old:
        sweep = fleet.sweep(old, {"a": ALL, "b": None})
        seal = old.sweep(sweep).seal
    with open_store(place, create=False) as store:
        assert store.result(sweep, HostId("a")) == fleet.result("a", ALL)
        assert store.sweep(sweep).seal == seal
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
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 2, errors
    with open_store(place, create=False) as store:
        assert store.verify().problems == ()
