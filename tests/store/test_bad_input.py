"""What is no store, a broken one, or one that cannot be written: one clear error, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.store.database import BUSY_SECONDS, explained
from fleetscan.store.interface import Baseline
from fleetscan.store.records import ChangeRecord, EntityRecord, FindingRecord
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fleetscan.store.interface import SweepId
    from fleetscan.store.sql import SqlStore
    from tests.store.conftest import Fleet

ALL = {"s-oid": "a.dll"}


def test_any_file_name_is_a_store(tmp_path: Path, fleet: type[Fleet]) -> None:
    path = tmp_path / "what? 100%25 #1 é.db"
    with open_store(path) as store:
        fleet.sweep(store, {"a": ALL})
    with open_store(str(path), create=False) as store:
        assert len(store.sweeps()) == 1
    with open_store(f"sqlite:///{tmp_path}/plain.db") as store:
        assert store.sweeps() == ()
    assert (tmp_path / "plain.db").exists()


def make_text(path: Path) -> None:
    path.write_text("host,rule\n" * 50)


def make_short(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


def make_header_only(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 200)


def make_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (id)")


def make_foreign_with_meta(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE meta (name TEXT, value TEXT)")
        connection.execute("INSERT INTO meta VALUES ('application', 'other'), ('schema', '1')")
        connection.commit()


def make_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_text, "not a fleetscan store"),
        (make_short, "not a fleetscan store"),
        (make_header_only, "truncated|not a fleetscan store|damaged"),
        (make_foreign, "not a fleetscan store"),
        (make_foreign_with_meta, "not a fleetscan store"),
        (make_folder, "is a folder"),
    ],
)
@pytest.mark.parametrize("create", [True, False])
def test_what_is_no_store_is_refused_and_left_as_it_is(
    tmp_path: Path, make: object, words: str, *, create: bool
) -> None:
    path = tmp_path / "store.db"
    assert callable(make)
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreError, match=words) as raised:
        open_store(path, create=create)
    assert raised.value.hint
    assert str(path) in str(raised.value)
    if before:
        assert path.read_bytes() == before


def test_a_store_that_is_not_there_is_only_created_when_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        open_store(tmp_path / "store.db", create=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="folder of the store does not exist"):
        open_store(tmp_path / "missing" / "store.db")


def test_a_file_that_a_killed_process_left_empty_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    with pytest.raises(StoreError, match="not a fleetscan store"):
        open_store(path, create=False)
    with open_store(path) as store:
        assert store.sweeps() == ()


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_a_truncated_store_is_named_so(tmp_path: Path, fleet: type[Fleet], keep: float) -> None:
    path = tmp_path / "store.db"
    with open_store(path) as store:
        fleet.sweep(store, {f"ws-{number}": {"s-oid": f"{number}.dll"} for number in range(50)})
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * keep))
    with pytest.raises(StoreError, match="truncated"):
        open_store(path)


def test_damaged_pages_give_an_error_or_a_problem_but_no_traceback(tmp_path: Path, fleet: type[Fleet]) -> None:
    path = tmp_path / "store.db"
    with open_store(path) as store:
        fleet.sweep(store, {f"ws-{number}": {"s-oid": f"{number}.dll"} for number in range(50)})
    sound = path.read_bytes()
    found = 0
    for page in range(1, len(sound) // 4096, 7):
        path.write_bytes(sound[: page * 4096] + b"\xa5" * 4096 + sound[(page + 1) * 4096 :])
        try:
            with open_store(path) as store:
                found += bool(store.verify().problems)
        except StoreError as error:
            found += 1
            assert error.hint  # noqa: PT017 - either way is right
    assert found == len(range(1, len(sound) // 4096, 7))


def test_a_store_from_the_future_is_refused(place: str) -> None:
    with open_store(place) as store, store.database.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '99' WHERE name = 'schema'")
        connection.commit()
    with pytest.raises(StoreError, match="schema version 99") as raised:
        open_store(place)
    assert "newer fleetscan" in raised.value.hint


@pytest.fixture
def foreign_folder() -> Iterator[Path]:
    """A folder that we may read but not write."""
    folder = Path(tempfile.mkdtemp(prefix="fleetscan-ro-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def unprivileged(foreign_folder: Path) -> Iterator[None]:
    """Root may write everywhere, so the test gives its rights away for a while."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        foreign_folder.chmod(0o555)
        yield
        foreign_folder.chmod(0o755)


def test_a_read_only_folder_is_named(foreign_folder: Path, fleet: type[Fleet], request: pytest.FixtureRequest) -> None:
    with open_store(foreign_folder / "old.db") as store:
        fleet.sweep(store, {"a": ALL})
    (foreign_folder / "old.db").chmod(0o444)
    request.getfixturevalue("unprivileged")
    for name in ("new.db", "old.db"):
        with pytest.raises(StoreError, match=r"cannot be (opened|written)") as raised:
            open_store(foreign_folder / name)
        assert "permissions" in raised.value.hint


