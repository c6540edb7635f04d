"""The watchdog of connections: what outlives its time is closed, what ends in time is left alone."""

from __future__ import annotations

import threading
import time

from fleetscan.transport.watchdog import Watchdog

PATIENCE = 60.0


def test_what_outlives_its_time_is_closed() -> None:
    closed = threading.Event()
    with Watchdog().watch(time.monotonic() + 0.01, closed.set):
        assert closed.wait(PATIENCE)


def test_what_ends_in_time_is_not_closed() -> None:
    dog, early, late = Watchdog(), threading.Event(), threading.Event()
    with dog.watch(time.monotonic() + 0.2, early.set):
        pass
    with dog.watch(time.monotonic() + 0.4, late.set):
        assert late.wait(PATIENCE)
    assert not early.is_set()


def test_a_nearer_end_is_kept_while_it_waits_for_a_later_one() -> None:
    dog, near, far = Watchdog(), threading.Event(), threading.Event()
    with dog.watch(time.monotonic() + 3600, far.set), dog.watch(time.monotonic() + 0.01, near.set):
        assert near.wait(PATIENCE)
        assert not far.is_set()


def test_one_that_hangs_while_it_is_closed_keeps_no_other_open() -> None:
    dog, release, closed = Watchdog(), threading.Event(), threading.Event()
    try:
        with dog.watch(time.monotonic(), release.wait), dog.watch(time.monotonic() + 0.01, closed.set):
            assert closed.wait(PATIENCE)
    finally:
        release.set()


def test_one_thread_watches_them_all() -> None:
    dog = Watchdog()
    before = set(threading.enumerate())
    with dog.watch(time.monotonic() + 3600, print), dog.watch(time.monotonic() + 3600, print):
        assert len(set(threading.enumerate()) - before) == 1
