"""Rules about creation, on values that came or changed since the baseline; a filter on data leaves open which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleetscan.findings.hits import RuleHits
from fleetscan.model.finding import Severity
from fleetscan.rules.load import load_text
from tests.findings.sweeps import assessed
from tests.findings.test_difference import EVIL, STAYS, SUSPECT, WHOLE, Answers, between, put_values, value

if TYPE_CHECKING:
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.scope import Scope
    from fleetscan.store.interface import Store

CREATION = """
[rule]
name = "A run key is created"
rule_id = "33333333-3333-4444-5555-666666666666"
type = "eql"
language = "eql"
severity = "high"
query = '''
registry where event.type == "creation" and registry.path : "*\\\\CurrentVersion\\\\Run\\\\*" and
  registry.data.strings : "*public*"
'''
"""
RULES = load_text(CREATION, "creation.toml").rules
OTHER = value(r"C:\Users\Public\z.exe")


@pytest.mark.parametrize(
    ("scopes", "before", "after", "expected"),
    [
        ((WHOLE,), [STAYS], [STAYS, EVIL], [("certain", "added")]),
        ((WHOLE,), [value("a")], [EVIL], []),
        ((SUSPECT,), [STAYS], [STAYS, EVIL], [("possible", "added or modified")]),
        ((SUSPECT,), [value("a")], [EVIL], [("possible", "added or modified")]),
        ((SUSPECT,), [OTHER], [EVIL], []),
        ((SUSPECT, WHOLE), [STAYS], [STAYS, EVIL], [("certain", "added")]),
        ((SUSPECT, WHOLE), [value("a")], [EVIL], []),
        ((SUSPECT,), [EVIL], [EVIL], []),
    ],
    ids=[
        "created",
        "changed",
        "created, where only suspect data is shown",
        "changed, where only suspect data is shown",
        "changed, and suspect before",
        "created, and another scope shows it",
        "changed, and another scope showed it",
        "nothing happened",
    ],
)
def test_a_rule_about_creation(
    store: Store,
    scopes: tuple[Scope, ...],
    before: list[RegistryRow],
    after: list[RegistryRow],
    expected: list[tuple[str, str]],
) -> None:
    old, new = put_values(store, 0, Answers(before, scopes)), put_values(store, 1, Answers(after, scopes))
    findings = assessed(store, new, old, find_hits=RuleHits.of(RULES)).findings
    assert [(hit.certainty, hit.change) for one in findings for hit in one.hits] == expected


def test_what_may_have_been_created_is_graded_by_rules_about_creation(store: Store) -> None:
    [change] = between(store, Answers([], (SUSPECT,)), Answers([EVIL], (SUSPECT,)), RULES).changes
    assert change.graded.severity == Severity.HIGH
    assert "(possible, added or modified since the baseline)" in change.graded.why