def test_a_file_that_may_not_be_read_is_named(
    foreign_folder: Path, fleet: type[Fleet], request: pytest.FixtureRequest
) -> None:
    with open_store(foreign_folder / "old.db") as store:
        fleet.sweep(store, {"a": ALL})
    (foreign_folder / "old.db").chmod(0o000)
    request.getfixturevalue("unprivileged")
    with pytest.raises(StoreError, match=r"cannot be (opened|written)"):
        open_store(foreign_folder / "old.db")


def fill(store: SqlStore, sweep: SweepId, fleet: type[Fleet], stored: list[str]) -> None:
    """Store hosts that share nothing until the store gives up."""
    for number in range(1, 400):
        store.put(sweep, fleet.result(f"ws-{number}", {"s-oid": os.urandom(5000).hex()}))
        stored.append(f"ws-{number}")


def test_a_full_disk_loses_nothing_that_was_stored(tmp_path: Path, fleet: type[Fleet]) -> None:
    with open_store(tmp_path / "store.db") as store:
        sweep = fleet.begin(store, [f"ws-{number}" for number in range(400)])
        store.put(sweep, fleet.result("ws-0", ALL))

        @event.listens_for(store.database.engine, "begin")
        def _limit(connection: object) -> None:
            connection.exec_driver_sql("PRAGMA max_page_count = 80")  # type: ignore[attr-defined]

        stored = ["ws-0"]
        with pytest.raises(StoreError, match="disk is full; what was stored before is safe") as raised:
            fill(store, sweep, fleet, stored)
        assert "--resume" in raised.value.hint
        assert 1 < len(stored) < 400
    with open_store(tmp_path / "store.db") as store:
        assert sorted(host.id for host in store.hosts(sweep) if host.answered) == sorted(stored)
        assert store.verify().problems == ()
        store.put(sweep, fleet.result("ws-399", ALL))


