"""Hosts x plan -> a stream of HostResult: how many at once, how long, how often, and when to stop."""

from __future__ import annotations

import gc
import heapq
import logging
import queue
import random
import signal
import threading
import time
from collections import Counter, deque
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING

from fleetscan.engines.interface import Stoppable
from fleetscan.engines.ledger import narrow
from fleetscan.model.registry import HKU
from fleetscan.model.scope import Glob
from fleetscan.model.snapshot import (
    Complete,
    HostFacts,
    HostResult,
    Partial,
    Reason,
    ScopeResult,
    Unreachable,
    is_gap,
)
from fleetscan.planner.detections import detected, detection_scopes
from fleetscan.planner.plan import Failed, assemble
from fleetscan.processor import one_processor
from fleetscan.progress import (
    HostFinished,
    HostRetried,
    HostStarted,
    Silent,
    SweepEnded,
    SweepStarted,
    SweepStopping,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
    from types import FrameType

    from fleetscan.engines.interface import Answers, Engine
    from fleetscan.model.host import Host
    from fleetscan.model.snapshot import BlindSpot, RawAnswer
    from fleetscan.planner.plan import Answer, Plan, Statement
    from fleetscan.progress import Observer

LOG = logging.getLogger(__name__)

RETRYABLE = frozenset({Reason.DNS, Reason.REFUSED, Reason.TIMEOUT, Reason.CONNECTION, Reason.TRUNCATED})
"""Reasons that may pass by themselves. AUTH is not one: asking again locks accounts."""

_COLLECT = (50_000, 20, 50)
_TICK = 0.2  # how long a request to stop may wait for the loop to look
_OVERDUE = 5.0  # an engine keeps its deadline by contract; after this the dispatcher no longer waits for it
_LOOKAHEAD = 1000  # hosts that may wait for their group or for another attempt
_BUNDLE = 16  # results that are given together, and so stored in one transaction, while slots wait to be filled
_BUNDLE_BYTES = 256 * 1024
_PAUSE = 0.01  # seconds without another result that end a bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How hard a fleet may be asked. ``concurrency`` and ``group_concurrency`` count hosts; times are seconds."""

    concurrency: int = 50
    group_concurrency: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    host_seconds: float = 120.0
    total_seconds: float | None = None
    attempts: int = 3
    backoff_seconds: float = 1.0
    backoff_cap_seconds: float = 30.0
    stop_seconds: float = 3.0
    """How long hosts in flight may still finish once the sweep was told to stop."""


def backoff(attempt: int, limits: Limits, random_: random.Random) -> float:
    """Seconds before the attempt after ``attempt``: doubled each time, capped, and drawn between half and whole."""
    whole = min(limits.backoff_cap_seconds, limits.backoff_seconds * 2.0 ** min(attempt - 1, 30))
    return whole * (0.5 + random_.random() / 2)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and a closed terminal set; a second Ctrl-C interrupts at once.

    Only in the main thread.
    """
    stop = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    # Not on Windows; and under nohup it is ignored, and is to stay so.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Fewer runs of the cycle collector: rows are thousands of containers without a cycle among them."""
    before = gc.get_threshold()
    gc.set_threshold(*(max(old, new) for old, new in zip(before, _COLLECT, strict=True)))
    try:
        yield
    finally:
        gc.set_threshold(*before)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One host on its way: how often it was asked, and what it answered so far."""

    host: Host
    began: float
    deadline: float
    started: datetime
    attempt: int = 1
    answers: Mapping[str, Answer] = field(default_factory=lambda: MappingProxyType({}))
    raw: tuple[RawAnswer, ...] = ()
    blind_spots: tuple[BlindSpot, ...] = ()
    absent: tuple[str, ...] = ()
    """Keys of hives that the source lacks."""
    parts: tuple[str, ...] = ()
    """Keys that are all that is known of their hives."""
    damages: tuple[tuple[str, str], ...] = ()
    """Keys of which a part cannot be read, and why."""
    notes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def taking(self, given: Answers) -> _Job:
        """The job with what an attempt gave."""
        return replace(
            self,
            answers={**self.answers, **given.answers},
            raw=(*self.raw, *given.raw),
            blind_spots=(*self.blind_spots, *given.blind_spots),
            absent=(*self.absent, *given.missing),
            parts=(*self.parts, *given.parts),
            damages=(*self.damages, *given.damages),
            notes={**self.notes, **dict(given.notes)},
        )

    def unanswered(self, statements: Iterable[Statement]) -> tuple[Statement, ...]:
        """The statements without an answer, or whose failure may pass."""
        return tuple(s for s in statements if s.id not in self.answers or self._may_pass(s))

    def _may_pass(self, statement: Statement) -> bool:
        answer = self.answers[statement.id]
        return isinstance(answer, Failed) and answer.reason in RETRYABLE


@dataclass(frozen=True, slots=True)
class _Arrival:
    """What a thread brings back: a result, or none if the host is to be asked again."""

    ticket: int
    job: _Job
    result: HostResult | None


class Dispatcher:
    """Asks hosts and gives results in the order in which they arrive.

    ``engine_named`` gives the engine of a name. Memory does not grow with the number of hosts: they are taken from
    their iterator as slots become free, and results wait for their reader in a short line. Whatever a host or an
    engine does, the sweep goes on.
    """

    def __init__(
        self,
        plan: Plan,
        engine_named: Callable[[str], Engine],
        *,
        limits: Limits | None = None,
        stop: threading.Event | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random_: random.Random | None = None,
    ) -> None:
        """``stop`` is set from anywhere to end the sweep; ``clock``, ``now`` and ``random_`` are for tests."""
        self._plan = plan
        self._engine_named = engine_named
        self._limits = limits or Limits()
        self._stop = stop or threading.Event()
        self._observer = observer or Silent()
        self._clock = clock
        self._now = now
        self._random = random_ or random.Random()  # noqa: S311 - jitter, not secrets
        # Not a SimpleQueue: in CPython 3.11, a signal that comes as its timeout passes makes it wait for ever.
        self._arrivals: queue.Queue[_Arrival] = queue.Queue()
        self._orders: queue.SimpleQueue[tuple[int, _Job] | None] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        """Threads that wait for an order; those that are stuck in an engine do not."""
        self._running: dict[int, _Job] = {}
        self._busy: Counter[str] = Counter()
        self._blocked: dict[tuple[str, ...], deque[Host]] = {}
        """Hosts that wait for a group, by the groups of theirs that have a limit."""
        self._retries: list[tuple[float, int, _Job]] = []
        self._tickets = count()
        self._overall = float("inf")
        self._stopped_at: float | None = None

    def run(self, hosts: Iterable[Host], *, total: int | None = None) -> Iterator[HostResult]:
        """A result for every host that was asked; ``total`` is for the display.

        When told to stop, hosts in flight get a short time, then they are given as cancelled; hosts not yet asked give
        no result and stay pending. When the overall deadline passes, they are given as not covered, with that reason.
        """
        with closing(self.bundles(hosts, total=total)) as bundles:
            for bundle in bundles:
                yield from bundle

    def bundles(self, hosts: Iterable[Host], *, total: int | None = None) -> Generator[tuple[HostResult, ...]]:
        """The same, where results that come at about the same time are given together: to store them costs less."""
        if self._limits.total_seconds is not None:
            self._overall = self._clock() + self._limits.total_seconds
        self._observer.notify(SweepStarted(total))
        try:
            with _rare_collections(), one_processor():
                yield from self._results_of(iter(hosts))
        finally:
            self._dismiss()
            self._observer.notify(SweepEnded(self._stop.is_set()))

    def _results_of(self, feed: Iterator[Host]) -> Iterator[tuple[HostResult, ...]]:
        self._start(feed)
        ready: deque[HostResult] = deque()
        while self._running or self._retries or self._blocked or ready:
            known = len(ready)
            if known < self._limits.concurrency:
                ready.extend(self._collect(self._patience(ready)))
                # Before the reader works on results, and again before the next, so that no slot stands idle meanwhile.
                self._start(feed)
            if _is_bundle(ready) or len(ready) == known or not self._running:
                yield from self._taken(ready)
        if not self._stop.is_set():
            yield from bundled(map(self._never_asked, feed))

    def _taken(self, ready: deque[HostResult]) -> Iterator[tuple[HostResult, ...]]:
        """The first bundle of them, if there is any."""
        taken: list[HostResult] = []
        while ready and not _is_bundle(taken):
            taken.append(ready.popleft())
        if taken:
            yield tuple(taken)

    # Starting

    def _start(self, feed: Iterator[Host]) -> None:
        """Fill the free slots: attempts that are due again, then hosts that waited for their group, then new ones."""
        now = self._clock()
        self._start_again(now)
        for groups in tuple(self._blocked):
            waiting = self._blocked[groups]
            while waiting and self._may_start(now) and not self._is_full(groups):
                self._begin(waiting.popleft(), now)
            if not waiting:
                del self._blocked[groups]
        while self._may_start(now) and sum(map(len, self._blocked.values())) + len(self._retries) < _LOOKAHEAD:
            host = next(feed, None)
            if host is None:
                return
            groups = self._limited(host)
            if self._is_full(groups):
                self._blocked.setdefault(groups, deque()).append(host)
            else:
                self._begin(host, now)

    def _start_again(self, now: float) -> None:
        """Launch the attempts that are due; those of a full group stay due."""
        full = []
        while self._may_start(now) and self._retries and self._retries[0][0] <= now:
            again = heapq.heappop(self._retries)
            if self._is_full(self._limited(again[2].host)):
                full.append(again)
            else:
                self._launch(again[2])
        for again in full:
            heapq.heappush(self._retries, again)

    def _may_start(self, now: float) -> bool:
        return len(self._running) < self._limits.concurrency and not self._stop.is_set() and now < self._overall

    def _limited(self, host: Host) -> tuple[str, ...]:
        return tuple(group for group in host.groups if group in self._limits.group_concurrency)

    def _is_full(self, groups: tuple[str, ...]) -> bool:
        return any(self._busy[group] >= self._limits.group_concurrency[group] for group in groups)

    def _begin(self, host: Host, now: float) -> None:
        seconds = float(host.settings.get("timeout", self._limits.host_seconds))
        deadline = min(now + seconds, self._overall)
        self._launch(_Job(host=host, began=now, deadline=deadline, started=self._now()))

    def _launch(self, job: _Job) -> None:
        ticket = next(self._tickets)
        self._running[ticket] = job
        self._busy.update(job.host.groups)
        self._observer.notify(HostStarted(job.host.id, job.attempt))
        self._orders.put((ticket, job))
        if self._idle:
            self._idle -= 1
            return
        self._threads += 1
        # A daemon: a thread stuck in an engine must not keep the process from ending.
        threading.Thread(target=self._work, args=(self._orders, self._arrivals), daemon=True).start()

    def _work(self, orders: queue.SimpleQueue[tuple[int, _Job] | None], arrivals: queue.Queue[_Arrival]) -> None:
        """Ask host after host. To start a thread is to wait for it: with one for each host, slots would stand idle."""
        while (order := orders.get()) is not None:
            threading.current_thread().name = f"ask {order[1].host.id}"
            arrivals.put(self._ask(*order))

    def _dismiss(self) -> None:
        """End the threads, each after what it is doing."""
        for _ in range(self._threads):
            self._orders.put(None)
        # Who is stuck and comes back later finds the old queues, and ends.
        self._orders, self._arrivals = queue.SimpleQueue(), queue.Queue()
        self._threads = self._idle = 0

    def _ask(self, ticket: int, job: _Job) -> _Arrival:
        """Ask, in a thread of the pool. Here is the one guard: a bug in one host's path does not end the sweep."""
        statements = job.unanswered(self._plan.statements)
        try:
            given = self._engine_named(job.host.engine).ask(job.host, statements, deadline=job.deadline)
            after = job.taking(given)
            result = None if self._ask_again(after) else self._result(after)
        except Exception as error:
            LOG.debug("asking %s failed", job.host.id, exc_info=True)
            after, result = job, self._uncovered(job, Reason.INTERNAL, f"{type(error).__name__}: {error}")
        return _Arrival(ticket, after, result)

    def _ask_again(self, job: _Job) -> bool:
        if job.attempt >= self._limits.attempts or not job.unanswered(self._plan.statements) or self._stop.is_set():
            return False
        # An attempt that could not even wait for its turn would only turn the reason into "deadline".
        return self._clock() + self._limits.backoff_seconds * 2 < job.deadline

    # Collecting

    def _collect(self, patience: float) -> Iterator[HostResult]:
        """Results of the threads that come back within ``patience``, and of those nobody waits for any longer."""
        for arrival in self._arrived(patience):
            self._idle += 1
            job = self._running.pop(arrival.ticket, None)
            if job is None:
                continue  # given up before; its host has its result
            self._busy.subtract(job.host.groups)
            if arrival.result is not None:
                yield self._finished(arrival.result, job)
            else:
                self._retry(arrival.job)
        yield from self._given_up()
        yield from self._overdue_retries()

    def _arrived(self, patience: float) -> Iterator[_Arrival]:
        with suppress(queue.Empty):
            yield self._arrivals.get(timeout=patience) if patience > 0 else self._arrivals.get_nowait()
            # Bounded: whatever arrives while these are handled waits for the next round.
            for _ in range(self._limits.concurrency):
                yield self._arrivals.get_nowait()

    def _patience(self, ready: Collection[HostResult]) -> float:
        """How long nothing but an arrival can matter."""
        if ready:
            return 0.0 if _is_bundle(ready) else _PAUSE
        if not self._retries or len(self._running) >= self._limits.concurrency:
            return _TICK
        due = self._retries[0][0] - self._clock()
        # One that is due and was not launched waits for its group.
        return min(_TICK, due) if due > 0 else _TICK

    def _retry(self, job: _Job) -> None:
        delay = backoff(job.attempt, self._limits, self._random)
        failures = (answer.reason for answer in job.answers.values() if isinstance(answer, Failed))
        reason = next((reason for reason in failures if reason in RETRYABLE), Reason.NOT_ASKED)
        self._observer.notify(HostRetried(job.host.id, job.attempt, reason, delay))
        again = replace(job, attempt=job.attempt + 1)
        heapq.heappush(self._retries, (self._clock() + delay, next(self._tickets), again))

    def _given_up(self) -> Iterator[HostResult]:
        """Hosts whose engine overran its deadline, or that are still in flight after the sweep was stopped."""
        now = self._clock()
        if self._stop.is_set() and self._stopped_at is None:
            self._stopped_at = now
            self._observer.notify(SweepStopping(len(self._running), self._limits.stop_seconds))
            for name in {job.host.engine for job in self._running.values()}:
                engine = self._engine_named(name)
                if isinstance(engine, Stoppable):
                    engine.stop()
        stopped = self._stopped_at is not None and now >= self._stopped_at + self._limits.stop_seconds
        for ticket, job in list(self._running.items()):
            if stopped or now > job.deadline + _OVERDUE:
                del self._running[ticket]
                self._busy.subtract(job.host.groups)
                reason = Reason.CANCELLED if stopped else Reason.DEADLINE
                yield self._finished(self._uncovered(job, reason, "given up while it was asked"), job)

    def _overdue_retries(self) -> Iterator[HostResult]:
        """Hosts that wait for another attempt but will not get it: they keep the answers and reasons they have."""
        if self._stop.is_set() or self._clock() >= self._overall:
            for _, _, job in self._retries:
                yield self._finished(self._result(job), job)
            self._retries.clear()
            # These were never asked.
            blocked = [host for hosts in self._blocked.values() for host in hosts]
            self._blocked.clear()
            if not self._stop.is_set():
                yield from map(self._never_asked, blocked)

    # Results

    def _result(self, job: _Job) -> HostResult:
        facts, scopes = assemble(self._plan, job.answers)
        scopes = narrow(
            self._plan.scopes, scopes, facts=facts, missing=job.absent, parts=job.parts, damages=job.damages
        )
        return HostResult(
            host=job.host.id,
            facts=_with_notes(facts, job.notes),
            scopes=(*_unless_users_are_known(self._plan, scopes, job.answers), *detected(self._plan, job.answers)),
            started=job.started,
            finished=self._now(),
            raw=job.raw,
            blind_spots=job.blind_spots,
        )

    def _uncovered(self, job: _Job, reason: Reason, detail: str) -> HostResult:
        """A result of a host of which nothing is known."""
        names = (*(scope.id for scope in self._plan.scopes), *(name for name, _ in detection_scopes(self._plan)))
        scopes = tuple(ScopeResult(scope_id=name, status=Unreachable(reason, detail)) for name in names)
        facts = _with_notes(HostFacts(), job.notes)
        return HostResult(
            host=job.host.id, facts=facts, scopes=scopes, started=job.started, finished=self._now(), raw=job.raw
        )

    def _never_asked(self, host: Host) -> HostResult:
        now = self._clock()
        job = _Job(host=host, began=now, deadline=now, started=self._now())
        detail = "the sweep's deadline passed before it was asked"
        return self._finished(self._uncovered(job, Reason.DEADLINE, detail), job)

    def _finished(self, result: HostResult, job: _Job) -> HostResult:
        self._observer.notify(finished(result, self._clock() - job.began))
        return result


def bundled(results: Iterable[HostResult]) -> Iterator[tuple[HostResult, ...]]:
    """All of them, in bundles of a size that is good to store at once."""
    bundle: list[HostResult] = []
    for result in results:
        bundle.append(result)
        if _is_bundle(bundle):
            yield tuple(bundle)
            bundle = []
    if bundle:
        yield tuple(bundle)


def _is_bundle(results: Collection[HostResult]) -> bool:
    """Are these enough?"""
    return len(results) >= _BUNDLE or sum(len(raw.content) for one in results for raw in one.raw) >= _BUNDLE_BYTES


def finished(result: HostResult, seconds: float) -> HostFinished:
    """The event that a display shows for a result."""
    complete = partial = unreachable = 0
    missing: Partial | Unreachable | None = None
    for scope in result.scopes:
        status = scope.status
        if isinstance(status, Complete):
            complete += 1
        elif is_gap(status):
            missing = missing or status
            partial += isinstance(status, Partial)
            unreachable += isinstance(status, Unreachable)
    return HostFinished(
        host=result.host,
        seconds=seconds,
        complete=complete,
        partial=partial,
        unreachable=unreachable,
        reason=missing.reason if missing else "",
        detail=missing.detail if missing else "",
    )


def _unless_users_are_known(
    plan: Plan, results: tuple[ScopeResult, ...], answers: Mapping[str, Answer]
) -> tuple[ScopeResult, ...]:
    """Where a host did not tell which users it has and which are loaded, nobody can say that all were looked at."""
    given = (answers.get(name) for name in ("facts-profiles", "facts-users"))
    failed = next((answer for answer in given if isinstance(answer, Failed)), None)
    if failed is None:
        return results
    status = Partial(failed.reason, f"which users there are is not known{': ' * bool(failed.detail)}{failed.detail}")
    scopes = (scope for scope in plan.scopes if scope.root == HKU)
    any_user = {scope.id for scope in scopes if not scope.elements or isinstance(scope.elements[0], Glob)}
    return tuple(
        replace(result, status=status)
        if result.scope_id in any_user and isinstance(result.status, Complete)
        else result
        for result in results
    )


def _with_notes(facts: HostFacts, notes: Mapping[str, str]) -> HostFacts:
    """The facts with what only the transport knows; what the host said itself is not overwritten."""
    if not notes:
        return facts
    version = facts.osquery_version or notes.get("osquery_version", "")
    return replace(facts, osquery_version=version, extra=MappingProxyType({**notes, **facts.extra}))
