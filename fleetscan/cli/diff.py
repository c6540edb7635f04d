"""``fleetscan diff``: what changed between a baseline and a sweep, per host and over the fleet, in meanings."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from fleetscan.errors import ExitCode, RuleError, SettingsError, StoreError
from fleetscan.findings.assemble import assess
from fleetscan.findings.hits import RuleHits
from fleetscan.findings.records import identity_text
from fleetscan.inventory import Inventory
from fleetscan.inventory import select as select_hosts
from fleetscan.model.finding import Severity
from fleetscan.model.host import Host, HostId
from fleetscan.report.escape import cell, visible
from fleetscan.rules.load import load_rules, select
from fleetscan.settings import content
from fleetscan.store.interface import Baseline
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator, Sequence

    from fleetscan.baseline.diff import Change
    from fleetscan.findings.model import Assessment, FleetChange
    from fleetscan.model.rule import Rule
    from fleetscan.store.interface import Store, Sweep

HELP = "what changed between a baseline and a sweep"
COLUMNS = ("host", "severity", "change", "kind", "entity", "name", "attribute", "old", "new", "why")


def configure(parser: ArgumentParser) -> None:
    """The two sides, the filters, the form."""
    parser.add_argument("base", nargs="?", metavar="BASE", help="baseline or sweep (default: the sweep before)")
    parser.add_argument(
        "sweep", nargs="?", default="latest", metavar="SWEEP", help="the newer sweep (default: the latest)"
    )
    parser.add_argument("--against", metavar="HOST", help="compare every host with this one of BASE")
    parser.add_argument("--entity", metavar="TEXT", help="only entities whose kind, identity or name holds this")
    parser.add_argument("--rule", metavar="RULE", help="only entities that this rule matches: id or title")
    parser.add_argument(
        "-r", "--rules", action="append", default=[], type=Path, metavar="PATH", help="where --rule is looked for"
    )
    parser.add_argument(
        "--limit", action="append", default=[], metavar="PATTERN", help="hosts, groups, globs; !not, &and (repeatable)"
    )
    parser.add_argument("--first", type=int, metavar="N", help="at most so many lines")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object for each line")
    form.add_argument("--csv", action="store_true", help="CSV, formula-safe")
    parser.add_argument(
        "--store", default="fleetscan.db", metavar="PLACE", help="file or postgresql://... (default: fleetscan.db)"
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One change, or one thing that could not be compared."""

    host: str
    severity: Severity
    change: str
    kind: str
    entity: str
    name: str = ""
    attributes: tuple[tuple[str, str, str], ...] = ()
    why: str = ""


