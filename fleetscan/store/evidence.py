"""The chain of evidence: every finished sweep is sealed over its plan, rules, answers and the seal before it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, text, update

from fleetscan.errors import StoreError
from fleetscan.store import schema
from fleetscan.store.content import microseconds
from fleetscan.store.digest import canonical, readable, sha256

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from fleetscan.store.database import Database
    from fleetscan.store.interface import SweepId

_RESULTS = text("""
    SELECT h.name, p.sha256, t.sha256, a.sha256, r.started, r.duration
    FROM result r JOIN host h ON h.id = r.host JOIN placement p ON p.id = r.placement
    LEFT JOIN tree t ON t.id = r.tree LEFT JOIN answer a ON a.id = r.answer
    WHERE r.sweep = :sweep""")


def results_digest(connection: Connection, sweep: int) -> str:
    """SHA-256 (hex) over what every host answered, in the order of their names.

    The tree's hash covers rows and statuses, the answer's hash covers facts, blind spots and raw answers.
    """
    total = hashlib.sha256()
    for row in sorted(connection.execute(_RESULTS, {"sweep": sweep}).all(), key=lambda row: str(row[0])):
        name, place, tree, answer, started, duration = row
        hashes = [None if item is None else bytes(item).hex() for item in (place, tree, answer)]
        total.update(canonical([name, *hashes, started, duration]) + b"\n")
    return total.hexdigest()


def seal(database: Database, sweep: SweepId, finished: datetime, outcome: str) -> str:
    """Finish a sweep and append its seal to the chain."""

    def action(connection: Connection) -> str:
        row = connection.execute(
            select(schema.sweep.c.id, schema.sweep.c.finished).where(schema.sweep.c.name == sweep)
        ).one_or_none()
        if row is None:
            raise StoreError(f"there is no sweep {sweep}", where=database.name, hint="fleetscan store sweeps")
        if row.finished is not None:
            raise StoreError(f"sweep {sweep} is finished already", hint="fleetscan sweep --resume continues it")
        connection.execute(
            update(schema.sweep)
            .where(schema.sweep.c.id == row.id)
            .values(finished=microseconds(finished), outcome=readable(outcome))
        )
        return _append(connection, row.id)

    return database.write(action, alone=True)


def _append(connection: Connection, sweep: int) -> str:
    last = connection.execute(
        select(schema.seal.c.number, schema.seal.c.sha256).order_by(schema.seal.c.number.desc()).limit(1)
    ).one_or_none()
    number, previous = (1, "") if last is None else (last.number + 1, bytes(last.sha256).hex())
    statement = seal_statement(connection, sweep)
    statement |= {"number": number, "previous": previous, "results": results_digest(connection, sweep)}
    content = canonical(statement)
    digest = sha256(content)
    connection.execute(insert(schema.seal).values(number=number, sweep=sweep, sha256=digest, content=content))
    return digest.hex()


def seal_statement(connection: Connection, sweep: int) -> dict[str, object]:
    """What a seal states about a sweep, from its row and its plan."""
    row = connection.execute(
        select(schema.sweep, schema.plan.c.sha256, schema.plan.c.digest, schema.plan.c.rules_digest)
        .join_from(schema.sweep, schema.plan, schema.sweep.c.plan == schema.plan.c.id)
        .where(schema.sweep.c.id == sweep)
    ).one_or_none()
    if row is None:
        raise StoreError("the plan of a sweep is not in the store", hint="fleetscan store verify")
    return {
        "sweep": row.name,
        "started": row.started,
        "finished": row.finished,
        "outcome": row.outcome,
        "note": row.note,
        "plan": bytes(row.sha256).hex(),
        "plan_digest": row.digest,
        "rules_digest": row.rules_digest,
    }


def reopen(database: Database, sweep: SweepId) -> None:
    """Let a finished sweep be continued; its old seal stays in the chain."""

    def action(connection: Connection) -> None:
        row = connection.execute(
            select(schema.sweep.c.id, schema.sweep.c.pruned).where(schema.sweep.c.name == sweep)
        ).one_or_none()
        if row is None:
            raise StoreError(f"there is no sweep {sweep}", where=database.name, hint="fleetscan store sweeps")
        if row.pruned is not None:
            raise StoreError(f"the answers of sweep {sweep} were pruned", hint="start a new sweep")
        values = {"finished": None, "outcome": "running"}
        connection.execute(update(schema.sweep).where(schema.sweep.c.id == row.id).values(values))

    database.write(action)
