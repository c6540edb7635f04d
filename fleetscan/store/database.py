"""A database behind the store: one SQLite file or a PostgreSQL server, and what their errors mean for a user."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from sqlalchemy import URL, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from fleetscan.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from sqlalchemy import Connection, Engine

    T = TypeVar("T")

BUSY_SECONDS = 60
ATTEMPTS = 5
_WAL_ATTEMPTS = 100
_WAL_WAIT = 0.05
_LOCK = 0x666C7363  # PostgreSQL advisory lock: shared by writers, exclusive for seals, migration and prune
_OLDEST_SQLITE = (3, 35)  # RETURNING
_SQLITE_HEADER = 100
_SQLITE_MAGIC = b"SQLite format 3\0"
_PRAGMAS: Final = (
    "synchronous = NORMAL",  # with WAL: a killed process loses nothing, a power cut at most the last hosts
    "foreign_keys = ON",
    "cache_size = -32768",
    "secure_delete = FAST",  # else prune would first write zeros over everything that it is about to give back
)
_WRITING: Final = "fleetscan_writing"


@dataclass(slots=True)
class Connections:
    """How many connections to a server were made so far."""

    made: int = 0


@dataclass(frozen=True, slots=True)
class Database:
    """An open database. ``name`` is what errors and tables show: never a password."""

    engine: Engine
    writer: Engine
    """The same, for transactions that write."""
    name: str
    connections: Connections = field(default_factory=Connections)
    """A new one may mean that the server has crashed and forgotten what was not durable."""

    @property
    def is_sqlite(self) -> bool:
        """Is it a single file?"""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view, whatever others write meanwhile."""
        with explained(self.name), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    def write(self, action: Callable[[Connection], T], *, alone: bool = False, durable: bool = True) -> T:
        """Run ``action`` in one transaction, again where databases ask for that; ``alone``: no other writer.

        Not ``durable``: a crash of the database server may forget it, which spares a wait for its disk each time.
        """
        with explained(self.name):
            for _ in range(ATTEMPTS - 1):
                try:
                    return self._once(action, alone=alone, durable=durable)
                except DBAPIError as error:
                    if not _worth_another_try(error):
                        raise
            return self._once(action, alone=alone, durable=durable)

    def _once(self, action: Callable[[Connection], T], *, alone: bool, durable: bool) -> T:
        with self.writer.begin() as connection:
            if not self.is_sqlite:
                lock = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
                connection.exec_driver_sql(f"SELECT {lock}({_LOCK})")
                if durable:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
            return action(connection)

    def prepare_new(self) -> None:
        """What an empty SQLite file keeps for ever; never done to a file that holds something."""
        if not self.is_sqlite:
            return
        with explained(self.name), closing(self.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")  # prune gives space back
            for attempt in range(_WAL_ATTEMPTS):
                try:
                    cursor.execute("PRAGMA journal_mode = WAL")
                    break
                except sqlite3.OperationalError:  # another process does the same; SQLite does not wait for this lock
                    if attempt == _WAL_ATTEMPTS - 1:
                        raise
                    time.sleep(_WAL_WAIT)
            cursor.close()

    def close(self) -> None:
        """Release all connections."""
        self.engine.dispose()


def connect(place: str | Path, *, create: bool) -> Database:
    """Open a path, ``sqlite:///path`` or ``postgresql://...``; the schema is not looked at."""
    if isinstance(place, str) and "://" in place:
        url = _parse_url(place)
        if url.get_backend_name() == "postgresql":
            return _postgresql(url)
        if url.get_backend_name() != "sqlite" or not url.database:
            raise StoreError(
                f"unknown kind of store: {url.get_backend_name()}",
                hint="a file name, sqlite:///FILE or postgresql://USER@HOST/NAME",
            )
        place = url.database
    return _sqlite(Path(place), create=create)


def _parse_url(place: str) -> URL:
    try:
        return make_url(place)
    except (ArgumentError, ValueError) as error:
        scheme = place.partition("://")[0]  # the rest may hold a password
        raise StoreError(
            f"cannot read the {scheme}:// address of the store", hint="postgresql://USER@HOST:PORT/NAME"
        ) from error


def _sqlite(path: Path, *, create: bool) -> Database:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old", hint="a Python with SQLite 3.35 or newer")
    _check_file(path, create=create)
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS, "isolation_level": None}
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - DBAPI connection
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # IMMEDIATE: a writer waits at its start, where nothing is lost, and never fails half-way for a reader's lock.
        writing = connection.get_execution_options().get(_WRITING, False)
        driver(connection).execute("BEGIN IMMEDIATE" if writing else "BEGIN")

    return Database(engine, engine.execution_options(**{_WRITING: True}), str(path))


def _check_file(path: Path, *, create: bool) -> None:
    """Refuse what SQLite would only notice late, and never create a file where a folder or nothing is meant."""
    with explained(str(path)):
        if not path.exists():
            if not create:
                raise StoreError("there is no store", where=str(path), hint="fleetscan sweep --store FILE creates one")
            if not path.parent.is_dir():
                raise StoreError("the folder of the store does not exist", where=str(path), hint="create the folder")
            return
        if path.is_dir():
            raise StoreError("the store is a folder", where=str(path), hint="name a file")
        with path.open("rb") as file:
            header = file.read(_SQLITE_HEADER)
        size = path.stat().st_size
    if not header:  # created by a process that was killed before its first write
        return
    if len(header) < _SQLITE_HEADER or not header.startswith(_SQLITE_MAGIC):
        raise StoreError("this file is not a fleetscan store", where=str(path), hint="name another file with --store")
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    # Pages that found no room on a full disk still stand in the write-ahead log, from where SQLite takes them.
    if size < page * int.from_bytes(header[28:32], "big") and not _has_log(path):
        raise StoreError("the store is truncated", where=str(path), hint="restore it from a backup")


