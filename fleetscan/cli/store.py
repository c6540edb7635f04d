"""``fleetscan store``: what is kept, is it sound, and what may go."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from fleetscan.cli.options import add_store_option
from fleetscan.errors import ExitCode, SettingsError
from fleetscan.report.escape import visible
from fleetscan.store.manifest import check_manifest
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Sequence

    from fleetscan.store.interface import Problem, Store, Sweep

HELP = "verify and prune the store, list what it holds"

_EPILOG = (
    "A store of an older fleetscan is brought to today's form by the first command that opens it. "
    "Exit codes: 0 sound, 1 verify found problems, 2 the store cannot be used."
)


def configure(parser: ArgumentParser) -> None:
    """``info``, ``sweeps``, ``verify``, ``prune``."""
    parser.epilog = _EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    info = actions.add_parser("info", help="number of sweeps, hosts, blocks and bytes")
    sweeps = actions.add_parser("sweeps", help="list the sweeps")
    verify = actions.add_parser("verify", help="check every hash and the chain of evidence")
    verify.add_argument(
        "--manifest", type=Path, metavar="FILE", help="also check a report: its manifest.json, files and sweep"
    )
    prune = actions.add_parser("prune", help="drop old answers, except what a baseline or an open finding needs")
    prune.add_argument(
        "--keep", required=True, type=str, metavar="DAYS", help="how long answers are kept: 90d, 12w, 1y"
    )
    for action in (info, sweeps, verify, prune):
        add_store_option(action)


def run(args: Namespace, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> ExitCode:
    """One action on one store."""
    keep_days = days(args.keep) if args.action == "prune" else 0
    with open_store(args.store, create=False) as store:
        match args.action:
            case "info":
                return _info(store, args.store)
            case "sweeps":
                return _sweeps(store.sweeps())
            case "verify":
                return _verify(store, args.manifest)
            case _:
                return _prune(store, args.store, keep_days, clock())


def days(text: str) -> int:
    """Days of ``90d``, ``12w``, ``1y``."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([dwy])", text.strip().lower())
    if match is None:
        raise SettingsError(f"not a number of days: {visible(text)}", where="--keep", hint="90d, 12w or 1y")
    return int(match[1]) * {"d": 1, "w": 7, "y": 365}[match[2]]


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"


def _print_table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> None:
    print(tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True))


def _info(store: Store, place: str) -> ExitCode:
    counts = store.counts()
    if size := _size(place):
        counts = {**counts, "bytes on disk": size}
    _print_table([(name, f"{count:,}") for name, count in counts.items()], ("what", "how many"))
    return ExitCode.CLEAN


def _size(place: str) -> int:
    """Bytes of the store's files; 0 on a server."""
    name = place.removeprefix("sqlite:///")
    if "://" in name:
        return 0
    return sum(part.stat().st_size for part in (Path(name), Path(f"{name}-wal")) if part.exists())


def _sweeps(sweeps: Sequence[Sweep]) -> ExitCode:
    if not sweeps:
        print("no sweep yet (try: fleetscan sweep)")
        return ExitCode.CLEAN
    rows = [
        (
            sweep.id,
            f"{sweep.started:%Y-%m-%d %H:%M:%SZ}",
            f"{sweep.answered} of {sweep.hosts}" if sweep.pruned is None else f"pruned {sweep.pruned:%Y-%m-%d}",
            visible(sweep.outcome),
            sweep.plan_digest[:12],
            sweep.seal[:12],
            visible(sweep.note),
        )
        for sweep in sweeps
    ]
    _print_table(rows, ("sweep", "started", "answered", "outcome", "plan", "seal", "note"))
    return ExitCode.CLEAN


def _verify(store: Store, manifest: Path | None) -> ExitCode:
    checks = [store.verify()]
    if manifest is not None:
        checks.append(check_manifest(store, manifest))
    rows = [(name, f"{count:,}") for check in checks for name, count in check.checked.items()]
    _print_table(rows, ("checked", "how many"))
    print()
    return _problems([problem for check in checks for problem in check.problems])


def _problems(problems: Sequence[Problem]) -> ExitCode:
    if not problems:
        print("sound: every hash and the chain of evidence agree")
        return ExitCode.CLEAN
    _print_table([(visible(problem.where), visible(problem.what)) for problem in problems], ("where", "problem"))
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    print(f"\n{count} (try: restore a backup, or sweep again into a new store)")
    return ExitCode.FINDINGS


def _prune(store: Store, place: str, keep_days: int, now: datetime) -> ExitCode:
    before = _size(place)
    pruned = store.prune(keep_days, now=now)
    rows = [(name, "dropped", f"older than {_days(keep_days)}") for name in pruned.sweeps]
    rows += [(name, "kept", visible(reason)) for name, reason in pruned.kept]
    if rows:
        _print_table(rows, ("sweep", "answers", "why"))
    else:
        print(f"nothing is older than {_days(keep_days)}")
    dropped = ", ".join(f"{count:,} {name}" for name, count in pruned.records.items())
    if dropped:
        print(f"\nrecords dropped: {dropped}")
    if (freed := before - _size(place)) > 0:
        print(f"given back: {freed:,} bytes")
    return ExitCode.CLEAN
