"""Dispatch to the verb, and the one place where errors become one line and an exit code."""

from __future__ import annotations

import argparse
import atexit
import io
import os
import signal
import sys
import traceback
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

from fleetscan import __version__
from fleetscan.cli.failure import DEBUG, KEEPS, debugging, in_words, log_everything
from fleetscan.errors import ExitCode, SettingsError
from fleetscan.progress import let_go, tell

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
    "query": "run osquery SQL over offline hives",
    "report": "write reports of a stored sweep",
    "rules": "list, check and explain rules",
    "run": "run one scheduled job now",
    "store": "verify and prune the store, list what it holds",
    "sweep": "ask every host, store, judge, compare, print",
    "triage": "ask one host all about one finding",
    "watch": "run scheduled jobs until stopped",
}
"""Every word a user can type after ``fleetscan``, with its line in ``--help``. Keys are module names in this folder."""


class Parser(argparse.ArgumentParser):
    """argparse, whose errors look like all others."""

    def error(self, message: str) -> NoReturn:
        """One line: the command, what is wrong, where its options are listed."""
        _, *words = self.prog.split()
        raise SettingsError(message, where=" ".join(words) or None, hint=f"{self.prog} --help")


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the module of ``verb`` is imported, so that the others cost nothing at start."""
    parser = Parser(
        prog="fleetscan",
        description="Is this persistence on any of our Windows machines, is it new, and can we prove that we looked?",
        epilog="Exit codes: 0 clean and complete, 1 findings, 2 usage or configuration, 3 incomplete and no finding. "
        f"With {DEBUG}=1 in the environment, tracebacks and logs are printed too.",
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
    try:
        _make_output_safe()
        atexit.unregister(_deafen)
        atexit.register(_deafen)
        if debugging():
            log_everything()
        args = build_parser(verb).parse_args(arguments)
        code = int(args.run(args))
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one boundary: whatever happens ends in a line
        if debugging():
            traceback.print_exc()
        _leave_output()
        if isinstance(error, BrokenPipeError):
            # The reader went away (``| head``); there is nobody left to tell.
            return int(ExitCode.USAGE)
        tell(sys.stderr, in_words(error, verb), log_format=_log_format(arguments), kind="Error")
        interrupted = isinstance(error, KeyboardInterrupt) and verb in {*KEEPS, "hosts"}
        raise SystemExit(int(ExitCode.INCOMPLETE if interrupted else ExitCode.USAGE)) from None
    return code


def _log_format(arguments: Sequence[str]) -> str:
    """The form of lines that was asked for; also where the arguments cannot be parsed."""
    words = " ".join(arguments).replace("=", " ").split()
    return "json" if ("--log-format", "json") in pairwise(words) else "text"


def _make_output_safe() -> None:
    """A character that the output's encoding lacks becomes an escape; what is closed swallows what is written."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Opened at once, so that no file of ours gets the free number and is taken for the output.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _deafen() -> None:
    """A second Ctrl-C, when all is said and only the interpreter is still busy, does not change the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _leave_output() -> None:
    """Let what is not yet written go: else Python would try again at exit, and complain."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        let_go(sys.stdout)
