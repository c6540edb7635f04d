"""SARIF 2.1.0: findings as results of a run, hosts that were not covered as notifications of its invocation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from fleetscan.model.finding import FindingState, Severity
from fleetscan.report.csv import timestamp
from fleetscan.report.document import evidence, excuses, rule_ids, techniques
from fleetscan.report.escape import visible
from fleetscan.report.json import SCORES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fleetscan.findings.model import Finding
    from fleetscan.report.document import Document, Evidence, HostReport, RuleInfo

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "fleetscan/v1"

_LEVELS = {
    Severity.INFO: "note",
    Severity.LOW: "note",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "error",
}
_BASELINE_STATES = {
    FindingState.NEW: "new",
    FindingState.CHANGED: "updated",
    FindingState.STILL_THERE: "unchanged",
    FindingState.APPROVED: "unchanged",
    FindingState.GONE: "absent",
}


def log(document: Document) -> dict[str, Any]:
    """The whole log: one run."""
    findings = [finding for finding in document.assessment.findings if not finding.is_stock]
    descriptors = [*map(_descriptor, document.rules), *_own_descriptors(document.rules, findings)]
    index = {descriptor["id"]: position for position, descriptor in enumerate(descriptors)}
    baseline = document.sweep.baseline
    run = {
        "tool": {
            "driver": {
                "name": "fleetscan",
                "version": document.sweep.version or "0",
                "rules": descriptors,
            }
        },
        "automationDetails": {"id": f"fleetscan/{quote(document.sweep.id, safe='')}"},
        "invocations": [_invocation(document)],
        "columnKind": "unicodeCodePoints",
        "results": [_result(document, finding, index) for finding in findings],
    }
    if baseline:
        run["baselineGuid"] = str(uuid5(NAMESPACE_URL, f"fleetscan:baseline:{visible(baseline)}"))
    return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}


def _descriptor(rule: RuleInfo) -> dict[str, Any]:
    help_text = visible_lines(rule.guidance)
    return {
        "id": visible(rule.id),
        "shortDescription": {"text": visible(rule.title) or visible(rule.id)},
        **({"fullDescription": {"text": visible_lines(rule.description)}} if rule.description else {}),
        **({"help": {"text": help_text, "markdown": help_text}} if help_text else {}),
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {
            "tags": sorted({"security", *map(visible, rule.techniques)}),
            "security-severity": f"{SCORES[rule.severity] / 10:.1f}",
            "sha256": rule.digest,
        },
    }


def visible_lines(text: str) -> str:
    """``visible`` text that keeps its line breaks: for texts that a reader's viewer lays out."""
    return "\n".join(map(visible, text.splitlines()))


def _own_descriptors(rules: Iterable[RuleInfo], findings: Iterable[Finding]) -> Iterator[dict[str, Any]]:
    """Descriptors for findings that no rule made: the known-good list, the baseline, a detection query."""
    known = {visible(rule.id) for rule in rules}
    for name in sorted({_rule_id(finding) for finding in findings} - known):
        yield {
            "id": name,
            "shortDescription": {"text": f"Reported by {name}"},
            "defaultConfiguration": {"level": "warning"},
        }


def _rule_id(finding: Finding) -> str:
    if finding.hits:
        return visible(finding.hits[0].rule_id)
    return "fleetscan/baseline" if finding.verdict.is_fine else "fleetscan/known-good"


def _result(document: Document, finding: Finding, index: Mapping[str, int]) -> dict[str, Any]:
    rule = _rule_id(finding)
    rows = [row for row in evidence(document, finding) if row.key]
    result: dict[str, Any] = {
        "ruleId": rule,
        "ruleIndex": index[rule],
        "level": _LEVELS[finding.severity],
        "message": {"text": _message(finding)},
        "locations": [_location(finding.host, rows[0] if rows else None)],
        "partialFingerprints": {FINGERPRINT: visible(finding.fingerprint)},
        "rank": float(SCORES[finding.severity]),
        "properties": {
            "certainty": finding.certainty,
            "verdict": finding.verdict.kind,
            "rules": [visible(name) for name in rule_ids(finding)],
            "tags": [visible(technique) for technique in techniques(finding)],
            "rawSha256": sorted({raw.sha256 for row in rows for raw in row.raw}),
        },
    }
    if len(rows) > 1:
        result["relatedLocations"] = [{"id": n, **_location(finding.host, row)} for n, row in enumerate(rows[1:])]
    if document.sweep.baseline and finding.state in _BASELINE_STATES:
        result["baselineState"] = _BASELINE_STATES[finding.state]
    if finding.approval:
        words = f"{finding.approval.owner} until {finding.approval.expires}: {finding.approval.reason}"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": visible(words)}]
    return result


def _message(finding: Finding) -> str:
    parts = (f"{finding.host}: {finding.title}", *finding.why, *excuses(finding))
    return ". ".join(visible(part) for part in parts if part)


def _location(host: str, row: Evidence | None) -> dict[str, Any]:
    name = f"{row.key}\\{row.value}" if row and row.value else (row.key if row else "")
    logical = [{"fullyQualifiedName": visible(name), "kind": "resource"}] if name else []
    return {
        "physicalLocation": {"artifactLocation": {"uri": host_uri(host)}, "region": {"startLine": 1}},
        **({"logicalLocations": logical} if logical else {}),
    }


def host_uri(host: str) -> str:
    """``hosts/NAME`` as a relative reference in which the name cannot climb out of the folder."""
    name = quote(visible(host), safe="")
    return f"hosts/{name if name.strip('.') else name.replace('.', '%2E')}"


def _invocation(document: Document) -> dict[str, Any]:
    open_hosts = [host for host in document.hosts if not host.is_complete or host.limits]
    return {
        "executionSuccessful": not document.hosts or any(not host.unreachable for host in document.hosts),
        "startTimeUtc": timestamp(document.sweep.started),
        "endTimeUtc": timestamp(document.sweep.finished),
        "toolExecutionNotifications": [_notification(host) for host in open_hosts],
    }


def _notification(host: HostReport) -> dict[str, Any]:
    reasons = sorted({*(scope.reason for scope in host.scopes), *(rule.reason for rule in host.rules)} - {""})
    reasons += filter(None, [host.limits])
    return {
        "level": "error" if host.unreachable else "warning",
        "message": {"text": f"{visible(host.name)} is not wholly covered: {visible(', '.join(reasons)) or 'unknown'}"},
        "locations": [_location(host.name, None)],
    }
