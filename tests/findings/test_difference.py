"""The difference of two stored sweeps: what a whole assessment says, by changed cells alone; and what it adds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetscan.baseline.diff import ChangeKind
from fleetscan.domain.areas import AREAS
from fleetscan.findings.difference import Difference, Matching, Named, difference, only
from fleetscan.findings.hits import RuleHits
from fleetscan.model.finding import Severity, What
from fleetscan.model.host import HostId
from fleetscan.model.registry import HKLM, HKU, RegistryRow
from fleetscan.model.scope import RowClause, RowFilter, Scope
from fleetscan.model.snapshot import (
    BlindSpot,
    Complete,
    HostFacts,
    HostResult,
    Partial,
    Reason,
    ScopeResult,
    Unreachable,
)
from fleetscan.planner.detections import detected, with_detections
from fleetscan.planner.plan import Answered, Failed, make_plan, rows_in_scope
from fleetscan.queries import load_queries
from fleetscan.rules.load import load_text
from fleetscan.settings import content
from fleetscan.store.interface import Baseline, PlanRecord, SweepHost
from fleetscan.store.sql import open_store
from tests.domain.catalogue import entry, packed
from tests.domain.rows import OID, OID_WOW, PE, POWERSHELL, VERIFY, key, sip
from tests.findings.sweeps import START, assessed, put_sweep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetscan.model.rule import Rule
    from fleetscan.model.snapshot import Status
    from fleetscan.planner.plan import Answer
    from fleetscan.store.interface import Store, SweepId

CLEAN = sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData")
USER = "S-1-5-21-1-2-3-1001"
IN_HIVE = sip(PE, "x.dll", "F", tree=OID.replace("HKEY_LOCAL_MACHINE\\SOFTWARE", f"HKEY_USERS\\{USER}\\Software"))
FIRST = [
    row for tree in (OID, OID_WOW) for row in sip("{00000001-8E78-11D0-8C47-00C04FC295EE}", "x.dll", "F", tree=tree)
]
BOTH_VIEWS = [
    row
    for tree in (OID, OID_WOW)
    for guid in ("{C689AABA-8E78-11D0-8C47-00C04FC295EE}", "{DE351A42-8E59-11D0-8C47-00C04FC295EE}", PE)
    for row in sip(guid, "WINTRUST.DLL", "CryptSIPVerifyIndirectData", tree=tree)
]
MACHINES: Mapping[str, Sequence[RegistryRow] | None] = {
    "clean": CLEAN,
    "hijacked": sip(PE, r"C:\Users\Public\x.dll", "F"),
    "more": [*CLEAN, *sip(POWERSHELL, r"C:\Windows\System32\a.dll", "PsVerifyHash")],
    "hidden": key(f"{OID}\\{VERIFY}\\{PE}"),
    "provider": [*CLEAN, *entry(1, packed(path=r"C:\x\lsp.dll"))],
    "user": [*CLEAN, *key(f"HKEY_USERS\\{USER}"), *IN_HIVE],
    "logged off": CLEAN,
    "empty": (),
    "cut": [*FIRST, *(row for row in BOTH_VIEWS if not row.key.startswith(OID))],
    "not cut": [*FIRST, *BOTH_VIEWS],
    "unreachable": None,
}
machines = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(sorted(MACHINES)), min_size=1)


def compared(store: Store, base: SweepId, sweep: SweepId, *, golden: Sequence[str] = ()) -> Difference:
    hosts = tuple(map(HostId, golden))
    golden_host = hosts[0] if hosts else None
    baseline = Baseline(name="before", sweep=base, host=golden_host, others=hosts[1:], created=START)
    return difference(store, baseline, store.sweep(sweep), detections=QUERIES.values())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(machines, machines, st.sampled_from([[], ["golden"]]))
def test_changed_cells_alone_say_what_two_whole_sweeps_say(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, str], after: dict[str, str], golden: list[str]
) -> None:
    with open_store(tmp_path_factory.mktemp("law") / "store.db") as store:
        old = put_sweep(store, {"golden": CLEAN, **{host: MACHINES[name] for host, name in before.items()}})
        new = put_sweep(store, {"golden": CLEAN, **{host: MACHINES[name] for host, name in after.items()}}, day=1)
        fast, whole = compared(store, old, new, golden=golden), assessed(store, new, old, golden=golden)
        assert sorted(map(repr, fast.changes)) == sorted(map(repr, whole.changes))
        entities = [{repr(gap) for gap in one.gaps if gap.entity is not None} for one in (fast, whole)]
        assert entities[0] == entities[1]


# -- what detections returned

QUERIES = {query.name: query for query in load_queries(content("queries") / "detections")}
PLAN = with_detections(make_plan(()), QUERIES.values())
INI = {"path": r"C:\Windows\System32\wintrust.dll.ini", "size": "7", "mtime": "1", "sha256": "ab" * 32}
OTHER = INI | {"sha256": "cd" * 32}
NOTHING, SILENT = Answered(()), Failed(Reason.TIMEOUT, "no answer")


def put(store: Store, day: int, **hosts: Mapping[str, Answer]) -> SweepId:
    """A sweep in which hosts answered detections so, by the name of the query, and the others with nothing."""
    started = START.replace(day=2 + day)
    named = [SweepHost(HostId(name), "osqueryi") for name in hosts]
    sweep = store.begin_sweep(PlanRecord.of(PLAN), named, started=started)
    for name, answers in hosts.items():
        told = {query.scope_id: answers.get(query.name, NOTHING) for query in QUERIES.values()}
        scopes = detected(PLAN, told)
        facts = HostFacts(os_build="19045")
        store.put(sweep, HostResult(host=HostId(name), facts=facts, scopes=scopes, started=started, finished=started))
    store.finish_sweep(sweep, finished=started, outcome="complete")
    return sweep


def told(found: Difference) -> list[tuple[str, str, str]]:
    changes = [(one.host, str(one.graded.what), str(one.graded.severity)) for one in found.changes]
    return sorted([*changes, *((gap.host, "gap", gap.reason) for gap in found.gaps)])


def test_what_lies_behind_the_end_of_a_cut_listing_is_not_called_removed_or_new(store: Store) -> None:
    """That it was cut shows only beside the other view, which did not change."""
    whole = put_sweep(store, {"a": MACHINES["not cut"]})
    cut = put_sweep(store, {"a": MACHINES["cut"]}, day=1)
    for base, sweep, side in ((whole, cut, "sweep"), (cut, whole, "baseline")):
        found = compared(store, base, sweep)
        assert found.changes == ()
        assert {gap.reason for gap in found.gaps} == {f"{side}: something is hidden there"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (NOTHING, Answered([INI]), ("new", "high")),
        (Answered([INI]), NOTHING, ("removed", "info")),
        (Answered([INI]), Answered([OTHER]), ("changed", "high")),
        (Answered([INI]), Answered([INI | {"mtime": "2"}]), None),
        (SILENT, Answered([INI]), ("gap", "baseline: timeout")),
        (Answered([INI]), SILENT, ("gap", "sweep: timeout")),
    ],
    ids=["new", "gone", "another file", "touched", "not asked before", "not asked now"],
)
def test_what_a_detection_returned_is_compared(
    store: Store, before: Answer, after: Answer, expected: tuple[str, str] | None
) -> None:
    old, new = (put(store, day, a={"wintrust-ini": one}, b={}) for day, one in enumerate((before, after)))
    assert told(compared(store, old, new)) == ([("a", *expected)] if expected else [])
    whole = assessed(store, new, old)
    assert bool(whole.changes) == (expected is not None and expected[0] != "gap")


def test_a_file_that_another_detection_returns_too_is_no_other_file(store: Store) -> None:
    row = {"path": r"C:\Windows\System32\wintrust.dll", "sha256": "ab" * 32}
    old = put(store, 0, a={"wintrust-ini": Answered([row])})
    both: dict[str, Answer] = {"wintrust-ini": Answered([row]), "provider-file-owner": Answered([row])}
    assert told(compared(store, old, put(store, 1, a=both))) == []
    half: dict[str, Answer] = {"provider-file-owner": Answered([row | {"uid": "7"}]), "wintrust-ini": Answered([row])}
    silent: dict[str, Answer] = {"wintrust-ini": SILENT, "provider-file-owner": Answered([row | {"uid": "7"}])}
    whole, part = put(store, 2, a=half), put(store, 3, a=silent)
    assert told(compared(store, whole, part)) == [], "what is still shown is equal"
    lost = put(store, 4, a={"wintrust-ini": Answered([row]), "provider-file-owner": SILENT})
    assert told(compared(store, whole, lost)) == [("a", "gap", "sweep: timeout")]


def test_a_file_on_the_whole_fleet_at_once_is_one_change_of_the_fleet(store: Store) -> None:
    old = put(store, 0, a={}, b={}, c={}, d={})
    new = put(store, 1, **{host: {"wintrust-ini": Answered([INI])} for host in "abc"}, d={})
    [line] = compared(store, old, new).fleet_changes
    assert (line.hosts, line.of, line.severity) == (("a", "b", "c"), 4, Severity.HIGH)


# -- values that only rules ask for

RUN = f"{HKLM}\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run"
BRANCH = ("SOFTWARE", "Microsoft", "Windows", "CurrentVersion", "Run")
WHOLE = Scope(HKLM, BRANCH, None)
SUSPECT = Scope(HKLM, BRANCH, None, RowFilter((RowClause(data="*public*"),)))
OF_USERS = Scope(HKU, ("S-1-5-21-1-2-3-1001", "Software", "Run"), None)
IN_OID = Scope(HKLM, ("SOFTWARE", "Microsoft", "Cryptography", "OID"), 3)
RULE = """
title: A run key
id: 11111111-2222-3333-4444-555555555555
logsource: {category: registry_set, product: windows}
detection:
  selection:
    TargetObject|contains: '\\CurrentVersion\\Run\\'
    Details|contains: public
  condition: selection
