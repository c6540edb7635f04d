"""What every store promises (``fleetscan.store.interface``), on SQLite and on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
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
from fleetscan.store.interface import Baseline, BlockId, SweepHost, SweepId
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from fleetscan.store.sql import SqlStore
    from tests.store.conftest import Fleet

TIMEOUT = Unreachable(Reason.TIMEOUT, "no answer in 120 s")
ALL = {"s-oid": "a.dll", "s-run": "b.exe", "s-winsock": "c.dll"}


def test_a_result_is_read_back_as_it_was_put(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.begin(store, ["ws-1"])
    facts = HostFacts(
        osquery_version="5.14.1",
        hostname="WS-1",
        environment={"SystemRoot": "D:\\Windows"},
        current_control_set=2,
        profiles_known=("S-1-5-18", "S-1-5-21-1"),
        profiles_loaded=("S-1-5-18",),
        extra={"elevated": "1"},
    )
    put = fleet.result(
        "ws-1",
        {"s-oid": "a.dll", "s-run": Partial(Reason.DAMAGED, "hbin 3"), "s-winsock": TIMEOUT},
        raw=b'[{"name":"\\u0000"}]',
        facts=facts,
        blind_spots=(BlindSpot("link", "HKLM\\X", "points to Y"),),
    )
    store.put(sweep, put)
    assert store.result(sweep, HostId("ws-1")) == put
    assert store.facts(sweep, HostId("ws-1")) == facts
    assert store.raw(sweep, HostId("ws-1")) == put.raw
    hashes = tuple((answer.statement_id, answer.sha256) for answer in put.raw)
    assert store.raw_hashes(sweep) == ({HostId("ws-1"): hashes} if hashes else {})
    assert store.blind_spots(sweep) == {HostId("ws-1"): put.blind_spots}
    assert store.fleet_facts(sweep) == {HostId("ws-1"): facts}


def test_hostile_text_survives(store: SqlStore, fleet: type[Fleet]) -> None:
    hostile = "NUL\0 lone\ud800 pair\ud83d\ude00 bidi\u202e '; DROP TABLE host; --"
    sweep = fleet.begin(store, ["ws-1"], note=hostile)
    scope = ScopeResult(
        scope_id="s-oid", status=Partial(Reason.UNPROVEN, hostile), rows=(fleet.row(hostile),), unproven=(hostile,)
    )
    put = HostResult(
        host=HostId("ws-1"),
        facts=HostFacts(hostname=hostile, extra={hostile: hostile}),
        scopes=(scope,),
        started=fleet.start,
        finished=fleet.start,
        blind_spots=(BlindSpot("name with NUL", hostile, hostile, (replace(fleet.row(hostile), path=""),)),),
    )
    store.put(sweep, put)
    assert store.result(sweep, HostId("ws-1")) == put
    assert store.verify().problems == ()


def test_mtime_is_evidence_and_not_content(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.begin(store, ["a", "b"])
    for host, mtime in (("a", 1), ("b", 2)):
        scope = ScopeResult(scope_id="s-oid", status=Complete(), rows=(fleet.row("x.dll", mtime=mtime),))
        store.put(sweep, HostResult(host=HostId(host), facts=HostFacts(), scopes=(scope,), started=fleet.start,
                                    finished=fleet.start))  # fmt: skip
    assert [block.hosts for block in store.blocks(sweep)] == [2]


def test_before_anything_is_answered_every_host_is_pending_and_every_scope_not_asked(
    store: SqlStore, fleet: type[Fleet]
) -> None:
    sweep = fleet.begin(store, ["b", "a"])
    assert store.pending(sweep) == ("a", "b")
    cells = [(cell.host, cell.scope_id, cell.status) for cell in store.coverage(sweep)]
    not_asked = Unreachable(Reason.NOT_ASKED)
    assert cells == [(host, scope, not_asked) for host in "ab" for scope in ("s-oid", "s-run", "s-winsock")]
    assert store.result(sweep, HostId("a")) is None
    assert store.tree(sweep, HostId("a")) == {}
    assert store.facts(sweep, HostId("a")) is None


def test_coverage_has_exactly_one_status_for_each_host_and_scope(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.sweep(store, {"a": ALL, "b": {"s-oid": "a.dll", "s-run": TIMEOUT}, "c": None})
    cells = {(cell.host, cell.scope_id): cell.status for cell in store.coverage(sweep)}
    assert len(list(store.coverage(sweep))) == len(cells) == 9
    assert cells[HostId("b"), "s-run"] == TIMEOUT
    assert cells[HostId("b"), "s-winsock"] == Unreachable(Reason.NOT_ASKED)
    assert store.pending(sweep) == ("b", "c")


def test_hosts_say_how_far_they_came(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.sweep(store, {"a": ALL, "b": {"s-oid": TIMEOUT}, "c": None})
    hosts = {host.id: host for host in store.hosts(sweep)}
    assert [(host.answered, host.complete) for host in hosts.values()] == [(True, True), (True, False), (False, False)]
    assert hosts[HostId("a")].finished == fleet.start + timedelta(seconds=3, microseconds=7)
    assert hosts[HostId("a")].groups == ("lab",)
    assert hosts[HostId("c")].started is None


def test_equal_answers_are_stored_once(store: SqlStore, fleet: type[Fleet]) -> None:
    first = fleet.sweep(store, {f"ws-{number}": ALL for number in range(20)})
    before = store.counts()
    fleet.sweep(store, {f"ws-{number}": ALL for number in range(20)})
    after = store.counts()
    grown = {name for name in after if after[name] != before[name]}
    assert grown == {"sweeps", "host results", "seals"}
    assert after["distinct trees"] == 1
    assert after["distinct blocks"] == 3
    (tree,) = store.trees(first)
    assert len(tree.hosts) == 20


def test_blocks_are_counted_by_host_and_lead_to_their_hosts(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.sweep(store, {"a": ALL, "b": ALL, "c": {**ALL, "s-oid": "evil.dll"}})
    oid = {block.hosts: block.block for block in store.blocks(sweep) if block.scope_id == "s-oid"}
    assert store.block_hosts(sweep, "s-oid", oid[2]) == ("a", "b")
    assert store.block_hosts(sweep, "s-oid", oid[1]) == ("c",)
    assert store.block(oid[1]) == (fleet.row("evil.dll"),)
    assert store.tree(sweep, HostId("c"))["s-oid"].block == oid[1]
    assert len(store.block_digest(oid[1])) == 64
    with pytest.raises(StoreError, match="there is no block"):
        store.block(BlockId(999))


def test_the_cells_of_some_hosts_are_read_at_once_and_shared(store: SqlStore, fleet: type[Fleet]) -> None:
    many = {f"ws-{number:04}": ALL for number in range(600)}
    sweep = fleet.sweep(store, {**many, "c": {"s-oid": TIMEOUT}, "d": None})
    wanted = [*map(HostId, many), HostId("c"), HostId("d"), HostId("nobody")]
    found = store.cells(sweep, wanted)
    assert set(found) == {*many, "c"}
    assert len({id(found[HostId(name)]) for name in many}) == 1
    for name in ("ws-0599", "c"):
        assert found[HostId(name)] == tuple(store.tree(sweep, HostId(name)).values())
    assert store.cells(sweep, ()) == {}


def test_putting_again_changes_nothing(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.begin(store, ["a"])
    for _ in range(2):
        store.put(sweep, fleet.result("a", ALL))
    assert store.counts()["host results"] == 1
    assert store.result(sweep, HostId("a")) == fleet.result("a", ALL)


def test_a_later_answer_replaces_but_a_host_that_went_away_takes_nothing_with_it(
    store: SqlStore, fleet: type[Fleet]
) -> None:
    sweep = fleet.begin(store, ["a"])
    gone = fleet.result("a", dict.fromkeys(ALL, TIMEOUT))
    store.put(sweep, gone)
    assert store.result(sweep, HostId("a")) == gone
    partial = fleet.result("a", {**ALL, "s-run": TIMEOUT})
    store.put(sweep, partial)
    store.put(sweep, gone)
    assert store.result(sweep, HostId("a")) == partial
    store.put(sweep, fleet.result("a", ALL))
    assert store.pending(sweep) == ()


def test_results_put_together_are_the_same_as_one_by_one(store: SqlStore, fleet: type[Fleet]) -> None:
    names = [f"h{number}" for number in range(12)]
    results = [
        fleet.result(name, {**ALL, "s-run": f"{number % 5}.exe"} if number % 4 else dict.fromkeys(ALL, TIMEOUT),
                     raw=name.encode())
        for number, name in enumerate(names)
    ]  # fmt: skip
    apart, together = fleet.begin(store, names), fleet.begin(store, names)
    for result in results[:6]:
        store.put(apart, result)
    counts = store.counts()
    store.put(together, *results[:6])
    assert {**store.counts(), "host results": 0} == {**counts, "host results": 0}, "each thing is there once"
    store.put(together, *results[6:])
    counts = store.counts()
    for result in results[6:]:
        store.put(apart, result)
    assert {**store.counts(), "host results": 0} == {**counts, "host results": 0}
    for result in results:
        assert store.result(together, result.host) == store.result(apart, result.host) == result
    assert store.verify().problems == ()


def test_of_results_put_together_the_later_of_one_host_replaces_as_ever(store: SqlStore, fleet: type[Fleet]) -> None:
    gone, partial = fleet.result("a", dict.fromkeys(ALL, TIMEOUT)), fleet.result("a", {**ALL, "s-run": TIMEOUT})
    sweep = fleet.begin(store, ["a", "b"])
    store.put(sweep, gone, fleet.result("b", ALL), partial, gone)
    assert store.result(sweep, HostId("a")) == partial
    store.put(sweep, gone, fleet.result("a", ALL), partial)
    assert store.result(sweep, HostId("a")) == partial


def test_a_host_that_is_not_part_of_the_sweep_is_an_error(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.begin(store, ["a"])
    with pytest.raises(StoreError, match="host b is not part of sweep"):
        store.put(sweep, fleet.result("a", ALL), fleet.result("b", ALL))
    assert store.pending(sweep) == ("a",), "all or none"


@pytest.mark.parametrize("names", [["a", "a"], [""], ["bad\0name"], ["lone\ud800"]])
def test_host_names_that_cannot_work_are_refused_before_anything_is_written(
    store: SqlStore, fleet: type[Fleet], names: list[str]
) -> None:
    with pytest.raises(StoreError):
        fleet.begin(store, names)
    assert store.sweeps() == ()


def test_a_scope_with_two_results_is_refused(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.begin(store, ["a"])
    twice = fleet.result("a", {"s-oid": "x"})
    both = HostResult(host=HostId("a"), facts=twice.facts, scopes=twice.scopes * 2, started=fleet.start,
                      finished=fleet.start)  # fmt: skip
    with pytest.raises(StoreError, match="two results"):
        store.put(sweep, both)
    assert store.pending(sweep) == ("a",)


def test_a_finished_sweep_takes_nothing_until_it_is_reopened(place: str, fleet: type[Fleet]) -> None:
    with open_store(place) as store:
        sweep = fleet.sweep(store, {"a": ALL, "b": None})
        with pytest.raises(StoreError, match="is finished"):
            store.put(sweep, fleet.result("b", ALL))
        with pytest.raises(StoreError, match="finished already"):
            store.finish_sweep(sweep, finished=fleet.start, outcome="complete")
        first_seal = store.sweep(sweep).seal
    with open_store(place) as store:  # another process continues
        store.reopen_sweep(sweep)
        assert store.sweep(sweep).finished is None
        assert store.pending(sweep) == ("b",)
        store.put(sweep, fleet.result("b", ALL))
        second_seal = store.finish_sweep(sweep, finished=fleet.start, outcome="complete")
        assert store.pending(sweep) == ()
        assert store.sweep(sweep).seal == second_seal != first_seal
        assert store.sweep(sweep).previous not in {"", first_seal}, "between them stands that it was continued"
        assert store.verify().problems == ()


def test_sweeps_are_found_by_id_by_a_unique_beginning_and_as_latest(store: SqlStore, fleet: type[Fleet]) -> None:
    old = fleet.sweep(store, {"a": ALL}, days_ago=40)
    new = fleet.sweep(store, {"a": ALL, "b": None})
    other = fleet.begin(store, ["a"])
    assert [sweep.id for sweep in store.sweeps()] == [old, new, other]
    assert store.sweep("latest").id == other
    assert store.sweep(old[:8]).id == old
    assert (store.sweep(new).hosts, store.sweep(new).answered) == (2, 1)
    assert store.sweep(other).finished is None
    assert store.sweep(other).seal == ""
    assert store.plan(new) == fleet.plan
    with pytest.raises(StoreError, match="is the beginning of 2 sweeps"):
        store.sweep("2026112")
    for unknown in ("nope", ""):
        with pytest.raises(StoreError, match="there is no sweep"):
            store.sweep(unknown)


def test_an_empty_store_has_no_latest_sweep(store: SqlStore) -> None:
    with pytest.raises(StoreError, match="has no sweep"):
        store.sweep()


@pytest.mark.parametrize(
    "read", ["plan", "hosts", "pending", "coverage", "trees", "blocks", "fleet_facts", "blind_spots", "findings"]
)
def test_reading_a_sweep_that_does_not_exist_says_so(store: SqlStore, read: str) -> None:
    with pytest.raises(StoreError, match="there is no sweep"):
        tuple(getattr(store, read)(SweepId("20200101-000000-0000")))


def test_changed_cells_are_found_against_each_hosts_own_past(store: SqlStore, fleet: type[Fleet]) -> None:
    base = fleet.sweep(store, {"same": ALL, "moved": ALL, "lost": ALL, "gone": ALL, "silent": None})
    now = fleet.sweep(
        store,
        {
            "same": ALL,
            "moved": {**ALL, "s-oid": "evil.dll"},
            "lost": {**ALL, "s-run": TIMEOUT},
            "fresh": {"s-oid": "a.dll"},
            "silent": None,
        },
    )
    seen = {(cell.host, cell.scope_id): cell for cell in store.changed(base, now)}
    assert set(seen) == {
        ("moved", "s-oid"), ("lost", "s-run"), ("fresh", "s-oid"),
        ("gone", "s-oid"), ("gone", "s-run"), ("gone", "s-winsock"),
    }  # fmt: skip
    moved = seen[HostId("moved"), "s-oid"]
    assert moved.before is not None
    assert moved.after is not None
    assert moved.before.block is not None
    assert moved.after.block is not None
    assert store.block(moved.before.block) == (fleet.row("a.dll"),)
    assert store.block(moved.after.block) == (fleet.row("evil.dll"),)
    lost = seen[HostId("lost"), "s-run"].after
    assert lost is not None
    assert (lost.status, lost.block) == (TIMEOUT, None)
    assert seen[HostId("fresh"), "s-oid"].before is None
    assert seen[HostId("gone"), "s-run"].after is None
    assert list(store.changed(now, now)) == []


def test_a_scope_that_only_one_plan_asked_has_one_side(store: SqlStore, fleet: type[Fleet]) -> None:
    base = fleet.sweep(store, {"a": {"s-oid": "a.dll", "s-old": "x"}})
    now = fleet.sweep(store, {"a": {"s-oid": "a.dll", "s-new": "x"}})
    sides = {cell.scope_id: (cell.before is None, cell.after is None) for cell in store.changed(base, now)}
    assert sides == {"s-old": (False, True), "s-new": (True, False)}


def test_changed_cells_against_a_golden_host(store: SqlStore, fleet: type[Fleet]) -> None:
    base = fleet.sweep(store, {"gold": ALL, "other": {**ALL, "s-oid": "old.dll"}})
    now = fleet.sweep(store, {"a": ALL, "b": {**ALL, "s-oid": "evil.dll"}})
    changed = store.changed(base, now, golden=HostId("gold"))
    assert [(cell.host, cell.scope_id) for cell in changed] == [("b", "s-oid")]
    with pytest.raises(StoreError, match="no answer of host a"):
        list(store.changed(base, now, golden=HostId("a")))


def test_some_hosts_against_a_golden_host(store: SqlStore, fleet: type[Fleet]) -> None:
    base = fleet.sweep(store, {"gold": ALL})
    evil = {**ALL, "s-oid": "evil.dll", "s-run": "evil.exe"}
    many = [f"h-{number:04}" for number in range(1200)]
    now = fleet.sweep(store, {"same": ALL, **dict.fromkeys(many, evil)})
    chosen = {HostId("same"), HostId("nobody"), *map(HostId, many[:700])}
    found = [(cell.host, cell.scope_id) for cell in store.changed(base, now, golden=HostId("gold"), hosts=chosen)]
    assert found == [(name, scope) for name in many[:700] for scope in ("s-oid", "s-run")]


def test_baselines_stand_side_by_side(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.sweep(store, {"gold": ALL, "silver": ALL, "silent": None})
    past = Baseline(name="before-patch", sweep=sweep, created=fleet.start, note="change 4711")
    gold = Baseline(name="gold-image", sweep=sweep, host=HostId("gold"), created=fleet.start)
    others = (HostId("silver"),)
    both = Baseline(name="x", sweep=sweep, host=gold.host, others=others, own_past=True, created=fleet.start)
    for baseline in (gold, past, both):
        store.put_baseline(baseline)
    assert store.baselines() == (past, gold, both)
    store.delete_baseline("x")
    assert store.baseline("gold-image") == gold
    with pytest.raises(StoreError, match="already"):
        store.put_baseline(past)
    store.delete_baseline("gold-image")
    assert store.baselines() == (past,)
    for missing in (store.baseline, store.delete_baseline):
        with pytest.raises(StoreError, match="there is no baseline gold-image"):
            missing("gold-image")


@pytest.mark.parametrize(
    ("name", "sweep", "host", "words"),
    [
        ("latest", None, None, "cannot have this name"),
        (" ", None, None, "cannot have this name"),
        ("x", "20200101-000000-0000", None, "there is no sweep"),
        ("x", None, "silent", "no answer of host silent"),
        ("x", None, "unknown", "no answer of host unknown"),
    ],
)
def test_a_baseline_that_could_not_be_used_is_refused(
    store: SqlStore, fleet: type[Fleet], name: str, sweep: str | None, host: str | None, words: str
) -> None:
    real = fleet.sweep(store, {"a": ALL, "silent": None})
    with pytest.raises(StoreError, match=words):
        store.put_baseline(
            Baseline(
                name=name,
                sweep=SweepId(sweep) if sweep else real,
                host=HostId(host) if host else None,
                created=fleet.start,
            )
        )
    assert store.baselines() == ()


def test_many_threads_store_at_once(store: SqlStore, fleet: type[Fleet]) -> None:
    hosts = [f"ws-{number:03}" for number in range(60)]
    sweep = fleet.begin(store, hosts)

    def put(host: str) -> None:
        store.put(sweep, fleet.result(host, {**ALL, "s-run": f"{int(host[3:]) % 7}.exe"}))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, hosts))
    assert store.pending(sweep) == ()
    assert len(list(store.trees(sweep))) == 7
    assert store.verify().problems == ()


def test_a_reader_sees_one_moment_while_others_write(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.begin(store, ["a", "b"])
    store.put(sweep, fleet.result("a", ALL))
    trees = store.trees(sweep)
    first = next(trees)
    store.put(sweep, fleet.result("b", {**ALL, "s-oid": "late.dll"}))
    assert [first, *trees] == [first]


WRITER = """
import sys
from datetime import UTC, datetime
from fleetscan.model.host import HostId
from fleetscan.model.registry import RegistryRow
from fleetscan.model.snapshot import Complete, HostFacts, HostResult, ScopeResult
from fleetscan.store.interface import PlanRecord, SweepHost
from fleetscan.store.sql import open_store

