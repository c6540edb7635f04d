"""JSON Lines with Elastic Common Schema names: one object per finding and per change.

Texts are exact, in ASCII with JSON escapes, so that a line stays a line and a log stays a log. A text that is no
Unicode text (an unpaired surrogate) is written in the notation of ``escape.visible``. The schema is
``schemas/finding.schema.json``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fleetscan.model.finding import FindingState, Severity
from fleetscan.report.csv import mtime, timestamp
from fleetscan.report.document import attribute_changes, changes, evidence, excuses, rule_ids, techniques
from fleetscan.report.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fleetscan.baseline.approvals import Approval
    from fleetscan.baseline.diff import AttributeChange
    from fleetscan.domain.entity import Entity
    from fleetscan.findings.model import Finding
    from fleetscan.report.document import ChangeRow, Document, Evidence, HostReport, RuleInfo

ECS_VERSION = "8.17.0"
SCHEMA = "finding.schema.json"

SCORES = {Severity.INFO: 0, Severity.LOW: 21, Severity.MEDIUM: 47, Severity.HIGH: 73, Severity.CRITICAL: 99}
"""Severity as the number that Elastic's own rules use."""

_EVENT_TYPES = {FindingState.NEW: "creation", FindingState.CHANGED: "change", FindingState.GONE: "deletion"}
_CHANGE_TYPES = {"added": "creation", "removed": "deletion", "modified": "change", "replaced": "change"}
_HIVES = {
    "HKEY_LOCAL_MACHINE": "HKLM",
    "HKEY_USERS": "HKU",
    "HKEY_CURRENT_USER": "HKCU",
    "HKEY_CLASSES_ROOT": "HKCR",
    "HKEY_CURRENT_CONFIG": "HKCC",
}


def lines(document: Document) -> Iterator[str]:
    """One JSON text per finding, then per change, without line breaks."""
    return (to_text(value) for value in objects(document))


def to_text(value: object) -> str:
    """Compact JSON in ASCII, valid even for texts that are not Unicode."""
    text = json.dumps(value, separators=(",", ":"))
    # An unpaired surrogate is the only text json writes that other parsers refuse; rare, so looked for afterwards.
    return json.dumps(_unicode_only(value), separators=(",", ":")) if "\\ud" in text else text


def _unicode_only(value: Any) -> Any:  # noqa: ANN401 - a JSON value is any of its types
    match value:
        case dict():
            return {_unicode_only(name): _unicode_only(item) for name, item in value.items()}
        case list() | tuple():
            return [_unicode_only(item) for item in value]
        case str() if any("\ud800" <= char <= "\udfff" for char in value):
            return visible(value)
    return value


def objects(document: Document) -> Iterator[dict[str, Any]]:
    """The objects behind the lines."""
    hosts = {host.name: _host(host) for host in document.hosts}
    rules = {rule.id: rule for rule in document.rules}
    head = {"@timestamp": timestamp(document.sweep.finished), "ecs": {"version": ECS_VERSION}}
    for finding in document.assessment.all_findings():
        yield {**head, "host": hosts.get(finding.host, {"name": finding.host}), **_finding(finding, rules, document)}
    for change in changes(document, folded=False):
        name = change.hosts[0]
        yield {**head, "host": hosts.get(name, {"name": name}), **_change(change, document)}


def _host(host: HostReport) -> dict[str, Any]:
    facts = dict(host.facts)
    system = {"name": facts.get("os", ""), "version": facts.get("build", ""), "type": "windows"}
    return {"name": host.name, "architecture": facts.get("arch", ""), "os": system}