level: high
---
title: A run key is deleted
id: 21111111-2222-3333-4444-555555555555
logsource: {category: registry_delete, product: windows}
detection:
  selection:
    TargetObject|contains: '\\CurrentVersion\\Run\\'
  condition: selection
level: medium
"""
RULES: tuple[Rule, ...] = tuple(
    rule for number, text in enumerate(RULE.split("---")) for rule in load_text(text, f"{number}.yml").rules
)


@dataclass(frozen=True, slots=True)
class Answers:
    """One host's answer: rows, by what scopes they are asked, and what became of those."""

    rows: Sequence[RegistryRow] = ()
    scopes: tuple[Scope, ...] = (WHOLE,)
    status: Status = field(default_factory=Complete)
    unproven: tuple[str, ...] = ()
    spots: tuple[BlindSpot, ...] = ()


def put_values(store: Store, day: int, answers: Answers) -> SweepId:
    started = START.replace(day=2 + day)
    scopes = (*AREAS, *answers.scopes)
    plan = PlanRecord(digest="d" * 64, scopes=tuple((one.id, one.text) for one in scopes), statements=())
    sweep = store.begin_sweep(plan, [SweepHost(HostId("a"), "embedded")], started=started)
    results = (
        ScopeResult(
            scope_id=one.id,
            status=answers.status if one in answers.scopes else Complete(),
            rows=rows_in_scope(one, answers.rows),
            unproven=answers.unproven if one in answers.scopes else (),
        )
        for one in scopes
    )
    result = HostResult(
        host=HostId("a"),
        facts=HostFacts(os_build="19045"),
        scopes=tuple(results),
        started=started,
        finished=started,
        blind_spots=answers.spots,
    )
    store.put(sweep, result)
    store.finish_sweep(sweep, finished=started, outcome="complete")
    return sweep


