"""Checking a store against itself: every hash, every reference, the chain of evidence, and a manifest of a report."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.model.snapshot import Unreachable, is_gap
from fleetscan.store import schema
from fleetscan.store.baselines import altered
from fleetscan.store.chain import check_chain
from fleetscan.store.content import CellContent, answer_digest, parse_status, tree_digest
from fleetscan.store.digest import block_lines, readable, sha256, unpack
from fleetscan.store.interface import Problem, Verification
from fleetscan.store.judged import KINDS, columns_of, holders_by_judging, judging_digest, parse_body, sheet_digest
from fleetscan.store.migrate import newest
from fleetscan.store.read import parse_plan
from fleetscan.store.records import ChangeRecord, EntityRecord, FindingRecord, R
from fleetscan.store.triages import triage_digest
from fleetscan.store.write import facts_row, placement_digest, status_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection

    from fleetscan.store.database import Database

_FETCH = {"yield_per": 500}

_HASHED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "block": ("content", unpack),
    "raw": ("content", unpack),
    "plan": ("record", unpack),
    "finding": ("record", unpack),
    "change": ("record", unpack),
    "entity": ("record", unpack),
    "status": ("record", bytes),
    "facts": ("record", bytes),
}
"""Tables of records: the column that is hashed and how it is unpacked."""

_PARTS = (("answer_raw", "answer"), ("sheet_item", "sheet"))
"""Tables of parts in order, and whose parts they are."""

_NOBODY = HostId("")


def _judged(kind: type[R]) -> Callable[[bytes], dict[str, Any]]:
    return lambda record: columns_of(parse_body(kind, _NOBODY, unpack(record)))


_DERIVED: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "status": status_row,
    "facts": facts_row,
    "finding": _judged(FindingRecord),
    "change": _judged(ChangeRecord),
    "entity": _judged(EntityRecord),
}
"""Tables with columns for people, and how those follow from the record that is hashed."""

_COUNTED: dict[str, tuple[str, Callable[[bytes], int]]] = {
    "block": ("row_count", lambda plain: len(block_lines(plain))),
    "raw": ("size", len),
}
"""Tables with a number for people that follows from the content."""

_REFERENCES = (
    ("result", "tree", "tree"),
    ("result", "answer", "answer"),
    ("result", "placement", "placement"),
    ("result", "host", "host"),
    ("result", "sweep", "sweep"),
    ("cell", "tree", "tree"),
    ("cell", "block", "block"),
    ("cell", "status", "status"),
    ("cell", "scope", "scope"),
    ("answer", "facts", "facts"),
    ("answer_raw", "raw", "raw"),
    ("judged", "sheet", "sheet"),
    ("judged", "host", "host"),
    ("judged", "sweep", "sweep"),
    ("judging", "sweep", "sweep"),
    ("baseline", "sweep", "sweep"),
    ("baseline", "host", "host"),
    ("sweep", "plan", "plan"),
    ("plan_scope", "plan", "plan"),
    ("plan_scope", "scope", "scope"),
    ("answer_raw", "answer", "answer"),
    ("sheet_item", "sheet", "sheet"),
)
"""Table, column, table that must have that number."""


def verify(database: Database) -> Verification:
    """Check everything; a damaged store gives problems, not an exception."""
    checked: dict[str, int] = {}
    problems: list[Problem] = []
    with database.reading() as connection:
        if database.is_sqlite:
            for (line,) in connection.exec_driver_sql("PRAGMA integrity_check").all():
                if line != "ok":
                    problems.append(Problem("file", str(line)))
        problems += _check_meta(connection)
        for table, (column, plain) in _HASHED.items():
            problems += _check_hashes(connection, table, column, plain)
            checked[table] = _count(connection, table)
        for table, derive in _DERIVED.items():
            problems += _check_columns(connection, table, derive)
        problems += _check_plans(connection)
        problems += _check_placements(connection)
        problems += _check_trees(connection)
        problems += _check_answers(connection)
        problems += _check_sheets(connection)
        problems += _check_order(connection)
        problems += _check_judgings(connection)
        problems += _check_triages(connection)
        problems += [
            Problem(f"baseline {name}", "it does not match its hash: it was altered") for name in altered(connection)
        ]
        problems += _check_references(connection)
        problems += check_chain(connection)
        for table in ("tree", "answer", "sheet", "result", "judging", "triage", "baseline", "seal"):
            checked[table] = _count(connection, table)
    return Verification(checked=checked, problems=tuple(problems))


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar_one())


def _rows(connection: Connection, query: str) -> Iterable[Any]:
    return connection.execute(text(query), execution_options=_FETCH)


def _check_hashes(
    connection: Connection, table: str, column: str, plain: Callable[[bytes], bytes]
) -> Iterator[Problem]:
    name, count = _COUNTED.get(table, ("NULL", None))
    for number, digest, content, stated in _rows(connection, f"SELECT id, sha256, {column}, {name} FROM {table}"):
        try:
            unpacked = plain(bytes(content))
        except (StoreError, TypeError):
            unpacked = None
        if unpacked is None or sha256(unpacked) != bytes(digest):
            yield Problem(f"{table} {number}", "the content does not match its hash: it was altered or is damaged")
        elif count is not None and count(unpacked) != stated:
            yield Problem(f"{table} {number}", f"{name} is not that of the content: it was altered")


def _check_columns(connection: Connection, table: str, derive: Callable[[bytes], dict[str, Any]]) -> Iterator[Problem]:
    query = select(schema.BY_NAME[table])
    for row in connection.execute(query, execution_options=_FETCH).mappings():
        try:
            expected = derive(bytes(row["record"]))
        except StoreError:  # reported with its hash
            continue
        for column, value in expected.items():
            if column != "record" and row[column] != value:
                yield Problem(f"{table} {row['id']}", f"{column} is not what the record says: it was altered")


def _check_plans(connection: Connection) -> Iterator[Problem]:
    query = """
        SELECT p.id, p.digest, p.rules_digest, p.record, s.scope_id, s.text
        FROM plan p LEFT JOIN plan_scope x ON x.plan = p.id LEFT JOIN scope s ON s.id = x.scope ORDER BY p.id"""
    for (number, digest, rules_digest, record), rows in groupby(_rows(connection, query), key=itemgetter(0, 1, 2, 3)):
        try:
            plan = parse_plan(unpack(bytes(record)))
        except StoreError:  # reported with its hash
            continue
        if (plan.digest, plan.rules_digest) != (digest, rules_digest):
            yield Problem(f"plan {number}", "its hashes are not what the record says: they were altered")
        scopes = {scope_id: words for *_, scope_id, words in rows if scope_id is not None}
        if scopes != {scope_id: readable(words) for scope_id, words in plan.scopes}:
            yield Problem(f"plan {number}", "its scopes are not what the record says: they were altered")


def _check_placements(connection: Connection) -> Iterator[Problem]:
    for number, digest, engine, groups in _rows(connection, "SELECT id, sha256, engine, groups FROM placement"):
        if placement_digest(engine, groups) != bytes(digest):
            yield Problem(f"placement {number}", "engine or groups do not match the hash: they were altered")


def _check_trees(connection: Connection) -> Iterator[Problem]:
    query = """
        SELECT t.id, t.sha256, t.complete, t.covered, p.scope_id, s.sha256, b.sha256, s.record
        FROM tree t LEFT JOIN cell c ON c.tree = t.id LEFT JOIN scope p ON p.id = c.scope
        LEFT JOIN status s ON s.id = c.status LEFT JOIN block b ON b.id = c.block ORDER BY t.id"""
    for (number, digest, *stated), rows in groupby(_rows(connection, query), key=itemgetter(0, 1, 2, 3)):
        found = [row[4:] for row in rows if row[4] is not None]
        cells = [
            CellContent(scope_id, bytes(status or b""), None if block is None else bytes(block))
            for scope_id, status, block, _ in found
        ]
        if tree_digest(tuple(sorted(cells, key=lambda cell: cell.scope_id))) != bytes(digest):
            yield Problem(f"tree {number}", "the cells do not match the hash: one was altered, added or removed")
            continue
        try:
            statuses = {parse_status(bytes(record))[0] for *_, record in found}
        except StoreError:  # reported with its hash
            continue
        complete = not any(map(is_gap, statuses))
        covered = any(not isinstance(status, Unreachable) for status in statuses)
        if stated != [int(complete), int(covered)]:
            yield Problem(f"tree {number}", "complete or covered is not what the cells say: it was altered")


def _check_answers(connection: Connection) -> Iterator[Problem]:
    query = """
        SELECT a.id, a.sha256, f.sha256, a.blind_spots, x.statement_id, r.sha256
        FROM answer a LEFT JOIN facts f ON f.id = a.facts LEFT JOIN answer_raw x ON x.answer = a.id
        LEFT JOIN raw r ON r.id = x.raw ORDER BY a.id, x.position"""
    for number, group in groupby(_rows(connection, query), key=itemgetter(0)):
        rows = list(group)
        _, digest, facts, spots, _, _ = rows[0]
        raw = tuple((row[4], bytes(row[5] or b"")) for row in rows if row[4] is not None)
        found = answer_digest(bytes(facts or b""), None if spots is None else bytes(spots), raw)
        if found != bytes(digest):
            yield Problem(f"answer {number}", "facts, blind spots or raw answers do not match the hash")


def _check_sheets(connection: Connection) -> Iterator[Problem]:
    query = """
        SELECT s.id, s.sha256, s.kind, COALESCE(f.sha256, c.sha256, e.sha256), i.fingerprint
        FROM sheet s LEFT JOIN sheet_item i ON i.sheet = s.id
        LEFT JOIN finding f ON s.kind = 1 AND f.id = i.item LEFT JOIN change c ON s.kind = 2 AND c.id = i.item
        LEFT JOIN entity e ON s.kind = 3 AND e.id = i.item ORDER BY s.id, i.position"""
    for (number, digest, kind), rows in groupby(_rows(connection, query), key=itemgetter(0, 1, 2)):
        if sheet_digest(kind, [(bytes(row[3] or b""), row[4] or "") for row in rows]) != bytes(digest):
            yield Problem(f"sheet {number}", "what was judged does not match its hash")


def _check_order(connection: Connection) -> Iterator[Problem]:
    for table, owner in _PARTS:
        query = (
            f"SELECT {owner} FROM {table} GROUP BY {owner} HAVING MIN(position) <> 0 OR MAX(position) <> COUNT(*) - 1"
        )
        for (number,) in connection.execute(text(query)):
            yield Problem(f"{owner} {number}", "its parts are not numbered one after the other: one was altered")


def _check_meta(connection: Connection) -> Iterator[Problem]:
    found = {row.name: row.value for row in connection.execute(select(schema.meta))}
    if (found.get("application"), found.get("schema")) != ("fleetscan", str(newest())):
        yield Problem("meta", "application or schema version is not that of a store")
    if not found.get("generation", "").isdecimal():
        yield Problem("meta", "the generation is no number: it was altered")


def _check_judgings(connection: Connection) -> Iterator[Problem]:
    names = {number: record.__name__ for record, number in KINDS.items()}
    for _, kind, name, digest, held, how in holders_by_judging(connection):
        if judging_digest(name, held, how) != digest:
            what = names.get(kind, str(kind)).removesuffix("Record").lower()
            yield Problem(f"sweep {name}", f"which host has which {what} is not what was written: it was altered")


def _check_triages(connection: Connection) -> Iterator[Problem]:
    for row in connection.execute(select(schema.triage), execution_options=_FETCH):
        if triage_digest(row.fingerprint, row.taken, bytes(row.record)) != bytes(row.sha256 or b""):
            yield Problem(f"triage {row.fingerprint}", "it does not match its hash: it was altered")


def _check_references(connection: Connection) -> Iterator[Problem]:
    for table, column, target in _REFERENCES:
        lost = f"SELECT {column} FROM {table} EXCEPT SELECT id FROM {target}"
        query = f"SELECT COUNT(*) FROM {table} WHERE {column} IN ({lost})"
        if count := connection.execute(text(query)).scalar_one():
            yield Problem(table, f"{count} rows name a {target} that is not there")
