"""The state of one finding over any course of sweeps, against a model in plain words."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetscan.domain.areas import AREAS
from fleetscan.findings.assemble import no_hits
from fleetscan.findings.hits import RuleHits
from fleetscan.model.finding import FindingState
from fleetscan.model.host import HostId
from fleetscan.model.snapshot import Complete, HostFacts, HostResult, Partial, Reason, ScopeResult, Status, Unreachable
from fleetscan.planner.plan import rows_in_scope
from fleetscan.rules.load import load_rules
from fleetscan.settings import content
from fleetscan.store.interface import SweepHost
from tests.domain.rows import OID, OID_WOW, PE, POWERSHELL, sip
from tests.findings.sweeps import PLAN, START, assessed
from tests.findings.test_assemble import approval

if TYPE_CHECKING:
    from fleetscan.findings.model import Finding
    from fleetscan.store.interface import Store, SweepId

DEEP = bool(os.environ.get("FLEETSCAN_DEEP"))
CLEAN = [row for tree in (OID, OID_WOW) for row in sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData", tree=tree)]
BAD = {name: sip(POWERSHELL, rf"C:\Users\Public\{name}.dll", "PsVerifyHash") for name in ("x", "y")}
GAPS: dict[str, Status | None] = {
    "scope timed out": Unreachable(Reason.TIMEOUT),
    "scope cut off": Partial(Reason.TRUNCATED),
    "scope not asked": None,
}
ANSWERS = ("clean", "x", "y", "host away", "host not listed", *GAPS)


def put(store: Store, answer: str, day: int) -> SweepId:
    """One sweep of one host, and of another that is always there."""
    started = START + timedelta(days=day)
    names = [name for name in ("a", "z") if name == "z" or answer != "host not listed"]
    sweep = store.begin_sweep(PLAN, [SweepHost(HostId(name), "embedded") for name in names], started=started)
    for name in names:
        said = answer if name == "a" else "clean"
        scopes = HostId(name), tuple(_scopes(said))
        facts = HostFacts() if said == "host away" else HostFacts(os_build="19045", os_name="Windows 10")
        store.put(sweep, HostResult(host=scopes[0], facts=facts, scopes=scopes[1], started=started, finished=started))
    store.finish_sweep(sweep, finished=started, outcome="complete")
    return sweep


def _scopes(answer: str) -> list[ScopeResult]:
    rows = [*CLEAN, *BAD.get(answer, [])]
    found = []
    for scope in AREAS:
        if answer == "host away":
            found.append(ScopeResult(scope_id=scope.id, status=Unreachable(Reason.TIMEOUT)))
        elif answer in GAPS and rows_in_scope(scope, BAD["x"]):
            status = GAPS[answer]
            if status is not None:
                found.append(ScopeResult(scope_id=scope.id, status=status))
        else:
            found.append(ScopeResult(scope_id=scope.id, status=Complete(), rows=rows_in_scope(scope, rows)))
    return found


def expected(before: str | None, now: str, *, approved: bool, with_rules: bool = False) -> FindingState | None:
    """The model; None: there is no finding. ``approved``: an approval of x stands.

    Among the rules is one for which the removal of a registration is a matter: then it is that, and still one line.
    """
    was_bad, is_bad = before in BAD, now in BAD
    if now == "host not listed" or not (was_bad or is_bad):
        return None
    if approved and (now if is_bad else before) == "x" and (with_rules or now != "clean"):
        return FindingState.APPROVED
    if now == "clean":
        return FindingState.CHANGED if with_rules else FindingState.GONE
    if not is_bad:
        return FindingState.NOT_COMPARABLE
    if was_bad:
        return FindingState.STILL_THERE if before == now else FindingState.CHANGED
    return FindingState.NEW if before == "clean" else FindingState.NO_BASELINE


def of_matter(findings: tuple[Finding, ...]) -> Finding | None:
    found = [one for one in findings if one.host == "a" and not one.is_coverage]
    assert len(found) <= 1, "one line for one matter"
    return found[0] if found else None


@pytest.mark.parametrize("with_rules", [False, True])
@settings(max_examples=120 if DEEP else 12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answers=st.lists(st.tuples(st.sampled_from(ANSWERS), st.booleans()), min_size=3, max_size=5),
    rolling=st.booleans(),
)
def test_a_finding_passes_through_the_states_of_the_model(
    store: Store, answers: list[tuple[str, bool]], *, rolling: bool, with_rules: bool
) -> None:
    rules = RuleHits.of(load_rules((content("rules"),)).rules) if with_rules else no_hits
    first = len(store.sweeps())
    sweeps = [put(store, answer, first + day) for day, (answer, _) in enumerate(answers)]
    names = set()
    for number, (now, approved) in enumerate(answers):
        base = None if number == 0 else number - 1 if rolling else 0
        before = None if base is None else answers[base][0]
        assessment = assessed(
            store,
            sweeps[number],
            None if base is None else sweeps[base],
            approvals=[approval()] if approved else [],
            find_hits=rules,
        )
        finding = of_matter(assessment.findings)
        wanted = expected(before, now, approved=approved, with_rules=with_rules)
        assert (finding.state if finding else None) is wanted, (before, now)
        if finding:
            names.add(finding.fingerprint)
            assert finding.is_open == (
                wanted not in {FindingState.APPROVED, FindingState.GONE, FindingState.NOT_COMPARABLE}
            )
    assert len(names) <= 1, "its name stays"


def test_every_pair_of_answers_has_a_state(store: Store) -> None:
    """The model above, all pairs once, so that no pair is left to chance."""
    day = 0
    for before in ANSWERS:
        for now in ANSWERS:
            sweeps = put(store, before, day), put(store, now, day + 1)
            day += 2
            finding = of_matter(assessed(store, sweeps[1], sweeps[0]).findings)
            assert (finding.state if finding else None) is expected(before, now, approved=False), (before, now)
