"""The same sweep on Dask workers: batches of hosts as tasks, each on a worker that stands in its network segment.

A group's ``site`` is a Dask resource: a worker started with ``--resources "berlin=1"`` takes the hosts of that site. A
batch whose worker dies is given to another one; nothing is stored on workers, results come back as batches finish.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fleetscan import __version__
from fleetscan.dispatcher import Dispatcher, bundled, finished
from fleetscan.engines.named import engine_named
from fleetscan.errors import SettingsError
from fleetscan.model.snapshot import HostFacts, HostResult, Reason, ScopeResult, Unreachable
from fleetscan.planner.detections import detection_scopes
from fleetscan.progress import HostStarted, SweepEnded, SweepStarted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from distributed import Client, Future

    from fleetscan.dispatcher import Limits
    from fleetscan.model.host import Host
    from fleetscan.planner.plan import Plan
    from fleetscan.progress import HostFinished, Observer

BATCH = 16
"""Most hosts in one task: few, so that results stream and a lost worker costs little."""

AHEAD = 2
"""Batches that wait or run for each that a site's workers can take at once."""

RETRIES = 3
PATIENCE = 30.0
"""Seconds that hosts wait for a worker of their site, and a sweep for a scheduler that is gone."""

_CONNECT_SECONDS = 5.0
_ADDRESS = "tcp://HOST:8786"
_SCHEMES = frozenset({"tcp", "tls", "ws", "wss"})
_ENCRYPTED = frozenset({"tls", "wss"})
_TICK = 0.5
_GRACE = 5.0  # after the overall deadline, for what workers had until then
_LOOKAHEAD = 1000  # hosts of a full group that are passed over in search of others


