"""Coverage by rule: clean is claimed only where everything the rule needs was seen."""

from __future__ import annotations

import pytest

from fleetscan.model.finding import Severity
from fleetscan.model.snapshot import Complete, Partial, Reason, Status, Unreachable
from fleetscan.report.coverage import rule_coverage, scope_coverage
from fleetscan.report.document import PROVEN, Covered, RuleInfo

COMPLETE = Complete()
PARTIAL = Partial(Reason.UNPROVEN, "2 keys")
LOST = Unreachable(Reason.TIMEOUT, "after 120 s")
RULE = RuleInfo(id="r", title="r", severity=Severity.MEDIUM, label="complete", scope_ids=("s-1", "s-2"))


def covered(rule: RuleInfo, statuses: dict[str, Status], found: int = 0) -> tuple[str, str]:
    scopes = {name: scope_coverage(name, status) for name, status in statuses.items()}
    row = rule_coverage(rule, scopes, found)
    assert row.findings == found
    return row.status, row.reason


@pytest.mark.parametrize(
    ("first", "second", "found", "expected"),
    [
        (COMPLETE, COMPLETE, 0, (Covered.CLEAN, "")),
        (COMPLETE, COMPLETE, 2, (Covered.FINDING, "")),
        (COMPLETE, PARTIAL, 0, (Covered.PARTIAL, "unproven keys")),
        (COMPLETE, PARTIAL, 2, (Covered.PARTIAL, "unproven keys")),
        (COMPLETE, LOST, 0, (Covered.PARTIAL, "timeout")),
        (LOST, LOST, 0, (Covered.UNREACHABLE, "timeout")),
        (PARTIAL, LOST, 0, (Covered.PARTIAL, "unproven keys, timeout")),
    ],
)
def test_the_weakest_scope_decides(first: Status, second: Status, found: int, expected: tuple[str, str]) -> None:
    assert covered(RULE, {"s-1": first, "s-2": second}, found) == expected


def test_a_scope_that_was_not_asked_is_not_clean() -> None:
    assert covered(RULE, {"s-1": COMPLETE}) == (Covered.PARTIAL, "not asked")
    assert covered(RULE, {}) == (Covered.NOT_COVERED, "not asked")


@pytest.mark.parametrize(
    ("label", "status"), [("partial", Covered.PARTIAL), ("exact", Covered.CLEAN), ("", Covered.CLEAN)]
)
def test_a_rule_that_state_answers_in_part_never_proves_a_host_clean(label: str, status: Covered) -> None:
    rule = RuleInfo(id="r", title="r", severity=Severity.LOW, label=label, scope_ids=("s-1",))
    assert covered(rule, {"s-1": COMPLETE})[0] == status


def test_a_rule_without_scopes_is_not_covered_and_says_why() -> None:
    rule = RuleInfo(id="r", title="r", severity=Severity.LOW, label="unplannable")
    assert covered(rule, {"s-1": COMPLETE}) == (Covered.NOT_COVERED, "rule is unplannable")


def test_a_rule_about_removal_says_nothing_without_a_baseline() -> None:
    rule = RuleInfo(id="r", title="r", severity=Severity.LOW, label="exact", scope_ids=("s-1",), needs_baseline=True)
    scopes = {"s-1": scope_coverage("s-1", COMPLETE)}
    assert rule_coverage(rule, scopes, 0, compared=False).status is Covered.NOT_COVERED
    assert rule_coverage(rule, scopes, 0, compared=True).status is Covered.CLEAN


def test_only_complete_scopes_leave_nothing_open() -> None:
    assert [scope_coverage("s", status).status in PROVEN for status in (COMPLETE, PARTIAL, LOST)] == [
        True,
        False,
        False,
    ]
