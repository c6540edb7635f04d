"""The same sweep on a real cluster of worker processes: same snapshot, sites, and a worker that dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from distributed import Client, LocalCluster

from fleetscan import distributed
from fleetscan.cli.main import main
from fleetscan.dispatcher import Dispatcher, Limits
from fleetscan.domain.areas import AREAS
from fleetscan.engines.named import engine_named
from fleetscan.errors import ExitCode, SettingsError
from fleetscan.model.host import Host, HostId
from fleetscan.model.snapshot import Reason, Unreachable
from fleetscan.planner.plan import make_plan
from fleetscan.progress import HostFinished, HostStarted, Silent
from tests.engines.conftest import faults  # noqa: F401 - a fixture
from tests.patience import LONG, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from distributed import Worker

    from fleetscan.model.snapshot import HostResult, Status
    from fleetscan.progress import Event, Observer
    from tests.engines.conftest import Faults

DEMO = Path(__file__).parents[2] / "inventory" / "demo"
PLAN = make_plan([], extra_scopes=AREAS)
LIMITS = Limits(concurrency=4)

pytestmark = [
    pytest.mark.xdist_group("dask"),
    # Dask closes its event loops and sockets when it is collected, not when it is told to.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine is neither a scheduler that is absent nor a worker that is."""
    monkeypatch.setattr(distributed, "_CONNECT_SECONDS", LONG)
    monkeypatch.setattr(distributed, "PATIENCE", 5 * LONG)


def hosts(number: int, *groups: str, name: str = "h", site: str = "") -> list[Host]:
    settings = {"hives": (str(DEMO / "base-server-2022.reg"),)} | ({"site": site} if site else {})
    return [
        Host(id=HostId(f"{name}{index:02}"), engine="embedded", groups=groups, settings=settings)
        for index in range(number)
    ]


def content(results: list[HostResult]) -> dict[str, object]:
    return {result.host: (result.scopes, result.facts.os_build) for result in results}


@contextmanager
def cluster(workers: int = 2, **resources: float) -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, resources=resources or None
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield client


def address_of(client: Client) -> str:
    return str(client.scheduler_info()["address"])


def sweep(
    client: Client,
    fleet: list[Host],
    stop: threading.Event | None = None,
    *,
    limits: Limits = LIMITS,
    observer: Observer | None = None,
) -> Iterator[HostResult]:
    stop = stop or threading.Event()
    address, observer = address_of(client), observer or Silent()
    return chain.from_iterable(distributed.bundles(PLAN, fleet, address, limits, observer=observer, stop=stop))


def status_of(result: HostResult) -> Status:
    """The one status of a host that was not asked at all."""
    [status] = {scope.status for scope in result.scopes}
    assert [scope.scope_id for scope in result.scopes] == [scope.id for scope in PLAN.scopes]
    return status


def test_workers_give_what_one_process_gives() -> None:
    fleet = hosts(20)
    alone = list(Dispatcher(PLAN, engine_named, limits=LIMITS).run(fleet))
    with cluster() as client:
        together = list(sweep(client, fleet))
    assert content(together) == content(alone)