def bundles(
    plan: Plan,
    hosts: Iterable[Host],
    address: str,
    limits: Limits,
    *,
    observer: Observer,
    stop: threading.Event,
    total: int | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[tuple[HostResult, ...]]:
    """A result for every host, as ``Dispatcher.bundles`` gives; hosts that no worker could ask say so."""
    with _connected(address) as client:
        _check_workers(client)
        observer.notify(SweepStarted(total))
        try:
            yield from _Batches(client, plan, limits, observer, stop, now).run(hosts)
        finally:
            observer.notify(SweepEnded(stop.is_set()))


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    # Here, not at the top: the extra is optional, and without it everything else works.
    try:
        from distributed import Client  # noqa: PLC0415 - see above
    except ImportError as error:
        raise SettingsError("--scheduler needs the extra", hint="pip install 'fleetscan[dask]'") from error
    check_address(address)
    _hush()
    try:
        client = Client(address, timeout=f"{_CONNECT_SECONDS}s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise SettingsError(f"no Dask scheduler answers at {address}", hint=_ADDRESS) from error
    with client:
        yield client


def check_address(address: str) -> None:
    """Raise SettingsError for what is no address of a scheduler, or has nobody listening: before a sweep begins."""
    parts = urlsplit(address)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in _SCHEMES or not host or not port:
        raise SettingsError(f"{address!r} is no address of a Dask scheduler", hint=_ADDRESS)
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        what = f"no Dask scheduler answers at {address}: {error.strerror or error}"
        raise SettingsError(what, hint=_ADDRESS) from error
    if parts.scheme in _ENCRYPTED and not _certificates():
        what = "Dask has no certificates to speak TLS with"
        raise SettingsError(what, where=address, hint="distributed.comm.tls in Dask's own configuration")


def _certificates() -> bool:
    try:
        from distributed.security import Security  # noqa: PLC0415 - the optional extra, see ``_connected``
    except ImportError:
        return True  # what is missing is said where it is needed
    return bool(Security().get_connection_args("client").get("ssl_context"))


def _hush() -> None:
    """Keep the library from printing its log over the progress: what went wrong is told in the hosts' results."""
    for name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _check_workers(client: Client) -> None:
    """Refuse workers that would not understand what they are sent, before anything is asked."""
    said = client.run(version_here, on_error="return")
    for worker, version in sorted(said.items()):
        if version != __version__:
            has = "no fleetscan, or another one" if isinstance(version, BaseException) else f"fleetscan {version}"
            what = f"the worker {worker} has {has}, not {__version__}"
            raise SettingsError(what, hint=f"pip install 'fleetscan[dask]=={__version__}' there")


def version_here() -> str:
    """The version of this process, asked of workers."""
    return __version__


@dataclass(frozen=True, slots=True)
class _Batch:
    """Hosts of one site on their way."""

    site: str
    hosts: tuple[Host, ...]


class _Batches:
    """Keeps a few batches for each worker on the way and gives results as they come back.

    What may be asked at once, of the fleet and of a group, counts over all workers together.
    """

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
        # Sent with every batch, not kept on the cluster: what only a lost worker held would be lost.
        self._plan = plan
        self._scopes = (*(scope.id for scope in plan.scopes), *(name for name, _ in detection_scopes(plan)))
        self._limits = limits
        self._observer = observer
        self._stop = stop
        self._now = now
        self._overall = float("inf") if limits.total_seconds is None else time.monotonic() + limits.total_seconds
        self._waiting: dict[str, deque[Host]] = {}
        self._running: dict[Future[list[HostResult]], _Batch] = {}
        self._busy: Counter[str] = Counter()
        self._alone: dict[str, float] = {}

    def run(self, hosts: Iterable[Host]) -> Iterator[tuple[HostResult, ...]]:
        for host in hosts:
            self._waiting.setdefault(str(host.settings.get("site", "")), deque()).append(host)
        try:
            while (self._waiting or self._running) and not self._stop.is_set():
                slots = self._slots()
                if time.monotonic() < self._overall:
                    self._submit_all(slots)
                yield from bundled(self._finished())
                yield from bundled(self._overdue())
                yield from bundled(self._deserted(slots))
        finally:
            self._withdraw(list(self._running))

    # Giving out

    def _slots(self) -> Counter[str]:
        """How many batches the workers of each site can take at once; none while the scheduler is gone."""
        slots: Counter[str] = Counter()
        if self._client.status == "running":
            for worker in self._client.scheduler_info(n_workers=-1)["workers"].values():
                slots[""] += worker["nthreads"]
                for site, units in worker["resources"].items():
                    slots[site] += min(int(units), worker["nthreads"])
        return slots

    def _submit_all(self, slots: Counter[str]) -> None:
        """One batch for each site in turn, so that none has to wait for a large one, until all is full."""
        size = max(1, min(BATCH, self._limits.concurrency // max(1, slots[""])))
        given = True
        while given:
            given = False
            for site in tuple(self._waiting):
                on_the_way = sum(batch.site == site for batch in self._running.values())
                if on_the_way < AHEAD * slots[site] and (batch := self._take(site, size)):
                    self._submit(_Batch(site, batch))
                    given = True

    def _take(self, site: str, size: int) -> tuple[Host, ...]:
        """The next hosts of a site whose groups are not full."""
        room = min(size, self._limits.concurrency - sum(len(batch.hosts) for batch in self._running.values()))
        queue = self._waiting[site]
        taken: list[Host] = []
        passed: list[Host] = []
        while queue and len(taken) < room and len(passed) < _LOOKAHEAD:
            host = queue.popleft()
            full = any(self._busy[group] >= limit for group, limit in self._limits_of(host))
            (passed if full else taken).append(host)
            if not full:
                self._busy.update(host.groups)
        queue.extendleft(reversed(passed))
        if not queue:
            del self._waiting[site]
        return tuple(taken)

    def _limits_of(self, host: Host) -> Iterator[tuple[str, int]]:
        limits = self._limits.group_concurrency
        return ((group, limits[group]) for group in host.groups if group in limits)

    def _submit(self, batch: _Batch) -> None:
        for host in batch.hosts:
            self._observer.notify(HostStarted(host.id))
        left = None if self._limits.total_seconds is None else max(0.1, self._overall - time.monotonic())
        future = self._client.submit(
            ask_batch,
            __version__,
            self._plan,
            [_portable(host) for host in batch.hosts],
            replace(self._limits, concurrency=len(batch.hosts), group_concurrency={}, total_seconds=left),
            resources={batch.site: 1} if batch.site else None,
            retries=RETRIES,
            pure=False,
        )
        self._running[future] = batch

    # Taking in

    def _finished(self) -> Iterator[HostResult]:
        from distributed import wait  # noqa: PLC0415 - the optional extra, see ``_connected``

        if not self._running:
            self._stop.wait(_TICK)
            return
        try:
            with self._client.as_current():
                wait(list(self._running), timeout=_TICK, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return
        for future in [future for future in self._running if future.done()]:
            if future.status == "finished":
                yield from self._told(future, future.result())
            elif future.status == "error":
                error = future.exception()
                detail = f"no worker finished it: {type(error).__name__}: {error}"
                yield from self._told(future, self._uncovered(self._running[future].hosts, Reason.INTERNAL, detail))
            else:
                self._again(future)

    def _told(self, future: Future[list[HostResult]], results: Iterable[HostResult]) -> Iterator[HostResult]:
        batch = self._running.pop(future)
        for host in batch.hosts:
            self._busy.subtract(host.groups)
        for result in results:
            self._observer.notify(_event(result))
            yield result

    def _again(self, future: Future[list[HostResult]]) -> None:
        """The scheduler forgot a batch, as when it was started anew: its hosts wait for another one."""
        batch = self._running.pop(future)
        for host in batch.hosts:
            self._busy.subtract(host.groups)
        self._waiting.setdefault(batch.site, deque()).extend(batch.hosts)

    # Giving up

    def _overdue(self) -> Iterator[HostResult]:
        """After the overall deadline: who waits was not asked; workers get a moment to give what they have."""
        now = time.monotonic()
        if now >= self._overall:
            detail = "the sweep's deadline passed before it was asked"
            for site in tuple(self._waiting):
                yield from self._dropped(site, Reason.DEADLINE, detail)
        if now >= self._overall + _GRACE:
            for future in tuple(self._running):
                yield from self._cancelled(future, Reason.DEADLINE, "given up while it was asked")

    def _deserted(self, slots: Counter[str]) -> Iterator[HostResult]:
        """Hosts of sites that have had no worker for so long that nobody can expect one."""
        now = time.monotonic()
        for site in {*self._waiting, *(batch.site for batch in self._running.values())}:
            if slots[site]:
                self._alone.pop(site, None)
                continue
            if now < self._alone.setdefault(site, now) + PATIENCE:
                continue
            reason, detail = self._why(site)
            yield from self._dropped(site, reason, detail)
            for future in [future for future, batch in self._running.items() if batch.site == site]:
                yield from self._cancelled(future, reason, detail)

    def _why(self, site: str) -> tuple[Reason, str]:
        if self._client.status != "running":
            return Reason.CONNECTION, "the Dask scheduler is gone"
        if site:
            return Reason.NOT_ASKED, f'no worker of site {site} (try: dask worker --resources "{site}=1")'
        return Reason.NOT_ASKED, "the Dask scheduler has no worker"

    def _dropped(self, site: str, reason: Reason, detail: str) -> Iterator[HostResult]:
        for result in self._uncovered(self._waiting.pop(site, ()), reason, detail):
            self._observer.notify(_event(result))
            yield result

    def _cancelled(self, future: Future[list[HostResult]], reason: Reason, detail: str) -> Iterator[HostResult]:
        self._withdraw([future])
        yield from self._told(future, self._uncovered(self._running[future].hosts, reason, detail))

    def _withdraw(self, futures: list[Future[list[HostResult]]]) -> None:
        """Tell the workers that nobody wants these any longer; a scheduler that is gone takes them with it."""
        if futures and self._client.status == "running":
            with suppress(OSError, TimeoutError):
                self._client.cancel(futures, force=True)

    def _uncovered(self, hosts: Iterable[Host], reason: Reason, detail: str) -> Iterator[HostResult]:
        status = Unreachable(reason, detail)
        scopes = tuple(ScopeResult(scope_id=scope, status=status) for scope in self._scopes)
        now = self._now()
        return (HostResult(host=h.id, facts=HostFacts(), scopes=scopes, started=now, finished=now) for h in hosts)


# On the worker


def ask_batch(version: str, plan: Plan, hosts: Sequence[Host], limits: Limits) -> list[HostResult]:
    """What a worker does: the ordinary dispatcher over its batch."""
    if version != __version__:
        raise SettingsError(f"this worker has fleetscan {__version__}, not {version}")
    with _stop_with_the_task() as stop:
        dispatcher = Dispatcher(plan, engine_named, limits=limits, stop=stop)
        return [_portable_result(result) for result in dispatcher.run(hosts)]


@contextmanager
def _stop_with_the_task() -> Iterator[threading.Event]:
    """An event that is set when nobody wants the task any longer: the sweep was stopped, or its process is gone.

    Dask never interrupts a thread; without this a worker would go on asking hosts for a sweep that is over.
    """
    from distributed import get_worker  # noqa: PLC0415 - the optional extra, see ``_connected``

    worker = get_worker()
    tasks, key = worker.state.tasks, worker.get_current_task()
    stop, done = threading.Event(), threading.Event()

    def watch() -> None:
        while not done.wait(_TICK):
            task = tasks.get(key)
            if task is None or task.state == "cancelled":
                stop.set()
                return

    threading.Thread(target=watch, name="is it still wanted", daemon=True).start()
    try:
        yield stop
    finally:
        done.set()


def _portable(host: Host) -> Host:
    # Read-only views of mappings cannot be sent between processes; plain ones can.
    return replace(host, settings=dict(host.settings))


def _portable_result(result: HostResult) -> HostResult:
    environment = None if result.facts.environment is None else dict(result.facts.environment)
    return replace(result, facts=replace(result.facts, environment=environment, extra=dict(result.facts.extra)))


def _event(result: HostResult) -> HostFinished:
    return finished(result, (result.finished - result.started).total_seconds())
