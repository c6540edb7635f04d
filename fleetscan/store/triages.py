"""Triage: the latest answers for every finding, as the JSON that reports show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from fleetscan.store import schema
from fleetscan.store.content import microseconds
from fleetscan.store.digest import canonical, pack, parse, sha256, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from fleetscan.store.database import Database


def put(database: Database, fingerprint: str, record: Mapping[str, Any], taken: datetime) -> None:
    """Keep the triage of a finding in place of an earlier one."""
    content = pack(json.dumps(record, ensure_ascii=True, sort_keys=True).encode())

    def action(connection: Connection) -> None:
        connection.execute(delete(schema.triage).where(schema.triage.c.fingerprint == fingerprint))
        when = microseconds(taken)
        digest = triage_digest(fingerprint, when, content)
        values = {"fingerprint": fingerprint, "taken": when, "sha256": digest, "record": content}
        connection.execute(insert(schema.triage).values(values))

    database.write(action)


def load(database: Database) -> Mapping[str, Mapping[str, Any]]:
    """The triage of every finding that has one, by fingerprint."""
    with database.reading() as connection:
        rows = connection.execute(select(schema.triage.c.fingerprint, schema.triage.c.record)).all()
    return {row.fingerprint: parse(unpack(bytes(row.record))) for row in rows}


def triage_digest(fingerprint: str, taken: int, record: bytes) -> bytes:
    """The hash of a stored triage, from its columns."""
    return sha256(canonical([fingerprint, taken, sha256(record).hex()]))


def hash_all(connection: Connection) -> None:
    """Migration to version 6: every triage gets its hash."""
    table = schema.triage
    for row in connection.execute(select(table.c.fingerprint, table.c.taken, table.c.record)).all():
        digest = triage_digest(row.fingerprint, row.taken, bytes(row.record))
        connection.execute(update(table).where(table.c.fingerprint == row.fingerprint).values(sha256=digest))