def between(store: Store, before: Answers, after: Answers, rules: Sequence[Rule] = ()) -> Difference:
    old, new = put_values(store, 0, before), put_values(store, 1, after)
    return difference(store, Baseline(name="x", sweep=old, created=START), store.sweep(new), rules=rules)


def value(data: str, name: str = "x", kind: str = "REG_SZ") -> RegistryRow:
    return RegistryRow(RUN, name, kind, data)


EVIL = value(r"C:\Users\Public\x.exe")
STAYS = value("stays", "other")


@pytest.mark.parametrize(
    ("before", "after", "what", "severity"),
    [
        ([STAYS], [STAYS, EVIL], What.NEW, Severity.HIGH),
        ([STAYS, EVIL], [STAYS], What.REMOVED, Severity.MEDIUM),
        ([value("a")], [EVIL], What.CHANGED, Severity.HIGH),
        ([value("a")], [value("b")], What.CHANGED, Severity.LOW),
        ([value("%SystemRoot%\\a", kind="REG_EXPAND_SZ")], [value("C:\\Windows\\a")], None, None),
        ([value("a", "NAME")], [value("a", "name")], None, None),
    ],
    ids=["new", "deleted", "into what a rule looks for", "otherwise", "expanded by a newer agent", "case"],
)
def test_values_of_rules_are_compared_and_graded_by_rules(
    store: Store, before: list[RegistryRow], after: list[RegistryRow], what: What | None, severity: Severity | None
) -> None:
    found = between(store, Answers(before), Answers(after), RULES)
    assert [(one.graded.what, one.graded.severity) for one in found.changes] == ([(what, severity)] if what else [])
    assert found.gaps == ()


def test_a_value_that_several_scopes_show_is_one_change(store: Store) -> None:
    [change] = between(store, Answers([], (WHOLE, SUSPECT)), Answers([EVIL], (WHOLE, SUSPECT))).changes
    assert change.graded.change.kind is ChangeKind.ADDED


def test_a_scope_that_looks_at_data_tells_new_from_changed_by_nothing(store: Store) -> None:
    [change] = between(store, Answers([value("a")], (SUSPECT,)), Answers([EVIL], (SUSPECT,)), RULES).changes
    assert (change.graded.what, change.graded.severity) == (What.CHANGED, Severity.HIGH)
    assert "values of certain data only" in change.graded.why
    [back] = between(store, Answers([EVIL], (SUSPECT,)), Answers([], (SUSPECT,)), RULES).changes
    assert (back.graded.what, back.graded.severity) == (What.CHANGED, Severity.LOW)


