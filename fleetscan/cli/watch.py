"""``fleetscan watch``: run the jobs of a settings file when they are due, until told to stop."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

from fleetscan.cli.failure import debugging, in_words
from fleetscan.cli.run import add_settings_option, tell, world
from fleetscan.errors import ExitCode, FleetscanError, SettingsError
from fleetscan.jobs import check_job, intervals_of, run_job
from fleetscan.progress import show_progress
from fleetscan.progress import tell as tell_line
from fleetscan.schedule import Watch, load_jobs

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from fleetscan.schedule import Job, Jobs

HELP = "run scheduled jobs until stopped"
_LOOK = 0.2  # seconds until a signal is acted on


def configure(parser: ArgumentParser) -> None:
    """Which settings file."""
    add_settings_option(parser)
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="progress as text or JSON lines")


class _Say(Protocol):
    """Prints a line, about a job if one is named."""

    def __call__(self, text: str, *, job: str = "") -> None: ...


class _Wishes:
    """What signals asked for: SIGHUP reads the settings again, SIGTERM and Ctrl-C end the watch."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.reload = threading.Event()

    def handle(self, number: int, _frame: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            self.stop.set()
        else:
            self.reload.set()


class _Warnings(logging.Handler):
    """What libraries warn of, in the form of all other lines."""

    def __init__(self, say: _Say) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())


@contextmanager
def _signals() -> Iterator[_Wishes]:
    wishes = _Wishes()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP"):  # not on Windows
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, wishes.handle) for number in numbers}
    try:
        yield wishes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(args: Namespace) -> ExitCode:
    """Watch until a signal ends it; jobs in flight answer first."""
    say = partial(tell_line, sys.stderr, log_format=args.log_format)
    if not debugging():  # then they go to standard error as they are
        logging.basicConfig(handlers=[_Warnings(say)], level=logging.WARNING)
    jobs = load_jobs(args.config)
    with _signals() as wishes:

        def run_one(jobs: Jobs, job: Job) -> None:
            say("started", job=job.name)
            quiet = args.log_format != "json"  # lines for people are about jobs only
            with show_progress(sys.stderr, quiet=quiet, log_format=args.log_format, job=job.name) as observer:
                outcome = run_job(jobs, job, world(), observer=observer, stop=wishes.stop)
            say(f"sweep {outcome.sweep.id} ended with {outcome.exit_code.name.lower()}", job=job.name)
            tell(outcome, log_format=args.log_format, job=job.name)

        def failed(job: Job, error: Exception) -> None:
            if debugging():
                traceback.print_exception(error)
            say(in_words(error), job=job.name)

        def skipped(name: str) -> None:
            say("still running: a run that is due is left out", job=name)

        watch = Watch(run_one, intervals_of, failed, skipped)
        names = watch.load(jobs)
        if not names:
            raise SettingsError("no job has a schedule", where=str(args.config), hint='every: 6h or cron: "30 3 * * *"')
        _check(jobs, names, say)
        watch.start()
        try:
            _announce(watch, say)
            while not wishes.stop.wait(_LOOK):
                if wishes.reload.is_set():
                    wishes.reload.clear()
                    _reload(watch, args.config, say)
        finally:
            watch.stop()
    say("stopped")
    return ExitCode.CLEAN


def _reload(watch: Watch, config: Path, say: _Say) -> None:
    """Take the changed file; a wrong one changes nothing."""
    try:
        jobs = load_jobs(config)
        _check(jobs, watch.load(jobs), say)
    except FleetscanError as error:
        say(f"not reloaded: {error}")
        return
    _announce(watch, say)


def _check(jobs: Jobs, names: tuple[str, ...], say: _Say) -> None:
    """Say now, while somebody looks, what would keep a job from running; it may be mended until the job is due."""
    for name in names:
        try:
            check_job(jobs, jobs.job(name), os.environ)
        except FleetscanError as error:
            say(f"would not run: {error}", job=name)


def _announce(watch: Watch, say: _Say) -> None:
    for name, due in watch.upcoming():
        say(f"next run {due:%Y-%m-%d %H:%M:%S %Z}", job=name)
