"""Closes what is still open when its time has come: one thread for the connections of a whole sweep."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LINGER = 5.0  # seconds that the thread waits for more before it ends


class Watchdog:
    """A timer for many: with a thread for each connection, there would be hundreds that only wait."""

    def __init__(self) -> None:
        """No thread runs until something is watched."""
        self._watched: dict[int, tuple[float, Callable[[], object]]] = {}
        self._tickets = count()
        self._changed = threading.Condition()
        self._runs = False
        self._wakes = 0.0

    @contextmanager
    def watch(self, when: float, close: Callable[[], object]) -> Iterator[None]:
        """Call ``close`` if the block has not ended ``when`` it should have (``time.monotonic()``)."""
        with self._changed:
            ticket = next(self._tickets)
            self._watched[ticket] = (when, close)
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="watchdog", daemon=True).start()
            elif when < self._wakes:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._watched.pop(ticket, None)

    def _run(self) -> None:
        with self._changed:
            idle = False
            while self._watched or not idle:
                now = time.monotonic()
                for ticket, (when, close) in list(self._watched.items()):
                    if when <= now:
                        del self._watched[ticket]
                        # In a thread of its own: one that hangs must not keep the others open.
                        threading.Thread(target=close, name="watchdog close", daemon=True).start()
                idle = not self._watched
                self._wakes = min((when for when, _ in self._watched.values()), default=now + _LINGER)
                self._changed.wait(max(0.0, self._wakes - now))
            self._runs = False