def _finding(finding: Finding, rules: Mapping[str, RuleInfo], document: Document) -> dict[str, Any]:
    rows = tuple(evidence(document, finding))
    registry = next((_registry(row) for row in rows if row.key), None)
    names = rule_ids(finding)
    detail = {
        "sweep": document.sweep.id,
        "baseline": document.sweep.baseline,
        "state": finding.state,
        "severity": str(finding.severity),
        "certainty": finding.certainty,
        "verdict": finding.verdict.kind,
        "what": finding.what,
        "why": list(finding.why),
        "excuses": list(excuses(finding)),
        "capped": finding.capped,
        "entity": entity_object(finding.entity),
        "changes": [_attribute(change) for change in attribute_changes(finding)],
        "evidence": [_evidence(row, rules) for row in rows],
        "approval": _approval(finding.approval),
        "prevalence": _prevalence(finding),
        "triage": [{"name": name, "text": text} for name, text in document.triage.get(finding.fingerprint, ())],
    }
    return {
        "message": finding.title,
        "event": {
            "kind": "alert" if finding.is_open else "state",
            "module": "fleetscan",
            "dataset": "fleetscan.finding",
            "category": ["configuration", "registry"],
            "type": [_EVENT_TYPES.get(finding.state, "info")],
            "id": finding.fingerprint,
            "severity": SCORES[finding.severity],
        },
        "rule": {"id": list(names), "name": [rules[name].title if name in rules else name for name in names]},
        "threat": threat(techniques(finding)),
        **({"registry": registry} if registry else {}),
        **({"dll": {"path": finding.entity.get("dll")}} if finding.entity.get("dll") else {}),
        "fleetscan": detail,
    }


def _approval(approval: Approval | None) -> dict[str, str] | None:
    if approval is None:
        return None
    return {"id": approval.id, "owner": approval.owner, "expires": timestamp(approval.expires)}


def _change(change: ChangeRow, document: Document) -> dict[str, Any]:
    label = change.entity.label if change.entity else "the whole host"
    return {
        "message": f"{change.what}: {label}",
        "event": {
            "kind": "event",
            "module": "fleetscan",
            "dataset": "fleetscan.change",
            "category": ["configuration", "registry"],
            "type": [_CHANGE_TYPES.get(change.what, "info")],
            "severity": SCORES[change.severity],
        },
        "fleetscan": {
            "sweep": document.sweep.id,
            "baseline": document.sweep.baseline,
            "change": change.what,
            "severity": str(change.severity),
            "finding": change.finding,
            "why": change.why,
            "entity": entity_object(change.entity) if change.entity else None,
            "changes": [_attribute(attribute) for attribute in change.attributes],
        },
    }


def entity_object(entity: Entity) -> dict[str, Any]:
    """The entity as nested names and values."""
    return {
        "kind": entity.kind,
        "name": entity.title,
        "identity": dict(entity.identity),
        "attributes": dict(entity.attributes),
    }


def threat(names: tuple[str, ...]) -> dict[str, Any]:
    """ECS ``threat`` for ATT&CK technique ids; sub-techniques stand in their own field."""
    return {
        "framework": "MITRE ATT&CK",
        "technique": {
            "id": sorted({technique.partition(".")[0] for technique in names}),
            "subtechnique": {"id": sorted(technique for technique in names if "." in technique)},
        },
    }


def _registry(row: Evidence) -> dict[str, Any]:
    root, _, key = row.key.partition("\\")
    hive = _HIVES.get(root.upper(), root)
    return {
        "hive": hive,
        "key": key,
        "path": "\\".join(part for part in (hive, key, row.value) if part),
        "value": row.value,
        "data": {"type": row.type, "strings": [row.data]},
    }


def _evidence(row: Evidence, rules: Mapping[str, RuleInfo]) -> dict[str, Any]:
    rule = rules.get(row.rule_id)
    return {
        "source": row.source,
        "reason": row.reason,
        "rule": row.rule_id,
        "rule_sha256": rule.digest if rule else "",
        "severity": str(row.severity),
        "certainty": row.certainty or "",
        "excuse": row.excuse,
        "key": row.key,
        "value": row.value,
        "type": row.type,
        "data": row.data,
        "mtime": mtime(row.mtime),
        "scope": row.scope_id,
        "raw": [{"statement": raw.statement_id, "sha256": raw.sha256} for raw in row.raw],
    }


def _attribute(change: AttributeChange) -> dict[str, Any]:
    return {"name": change.name, "old": change.old, "new": change.new}


def _prevalence(finding: Finding) -> dict[str, int] | None:
    return None if finding.prevalence is None else {"hosts": finding.prevalence.hosts, "of": finding.prevalence.of}
