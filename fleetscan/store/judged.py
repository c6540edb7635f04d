"""What was judged, kept like everything else by content: an unchanged host costs one short row per sweep and kind."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import delete, insert, select, text

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.store import schema
from fleetscan.store.digest import canonical, pack, parse, readable, sha256, unpack
from fleetscan.store.read import Reader
from fleetscan.store.records import ChangeRecord, EntityRecord, FindingRecord
from fleetscan.store.write import Numbers, generation, ignore_known, number_hosts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection
    from sqlalchemy.sql.expression import TableClause

    from fleetscan.store.database import Database
    from fleetscan.store.interface import SweepId

Record = FindingRecord | ChangeRecord | EntityRecord
R = TypeVar("R", FindingRecord, ChangeRecord, EntityRecord)

KINDS: Final[dict[type[Any], int]] = {FindingRecord: 1, ChangeRecord: 2, EntityRecord: 3}
TABLES: Final[dict[int, TableClause]] = {1: schema.finding, 2: schema.change, 3: schema.entity}


def put(database: Database, sweep: SweepId, kind: type[R], records: Iterable[R]) -> None:
    """Replace what was judged of the sweep; hosts of which nothing is said get no row."""
    number = KINDS[kind]
    sheets: dict[HostId, list[tuple[bytes, R]]] = defaultdict(list)
    for record in records:
        sheets[record.host].append((body_bytes(record), record))
    bodies = {sha256(body): (body, record) for items in sheets.values() for body, record in items}
    contents = {host: sorted(sha256(body) for body, _ in items) for host, items in sheets.items()}

    def action(connection: Connection) -> None:
        sweep_number = connection.execute(
            select(schema.sweep.c.id).where(schema.sweep.c.name == sweep, schema.sweep.c.pruned.is_(None))
        ).scalar()
        if sweep_number is None:
            raise StoreError(f"there is no sweep {sweep}", where=database.name, hint="fleetscan store sweeps")
        numbers = Numbers()
        numbers.begin(generation(connection))
        connection.execute(
            delete(schema.judged).where(schema.judged.c.sweep == sweep_number, schema.judged.c.kind == number)
        )
        items = numbers.of(
            connection,
            TABLES[number],
            {digest: partial(_row, *item) for digest, item in bodies.items()},
        )
        by_content = {sheet_digest(number, content): content for content in contents.values()}
        made = numbers.of(connection, schema.sheet, {digest: lambda: {"kind": number} for digest in by_content})
        rows = [
            {"sheet": made[digest], "position": position, "item": items[body]}
            for digest, content in by_content.items()
            for position, body in enumerate(content)
        ]
        if rows:
            connection.execute(ignore_known(connection, schema.sheet_item), rows)
        hosts = number_hosts(connection, sorted(contents))
        judged = [
            {"sweep": sweep_number, "kind": number, "host": hosts[host], "sheet": made[sheet_digest(number, content)]}
            for host, content in contents.items()
        ]
        if judged:
            connection.execute(insert(schema.judged), judged)

    database.write(action)


def load(database: Database, sweep: SweepId, kind: type[R]) -> tuple[R, ...]:
    """What was judged of the sweep, by host, then in canonical order."""
    number = KINDS[kind]
    query = text(f"""
        SELECT h.name, x.record FROM judged j JOIN sweep s ON s.id = j.sweep JOIN host h ON h.id = j.host
        JOIN sheet_item i ON i.sheet = j.sheet JOIN {TABLES[number].name} x ON x.id = i.item
        WHERE s.id = :sweep AND j.kind = :kind""")
    with Reader(database).at(sweep) as (connection, sweep_number):
        found = connection.execute(query, {"sweep": sweep_number, "kind": number})
        rows = [(str(name), unpack(bytes(body))) for name, body in found]
    return tuple(parse_body(kind, HostId(name), body) for name, body in sorted(rows))


def sheet_digest(kind: int, content: list[bytes]) -> bytes:
    """The hash of a sheet, from the sorted hashes of its items."""
    return sha256(canonical([kind, [body.hex() for body in content]]))


def body_bytes(record: Record) -> bytes:
    """Canonical bytes of a record without its host."""
    return canonical({item.name: _json(getattr(record, item.name)) for item in fields(record) if item.name != "host"})


def _json(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value  # a read-only mapping is no JSON


def parse_body(kind: type[R], host: HostId, body: bytes) -> R:
    """The inverse of ``body_bytes``."""
    try:
        values: dict[str, Any] = {
            name: tuple(value) if name == "techniques" else value for name, value in parse(body).items()
        }
        return kind(host=host, **values)
    except (TypeError, AttributeError) as error:
        raise StoreError("a judged record of the store is damaged", hint="fleetscan evaluate makes it anew") from error


def columns_of(record: Record) -> dict[str, Any]:
    """The columns that people query."""
    match record:
        case FindingRecord():
            texts: Mapping[str, str] = {name: getattr(record, name) for name in _FINDING_TEXTS}
            extra = {
                "key_path": readable(record.key),
                "techniques": " ".join(record.techniques),
                "details": _ascii(record.details),
                "is_open": int(record.is_open),
            }
        case ChangeRecord():
            texts = {name: getattr(record, name) for name in _CHANGE_TEXTS}
            texts |= {"old_value": record.before, "new_value": record.after}
            extra = {"details": _ascii(record.details)}
        case EntityRecord():
            texts = {"kind": record.kind, "identity": record.identity}
            extra = {"attributes": _ascii(record.attributes)}
    return {**{name: readable(value) for name, value in texts.items()}, **extra}


def _row(body: bytes, record: Record) -> dict[str, Any]:
    return {"record": pack(body), **columns_of(record)}


_FINDING_TEXTS = (
    "fingerprint", "rule_id", "rule_title", "severity", "certainty", "state", "verdict", "entity_kind", "entity",
    "summary",
)  # fmt: skip
_CHANGE_TEXTS = ("kind", "entity_kind", "entity", "base", "attribute", "summary")


def _ascii(value: Mapping[str, object]) -> str:
    """JSON that any database and any SQL tool takes, whatever characters a host sent."""
    return json.dumps(dict(value), ensure_ascii=True, sort_keys=True)
