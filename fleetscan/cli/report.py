"""``fleetscan report``: the reports of a stored sweep, in any formats, without asking a host."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fleetscan.cli.options import add_rules_option, add_store_option
from fleetscan.cli.output import add_output_options, write_outputs
from fleetscan.cli.remembered import add_afresh_option, with_remembered
from fleetscan.errors import RuleError
from fleetscan.report.escape import visible
from fleetscan.rules.load import load_rules
from fleetscan.settings import content
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

    from fleetscan.errors import ExitCode

HELP = "write reports of a stored sweep"


def configure(parser: ArgumentParser) -> None:
    """Which sweep, judged with which rules; what to write."""
    parser.add_argument(
        "sweep", nargs="?", default="latest", metavar="SWEEP", help="id or its beginning (default: the latest)"
    )
    add_store_option(parser)
    add_rules_option(parser, "rule file or folder that the sweep was made with")
    add_output_options(parser)
    add_afresh_option(parser)


def run(args: Namespace, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> ExitCode:
    """Judge the stored answers and write; the exit code is that of the sweep."""
    paths = tuple(args.rules) or (content("rules"),)
    loaded = load_rules(paths)
    if not loaded.rules:
        raise RuleError("no rule could be loaded", where=str(paths[0]), hint="fleetscan rules check PATH")
    with open_store(args.store, create=False) as store:
        sweep = store.sweep(args.sweep)
        args, told = with_remembered(args, store, sweep)
        code = write_outputs(args, store, sweep.id, loaded.rules, now=now())
    if told:
        print(f"fleetscan: {visible(told)}", file=sys.stderr)
    return code