GAPS = {
    "cut off": (Answers([STAYS], status=Partial(Reason.TRUNCATED)), "sweep: truncated"),
    "key not readable": (
        Answers([STAYS], status=Partial(Reason.UNPROVEN), unproven=(RUN,)),
        "sweep: the key, or one above it, gave no row",
    ),
    "hidden": (Answers([STAYS], spots=(BlindSpot("nul name", RUN, ""),)), "sweep: something is hidden there"),
    "unreachable": (Answers((), status=Unreachable(Reason.TIMEOUT)), "sweep: timeout"),
}


@pytest.mark.parametrize("name", GAPS)
def test_a_value_out_of_sight_is_not_gone(store: Store, name: str) -> None:
    after, reason = GAPS[name]
    found = between(store, Answers([EVIL, STAYS]), after)
    assert found.changes == ()
    assert {gap.reason for gap in found.gaps} == {reason}


def test_the_values_of_a_user_who_logged_off_are_not_gone(store: Store) -> None:
    row = RegistryRow(f"HKEY_USERS\\{USER}\\Software\\Run", "x", "REG_SZ", "y")
    on = [*key(f"HKEY_USERS\\{USER}"), row]
    found = between(store, Answers(on, (OF_USERS,)), Answers((), (OF_USERS,)))
    assert {gap.reason for gap in found.gaps if gap.entity} == {"sweep: the user's hive was not loaded"}
    assert found.changes == ()


def test_what_the_domain_decodes_is_told_once(store: Store) -> None:
    found = between(store, Answers(CLEAN, (IN_OID,)), Answers(MACHINES["hijacked"] or (), (IN_OID,)))
    assert [one.graded.change.entity.kind for one in found.changes] == ["sip"]


def test_scopes_of_one_sweep_only_are_named(store: Store) -> None:
    found = between(store, Answers([EVIL], (WHOLE,)), Answers([EVIL], (SUSPECT,)))
    assert found.changes == ()
    assert (found.no_longer_asked, found.first_asked) == ((WHOLE.text,), (SUSPECT.text,))
    assert not found.is_complete


# -- who is compared with whom


def test_hosts_of_one_side_are_told_apart(store: Store) -> None:
    old = put_sweep(store, {"a": CLEAN, "away": CLEAN, "back": None, "left": CLEAN})
    new = put_sweep(store, {"a": CLEAN, "away": None, "back": CLEAN, "joined": CLEAN, "never": None}, day=1)
    found = compared(store, old, new)
    assert {gap.host: gap.reason for gap in found.gaps} == {
        "away": "the host was not reached",
        "back": "baseline: the host was not reached",
    }
    assert (found.first_seen, found.no_longer_listed) == (("joined",), ("left",))


def test_golden_hosts_by_build(store: Store) -> None:
    builds = {"g10": "19045", "g11": "22631", "a": "19045", "b": "22631", "c": "26100", "d": ""}
    hosts = dict.fromkeys(("g10", "g11", "b"), CLEAN) | {"a": MACHINES["hijacked"], "c": CLEAN, "d": CLEAN}
    sweep = put_sweep(store, hosts, builds=builds, build="")
    found = compared(store, sweep, sweep, golden=["g10", "g11"])
    assert {one.host for one in found.changes} == {"a"}
    assert {gap.host: gap.reason for gap in found.gaps} == {
        "c": "no golden host of build 26100",
        "d": "no golden host: the host's build is not known",
    }
    assert (found.first_seen, found.no_longer_listed) == ((), ())


def test_filters_keep_what_could_not_be_compared_at_all(store: Store) -> None:
    old = put_sweep(store, {"a": CLEAN, "b": CLEAN, "left": CLEAN})
    found = compared(store, old, put_sweep(store, {"a": MACHINES["hijacked"], "b": None}, day=1))
    assert [one.host for one in only(found, Named("c689AAB8")).changes] == ["a"]
    none = only(found, Named("nothing like it"))
    assert (none.changes, none.no_longer_listed, [gap.host for gap in none.gaps]) == ((), (), ["b"])
    assert only(found, Matching(RuleHits.of(RULES))).changes == ()


def test_rules_and_detections_choose_entities(store: Store) -> None:
    found = between(store, Answers([value("a", "y")]), Answers([EVIL, value("a", "z")]))
    chosen = only(found, Matching(RuleHits.of(RULES[:1])))
    assert [one.graded.change.entity.get("name") for one in chosen.changes] == ["x"]
    gone = only(found, Matching(RuleHits.of(RULES[1:])))
    assert [one.graded.change.entity.get("name") for one in gone.changes] == ["y"]
