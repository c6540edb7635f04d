"""The connection: what is tried again, what is waited for, and what is missing on this machine."""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from fleetscan.errors import StoreError
from fleetscan.store.database import ATTEMPTS, connect
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from fleetscan.store.sql import SqlStore
    from tests.store.conftest import Fleet


@pytest.mark.live
@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_deadlock_of_the_server_is_tried_again(postgresql_place: str, code: str) -> None:
    tries = []

    def action(connection: Connection) -> str:
        tries.append(1)
        connection.exec_driver_sql(f"INSERT INTO host (name) VALUES ('h{len(tries)}')")
        if len(tries) < ATTEMPTS:
            connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")
        return "done"

    with open_store(postgresql_place) as store:
        assert store.database.write(action) == "done"
        assert store.counts()["hosts"] == 1  # what the failed tries wrote is gone


@pytest.mark.live
def test_but_not_for_ever(postgresql_place: str) -> None:
    def action(connection: Connection) -> None:
        connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$")

    with open_store(postgresql_place) as store, pytest.raises(StoreError, match="the database failed"):
        store.database.write(action)


def test_any_other_failure_is_not_tried_again(store: SqlStore) -> None:
    tries = []

    def action(connection: Connection) -> None:
        tries.append(1)
        connection.exec_driver_sql("SELECT * FROM nowhere")

    with pytest.raises(StoreError, match="not a fleetscan store, or a part of it is missing"):
        store.database.write(action)
    assert len(tries) == 1


def test_a_store_without_its_own_marks_is_an_error_and_no_loop(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.begin(store, ["a"])
    store.database.write(lambda connection: connection.exec_driver_sql("DELETE FROM meta WHERE name = 'generation'"))
    with pytest.raises(StoreError, match="a part of the store is missing"):
        fleet.begin(store, ["a"])
    with pytest.raises(StoreError, match="a part of the store is missing"):
        store.put(sweep, fleet.result("a", {"s-oid": "x"}))


def test_creating_waits_for_another_process_that_creates_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("PRAGMA user_version = 0")
        other.execute("BEGIN EXCLUSIVE")

        def release() -> None:
            time.sleep(0.3)
            other.execute("ROLLBACK")

        thread = threading.Thread(target=release)
        thread.start()
        database = connect(path, create=True)
        database.prepare_new()
        thread.join()
        with database.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        database.close()


def test_a_missing_driver_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match="not installed") as raised:
        connect("postgresql://user@host/name", create=False)
    assert "fleetscan[postgresql]" in raised.value.hint


def test_a_sqlite_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetscan.store.database._OLDEST_SQLITE", (99, 0))
    with pytest.raises(StoreError, match="is too old"):
        connect(tmp_path / "store.db", create=True)
