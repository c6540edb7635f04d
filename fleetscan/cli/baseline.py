"""``fleetscan baseline``: name a sweep (or one host of it) as what everything is compared with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tabulate import tabulate

from fleetscan.cli.options import add_store_option
from fleetscan.errors import ExitCode
from fleetscan.model.host import HostId
from fleetscan.report.escape import visible
from fleetscan.store.interface import Baseline
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

    from fleetscan.store.interface import Store, StoredHost

HELP = "name a sweep as baseline; list, show, delete"


def configure(parser: ArgumentParser) -> None:
    """``create``, ``list``, ``show``, ``delete``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="keep a sweep under a name; it is never pruned while it has one")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--sweep", default="latest", metavar="ID", help="id or its beginning (default: the latest)")
    create.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="GOLDEN",
        help="compare every host with this one, not with its own past; of several, with the one of its OS build",
    )
    create.add_argument(
        "--own-past", action="store_true", help="with --host: golden hosts only for hosts without a past of their own"
    )
    create.add_argument("--note", default="", help="why; shown in lists")
    show = actions.add_parser("show", help="what a baseline holds")
    delete = actions.add_parser("delete", help="forget the name; the sweep stays until it is pruned")
    for action in (show, delete):
        action.add_argument("name", metavar="NAME")
    listing = actions.add_parser("list", help="all baselines")
    for action in (create, show, delete, listing):
        add_store_option(action)


def run(args: Namespace, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> ExitCode:
    """One action on one store."""
    with open_store(args.store, create=False) as store:
        match args.action:
            case "create":
                _create(store, args, clock())
            case "list":
                _list(store)
            case "show":
                _show(store, store.baseline(args.name))
            case _:
                store.delete_baseline(args.name)
                print(f"baseline {visible(args.name)} is deleted; its sweep stays until it is pruned")
    return ExitCode.CLEAN


def _create(store: Store, args: Namespace, now: datetime) -> None:
    sweep = store.sweep(args.sweep)
    golden = tuple(map(HostId, dict.fromkeys(args.host)))
    baseline = Baseline(
        name=args.name,
        sweep=sweep.id,
        host=golden[0] if golden else None,
        others=golden[1:],
        own_past=bool(args.own_past and golden),
        created=now,
        note=args.note,
    )
    store.put_baseline(baseline)
    print(f"baseline {visible(args.name)}: sweep {sweep.id}, {_meaning(baseline)}")
    if sweep.finished is None:
        print("the sweep is not finished: what it still gets will be part of the baseline")
    pending = store.pending(sweep.id)
    if pending and (baseline.own_past or not golden):
        print(f"{len(pending)} of {sweep.hosts} hosts are not complete in it: what they lack is not comparable")


def _meaning(baseline: Baseline) -> str:
    """What hosts are compared with, in words."""
    if not baseline.golden:
        return "each host against its own past"
    names = ", ".join(map(visible, baseline.golden))
    which = f"the one of its build among {names}" if baseline.others else names
    if baseline.own_past:
        return f"each host against its own past, a host without one against {which}"
    return f"every host against {which}"


def _list(store: Store) -> None:
    rows = [
        (
            visible(item.name),
            item.sweep,
            ", ".join((*(("own past",) if item.own_past or not item.golden else ()), *map(visible, item.golden))),
            f"{item.created:%Y-%m-%d %H:%M}Z",
            visible(item.note),
        )
        for item in store.baselines()
    ]
    if not rows:
        print("no baseline yet (try: fleetscan baseline create NAME)")
        return
    print(tabulate(rows, ("baseline", "sweep", "compared with", "created", "note"), "simple", disable_numparse=True))


def _show(store: Store, baseline: Baseline) -> None:
    sweep = store.sweep(baseline.sweep)
    hosts = [
        host for host in store.hosts(sweep.id) if baseline.own_past or not baseline.golden or host.id in baseline.golden
    ]
    facts = store.fleet_facts(sweep.id)
    rows = [
        (
            visible(host.id),
            _coverage(host),
            visible(facts[host.id].os_name if host.id in facts else ""),
            visible(facts[host.id].os_build if host.id in facts else ""),
        )
        for host in hosts
    ]
    print(f"baseline {visible(baseline.name)}: sweep {sweep.id} of {sweep.started:%Y-%m-%d %H:%M}Z")
    if baseline.note:
        print(visible(baseline.note))
    print(tabulate(rows, ("host", "answer", "system", "build"), "simple", disable_numparse=True))


def _coverage(host: StoredHost) -> str:
    if not host.answered:
        return "not asked"
    return "complete" if host.complete else "partial" if host.covered else "unreachable"