def test_a_really_full_file_system(fleet: type[Fleet], tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a file system of 1 MB can only be mounted by root")
    try:
        with open_store(tmp_path / "store.db") as store:
            sweep = fleet.begin(store, [f"ws-{number}" for number in range(400)])
            stored: list[str] = []
            with pytest.raises(StoreError, match=r"disk is full|disk cannot be"):
                fill(store, sweep, fleet, stored)
            assert stored
            assert sorted(host.id for host in store.hosts(sweep) if host.answered) == sorted(stored)
            assert store.verify().problems == ()
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


FINDINGS = [
    FindingRecord(
        host=HostId("ws-0"), fingerprint=f"f-{n}", rule_id="r", severity="high", summary=os.urandom(900).hex()
    )
    for n in range(400)
]
CHANGES = [
    ChangeRecord(host=HostId("ws-0"), kind="added", entity_kind="sip", entity=os.urandom(900).hex()) for _ in range(400)
]
ENTITIES = [EntityRecord(host=HostId("ws-0"), kind="sip", identity=os.urandom(900).hex()) for _ in range(400)]
BIG = os.urandom(400_000).hex()
WRITES: dict[str, Callable[[SqlStore, SweepId, type[Fleet]], object]] = {
    "sweep": lambda store, _, fleet: fleet.begin(store, [f"{BIG[:90]}{number}" for number in range(4000)]),
    "answer": lambda store, _, fleet: store.put(store.sweep("latest").id, fleet.result("ws-0", {"s-oid": BIG})),
    "findings": lambda store, sweep, _: store.put_findings(sweep, FINDINGS),
    "changes": lambda store, sweep, _: store.put_changes(sweep, CHANGES),
    "entities": lambda store, sweep, _: store.put_entities(sweep, ENTITIES),
    "triage": lambda store, _, fleet: store.put_triage("f", {"replies": BIG}, taken=fleet.start),
    "baseline": lambda store, sweep, fleet: store.put_baseline(
        Baseline(name="b", sweep=sweep, note=BIG, created=fleet.start)
    ),
    "seal": lambda store, _, fleet: store.finish_sweep(store.sweep("latest").id, finished=fleet.start, outcome=BIG),
}
"""Every place where a store is written, with more than fits."""


def state(store: SqlStore) -> object:
    """All that a full disk must leave alone."""
    every = store.sweeps()
    judged = [(store.findings(one.id), store.changes(one.id), store.entities(one.id)) for one in every]
    answers = [[store.result(one.id, host.id) for host in store.hosts(one.id)] for one in every]
    return every, judged, answers, store.baselines(), store.triages()


@pytest.mark.parametrize("disk", ["a full file system", "a full quota"])
@pytest.mark.parametrize("site", WRITES)
def test_a_disk_that_is_full_wherever_something_is_written(
    tmp_path: Path, fleet: type[Fleet], site: str, disk: str
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if disk == "a full file system" and (
        os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0
    ):
        pytest.skip("a small file system can only be mounted by root")
    try:
        with open_store(folder / "store.db") as store:
            sweep = fleet.sweep(store, {"ws-0": ALL})
            store.put_findings(sweep, FINDINGS[:2])
            store.put_baseline(Baseline(name="before", sweep=sweep, created=fleet.start))
            store.put_triage("before", {"replies": []}, taken=fleet.start)
            fleet.begin(store, ["ws-0"])
            before = state(store)
        with open_store(folder / "store.db") as store:
            if disk == "a full quota":
                limit_pages(store)
            else:
                (folder / "ballast").write_bytes(b"x" * (shutil.disk_usage(folder).free - 60_000))
            with pytest.raises(StoreError, match="disk is full; what was stored before is safe") as raised:
                WRITES[site](store, sweep, fleet)
            assert "free space" in raised.value.hint
            assert state(store) == before
        (folder / "ballast").unlink(missing_ok=True)
        with open_store(folder / "store.db") as store:
            assert state(store) == before
            assert store.verify().problems == ()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


def limit_pages(store: SqlStore) -> None:
    """Let the file grow by a few pages and no more."""

    @event.listens_for(store.database.engine, "begin")
    def _limit(connection: object) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()  # type: ignore[attr-defined]
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 10}")  # type: ignore[attr-defined]


def test_a_store_on_a_full_disk_can_still_be_read_and_pruned_once_there_is_little_room(
    tmp_path: Path, fleet: type[Fleet]
) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small file system can only be mounted by root")
    try:
        with open_store(tmp_path / "store.db") as store:
            fleet.sweep(store, {f"ws-{n}": {"s-oid": os.urandom(20_000).hex()} for n in range(40)}, days_ago=400)
            young = fleet.sweep(store, {"ws-0": ALL})
        ballast = tmp_path / "ballast"
        ballast.write_bytes(b"x" * shutil.disk_usage(tmp_path).free)
        with pytest.raises(StoreError, match="disk is full"):
            open_store(tmp_path / "store.db")
        ballast.write_bytes(b"x" * (ballast.stat().st_size - 70_000))
        with open_store(tmp_path / "store.db") as store:
            assert store.result(young, HostId("ws-0")) == fleet.result("ws-0", ALL)
            with pytest.raises(StoreError, match="disk is full"):
                store.prune(90, now=fleet.start)
            assert store.verify().problems == ()
            ballast.write_bytes(b"x" * (ballast.stat().st_size - 700_000))
            assert len(store.prune(90, now=fleet.start).sweeps) == 1
            assert store.verify().problems == ()
        assert shutil.disk_usage(tmp_path).free > 1_500_000
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_store_that_somebody_keeps_locked_is_named(
    tmp_path: Path, fleet: type[Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BUSY_SECONDS >= 30
    monkeypatch.setattr("fleetscan.store.database.BUSY_SECONDS", 0.1)
    with open_store(tmp_path / "store.db") as store, closing(sqlite3.connect(tmp_path / "store.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process keeps the store busy"):
            fleet.begin(store, ["a"])


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("mysql://root:secret@host/db", "unknown kind of store: mysql"),
        ("sqlite://", "unknown kind of store"),
        ("postgresql://user:secret@host:port/db", "cannot read the postgresql:// address"),
        ("postgresql://user:secret@127.0.0.1:1/db?connect_timeout=2", "cannot be reached"),
        ("postgresql://user@127.0.0.1:1/db?password=secret&connect_timeout=2", "cannot be reached"),
        ("postgresql://user:secret@127.0.0.1:1/db?no_such_option=1", "the database failed"),
    ],
)
def test_an_address_that_does_not_work_is_named_without_its_password(place: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as raised:
        open_store(place)
    assert "secret" not in str(raised.value)


@pytest.mark.live
def test_a_server_that_refuses_says_why(postgresql: str) -> None:
    with pytest.raises(StoreError, match="no such database"):
        open_store(postgresql.replace("/postgres?", "/nope?"))
    with pytest.raises(StoreError, match="refuses the login"):
        open_store(postgresql.replace("tester@", "stranger@"))


@pytest.mark.live
def test_a_foreign_schema_on_a_server_is_refused(postgresql_place: str) -> None:
    engine = create_engine(postgresql_place.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE customers (id int)")
    engine.dispose()
    with pytest.raises(StoreError, match="not a fleetscan store"):
        open_store(postgresql_place)


@pytest.mark.live
def test_an_empty_schema_is_no_store_until_something_creates_it(postgresql_place: str) -> None:
    with pytest.raises(StoreError, match="not a fleetscan store"):
        open_store(postgresql_place, create=False)
    open_store(postgresql_place).close()
    open_store(postgresql_place, create=False).close()


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), sqlite3.DatabaseError("something new"), sqlite3.Error()]
)
def test_every_error_of_a_database_becomes_a_store_error(error: Exception) -> None:
    with pytest.raises(StoreError) as raised, explained("store.db"):
        raise error
    assert raised.value.hint


def test_every_error_class_of_sqlite_and_psycopg_is_caught() -> None:
    import psycopg  # noqa: PLC0415 - an optional package

    assert issubclass(psycopg.Error, Exception)
    for kind in (psycopg.OperationalError, psycopg.errors.DiskFull, psycopg.errors.ReadOnlySqlTransaction):
        with pytest.raises(StoreError), explained("db"):
            raise DBAPIError("SELECT 1", None, kind("boom"))
