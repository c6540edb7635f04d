"""What is shown while a sweep runs: a bar on a terminal, plain lines elsewhere, JSON for machines."""

from __future__ import annotations

import io
import json
from itertools import count

import pytest

from fleetscan.progress import (
    Event,
    HostFinished,
    HostRetried,
    HostStarted,
    JsonLines,
    Lines,
    SweepEnded,
    SweepStarted,
    Tally,
    show_progress,
    tell,
)

OK = HostFinished(host="a", seconds=1.5, complete=3, partial=0, unreachable=0)
FAILED = HostFinished(host="b", seconds=2.0, complete=0, partial=0, unreachable=3, reason="auth", detail="no\x1b[2J")
HALF = HostFinished(host="c", seconds=2.0, complete=2, partial=1, unreachable=0, reason="damaged")
EVENTS: list[Event] = [
    SweepStarted(3),
    HostStarted("a"),
    HostStarted("b"),
    OK,
    HostRetried("b", 1, "timeout", 1.0),
    HostStarted("b", 2),
    FAILED,
    HostStarted("c"),
    HALF,
    SweepEnded(),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, *, quiet: bool = False, verbose: bool = False, log_format: str = "text") -> str:
    with show_progress(stream, quiet=quiet, verbose=verbose, log_format=log_format) as observer:
        for event in EVENTS:
            observer.notify(event)
    return stream.getvalue()


def test_the_tally_counts_hosts_not_attempts() -> None:
    tally = Tally()
    for event in EVENTS[:-1]:
        tally.notify(event)
    assert (tally.total, tally.done, tally.failed, tally.running) == (3, 3, 1, 0)
    assert tally.line(1.5) == "3/3 hosts, 1 failed, 0 running, 2.0/s, 0:00 left"


def test_plain_lines_name_what_failed_and_end_with_the_counts() -> None:
    lines = shown(io.StringIO()).splitlines()
    assert lines[0] == "b: not reached (auth: no<U+001B>[2J)"
    assert lines[1] == "c: 1 of 3 scopes not covered (damaged)"
    assert lines[2].startswith("3/3 hosts, 1 failed")
    assert len(lines) == 3


def test_verbose_names_every_host_and_attempt() -> None:
    text = shown(io.StringIO(), verbose=True)
    assert "a: complete, 3 scopes in 1.5 s" in text
    assert "b: timeout, asked again in 1.0 s" in text


def test_counts_come_from_time_to_time() -> None:
    ticks = count(0, 6)
    stream = io.StringIO()
    lines = Lines(stream, every=10.0, clock=lambda: float(next(ticks)))
    for event in EVENTS:
        lines.notify(event)
    assert stream.getvalue().count(" running, ") > 2


def test_quiet_is_quiet_in_any_form() -> None:
    assert shown(io.StringIO(), quiet=True, log_format="json") == ""
    assert shown(io.StringIO(), quiet=True) == ""


def test_json_lines_are_one_object_per_event_in_ascii() -> None:
    text = shown(io.StringIO(), log_format="json")
    records = [json.loads(line) for line in text.splitlines()]
    assert text.isascii()
    assert "\x1b" not in text
    assert [record["event"] for record in records] == [type(event).__name__ for event in EVENTS]
    assert records[6]["reason"] == "auth"


def test_json_has_the_time_of_each_event() -> None:
    stream = io.StringIO()
    JsonLines(stream, now=lambda: 12.3456).notify(SweepStarted(1))
    assert json.loads(stream.getvalue())["time"] == 12.346


def test_a_terminal_gets_a_bar_and_keeps_its_cursor() -> None:
    text = shown(Terminal())
    assert "3/3" in text
    assert "1 failed" in text
    assert "no<U+001B>[2J" in text


def test_the_terminal_is_given_back_when_the_sweep_breaks_off() -> None:
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt):
        _break_off(stream)
    assert stream.getvalue().endswith("\n") or "\x1b[?25h" in stream.getvalue()


def _break_off(stream: io.StringIO) -> None:
    with show_progress(stream) as observer:
        observer.notify(SweepStarted(5))
        raise KeyboardInterrupt


class Gone(io.StringIO):
    """A stream whose reader went away, or whose disk is full, after so many lines."""

    def __init__(self, lines: int, *, terminal: bool = False) -> None:
        super().__init__()
        self._left = lines
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        if self._left <= 0:
            raise BrokenPipeError(32, "Broken pipe")
        self._left -= "\n" in text
        return super().write(text)


@pytest.mark.parametrize("lines", [0, 1])
@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_a_display_nobody_can_see_is_given_up_in_silence(lines: int, log_format: str, terminal: bool) -> None:  # noqa: FBT001 - a parameter of the test
    stream = Gone(lines, terminal=terminal)
    shown(stream, verbose=True, log_format=log_format)
    assert stream.getvalue().count("\n") <= lines
    tell(stream, "a remark", log_format=log_format)


def test_lines_about_a_job_name_it() -> None:
    stream = io.StringIO()
    tell(stream, "started", job="night\nly")
    tell(stream, "started", job="nightly", log_format="json")
    with show_progress(stream, log_format="json", job="nightly") as observer:
        observer.notify(SweepStarted(3))
    text, *lines = stream.getvalue().splitlines()
    assert text == "fleetscan: job night<U+000A>ly: started"
    assert [(line["event"], line["job"]) for line in map(json.loads, lines)] == [
        ("Message", "nightly"),
        ("SweepStarted", "nightly"),
    ]


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_names_are_shown_as_they_are_and_move_no_cursor(terminal: bool) -> None:  # noqa: FBT001 - a parameter of the test
    stream = Terminal() if terminal else io.StringIO()
    with show_progress(stream, verbose=True) as observer:
        observer.notify(SweepStarted(3))
        observer.notify(HostRetried("a\x1b[2J", 1, "timeout", 1.0))
        observer.notify(HostFinished("b\x1b[2J\n", 1.0, 5, 0, 0))
        observer.notify(HostFinished("c\x1b[2J", 1.0, 0, 0, 5, "unreadable", "D:x: or [red]this[/red]"))
        observer.notify(SweepEnded())
    text = stream.getvalue()
    assert "\x1b[2J" not in text
    assert "a<U+001B>[2J: timeout" in text
    assert "b<U+001B>[2J<U+000A>: complete" in text
    assert "c<U+001B>[2J: not reached (unreadable: D:x: or [red]this[/red])" in text
