"""Checking a store against itself: every hash, every reference, the chain of evidence, and a manifest of a report."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.store import schema
from fleetscan.store.content import CellContent, answer_digest, tree_digest
from fleetscan.store.digest import parse, readable, sha256, unpack
from fleetscan.store.evidence import results_digest, seal_statement
from fleetscan.store.interface import Problem, Verification
from fleetscan.store.judged import columns_of, parse_body, sheet_digest
from fleetscan.store.read import parse_plan
from fleetscan.store.records import ChangeRecord, EntityRecord, FindingRecord, R
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
    ("baseline", "sweep", "sweep"),
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
        problems += _check_references(connection)
        problems += _check_seals(connection)
        for table in ("tree", "answer", "sheet", "result", "seal"):
            checked[table] = _count(connection, table)
    return Verification(checked=checked, problems=tuple(problems))


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar_one())


def _rows(connection: Connection, query: str) -> Iterable[Any]:
    return connection.execute(text(query), execution_options=_FETCH)


def _check_hashes(
    connection: Connection, table: str, column: str, plain: Callable[[bytes], bytes]
) -> Iterator[Problem]:
    for number, digest, content in _rows(connection, f"SELECT id, sha256, {column} FROM {table}"):
        try:
            sound = sha256(plain(bytes(content))) == bytes(digest)
        except StoreError:
            sound = False
        if not sound:
            yield Problem(f"{table} {number}", "the content does not match its hash: it was altered or is damaged")


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
        SELECT t.id, t.sha256, p.scope_id, s.sha256, b.sha256
        FROM tree t LEFT JOIN cell c ON c.tree = t.id LEFT JOIN scope p ON p.id = c.scope
        LEFT JOIN status s ON s.id = c.status LEFT JOIN block b ON b.id = c.block ORDER BY t.id"""
    for (number, digest), rows in groupby(_rows(connection, query), key=itemgetter(0, 1)):
        cells = [
            CellContent(scope_id, bytes(status or b""), None if block is None else bytes(block))
            for _, _, scope_id, status, block in rows
            if scope_id is not None
        ]
        if tree_digest(tuple(sorted(cells, key=lambda cell: cell.scope_id))) != bytes(digest):
            yield Problem(f"tree {number}", "the cells do not match the hash: one was altered, added or removed")


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
        SELECT s.id, s.sha256, s.kind, COALESCE(f.sha256, c.sha256, e.sha256)
        FROM sheet s LEFT JOIN sheet_item i ON i.sheet = s.id
        LEFT JOIN finding f ON s.kind = 1 AND f.id = i.item LEFT JOIN change c ON s.kind = 2 AND c.id = i.item
        LEFT JOIN entity e ON s.kind = 3 AND e.id = i.item ORDER BY s.id, i.position"""
    for (number, digest, kind), rows in groupby(_rows(connection, query), key=itemgetter(0, 1, 2)):
        if sheet_digest(kind, [bytes(row[3] or b"") for row in rows]) != bytes(digest):
            yield Problem(f"sheet {number}", "what was judged does not match its hash")


def _check_references(connection: Connection) -> Iterator[Problem]:
    for table, column, target in _REFERENCES:
        query = f"SELECT COUNT(*) FROM {table} WHERE {column} IS NOT NULL AND {column} NOT IN (SELECT id FROM {target})"
        if count := connection.execute(text(query)).scalar_one():
            yield Problem(table, f"{count} rows name a {target} that is not there")


def _check_seals(connection: Connection) -> Iterator[Problem]:
    previous, expected = "", 1
    latest: dict[int, dict[str, Any]] = {}
    for number, sweep, digest, content in connection.execute(
        text("SELECT number, sweep, sha256, content FROM seal ORDER BY number")
    ).all():
        where = f"seal {number}"
        if number != expected:
            yield Problem(where, f"seal {expected} is missing: the chain of evidence is broken")
        expected = number + 1
        if sha256(bytes(content)) != bytes(digest):
            yield Problem(where, "the seal does not match its hash: it was altered")
        try:
            statement = dict(parse(bytes(content)))
        except (StoreError, TypeError, ValueError):
            yield Problem(where, "the seal cannot be read")
            statement = {}
        if statement.get("previous") != previous:
            yield Problem(where, "it does not follow the seal before it: the chain of evidence is broken")
        previous = bytes(digest).hex()
        latest[sweep] = statement
    for sweep, statement in latest.items():
        yield from _check_sweep(connection, sweep, statement)
    unsealed = "SELECT name, id FROM sweep WHERE finished IS NOT NULL"
    for name, number in connection.execute(text(unsealed)).all():
        if number not in latest:
            yield Problem(f"sweep {name}", "it is finished but was never sealed")


def _check_sweep(connection: Connection, sweep: int, statement: dict[str, Any]) -> Iterator[Problem]:
    state = connection.execute(text("SELECT name, finished, pruned FROM sweep WHERE id = :id"), {"id": sweep}).first()
    if state is None:
        yield Problem(f"seal of sweep {statement.get('sweep')}", "the sweep is not in the store any more")
        return
    name, finished, pruned = state
    if finished is None:  # continued after its seal; the next seal covers it
        return
    try:
        found = seal_statement(connection, sweep)
    except StoreError as error:
        yield Problem(f"sweep {name}", error.what)
        return
    for field, value in found.items():
        if statement.get(field) != value:
            yield Problem(f"sweep {name}", f"{field} is not what was sealed")
    if pruned is None and statement.get("results") != results_digest(connection, sweep):
        yield Problem(f"sweep {name}", "the answers are not those that were sealed: altered, added or removed")
