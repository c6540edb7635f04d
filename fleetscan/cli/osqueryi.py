"""``fleetscan osqueryi``: an osqueryi-compatible shell over offline hives; everything behind the word is osquery's."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetscan.errors import ExitCode

HELP = "an osqueryi-compatible shell over offline hives"


def configure(parser: argparse.ArgumentParser) -> None:
    """Take every argument as it is: the shell has osquery's flags, not ours."""
    parser.prefix_chars = "\0"
    parser.set_defaults(show_help=parser.print_help)
    parser.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="ARGUMENT",
        help="--hives DIR, --json, SQL... as osqueryi takes them",
    )


def run(args: argparse.Namespace) -> ExitCode | int:
    """The exit code is osqueryi's: 0, or 1 if a statement failed, or that of ``.exit``."""
    if args.arguments[:1] in (["--help"], ["-h"]):
        args.show_help()
        raise SystemExit(0)
    from fleetscan.osqueryi import main  # noqa: PLC0415 - the shell's imports are its own

    return main(args.arguments)
