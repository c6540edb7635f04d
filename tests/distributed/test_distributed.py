"""The same sweep on a real cluster of worker processes: same snapshot, sites, and a worker that dies."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
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
from fleetscan.planner.plan import make_plan
from fleetscan.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetscan.model.snapshot import HostResult

DEMO = Path(__file__).parents[2] / "inventory" / "demo"
PLAN = make_plan([], extra_scopes=AREAS)
LIMITS = Limits(concurrency=4)

pytestmark = [
    pytest.mark.xdist_group("dask"),
    # Dask closes its event loops and sockets when it is collected, not when it is told to.
    pytest.mark.filterwarnings("ignore"),
]


def hosts(number: int, *, site: str = "") -> list[Host]:
    settings = {"hives": (str(DEMO / "base-server-2022.reg"),)} | ({"site": site} if site else {})
    return [Host(id=HostId(f"h{index:02}"), engine="embedded", settings=settings) for index in range(number)]


def content(results: list[HostResult]) -> dict[str, object]:
    return {result.host: (result.scopes, result.facts.os_build) for result in results}


@contextmanager
def cluster(**resources: float) -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, resources=resources or None
        ) as workers,
        Client(workers, set_as_default=False) as client,
    ):
        yield client


def address_of(client: Client) -> str:
    return str(client.scheduler_info()["address"])


def sweep(client: Client, fleet: list[Host], stop: threading.Event | None = None) -> Iterator[HostResult]:
    return distributed.run(PLAN, fleet, address_of(client), LIMITS, observer=Silent(), stop=stop or threading.Event())


def test_workers_give_what_one_process_gives() -> None:
    fleet = hosts(20)
    alone = list(Dispatcher(PLAN, engine_named, limits=LIMITS).run(fleet))
    with cluster() as client:
        together = list(sweep(client, fleet))
    assert content(together) == content(alone)


def test_hosts_of_a_site_go_to_workers_of_that_site_and_others_wait_for_theirs() -> None:
    with cluster(berlin=1) as client:
        assert len(list(sweep(client, hosts(3, site="berlin")))) == 3
        stop = threading.Event()
        threading.Timer(2.0, stop.set).start()
        assert list(sweep(client, hosts(3, site="paris"), stop)) == []


def test_a_worker_that_is_killed_loses_nothing() -> None:
    fleet = hosts(96)
    with cluster() as client:
        results = []
        for result in sweep(client, fleet):
            results.append(result)
            if len(results) == 1:
                victim = next(iter(client.run(os.getpid).values()))
                os.kill(victim, signal.SIGKILL)
    assert sorted(content(results)) == [host.id for host in fleet]
    assert {result.facts.os_build for result in results} == {"20348"}


def test_the_command_sweeps_from_the_workers_into_the_one_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with cluster() as client:
        words = ["sweep", "-i", str(DEMO.parent / "demo.yml"), "--store", str(tmp_path / "s.db"), "-q"]
        assert main([*words, "--scheduler", address_of(client)]) == ExitCode.FINDINGS
    assert "pssigcheck.dll" in capsys.readouterr().out


def test_a_scheduler_that_is_not_there_is_said() -> None:
    with pytest.raises(SettingsError, match="no Dask scheduler answers"):
        list(distributed.run(PLAN, hosts(1), "tcp://127.0.0.1:1", LIMITS, observer=Silent(), stop=threading.Event()))
