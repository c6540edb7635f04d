"""One line for each matter: states, prevalence, approvals, gaps, blind spots, and what the exit code says."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetscan.baseline.approvals import Approval
from fleetscan.errors import ExitCode
from fleetscan.findings.hits import RuleHits
from fleetscan.findings.records import (
    change_records,
    own_entity_records,
    own_finding_records,
    shared_entity_records,
    shared_finding_records,
)
from fleetscan.model.finding import FindingState, Severity, VerdictKind, What
from fleetscan.model.snapshot import BlindSpot, Reason, Unreachable
from fleetscan.rules.load import load_rules, load_text
from fleetscan.settings import content
from tests.domain.catalogue import namespace
from tests.domain.rows import OID, OID_WOW, PE, POWERSHELL, VERIFY, key, sip
from tests.findings.sweeps import START, TODAY, assessed, put_sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscan.findings.model import Assessment, Finding
    from fleetscan.model.registry import RegistryRow
    from fleetscan.store.interface import Store

FOREIGN = "5D9F2E61-3B7C-4A50-8C11-9A64E7B0D2F3"
BOTH = [row for tree in (OID, OID_WOW) for row in sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData", tree=tree)]
HIJACK = sip(POWERSHELL, r"C:\Users\Public\x.dll", "PsVerifyHash")
OTHER_HIJACK = sip(POWERSHELL, r"C:\Users\Public\y.dll", "PsVerifyHash")
STRANGER = namespace(9, FOREIGN, r"C:\Program Files\x\x.dll")


def only(assessment: Assessment) -> Finding:
    [finding] = assessment.findings
    return finding


def approval(dll: str = r"C:\Users\Public\x.dll", *, host: str = "a", expires: date = date(2027, 1, 1)) -> Approval:
    return Approval(
        id=f"{host}-{dll}",
        owner="me",
        reason="known",
        created=TODAY,
        expires=expires,
        scope="host",
        kind="sip",
        identity=(("view", "native"), ("set", VERIFY), ("id", POWERSHELL.strip("{}"))),
        attributes=(("dll", dll),),
        hosts=(host,),
    )


def test_a_clean_host_is_clean(store: Store) -> None:
    assessment = assessed(store, put_sweep(store, {"a": BOTH}))
    assert (assessment.findings, assessment.exit_code, assessment.is_complete) == ((), ExitCode.CLEAN, True)


def test_a_matter_keeps_its_name_and_passes_through_its_states(store: Store) -> None:
    clean, bad, worse = ({"a": rows} for rows in (BOTH, [*BOTH, *HIJACK], [*BOTH, *OTHER_HIJACK]))
    sweeps = [put_sweep(store, hosts, day=day) for day, hosts in enumerate((clean, bad, bad, worse, clean))]
    found = [only(assessed(store, new, old)) for old, new in pairwise(sweeps)]
    assert [one.state for one in found] == [
        FindingState.NEW,
        FindingState.STILL_THERE,
        FindingState.CHANGED,
        FindingState.GONE,
    ]
    assert len({one.fingerprint for one in found}) == 1
    assert [one.is_open for one in found] == [True, True, True, False]


def test_rules_verdict_and_change_are_one_finding_with_all_evidence(store: Store) -> None:
    finder = RuleHits.of(load_rules((content("rules"),)).rules)
    before, after = (put_sweep(store, {"a": rows}, day=day) for day, rows in enumerate((BOTH, [*BOTH, *HIJACK])))
    finding = only(assessed(store, after, before, find_hits=finder))
    assert (finding.what, finding.severity, finding.verdict.kind) == (What.HIJACKED, Severity.HIGH, VerdictKind.HIJACK)
    assert {hit.row.name for hit in finding.hits} == {"Dll"}
    assert finding.change is not None
    assert len(finding.why) >= 3


def test_stock_rows_that_rules_match_are_folded_and_kept(store: Store) -> None:
    finder = RuleHits.of(load_rules((content("rules"),)).rules)
    msi = sip("{000C10F1-0000-0000-C000-000000000046}", r"C:\Windows\System32\msisip.dll", "MsiSIPVerifyIndirectData")
    assessment = assessed(store, put_sweep(store, {"a": msi, "b": msi}), find_hits=finder)
    assert assessment.findings == ()
    folded = list(assessment.all_findings())
    assert [(one.host, one.verdict.kind, one.severity) for one in folded] == [
        ("a", VerdictKind.EXPECTED, Severity.INFO),
        ("b", VerdictKind.EXPECTED, Severity.INFO),
    ]
    assert len({one.fingerprint for one in folded}) == 2


def test_a_stranger_on_one_host_stands_out_and_one_on_all_hosts_does_not(store: Store) -> None:
    rare = put_sweep(store, {"a": STRANGER, **{f"h{number}": BOTH for number in range(9)}})
    finding = only(assessed(store, rare))
    assert (finding.severity, str(finding.prevalence)) == (Severity.MEDIUM, "1 of 10 on 19045")
    common = put_sweep(store, {f"h{number}": STRANGER for number in range(10)}, day=1)
    found = assessed(store, common).findings
    assert {one.severity for one in found} == {Severity.LOW}
    assert all(one.capped for one in found)


def test_a_hijack_stays_high_on_however_many_hosts(store: Store) -> None:
    sweep = put_sweep(store, {f"h{number}": HIJACK for number in range(20)})
    assert {one.severity for one in assessed(store, sweep).findings} == {Severity.HIGH}


def test_an_update_is_one_line_and_a_new_thing_on_one_host_is_not(store: Store) -> None:
    names = [f"h{number}" for number in range(6)]
    before = put_sweep(store, dict.fromkeys(names, BOTH))
    after: dict[str, list[RegistryRow]] = {name: [*BOTH, *STRANGER] for name in names}
    after["h0"] = [*after["h0"], *HIJACK]
    assessment = assessed(store, put_sweep(store, after, day=1), before)
    [line] = assessment.fleet_changes
    assert (len(line.hosts), line.severity) == (6, Severity.LOW)
    assert [one.host for one in assessment.findings if one.severity is Severity.HIGH] == ["h0"]


@pytest.mark.parametrize("rest", [BOTH, [*BOTH, *HIJACK]], ids=["removed", "removed and replaced"])
def test_an_update_that_removes_something_counts_the_hosts_that_it_reached(
    store: Store, rest: list[RegistryRow]
) -> None:
    names = [f"h{number}" for number in range(4)]
    before = put_sweep(store, {name: [*BOTH, *STRANGER] for name in names})
    assessment = assessed(store, put_sweep(store, dict.fromkeys([*names, "joined"], rest), day=1), before)
    [line] = assessment.fleet_changes
    assert (len(line.hosts), line.of, line.present.hosts, line.present.of) == (4, 4, 5, 5)


def test_a_golden_host_is_the_measure_of_all(store: Store) -> None:
    base = put_sweep(store, {"gold": BOTH, "a": [*BOTH, *STRANGER]})
    sweep = put_sweep(store, {"a": [*BOTH, *STRANGER], "b": BOTH}, day=1)
    assert {change.host for change in assessed(store, sweep, base).changes} == set()
    assert {change.host for change in assessed(store, sweep, base, golden="gold").changes} == {"a"}


def test_of_several_golden_hosts_the_one_of_the_build_is_the_measure(store: Store) -> None:
    ten, eleven = [*BOTH, *STRANGER], BOTH
    builds = {"gold10": "19045", "a": "19045", "gold11": "22631", "b": "22631", "c": "17763"}
    before = put_sweep(store, {"gold10": ten, "gold11": eleven, "b": ten}, builds=builds)
    after = put_sweep(store, {"a": ten, "b": ten, "c": ten}, day=1, builds=builds)
    by_build = assessed(store, after, before, golden=["gold10", "gold11"])
    assert {one.host for one in by_build.changes} == {"b"}, "a is like the host of its build"
    assert [(gap.host, gap.reason) for gap in by_build.gaps] == [("c", "no golden host of build 17763")]
    own_first = assessed(store, after, before, golden=["gold10", "gold11"], own_past=True)
    assert not own_first.changes, "b is as it was, a as its golden host"
    assert {one.host: one.state for one in own_first.findings} == {
        "a": FindingState.STILL_THERE,
        "b": FindingState.STILL_THERE,
        "c": FindingState.NO_BASELINE,
    }


def test_a_host_that_was_not_reached_has_neither_changes_nor_resolved_findings(store: Store) -> None:
    before = put_sweep(store, {"a": [*BOTH, *HIJACK]})
    assessment = assessed(store, put_sweep(store, {"a": None}, day=1), before)
    assert only(assessment).state is FindingState.NOT_COMPARABLE
    assert assessment.changes == ()
    assert assessment.exit_code is ExitCode.INCOMPLETE


def test_first_seen_and_no_longer_listed(store: Store) -> None:
    before = put_sweep(store, {"a": BOTH, "b": BOTH})
    assessment = assessed(store, put_sweep(store, {"b": BOTH, "c": BOTH}, day=1), before)
    assert (assessment.first_seen, assessment.no_longer_listed) == (("c",), ("a",))


def test_a_key_without_values_is_incomplete_and_never_clean(store: Store) -> None:
    assessment = assessed(store, put_sweep(store, {"a": key(f"{OID}\\{VERIFY}\\{PE}")}))
    assert only(assessment).what is What.INCOMPLETE
    assert assessment.exit_code is ExitCode.INCOMPLETE


def test_what_lies_behind_the_end_of_a_cut_listing_is_not_called_removed(store: Store) -> None:
    early = "{00000001-8E78-11D0-8C47-00C04FC295EE}"
    stock = ["{C689AABA-8E78-11D0-8C47-00C04FC295EE}", "{DE351A42-8E59-11D0-8C47-00C04FC295EE}", PE]
    first = [row for tree in (OID, OID_WOW) for row in sip(early, "x.dll", "F", tree=tree)]
    whole = [
        row
        for tree in (OID, OID_WOW)
        for guid in stock
        for row in sip(guid, "WINTRUST.DLL", "CryptSIPVerifyIndirectData", tree=tree)
    ]
    native_cut = [row for row in whole if not row.key.startswith(OID)]
    before = put_sweep(store, {"a": [*first, *whole]})
    after = put_sweep(store, {"a": [*first, *native_cut]}, day=1)
    assessment = assessed(store, after, before)
    assert What.REMOVED not in {finding.what for finding in assessment.findings}
    assert What.INCOMPLETE in {finding.what for finding in assessment.findings}
    assert {gap.reason for gap in assessment.gaps} == {"sweep: something is hidden there"}


def test_a_blind_spot_makes_a_stock_registration_incomplete(store: Store) -> None:
    spot = BlindSpot("values behind an empty value", f"{OID}\\{VERIFY}\\{PE}", "Dll, FuncName")
    assessment = assessed(store, put_sweep(store, {"a": BOTH}, spots=(spot,)))
    finding = only(assessment)
    assert (finding.what, finding.severity) == (What.INCOMPLETE, Severity.MEDIUM)
    elsewhere = BlindSpot("values behind an empty value", r"HKEY_LOCAL_MACHINE\SOFTWARE\Other", "x")
    assert assessed(store, put_sweep(store, {"a": BOTH}, day=1, spots=(elsewhere,))).findings == ()


def test_what_was_found_behind_a_blind_spot_is_judged(store: Store) -> None:
    place = f"{OID}\\{VERIFY}\\{POWERSHELL}"
    found = tuple(row for row in HIJACK if not row.is_subkey)
    spot = BlindSpot("values behind an empty value", place, "'a' is empty and hides 'Dll', 'FuncName'", found)
    finding = only(assessed(store, put_sweep(store, {"a": [*BOTH, *key(place)]}, spots=(spot,))))
    assert (finding.what, finding.severity) == (What.HIJACKED, Severity.HIGH)
    assert "is empty and hides" in finding.why[0]


def test_an_approval_counts_its_use_and_stops_when_it_expires(store: Store) -> None:
    sweep = put_sweep(store, {"a": HIJACK, "b": HIJACK})
    active = assessed(store, sweep, approvals=[approval()])
    assert {one.host: one.state for one in active.findings} == {
        "a": FindingState.APPROVED,
        "b": FindingState.NO_BASELINE,
    }
    assert [(one.uses, one.state) for one in active.approvals] == [(1, "active")]
    late = assessed(store, sweep, approvals=[approval(expires=TODAY)], today=date(2026, 11, 10))
    assert FindingState.APPROVED not in {one.state for one in late.findings}
    assert [(one.uses, one.state) for one in late.approvals] == [(0, "expired")]


def test_an_approved_finding_comes_back_when_its_dll_changes(store: Store) -> None:
    sweep = put_sweep(store, {"a": OTHER_HIJACK})
    assert only(assessed(store, sweep, approvals=[approval()])).state is FindingState.NO_BASELINE


HASH = "ab" * 32


@pytest.mark.parametrize(
    ("path", "sha256", "state"),
    [
        (r"C:\Users\Public\x.dll", HASH, FindingState.APPROVED),
        (r"c:\users\public\X.DLL", HASH.upper(), FindingState.APPROVED),
        (r"C:\Users\Public\x.dll", "cd" * 32, FindingState.NO_BASELINE),
        (r"C:\Users\Public\y.dll", HASH, FindingState.NO_BASELINE),  # triage of the DLL that stood there before
    ],
)
def test_an_approval_of_one_file_holds_while_triage_saw_that_file(
    store: Store, path: str, sha256: str, state: FindingState
) -> None:
    sweep = put_sweep(store, {"a": HIJACK})
    pinned = replace(approval(), attributes=(), sha256=HASH)
    untold = only(assessed(store, sweep, approvals=[pinned]))
    assert untold.state is FindingState.NO_BASELINE
    replies = [{"query": "dll-file", "rows": []}, {"query": "dll-hash", "rows": [{"path": path, "sha256": sha256}]}]
    taken = "2026-11-03T00:00:00Z"
    store.put_triage(untold.fingerprint, {"replies": replies, "taken": taken}, taken=START)
    found = only(assessed(store, sweep, approvals=[pinned]))
    assert found.state is state
    assert any(pinned.id in why for why in found.why) == (state is not FindingState.APPROVED), "it says why not"


@pytest.mark.parametrize(
    ("taken", "holds"),
    [
        ("2026-11-02T00:00:00Z", True),
        ("2026-10-03T00:00:00Z", True),
        ("2026-12-02T00:00:00Z", True),
        ("2026-10-02T23:59:59Z", False),
        ("2026-12-02T00:00:01Z", False),
        ("yesterday", False),
    ],
)
def test_a_hash_speaks_for_the_days_around_its_triage(store: Store, taken: str, *, holds: bool) -> None:
    """The file may be exchanged under its name: what was hashed once is not approved for ever."""
    sweep = put_sweep(store, {"a": HIJACK})
    pinned = replace(approval(), attributes=(), sha256=HASH)
    rows = [{"path": r"C:\Users\Public\x.dll", "sha256": HASH}]
    name = only(assessed(store, sweep)).fingerprint
    store.put_triage(name, {"replies": [{"query": "dll-hash", "rows": rows}], "taken": taken}, taken=START)
    assert (only(assessed(store, sweep, approvals=[pinned])).state is FindingState.APPROVED) == holds


def test_of_several_approvals_of_one_finding_each_counts_its_use(store: Store) -> None:
    sweep = put_sweep(store, {"a": HIJACK})
    fleet = replace(approval(), id="everywhere", scope="fleet", hosts=())
    assessment = assessed(store, sweep, approvals=[approval(), fleet])
    assert [(one.uses, one.state) for one in assessment.approvals] == [(1, "active")] * 2


@pytest.mark.parametrize(
    ("reason", "severity", "what"),
    [
        (Reason.HOST_KEY_UNKNOWN, Severity.LOW, What.NEW),
        (Reason.HOST_KEY_CHANGED, Severity.HIGH, What.SUSPICIOUS),
        (Reason.HOST_KEY_REVOKED, Severity.HIGH, What.SUSPICIOUS),
        (Reason.HOST_KEY, Severity.HIGH, What.SUSPICIOUS),  # as stored before the three were told apart
    ],
)
def test_a_changed_key_is_a_sign_of_somebody_in_between_and_a_new_one_is_not(
    store: Store, reason: Reason, severity: Severity, what: What
) -> None:
    sweeps = [put_sweep(store, {"a": BOTH}), put_sweep(store, {"a": Unreachable(reason, "told why")}, day=1)]
    for found in (only(assessed(store, sweeps[1])), only(assessed(store, sweeps[1], sweeps[0]))):
        assert (found.severity, found.what, found.is_open) == (severity, what, True)
        assert "told why" in found.why[0]


def test_a_refused_host_key_is_a_finding_of_its_own(store: Store) -> None:
    unpinned = Unreachable(Reason.HOST_KEY_UNKNOWN, "its host key is not pinned, it shows SHA256:y")
    changed = Unreachable(Reason.HOST_KEY_CHANGED, "its host key changed, it shows SHA256:x")
    sweeps = [
        put_sweep(store, {"a": answer, "b": BOTH}, day=day)
        for day, answer in enumerate((unpinned, unpinned, changed, BOTH, unpinned, None))
    ]
    first = assessed(store, sweeps[0])
    found = only(first)
    assert (found.entity.kind, found.host, found.severity, found.state) == (
        "host_key",
        "a",
        Severity.LOW,
        FindingState.NO_BASELINE,
    )
    assert (first.exit_code, first.is_complete) == (ExitCode.FINDINGS, False)
    later = [only(assessed(store, new, old)) for old, new in pairwise(sweeps)]
    assert [one.state for one in later] == [
        FindingState.STILL_THERE,
        FindingState.CHANGED,
        FindingState.GONE,
        FindingState.NEW,
        FindingState.NOT_COMPARABLE,
    ]
    assert later[1].severity is Severity.HIGH
    assert {one.fingerprint for one in later} == {found.fingerprint}
    accepted = Approval(
        id="k",
        owner="me",
        reason="reinstalled",
        created=TODAY,
        expires=TODAY,
        scope="host",
        kind="host_key",
        identity=(("host", "a"),),
        attributes=(("state", "its host key is not pinned, it shows SHA256:y"),),
        hosts=("a",),
    )
    states = [only(assessed(store, sweep, approvals=[accepted])).state for sweep in sweeps[1:3]]
    assert states == [FindingState.APPROVED, FindingState.NO_BASELINE]


def at_gate(host: str, what: str, reason: Reason = Reason.HOST_KEY_UNKNOWN) -> Unreachable:
    return Unreachable(reason, f"{host}.corp: jump host [gate]:2222: {what} (try: fleetscan hosts trust)")


def test_a_refused_jump_host_is_one_finding_for_all_behind_it(store: Store) -> None:
    unpinned = {name: at_gate(name, "its host key is not pinned, it shows SHA256:y") for name in "cba"}
    alone = Unreachable(Reason.HOST_KEY_UNKNOWN, "its host key is not pinned, it shows SHA256:z")
    assessment = assessed(store, put_sweep(store, {**unpinned, "d": alone, "e": BOTH}))
    direct, gate = sorted(assessment.findings, key=lambda one: one.entity.kind)
    assert (direct.entity.kind, direct.host) == ("host_key", "d")
    assert (gate.entity.label, gate.host, gate.severity) == ("key of jump host [gate]:2222", "a", Severity.LOW)
    assert "it shows SHA256:y" in gate.why[0]
    assert gate.why[0].endswith("3 hosts behind it were not asked: a, b, c")
    assert sorted(one.host for one in assessment.coverage if one.incomplete) == ["a", "b", "c", "d"]


def test_the_finding_of_a_jump_host_is_followed_from_sweep_to_sweep(store: Store) -> None:
    """Its name and state do not depend on which hosts are behind it."""
    new = "its host key is not pinned, it shows SHA256:y"
    other = "its host key changed, it shows SHA256:x"
    silent = Unreachable(Reason.TIMEOUT, "a.corp: jump host [gate]:2222: connecting: timed out")
    days: list[dict[str, Sequence[RegistryRow] | Unreachable | None]] = [
        {"a": BOTH, "b": BOTH, "c": BOTH},
        {"a": at_gate("a", new), "b": at_gate("b", new), "c": BOTH},
        {"b": at_gate("b", new), "c": BOTH},
        {"a": at_gate("a", other, Reason.HOST_KEY_CHANGED), "b": at_gate("b", new), "c": BOTH},
        {"a": BOTH, "b": BOTH, "c": BOTH},
        {"a": at_gate("a", new), "b": at_gate("b", new), "c": BOTH},
        {"a": silent, "b": silent, "c": BOTH},
    ]
    sweeps = [put_sweep(store, hosts, day=day) for day, hosts in enumerate(days)]
    later = [only(assessed(store, new, old)) for old, new in pairwise(sweeps)]
    assert [(one.state, one.severity) for one in later] == [
        (FindingState.NEW, Severity.LOW),
        (FindingState.STILL_THERE, Severity.LOW),
        (FindingState.CHANGED, Severity.HIGH),
        (FindingState.GONE, Severity.INFO),
        (FindingState.NEW, Severity.LOW),
        (FindingState.NOT_COMPARABLE, Severity.LOW),
    ]
    assert len({one.fingerprint for one in later}) == 1
    assert only(assessed(store, sweeps[1])).state is FindingState.NO_BASELINE


def test_of_many_hosts_behind_a_jump_host_some_are_named(store: Store) -> None:
    hosts = {f"ws-{number:02}": at_gate("x", "its host key is not pinned, it shows k") for number in range(14)}
    [why] = only(assessed(store, put_sweep(store, hosts))).why
    assert why.endswith("14 hosts behind it were not asked: " + ", ".join(sorted(hosts)[:10]) + " and 4 more")


def test_the_key_of_a_jump_host_can_be_approved(store: Store) -> None:
    sweep = put_sweep(store, {name: at_gate(name, "shows SHA256:y") for name in "ab"})
    accepted = Approval(
        id="k",
        owner="me",
        reason="new gate",
        created=TODAY,
        expires=TODAY,
        scope="fleet",
        kind="jump_key",
        identity=(("host", "[gate]:2222"),),
        attributes=(("state", "shows SHA256:y (try: fleetscan hosts trust)"),),
    )
    assert only(assessed(store, sweep, approvals=[accepted])).state is FindingState.APPROVED


approvals = st.lists(
    st.builds(
        approval,
        st.sampled_from([r"C:\Users\Public\x.dll", r"C:\Users\Public\y.dll"]),
        host=st.sampled_from(["a", "b", "*"]),
        expires=st.sampled_from([date(2026, 11, 1), date(2027, 1, 1)]),
    ),
    unique_by=lambda one: one.id,
    max_size=4,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(approvals, approvals)
def test_adding_approvals_creates_no_finding_and_removing_them_hides_none(
    store: Store, some: list[Approval], more: list[Approval]
) -> None:
    sweep = put_sweep(store, {"a": HIJACK, "b": OTHER_HIJACK, "c": BOTH})
    fewer = assessed(store, sweep, approvals=some)
    every = [*some, *(one for one in more if one.id not in {other.id for other in some})]
    greater = assessed(store, sweep, approvals=every)
    names = [{one.fingerprint for one in found.findings} for found in (fewer, greater)]
    assert names[0] == names[1]
    open_now = [{one.fingerprint for one in found.findings if one.is_open} for found in (fewer, greater)]
    assert open_now[1] <= open_now[0]


def test_everything_can_be_kept_in_the_store(store: Store) -> None:
    before = put_sweep(store, {"a": BOTH})
    sweep = put_sweep(store, {"a": [*BOTH, *HIJACK]}, day=1)
    assessment = assessed(store, sweep, before)
    store.put_findings(sweep, own_finding_records(assessment), shared_finding_records(assessment))
    store.put_changes(sweep, change_records(assessment, before))
    store.put_entities(sweep, own_entity_records(assessment), shared_entity_records(assessment))
    [record] = store.findings(sweep)
    assert (record.fingerprint, record.severity, record.state) == (only(assessment).fingerprint, "high", "new")
    assert {change.kind for change in store.changes(sweep)} == {"added"}
    assert [entity.kind for entity in store.entities(sweep)] == ["sip"]


DELETION = """
title: A SIP registration deleted
id: 22222222-3333-4444-5555-666666666666
logsource: {category: registry_delete, product: windows}
detection:
  selection:
    TargetObject|contains: '\\Microsoft\\Cryptography\\OID\\EncodingType 0\\CryptSIPDll'
  condition: selection
