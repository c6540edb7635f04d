"""ATT&CK Navigator layer (format 4.5): how many findings each technique has, and what was looked for without one."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from fleetscan.report.document import techniques
from fleetscan.report.escape import visible

if TYPE_CHECKING:
    from fleetscan.findings.model import Finding
    from fleetscan.report.document import Document

LAYER_VERSION = "4.5"
NAVIGATOR_VERSION = "4.9.0"
COMMENT_HOSTS = 10


def layer(document: Document) -> dict[str, Any]:
    """The layer; a technique that some rule looks for is in it with score 0 when nothing was found."""
    by_technique: dict[str, list[Finding]] = defaultdict(list)
    for finding in document.open_findings:
        for technique in techniques(finding):
            by_technique[technique].append(finding)
    looked_for = Counter(technique for rule in document.rules for technique in rule.techniques)
    names = sorted(by_technique.keys() | looked_for.keys())
    return {
        "name": f"fleetscan {document.sweep.id}",
        "versions": {"navigator": NAVIGATOR_VERSION, "layer": LAYER_VERSION},
        "domain": "enterprise-attack",
        "description": f"Findings that need attention, sweep {document.sweep.id}, {len(document.hosts)} hosts",
        "filters": {"platforms": ["Windows"]},
        "sorting": 3,
        "techniques": [_technique(name, by_technique[name], looked_for[name]) for name in names],
        "gradient": {
            "colors": ["#8ec843", "#ffe766", "#ff6666"],
            "minValue": 0,
            "maxValue": max(1, *map(len, by_technique.values())) if by_technique else 1,
        },
        "legendItems": [
            {"label": "looked for, nothing found", "color": "#8ec843"},
            {"label": "most findings", "color": "#ff6666"},
        ],
    }


def _technique(name: str, findings: list[Finding], rules: int) -> dict[str, Any]:
    hosts = sorted({finding.host for finding in findings})
    named = ", ".join(map(visible, hosts[:COMMENT_HOSTS]))
    more = f" and {len(hosts) - COMMENT_HOSTS} more" if len(hosts) > COMMENT_HOSTS else ""
    severities = Counter(str(finding.severity) for finding in findings)
    return {
        "techniqueID": name,
        "score": len(findings),
        "comment": f"{len(findings)} findings on {named}{more}" if findings else "looked for, nothing found",
        "metadata": [
            {"name": "hosts", "value": str(len(hosts))},
            {"name": "rules", "value": str(rules)},
            *({"name": severity, "value": str(number)} for severity, number in severities.items()),
        ],
        "showSubtechniques": True,
    }