def run(args: Namespace, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> ExitCode:
    """Compare and print; the exit code is 1 if something changed, 3 if nothing did and not all could be compared."""
    if args.first is not None and args.first < 0:
        raise SettingsError("--first must not be negative")
    rules = _rule(args)
    with open_store(args.store, create=False) as store:
        sweep = store.sweep(args.sweep)
        base = _base(store, sweep, args)
        assessment = assess(store, sweep, today=now().date(), baseline=base, find_hits=RuleHits.of(rules))
        if args.limit:
            assessment = _only(assessment, _chosen(store, sweep, base, args.limit))
    matched: set[object] = {(one.host, one.entity.ident) for one in assessment.all_findings() if one.hits}
    lines = list(_lines(assessment, args, matched if rules else None))
    shown = lines if args.first is None else lines[: args.first]
    _print(shown, args, assessment, base, left=len(lines) - len(shown))
    if any(line.severity > Severity.INFO and line.change != NOT_COMPARABLE for line in lines):
        return ExitCode.FINDINGS
    return ExitCode.INCOMPLETE if assessment.gaps else ExitCode.CLEAN


NOT_COMPARABLE = "not comparable"


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


def _only(assessment: Assessment, hosts: frozenset[HostId]) -> Assessment:
    """What concerns these hosts; changes of the whole fleet speak of others too, so they are shown host by host."""
    return replace(
        assessment,
        changes=tuple(one for one in assessment.changes if one.host in hosts),
        fleet_changes=(),
        gaps=tuple(gap for gap in assessment.gaps if gap.host in hosts),
        first_seen=tuple(host for host in assessment.first_seen if host in hosts),
        no_longer_listed=tuple(host for host in assessment.no_longer_listed if host in hosts),
    )


def _rule(args: Namespace) -> tuple[Rule, ...]:
    if args.rule is None:
        return ()
    loaded = load_rules(tuple(args.rules) or (content("rules"),))
    found = select(loaded, [args.rule])
    if not found:
        raise RuleError(f"no rule is called {args.rule!r}", hint="fleetscan rules list")
    return found


def _base(store: Store, sweep: Sweep, args: Namespace) -> Baseline:
    golden = None if args.against is None else HostId(args.against)
    base = _named(store, args.base) if args.base else _before(store, sweep)
    if golden is None:
        golden = base.host
    known = {host.id for host in store.hosts(base.sweep) if host.answered}
    if golden is not None and golden not in known:
        raise SettingsError(f"{golden} gave no answer in {base.sweep}", hint="fleetscan baseline show, or another host")
    if store.sweep(base.sweep).pruned:
        raise StoreError(f"the answers of sweep {base.sweep} were pruned", hint="compare with a sweep that is kept")
    if args.against is None:
        return base
    return Baseline(name=base.name, sweep=base.sweep, host=golden, created=base.created)


def _named(store: Store, name: str) -> Baseline:
    """A baseline of that name goes before a sweep of that id."""
    for baseline in store.baselines():
        if baseline.name == name:
            return baseline
    sweep = store.sweep(name)
    return Baseline(name=sweep.id, sweep=sweep.id, created=sweep.started)


def _before(store: Store, sweep: Sweep) -> Baseline:
    earlier = [one for one in store.sweeps() if one.started < sweep.started and not one.pruned]
    if not earlier:
        raise SettingsError(f"there is no sweep before {sweep.id}", hint="fleetscan diff BASE SWEEP")
    last = earlier[-1]
    return Baseline(name=last.id, sweep=last.id, created=last.started)


def _lines(assessment: Assessment, args: Namespace, matched: set[object] | None) -> Iterator[Line]:
    whole = {
        (id_of(graded.change), host) for one in assessment.fleet_changes for graded in one.changes for host in one.hosts
    }
    fleet = [line for one in assessment.fleet_changes for line in _fleet_lines(one)]
    single = [
        _line(one.host, one.graded.severity, one.graded.what, one.graded.change, one.graded.why)
        for one in assessment.changes
        if (id_of(one.graded.change), one.host) not in whole
        and (matched is None or (one.host, one.graded.change.entity.ident) in matched)
    ]
    gaps = [
        Line(
            gap.host,
            Severity.INFO,
            NOT_COMPARABLE,
            gap.entity.kind if gap.entity else "host",
            identity_text(gap.entity) if gap.entity else gap.host,
            gap.entity.title if gap.entity else "",
            why=gap.reason,
        )
        for gap in assessment.gaps
        if matched is None
    ]
    lines = (*(fleet if matched is None else ()), *sorted(single, key=_order), *gaps)
    wanted = (args.entity or "").casefold()
    return (line for line in lines if wanted in f"{line.kind} {line.entity} {line.name}".casefold())


def id_of(change: Change) -> tuple[object, ...]:
    """What makes two hosts' changes the same change."""
    return change.kind, change.entity.ident, change.entity.get("dll"), change.entity.get("function")


def _order(line: Line) -> tuple[object, ...]:
    return -line.severity, line.host, line.kind, line.entity


def _fleet_lines(one: FleetChange) -> Iterator[Line]:
    for graded in one.changes:
        host = f"{len(one.hosts)} of {one.of} hosts of build {one.build or 'unknown'}"
        yield _line(host, min(graded.severity, one.severity), graded.what, graded.change, graded.why)


def _line(host: str, severity: Severity, what: str, change: Change, why: str) -> Line:
    entity = change.entity
    attributes = [(one.name, one.old or "", one.new or "") for one in change.attributes]
    if not attributes:
        new = change.after is not None
        attributes = [
            (name, "" if new else value, value if new else "")
            for name, value in entity.attributes
            if name in {"dll", "function"}
        ]
    return Line(host, severity, what, entity.kind, identity_text(entity), entity.title, tuple(attributes), why)


def _print(lines: Sequence[Line], args: Namespace, assessment: Assessment, base: Baseline, *, left: int) -> None:
    if args.json:
        for line in lines:
            print(json.dumps(_record(line), ensure_ascii=True))
        return
    if args.csv:
        print(_csv(lines), end="")
        return
    against = f", every host against {visible(base.host)}" if base.host else ""
    print(f"Sweep {assessment.sweep} compared with {visible(base.name)}{against}")
    rows = [
        (
            visible(line.host),
            str(line.severity),
            line.change,
            f"{line.kind} {visible(line.entity)}",
            visible(_attributes(line)),
        )
        for line in lines
    ]
    if rows:
        print(
            tabulate(
                rows,
                headers=("host", "severity", "change", "entity", "old -> new"),
                maxcolwidths=[24, None, None, 48, 48],
            )
        )
    else:
        print("nothing changed")
    if left:
        print(f"{left} more lines (try: --first {len(lines) + left})")
    for title, hosts in (
        ("seen for the first time", assessment.first_seen),
        ("no longer listed", assessment.no_longer_listed),
    ):
        if hosts:
            print(f"{title}: {', '.join(map(visible, hosts))}")


def _attributes(line: Line) -> str:
    if line.change == NOT_COMPARABLE:
        return line.why
    return "; ".join(f"{name}: {old or '(none)'} -> {new or '(none)'}" for name, old, new in line.attributes)


def _record(line: Line) -> dict[str, object]:
    return {
        "host": line.host,
        "severity": str(line.severity),
        "change": line.change,
        "kind": line.kind,
        "entity": line.entity,
        "name": line.name,
        "attributes": [{"name": name, "old": old, "new": new} for name, old, new in line.attributes],
        "why": line.why,
    }


def _csv(lines: Sequence[Line]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in lines:
        head = (line.host, str(line.severity), line.change, line.kind, line.entity, line.name)
        for attribute in line.attributes or (("", "", ""),):
            writer.writerow([cell(text) for text in (*head, *attribute, line.why)])
    return stream.getvalue()
