"""Verify, systematically: every column of every row of every table altered, every row deleted, on both databases."""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pytest
from sqlalchemy import and_, create_engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.model.snapshot import BlindSpot, Partial, Reason, Status, Unreachable
from fleetscan.store.digest import unpack
from fleetscan.store.interface import Baseline
from fleetscan.store.records import ChangeRecord, EntityRecord, FindingRecord, Shared
from fleetscan.store.schema import BY_NAME, TABLES, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.sql.expression import TableClause

    from fleetscan.store.sql import SqlStore
    from tests.store.conftest import Fleet

ALL = {"s-oid": "a.dll", "s-run": "b.exe", "s-winsock": "c.dll"}
DEEP = bool(os.environ.get("FLEETSCAN_DEEP"))
FAR = 100_000
"""A number that no row has."""

NO_EVIDENCE: Final = {
    ("meta", "generation"): "a counter that makes other processes look again; any number does",
}
DELETED_BY_USERS: Final = {"baseline": "fleetscan baseline delete", "triage": "a later triage takes its place"}


@pytest.fixture
def full(store: SqlStore, fleet: type[Fleet]) -> SqlStore:
    """A store with rows in every table: sealed, continued, pruned and running sweeps, and all that is judged."""
    fleet.sweep(store, {"a": ALL}, days_ago=400)
    store.prune(90, now=fleet.start)  # the latest sweep stays
    first = fleet.sweep(store, {"a": ALL, "b": {"s-oid": Unreachable(Reason.TIMEOUT)}}, days_ago=2)
    store.prune(90, now=fleet.start)
    second = fleet.begin(store, ["a", "b"], days_ago=1)
    spots = (BlindSpot("link", "K", "to L"),)
    cells: dict[str, str | Status] = {**ALL, "s-run": Partial(Reason.UNPROVEN)}
    store.put(second, fleet.result("a", cells, raw=b"other", blind_spots=spots))
    store.finish_sweep(second, finished=fleet.start, outcome="incomplete")
    store.reopen_sweep(second)
    store.put(second, fleet.result("b", ALL))
    store.finish_sweep(second, finished=fleet.start + timedelta(minutes=3), outcome="complete")
    a, b = HostId("a"), HostId("b")
    for one in (first, second):
        own = FindingRecord(host=a, fingerprint="f-1", rule_id="r-1", severity="high", state="new", techniques=("T1",))
        shared = FindingRecord(host=a, fingerprint="", rule_id="r-2", severity="info")
        store.put_findings(one, [own], [Shared((a, b), (shared,))])
        store.put_changes(one, [ChangeRecord(host=a, kind="added", entity_kind="sip", entity=f"of {one}")])
        store.put_entities(
            one, [EntityRecord(host=a, kind="sip", identity="x"), EntityRecord(host=b, kind="sip", identity="y")]
        )
    store.put_triage("f-1", {"replies": []}, taken=fleet.start)
    store.put_baseline(Baseline(name="past", sweep=first, created=fleet.start, note="why"))
    store.put_baseline(Baseline(name="gold", sweep=second, host=a, others=(b,), created=fleet.start))
    fleet.begin(store, ["a", "b"])
    assert store.verify().problems == ()
    return store


@pytest.fixture
def outside(full: SqlStore) -> Iterator[Engine]:
    """The database as any program sees it: SQLite then keeps no references."""
    engine = create_engine(full.database.engine.url)
    yield engine
    engine.dispose()


def rows_of(engine: Engine, table: TableClause) -> list[dict[str, Any]]:
    """Every row that is evidence: a sweep that still runs is sealed at its end, until then its rows may change."""
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(select(table)).mappings()]
        [running] = connection.execute(select(sweep.c.id).where(sweep.c.finished.is_(None))).scalars()
    place = {"sweep": "id", "result": "sweep"}.get(table.name)
    rows = [row for row in rows if place is None or row[place] != running]
    assert rows, f"no row in {table.name}: the test would prove nothing"
    return rows


