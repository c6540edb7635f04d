"""A bell that several ring, and a request to stop that rings it."""

from __future__ import annotations

import threading

from paramiko.buffered_pipe import BufferedPipe

from fleetscan.transport.stop import Bell, Stop

LONG = 60.0


class Waiter(threading.Thread):
    """Waits for a bell and says when it has rung."""

    def __init__(self, bell: Bell) -> None:
        super().__init__(daemon=True)
        self._bell = bell

    def run(self) -> None:
        self._bell.wait(LONG * 10)


def wakes(bell: Bell) -> bool:
    waiter = Waiter(bell)
    waiter.start()
    waiter.join(LONG)
    return not waiter.is_alive()


def test_a_buffer_that_runs_empty_does_not_take_back_the_ring_of_the_other() -> None:
    bell = Bell()
    output, errors = BufferedPipe(), BufferedPipe()
    output.set_event(bell)
    errors.set_event(bell)
    output.feed(b"row")  # type: ignore[arg-type]  # the stubs say text
    errors.feed(b"error")  # type: ignore[arg-type]  # the stubs say text
    output.read(100, 0.0)
    assert wakes(bell)


def test_a_ring_wakes_once() -> None:
    bell = Bell()
    bell.set()
    bell.set()
    bell.wait(LONG)
    waiter = Waiter(bell)
    waiter.start()
    waiter.join(0.1)
    assert waiter.is_alive()
    bell.set()
    waiter.join(LONG)
    assert not waiter.is_alive()


def test_a_request_to_stop_rings_for_who_waits_and_for_who_comes_later() -> None:
    stop, early, late = Stop(), Bell(), Bell()
    with stop.rings(early):
        stop.ask()
        assert wakes(early)
    assert stop.asked
    with stop.rings(late):
        assert wakes(late)


def test_who_has_left_is_not_woken() -> None:
    stop, bell = Stop(), Bell()
    with stop.rings(bell):
        pass
    stop.ask()
    waiter = Waiter(bell)
    waiter.start()
    waiter.join(0.1)
    assert waiter.is_alive()
    bell.set()