place, note = sys.argv[1:]
start = datetime(2026, 11, 21, tzinfo=UTC)
hosts = [f"ws-{number}" for number in range(60)]
with open_store(place) as store:
    plan = PlanRecord(digest="d", scopes=(("s-1", "one"),), statements=())
    sweep = store.begin_sweep(plan, [SweepHost(HostId(host), "embedded") for host in hosts], started=start, note=note)
    for number, host in enumerate(hosts):
        row = RegistryRow("HKLM", "n", "REG_SZ", str(number % 20), "HKLM\\\\n")
        scope = ScopeResult(scope_id="s-1", status=Complete(), rows=(row,))
        facts = HostFacts(hostname=host)
        store.put(sweep, HostResult(host=HostId(host), facts=facts, scopes=(scope,), started=start, finished=start))
    store.finish_sweep(sweep, finished=start, outcome="complete")
"""


def test_two_processes_sweep_into_one_new_store_at_once(place: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, place, note], stderr=subprocess.PIPE, text=True)
        for note in ("one", "two")
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    with open_store(place, create=False) as store:
        assert sorted(sweep.note for sweep in store.sweeps()) == ["one", "two"]
        assert [store.pending(sweep.id) for sweep in store.sweeps()] == [(), ()]
        assert store.counts()["distinct blocks"] == 20
        assert store.counts()["distinct trees"] == 20
        assert store.verify().problems == ()


def test_a_writer_goes_on_when_another_process_prunes(place: str, fleet: type[Fleet]) -> None:
    """Numbers that the writer remembers are gone; it must notice and store the content again."""
    with open_store(place) as writer, open_store(place) as pruner:
        fleet.sweep(writer, {"a": ALL}, days_ago=400)
        fleet.sweep(writer, {"b": None})
        running = fleet.begin(writer, ["a"])
        pruned = pruner.prune(90, now=fleet.start)
        assert pruned.records["block"] == 3
        writer.put(running, fleet.result("a", ALL))
        assert writer.result(running, HostId("a")) == fleet.result("a", ALL)
        assert writer.verify().problems == ()


def test_a_sweep_without_hosts_or_scopes_is_a_sweep(store: SqlStore, fleet: type[Fleet]) -> None:
    empty = type(fleet.plan)(digest="e", scopes=(), statements=())
    sweep = store.begin_sweep(empty, [], started=fleet.start)
    host = store.begin_sweep(empty, [SweepHost(HostId("a"), "embedded")], started=fleet.start)
    nothing = HostResult(host=HostId("a"), facts=HostFacts(), scopes=(), started=fleet.start, finished=fleet.start)
    store.put(host, nothing)
    for each in (sweep, host):
        store.finish_sweep(each, finished=fleet.start, outcome="complete")
    assert store.result(host, HostId("a")) == nothing
    assert [tree.hosts for tree in store.trees(host)] == [("a",)]
    assert list(store.coverage(sweep)) == []
    assert store.verify().problems == ()


def test_a_scope_that_was_answered_before_it_was_planned_is_named_by_the_plan(
    store: SqlStore, fleet: type[Fleet]
) -> None:
    fleet.sweep(store, {"a": {"s-later": "x"}})
    later = type(fleet.plan)(digest="l", scopes=(("s-later", "HKLM Later"),), statements=())
    store.begin_sweep(later, [], started=fleet.start)
    assert store.verify().problems == ()


def test_sweeps_of_one_second_have_names_of_their_own(store: SqlStore, fleet: type[Fleet]) -> None:
    names = [store.begin_sweep(fleet.plan, [], started=fleet.start) for _ in range(300)]
    assert len(set(names)) == 300
    assert {sweep.id for sweep in store.sweeps()} == set(names)
