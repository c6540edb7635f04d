"""JSON Lines with Elastic Common Schema names: one object per finding and per change.

Texts are exact, in ASCII with JSON escapes, so that a line stays a line and a log stays a log. A text that is no
Unicode text (an unpaired surrogate) is written in the notation of ``escape.visible``. The schema is
``schemas/finding.schema.json``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fleetscan.model.finding import Severity
from fleetscan.report.csv import mtime, timestamp
from fleetscan.report.document import State, entity_label
from fleetscan.report.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fleetscan.report.document import (
        AttributeChange,
        Change,
        Document,
        Entity,
        Evidence,
        Finding,
        HostReport,
        RuleInfo,
    )

ECS_VERSION = "8.17.0"
SCHEMA = "finding.schema.json"

SCORES = {Severity.INFO: 0, Severity.LOW: 21, Severity.MEDIUM: 47, Severity.HIGH: 73, Severity.CRITICAL: 99}
"""Severity as the number that Elastic's own rules use."""

_EVENT_TYPES = {State.NEW: "creation", State.CHANGED: "change", State.GONE: "deletion"}
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
    for finding in document.findings:
        yield {**head, "host": hosts.get(finding.host, {"name": finding.host}), **_finding(finding, rules, document)}
    for change in document.changes:
        yield {**head, "host": hosts.get(change.host, {"name": change.host}), **_change(change, document)}


def _host(host: HostReport) -> dict[str, Any]:
    facts = dict(host.facts)
    system = {"name": facts.get("os", ""), "version": facts.get("build", ""), "type": "windows"}
    return {"name": host.name, "architecture": facts.get("arch", ""), "os": system}


def _finding(finding: Finding, rules: Mapping[str, RuleInfo], document: Document) -> dict[str, Any]:
    rows = [_evidence(row, rules) for row in finding.evidence]
    registry = next((_registry(row) for row in finding.evidence if row.key), None)
    detail = {
        "sweep": document.sweep.id,
        "baseline": document.sweep.baseline,
        "state": finding.state,
        "severity": str(finding.severity),
        "certainty": finding.certainty,
        "verdict": finding.verdict,
        "reasons": list(finding.reasons),
        "qualifiers": list(finding.qualifiers),
        "entity": entity_object(finding.entity),
        "changes": [_attribute(change) for change in finding.changes],
        "evidence": rows,
        "approval": finding.approval,
        "prevalence": _prevalence(finding),
        "triage": dict(finding.triage),
    }
    return {
        "message": finding.title,
        "event": {
            "kind": "state" if finding.is_folded else "alert",
            "module": "fleetscan",
            "dataset": "fleetscan.finding",
            "category": ["configuration", "registry"],
            "type": [_EVENT_TYPES.get(finding.state, "info")],
            "id": finding.id,
            "severity": SCORES[finding.severity],
        },
        "rule": {
            "id": list(finding.rule_ids),
            "name": [rules[name].title if name in rules else name for name in finding.rule_ids],
        },
        "threat": threat(finding.techniques),
        **({"registry": registry} if registry else {}),
        **({"dll": {"path": finding.entity.get("dll")}} if finding.entity.get("dll") else {}),
        "fleetscan": detail,
    }


def _change(change: Change, document: Document) -> dict[str, Any]:
    return {
        "message": f"{change.what}: {entity_label(change.entity)}",
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
            "finding": change.finding_id,
            "reason": change.reason,
            "entity": entity_object(change.entity),
            "changes": [_attribute(attribute) for attribute in change.attributes],
        },
    }


def entity_object(entity: Entity) -> dict[str, Any]:
    """The entity as nested names and values."""
    return {
        "kind": entity.kind,
        "name": entity.name,
        "identity": dict(entity.identity),
        "attributes": dict(entity.attributes),
    }


def threat(techniques: tuple[str, ...]) -> dict[str, Any]:
    """ECS ``threat`` for ATT&CK technique ids; sub-techniques stand in their own field."""
    return {
        "framework": "MITRE ATT&CK",
        "technique": {
            "id": sorted({technique.partition(".")[0] for technique in techniques}),
            "subtechnique": {"id": sorted(technique for technique in techniques if "." in technique)},
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
        "qualifier": row.qualifier,
        "key": row.key,
        "value": row.value,
        "type": row.type,
        "data": row.data,
        "mtime": mtime(row.mtime),
        "scope": row.scope_id,
        "statement": row.statement_id,
        "raw_sha256": row.raw_sha256,
    }


def _attribute(change: AttributeChange) -> dict[str, Any]:
    return {"name": change.name, "old": change.old, "new": change.new}


def _prevalence(finding: Finding) -> dict[str, int] | None:
    return None if finding.prevalence is None else {"hosts": finding.prevalence.hosts, "of": finding.prevalence.of}
