"""Coverage by rule: from the status of every scope to what a host can say about a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from fleetscan.model.snapshot import Complete, Partial, Reason, Unreachable
from fleetscan.report.document import Covered, RuleCoverage, ScopeCoverage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetscan.model.snapshot import Status
    from fleetscan.report.document import RuleInfo

ANSWERED_WHOLE = frozenset({"exact", "complete", "complete under assumptions"})
"""Labels of rules of which a covered host can be called clean."""

NEEDS_BASELINE = "needs a baseline"
"""Reason for a rule about what disappeared, where there is nothing to compare with."""


def scope_coverage(scope_id: str, status: Status) -> ScopeCoverage:
    """A scope's status as reports show it."""
    match status:
        case Complete():
            return ScopeCoverage(scope_id=scope_id, status=Covered.COMPLETE)
        case Unreachable(Reason.NOT_ANSWERABLE, detail):
            return ScopeCoverage(
                scope_id=scope_id, status=Covered.NOT_ANSWERABLE, reason=Reason.NOT_ANSWERABLE, detail=detail
            )
        case Partial(reason, detail):
            return ScopeCoverage(scope_id=scope_id, status=Covered.PARTIAL, reason=reason, detail=detail)
        case Unreachable(reason, detail):
            return ScopeCoverage(scope_id=scope_id, status=Covered.UNREACHABLE, reason=reason, detail=detail)
    assert_never(status)


def rule_coverage(
    rule: RuleInfo, scopes: Mapping[str, ScopeCoverage], found: int, *, compared: bool = True
) -> RuleCoverage:
    """What a host can say about a rule; clean only if every scope the rule needs is complete.

    ``found`` are the rule's open findings on the host; ``compared``: there is a baseline. A rule that state answers in
    part, or not at all, never makes a host clean.
    """
    asked = [scopes[scope_id] for scope_id in rule.scope_ids if scope_id in scopes]
    lost = [scope for scope in asked if scope.status is not Covered.COMPLETE]
    if not asked:
        unplanned = rule.label and not rule.scope_ids
        return _row(rule, found, Covered.NOT_COVERED, f"rule is {rule.label}" if unplanned else Reason.NOT_ASKED)
    if lost and len({scope.status for scope in asked}) == 1 and lost[0].status is not Covered.PARTIAL:
        return _row(rule, found, lost[0].status, lost[0].reason, lost[0].detail)
    if rule.needs_baseline and not compared:
        return _row(rule, found, Covered.NOT_COVERED, NEEDS_BASELINE)
    if lost or len(asked) < len(rule.scope_ids):
        reasons = dict.fromkeys(scope.reason for scope in lost) or {Reason.NOT_ASKED: None}
        detail = "; ".join(dict.fromkeys(scope.detail for scope in lost if scope.detail))
        return _row(rule, found, Covered.PARTIAL, ", ".join(reasons), detail)
    if rule.label and rule.label not in ANSWERED_WHOLE:
        return _row(rule, found, Covered.PARTIAL, f"rule is {rule.label}")
    return _row(rule, found, Covered.FINDING if found else Covered.CLEAN)


def _row(rule: RuleInfo, found: int, status: Covered, reason: str = "", detail: str = "") -> RuleCoverage:
    return RuleCoverage(rule_id=rule.id, status=status, reason=reason, detail=detail, findings=found)
