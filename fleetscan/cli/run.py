"""``fleetscan run JOB``: one scheduled job now, for cron, systemd and their kind."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.cli.output import terminal_width
from fleetscan.dispatcher import stop_on_signals
from fleetscan.engines.named import engine_named
from fleetscan.jobs import World, run_job
from fleetscan.notify import summary
from fleetscan.progress import show_progress
from fleetscan.progress import tell as tell_line
from fleetscan.report.table import render
from fleetscan.schedule import load_jobs

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from fleetscan.errors import ExitCode
    from fleetscan.jobs import Outcome

HELP = "run one scheduled job now"
SETTINGS = Path("fleetscan.yml")


def configure(parser: ArgumentParser) -> None:
    """Which job of which settings file."""
    parser.add_argument("job", metavar="JOB", help="name below jobs: in the settings file")
    add_settings_option(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no table")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for every host")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="progress as text or JSON lines")


def add_settings_option(parser: ArgumentParser) -> None:
    """``-c FILE``."""
    parser.add_argument(
        "-c", "--config", type=Path, default=SETTINGS, metavar="FILE", help=f"settings file (default: {SETTINGS})"
    )


def world() -> World:
    """The real engines, clock and environment."""
    return World(
        engine_named=engine_named,
        now=lambda: datetime.now(UTC),
        sleep=time.sleep,
        environment=os.environ,
        stdout=sys.stdout,
        width=terminal_width(),
    )


def run(args: Namespace) -> ExitCode:
    """Run the job; the exit code is that of its sweep."""
    jobs = load_jobs(args.config)
    job = jobs.job(args.job)
    with (
        stop_on_signals() as stop,
        show_progress(
            sys.stderr, quiet=args.quiet, verbose=args.verbose, log_format=args.log_format, job=job.name
        ) as observer,
    ):
        outcome = run_job(jobs, job, world(), observer=observer, stop=stop)
    if outcome.document is not None and not args.quiet:
        print(render(outcome.document, width=terminal_width()), end="")
    tell(outcome, log_format=args.log_format, job=job.name if args.log_format == "json" else "")
    return outcome.exit_code


def tell(outcome: Outcome, *, log_format: str, job: str = "") -> None:
    """Say on standard error what is not in the table: a stop, reports that failed, receivers."""
    stopped = f"stopped: sweep {outcome.sweep.id} is not complete (try: {outcome.again})"
    lines = () if outcome.document else (stopped,)
    for line in (*lines, *outcome.problems, *map(summary, outcome.deliveries)):
        tell_line(sys.stderr, line, log_format=log_format, job=job)
