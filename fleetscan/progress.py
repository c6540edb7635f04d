"""Progress as an observer: the dispatcher tells what happens, a display shows it; the sweep itself never prints."""

from __future__ import annotations

import io
import json
import os
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol, Self, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.progress import Progress, TaskID


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """The dispatcher begins; ``hosts`` is None when nobody knows how many there are."""

    hosts: int | None


@dataclass(frozen=True, slots=True)
class HostStarted:
    """A host is asked, for the ``attempt``-th time."""

    host: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class HostRetried:
    """A host did not answer for a reason that may pass; it is asked again after ``delay`` seconds."""

    host: str
    attempt: int
    reason: str
    delay: float


@dataclass(frozen=True, slots=True)
class HostFinished:
    """A host is done: its scopes by status, and why some are missing (empty if none is)."""

    host: str
    seconds: float
    complete: int
    partial: int
    unreachable: int
    reason: str = ""
    detail: str = ""

    @property
    def failed(self) -> bool:
        """Did the host answer nothing at all?"""
        return not self.complete and not self.partial and bool(self.reason)


@dataclass(frozen=True, slots=True)
class SweepStopping:
    """The dispatcher was told to stop; ``running`` hosts may finish within ``seconds``."""

    running: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SweepEnded:
    """The dispatcher is done; ``cancelled`` when it was told to stop."""

    cancelled: bool = False


Event = SweepStarted | HostStarted | HostRetried | HostFinished | SweepStopping | SweepEnded


class Observer(Protocol):
    """Is told every event, in order, from one thread; it must not raise."""

    def notify(self, event: Event) -> None:
        """Take notice."""
        ...


def printable(text: str) -> str:
    """``text`` without characters that move a cursor: what hosts say is hostile."""
    return "".join(char if char.isprintable() else f"<U+{ord(char):04X}>" for char in text)


def tell(stream: TextIO, text: str, *, log_format: str = "text", kind: str = "Message", job: str = "") -> None:
    """One line that is no event of a sweep, a remark or an error, in the form of the lines around it.

    ``job`` says which one of several it is about. A stream that takes nothing any longer is no error.
    """
    if log_format == "json":
        line = json.dumps({"time": round(time.time(), 3), "event": kind, **_of(job), "text": text})
    else:
        line = f"fleetscan: {f'job {printable(job)}: ' * bool(job)}{printable(text)}"
    print(line, file=_Forgiving(stream), flush=True)


def _of(job: str) -> dict[str, str]:
    return {"job": job} if job else {}


