"""Waiting that no slow machine breaks: for what is to happen, and with more time where the first was too little."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

LONG = 60.0
"""Seconds after which something hangs: nothing that works takes as long, not on a machine that stands still either."""

T = TypeVar("T")


@contextmanager
def ended_at_last(process: subprocess.Popen[str]) -> Iterator[None]:
    """Who reads what a process says would wait for ever if that hung: after minutes it is killed, and says no more."""
    timer = threading.Timer(5 * LONG, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def eventually(condition: Callable[[], object], *, seconds: float = LONG) -> bool:
    """Does the condition come true?"""
    end = time.monotonic() + seconds
    while not (true := bool(condition())) and time.monotonic() < end:
        time.sleep(0.02)
    return true


def given_time(attempt: Callable[[float], T], enough: Callable[[T], object], *, seconds: float) -> T:
    """The result of an attempt that has so many seconds, and more where they were not enough to get to the point."""
    for factor in (1, 4, 16):
        result = attempt(seconds * factor)
        if enough(result):
            break
    return result
