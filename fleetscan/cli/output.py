"""What commands that judge a sweep have in common: options for baseline, approvals and reports, and the printing."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.baseline.approvals import load_approvals
from fleetscan.errors import SettingsError
from fleetscan.judging import ROLLING, judge, previous
from fleetscan.report.csv import write_findings
from fleetscan.report.formats import Format, Options, parse_formats, write

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence
    from datetime import datetime

    from fleetscan.errors import ExitCode
    from fleetscan.model.rule import Rule
    from fleetscan.store.interface import PlanRecord, Store, SweepId

DEFAULT_WIDTH = 120


def add_output_options(parser: ArgumentParser) -> None:
    """Options about judging and reporting."""
    judged = parser.add_argument_group("how to judge")
    judged.add_argument(
        "--baseline",
        metavar="NAME",
        help="compare with this baseline (fleetscan baseline list); auto: each host as an earlier sweep last saw it",
    )
    judged.add_argument(
        "--approvals",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="approvals file or folder (repeatable)",
    )
    written = parser.add_argument_group("what to write")
    written.add_argument("--all", action="store_true", help="list known-good and approved rows on the console too")
    written.add_argument(
        "--csv", type=Path, metavar="FILE", help="write all findings, known-good rows included, as CSV"
    )
    written.add_argument(
        "--format", action="append", default=[], metavar="FORMAT", help=f"also write: {', '.join(Format)} (repeatable)"
    )
    written.add_argument("--output", type=Path, metavar="PATH", help="file of one format, folder of several")
    written.add_argument("--bom", action="store_true", help="CSV with a byte order mark, for spreadsheets")


def check_outputs(args: Namespace, store: Store) -> tuple[Format, ...]:
    """The formats asked for. Raises for what would fail when all hosts have been asked: too late to be of use."""
    formats = parse_formats(args.format)
    if len(formats) > 1 and args.output is None:
        raise SettingsError("several formats need a folder", hint="--output FOLDER")
    if args.output is not None and not formats:
        raise SettingsError("--output says where, but no --format what", hint=f"--format html --output {args.output}")
    if args.csv is not None and args.csv.is_dir():
        raise SettingsError("--csv takes a file, and this is a folder", where=str(args.csv), hint="--format csv")
    if args.baseline and args.baseline != ROLLING:
        store.baseline(args.baseline)
    load_approvals(args.approvals)
    return formats


def write_outputs(
    args: Namespace,
    store: Store,
    sweep_id: SweepId,
    rules: Sequence[Rule],
    *,
    now: datetime,
    inventory: str = "",
    plan: PlanRecord | None = None,
) -> ExitCode:
    """Judge, print the table, write the files asked for; the exit code says what was found.

    ``plan`` is the plan of ``rules``, where it is not the one the sweep was asked with.
    """
    formats = check_outputs(args, store)
    sweep = store.sweep(sweep_id)
    if args.baseline == ROLLING:
        baseline = previous(store, sweep)
    else:
        baseline = store.baseline(args.baseline) if args.baseline else None
    judged = judge(
        store,
        sweep,
        rules,
        now=now,
        baseline=baseline,
        approvals=args.approvals,
        inventory=inventory,
        plan=plan,
    )
    document = replace(judged.document, sweep=replace(judged.document.sweep, store=args.store))
    options = Options(bom=args.bom, width=terminal_width(), colour=wants_colour(), everything=args.all)
    if formats and args.output is None:
        # The report goes to standard output alone, so that a program can read it.
        write(document, formats, None, sys.stdout, options)
    else:
        write(document, (Format.TABLE,), None, sys.stdout, options)
        if formats:
            write(document, formats, args.output, sys.stdout, options)
    if args.csv is not None:
        write_findings(document, args.csv, bom=args.bom)
    return judged.assessment.exit_code


def terminal_width() -> int:
    """Columns of the terminal; a fixed number where there is none."""
    return shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns


def wants_colour() -> bool:
    """Is standard output a terminal, and does the user not forbid colours? (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
