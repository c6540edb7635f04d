"""What detections return becomes findings like every other: states, approvals, prevalence, coverage."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from fleetscan.errors import ExitCode
from fleetscan.findings.assemble import assess
from fleetscan.model.finding import FindingState, Severity
from fleetscan.model.host import HostId
from fleetscan.model.snapshot import Complete, HostFacts, HostResult, Reason, Unreachable
from fleetscan.planner.detections import detected, with_detections
from fleetscan.planner.plan import Answered, Failed, make_plan
from fleetscan.queries import load_queries
from fleetscan.settings import content
from fleetscan.store.interface import Baseline, PlanRecord, SweepHost
from tests.findings.sweeps import START, TODAY

if TYPE_CHECKING:
    from fleetscan.findings.model import Assessment
    from fleetscan.planner.plan import Answer
    from fleetscan.store.interface import Store, SweepId

QUERIES = {query.name: query for query in load_queries(content("queries") / "detections")}
PLAN = with_detections(make_plan(()), QUERIES.values())
INI = {"path": r"C:\Windows\System32\wintrust.dll.ini", "size": "7", "mtime": "1", "sha256": "ab" * 32}
NO_TABLE = Failed(Reason.OSQUERY_ERROR, "no such table: file")


def put(store: Store, day: int, **hosts: Answer) -> SweepId:
    """A sweep in which hosts answered the detection of wintrust.dll.ini so, and the others with nothing."""
    started = START.replace(day=2 + day)
    named = [SweepHost(HostId(name), "osqueryi") for name in hosts]
    sweep = store.begin_sweep(PlanRecord.of(PLAN), named, started=started)
    for name, answer in hosts.items():
        answers = {query.scope_id: Answered(()) for query in QUERIES.values()} | {
            QUERIES["wintrust-ini"].scope_id: answer
        }
        store.put(
            sweep,
            HostResult(
                host=HostId(name),
                facts=HostFacts(os_build="19045"),
                scopes=detected(PLAN, answers),
                started=started,
                finished=started,
            ),
        )
    store.finish_sweep(sweep, finished=started, outcome="complete")
    return sweep


def assessed(store: Store, sweep: SweepId, base: SweepId | None = None) -> Assessment:
    baseline = Baseline(name="before", sweep=base, created=START) if base else None
    return assess(store, store.sweep(sweep), today=TODAY, baseline=baseline, detections=QUERIES.values())


def test_any_row_is_a_finding_with_the_words_of_the_query(store: Store) -> None:
    found = assessed(store, put(store, 0, a=Answered([INI]), b=Answered(())))
    [finding] = found.findings
    assert (finding.host, finding.entity.kind, finding.entity.get("path")) == ("a", "file", INI["path"])
    assert finding.severity is Severity.HIGH
    assert finding.why == ("SIP registrations from a text file (certain)",)
    assert finding.hits[0].techniques == ("T1553.003",)
    assert (finding.entity.get("sha256"), dict(finding.entity.attributes).get("mtime")) == (INI["sha256"], None)
    assert str(finding.prevalence) == "1 of 2 on 19045"
    assert found.exit_code is ExitCode.FINDINGS


def test_it_passes_through_the_states_of_every_finding(store: Store) -> None:
    touched, other = INI | {"mtime": "2"}, INI | {"sha256": "cd" * 32}
    unreachable = Failed(Reason.TIMEOUT, "no answer")
    answers: list[Answer] = [
        Answered(()),
        *(Answered([row]) for row in (INI, touched, other)),
        unreachable,
        Answered([INI]),
    ]
    sweeps = [put(store, day, a=answer) for day, answer in enumerate((*answers, Answered(())))]
    found = [assessed(store, new, old).findings for old, new in pairwise(sweeps)]
    assert [one.state for findings in found for one in findings] == [
        FindingState.NEW,
        FindingState.STILL_THERE,
        FindingState.CHANGED,
        FindingState.NOT_COMPARABLE,
        FindingState.NO_BASELINE,
        FindingState.GONE,
    ]


def test_what_a_host_has_no_table_for_is_told_and_makes_it_no_less_complete(store: Store) -> None:
    sweep = put(store, 0, a=NO_TABLE, b=Failed(Reason.TIMEOUT, "no answer"))
    assert {host.id: host.complete for host in store.hosts(sweep)} == {"a": True, "b": False}
    assert store.pending(sweep) == ("b",)
    found = assessed(store, sweep)
    assert {one.host: bool(one.incomplete) for one in found.coverage} == {"a": False, "b": True}
    statuses = {one.host: dict(one.scopes) for one in found.coverage}
    name = QUERIES["wintrust-ini"].scope_id
    assert statuses[HostId("a")][name] == Unreachable(Reason.NOT_ANSWERABLE, "no such table: file")
    assert found.exit_code is ExitCode.INCOMPLETE
    assert assessed(store, put(store, 1, a=NO_TABLE)).exit_code is ExitCode.CLEAN


def test_a_detection_of_another_day_is_still_a_finding(store: Store) -> None:
    sweep = put(store, 0, a=Answered([INI]))
    [finding] = assess(store, store.sweep(sweep), today=TODAY).findings
    assert finding.severity is Severity.MEDIUM
    assert finding.hits[0].rule_id == QUERIES["wintrust-ini"].scope_id


def test_a_module_is_one_finding_however_many_processes_loaded_it(store: Store) -> None:
    name = QUERIES["provider-beside-program"].scope_id
    module = r"C:\Tools\sigtool\mso.dll"
    rows = [{"pid": pid, "name": "a.exe", "path": rf"C:\{pid}.exe", "module": module} for pid in ("7", "8")]
    sweep = store.begin_sweep(PlanRecord.of(PLAN), [SweepHost(HostId("a"), "osqueryi")], started=START)
    scopes = tuple(
        replace(one, status=Complete()) if one.scope_id != name else one
        for one in detected(PLAN, {name: Answered(rows)})
    )
    store.put(sweep, HostResult(host=HostId("a"), facts=HostFacts(), scopes=scopes, started=START, finished=START))
    [finding] = assessed(store, sweep).findings
    assert (finding.entity.kind, finding.entity.get("path")) == ("module", module)
    assert finding.entity.get("process") == r"C:\7.exe | C:\8.exe"


def test_hostile_rows_are_kept_and_shown_as_they_are(store: Store) -> None:
    row = {"path": "C:\\x\0\ud800\x1b[2J", "size": ""}
    [finding] = assessed(store, put(store, 0, a=Answered([row]))).findings
    assert finding.entity.get("path") == row["path"]
