"""The same sweep on Dask workers: batches of hosts as tasks, each on a worker that stands in its network segment.

A group's ``site`` is a Dask resource: a worker started with ``--resources "berlin=1"`` takes the hosts of that site. A
batch whose worker dies is given to another one; nothing is stored on workers, results come back as batches finish.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fleetscan.dispatcher import Dispatcher
from fleetscan.engines.named import engine_named
from fleetscan.errors import SettingsError
from fleetscan.model.snapshot import Complete, HostFacts, HostResult, Partial, Reason, ScopeResult, Unreachable, is_gap
from fleetscan.planner.detections import detection_scopes
from fleetscan.progress import HostFinished, HostStarted, SweepEnded, SweepStarted

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from distributed import Client, Future

    from fleetscan.dispatcher import Limits
    from fleetscan.model.host import Host
    from fleetscan.planner.plan import Plan
    from fleetscan.progress import Observer

BATCH = 16
"""Hosts in one task: small, so that results stream and a lost worker costs little."""

AHEAD = 4
"""Batches per worker that wait or run: memory does not grow with the fleet."""

RETRIES = 3
_CONNECT_SECONDS = "5s"
_TICK = 0.5


def run(
    plan: Plan,
    hosts: Iterable[Host],
    address: str,
    limits: Limits,
    *,
    observer: Observer,
    stop: threading.Event,
    total: int | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[HostResult]:
    """A result for every host, as ``Dispatcher.run`` gives; hosts of a batch that no worker could finish say so."""
    # Here, not at the top: the extra is optional, and without it everything else works.
    try:
        from distributed import Client  # noqa: PLC0415 - see above
    except ImportError as error:
        raise SettingsError("--scheduler needs the extra", hint="pip install 'fleetscan[dask]'") from error
    if "://" not in address:
        raise SettingsError(f"{address!r} is no address of a Dask scheduler", hint="tcp://HOST:8786")
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SettingsError(f"no Dask scheduler answers at {address}", hint="tcp://HOST:8786") from error
    observer.notify(SweepStarted(total))
    with client:
        yield from _Batches(client, plan, limits, observer, stop, now).run(hosts)
    observer.notify(SweepEnded(stop.is_set()))


class _Batches:
    """Keeps a few batches per worker on the way and gives results as they come back."""

    def __init__(
        self,
        client: Client,
        plan: Plan,
        limits: Limits,
        observer: Observer,
        stop: threading.Event,
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._plan = client.scatter(plan, broadcast=True, hash=False)
        self._scopes = (*(scope.id for scope in plan.scopes), *(name for name, _ in detection_scopes(plan)))
        self._limits = limits
        self._observer = observer
        self._stop = stop
        self._now = now
        self._running: dict[Future[list[HostResult]], tuple[Host, ...]] = {}

    def run(self, hosts: Iterable[Host]) -> Iterator[HostResult]:
        waiting = deque(_batches(hosts))
        while (waiting or self._running) and not self._stop.is_set():
            while waiting and len(self._running) < self._room():
                self._submit(*waiting.popleft())
            yield from self._finished()
        for future in self._running:
            future.cancel()

    def _room(self) -> int:
        return AHEAD * max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    def _submit(self, site: str, batch: tuple[Host, ...]) -> None:
        for host in batch:
            self._observer.notify(HostStarted(host.id))
        future = self._client.submit(
            ask_batch,
            self._plan,
            [_portable(host) for host in batch],
            self._limits,
            resources={site: 1} if site else None,
            retries=RETRIES,
            pure=False,
        )
        self._running[future] = batch

    def _finished(self) -> Iterator[HostResult]:
        from distributed import wait  # noqa: PLC0415 - the optional extra, see ``run``

        try:
            with self._client.as_current():
                wait(list(self._running), timeout=_TICK, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return
        for future in [future for future in self._running if future.done()]:
            batch = self._running.pop(future)
            for result in self._results(future, batch):
                self._observer.notify(_told(result))
                yield result

    def _results(self, future: Future[list[HostResult]], batch: tuple[Host, ...]) -> Sequence[HostResult]:
        if future.status == "finished":
            return future.result()
        detail = f"no worker finished it: {type(future.exception()).__name__}"
        status = Unreachable(Reason.INTERNAL, detail)
        scopes = tuple(ScopeResult(scope_id=scope, status=status) for scope in self._scopes)
        now = self._now()
        return [HostResult(host=host.id, facts=HostFacts(), scopes=scopes, started=now, finished=now) for host in batch]


def _batches(hosts: Iterable[Host]) -> Iterator[tuple[str, tuple[Host, ...]]]:
    """Hosts of one site together, in the order in which sites fill a batch."""
    open_: dict[str, list[Host]] = {}
    for host in hosts:
        site = str(host.settings.get("site", ""))
        batch = open_.setdefault(site, [])
        batch.append(host)
        if len(batch) == BATCH:
            yield site, tuple(open_.pop(site))
    for site, batch in open_.items():
        yield site, tuple(batch)


def ask_batch(plan: Plan, hosts: Sequence[Host], limits: Limits) -> list[HostResult]:
    """What a worker does: the ordinary dispatcher over its batch."""
    return [_portable_result(result) for result in Dispatcher(plan, engine_named, limits=limits).run(hosts)]


def _portable(host: Host) -> Host:
    # Read-only views of mappings cannot be sent between processes; plain ones can.
    return replace(host, settings=dict(host.settings))


def _portable_result(result: HostResult) -> HostResult:
    environment = None if result.facts.environment is None else dict(result.facts.environment)
    return replace(result, facts=replace(result.facts, environment=environment, extra=dict(result.facts.extra)))


def _told(result: HostResult) -> HostFinished:
    """The event a display shows for a result."""
    statuses = [s.status for s in result.scopes if isinstance(s.status, Complete) or is_gap(s.status)]
    missing = next((status for status in statuses if not isinstance(status, Complete)), None)
    return HostFinished(
        host=result.host,
        seconds=(result.finished - result.started).total_seconds(),
        complete=sum(isinstance(status, Complete) for status in statuses),
        partial=sum(isinstance(status, Partial) for status in statuses),
        unreachable=sum(isinstance(status, Unreachable) for status in statuses),
        reason=missing.reason if missing else "",
        detail=missing.detail if missing else "",
    )
