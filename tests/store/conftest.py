"""Both databases: a SQLite file per test, and a schema per test on a real PostgreSQL that the run starts itself."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleetscan.model.host import HostId
from fleetscan.model.registry import RegistryRow
from fleetscan.model.snapshot import (
    BlindSpot,
    Complete,
    HostFacts,
    HostResult,
    RawAnswer,
    ScopeResult,
    Status,
)
from fleetscan.store.interface import PlanRecord, RuleRecord, SweepHost, SweepId
from fleetscan.store.sql import SqlStore, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

START = datetime(2026, 11, 21, 21, 10, 45, 123456, tzinfo=UTC)
PLAN = PlanRecord(
    digest="9a" * 32,
    scopes=(("s-oid", "HKLM OID"), ("s-run", "HKU Run"), ("s-winsock", "HKLM WinSock2")),
    statements=(("q-1", "SELECT 1"),),
    rules=(RuleRecord(id="r-1", title="New SIP provider", digest="b2" * 32, label="exact", scope_ids=("s-oid",)),),
)
_STARTED = count(1)


class Fleet:
    """Sweeps in the words of the tests: a value per scope stands for its rows."""

    plan = PLAN
    start = START

    @staticmethod
    def row(value: str, *, mtime: int = 0) -> RegistryRow:
        """A value row."""
        return RegistryRow("HKEY_LOCAL_MACHINE\\K", "Dll", "REG_SZ", value, "HKEY_LOCAL_MACHINE\\K\\Dll", mtime)

    @classmethod
    def result(
        cls,
        host: str,
        cells: Mapping[str, str | Status],
        *,
        raw: bytes = b"[]",
        facts: HostFacts | None = None,
        blind_spots: tuple[BlindSpot, ...] = (),
    ) -> HostResult:
        """A host's result; a text is a complete scope with one row of that data."""
        return HostResult(
            host=HostId(host),
            facts=facts or HostFacts(hostname=host, os_build="19045"),
            scopes=tuple(
                ScopeResult(scope_id=scope, status=Complete(), rows=(cls.row(cell),))
                if isinstance(cell, str)
                else ScopeResult(scope_id=scope, status=cell)
                for scope, cell in cells.items()
            ),
            started=START + timedelta(seconds=1),
            finished=START + timedelta(seconds=3, microseconds=7),
            raw=(RawAnswer("q-1", hashlib.sha256(raw).hexdigest(), raw),),
            blind_spots=blind_spots,
        )

    @staticmethod
    def begin(store: SqlStore, hosts: Sequence[str], *, days_ago: int = 0, note: str = "") -> SweepId:
        """A new sweep of the plan."""
        named = [SweepHost(HostId(host), "embedded", ("lab",)) for host in hosts]
        return store.begin_sweep(PLAN, named, started=START - timedelta(days=days_ago), note=note)

    @classmethod
    def sweep(
        cls, store: SqlStore, answers: Mapping[str, Mapping[str, str | Status] | None], *, days_ago: int = 0
    ) -> SweepId:
        """A finished sweep; None: the host was not asked."""
        sweep = cls.begin(store, tuple(answers), days_ago=days_ago)
        for host, cells in answers.items():
            if cells is not None:
                store.put(sweep, cls.result(host, cells))
        store.finish_sweep(sweep, finished=START + timedelta(minutes=1), outcome="complete")
        return sweep


@pytest.fixture
def fleet() -> type[Fleet]:
    """Builders for sweeps and results."""
    return Fleet


def _bin_folder() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def _install() -> None:
    """Debian's PostgreSQL, if we may; two test processes take turns."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    with (Path(tempfile.gettempdir()) / "fleetscan-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _bin_folder() is None:
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for command in ("update", "install --yes --no-install-recommends postgresql"):
                apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *command.split()]
                subprocess.run(apt, env=environment, check=False, capture_output=True, timeout=600)


@dataclass(frozen=True)
class Server:
    """A PostgreSQL of our own: where it is, and how it is stopped and started."""

    address: str
    control: tuple[str, ...]
    options: str

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [*self.control, "-o", self.options, "start"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)

    def stop(self, mode: str) -> None:
        """Stop it: ``fast`` as an administrator does, ``immediate`` as a crash."""
        subprocess.run([*self.control, "-m", mode, "stop"], check=False, capture_output=True, timeout=300)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server with a private folder and a Unix socket only, gone after the run."""
    if _bin_folder() is None:
        _install()
    programs = _bin_folder()
    if programs is None:
        reason = "PostgreSQL is absent: on Debian, apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="fleetscan-pg-"))  # short: a socket's path has at most 107 bytes
    become = _unprivileged(folder)
    initdb = [*become, str(programs / "initdb"), "-D", str(folder / "data"), "-U", "tester", "-A", "trust"]
    subprocess.run([*initdb, "--no-sync", "-E", "UTF8", "--locale=C"], check=True, capture_output=True, timeout=300)
    found = Server(
        address=f"postgresql://tester@/postgres?host={folder}",
        control=(*become, str(programs / "pg_ctl"), f"--pgdata={folder}/data", "-wt300", f"--log={folder}/log"),
        options=f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c max_connections=60",
    )
    found.start()
    try:
        yield found
    finally:
        found.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql(server: Server) -> str:
    """Address of the server's only database."""
    return server.address


def _unprivileged(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    user = (
        "postgres" if subprocess.run(["id", "postgres"], check=False, capture_output=True).returncode == 0 else "nobody"
    )
    shutil.chown(folder, user)
    return ["runuser", "-u", user, "--"]


@pytest.fixture
def postgresql_place(postgresql: str) -> str:
    """An empty schema of its own."""
    import psycopg  # noqa: PLC0415 - only where a server runs

    name = f"t{os.getpid()}_{next(_STARTED)}"
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    return f"{postgresql}&options=-csearch_path%3D{name}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.live)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store goes: each test runs on both databases."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    address: str = request.getfixturevalue("postgresql_place")
    return address


@pytest.fixture
def store(place: str) -> Iterator[SqlStore]:
    """An empty store."""
    with open_store(place) as opened:
        yield opened


@pytest.fixture
def execute(store: SqlStore) -> Callable[[str], None]:
    """Change a store behind its back."""

    def run(statement: str) -> None:
        with store.database.engine.connect() as connection:
            connection.exec_driver_sql(statement)
            connection.commit()

    return run