def test_hosts_of_a_site_go_to_workers_of_that_site_and_others_say_that_theirs_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distributed, "PATIENCE", 1.5)
    with cluster(berlin=1) as client:
        fleet = [*hosts(2, name="p", site="paris"), *hosts(3, site="berlin")]
        results = {result.host: result for result in sweep(client, fleet)}
        assert len(results) == 5
        assert all(results[host.id].facts.os_build == "20348" for host in hosts(3))
        missing = Unreachable(Reason.NOT_ASKED, 'no worker of site paris (try: dask worker --resources "paris=1")')
        assert status_of(results[HostId("p00")]) == status_of(results[HostId("p01")]) == missing

        # Who stops the sweep does not wait for the missing worker either.
        monkeypatch.setattr(distributed, "PATIENCE", 5 * LONG)
        stop = threading.Event()
        threading.Timer(0.5, stop.set).start()
        assert list(sweep(client, hosts(3, site="paris"), stop)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_killed_loses_nothing(workers: int) -> None:
    fleet = hosts(48)
    with cluster(workers) as client:
        results = []
        for result in sweep(client, fleet):
            results.append(result)
            if len(results) == 1:
                victim = next(iter(client.run(os.getpid).values()))
                os.kill(victim, signal.SIGKILL)
    assert sorted(content(results)) == [host.id for host in fleet]
    assert len(results) == len(fleet)
    assert {result.facts.os_build for result in results} == {"20348"}


class Busy:
    """How many hosts of each group were on their way at once, at most."""

    def __init__(self, groups: Mapping[str, str]) -> None:
        self.groups = groups
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def notify(self, event: Event) -> None:
        if isinstance(event, HostStarted | HostFinished):
            for name in ("everywhere", self.groups[event.host]):
                self.now[name] += 1 if isinstance(event, HostStarted) else -1
                self.most[name] = max(self.most[name], self.now[name])


def test_limits_count_over_all_workers() -> None:
    fleet = [*hosts(12, "plant"), *hosts(12, "office", name="o")]
    seen = Busy({host.id: host.groups[0] for host in fleet})
    limits = Limits(concurrency=6, group_concurrency={"plant": 2})
    with cluster() as client:
        assert len(list(sweep(client, fleet, limits=limits, observer=seen))) == 24
    assert seen.most["plant"] == 2
    assert seen.most["everywhere"] <= 6


def test_a_sweep_that_is_over_ends_on_its_workers_too(faults: Faults) -> None:  # noqa: F811 - the fixture
    silent = [replace(faults.host("silent"), id=HostId(f"s{number}")) for number in range(4)]
    slow = Limits(concurrency=4, host_seconds=5 * LONG, attempts=1)
    with cluster(1) as client:
        stop = threading.Event()
        threading.Timer(3.0, stop.set).start()
        began = time.monotonic()
        assert list(sweep(client, silent, stop, limits=slow)) == []
        assert time.monotonic() - began < LONG
        assert _at_rest(client)

        # The whole sweep has a deadline as well, and it is one for all workers.
        results = list(sweep(client, silent, limits=replace(slow, total_seconds=3.0)))
        statuses = [status_of(result) for result in results]
        assert all(isinstance(status, Unreachable) and status.reason is Reason.DEADLINE for status in statuses)
        assert len(results) == 4
        assert _at_rest(client)


def _at_rest(client: Client) -> bool:
    """Is no worker at work a little later?"""
    return eventually(lambda: not any(client.run(_executing).values()))


def _executing(dask_worker: Worker) -> int:
    return int(dask_worker.state.executing_count)


def test_a_scheduler_that_dies_is_named_and_its_hosts_are_not_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        scheduler = subprocess.Popen(
            [*words, "--scheduler-file", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            address = _address_in(file)

            def then_it_dies(_client: Client) -> None:
                monkeypatch.setattr(distributed, "PATIENCE", 2.0)
                threading.Timer(1.0, scheduler.kill).start()

            monkeypatch.setattr(distributed, "_check_workers", then_it_dies)
            stop = threading.Event()
            bundles = list(distributed.bundles(PLAN, hosts(3), address, LIMITS, observer=Silent(), stop=stop))
        finally:
            scheduler.kill()
            scheduler.wait(LONG)
    gone = Unreachable(Reason.CONNECTION, "the Dask scheduler is gone")
    assert [[status_of(result) for result in bundle] for bundle in bundles] == [[gone] * 3]


def _address_in(file: Path) -> str:
    def written() -> str:
        with suppress(OSError, ValueError):
            return str(json.loads(file.read_text())["address"])
        return ""

    assert eventually(written), "no scheduler"
    return written()


def test_workers_of_another_version_are_refused_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster(1) as client:
        monkeypatch.setattr(distributed, "__version__", "0.0.1")
        with pytest.raises(
            SettingsError, match=r"the worker tcp://\S+ has fleetscan \S+, not 0\.0\.1 \(try: pip install"
        ):
            list(sweep(client, hosts(1)))

        # One that joins later refuses by itself.
        monkeypatch.setattr(distributed, "_check_workers", lambda _client: None)
        [result] = sweep(client, hosts(1))
        status = status_of(result)
        assert isinstance(status, Unreachable)
        assert status.reason == Reason.INTERNAL
        assert "not 0.0.1" in status.detail


def test_the_command_sweeps_from_the_workers_into_the_one_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with cluster() as client:
        words = ["sweep", "-i", str(DEMO.parent / "demo.yml"), "--store", str(tmp_path / "s.db"), "-q"]
        assert main([*words, "--scheduler", address_of(client)]) == ExitCode.FINDINGS
    assert "pssigcheck.dll" in capsys.readouterr().out


def test_a_scheduler_that_is_not_there_is_said() -> None:
    with pytest.raises(SettingsError, match="no Dask scheduler answers"):
        list(
            distributed.bundles(PLAN, hosts(1), "tcp://127.0.0.1:1", LIMITS, observer=Silent(), stop=threading.Event())
        )


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("localhost", "'localhost' is no address of a Dask scheduler (try: tcp://HOST:8786)"),
        ("localhost:8786", "'localhost:8786' is no address"),
        ("http://localhost:8786", "'http://localhost:8786' is no address"),
        ("tcp://localhost", "'tcp://localhost' is no address"),
        ("tcp://localhost:99999", "'tcp://localhost:99999' is no address"),
        ("tcp://127.0.0.1:1", "no Dask scheduler answers at tcp://127.0.0.1:1: Connection refused"),
        ("tls://{listening}", "tls://{listening}: Dask has no certificates to speak TLS with"),
    ],
)
def test_a_wrong_scheduler_is_said_before_a_sweep_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str, says: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listening = f"127.0.0.1:{server.getsockname()[1]}"
        words = ["sweep", "-i", str(DEMO.parent / "demo.yml"), "--store", str(tmp_path / "s.db")]
        with pytest.raises(SystemExit) as stop:
            main([*words, "--scheduler", address.format(listening=listening)])
    assert stop.value.code == ExitCode.USAGE
    assert says.format(listening=listening) in capsys.readouterr().err
    assert not (tmp_path / "s.db").exists()
