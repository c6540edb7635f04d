"""Laws that hold for all sweeps: store then load is identity, changed cells are exactly the differences, resuming."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetscan.model.host import HostId
from fleetscan.model.registry import RegistryRow
from fleetscan.model.snapshot import (
    BlindSpot,
    Complete,
    HostFacts,
    HostResult,
    Partial,
    RawAnswer,
    Reason,
    ScopeResult,
    Status,
    Unreachable,
)
from fleetscan.store.digest import sha256
from fleetscan.store.interface import ChangedCell, PlanRecord, SweepHost, SweepId
from fleetscan.store.records import FindingRecord, JudgedWith
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fleetscan.store.interface import Cell
    from fleetscan.store.sql import SqlStore
    from tests.store.conftest import Fleet

SHARED_STORE = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(codec=None), max_size=8)
NAMES = st.sampled_from(["a", "b", "c", "d"])
SCOPES = ("s-1", "s-2", "s-3")
REASONS = st.sampled_from(Reason)
STATUS: st.SearchStrategy[Status] = (
    st.just(Complete()) | st.builds(Partial, REASONS, TEXT) | st.builds(Unreachable, REASONS, TEXT)
)
ROW = st.builds(lambda name, data: RegistryRow("K", name, "REG_SZ", data, f"K\\{name}"), TEXT, TEXT)
ROWS = st.lists(ROW, max_size=3).map(lambda rows: tuple(sorted(rows, key=lambda row: (row.name, row.data))))
UNPROVEN = st.lists(TEXT, max_size=2, unique=True).map(lambda keys: tuple(sorted(keys)))
TEXTS = st.dictionaries(TEXT, TEXT, max_size=2)
FACTS = st.builds(
    HostFacts,
    osquery_version=TEXT,
    hostname=TEXT,
    os_build=TEXT,
    environment=st.none() | TEXTS,
    current_control_set=st.none() | st.integers(0, 2**32 - 1),
    profiles_known=st.lists(TEXT, max_size=2).map(tuple),
    extra=TEXTS,
)
RAW = st.lists(
    st.builds(lambda name, content: RawAnswer(name, sha256(content).hex(), content), NAMES, st.binary(max_size=20)),
    max_size=2,
).map(tuple)
SPOTS = st.lists(st.builds(BlindSpot, TEXT, TEXT, TEXT), max_size=2).map(tuple)


START = datetime(2026, 11, 21, 21, 10, 45, 123456, tzinfo=UTC)


@st.composite
def results(draw: st.DrawFn) -> HostResult:
    """A host's result in canonical order: scopes by id, rows sorted."""
    scopes = tuple(
        ScopeResult(scope_id=scope, status=draw(STATUS), rows=draw(ROWS), unproven=draw(UNPROVEN))
        for scope in sorted(draw(st.sets(st.sampled_from(SCOPES))))
    )
    began = START + timedelta(microseconds=draw(st.integers(-(10**7), 10**13)))
    return HostResult(
        host=HostId(draw(NAMES)),
        facts=draw(FACTS),
        scopes=scopes,
        started=began,
        finished=began + timedelta(microseconds=draw(st.integers(0, 10**10))),
        raw=draw(RAW),
        blind_spots=draw(SPOTS),
    )


def begin(store: SqlStore, hosts: Iterable[str]) -> SweepId:
    plan = PlanRecord(digest="d", scopes=tuple((scope, scope) for scope in SCOPES), statements=())
    return store.begin_sweep(plan, [SweepHost(HostId(host), "embedded") for host in sorted(hosts)], started=START)


@SHARED_STORE
@given(result=results())
def test_store_then_load_is_identity(store: SqlStore, result: HostResult) -> None:
    sweep = begin(store, [result.host])
    store.put(sweep, result)
    assert store.result(sweep, result.host) == result


SWEEP = st.dictionaries(NAMES, st.none() | st.dictionaries(st.sampled_from(SCOPES), STATUS | st.sampled_from("xyz")))
Answers = dict[str, dict[str, Status | str] | None]


def put_all(store: SqlStore, fleet: type[Fleet], sweep: SweepId, answers: Answers) -> None:
    for host, cells in answers.items():
        if cells is not None:
            store.put(sweep, fleet.result(host, cells))


def grid(store: SqlStore, sweep: SweepId) -> dict[tuple[str, str], Cell]:
    return {(host.id, scope): cell for host in store.hosts(sweep) for scope, cell in store.tree(sweep, host.id).items()}


