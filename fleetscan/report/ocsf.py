"""OCSF detection findings (class 2004, schema 1.4.0): one JSON line per finding that is not stock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleetscan.model.finding import Certainty, FindingState, Severity
from fleetscan.report.csv import mtime
from fleetscan.report.document import evidence, excuses, rule_ids, techniques
from fleetscan.report.json import entity_object, to_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from fleetscan.findings.model import Finding
    from fleetscan.report.document import Document, Evidence, RuleInfo

OCSF_VERSION = "1.4.0"
SCHEMA = "ocsf.schema.json"
CLASS_UID = 2004

CREATE, UPDATE, CLOSE = 1, 2, 3
_ACTIVITIES = {
    FindingState.STILL_THERE: UPDATE,
    FindingState.CHANGED: UPDATE,
    FindingState.APPROVED: UPDATE,
    FindingState.GONE: CLOSE,
}
_ACTIVITY_NAMES = {CREATE: "Create", UPDATE: "Update", CLOSE: "Close"}
_STATUSES = {FindingState.APPROVED: (3, "Suppressed"), FindingState.GONE: (4, "Resolved")}
_NEW = (1, "New")
_SEVERITIES = {
    Severity.INFO: (1, "Informational"),
    Severity.LOW: (2, "Low"),
    Severity.MEDIUM: (3, "Medium"),
    Severity.HIGH: (4, "High"),
    Severity.CRITICAL: (5, "Critical"),
}
_CONFIDENCES = {Certainty.POSSIBLE: (2, "Medium"), Certainty.CERTAIN: (3, "High")}


def lines(document: Document) -> Iterator[str]:
    """One JSON text per finding, without line breaks."""
    return (to_text(value) for value in objects(document))


def objects(document: Document) -> Iterator[dict[str, Any]]:
    """The objects behind the lines."""
    rules = {rule.id: rule for rule in document.rules}
    return (_finding(finding, rules, document) for finding in document.assessment.findings if not finding.is_stock)


def _finding(finding: Finding, rules: Mapping[str, RuleInfo], document: Document) -> dict[str, Any]:
    activity = _ACTIVITIES.get(finding.state, CREATE)
    severity_id, severity = _SEVERITIES[finding.severity]
    status_id, status = _STATUSES.get(finding.state, _NEW)
    confidence_id, confidence = _CONFIDENCES[finding.certainty]
    return {
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": "Detection Finding",
        "activity_id": activity,
        "activity_name": _ACTIVITY_NAMES[activity],
        "type_uid": CLASS_UID * 100 + activity,
        "time": _milliseconds(document.sweep.finished),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "confidence_id": confidence_id,
        "confidence": confidence,
        "is_alert": finding.is_open,
        "message": finding.title,
        "metadata": {
            "version": OCSF_VERSION,
            "correlation_uid": document.sweep.id,
            "product": {"name": "fleetscan", "vendor_name": "fleetscan", "version": document.sweep.version},
        },
        "finding_info": _info(finding, rules, document),
        "resources": [{"type": "host", "name": finding.host}],
        "evidences": [{"name": row.source, "data": _evidence(row)} for row in evidence(document, finding)],
        "unmapped": {
            "entity": entity_object(finding.entity),
            "state": finding.state,
            "verdict": finding.verdict.kind,
            "what": finding.what,
            "excuses": list(excuses(finding)),
        },
    }


def _info(finding: Finding, rules: Mapping[str, RuleInfo], document: Document) -> dict[str, Any]:
    analytics = [
        {"type_id": 1, "type": "Rule", "uid": name, "name": rules[name].title if name in rules else name}
        for name in rule_ids(finding)
    ]
    return {
        "uid": finding.fingerprint,
        "title": finding.title,
        "desc": " ".join(finding.why),
        "created_time": _milliseconds(document.sweep.finished),
        "types": [finding.entity.kind],
        "attacks": [_attack(technique) for technique in techniques(finding)],
        **({"analytic": analytics[0]} if analytics else {}),
        **({"related_analytics": analytics[1:]} if analytics[1:] else {}),
    }


def _attack(technique: str) -> dict[str, Any]:
    parent, dot, _ = technique.partition(".")
    return {"technique": {"uid": parent}, **({"sub_technique": {"uid": technique}} if dot else {})}


def _evidence(row: Evidence) -> dict[str, Any]:
    return {
        "reason": row.reason,
        "excuse": row.excuse,
        "registry_key": row.key,
        "registry_value": row.value,
        "registry_type": row.type,
        "registry_data": row.data,
        "registry_mtime": mtime(row.mtime),
        "scope": row.scope_id,
        "raw": [{"statement": raw.statement_id, "sha256": raw.sha256} for raw in row.raw],
    }


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
