"""``fleetscan sweep``: ask every host, store, judge, compare, print."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.cli.options import add_limit_option, add_rules_option, add_store_option
from fleetscan.cli.output import add_output_options, check_outputs, write_outputs
from fleetscan.dispatcher import Limits, stop_on_signals
from fleetscan.engines.named import engine_named
from fleetscan.engines.recorded import Recorder
from fleetscan.errors import ExitCode, SettingsError
from fleetscan.planner.scopes import Options
from fleetscan.progress import show_progress, tell
from fleetscan.store.sql import open_store
from fleetscan.sweep import Request, ask, begin, prepare, resume

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

    from fleetscan.engines.interface import Engine
    from fleetscan.model.rule import Message
    from fleetscan.store.interface import Store, SweepId
    from fleetscan.sweep import Prepared

HELP = "ask every host, store, judge, compare, print"
LATEST = "latest"


def configure(parser: ArgumentParser) -> None:
    """What to sweep, what with, how hard, and what to do with the answer."""
    what = parser.add_argument_group("what to sweep")
    what.add_argument("-i", "--inventory", default="", metavar="FILE", help="inventory file, or hosts: -i user@host,")
    what.add_argument(
        "--hives", default="", metavar="DIR", help="hives or .reg exports of one machine, or a folder of such folders"
    )
    add_limit_option(what)
    add_rules_option(what)
    what.add_argument("--include-expensive", action="store_true", help="also rules that walk a whole hive")
    how = parser.add_argument_group("how to ask")
    how.add_argument("--concurrency", type=int, default=50, metavar="N", help="hosts asked at once (default: 50)")
    how.add_argument("--host-timeout", type=float, default=120.0, metavar="SECONDS", help="for one host (default: 120)")
    how.add_argument(
        "--deadline", type=float, metavar="SECONDS", help="for the whole sweep; what is missing then is not covered"
    )
    how.add_argument("--attempts", type=int, default=3, metavar="N", help="for failures that may pass (default: 3)")
    how.add_argument(
        "--record", type=Path, metavar="DIR", help="keep every raw answer, to replay it with engine recorded"
    )
    how.add_argument(
        "--scheduler",
        default="",
        metavar="ADDRESS",
        help="ask from the workers of this Dask scheduler (tcp://HOST:8786)",
    )
    keep = parser.add_argument_group("where to keep it")
    add_store_option(keep)
    keep.add_argument(
        "--resume",
        nargs="?",
        const=LATEST,
        metavar="SWEEP",
        help="go on with a sweep: ask only hosts that are not complete",
    )
    keep.add_argument("--note", default="", help="a note to keep with the sweep")
    add_output_options(parser)
    show = parser.add_argument_group("progress")
    show.add_argument("-q", "--quiet", action="store_true", help="no progress")
    show.add_argument("-v", "--verbose", action="store_true", help="a line for every host")
    show.add_argument("--log-format", choices=("text", "json"), default="text", help="progress as text or JSON lines")


def run(
    args: Namespace,
    *,
    engines: Callable[[str], Engine] = engine_named,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ExitCode:
    """The whole job; the exit code is the contract of ``errors.ExitCode``."""
    prepared = prepare(_request(args))
    for line in (*map(_problem, prepared.report.problems), *prepared.remarks):
        tell(sys.stderr, line, log_format=args.log_format)
    with open_store(args.store) as store:
        check_outputs(args, store)
        recorder = None
        if args.record is not None:
            engines = recorder = Recorder(args.record, engines, go_on=args.resume is not None)
        sweep = _opened(args, prepared, store, now)
        if not _asked(args, prepared, store, sweep, engines, now):
            return ExitCode.INCOMPLETE
        source = prepared.request.source
        code = write_outputs(args, store, sweep, prepared.report.rules, now=now(), inventory=source)
    if recorder is not None and recorder.problem:
        raise SettingsError(
            f"the sweep is stored, but its recording is not complete: {recorder.problem}",
            where=str(args.record),
            hint="make room, and record again",
        )
    return code


def _opened(args: Namespace, prepared: Prepared, store: Store, now: Callable[[], datetime]) -> SweepId:
    """A new sweep, or the one that is gone on with."""
    if args.resume is None:
        return begin(prepared, store, now=now())
    sweep, remarks = resume(prepared, store, "" if args.resume == LATEST else args.resume)
    for line in remarks:
        tell(sys.stderr, line, log_format=args.log_format)
    return sweep


def _asked(
    args: Namespace,
    prepared: Prepared,
    store: Store,
    sweep: SweepId,
    engines: Callable[[str], Engine],
    now: Callable[[], datetime],
) -> bool:
    """Ask until the sweep is finished; False if it was told to stop."""
    with (
        stop_on_signals() as stop,
        show_progress(sys.stderr, quiet=args.quiet, verbose=args.verbose, log_format=args.log_format) as observer,
    ):
        asked = ask(prepared, store, sweep, engines, observer=observer, stop=stop, now=now)
    if stop.is_set():
        done = asked.hosts - len(store.pending(sweep))
        line = f"stopped: {done} of {asked.hosts} hosts are complete (try: the same with --resume {sweep})"
        tell(sys.stderr, line, log_format=args.log_format)
        return False
    return True


def _problem(message: Message) -> str:
    code = f"{message.code}: " if message.code else ""
    return f"{message.where}: {code}{message.text}"


def _request(args: Namespace) -> Request:
    limits = (args.concurrency, args.attempts, args.host_timeout, 1 if args.deadline is None else args.deadline)
    if not all(limit > 0 for limit in limits):  # as it stands: NaN is not above 0 either
        raise SettingsError("--concurrency, --attempts, --host-timeout and --deadline must be above 0")
    if args.scheduler and args.record is not None:
        raise SettingsError("--record and --scheduler do not go together", hint="record from this process")
    return Request(
        inventory=args.inventory,
        hives=args.hives,
        limit=tuple(args.limit),
        rules=tuple(args.rules),
        options=Options(include_expensive=args.include_expensive),
        limits=Limits(
            concurrency=args.concurrency,
            host_seconds=args.host_timeout,
            total_seconds=args.deadline,
            attempts=args.attempts,
        ),
        scheduler=args.scheduler,
        note=args.note,
    )