def _has_log(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return log.is_file() and log.stat().st_size > 0


def _postgresql(url: URL) -> Database:
    name = url.set(query={}).render_as_string(hide_password=True)  # a query can hold a password, too
    try:
        engine = create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except ImportError as error:
        raise StoreError(
            "PostgreSQL needs a package that is not installed", where=name, hint="pip install 'fleetscan[postgresql]'"
        ) from error
    except (SQLAlchemyError, TypeError, ValueError) as error:
        raise StoreError(
            "cannot use this PostgreSQL address", where=name, hint="postgresql://USER@HOST/NAME"
        ) from error

    connections = Connections()

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - DBAPI connection
        connections.made += 1
        # Like SQLite's NORMAL: a crash of the database server may lose the last hosts, which a resume asks again.
        connection.execute("SET synchronous_commit = off")
        connection.commit()

    return Database(engine, engine, name, connections)


class Driver(Protocol):
    """What runs a statement of the driver's own words."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Rows:
        """Run it once."""

    def executemany(self, statement: str, values: Sequence[Sequence[Any]], /) -> object:
        """Run it for each of some values."""


class Rows(Protocol):
    """What a statement gave."""

    def fetchone(self) -> Sequence[Any] | None:
        """The next row, None after the last."""

    def fetchall(self) -> Sequence[Sequence[Any]]:
        """All rows that are left."""


@dataclass(frozen=True, slots=True)
class _Explained:
    """SQLAlchemy's way to a server: slower than its driver, but it sees when a connection broke."""

    connection: Connection

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Rows:
        return self.connection.exec_driver_sql(statement.replace("?", "%s"), tuple(values))

    def executemany(self, statement: str, values: Sequence[Sequence[Any]], /) -> object:
        return self.connection.exec_driver_sql(statement.replace("?", "%s"), [tuple(row) for row in values])


def driver(connection: Connection) -> Driver:
    """The shortest way to the database, for the statements of every host; ``?`` stands for a value.

    Past SQLAlchemy, of which each statement costs several times what SQLite does for it.
    """
    if connection.dialect.name == "sqlite":
        return cast("sqlite3.Connection", connection.connection.driver_connection)
    return _Explained(connection)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """The one place where a database's errors become StoreError."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        what, hint = _meaning(error)
        if what == _UNREADABLE and _is_full(name):
            what, hint = _FULL
        raise StoreError(what, where=name, hint=hint) from error


_FULL: Final = ("the disk is full; what was stored before is safe", "free space, then fleetscan sweep --resume")
_UNREADABLE: Final = "the disk cannot be read or written; what was stored before is safe"
_LEAST_ROOM = 64 * 1024
"""SQLite needs that much beside a store even to read it, and calls its absence an I/O error."""

_MEANINGS: Final = (
    (("disk is full", "no space left", "could not extend file", "file too large"),
     *_FULL),
    (("permission denied for", "insufficientprivilege", "must be owner", "readonlysqltransaction"),
     "the store cannot be written", "on the server: GRANT the role its rights, CREATE for a new or older store"),
    (("querycanceled", "statement timeout"),
     "it took longer than the server allows; what was stored before is safe", "raise statement_timeout, then the same"),
    (("toomanyconnections", "too many clients", "remaining connection slots"),
     "the server takes no more connections", "wait, or raise max_connections; what was stored before is safe"),
    (("readonly database", "read-only", "permission denied"),
     "the store cannot be written", "check the permissions of the file and its folder, or name another with --store"),
    (("unable to open database file",),
     "the store cannot be opened", "check the path and the permissions of the file and its folder"),
    (("database is locked", "lock timeout"),
     "another process keeps the store busy", "wait until it has finished"),
    (("not a database", "file is encrypted"),
     "this file is not a fleetscan store", "name another file with --store"),
    (("disk i/o error",),
     _UNREADABLE, "check the disk, then the same again"),
    (("malformed",),
     "the store is damaged", "restore it from a backup; fleetscan store verify lists what is still sound"),
    (("password authentication failed", "no password supplied", 'role "', "pg_hba.conf"),
     "the database server refuses the login", "check the user; set PGPASSWORD or ~/.pgpass"),
    (('fatal:  database "',),
     "the server has no such database", "createdb NAME"),
    (("no such table", "no such column", "undefinedtable", "undefinedcolumn", "does not exist"),
     "this database is not a fleetscan store, or a part of it is missing", "name another with --store"),
    (("connection refused", "could not translate host", "failed to resolve", "timeout expired", "connection failed",
      "server closed the connection", "is the server running", "terminating connection", "the connection is lost",
      "no connection to the server", "the database system is", "adminshutdown"),
     "the database server cannot be reached", "check address and server; what was stored before is safe"),
)  # fmt: skip


def _is_full(name: str) -> bool:
    """Is there no room left beside a store's file?"""
    try:
        return shutil.disk_usage(Path(name).absolute().parent).free < _LEAST_ROOM
    except (OSError, ValueError):
        return False


def _meaning(error: Exception) -> tuple[str, str]:
    shown = str(getattr(error, "orig", None) or error)
    searched = f"{type(getattr(error, 'orig', error)).__name__} {shown}".lower()
    for signs, what, hint in _MEANINGS:
        if any(sign in searched for sign in signs):
            return what, hint
    first_line = shown.strip().splitlines()[0] if shown.strip() else type(error).__name__
    return f"the database failed: {first_line}", "fleetscan store verify"


def _worth_another_try(error: DBAPIError) -> bool:
    """Deadlock and serialisation failures of PostgreSQL: the transaction did nothing, the same again will do."""
    return getattr(error.orig, "sqlstate", "") in {"40001", "40P01"}