def let_go(stream: TextIO) -> None:
    """Send what a stream still holds to nowhere: else Python would try again at exit, and complain."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class _Forgiving(io.TextIOBase):
    """A stream that swallows what cannot be written.

    Whoever closed the pipe or the terminal, or filled the disk of the log, does not end the work that is told of.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            let_go(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            let_go(self._stream)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here: rich asks which characters it may draw
        return self._stream.encoding


class Silent:
    """Shows nothing."""

    def notify(self, event: Event) -> None:
        """Take no notice."""


@dataclass(slots=True)
class Tally:
    """The counts that every display shows."""

    total: int | None = None
    running: int = 0
    done: int = 0
    failed: int = 0

    def notify(self, event: Event) -> None:
        """Count."""
        match event:
            case SweepStarted():
                self.total = event.hosts
            case HostStarted():
                self.running += 1
            case HostRetried():
                self.running -= 1
            case HostFinished():
                self.running = max(0, self.running - 1)
                self.done += 1
                self.failed += event.failed
            case SweepEnded():
                self.running = 0
            case SweepStopping():
                pass

    def line(self, seconds: float) -> str:
        """One line for people: done, failed, running, rate and time left."""
        of = "" if self.total is None else f"/{self.total}"
        rate = self.done / seconds if seconds > 0 else 0.0
        left = ""
        if self.total is not None and rate > 0:
            left = f", {_duration((self.total - self.done) / rate)} left"
        return f"{self.done}{of} hosts, {self.failed} failed, {self.running} running, {rate:.1f}/s{left}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _failure(event: HostFinished) -> str:
    missing = event.partial + event.unreachable
    what = "not reached" if event.failed else f"{missing} of {missing + event.complete} scopes not covered"
    detail = f": {printable(event.detail)}" if event.detail else ""
    return f"{printable(event.host)}: {what} ({event.reason}{detail})"


def _again(event: HostRetried) -> str:
    return f"{printable(event.host)}: {event.reason}, asked again in {event.delay:.1f} s"


def _stopping(event: SweepStopping) -> str:
    hosts = "1 host" if event.running == 1 else f"{event.running} hosts"
    return f"stopping: {hosts} may finish within {event.seconds:.0f} s; Ctrl-C again does not wait for them"


class Lines:
    """Plain lines: every host that failed, and the counts from time to time."""

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool = False,
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``verbose`` names every host; ``every`` is the time between two lines of counts, in seconds."""
        self._stream = stream
        self._verbose = verbose
        self._every = every
        self._clock = clock
        self._tally = Tally()
        self._began = self._shown = clock()

    def notify(self, event: Event) -> None:
        """Print what a person wants to know."""
        self._tally.notify(event)
        match event:
            case HostFinished() if event.reason:
                self._print(_failure(event))
            case HostFinished() if self._verbose:
                self._print(f"{printable(event.host)}: complete, {event.complete} scopes in {event.seconds:.1f} s")
            case HostRetried() if self._verbose:
                self._print(_again(event))
            case SweepStopping():
                self._print(_stopping(event))
            case SweepEnded():
                self._counts("stopped: " if event.cancelled else "")
                return
            case _:
                pass
        if self._clock() - self._shown >= self._every:
            self._counts("")

    def _counts(self, prefix: str) -> None:
        now = self._clock()
        self._shown = now
        self._print(prefix + self._tally.line(now - self._began))

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class JsonLines:
    """One JSON object per event, ASCII only."""

    def __init__(self, stream: TextIO, *, job: str = "", now: Callable[[], float] = time.time) -> None:
        """Write to ``stream``; ``job`` is the one whose sweep it is, ``now`` seconds since 1970."""
        self._stream = stream
        self._job = job
        self._now = now

    def notify(self, event: Event) -> None:
        """Write the event."""
        record = {"time": round(self._now(), 3), "event": type(event).__name__, **_of(self._job), **asdict(event)}
        print(json.dumps(record), file=self._stream, flush=True)


class Bar:
    """A bar on a terminal; failures scroll above it."""

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        """Draw on ``stream``, a terminal."""
        self._stream = stream
        self._verbose = verbose
        self._tally = Tally()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def notify(self, event: Event) -> None:
        """Redraw."""
        self._tally.notify(event)
        match event:
            case SweepStarted():
                self._open(event.hosts)
            case HostFinished() if event.reason or self._verbose:
                self._scroll(_failure(event) if event.reason else f"{printable(event.host)}: complete")
            case HostRetried() if self._verbose:
                self._scroll(_again(event))
            case SweepStopping():
                self._scroll(_stopping(event))
            case SweepEnded():
                self.close()
            case _:
                pass
        if self._progress is not None and self._task is not None:
            tally = self._tally
            rate = f"{tally.done / max(1.0, self._progress.tasks[0].elapsed or 0.0):.1f}"
            self._progress.update(
                self._task, completed=tally.done, failed=tally.failed, running=tally.running, rate=rate
            )

    def close(self) -> None:
        """Leave the terminal as it was; harmless when closed already."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _open(self, hosts: int | None) -> None:
        # rich is slow to import: only who looks at a terminal pays.
        from rich.console import Console  # noqa: PLC0415 - see above
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("hosts"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]} failed, {task.fields[running]} running"),
            TextColumn("{task.fields[rate]}/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=self._stream, emoji=False),  # what stands between colons is a part of a path
        )
        self._task = self._progress.add_task("hosts", total=hosts, failed=0, running=0, rate="0.0")
        self._progress.start()

    def _scroll(self, line: str) -> None:
        if self._progress is not None:
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Shown(AbstractContextManager["_Shown"]):
    """An observer that closes its display however the sweep ends."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def notify(self, event: Event) -> None:
        self._observer.notify(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._observer, Bar):
            self._observer.close()


def show_progress(
    stream: TextIO, *, quiet: bool = False, verbose: bool = False, log_format: str = "text", job: str = ""
) -> _Shown:
    """The display that fits: nothing if quiet, JSON lines if asked for, a bar on a terminal, else plain lines.

    Use it as a context manager around the sweep; ``job`` is named in JSON lines.
    """
    out = cast("TextIO", _Forgiving(stream))
    if quiet:
        return _Shown(Silent())
    if log_format == "json":
        return _Shown(JsonLines(out, job=job))
    return _Shown(Bar(out, verbose=verbose) if stream.isatty() else Lines(out, verbose=verbose))
