"""Waiting that no slow machine breaks: for what is to happen, and with more time where the first was too little."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 60.0
"""Seconds after which something hangs: nothing that works takes as long, not on a machine that stands still either."""

T = TypeVar("T")


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
