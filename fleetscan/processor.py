"""On which processors threads run: those that take turns anyway are faster on one than on many."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROCESSOR = 36  # field of proc_pid_stat(5), counted from the one after the name


@contextmanager
def one_processor() -> Iterator[None]:
    """Keep the calling thread, and all that are started under it, on one processor.

    The interpreter lets one thread run at a time. Before each call into the kernel a thread lets go of the interpreter;
    with a second processor another thread wakes up there and takes it, for microseconds, a hundred times for each host:
    that costs more than what the second processor could do. Does nothing where the system has no such setting, or
    threads of the interpreter do run at once.
    """
    before = _processors()
    if len(before) > 1 and getattr(sys, "_is_gil_enabled", lambda: True)():
        _move(before & {_here()})
    try:
        yield
    finally:
        _move(before)


@contextmanager
def all_processors() -> Iterator[None]:
    """For what is started as a process of its own inside of ``one_processor``: it need not take turns with us."""
    before = _processors()
    _move(_AT_START)
    try:
        yield
    finally:
        _move(before)


def _processors() -> frozenset[int]:
    """Where the calling thread may run; empty if the system does not say."""
    if sys.platform == "linux":
        with suppress(OSError):
            return frozenset(os.sched_getaffinity(0))
    return frozenset()


_AT_START = _processors()


def _here() -> int:
    """Where the calling thread runs now: the system gave it a place with the least to do; -1 if it does not say."""
    try:
        fields = Path("/proc/thread-self/stat").read_text("ascii").rpartition(")")[2].split()
        return int(fields[_PROCESSOR])
    except (OSError, ValueError, IndexError):
        return -1


def _move(processors: frozenset[int]) -> None:
    if sys.platform != "linux" or not processors:
        return
    # Processors can go away, and containers forbid the call; then it is only slower.
    with suppress(OSError):
        os.sched_setaffinity(0, processors)
