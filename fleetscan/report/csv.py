"""CSV for auditors: findings, changes, coverage, approvals and queries, with a manifest of hashes.

RFC 4180: comma, CRLF, quotes where needed, one header line. UTF-8, with a byte order mark when asked for. Every cell is
made by ``escape.cell``: one line, no active character, no formula; ``escape.read_cell`` gives the original text back.
Times are ISO 8601 in UTC. Columns are never renamed or reordered; new ones are added at the end.
"""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from fleetscan.model.finding import Severity
from fleetscan.report.document import (
    Evidence,
    changes,
    evidence,
    guid_of,
    scope_of,
    techniques,
)
from fleetscan.report.escape import cell, visible
from fleetscan.report.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from fleetscan.baseline.approvals import ApprovalUse
    from fleetscan.baseline.diff import AttributeChange
    from fleetscan.domain.entity import Entity
    from fleetscan.findings.model import Finding
    from fleetscan.report.document import ChangeRow, Document, RuleInfo

LIST_SEPARATOR = " | "
MANIFEST = "manifest.json"

_cell = lru_cache(maxsize=4096)(cell)
_NOTHING = Evidence(source="")


@dataclass(frozen=True, slots=True)
class Sheet:
    """One CSV file: its columns with what they mean, and its rows."""

    name: str
    columns: Mapping[str, str]
    rows: Callable[[Document], Iterator[tuple[str, ...]]]


class _Line:
    """What csv.writer writes to: gives each row back as text."""

    def write(self, text: str) -> str:
        return text


def lines(sheet: Sheet, document: Document) -> Iterator[str]:
    """The sheet as CSV text, row by row."""
    writer = csv.writer(_Line(), lineterminator="\r\n")
    yield str(writer.writerow(sheet.columns))
    for row in sheet.rows(document):
        yield str(writer.writerow([_cell(text) for text in row]))


def write_findings(document: Document, path: Path, *, bom: bool = False) -> None:
    """``findings.csv`` alone, under any name."""
    with whole_file(path, encoding=_encoding(bom=bom)) as stream:
        stream.writelines(lines(FINDINGS, document))


def write_package(document: Document, folder: Path, *, bom: bool = False) -> tuple[Path, ...]:
    """The five sheets and the manifest, which is written last: a package without it is not finished."""
    paths = [folder / sheet.name for sheet in SHEETS]
    for sheet, path in zip(SHEETS, paths, strict=True):
        with whole_file(path, encoding=_encoding(bom=bom)) as stream:
            stream.writelines(lines(sheet, document))
    with whole_file(folder / MANIFEST) as stream:
        json.dump(manifest(document, paths), stream, indent=2)
        stream.write("\n")
    return (*paths, folder / MANIFEST)


def _encoding(*, bom: bool) -> str:
    return "utf-8-sig" if bom else "utf-8"


