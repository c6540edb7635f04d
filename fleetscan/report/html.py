"""The HTML report: one file without network, whose rows are drawn by its own script from embedded JSON.

Nothing of a host becomes markup: texts are made ``visible``, embedded as JSON in which no ``<`` stands, and put on the
page as text nodes. A content security policy allows the one script and the one style sheet by their hashes.
Stock rows are counted, not embedded: a fleet has millions of them, and the CSV holds every one.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fleetscan.model.finding import Severity, VerdictKind
from fleetscan.report.csv import mtime, timestamp
from fleetscan.report.document import attribute_changes, changes, evidence, excuses, rule_ids, scope_of, techniques
from fleetscan.report.escape import visible
from fleetscan.report.steps import next_steps, reach_option, store_option
from fleetscan.report.table import prevalence_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jinja2 import Template

    from fleetscan.baseline.approvals import ApprovalUse
    from fleetscan.baseline.diff import AttributeChange
    from fleetscan.domain.entity import Entity
    from fleetscan.findings.model import Finding, PrevalenceLine
    from fleetscan.report.document import ChangeRow, Document, Evidence, Pairs, RuleInfo

LONGEST_TEXT = 8192
"""Longer texts are cut on the page, and say so; CSV and JSON hold them whole."""

Json = dict[str, Any]


def render(document: Document) -> str:
    """The page as one text."""
    script, style = _resource("report.js"), _resource("report.css")
    policy = (
        f"default-src 'none'; script-src 'sha256-{_hash(script)}'; style-src 'sha256-{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return _template().render(
        policy=policy,
        script=Markup(script),  # noqa: S704 - our own file, not a text from outside
        style=Markup(style),  # noqa: S704 - our own file, not a text from outside
        data=Markup(embedded(page_data(document))),  # noqa: S704 - JSON in which no markup can begin
        sweep=_sweep(document),
        counts=_counts(document),
        notes=[_text(note) for note in document.notes],
        steps=[{"why": step.why, "command": step.command} for step in next_steps(document)],
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("fleetscan.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2")


def _resource(name: str) -> str:
    return files("fleetscan.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode("ascii")


def embedded(value: object) -> str:
    """JSON for a script element: no ``<``, ``>`` or ``&`` stands in it, so that no markup can begin or end there."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _text(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[:LONGEST_TEXT]}... (cut, {len(text)} characters)"


def _lines(text: str) -> str:
    """A text of a rule file, which may have lines."""
    return "\n".join(map(_text, text.splitlines()))


def page_data(document: Document) -> Json:
    """What the script draws, all texts visible."""
    return {
        "sweep": _sweep(document),
        "reach": reach_option(document),
        "store": store_option(document),
        "rules": [_rule(rule) for rule in document.rules],
        "scopes": [{"id": _text(scope.id), "text": _text(scope.text)} for scope in document.scopes],
        "statements": [{"id": _text(item.id), "sql": _text(item.sql)} for item in document.statements],
        **_hosts(document),
        "findings": [_finding(document, item) for item in document.assessment.findings if not item.is_stock],
        "changes": [_change(change) for change in changes(document, folded=True)],
        "prevalence": [_prevalence(item) for item in document.assessment.prevalence],
        "approvals": [_approval(use) for use in document.assessment.approvals],
    }


def _sweep(document: Document) -> dict[str, str]:
    sweep = document.sweep
    return {
        "id": _text(sweep.id),
        "started": timestamp(sweep.started),
        "finished": timestamp(sweep.finished),
        "baseline": _text(sweep.baseline),
        "inventory": _text(sweep.inventory),
        "plan": _text(sweep.plan),
        "rules": _text(sweep.rules),
        "previous": _text(sweep.previous),
        "seal": _text(sweep.seal),
        "version": _text(sweep.version),
        "generated": timestamp(sweep.generated),
    }


def _counts(document: Document) -> Json:
    """The numbers of the summary, which stand on the page even where no script runs."""
    stock = sum(document.stock.values(), Counter[VerdictKind]())
    unreachable = sum(bool(host.unreachable) for host in document.hosts)
    complete = sum(host.is_complete for host in document.hosts)
    severities = document.severities
    return {
        "hosts": len(document.hosts),
        "complete": complete,
        "partial": len(document.hosts) - complete - unreachable,
        "unreachable": unreachable,
        "findings": sum(severities.values()),
        "severities": [(str(severity), severities[severity]) for severity in sorted(Severity, reverse=True)],
        "states": [(str(state), number) for state, number in document.states.most_common()],
        "known_good": stock[VerdictKind.EXPECTED],
        "likely": stock[VerdictKind.LIKELY],
        "rules": len(document.rules),
        "changes": len(document.assessment.changes),
        "blind_spots": sum(len(host.blind_spots) for host in document.hosts),
    }


class _Interned:
    """Values by number, each kept once: hosts of a gold image have equal coverage."""

    def __init__(self, make: Callable[[Any], object]) -> None:
        self._make = make
        self._numbers: dict[object, int] = {}
        self.values: list[object] = []

    def number(self, key: object) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(self._make(key))
        return self._numbers[key]


