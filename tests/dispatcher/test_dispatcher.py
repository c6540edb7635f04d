"""The dispatcher: none is lost silently, none is asked too hard, and it stops when it is told to."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan import dispatcher as module
from fleetscan.dispatcher import RETRYABLE, Dispatcher, Limits, backoff, stop_on_signals
from fleetscan.engines.interface import Answers
from fleetscan.model.host import Host, HostId
from fleetscan.model.registry import HKLM
from fleetscan.model.scope import Scope
from fleetscan.model.snapshot import (
    KEY_REFUSALS,
    Complete,
    HostFacts,
    HostResult,
    RawAnswer,
    Reason,
    Unreachable,
)
from fleetscan.planner.plan import Answer, Answered, Failed, Statement, make_plan
from fleetscan.progress import HostFinished, HostRetried, HostStarted, SweepEnded, SweepStarted, SweepStopping
from tests.patience import LONG, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fleetscan.progress import Event

PLAN = make_plan([], extra_scopes=[Scope(HKLM, ("SOFTWARE", "Fleet")), Scope(HKLM, ("SYSTEM", "Select"))])
SCOPES = {scope.id for scope in PLAN.scopes}
FAST = Limits(concurrency=4, backoff_seconds=0.01, host_seconds=LONG, stop_seconds=0.3)
EMPTY = Answered(())


class Scripted:
    """An engine whose answers are a function of host, statement and attempt; it remembers how it was asked.

    ``crowd``: nobody is answered before so many were asked at once, of all or of a group; later it does not matter.
    """

    def __init__(
        self,
        answer: Callable[[Host, Statement, int], Answer] = lambda *_: EMPTY,
        seconds: float = 0.0,
        crowd: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._answer = answer
        self._seconds = seconds
        self._crowd = crowd
        self._lock = threading.Condition()
        self.asked: Counter[str] = Counter()
        self.statements: list[tuple[str, tuple[str, ...]]] = []
        self.deadlines: list[float | None] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.stopped = False

    def ask(self, host: Host, statements: Sequence[Statement], *, deadline: float | None = None) -> Answers:
        with self._lock:
            self.asked[host.id] += 1
            attempt = self.asked[host.id]
            self.statements.append((host.id, tuple(statement.id for statement in statements)))
            self.deadlines.append(deadline)
            for name in ("all", *host.groups):
                self.running[name] += 1
                self.most[name] = max(self.most[name], self.running[name])
            self._lock.notify_all()
            assert self._lock.wait_for(self._is_crowded, LONG)
        time.sleep(self._seconds)
        try:
            return Answers(
                answers={s.id: self._answer(host, s, attempt) for s in statements}, notes=(("shell", "double"),)
            )
        finally:
            with self._lock:
                for name in ("all", *host.groups):
                    self.running[name] -= 1

    def _is_crowded(self) -> bool:
        return all(self.most[name] >= number for name, number in self._crowd.items())

    def stop(self) -> None:
        self.stopped = True


class Seen:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


def hosts(count: int, *groups: str, **settings: float) -> Iterator[Host]:
    for number in range(count):
        yield Host(id=HostId(f"h{number}"), engine="x", groups=groups, settings=MappingProxyType(dict(settings)))


def sweep(
    engine: Scripted,
    fleet: Iterator[Host],
    *,
    limits: Limits = FAST,
    stop: threading.Event | None = None,
    seen: Seen | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, HostResult]:
    dispatcher = Dispatcher(PLAN, lambda _: engine, limits=limits, stop=stop, observer=seen, clock=clock)
    results = list(dispatcher.run(fleet))
    assert len({result.host for result in results}) == len(results)
    assert all({scope.scope_id for scope in result.scopes} == SCOPES for result in results)
    assert all(len(result.scopes) == len(SCOPES) for result in results)
    return {result.host: result for result in results}


def reasons(result: HostResult) -> set[Reason | None]:
    return {None if isinstance(scope.status, Complete) else scope.status.reason for scope in result.scopes}


def test_every_host_gets_exactly_one_result() -> None:
    engine = Scripted()
    results = sweep(engine, hosts(100))
    assert len(results) == 100
    assert set(engine.asked.values()) == {1}
    assert results["h7"].facts.extra["shell"] == "double"


def test_no_more_hosts_are_asked_at_once_than_allowed() -> None:
    engine = Scripted(seconds=0.01, crowd={"all": 5})
    sweep(engine, hosts(40), limits=Limits(concurrency=5))
    assert engine.most["all"] == 5


def test_a_group_is_asked_no_harder_than_it_allows_while_others_go_on() -> None:
    engine = Scripted(seconds=0.01, crowd={"branch": 2, "all": 8})
    fleet = [*hosts(20, "branch"), *(Host(id=HostId(f"c{n}"), engine="x") for n in range(20))]
    limits = Limits(concurrency=8, group_concurrency={"branch": 2})
    results = sweep(engine, iter(fleet), limits=limits)
    assert len(results) == 40
    assert engine.most["branch"] == 2
    assert engine.most["all"] == 8


def test_another_attempt_waits_for_its_group_like_the_first() -> None:
    def flaky(_host: Host, _asked: Statement, attempt: int) -> Answer:
        return Failed(Reason.TIMEOUT) if attempt < 3 else EMPTY

    engine = Scripted(flaky, seconds=0.01, crowd={"branch": 2})
    limits = replace(FAST, concurrency=8, group_concurrency={"branch": 2})
    results = sweep(engine, hosts(12, "branch", "other"), limits=limits)
    assert all(reasons(result) == {None} for result in results.values())
    assert set(engine.asked.values()) == {3}
    assert engine.most["branch"] == 2


def test_slots_are_filled_while_the_reader_works_on_results() -> None:
    engine = Scripted(seconds=0.05)
    results = Dispatcher(PLAN, lambda _: engine, limits=FAST).run(hosts(12))
    for _ in range(FAST.concurrency):
        next(results)
        time.sleep(0.1)
    # Four were read, one by one; meanwhile all others had their turn, and no more answers wait than there are slots.
    assert eventually(lambda: len(engine.asked) >= 2 * FAST.concurrency)
    assert len(list(results)) == 12 - FAST.concurrency


def test_results_that_come_together_are_given_together_and_wait_for_no_other() -> None:
    let_go = threading.Event()

    def answer(host: Host, *_: object) -> Answer:
        assert host.id == "h0" or let_go.wait(LONG)
        return EMPTY

    engine = Scripted(answer, crowd={"all": 40})
    with closing(Dispatcher(PLAN, lambda _: engine, limits=replace(FAST, concurrency=40)).bundles(hosts(40))) as given:
        assert [result.host for result in next(given)] == ["h0"]
        let_go.set()
        rest = [[result.host for result in bundle] for bundle in given]
    assert Counter(chain.from_iterable(rest)) == Counter(host.id for host in list(hosts(40))[1:])
    assert len(rest) < 39


@given(st.lists(st.integers(0, 400_000), max_size=60))
def test_a_bundle_is_bounded_in_hosts_and_in_bytes_and_nothing_is_lost(sizes: list[int]) -> None:
    now = datetime.now(UTC)
    results = [
        HostResult(
            host=HostId(f"h{number}"),
            facts=HostFacts(),
            scopes=(),
            started=now,
            finished=now,
            raw=(RawAnswer("q", "", bytes(size)),),
        )
        for number, size in enumerate(sizes)
    ]
    bundles = list(module.bundled(results))
    assert list(chain.from_iterable(bundles)) == results
    for bundle in bundles:
        assert 1 <= len(bundle) <= 16
        assert sum(len(raw.content) for result in bundle[:-1] for raw in result.raw) < 256 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says on which processors a thread may run")
def test_a_sweep_stays_on_one_processor_and_its_reader_is_free_again_afterwards() -> None:
    before = os.sched_getaffinity(0)
    seen: set[frozenset[int]] = set()

    def answer(*_: object) -> Answer:
        seen.add(frozenset(os.sched_getaffinity(0)))
        return EMPTY

    sweep(Scripted(answer, crowd={"all": FAST.concurrency}), hosts(12))
    [processors] = seen
    assert len(processors) == 1
    assert processors <= before
    assert os.sched_getaffinity(0) == before


def test_what_may_pass_is_asked_again_and_only_that() -> None:
    statement = PLAN.statements[-1].id

    def flaky(_host: Host, asked: Statement, attempt: int) -> Answer:
        return Failed(Reason.TIMEOUT) if asked.id == statement and attempt < 3 else EMPTY

    engine, seen = Scripted(flaky), Seen()
    results = sweep(engine, hosts(1), seen=seen)
    assert reasons(results["h0"]).isdisjoint({Reason.TIMEOUT})
    assert [len(ids) for _, ids in engine.statements] == [len(PLAN.statements), 1, 1]
    assert [event.reason for event in seen.events if isinstance(event, HostRetried)] == ["timeout", "timeout"]


@pytest.mark.parametrize("reason", sorted(set(Reason)))
def test_attempts_are_bounded_and_some_reasons_are_final(reason: Reason) -> None:
    engine = Scripted(lambda *_: Failed(reason, "why"))
    results = sweep(engine, hosts(1))
    assert engine.asked["h0"] == (FAST.attempts if reason in RETRYABLE else 1)
    assert reasons(results["h0"]) == {reason}


def test_a_refused_login_is_never_repeated() -> None:
    assert not RETRYABLE & {Reason.AUTH, Reason.DENYLISTED, *KEY_REFUSALS}


@given(st.integers(1, 200), st.floats(0.01, 10), st.floats(10, 60), st.integers())
def test_backoff_grows_is_capped_and_varies(attempt: int, base: float, cap: float, seed: int) -> None:
    limits = Limits(backoff_seconds=base, backoff_cap_seconds=cap)
    whole = min(cap, base * 2.0 ** min(attempt - 1, 60))
    drawn = backoff(attempt, limits, random.Random(seed))  # noqa: S311 - jitter
    assert whole / 2 <= drawn <= whole


def test_the_deadline_of_a_host_is_its_own_setting_or_the_sweeps() -> None:
    engine = Scripted()
    clock = partial(float, 1000)
    sweep(engine, hosts(1, timeout=90.0), clock=clock)
    sweep(engine, hosts(1), clock=clock)
    assert engine.deadlines == [1090.0, 1000.0 + FAST.host_seconds]


def test_an_engine_that_ignores_its_deadline_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OVERDUE", 0.1)
    let_go = threading.Event()

    def answer(*_: object) -> Answer:
        let_go.wait(LONG)
        return EMPTY

    results = sweep(Scripted(answer), hosts(2, timeout=0.1))
    assert all(reasons(result) == {Reason.DEADLINE} for result in results.values())
    let_go.set()


def test_threads_are_as_many_as_hosts_at_once_and_end_with_the_sweep() -> None:
    seen: set[int] = set()

    def answer(_host: Host, _statement: Statement, _attempt: int) -> Answer:
        seen.add(threading.get_ident())
        return EMPTY

    assert len(sweep(Scripted(answer, seconds=0.005, crowd={"all": FAST.concurrency}), hosts(40))) == 40
    assert len(seen) == FAST.concurrency
    assert eventually(lambda: not any(thread.ident in seen for thread in threading.enumerate()))


def test_a_thread_that_is_stuck_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OVERDUE", 0.1)
    let_go = threading.Event()

    def answer(host: Host, _statement: Statement, _attempt: int) -> Answer:
        if host.id in ("h0", "h1", "h2"):
            let_go.wait(LONG)
        return EMPTY

    engine = Scripted(answer)
    fleet = (*hosts(3, timeout=0.5), *list(hosts(30))[3:])
    results = sweep(engine, iter(fleet), limits=replace(FAST, concurrency=3))
    let_go.set()
    assert {host for host, result in results.items() if reasons(result) == {Reason.DEADLINE}} == {"h0", "h1", "h2"}
    assert len(results) == 30


def test_one_dispatcher_may_run_twice() -> None:
    engine = Scripted()
    dispatcher = Dispatcher(PLAN, lambda _: engine, limits=FAST)
    assert len(list(dispatcher.run(hosts(6)))) == 6
    assert len(list(dispatcher.run(hosts(6)))) == 6


def test_after_the_overall_deadline_the_rest_is_not_covered_and_says_so() -> None:
    answered: list[str] = []

    def answer(host: Host, *_: object) -> Answer:
        answered.append(host.id)
        return EMPTY

    def clock() -> float:
        """A second passes with every host."""
        return float(len(set(answered)))

    engine = Scripted(answer)
    results = sweep(engine, hosts(50), limits=Limits(concurrency=2, total_seconds=2.5), clock=clock)
    assert len(results) == 50
    assert 3 <= len(engine.asked) <= 4
    assert reasons(results["h49"]) == {Reason.DEADLINE}


def test_stop_leaves_hosts_not_asked_pending_and_gives_up_those_in_flight() -> None:
    stop, let_go, seen = threading.Event(), threading.Event(), Seen()

    def answer(*_: object) -> Answer:
        stop.set()
        let_go.wait(LONG)
        return EMPTY

    engine = Scripted(answer, crowd={"all": FAST.concurrency})
    results = sweep(engine, hosts(100), stop=stop, seen=seen)
    let_go.set()
    assert set(results) == set(engine.asked)
    assert len(results) == FAST.concurrency
    assert all(reasons(result) == {Reason.CANCELLED} for result in results.values())
    assert engine.stopped
    assert seen.events[-1] == SweepEnded(cancelled=True)


def test_hosts_that_finish_after_stop_keep_their_answers() -> None:
    stop, seen = threading.Event(), Seen()

    def answer(*_: object) -> Answer:
        stop.set()
        assert eventually(lambda: any(isinstance(event, SweepStopping) for event in seen.events))
        return EMPTY

    engine = Scripted(answer, crowd={"all": FAST.concurrency})
    results = sweep(engine, hosts(100), stop=stop, limits=replace(FAST, stop_seconds=LONG), seen=seen)
    assert len(results) == FAST.concurrency
    assert all(reasons(result) == {None} for result in results.values())


def test_a_bug_in_one_hosts_path_is_that_hosts_result(caplog: pytest.LogCaptureFixture) -> None:
    def answer(host: Host, _statement: Statement, _attempt: int) -> Answer:
        if host.id == "h3":
            raise ZeroDivisionError("oh")
        return EMPTY

    with caplog.at_level(logging.DEBUG, logger="fleetscan.dispatcher"):
        results = sweep(Scripted(answer), hosts(6))
    assert len(results) == 6
    assert results["h3"].scopes[0].status == Unreachable(Reason.INTERNAL, "ZeroDivisionError: oh")
    assert "Traceback" in caplog.text


def test_hosts_are_taken_from_their_source_only_as_slots_become_free() -> None:
    taken: list[str] = []

    def source() -> Iterator[Host]:
        for host in hosts(10_000):
            taken.append(host.id)
            yield host

    results = Dispatcher(PLAN, lambda _: Scripted(), limits=FAST).run(source())
    next(results)
    time.sleep(0.1)
    assert len(taken) <= 3 * FAST.concurrency
    results.close()  # type: ignore[attr-defined]  # it is a generator


def test_observers_hear_of_every_host() -> None:
    seen = Seen()
    sweep(Scripted(), hosts(3), seen=seen)
    assert seen.events[0] == SweepStarted(None)
    assert sorted(event.host for event in seen.events if isinstance(event, HostStarted)) == ["h0", "h1", "h2"]
    finished = [event for event in seen.events if isinstance(event, HostFinished)]
    assert all(event.complete + event.partial + event.unreachable == len(SCOPES) for event in finished)
    assert seen.events[-1] == SweepEnded(cancelled=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_ask_to_stop_and_a_second_interrupt_insists(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop.wait(LONG)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(number) is before


def test_a_signal_that_outlasts_the_moment_of_waiting_is_seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tick = 0.2
    monkeypatch.setattr(module, "_TICK", tick)
    stop, let_go = threading.Event(), threading.Event()
    waiting = threading.get_ident()

    def handle(*_: object) -> None:
        time.sleep(2 * tick)
        stop.set()

    def answer(*_: object) -> Answer:
        if not stop.is_set():
            time.sleep(tick / 4)
            signal.pthread_kill(waiting, signal.SIGUSR1)
        let_go.wait(LONG)
        return EMPTY

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        results = sweep(Scripted(answer), hosts(1), stop=stop)
    finally:
        let_go.set()
        signal.signal(signal.SIGUSR1, before)
    assert reasons(results["h0"]) == {Reason.CANCELLED}