def manifest(document: Document, paths: Iterable[Path]) -> dict[str, object]:
    """What ties the package to the store: hashes of the files, the plan, the rules and the sweep before it."""
    sweep = document.sweep
    return {
        "format": "fleetscan-report/1",
        "files": {path.name: _sha256(path) for path in paths},
        "sweep": sweep.id,
        "plan": sweep.plan,
        "rules": sweep.rules,
        "previous": sweep.previous,
        "seal": sweep.seal,
        "baseline": visible(sweep.baseline),
        "started": timestamp(sweep.started),
        "finished": timestamp(sweep.finished),
        "generated": timestamp(sweep.generated),
        "version": sweep.version,
        "hosts": len(document.hosts),
        "findings": len(document.assessment.findings),
        "rule_sha256": {visible(rule.id): rule.digest for rule in document.rules},
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def timestamp(moment: datetime | date | None) -> str:
    """ISO 8601, a point of time in UTC with ``Z``; empty when unknown."""
    if moment is None:
        return ""
    if isinstance(moment, datetime):
        return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return moment.isoformat()


def mtime(seconds: int) -> str:
    """A key's last write time as ISO 8601; empty when unknown or beyond what a calendar holds."""
    try:
        return timestamp(datetime.fromtimestamp(seconds, UTC)) if seconds else ""
    except (OverflowError, ValueError, OSError):
        return ""


def _finding_rows(document: Document) -> Iterator[tuple[str, ...]]:
    rules = {rule.id: rule for rule in document.rules}
    for finding in document.assessment.all_findings():
        head, tail = _finding_head(finding), _finding_tail(finding, document.sweep.id)
        rows = tuple(evidence(document, finding)) or (_NOTHING,)
        yield from ((*head, *_evidence_cells(row, rules), *tail) for row in rows)


def _finding_head(finding: Finding) -> tuple[str, ...]:
    entity = finding.entity
    return (
        finding.fingerprint,
        finding.host,
        finding.state,
        str(finding.severity),
        finding.certainty,
        finding.verdict.kind,
        finding.what,
        finding.title,
        entity.kind,
        _pairs(entity.identity),
        guid_of(entity),
        entity.title,
        entity.get("dll"),
        entity.get("function"),
        LIST_SEPARATOR.join(finding.why),
        LIST_SEPARATOR.join(techniques(finding)),
    )


def _finding_tail(finding: Finding, sweep: str) -> tuple[str, ...]:
    prevalence, approval = finding.prevalence, finding.approval
    return (
        str(prevalence.hosts) if prevalence else "",
        str(prevalence.of) if prevalence else "",
        finding.capped,
        approval.id if approval else "",
        approval.owner if approval else "",
        timestamp(approval.expires) if approval else "",
        sweep,
    )


def _pairs(pairs: tuple[tuple[str, str], ...]) -> str:
    return LIST_SEPARATOR.join(f"{name}={value}" for name, value in pairs)


def _evidence_cells(row: Evidence, rules: Mapping[str, RuleInfo]) -> tuple[str, ...]:
    rule = rules.get(row.rule_id)
    return (
        row.source,
        row.rule_id,
        rule.title if rule else "",
        str(row.severity) if row.source else "",
        row.certainty or "",
        row.excuse,
        row.reason,
        row.key,
        row.value,
        row.type,
        row.data,
        mtime(row.mtime),
        row.scope_id,
        LIST_SEPARATOR.join(raw.statement_id for raw in row.raw),
        LIST_SEPARATOR.join(raw.sha256 for raw in row.raw),
    )


def _change_rows(document: Document) -> Iterator[tuple[str, ...]]:
    for change in changes(document, folded=False):
        head = _change_head(change, change.entity)
        for attribute in change.attributes or (None,):
            yield (*head, *_attribute_cells(attribute), change.why, document.sweep.id)


def _change_head(change: ChangeRow, entity: Entity | None) -> tuple[str, ...]:
    return (
        change.hosts[0],
        change.what,
        str(change.severity),
        change.finding,
        entity.kind if entity else "",
        _pairs(entity.identity) if entity else "",
        entity.label if entity else "the whole host",
    )


def _attribute_cells(attribute: AttributeChange | None) -> tuple[str, ...]:
    if attribute is None:
        return ("", "", "")
    return (attribute.name, attribute.old or "", attribute.new or "")


def _coverage_rows(document: Document) -> Iterator[tuple[str, ...]]:
    rules = {rule.id: rule for rule in document.rules}
    for host in document.hosts:
        for item in host.rules:
            rule = rules.get(item.rule_id)
            yield (
                host.name,
                item.rule_id,
                rule.title if rule else "",
                rule.label if rule else "",
                item.status,
                item.reason,
                item.detail,
                str(item.findings),
                timestamp(host.finished),
                document.sweep.id,
            )


def _approval_rows(document: Document) -> Iterator[tuple[str, ...]]:
    return (_approval_cells(use, document.sweep.id) for use in document.assessment.approvals)


def _approval_cells(use: ApprovalUse, sweep: str) -> tuple[str, ...]:
    approval = use.approval
    return (
        approval.id,
        use.state,
        approval.owner,
        approval.reason,
        scope_of(approval),
        approval.kind,
        _pairs(approval.identity),
        _pairs(approval.attributes),
        timestamp(approval.created),
        timestamp(approval.expires),
        str(use.uses),
        str(approval.where or ""),
        sweep,
    )


def _query_rows(document: Document) -> Iterator[tuple[str, ...]]:
    return ((statement.id, statement.sql, document.sweep.id) for statement in document.statements)


FINDINGS = Sheet(
    "findings.csv",
    {
        "finding": "fingerprint, stable over sweeps",
        "host": "name in the inventory",
        "state": "against the baseline: new, still there, changed, gone, approved, no baseline, not comparable",
        "severity": " < ".join(map(str, Severity)),
        "certainty": "certain, or possible: something that state cannot show would excuse it",
        "verdict": "of the known-good list; stock rows are listed here too",
        "what": "in one word: hijacked, replaced, new, removed, changed, suspicious, incomplete, ..., stock",
        "title": "one line for people",
        "entity_kind": "what kind of registration it is",
        "identity": "name=value pairs that identify it, separated by ' | '",
        "guid": "GUID in its identity",
        "name": "the name people know the GUID by",
        "dll": "library as decoded",
        "function": "exported function",
        "why": "why it is reported, the weightiest first, separated by ' | '",
        "techniques": "ATT&CK technique ids, separated by ' | '",
        "source": "who says so: rule, known good, baseline, detection query",
        "rule_id": "rule of this row",
        "rule_title": "its title",
        "rule_severity": "severity that this source gives",
        "rule_certainty": "certain or possible for this rule alone",
        "excuse": "what would excuse it, in words",
        "reason": "why this source says so",
        "registry_key": "key of the row",
        "registry_value": "name of the value",
        "registry_type": "type of the value",
        "registry_data": "data as the host gave it",
        "registry_mtime": "last write time of the key, UTC",
        "scope": "part of the plan that fetched it",
        "statement": "query that fetched it, see queries.csv; several where any of them may have",
        "raw_sha256": "SHA-256 of the host's raw answer to it in the store",
        "hosts_with": "hosts that have the same entity",
        "hosts_of": "hosts that could tell",
        "capped": "why its severity is lower than its evidence alone would make it",
        "approval": "approval that covers it",
        "approval_owner": "who answers for that",
        "approval_expires": "date",
        "sweep": "id of the sweep",
    },
    _finding_rows,
)

CHANGES = Sheet(
    "changes.csv",
    {
        "host": "name in the inventory",
        "change": "added, removed, modified, replaced or not comparable",
        "severity": " < ".join(map(str, Severity)),
        "finding": "finding that speaks of the same entity",
        "entity_kind": "what kind of registration it is",
        "identity": "name=value pairs that identify it, separated by ' | '",
        "entity": "one line for people",
        "attribute": "attribute that differs; one row for each",
        "old": "in the baseline, empty if it was not there",
        "new": "in this sweep, empty if it is not there",
        "why": "why it matters, or why it cannot be compared",
        "sweep": "id of the sweep",
    },
    _change_rows,
)

COVERAGE = Sheet(
    "coverage.csv",
    {
        "host": "name in the inventory",
        "rule_id": "one row for every host and rule",
        "rule_title": "its title",
        "rule_label": "how state can answer it: exact, complete, complete under assumptions, partial, unplannable",
        "status": "proven clean, finding, partial, unreachable or not covered",
        "reason": "why it is not covered",
        "detail": "more about the reason",
        "findings": "findings of this rule on this host",
        "asked": "when the host was done, UTC",
        "sweep": "id of the sweep",
    },
    _coverage_rows,
)

APPROVALS = Sheet(
    "approvals.csv",
    {
        "approval": "name of the approval",
        "state": "active, expired or never used",
        "owner": "who answers for it",
        "reason": "why it is meant to be there",
        "scope": "host, group or fleet, with name patterns",
        "entity_kind": "what kind of registration it covers",
        "identity": "name=value pairs that must agree, separated by ' | '",
        "attributes": "name=value pairs that must agree, separated by ' | '",
        "created": "date",
        "expires": "date",
        "uses": "findings that it covers in this sweep",
        "where": "file and line",
        "sweep": "id of the sweep",
    },
    _approval_rows,
)

QUERIES = Sheet(
    "queries.csv",
    {"statement": "id of the query", "sql": "its text as it was sent", "sweep": "id of the sweep"},
    _query_rows,
)

SHEETS = (FINDINGS, CHANGES, COVERAGE, APPROVALS, QUERIES)
