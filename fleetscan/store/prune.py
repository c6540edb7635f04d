"""Dropping old answers, but nothing that a baseline or an open finding needs; the chain of evidence stays whole."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, text

from fleetscan.store import schema
from fleetscan.store.content import microseconds
from fleetscan.store.database import explained
from fleetscan.store.evidence import mark_pruned
from fleetscan.store.interface import Pruned, SweepId
from fleetscan.store.write import chunks

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from fleetscan.store.database import Database

# Where an open finding was first seen, and where it was seen last: its evidence. A finding is open if the newest judged
# sweep that has an answer of its host still has it open.
_OPEN = """
WITH last (host, sweep) AS (
  SELECT r.host, MAX(r.sweep) FROM result r JOIN judging g ON g.sweep = r.sweep AND g.kind = 1
  WHERE r.tree IS NOT NULL GROUP BY r.host
), open_now (host, fingerprint, sweep) AS (
  SELECT j.host, COALESCE(NULLIF(i.fingerprint, ''), f.fingerprint), j.sweep
  FROM last JOIN judged j ON j.host = last.host AND j.sweep = last.sweep AND j.kind IN (1, 4)
  JOIN sheet_item i ON i.sheet = j.sheet JOIN finding f ON f.id = i.item
  WHERE f.is_open = 1
)
SELECT sweep FROM open_now
UNION
SELECT MIN(j.sweep)
FROM open_now o JOIN judged j ON j.host = o.host AND j.kind IN (1, 4)
JOIN sheet_item i ON i.sheet = j.sheet JOIN finding f ON f.id = i.item
  AND COALESCE(NULLIF(i.fingerprint, ''), f.fingerprint) = o.fingerprint
GROUP BY o.host, o.fingerprint
"""

# What ``--baseline auto`` would compare with: the last finished sweep of a series. A note that was used once is none.
_SERIES = """
SELECT MAX(s.id) FROM sweep s WHERE s.finished IS NOT NULL AND s.pruned IS NULL
  AND (s.note = '' OR (SELECT COUNT(*) FROM sweep o WHERE o.note = s.note) > 1)
GROUP BY s.note
"""

# Each step finds what nothing refers to any more; the order is from the referring to the referred. EXCEPT and not
# NOT IN, for which PostgreSQL would compare every row with every other once a set does not fit into its memory.
_UNUSED = {
    "tree": "SELECT tree FROM result WHERE tree IS NOT NULL",
    "block": "SELECT block FROM cell WHERE block IS NOT NULL",
    "status": "SELECT status FROM cell",
    "answer": "SELECT answer FROM result WHERE answer IS NOT NULL",
    "raw": "SELECT raw FROM answer_raw",
    "facts": "SELECT facts FROM answer",
    "sheet": "SELECT sheet FROM judged",
    "finding": "SELECT i.item FROM sheet_item i JOIN sheet s ON s.id = i.sheet WHERE s.kind = 1",
    "change": "SELECT i.item FROM sheet_item i JOIN sheet s ON s.id = i.sheet WHERE s.kind = 2",
    "entity": "SELECT i.item FROM sheet_item i JOIN sheet s ON s.id = i.sheet WHERE s.kind = 3",
}
_PARTS = {"tree": "cell", "answer": "answer_raw", "sheet": "sheet_item"}


def prune(database: Database, keep_days: int, now: datetime) -> Pruned:
    """Drop the answers of sweeps that began more than ``keep_days`` days before ``now``."""
    oldest = microseconds(now - timedelta(days=keep_days))

    def action(connection: Connection) -> Pruned:
        names = {
            number: SweepId(name)
            for number, name in connection.execute(
                select(schema.sweep.c.id, schema.sweep.c.name)
                .where(schema.sweep.c.started < oldest, schema.sweep.c.pruned.is_(None))
                .order_by(schema.sweep.c.id)
            )
        }
        needed = _needed(connection)
        drop = [number for number in names if number not in needed]
        if drop:
            _drop_sweeps(connection, drop)
            for number in drop:
                mark_pruned(connection, number, names[number], microseconds(now))
        records = _drop_unused(connection)
        # Other processes remember numbers by generation: a new one makes them look again.
        connection.execute(
            text("UPDATE meta SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT) WHERE name = 'generation'")
        )
        return Pruned(
            sweeps=tuple(names[number] for number in drop),
            kept=tuple((name, needed[number]) for number, name in names.items() if number in needed),
            records=records,
        )

    pruned = database.write(action, alone=True)
    if pruned.sweeps or pruned.records:
        _give_back(database)
    return pruned


def _give_back(database: Database) -> None:
    """Return the room to the file system, or to the server's other rows; no transaction may be open for that."""
    with explained(database.name):
        if database.is_sqlite:
            with closing(database.engine.raw_connection()) as connection:
                cursor = connection.cursor()
                # A script, because each step frees one page and execute() takes but one.
                cursor.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")
                cursor.close()
            return
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in (*_UNUSED, *_PARTS.values(), "result", "judged"):
                connection.exec_driver_sql(f"VACUUM {table}")


def _needed(connection: Connection) -> dict[int, str]:
    """Sweeps that must stay, with the reason."""
    needed: dict[int, str] = {}
    for (number,) in connection.execute(text(_SERIES)):
        needed[number] = "the last finished sweep of its kind"
    latest = connection.execute(text("SELECT MAX(id) FROM sweep")).scalar()
    if latest is not None:
        needed[latest] = "the latest sweep"
    for (number,) in connection.execute(text(_OPEN)):
        needed[number] = "an open finding"
    for number, name in connection.execute(select(schema.baseline.c.sweep, schema.baseline.c.name)):
        needed[number] = f"baseline {name}"
    return needed


def _drop_sweeps(connection: Connection, numbers: list[int]) -> None:
    for part in chunks(numbers):
        connection.execute(delete(schema.result).where(schema.result.c.sweep.in_(part)))
        connection.execute(delete(schema.judged).where(schema.judged.c.sweep.in_(part)))
        connection.execute(delete(schema.judging).where(schema.judging.c.sweep.in_(part)))


def _drop_unused(connection: Connection) -> dict[str, int]:
    records: dict[str, int] = {}
    for table, used in _UNUSED.items():
        records[table] = connection.execute(
            text(f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} EXCEPT {used})")
        ).rowcount
        if part := _PARTS.get(table):
            orphans = f"SELECT {table} FROM {part} EXCEPT SELECT id FROM {table}"
            connection.execute(text(f"DELETE FROM {part} WHERE {table} IN ({orphans})"))
    return {table: count for table, count in records.items() if count}