def _hosts(document: Document) -> Json:
    rules, scopes = _Interned(_rule_coverage), _Interned(_scope_coverage)
    facts, groups = _Interned(_pairs), _Interned(lambda names: [_text(name) for name in names])
    stock = document.stock
    rows = [
        [
            _text(host.name),
            groups.number(host.groups),
            facts.number(host.facts),
            rules.number(host.rules),
            scopes.number(host.scopes),
            stock[host.name][VerdictKind.EXPECTED],
            stock[host.name][VerdictKind.LIKELY],
            host.state,
            list(map(_text, host.incomplete)),
            [list(map(_text, spot)) for spot in host.blind_spots],
        ]
        for host in document.hosts
    ]
    return {
        "hosts": rows,
        "groups": groups.values,
        "facts": facts.values,
        "ruleCoverage": rules.values,
        "scopeCoverage": scopes.values,
    }


def _rule_coverage(items: Any) -> object:  # noqa: ANN401 - a tuple of RuleCoverage, seen through _Interned
    return [[_text(item.rule_id), item.status, _text(item.reason), _text(item.detail)] for item in items]


def _scope_coverage(items: Any) -> object:  # noqa: ANN401 - a tuple of ScopeCoverage, seen through _Interned
    return [[_text(item.scope_id), item.status, _text(item.reason), _text(item.detail)] for item in items]


def _rule(rule: RuleInfo) -> Json:
    return {
        "id": _text(rule.id),
        "title": _text(rule.title),
        "severity": str(rule.severity),
        "dialect": _text(rule.dialect),
        "label": _text(rule.label),
        "techniques": [_text(technique) for technique in rule.techniques],
        "description": _lines(rule.description),
        "guidance": _lines(rule.guidance),
        "falsePositives": [_text(text) for text in rule.false_positives],
        "references": [_text(text) for text in rule.references],
        "author": _text(rule.author),
        "license": _text(rule.license),
        "digest": _text(rule.digest),
    }


def _pairs(pairs: Pairs) -> list[list[str]]:
    return [[_text(name), _text(value)] for name, value in pairs if value]


def _entity(entity: Entity) -> Json:
    return {
        "kind": _text(entity.kind),
        "label": _text(entity.label),
        "name": _text(entity.title),
        "identity": _pairs(entity.identity),
        "attributes": _pairs(entity.attributes),
        "ignored": _pairs(entity.ignored),
    }


def _attributes(changes: Iterable[AttributeChange]) -> list[list[str | None]]:
    return [[_text(change.name), _side(change.old), _side(change.new)] for change in changes]


def _side(value: str | None) -> str | None:
    return None if value is None else _text(value)


def _finding(document: Document, finding: Finding) -> Json:
    prevalence, approval = finding.prevalence, finding.approval
    return {
        "id": _text(finding.fingerprint),
        "host": _text(finding.host),
        "title": _text(finding.title),
        "severity": str(finding.severity),
        "certainty": str(finding.certainty),
        "state": str(finding.state),
        "verdict": str(finding.verdict.kind),
        "what": str(finding.what),
        "open": finding.is_open,
        "why": [_text(reason) for reason in finding.why],
        "excuses": [_text(excuse) for excuse in excuses(finding)],
        "capped": _text(finding.capped),
        "rules": [_text(rule) for rule in rule_ids(finding)],
        "techniques": [_text(technique) for technique in techniques(finding)],
        "entity": _entity(finding.entity),
        "changes": _attributes(attribute_changes(finding)),
        "evidence": [_evidence(row) for row in evidence(document, finding)],
        "hosts": prevalence.hosts if prevalence else None,
        "of": prevalence.of if prevalence else None,
        "prevalence": _text(prevalence_words(prevalence)) if prevalence else "",
        "approval": _text(f"{approval.owner} until {approval.expires}: {approval.reason}") if approval else "",
        "triage": _pairs(document.triage.get(finding.fingerprint, ())),
    }


def _evidence(row: Evidence) -> Json:
    return {
        "source": _text(row.source),
        "rule": _text(row.rule_id),
        "severity": str(row.severity),
        "certainty": str(row.certainty or ""),
        "reason": _text(row.reason),
        "excuse": _text(row.excuse),
        "key": _text(row.key),
        "value": _text(row.value),
        "type": _text(row.type),
        "data": _text(row.data),
        "mtime": mtime(row.mtime),
        "scope": _text(row.scope_id),
        "raw": [[_text(raw.statement_id), _text(raw.sha256)] for raw in row.raw],
    }


def _change(change: ChangeRow) -> Json:
    return {
        "host": _text(change.hosts[0]) if len(change.hosts) == 1 else f"{len(change.hosts)} of {change.of} hosts",
        "hosts": [_text(host) for host in change.hosts],
        "what": _text(change.what),
        "severity": str(change.severity),
        "finding": _text(change.finding),
        "why": _text(change.why),
        "entity": _entity(change.entity) if change.entity else None,
        "changes": _attributes(change.attributes),
    }


def _prevalence(item: PrevalenceLine) -> Json:
    return {
        "entity": _entity(item.entity),
        "hosts": item.total.hosts,
        "of": item.total.of,
        "newOn": item.new_on,
        "severity": str(item.verdict.severity),
        "verdict": str(item.verdict.kind),
        "stock": item.verdict.is_fine,
        "builds": [[_text(share.build), share.hosts, share.of] for share in item.builds],
    }


def _approval(use: ApprovalUse) -> Json:
    approval = use.approval
    return {
        "id": _text(approval.id),
        "owner": _text(approval.owner),
        "reason": _text(approval.reason),
        "scope": _text(scope_of(approval)),
        "created": timestamp(approval.created),
        "expires": timestamp(approval.expires),
        "uses": use.uses,
        "state": _text(use.state),
        "where": _text(str(approval.where or "")),
    }
