"""The chain of evidence: a finished sweep is sealed over its plan, rules, answers and the link before it.

That a sweep was continued or pruned is a link, too: else who alters answers could claim it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, text, update

from fleetscan.errors import StoreError
from fleetscan.store import schema
from fleetscan.store.content import microseconds
from fleetscan.store.digest import canonical, readable, sha256

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from fleetscan.store.database import Database
    from fleetscan.store.interface import SweepId

FINISHED, REOPENED, PRUNED = "finished", "reopened", "pruned"
"""What a link of the chain says of its sweep."""

HEAD = "head"
"""Where ``meta`` keeps the hash (hex) of the last link."""

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
        statement = seal_statement(connection, row.id)
        statement["results"] = results_digest(connection, row.id)
        return append(connection, row.id, FINISHED, statement)

    return database.write(action, alone=True)


def append(connection: Connection, sweep: int, act: str, statement: dict[str, object]) -> str:
    """Add a link to the chain; the caller is the only writer. Returns its hash (hex)."""
    last = connection.execute(
        select(schema.seal.c.number, schema.seal.c.sha256).order_by(schema.seal.c.number.desc()).limit(1)
    ).one_or_none()
    number, previous = (1, "") if last is None else (last.number + 1, bytes(last.sha256).hex())
    content = canonical({**statement, "number": number, "previous": previous})
    digest = sha256(content)
    values = {"number": number, "sweep": sweep, "sha256": digest, "content": content}
    connection.execute(insert(schema.seal).values(values if act == FINISHED else {**values, "act": act}))
    # Beside the chain: who cuts off its end must know of this, too.
    connection.execute(delete(schema.meta).where(schema.meta.c.name == HEAD))
    connection.execute(insert(schema.meta).values(name=HEAD, value=digest.hex()))
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
    """Let a finished sweep be continued; its old seal stays in the chain, and the chain says that it goes on."""

    def action(connection: Connection) -> None:
        row = connection.execute(
            select(schema.sweep.c.id, schema.sweep.c.finished, schema.sweep.c.pruned).where(
                schema.sweep.c.name == sweep
            )
        ).one_or_none()
        if row is None:
            raise StoreError(f"there is no sweep {sweep}", where=database.name, hint="fleetscan store sweeps")
        if row.pruned is not None:
            raise StoreError(f"the answers of sweep {sweep} were pruned", hint="start a new sweep")
        values = {"finished": None, "outcome": "running"}
        connection.execute(update(schema.sweep).where(schema.sweep.c.id == row.id).values(values))
        if row.finished is not None:
            append(connection, row.id, REOPENED, {"sweep": sweep, "reopened": True})

    database.write(action, alone=True)


def mark_pruned(connection: Connection, sweep: int, name: str, now: int) -> None:
    """Say in the chain that the answers of a sweep were dropped on purpose; the caller is the only writer."""
    connection.execute(update(schema.sweep).where(schema.sweep.c.id == sweep).values(pruned=now))
    append(connection, sweep, PRUNED, {"sweep": name, "pruned": now})


def complete_chain(connection: Connection) -> None:
    """Migration to version 6: what was continued or pruned before is said in the chain now."""
    query = select(schema.sweep.c.id, schema.sweep.c.name, schema.sweep.c.finished, schema.sweep.c.pruned)
    sealed = set(connection.execute(select(schema.seal.c.sweep)).scalars())
    for row in connection.execute(query.order_by(schema.sweep.c.id)).all():
        if row.pruned is not None:
            append(connection, row.id, PRUNED, {"sweep": row.name, "pruned": row.pruned})
        elif row.finished is None and row.id in sealed:
            append(connection, row.id, REOPENED, {"sweep": row.name, "reopened": True})
    if (last := connection.execute(select(schema.seal.c.sha256).order_by(schema.seal.c.number.desc())).first()) and (
        connection.execute(select(schema.meta.c.value).where(schema.meta.c.name == HEAD)).first() is None
    ):
        connection.execute(insert(schema.meta).values(name=HEAD, value=bytes(last.sha256).hex()))
