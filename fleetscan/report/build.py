"""The document of a stored sweep: an assessment together with what the store knows of plan, hosts and answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from fleetscan import __version__
from fleetscan.domain.areas import AREAS
from fleetscan.model.detection import is_detection
from fleetscan.model.finding import Severity
from fleetscan.model.rule import Subject
from fleetscan.model.snapshot import Reason, Unreachable
from fleetscan.planner.plan import make_plan
from fleetscan.report.coverage import rule_coverage, scope_coverage
from fleetscan.report.document import (
    Document,
    HostReport,
    Pairs,
    RawHash,
    RuleInfo,
    ScopeInfo,
    StatementInfo,
    SweepInfo,
    rule_ids,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from fleetscan.findings.model import Assessment, HostCoverage
    from fleetscan.model.rule import Rule
    from fleetscan.model.snapshot import HostFacts, Status
    from fleetscan.queries import Query
    from fleetscan.report.document import RuleCoverage, ScopeCoverage
    from fleetscan.store.interface import PlanRecord, RuleRecord, Store, Sweep, SweepId

_REMOVED = frozenset({Subject.REMOVED_VALUE, Subject.REMOVED_KEY})


def build_document(  # noqa: PLR0913 - what a report is made of
    store: Store,
    sweep: Sweep,
    assessment: Assessment,
    rules: Sequence[Rule],
    *,
    detections: Sequence[Query] = (),
    plan: PlanRecord | None = None,
    inventory: str = "",
    generated: datetime | None = None,
    triage: Mapping[str, Pairs] | None = None,
) -> Document:
    """Everything a report prints.

    ``rules`` are those the assessment was made with; ``plan`` is their plan, where it is not the one of the sweep.
    """
    asked = store.plan(sweep.id)
    infos = (*_rules(rules, (plan or asked).rules), *map(_detection, detections))
    hosts = tuple(_hosts(store, sweep.id, assessment, infos, asked))
    return Document(
        sweep=SweepInfo(
            id=sweep.id,
            started=sweep.started,
            finished=sweep.finished or sweep.started,
            plan=sweep.plan_digest,
            rules=sweep.rules_digest,
            seal=sweep.seal,
            previous=sweep.previous,
            baseline=assessment.baseline,
            inventory=inventory,
            version=__version__,
            generated=generated,
        ),
        assessment=assessment,
        hosts=hosts,
        rules=infos,
        scopes=tuple(ScopeInfo(scope_id, text) for scope_id, text in asked.scopes),
        statements=tuple(StatementInfo(statement_id, sql) for statement_id, sql in asked.statements),
        raw={host: tuple(RawHash(*pair) for pair in pairs) for host, pairs in store.raw_hashes(sweep.id).items()},
        scope_statements=_scope_statements(asked, rules),
        triage=triage or {},
        notes=(*_notes(sweep, assessment, infos), *_limited(hosts), *_unanswerable(assessment, detections)),
    )


def _scope_statements(asked: PlanRecord, rules: Sequence[Rule]) -> dict[str, tuple[str, ...]]:
    """The statements that may have answered a scope.

    The store keeps no scopes of a statement; planning the rules again tells them, because a statement of the same text
    has the same id. One that today's plan does not have may have answered any scope.
    """
    scopes = {statement.id: statement.scope_ids for statement in make_plan(rules, extra_scopes=AREAS).statements}
    names = [name for name, _ in asked.statements if not is_detection(name)]
    return {
        scope_id: (scope_id,)
        if is_detection(scope_id)
        else tuple(name for name in names if scope_id in scopes.get(name, (scope_id,)))
        for scope_id, _ in asked.scopes
    }


def _rules(rules: Sequence[Rule], records: Sequence[RuleRecord]) -> Iterator[RuleInfo]:
    planned = {record.id: record for record in records}
    for rule in rules:
        record = planned.get(rule.id)
        yield RuleInfo(
            id=rule.id,
            title=rule.title,
            severity=rule.level,
            dialect=rule.dialect,
            label=record.label if record else "",
            scope_ids=record.scope_ids if record else (),
            needs_baseline=bool(rule.subjects) and rule.subjects <= _REMOVED,
            techniques=rule.techniques,
            description=rule.description,
            guidance=rule.note,
            false_positives=rule.false_positives,
            references=rule.references,
            author=rule.author,
            license=rule.license,
            digest=rule.digest,
        )


def _detection(query: Query) -> RuleInfo:
    """A detection is told like a rule: its one scope is its one statement."""
    return RuleInfo(
        id=query.name,
        title=query.title,
        severity=query.severity or Severity.MEDIUM,
        dialect="osquery",
        label="exact",
        scope_ids=(query.scope_id,),
        techniques=query.techniques,
        description=query.description,
        guidance=query.answers,
        digest=query.digest,
    )


def _hosts(
    store: Store, sweep: SweepId, assessment: Assessment, rules: Sequence[RuleInfo], plan: PlanRecord
) -> Iterator[HostReport]:
    covered = {coverage.host: coverage for coverage in assessment.coverage}
    facts, spots = store.fleet_facts(sweep), store.blind_spots(sweep)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for finding in assessment.findings:
        if finding.is_open:
            found[finding.host].update(rule_ids(finding))
    unasked = tuple((scope_id, Unreachable(Reason.NOT_ASKED)) for scope_id, _ in plan.scopes)
    shared = _Shared(rules, compared=bool(assessment.baseline))
    for host in store.hosts(sweep):
        coverage = covered.get(host.id)
        scopes, by_rule = shared.coverage(coverage.scopes if coverage else unasked, found[host.id])
        yield HostReport(
            name=host.id,
            groups=host.groups,
            facts=_facts(facts.get(host.id)),
            rules=by_rule,
            scopes=scopes,
            incomplete=_incomplete(coverage),
            blind_spots=tuple((spot.kind, spot.key, spot.detail) for spot in spots.get(host.id, ())),
            finished=host.finished,
        )


class _Shared:
    """Coverage of hosts that answered alike, made once."""

    def __init__(self, rules: Sequence[RuleInfo], *, compared: bool) -> None:
        self._rules = rules
        self._compared = compared
        self._scopes: dict[tuple[tuple[str, Status], ...], tuple[ScopeCoverage, ...]] = {}
        self._by_rule: dict[tuple[int, tuple[int, ...]], tuple[RuleCoverage, ...]] = {}

    def coverage(
        self, statuses: tuple[tuple[str, Status], ...], found: Counter[str]
    ) -> tuple[tuple[ScopeCoverage, ...], tuple[RuleCoverage, ...]]:
        """By scope and by rule, for a host with so many open findings by rule."""
        if statuses not in self._scopes:
            self._scopes[statuses] = tuple(scope_coverage(scope_id, status) for scope_id, status in statuses)
        scopes = self._scopes[statuses]
        counts = tuple(found[rule.id] for rule in self._rules)
        key = (id(scopes), counts)
        if key not in self._by_rule:
            table = {scope.scope_id: scope for scope in scopes}
            pairs = zip(self._rules, counts, strict=True)
            self._by_rule[key] = tuple(
                rule_coverage(rule, table, number, compared=self._compared) for rule, number in pairs
            )
        return scopes, self._by_rule[key]


def _incomplete(coverage: HostCoverage | None) -> tuple[str, ...]:
    """What is not whole beside the scopes, which are listed by themselves."""
    if coverage is None:
        return ()
    scopes = {scope_id for scope_id, _ in coverage.scopes}
    return tuple(text for text in coverage.incomplete if text.partition(":")[0] not in scopes)


def _facts(facts: HostFacts | None) -> Pairs:
    if facts is None:
        return ()
    pairs = (
        ("os", facts.os_name),
        ("version", facts.os_version),
        ("build", facts.os_build),
        ("arch", facts.arch),
        ("osquery", facts.osquery_version),
        ("hostname", facts.hostname),
        ("account", facts.extra.get("account", "")),
        ("limits", facts.limits),
    )
    return tuple((name, value) for name, value in pairs if value)


def _notes(sweep: Sweep, assessment: Assessment, rules: Sequence[RuleInfo]) -> Iterator[str]:
    if sweep.finished is None:
        yield f"the sweep is not finished: fleetscan sweep --resume {sweep.id}"
    unplanned = [rule for rule in rules if rule.label == "unplannable"]
    if unplanned:
        yield f"{_count(len(unplanned), 'rule')} cannot be answered by state: fleetscan plan says why"
    for use in assessment.approvals:
        if use.state == "expired":
            yield f"approval {use.approval.id} of {use.approval.owner} expired on {use.approval.expires}"
        elif use.state == "never used":
            yield f"approval {use.approval.id} of {use.approval.owner} covers nothing in this sweep"
    if assessment.first_seen:
        yield f"not in the baseline: {_names(assessment.first_seen)}"
    if assessment.no_longer_listed:
        yield f"in the baseline, not in this sweep: {_names(assessment.no_longer_listed)}"


def _unanswerable(assessment: Assessment, detections: Sequence[Query]) -> Iterator[str]:
    """Detections that hosts have no tables for, in one line: not clean, and nothing to repair either."""
    reasons = {
        (coverage.host, scope_id): status.detail
        for coverage in assessment.coverage
        for scope_id, status in coverage.scopes
        if isinstance(status, Unreachable) and status.reason is Reason.NOT_ANSWERABLE
    }
    if reasons:
        asked = {query.scope_id for query in detections} & {scope_id for _, scope_id in reasons}
        hosts = len({host for host, _ in reasons})
        why = ", ".join(sorted({detail.rpartition(" ")[2] for detail in reasons.values()}))
        yield f"{_count(len(asked), 'detection')} not answerable on {_count(hosts, 'host')}, which have no {why}"


def _limited(hosts: Sequence[HostReport]) -> Iterator[str]:
    """Hosts that were asked without elevation, in one line."""
    limited = [host.name for host in hosts if host.limits]
    if limited:
        yield f"asked without elevation: {_names(limited)}; there SECURITY, SAM and other users' hives cannot be read"


def _names(hosts: Sequence[str]) -> str:
    shown = ", ".join(hosts[:5])
    return shown if len(hosts) <= 5 else f"{shown} and {len(hosts) - 5} more"  # noqa: PLR2004 - the five shown


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
