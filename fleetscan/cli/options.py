"""Options that several commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.settings import DEFAULT_STORE

if TYPE_CHECKING:
    from argparse import ArgumentParser, _ArgumentGroup


def add_store_option(parser: ArgumentParser | _ArgumentGroup) -> None:
    """``--store``."""
    parser.add_argument(
        "--store",
        default=DEFAULT_STORE,
        metavar="PLACE",
        help=f"file or postgresql://... (default: {DEFAULT_STORE})",
    )


def add_rules_option(parser: ArgumentParser | _ArgumentGroup, what: str = "rule file or folder") -> None:
    """``-r``; ``what`` is the beginning of its help."""
    parser.add_argument(
        "-r",
        "--rules",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help=f"{what} (repeatable; default: the shipped rules)",
    )


def add_limit_option(parser: ArgumentParser | _ArgumentGroup) -> None:
    """``--limit``."""
    parser.add_argument(
        "--limit", action="append", default=[], metavar="PATTERN", help="hosts, groups, globs; !not, &and (repeatable)"
    )
