"""``fleetscan triage FINDING``: ask the host of one finding everything about it, keep the answers, show them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.cli.options import add_store_option
from fleetscan.cli.output import terminal_width
from fleetscan.engines.named import engine_named
from fleetscan.errors import ExitCode, SettingsError
from fleetscan.evaluate import Context
from fleetscan.inventory import load_inventory
from fleetscan.queries import load_queries
from fleetscan.report.escape import visible
from fleetscan.report.table import wrap
from fleetscan.rules.load import load_rules
from fleetscan.settings import content
from fleetscan.store.sql import open_store
from fleetscan.sweep import machines
from fleetscan.triage import Case, take, to_json

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator

    from fleetscan.engines.interface import Engine
    from fleetscan.model.host import Host
    from fleetscan.model.rule import Rule
    from fleetscan.store.interface import Store, Sweep
    from fleetscan.store.records import FindingRecord
    from fleetscan.triage import Reply, Triage

HELP = "ask one host all about one finding"
_INDENT = "    "
_SHOWN_ROWS = 10


def configure(parser: ArgumentParser) -> None:
    """Which finding, and how its host is reached."""
    parser.add_argument("finding", metavar="FINDING", help="id of a finding or its beginning")
    parser.add_argument("-i", "--inventory", default="", metavar="FILE", help="inventory that names the host")
    parser.add_argument("--hives", default="", metavar="DIR", help="or the folder of hives that was swept")
    parser.add_argument("--sweep", default="latest", metavar="SWEEP", help="sweep of the finding (default: the latest)")
    add_store_option(parser)
    parser.add_argument(
        "-r", "--rules", action="append", default=[], type=Path, metavar="PATH", help="rules of the sweep (repeatable)"
    )
    parser.add_argument("--queries", type=Path, metavar="DIR", help="triage queries (default: the shipped ones)")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="for the host (default: 120)")


def run(
    args: Namespace,
    *,
    engines: Callable[[str], Engine] = engine_named,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ExitCode:
    """Ask, keep, print. Exit code 3 when the host answered nothing at all."""
    if bool(args.inventory) == bool(args.hives):
        raise SettingsError("say how the host is reached", hint="-i inventory/fleet.yml, or --hives DIR")
    queries = load_queries(args.queries or content("queries") / "triage")
    rules = load_rules(args.rules or (content("rules"),)).rules
    with open_store(args.store, create=False) as store:
        sweep = store.sweep(args.sweep)
        finding = find(store, sweep, args.finding)
        host = _host(args, finding)
        triage = take(
            _case(store, sweep, finding, host, rules),
            engines(host.engine),
            queries,
            now=now(),
            deadline=time.monotonic() + args.timeout,
        )
        store.put_triage(finding.fingerprint, to_json(triage), taken=triage.taken)
    print("\n".join(_lines(finding, triage, terminal_width())))
    return ExitCode.CLEAN if any(not reply.reason for reply in triage.replies) else ExitCode.INCOMPLETE


def find(store: Store, sweep: Sweep, name: str) -> FindingRecord:
    """The finding of that fingerprint or unique beginning of it."""
    # What many hosts share (known-good rows) is kept without a fingerprint: it is nobody's finding.
    named = (one for one in store.findings(sweep.id) if one.fingerprint)
    found = {one.fingerprint: one for one in named if one.fingerprint.startswith(name)}
    if name in found:
        return found[name]
    if len(found) == 1:
        return next(iter(found.values()))
    what = f"no finding {name!r} in sweep {sweep.id}" if not found else f"{name!r} begins {len(found)} findings"
    raise SettingsError(what, hint="fleetscan report --all lists them with their ids")


def _host(args: Namespace, finding: FindingRecord) -> Host:
    inventory = load_inventory(args.inventory) if args.inventory else machines(args.hives)[0]
    for host in inventory:
        if host.id == finding.host:
            return host
    raise SettingsError(f"host {finding.host} is not there", where=inventory.source, hint="the inventory of the sweep")


def _case(store: Store, sweep: Sweep, finding: FindingRecord, host: Host, rules: tuple[Rule, ...]) -> Case:
    facts = store.facts(sweep.id, finding.host)
    same = (
        one.host
        for one in store.findings(sweep.id)
        if (one.entity_kind, one.entity) == (finding.entity_kind, finding.entity)
        and one.details.get("attributes") == finding.details.get("attributes")
    )
    return Case(
        finding=finding,
        host=host,
        context=Context(
            current_control_set=facts.current_control_set if facts else None,
            environment=facts.environment if facts else None,
        ),
        rules=rules,
        elsewhere=tuple(sorted({name for name in same if name != finding.host})),
    )


def _lines(finding: FindingRecord, triage: Triage, width: int) -> Iterator[str]:
    yield visible(f"{finding.fingerprint} on {finding.host}: {finding.entity_kind} {finding.entity}")
    yield from wrap(visible(finding.summary), width)
    for remark in triage.remarks:
        yield from wrap(visible(f"Note: {remark}"), width)
    if triage.elsewhere:
        yield from wrap(
            visible(f"The same on {len(triage.elsewhere)} other hosts: {', '.join(triage.elsewhere)}"), width
        )
    for one in triage.attributions:
        yield visible(f"Written by {one.image} as {one.user or 'unknown'} at {one.time} ({one.event}): {one.outcome}")
    for reply in triage.replies:
        yield ""
        yield from _reply(reply, width)


def _reply(reply: Reply, width: int) -> Iterator[str]:
    yield reply.title
    if reply.reason:
        yield from wrap(visible(f"not answered: {reply.reason}"), width, indent=_INDENT)
        return
    if reply.meaning:
        yield from wrap(reply.meaning, width, indent=_INDENT)
    if not reply.rows:
        yield f"{_INDENT}no row"
    for row in reply.rows[:_SHOWN_ROWS]:
        text = "  ".join(f"{name}={value}" for name, value in row.items() if value)
        yield from wrap(visible(text), width, indent=_INDENT)
    more = len(reply.rows) - _SHOWN_ROWS + reply.left_out
    if more > 0:
        yield f"{_INDENT}and {more} more rows"
