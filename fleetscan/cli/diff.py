"""``fleetscan diff``: what changed between a baseline and a sweep, per host and over the fleet, in meanings."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from fleetscan.cli.options import add_limit_option, add_rules_option, add_store_option
from fleetscan.errors import ExitCode, RuleError, SettingsError, StoreError
from fleetscan.findings.difference import Matching, Named, difference, only
from fleetscan.findings.hits import RuleHits
from fleetscan.inventory import Inventory
from fleetscan.inventory import select as select_hosts
from fleetscan.model.host import Host, HostId
from fleetscan.queries import load_queries
from fleetscan.report.difference import csv_text, json_lines, lines, table
from fleetscan.report.escape import visible
from fleetscan.rules.load import load_rules, select
from fleetscan.settings import content
from fleetscan.store.interface import Baseline
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Sequence

    from fleetscan.findings.difference import Difference, Wants
    from fleetscan.queries import Query
    from fleetscan.report.difference import Line
    from fleetscan.rules.load import LoadReport
    from fleetscan.store.interface import Store, Sweep

HELP = "what changed between a baseline and a sweep"


def configure(parser: ArgumentParser) -> None:
    """The two sides, the filters, the form."""
    parser.add_argument("base", nargs="?", metavar="BASE", help="baseline or sweep (default: the sweep before)")
    parser.add_argument(
        "sweep", nargs="?", default="latest", metavar="SWEEP", help="the newer sweep (default: the latest)"
    )
    parser.add_argument("--against", metavar="HOST", help="compare every host with this one of BASE")
    parser.add_argument("--entity", metavar="TEXT", help="only entities whose kind, identity or name holds this")
    parser.add_argument(
        "--rule", metavar="RULE", help="only entities that this rule or detection matches: id, title or name"
    )
    add_rules_option(parser, "rules that say how much a changed value matters")
    add_limit_option(parser)
    parser.add_argument("--first", type=int, metavar="N", help="at most so many lines")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object for each line")
    form.add_argument("--csv", action="store_true", help="CSV, formula-safe")
    add_store_option(parser)


def run(args: Namespace) -> ExitCode:
    """Compare and print; the exit code is 1 if something changed, 3 if nothing did and not all could be compared."""
    if args.first is not None and args.first < 0:
        raise SettingsError("--first must not be negative")
    rules, detections = _rules(args), load_queries(content("queries") / "detections")
    wanted = tuple(_wanted(args, rules, detections))
    with open_store(args.store, create=False) as store:
        sweep = store.sweep(args.sweep)
        base = _base(store, sweep, args)
        hosts = _chosen(store, sweep, base, args.limit) if args.limit else None
        found = difference(store, base, sweep, rules=rules.rules, detections=detections, hosts=hosts)
    if hosts is not None:  # what chosen hosts have in common says nothing about the fleet
        found = replace(found, fleet_changes=())
    for wants in wanted:
        found = only(found, wants)
    told = lines(found, folded=not (args.json or args.csv))
    _print(told, args, found, f"Sweep {sweep.id} compared with {_words(base)}")
    if any(line.counts for line in told):
        return ExitCode.FINDINGS
    return ExitCode.CLEAN if found.is_complete else ExitCode.INCOMPLETE


def _rules(args: Namespace) -> LoadReport:
    paths = tuple(args.rules) or (content("rules"),)
    loaded = load_rules(paths)
    for problem in loaded.problems:
        print(f"fleetscan: {visible(str(problem))}", file=sys.stderr)
    if not loaded.rules:
        raise RuleError("no rule could be loaded", where=str(paths[0]), hint="fleetscan rules check PATH")
    return loaded


def _wanted(args: Namespace, rules: LoadReport, detections: Sequence[Query]) -> Iterator[Wants]:
    if args.entity:
        yield Named(args.entity)
    if args.rule is not None:
        name = args.rule.casefold()
        chosen = [query for query in detections if name in {query.name.casefold(), query.title.casefold()}]
        matched = () if chosen else select(rules, [args.rule])
        yield Matching(RuleHits.of(matched), frozenset(query.scope_id for query in chosen))


def _chosen(store: Store, sweep: Sweep, base: Baseline, limit: Sequence[str]) -> frozenset[HostId]:
    """The hosts of either sweep that the patterns choose, in the groups they were in."""
    stored = {host.id: host for one in (base.sweep, sweep.id) for host in store.hosts(one)}
    groups: dict[str, set[HostId]] = {}
    for host in stored.values():
        for group in host.groups:
            groups.setdefault(group, set()).add(host.id)
    hosts = tuple(Host(id=host.id, engine=host.engine, groups=host.groups) for host in stored.values())
    members = {name: frozenset(ids) for name, ids in groups.items()}
    inventory = Inventory(source=f"sweep {sweep.id}", hosts=hosts, groups=members)
    return frozenset(host.id for host in select_hosts(inventory, limit))


def _base(store: Store, sweep: Sweep, args: Namespace) -> Baseline:
    base = _named(store, args.base) if args.base else _before(store, sweep)
    if store.sweep(base.sweep).pruned:
        raise StoreError(f"the answers of sweep {base.sweep} were pruned", hint="compare with a sweep that is kept")
    if args.against is not None:
        base = Baseline(name=base.name, sweep=base.sweep, host=HostId(args.against), created=base.created)
    known = {host.id for host in store.hosts(base.sweep) if host.covered}
    for golden in base.golden:
        if golden not in known:
            raise SettingsError(
                f"{golden} gave no answer in {base.sweep}", hint="another host, or another baseline: baseline list"
            )
    return base


def _named(store: Store, name: str) -> Baseline:
    """A baseline of that name goes before a sweep of that id."""
    for baseline in store.baselines():
        if baseline.name == name:
            return baseline
    if name != "latest" and not any(sweep.id.startswith(name) for sweep in store.sweeps()):
        raise StoreError(
            f"there is no baseline and no sweep {name}", hint="fleetscan baseline list, fleetscan store sweeps"
        )
    sweep = store.sweep(name)
    return Baseline(name=sweep.id, sweep=sweep.id, created=sweep.started)


def _before(store: Store, sweep: Sweep) -> Baseline:
    """The last sweep before that came to its end and is still kept."""
    earlier = [one for one in store.sweeps() if one.started < sweep.started and one.finished and not one.pruned]
    if not earlier:
        raise SettingsError(f"there is no sweep before {sweep.id}", hint="fleetscan diff BASE SWEEP")
    last = max(earlier, key=lambda one: one.started)
    return Baseline(name=last.id, sweep=last.id, created=last.started)


def _words(base: Baseline) -> str:
    """The older side in words."""
    name = base.name if base.name == base.sweep else f"{base.name} (sweep {base.sweep})"
    if not base.golden:
        return visible(name)
    hosts = ", ".join(base.golden)
    if base.own_past:
        return visible(f"{name}, every host with its own past, new ones with {hosts}")
    if len(base.golden) > 1:
        return visible(f"{name}, every host with the one of its build of {hosts}")
    return visible(f"{name}, every host with {hosts}")


def _print(told: Sequence[Line], args: Namespace, found: Difference, head: str) -> None:
    shown = told if args.first is None else told[: args.first]
    if args.csv:
        print(csv_text(shown), end="")
        return
    if not args.json:
        print(head)
    for line in json_lines(shown) if args.json else table(shown, found, left=len(told) - len(shown)):
        print(line)