@SHARED_STORE
@given(before=SWEEP, after=SWEEP)
def test_changed_cells_are_exactly_the_differences(
    store: SqlStore, fleet: type[Fleet], before: Answers, after: Answers
) -> None:
    base, now = begin(store, before), begin(store, after)
    put_all(store, fleet, base, before)
    put_all(store, fleet, now, after)
    old, new = grid(store, base), grid(store, now)
    expected = {
        ChangedCell(host=HostId(host), scope_id=scope, before=old.get((host, scope)), after=new.get((host, scope)))
        for host, scope in {*old, *new}
        if old.get((host, scope)) != new.get((host, scope))
    }
    found = list(store.changed(base, now))
    assert set(found) == expected
    assert len(found) == len(expected)
    assert {(cell.before, cell.after) for cell in store.changed(now, base)} == {
        (cell.after, cell.before) for cell in expected
    }
    assert list(store.changed(now, now)) == []


FINDINGS = st.lists(
    st.builds(
        FindingRecord,
        host=NAMES.map(HostId),
        fingerprint=TEXT,
        rule_id=TEXT,
        severity=st.sampled_from(["high", "info"]),
        state=st.sampled_from(["new", "still there"]),
        summary=TEXT,
        techniques=st.lists(TEXT, max_size=2).map(tuple),
        details=TEXTS,
    ),
    max_size=5,
)


def in_order(records: Iterable[FindingRecord]) -> list[str]:
    """Records as texts that do not depend on any order."""
    return sorted(json.dumps(asdict(record), sort_keys=True) for record in records)


@SHARED_STORE
@given(findings=FINDINGS, told=st.none() | st.builds(JudgedWith, TEXT, st.lists(TEXT, max_size=2).map(tuple)))
def test_what_was_judged_is_read_back_as_it_was_put(
    store: SqlStore, fleet: type[Fleet], findings: list[FindingRecord], told: JudgedWith | None
) -> None:
    sweep = store.sweep().id if store.sweeps() else fleet.begin(store, "abcd")
    store.put_findings(sweep, findings, how=told)
    assert in_order(store.findings(sweep)) == in_order(findings)
    assert store.judged_with(sweep) == told
    assert store.verify().problems == ()
    names = {one.fingerprint for one in findings}
    for host in "bcd":  # the same on another host is kept once
        store.put_findings(sweep, [replace(one, host=HostId(host)) for one in findings])
    assert {one.fingerprint for one in store.findings(sweep)} == names
    assert {one.host for one in store.findings(sweep)} <= {"d"}


@SHARED_STORE
@given(answers=SWEEP)
def test_trees_blocks_and_coverage_tell_the_same_story(store: SqlStore, fleet: type[Fleet], answers: Answers) -> None:
    sweep = begin(store, answers)
    put_all(store, fleet, sweep, answers)
    cells = grid(store, sweep)
    by_tree = {(host, cell.scope_id): cell for tree in store.trees(sweep) for host in tree.hosts for cell in tree.cells}
    assert by_tree == cells
    by_block = {
        (host, block.scope_id): block.block
        for block in store.blocks(sweep)
        for host in store.block_hosts(sweep, block.scope_id, block.block)
    }
    assert by_block == {place: cell.block for place, cell in cells.items() if cell.block is not None}
    assert sum(block.hosts for block in store.blocks(sweep)) == len(by_block)
    covered = [(cell.host, cell.scope_id) for cell in store.coverage(sweep)]
    assert sorted(covered) == sorted((host, scope) for host in answers for scope in SCOPES)
    for cell in store.coverage(sweep):
        stored = cells.get((cell.host, cell.scope_id))
        assert cell.status == (stored.status if stored else Unreachable(Reason.NOT_ASKED))


@SHARED_STORE
@given(answers=SWEEP, data=st.data())
def test_a_sweep_that_was_interrupted_and_resumed_equals_one_that_was_not(
    store: SqlStore, fleet: type[Fleet], answers: Answers, data: st.DataObject
) -> None:
    """The order of arrival, what was answered before the kill, and being asked twice leave no trace."""
    answered = sorted(host for host, cells in answers.items() if cells is not None)
    straight, broken = begin(store, answers), begin(store, answers)
    put_all(store, fleet, straight, answers)
    first = data.draw(st.lists(st.sampled_from(answered), unique=True)) if answered else []
    put_all(store, fleet, broken, {host: answers[host] for host in first})
    with open_store(str(store.database.engine.url.render_as_string(hide_password=False))) as resumed:
        rest = data.draw(st.permutations([host for host in resumed.pending(broken) if host in answered]))
        put_all(resumed, fleet, broken, {host: answers[host] for host in rest})
    assert grid(store, broken) == grid(store, straight)
    assert list(store.changed(straight, broken)) == []
    for host in answered:
        assert store.result(broken, HostId(host)) == store.result(straight, HostId(host))


@SHARED_STORE
@given(answers=SWEEP)
def test_a_sealed_store_verifies(store: SqlStore, fleet: type[Fleet], answers: Answers) -> None:
    sweep = begin(store, answers)
    put_all(store, fleet, sweep, answers)
    store.finish_sweep(sweep, finished=START, outcome="complete")
    assert store.verify().problems == ()
