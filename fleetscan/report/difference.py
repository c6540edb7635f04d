"""The difference of two sweeps as lines: a table for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tabulate import tabulate

from fleetscan.baseline.diff import ChangeKind
from fleetscan.findings.fleet import signature
from fleetscan.findings.records import identity_text
from fleetscan.model.finding import Severity
from fleetscan.report.escape import cell, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fleetscan.baseline.grade import Graded
    from fleetscan.findings.difference import Difference
    from fleetscan.findings.model import FleetChange, Gap

NOT_COMPARABLE = "not comparable"
FIRST_SEEN, NO_LONGER_LISTED = "first seen", "no longer listed"
COLUMNS = ("host", "severity", "change", "kind", "entity", "name", "attribute", "old", "new", "why", "fleet")
_EVERY_HOST = "every host"
_SHOWN = frozenset({"dll", "function", "data", "sha256"})
"""Attributes that say what a new or removed entity is."""
_NAMES = 10


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
    fleet: str = ""
    """On how many hosts the same happened, where it happened to the fleet."""
    label: str = ""
    is_modified: bool = False

    @property
    def counts(self) -> bool:
        """Is it a change that matters?"""
        return self.severity > Severity.INFO and self.change != NOT_COMPARABLE


def lines(found: Difference, *, folded: bool) -> tuple[Line, ...]:
    """Changes, the weightiest first, then hosts, then gaps; ``folded``: what the fleet has in common is one line."""
    common = {
        (host, signature(graded.change)): one
        for one in found.fleet_changes
        for graded in one.changes
        for host in one.hosts
    }
    single = []
    for item in found.changes:
        fleet = common.get((item.host, signature(item.graded.change)))
        if fleet is None or not folded:
            single.append(_line(item.host, item.graded, fleet))
    return (
        *(line for one in found.fleet_changes if folded for line in _fleet_lines(one)),
        *sorted(single, key=_order),
        *(Line(host, Severity.INFO, FIRST_SEEN, "host", host) for host in found.first_seen if not folded),
        *(Line(host, Severity.INFO, NO_LONGER_LISTED, "host", host) for host in found.no_longer_listed if not folded),
        *map(_gap, found.gaps),
        *(_scope(text, "sweep: not asked") for text in found.no_longer_asked if not folded),
        *(_scope(text, "baseline: not asked") for text in found.first_asked if not folded),
    )


def _words(one: FleetChange) -> str:
    return f"{len(one.hosts)} of {one.of} hosts of build {one.build or 'unknown'}"


def _fleet_lines(one: FleetChange) -> Iterator[Line]:
    for graded in one.changes:
        yield _line(_words(one), graded, one)


def _line(host: str, graded: Graded, fleet: FleetChange | None) -> Line:
    change, entity = graded.change, graded.change.entity
    attributes = [(one.name, one.old or "", one.new or "") for one in change.attributes]
    if not attributes:
        new = change.after is not None
        attributes = [
            (name, "" if new else value, value if new else "") for name, value in entity.attributes if name in _SHOWN
        ]
    return Line(
        host=host,
        severity=graded.severity if fleet is None else min(graded.severity, fleet.severity),
        change=graded.what,
        kind=entity.kind,
        entity=identity_text(entity),
        name=entity.title,
        attributes=tuple(attributes),
        why=graded.why,
        fleet=_words(fleet) if fleet else "",
        label=entity.label,
        is_modified=change.kind in {ChangeKind.MODIFIED, ChangeKind.REPLACED},
    )


def _order(line: Line) -> tuple[object, ...]:
    return -line.severity, line.host, line.kind, line.entity


def _gap(gap: Gap) -> Line:
    if gap.entity is None:
        return Line(gap.host, Severity.INFO, NOT_COMPARABLE, "host", gap.host, why=gap.reason, label="the whole host")
    entity = gap.entity
    return Line(
        gap.host,
        Severity.INFO,
        NOT_COMPARABLE,
        entity.kind,
        identity_text(entity),
        entity.title,
        why=gap.reason,
        label=entity.label,
    )


def _scope(text: str, why: str) -> Line:
    return Line(_EVERY_HOST, Severity.INFO, NOT_COMPARABLE, "scope", text, why=why)


def table(shown: Sequence[Line], found: Difference, *, left: int) -> Iterator[str]:
    """The lines for people, and what concerns whole hosts; ``left`` lines are not among them."""
    rows = [
        (visible(line.host), str(line.severity), line.change, visible(line.label), visible(_told(line)))
        for line in shown
    ]
    if rows:
        headers = ("host", "severity", "change", "entity", "old -> new, and why")
        yield tabulate(rows, headers=headers, maxcolwidths=[24, None, None, 44, 52], disable_numparse=True)
    elif not left:
        yield "nothing changed"
    if left:
        yield f"{left} more lines (try: --first {len(shown) + left})"
    for title, hosts in (("seen for the first time", found.first_seen), ("no longer listed", found.no_longer_listed)):
        if hosts:
            more = f" and {len(hosts) - _NAMES} more (--json names them)" if len(hosts) > _NAMES else ""
            yield f"{title}: {', '.join(map(visible, hosts[:_NAMES]))}{more}"
    for count, told in (
        (len(found.no_longer_asked), "no longer asked, so what is there now is unknown"),
        (len(found.first_asked), "asked for the first time, so there is nothing to compare with"),
    ):
        if count:
            yield f"{told}: {count} scope{'' if count == 1 else 's'} (--json names them)"


def _told(line: Line) -> str:
    """What was, what is, and why it matters; the reason of a modification says what was and is."""
    if line.is_modified or not line.attributes:
        return line.why
    told = "; ".join(f"{name}: {old or '(none)'} -> {new or '(none)'}" for name, old, new in line.attributes)
    return f"{told}; {line.why}"


def json_lines(shown: Iterable[Line]) -> Iterator[str]:
    """One JSON object for each line."""
    for line in shown:
        record = {
            "host": line.host,
            "severity": str(line.severity),
            "change": line.change,
            "kind": line.kind,
            "entity": line.entity,
            "name": line.name,
            "attributes": [{"name": name, "old": old, "new": new} for name, old, new in line.attributes],
            "why": line.why,
            "fleet": line.fleet,
        }
        yield json.dumps(record, ensure_ascii=True)


def csv_text(shown: Iterable[Line]) -> str:
    """One row for each attribute of each line; formula-safe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in shown:
        head = (line.host, str(line.severity), line.change, line.kind, line.entity, line.name)
        for attribute in line.attributes or (("", "", ""),):
            writer.writerow([cell(text) for text in (*head, *attribute, line.why, line.fleet)])
    return stream.getvalue()
