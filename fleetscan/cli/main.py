"""Dispatch to the verb, and the one place where errors become one line and an exit code.

``FLEETSCAN_DEBUG=1`` in the environment prints the traceback of any error before its line.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from fleetscan import __version__
from fleetscan.errors import ExitCode, FleetscanError, SettingsError
from fleetscan.progress import tell

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
    "store": "verify and prune the store, list what it holds",
    "sweep": "ask every host, store, judge, compare, print",
    "triage": "ask one host all about one finding",
    "watch": "run scheduled jobs until stopped",
}
"""Every word a user can type after ``fleetscan``, with its line in ``--help``. Keys are module names in this folder."""


DEBUG = "FLEETSCAN_DEBUG"
_KEEPS = frozenset({"sweep", "run"})  # verbs that can be gone on with


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
    try:
        _make_output_safe()
        args = build_parser(verb).parse_args(arguments)
        code = int(args.run(args))
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one boundary: whatever happens ends in a line
        if os.environ.get(DEBUG):
            traceback.print_exc()
        _leave_output()
        if isinstance(error, BrokenPipeError):
            # The reader went away (``| head``); there is nobody left to tell.
            return int(ExitCode.USAGE)
        with suppress(OSError):
            tell(sys.stderr, _line(error, verb), log_format=_log_format(arguments), kind="Error")
        interrupted = isinstance(error, KeyboardInterrupt) and verb in _KEEPS
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


def _line(error: BaseException, verb: str | None) -> str:
    """An error in one line: where, what, what to try."""
    match error:
        case FleetscanError():
            return str(error)
        case KeyboardInterrupt():
            return f"interrupted; what was stored is kept{' (try: the same with --resume)' * (verb in _KEEPS)}"
        case MemoryError():
            return "out of memory (try: fewer hosts at once with --concurrency, or fewer files)"
        case OSError():
            where = f"{error.filename}: " if error.filename is not None else "output: "
            hint = "free space on the disk" if error.errno == errno.ENOSPC else "check the path and its permissions"
            return f"{where}{error.strerror or error} (try: {hint})"
        case _:
            return (
                f"{_place(error)}: a bug of fleetscan: {type(error).__name__}: {error}"
                f" (try: the same command with {DEBUG}=1, and report what it prints)"
            )


def _place(error: BaseException) -> str:
    """File and line where a bug showed itself."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "fleetscan"


def _leave_output() -> None:
    """Let what is not yet written go: else Python would try again at exit, and complain."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
