"""What a stored sweep was judged with, used again: who judges it anew must not lose its baseline and approvals."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.errors import SettingsError
from fleetscan.judging import ROLLING, previous

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from fleetscan.store.interface import Store, Sweep
    from fleetscan.store.records import JudgedWith

_HINT = "name another, or judge without: --afresh"


def add_afresh_option(parser: ArgumentParser) -> None:
    """The way not to use it again."""
    parser.add_argument(
        "--afresh",
        action="store_true",
        help="use no baseline and no approvals but those named here (default: those it was last judged with)",
    )


def with_remembered(args: Namespace, store: Store, sweep: Sweep) -> tuple[Namespace, str]:
    """The options, with baseline and approvals of the last judgement where none is named, and a line that says so.

    SettingsError if one of them is not there any more: without it, what is known would be new again.
    """
    last = None if args.afresh else store.judged_with(sweep.id)
    if last is None:
        return args, ""
    baseline = args.baseline or _baseline(store, sweep, last)
    approvals = args.approvals or _approvals(sweep, last)
    used = [
        *((f"baseline {baseline}",) if baseline and not args.baseline else ()),
        *(f"approvals {path}" for path in approvals if not args.approvals),
    ]
    words = f"sweep {sweep.id} is judged as before: {', '.join(used)} (otherwise: --afresh)" if used else ""
    return Namespace(**{**vars(args), "baseline": baseline or None, "approvals": approvals}), words


def _baseline(store: Store, sweep: Sweep, last: JudgedWith) -> str:
    known = {ROLLING, *(one.name for one in store.baselines())}
    if last.baseline and last.baseline not in known:
        raise SettingsError(f"sweep {sweep.id} was judged with baseline {last.baseline}, which is gone", hint=_HINT)
    if last.baseline == ROLLING and previous(store, sweep) is None:
        raise SettingsError(f"sweep {sweep.id} was judged with the one before it, which was pruned", hint=_HINT)
    return last.baseline


def _approvals(sweep: Sweep, last: JudgedWith) -> list[Path]:
    paths = [Path(name) for name in last.approvals]
    for path in paths:
        if not path.exists():
            raise SettingsError(
                f"sweep {sweep.id} was judged with approvals, which are gone", where=str(path), hint=_HINT
            )
    return paths
