"""Dispatch to the verb, and the one place where errors become one line and an exit code."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from fleetscan import __version__
from fleetscan.errors import ExitCode, FleetscanError

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = {
    "approve": "approve a finding: owner, reason, expiry",
    "baseline": "name a sweep as baseline; list, show, delete",
    "diff": "what changed between a baseline and a sweep",
    "evaluate": "run today's rules on a stored sweep, without asking a host",
    "hosts": "the inventory as resolved; check connections; trust host keys",
    "osqueryi": "an osqueryi-compatible shell over offline hives",
    "plan": "what would be asked: scopes, SQL, cost; lint existing packs",
    "query": "run osquery SQL over offline hives or on a host",
    "report": "write reports of a stored sweep",
    "rules": "list, check and explain rules",
    "run": "run one scheduled job now",
    "store": "verify, prune and migrate the store",
    "sweep": "ask every host, store, judge, compare, print",
    "triage": "ask one host all about one finding",
    "watch": "run scheduled jobs until stopped",
}
"""Every word a user can type after ``fleetscan``, with its line in ``--help``. Keys are module names in this folder."""


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the module of ``verb`` is imported, so that the others cost nothing at start."""
    parser = argparse.ArgumentParser(
        prog="fleetscan",
        description="Is this persistence on any of our Windows machines, is it new, and can we prove that we looked?",
        epilog="Exit codes: 0 clean and complete, 1 findings, 2 usage or configuration, 3 incomplete and no finding.",
    )
    parser.add_argument("--version", action="version", version=f"fleetscan {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    for name, help_line in VERBS.items():
        subparser = subparsers.add_parser(name, help=help_line, description=help_line[0].upper() + help_line[1:] + ".")
        if name == verb:
            module = import_module(f"fleetscan.cli.{name}")
            module.configure(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code of the contract in ``errors.ExitCode``."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = next((word for word in arguments if word in VERBS), None)
    args = build_parser(verb).parse_args(arguments)
    try:
        return int(args.run(args))
    except FleetscanError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted; what was stored stays readable (try: fleetscan sweep --resume)")
    except BrokenPipeError:
        # The reader went away (``| head``); there is nobody left to tell.
        sys.stderr.close()
        return int(ExitCode.USAGE)


def _fail(text: str) -> NoReturn:
    print(f"fleetscan: {text}", file=sys.stderr)
    raise SystemExit(int(ExitCode.USAGE))
