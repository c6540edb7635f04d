"""A request to stop that wakes those who wait for something else."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Bell(threading.Event):
    """What one thread waits for and several may set, as the event of a channel's buffers too."""

    def clear(self) -> None:
        """What a buffer says when it runs empty. The other may not be: only who waited may take a ring back."""

    def wait(self, timeout: float | None = None) -> bool:
        """Until it is set, at most ``timeout`` seconds. Look at everything then: several rings may have become one."""
        rung = super().wait(timeout)
        super().clear()
        return rung


class Stop:
    """Asked for once, seen at once by everybody who waits for a bell meanwhile."""

    def __init__(self) -> None:
        """Nobody has asked."""
        self.asked = False
        self._bells: set[Bell] = set()
        self._lock = threading.Lock()

    def ask(self) -> None:
        """Stop what runs."""
        with self._lock:
            self.asked = True
            for bell in self._bells:
                bell.set()

    @contextmanager
    def rings(self, bell: Bell) -> Iterator[None]:
        """Within it a request rings the bell, also one that came before."""
        with self._lock:
            self._bells.add(bell)
            if self.asked:
                bell.set()
        try:
            yield
        finally:
            with self._lock:
                self._bells.discard(bell)
