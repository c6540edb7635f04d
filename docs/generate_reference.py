"""Writes docs/reference/cli.md from the parsers themselves: run it after changing an option (a test says when)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ["COLUMNS"] = "100"  # argparse wraps to the terminal; the page must not depend on it
os.environ["NO_COLOR"] = "1"

from fleetscan.cli.main import VERBS, build_parser

PAGE = Path(__file__).parent / "reference" / "cli.md"
INTRODUCTION = """# Command reference

Generated from `--help` by `python docs/generate_reference.py`; do not edit.

Every command ends with one of four exit codes:

| code | meaning |
| --- | --- |
| 0 | clean and complete: no finding, and everything that was asked for is covered |
| 1 | findings |
| 2 | usage or configuration: one line on standard error says what, where and what to try |
| 3 | incomplete: no finding, but some host or scope is not covered |

A bug of fleetscan itself ends with one line, too. With `FLEETSCAN_DEBUG=1` in the environment every command also prints
the traceback of an error, that of a host that ended with `internal error`, and what libraries log: what a bug report
needs.
"""


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands directly below a parser."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to its subparsers
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - see above
            return dict(action.choices)
    return {}


def section(title: str, parser: argparse.ArgumentParser, level: int) -> list[str]:
    """One command with its help, then its own subcommands."""
    parts = [f"{'#' * level} {title}", "```text\n" + parser.format_help().rstrip() + "\n```"]
    for name, below in subcommands(parser).items():
        parts += section(f"{title} {name}", below, level + 1)
    return parts


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION.rstrip()]
    for verb in VERBS:
        parts += section(f"fleetscan {verb}", subcommands(build_parser(verb))[verb], 2)
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