level: high
"""


def test_a_rule_about_deletion_is_judged_on_what_is_gone(store: Store) -> None:
    finder = RuleHits.of(load_text(DELETION, "deletion.yml").rules)
    before = put_sweep(store, {"a": [*BOTH, *STRANGER], "b": BOTH, "c": BOTH})
    after = put_sweep(
        store, {"a": [*sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData"), *STRANGER], "b": BOTH, "c": None}, day=1
    )
    alone = assessed(store, after, find_hits=finder)
    assert not [one for one in alone.findings if one.hits]
    found = [one for one in assessed(store, after, before, find_hits=finder).findings if one.hits]
    assert {(one.host, one.what, one.severity, one.state) for one in found} == {
        ("a", What.REMOVED, Severity.HIGH, FindingState.NEW)
    }
    assert len({one.fingerprint for one in found}) == len(found)
    assert any(hit.row.key.startswith(OID_WOW) for one in found for hit in one.hits)


CREATION = """
[rule]
name = "A SIP is created"
rule_id = "33333333-3333-4444-5555-666666666666"
type = "eql"
language = "eql"
severity = "medium"
query = '''
registry where event.type == "creation" and registry.path : "*\\\\Cryptography\\\\OID\\\\*\\\\Dll"
'''
"""


def test_a_rule_about_creation_is_judged_on_what_appeared(store: Store) -> None:
    finder = RuleHits.of(load_text(CREATION, "creation.toml").rules)
    before = put_sweep(store, {"a": BOTH, "b": [*BOTH, *HIJACK], "c": None, "d": [*BOTH, *OTHER_HIJACK]})
    after = put_sweep(store, {name: [*BOTH, *HIJACK] for name in "abcd"}, day=1)
    assert not [one for one in assessed(store, after, find_hits=finder).findings if one.hits]
    found = [one for one in assessed(store, after, before, find_hits=finder).findings if one.hits]
    assert [(one.host, [hit.change for hit in one.hits]) for one in found] == [("a", ["added"])]
    assert "A SIP is created (certain, added since the baseline)" in found[0].why


def test_a_rule_about_creation_is_judged_on_what_a_golden_host_lacks(store: Store) -> None:
    finder = RuleHits.of(load_text(CREATION, "creation.toml").rules)
    user = "HKEY_USERS\\S-1-5-21-1-2-3-1001"
    in_hive = sip(POWERSHELL, "x.dll", "F", tree=OID.replace("HKEY_LOCAL_MACHINE\\SOFTWARE", f"{user}\\Software"))
    before = put_sweep(store, {"gold": BOTH, "a": [*BOTH, *HIJACK]})
    after = put_sweep(store, {"gold": BOTH, "a": [*BOTH, *HIJACK], "u": [*BOTH, *key(user), *in_hive]}, day=1)
    found = assessed(store, after, before, golden="gold", find_hits=finder)
    assert [(one.host, one.hits[0].title) for one in found.findings if one.hits] == [("a", "A SIP is created")]
    own_first = assessed(store, after, before, golden="gold", own_past=True, find_hits=finder)
    assert not [one for one in own_first.findings if one.hits], "it was there"


def test_what_rules_matched_already_says_since_when(store: Store) -> None:
    finder = RuleHits.of(load_rules([content("rules") / "sigma"]).rules)
    spelled = sip(POWERSHELL, ("REG_EXPAND_SZ", r"%SystemDrive%\Users\Public\x.dll"), "PsVerifyHash")
    hosts = {"a": BOTH, "b": [*BOTH, *HIJACK], "c": [*BOTH, *OTHER_HIJACK], "d": [*BOTH, *spelled]}
    before = put_sweep(store, hosts)
    after = put_sweep(store, {name: [*BOTH, *HIJACK] for name in hosts}, day=1)
    found = {one.host: one for one in assessed(store, after, before, find_hits=finder).findings}
    changes = {
        host: {hit.row.name: hit.change for hit in one.hits if not hit.row.is_subkey} for host, one in found.items()
    }
    assert changes == {
        "a": {"Dll": "added"},
        "b": {"Dll": ""},
        "c": {"Dll": "modified"},
        "d": {"Dll": ""},
    }
    golden = assessed(store, after, before, golden="a", find_hits=finder)
    lacking = {(hit.row.name, hit.change) for one in golden.findings for hit in one.hits if not hit.row.is_subkey}
    assert lacking == {("Dll", "added")}, "none of it is on the golden host"