def others(column: str, value: Any) -> list[Any]:  # noqa: ANN401 - of any column
    """Other values of a column."""
    match value:
        case None:
            blob = column in {"blind_spots", "sha256"}
            return [b"[]" if blob else 1]
        case bool() | int():
            return [value + FAR, -1]
        case str():
            return [value + "x", ""] if value else ["x"]
        case _:
            content = bytes(value)
            places = {0, len(content) // 2, len(content) - 1}
            return [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in places]


def same_row(table: TableClause, row: dict[str, Any]) -> Any:  # noqa: ANN401 - a clause of SQLAlchemy
    """The clause that finds exactly this row."""
    return and_(
        *(column.is_(None) if row[column.name] is None else column == row[column.name] for column in table.columns)
    )


def means_the_same(old: object, new: object) -> bool:
    """A flipped bit of padding in a compressed record: the same text comes out."""
    if not isinstance(old, bytes | memoryview) or not isinstance(new, bytes):
        return False
    try:
        return unpack(bytes(old)) == unpack(new)
    except StoreError:
        return False


def run(engine: Engine, statement: Any) -> bool:  # noqa: ANN401 - a statement of SQLAlchemy
    """False: the database itself refuses it."""
    try:
        with engine.begin() as connection:
            return connection.execute(statement).rowcount != 0
    except IntegrityError:
        return False


@pytest.mark.parametrize("name", [table.name for table in TABLES])
def test_no_column_can_be_altered_unseen(full: SqlStore, outside: Engine, name: str) -> None:
    table = BY_NAME[name]
    unseen, tried, refused = [], 0, 0
    rows = rows_of(outside, table)
    for row in rows if DEEP else [rows[0], rows[-1]][: len(rows)]:
        for column in table.columns:
            exempt = (name, str(row.get("name"))) in NO_EVIDENCE and column.name == "value"
            for value in () if exempt else others(column.name, row[column.name]):
                if not run(outside, update(table).where(same_row(table, row)).values({column.name: value})):
                    refused += 1
                    continue
                tried += 1
                if not full.verify().problems and not means_the_same(row[column.name], value):
                    unseen.append((column.name, row[column.name], value))
                back = same_row(table, {**row, column.name: value})
                assert run(outside, update(table).where(back).values({column.name: row[column.name]}))
    assert tried or refused
    assert unseen == []
    assert full.verify().problems == ()


@pytest.mark.parametrize("name", [table.name for table in TABLES if table.name not in DELETED_BY_USERS])
def test_no_row_can_be_deleted_unseen(full: SqlStore, outside: Engine, name: str) -> None:
    table = BY_NAME[name]
    unseen = []
    for row in rows_of(outside, table):
        if not run(outside, delete(table).where(same_row(table, row))):
            continue  # PostgreSQL keeps its references
        if not full.verify().problems:
            unseen.append(row)
        assert run(outside, insert(table).values(row))
    assert unseen == []


def test_a_chain_in_another_order_is_seen(full: SqlStore, outside: Engine) -> None:
    seal = BY_NAME["seal"]
    with outside.connect() as connection:
        rows = [dict(row) for row in connection.execute(select(seal).order_by(seal.c.number)).mappings()]
    assert len(rows) >= 4
    for one, other in pairwise(rows):
        with outside.begin() as connection:
            connection.execute(delete(seal).where(seal.c.number.in_((one["number"], other["number"]))))
            connection.execute(insert(seal).values({**one, "number": other["number"]}))
            connection.execute(insert(seal).values({**other, "number": one["number"]}))
        shown = [problem.what for problem in full.verify().problems]
        assert any("does not follow the seal before it" in line for line in shown)
        with outside.begin() as connection:
            connection.execute(delete(seal).where(seal.c.number.in_((one["number"], other["number"]))))
            connection.execute(insert(seal), [one, other])
    assert full.verify().problems == ()


def test_a_sweep_that_was_removed_with_all_its_traces_is_seen(full: SqlStore, outside: Engine) -> None:
    """Also the last one, whose end of the chain nothing follows."""
    last = max(one.id for one in full.sweeps() if one.seal)
    with outside.begin() as connection:
        number = connection.exec_driver_sql(f"SELECT id FROM sweep WHERE name = '{last}'").scalar_one()
        for table, column in (("result", "sweep"), ("judged", "sweep"), ("judging", "sweep"), ("baseline", "sweep")):
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE {column} = {number}")
        connection.exec_driver_sql(f"DELETE FROM seal WHERE sweep = {number}")
        connection.exec_driver_sql(f"DELETE FROM sweep WHERE id = {number}")
    assert any("its end is not the one that was written last" in one.what for one in full.verify().problems)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("pruned = 1", "it is pruned, but the chain of evidence says finished"),
        ("finished = NULL, outcome = 'running'", "it is reopened, but the chain of evidence says finished"),
    ],
)
def test_answers_cannot_be_dropped_under_a_pretext(full: SqlStore, outside: Engine, change: str, words: str) -> None:
    with outside.begin() as connection:
        connection.exec_driver_sql(f"UPDATE sweep SET {change} WHERE id = 2")
        connection.exec_driver_sql("DELETE FROM result WHERE sweep = 2")
    assert words in [problem.what for problem in full.verify().problems]
