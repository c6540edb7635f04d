"""Verify finds every alteration; prune drops what is old and nothing that is needed. On both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.model.snapshot import BlindSpot, Reason, Unreachable
from fleetscan.store.interface import Baseline, SweepHost, SweepId
from fleetscan.store.records import EntityRecord, FindingRecord
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.store.sql import SqlStore
    from tests.store.conftest import Fleet

ALL = {"s-oid": "a.dll", "s-run": "b.exe", "s-winsock": "c.dll"}
Execute = Callable[[str], None]


def finding(host: str, state: str, *, severity: str = "high", fingerprint: str = "f-1") -> FindingRecord:
    return FindingRecord(
        host=HostId(host), fingerprint=fingerprint, rule_id="r-1", severity=severity, certainty="certain", state=state
    )


@pytest.fixture
def chain(store: SqlStore, fleet: type[Fleet]) -> tuple[SweepId, SweepId]:
    """Two finished sweeps with everything that a store can hold."""
    first = fleet.sweep(store, {"a": ALL, "b": {"s-oid": Unreachable(Reason.TIMEOUT)}}, days_ago=1)
    second = fleet.begin(store, ["a"])
    store.put(second, fleet.result("a", ALL, raw=b"other", blind_spots=(BlindSpot("link", "K", "to L"),)))
    store.put_findings(second, [finding("a", "new")])
    store.put_entities(second, [EntityRecord(host=HostId("a"), kind="sip", identity="x")])
    store.finish_sweep(second, finished=fleet.start, outcome="complete")
    assert store.verify().problems == ()
    return first, second


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE block SET content = (SELECT content FROM raw ORDER BY id LIMIT 1) WHERE id = 1", "block 1"),
        ("UPDATE block SET sha256 = (SELECT sha256 FROM plan LIMIT 1) WHERE id = 1", "block 1"),
        ("DELETE FROM block WHERE id = 1", "rows name a block"),
        ("UPDATE raw SET content = (SELECT content FROM block ORDER BY id LIMIT 1)", "raw 1"),
        ("UPDATE plan SET record = (SELECT content FROM raw ORDER BY id LIMIT 1)", "plan 1"),
        ("UPDATE plan SET rules_digest = 'other'", "rules_digest is not what was sealed"),
        ("UPDATE status SET record = (SELECT record FROM facts LIMIT 1) WHERE id = 1", "status 1"),
        ("UPDATE facts SET record = (SELECT record FROM status LIMIT 1) WHERE id = 1", "facts 1"),
        ("UPDATE answer SET blind_spots = NULL WHERE blind_spots IS NOT NULL", "answer 3"),
        ("UPDATE answer_raw SET statement_id = 'q-9' WHERE answer = 1", "answer 1"),
        ("DELETE FROM cell WHERE tree = 1 AND scope = 1", "tree 1"),
        ("UPDATE cell SET block = 2 WHERE tree = 1 AND scope = 1", "tree 1"),
        ("UPDATE result SET tree = 2 WHERE sweep = 1 AND host = 1", "the answers are not those that were sealed"),
        ("UPDATE result SET started = started + 1 WHERE sweep = 2", "the answers are not those that were sealed"),
        ("DELETE FROM result WHERE sweep = 1 AND host = 2", "the answers are not those that were sealed"),
        ("UPDATE host SET name = 'c' WHERE name = 'a'", "the answers are not those that were sealed"),
        ("UPDATE placement SET sha256 = (SELECT sha256 FROM plan)", "the answers are not those that were sealed"),
        ("UPDATE placement SET groups = '[]'", "placement 1"),
        ("UPDATE scope SET text = 'nothing' WHERE id = 1", "plan 1: its scopes"),
        ("DELETE FROM plan_scope WHERE scope = 1", "plan 1: its scopes"),
        ("UPDATE plan SET digest = 'other'", "plan 1: its hashes"),
        ("UPDATE status SET kind = 'complete'", "kind is not what the record says"),
        ("UPDATE facts SET os_build = '1'", "os_build is not what the record says"),
        ("UPDATE finding SET state = 'approved', is_open = 0", "state is not what the record says"),
        ("UPDATE entity SET attributes = 'x'", "attributes is not what the record says"),
        ("UPDATE sweep SET note = 'nothing to see' WHERE id = 1", "note is not what was sealed"),
        ("UPDATE sweep SET started = started - 1 WHERE id = 1", "started is not what was sealed"),
        ("UPDATE sweep SET outcome = 'incomplete' WHERE id = 2", "outcome is not what was sealed"),
        ("UPDATE seal SET content = (SELECT record FROM status LIMIT 1) WHERE number = 1", "does not match its hash"),
        ("DELETE FROM seal WHERE number = 1", "seal 1 is missing"),
        ("DELETE FROM seal WHERE number = 2", "never sealed"),
        ("UPDATE seal SET sha256 = (SELECT sha256 FROM plan) WHERE number = 1", "does not follow the seal before it"),
        ("UPDATE finding SET record = (SELECT record FROM entity)", "finding 1"),
        ("DELETE FROM sheet_item WHERE sheet = 1", "sheet 1"),
        ("DELETE FROM sheet WHERE id = 1", "rows name a sheet"),
    ],
)
@pytest.mark.usefixtures("chain")
def test_verify_names_what_was_altered(store: SqlStore, execute: Execute, statement: str, words: str) -> None:
    execute(statement)
    shown = [f"{problem.where}: {problem.what}" for problem in store.verify().problems]
    assert any(words in line for line in shown), shown


@pytest.mark.usefixtures("chain")
def test_verify_counts_what_it_checked(store: SqlStore) -> None:
    checked = store.verify().checked
    assert checked["seal"] == 2
    assert checked["result"] == 3
    assert {"block", "raw", "plan", "tree", "answer", "finding"} <= set(checked)


def test_damaged_content_is_an_error_when_it_is_read(
    store: SqlStore, execute: Execute, chain: tuple[SweepId, SweepId]
) -> None:
    execute("UPDATE facts SET record = (SELECT sha256 FROM plan)")
    execute("UPDATE answer SET blind_spots = (SELECT sha256 FROM plan) WHERE blind_spots IS NOT NULL")
    execute("UPDATE plan SET record = sha256")
    execute("UPDATE finding SET record = sha256")
    host = HostId("a")
    for read in (
        lambda: store.facts(chain[0], host),
        lambda: store.plan(chain[0]),
        lambda: store.blind_spots(chain[1]),
        lambda: store.findings(chain[1]),
    ):
        with pytest.raises(StoreError, match="damaged"):
            read()


def test_old_answers_go_and_the_chain_of_evidence_stays(store: SqlStore, fleet: type[Fleet]) -> None:
    old = fleet.sweep(store, {"a": {"s-oid": "old.dll"}, "b": ALL}, days_ago=91)
    young = fleet.sweep(store, {"a": ALL}, days_ago=89)
    pruned = store.prune(90, now=fleet.start)
    assert pruned.sweeps == (old,)
    assert pruned.kept == ()
    assert pruned.records == {"tree": 1, "block": 1, "answer": 1, "facts": 1}
    assert store.verify().problems == ()
    assert store.sweep(old).pruned == fleet.start
    assert store.plan(old) == fleet.plan
    assert store.result(young, HostId("a")) == fleet.result("a", ALL)
    for read in (store.hosts, store.pending, store.blocks, store.findings):
        with pytest.raises(StoreError, match="were pruned on 2026-11-21"):
            read(old)
    with pytest.raises(StoreError, match="were pruned"):
        list(store.changed(old, young))
    with pytest.raises(StoreError, match="were pruned"):
        list(store.changed(young, old))
    with pytest.raises(StoreError, match="were pruned"):
        store.reopen_sweep(old)
    with pytest.raises(StoreError, match="were pruned"):
        store.put_baseline(Baseline(name="x", sweep=old, created=fleet.start))


def test_pruning_again_finds_nothing(store: SqlStore, fleet: type[Fleet]) -> None:
    for age in (400, 300, 0):
        fleet.sweep(store, {"a": {"s-oid": f"{age}.dll"}}, days_ago=age)
    assert len(store.prune(90, now=fleet.start).sweeps) == 2
    again = store.prune(90, now=fleet.start)
    assert (again.sweeps, again.kept, again.records) == ((), (), {})


def test_the_latest_sweep_stays_however_old(store: SqlStore, fleet: type[Fleet]) -> None:
    old = fleet.sweep(store, {"a": ALL}, days_ago=4000)
    pruned = store.prune(1, now=fleet.start)
    assert pruned.kept == ((old, "the latest sweep"),)


def test_the_last_finished_sweep_of_a_job_stays_for_its_next_run(store: SqlStore, fleet: type[Fleet]) -> None:
    """``--baseline auto`` compares with it; a note that was written once is no series."""
    sweeps = [
        (fleet.begin(store, ["a"], days_ago=age, note=note), outcome)
        for age, note, outcome in (
            (800, "job yearly", "complete"),
            (400, "job yearly", "complete"),
            (390, "job yearly", "incomplete"),
            (380, "before the patch", "complete"),
        )
    ]
    for sweep, outcome in sweeps:
        store.finish_sweep(sweep, finished=fleet.start, outcome=outcome)
    fleet.sweep(store, {"a": ALL})
    pruned = store.prune(90, now=fleet.start)
    assert pruned.kept == ((sweeps[2][0], "the last finished sweep of its kind"),)
    assert len(pruned.sweeps) == 3


def test_what_a_baseline_needs_stays_until_it_is_deleted(store: SqlStore, fleet: type[Fleet]) -> None:
    old = fleet.sweep(store, {"a": {"s-oid": "old.dll"}}, days_ago=400)
    fleet.sweep(store, {"a": ALL})
    store.put_baseline(Baseline(name="gold", sweep=old, host=HostId("a"), created=fleet.start))
    assert store.prune(90, now=fleet.start).kept == ((old, "baseline gold"),)
    assert store.result(old, HostId("a")) == fleet.result("a", {"s-oid": "old.dll"})
    store.delete_baseline("gold")
    assert store.prune(90, now=fleet.start).sweeps == (old,)


def test_an_open_finding_keeps_the_sweeps_where_it_was_first_and_last_seen(store: SqlStore, fleet: type[Fleet]) -> None:
    sweeps = [fleet.sweep(store, {"a": ALL, "b": ALL}, days_ago=age) for age in (500, 400, 300)]
    for sweep, state in zip(sweeps, ("new", "still there", "still there"), strict=True):
        store.put_findings(sweep, [finding("a", state)])
    fleet.sweep(store, {"b": ALL})  # host a was not in it: its finding stands
    pruned = store.prune(90, now=fleet.start)
    assert pruned.sweeps == (sweeps[1],)
    assert pruned.kept == ((sweeps[0], "an open finding"), (sweeps[2], "an open finding"))
    assert [record.state for record in store.findings(sweeps[2])] == ["still there"]


@pytest.mark.parametrize(
    "end", [finding("a", "gone"), finding("a", "approved"), finding("a", "still there", severity="info")]
)
def test_a_closed_finding_keeps_nothing(store: SqlStore, fleet: type[Fleet], end: FindingRecord) -> None:
    old = fleet.sweep(store, {"a": ALL}, days_ago=400)
    store.put_findings(old, [finding("a", "new")])
    now = fleet.sweep(store, {"a": ALL})
    store.put_findings(now, [end])
    assert store.prune(90, now=fleet.start).sweeps == (old,)


def test_a_finding_that_is_not_reported_any_more_keeps_nothing(store: SqlStore, fleet: type[Fleet]) -> None:
    old = fleet.sweep(store, {"a": ALL}, days_ago=400)
    store.put_findings(old, [finding("a", "new")])
    store.put_findings(fleet.sweep(store, {"a": ALL}), [])
    assert store.prune(90, now=fleet.start).sweeps == (old,)


@pytest.mark.parametrize("judged", [True, False])
def test_a_host_without_an_answer_closes_no_finding(store: SqlStore, fleet: type[Fleet], *, judged: bool) -> None:
    old = fleet.sweep(store, {"a": ALL}, days_ago=400)
    store.put_findings(old, [finding("a", "new")])
    now = fleet.sweep(store, {"a": None if judged else ALL})
    if judged:
        store.put_findings(now, [])
    assert store.prune(90, now=fleet.start).kept == ((old, "an open finding"),)


def test_content_that_a_younger_sweep_shares_stays(store: SqlStore, fleet: type[Fleet]) -> None:
    fleet.sweep(store, {"a": ALL, "b": {**ALL, "s-oid": "rare.dll"}}, days_ago=400)
    young = fleet.sweep(store, {"a": ALL})
    assert store.prune(90, now=fleet.start).records["block"] == 1
    assert store.result(young, HostId("a")) == fleet.result("a", ALL)
    assert store.verify().problems == ()


def test_a_sweep_that_was_killed_long_ago_is_dropped_too(store: SqlStore, fleet: type[Fleet]) -> None:
    killed = fleet.begin(store, ["a"], days_ago=400)
    store.put(killed, fleet.result("a", {"s-oid": "x"}))
    fleet.sweep(store, {"a": ALL})
    assert store.prune(90, now=fleet.start).sweeps == (killed,)
    with pytest.raises(StoreError, match="is finished"):
        store.put(killed, fleet.result("a", ALL))


def test_numbers_are_never_used_again(store: SqlStore, fleet: type[Fleet]) -> None:
    """A number that a caller still holds must not come to mean other rows."""
    old = fleet.sweep(store, {"a": {"s-oid": "old.dll"}}, days_ago=400)
    number = store.tree(old, HostId("a"))["s-oid"].block
    assert number is not None
    fleet.sweep(store, {"a": ALL})
    empty = store.begin_sweep(fleet.plan, [SweepHost(HostId("a"), "embedded")], started=fleet.start)
    store.prune(90, now=fleet.start)
    store.put(empty, fleet.result("a", {"s-oid": "new.dll"}))
    with pytest.raises(StoreError, match="there is no block"):
        store.block(number)


def test_prune_counts_from_the_clock_that_it_is_given(store: SqlStore, fleet: type[Fleet]) -> None:
    old = fleet.sweep(store, {"a": ALL})
    fleet.sweep(store, {"a": ALL})
    assert store.prune(90, now=fleet.start + timedelta(days=90)).sweeps == ()
    assert store.prune(90, now=fleet.start + timedelta(days=90, seconds=1)).sweeps == (old,)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM plan", "the plan of a sweep is not in the store"),
        ("DELETE FROM sweep WHERE id = 1", "the sweep is not in the store any more"),
    ],
)
def test_what_only_a_foreign_program_can_delete_is_noticed(
    tmp_path: Path, fleet: type[Fleet], statement: str, words: str
) -> None:
    """SQLite keeps its references only for programs that ask it to."""
    with open_store(tmp_path / "store.db") as store:
        fleet.sweep(store, {"a": ALL})
        with closing(sqlite3.connect(tmp_path / "store.db")) as other:
            other.execute(statement)
            other.commit()
        assert words in [problem.what for problem in store.verify().problems]


def test_a_status_of_an_unknown_kind_is_damage(store: SqlStore, fleet: type[Fleet], execute: Execute) -> None:
    sweep = fleet.sweep(store, {"a": ALL})
    for record in ('["gone","","",[]]', '["partial","no such reason","",[]]', "[]", "3"):
        value = f"CAST('{record}' AS BLOB)" if store.database.is_sqlite else f"'{record}'::bytea"
        execute(f"UPDATE status SET record = {value}")
        with pytest.raises(StoreError, match="damaged"):
            store.tree(sweep, HostId("a"))


def test_a_sweep_that_is_not_there_cannot_be_written(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = SweepId("20200101-000000-0000")
    for act in (
        lambda: store.finish_sweep(sweep, finished=fleet.start, outcome="complete"),
        lambda: store.reopen_sweep(sweep),
        lambda: store.put(sweep, fleet.result("a", ALL)),
    ):
        with pytest.raises(StoreError, match="there is no sweep"):
            act()


def test_a_sweep_is_compared_with_nothing_that_is_not_there(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.sweep(store, {"a": ALL})
    for sides in ((sweep, SweepId("nope")), (SweepId("nope"), sweep)):
        with pytest.raises(StoreError, match="there is no sweep nope"):
            list(store.changed(*sides))
