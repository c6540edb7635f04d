"""What was judged, kept like everything else by content: an unchanged host costs one short row per sweep and kind."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, insert, select, text, update

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.store import schema
from fleetscan.store.digest import canonical, pack, parse, readable, sha256, unpack
from fleetscan.store.read import Reader
from fleetscan.store.records import ChangeRecord, EntityRecord, FindingRecord, JudgedWith, R, Shared
from fleetscan.store.write import Numbers, generation, ignore_known, number_hosts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection
    from sqlalchemy.sql.expression import TableClause

    from fleetscan.store.database import Database
    from fleetscan.store.interface import SweepId

Record = FindingRecord | ChangeRecord | EntityRecord

KINDS: Final[dict[type[Any], int]] = {FindingRecord: 1, ChangeRecord: 2, EntityRecord: 3}
TABLES: Final[dict[int, TableClause]] = {1: schema.finding, 2: schema.change, 3: schema.entity}
SHARED = 3
"""What hosts share has the kind of its records plus this."""


Item = tuple[bytes, str]
"""The hash of a record on a sheet, and the fingerprint that it has there; empty where the record holds it, or none."""

_NAMES: Final[dict[type[Any], tuple[str, ...]]] = {
    kind: tuple(item.name for item in fields(kind) if item.name not in {"host", "fingerprint"}) for kind in KINDS
}
"""The fields of records that hosts may share."""
_PARTS: Final = {kind: attrgetter(*names) for kind, names in _NAMES.items()}


@dataclass(slots=True)
class _Sheets:
    """Sheets to write: what they hold by hash, and who has which."""

    bodies: dict[bytes, tuple[bytes, Record]] = field(default_factory=dict)
    contents: dict[bytes, list[Item]] = field(default_factory=dict)
    holders: list[tuple[int, HostId, bytes]] = field(default_factory=list)
    _known: dict[tuple[int, ...], tuple[Record, bytes]] = field(default_factory=dict)
    """Hashes by the identity of a record's parts, of which equal hosts have the same; the record keeps them alive."""

    def items_of(self, records: Iterable[Record]) -> list[Item]:
        """The hashes of the records, which are kept to be written, with their fingerprints."""
        return list(map(self._item, records))

    def _item(self, record: Record) -> Item:
        name = record.fingerprint if isinstance(record, FindingRecord) else ""
        if readable(name) != name:  # no database takes it as a text: it stays in the record
            return self._write(record), ""
        parts = tuple(map(id, _PARTS[type(record)](record)))
        if parts not in self._known:
            self._known[parts] = record, self._write(_nameless(record))
        return self._known[parts][1], name

    def _write(self, record: Record) -> bytes:
        body = body_bytes(record)
        digest = sha256(body)
        self.bodies.setdefault(digest, (body, record))
        return digest

    def add(self, kind: int, hosts: Iterable[HostId], content: Iterable[Item]) -> None:
        """The same sheet for all ``hosts``."""
        ordered = sorted(content)
        sheet = sheet_digest(_base(kind), ordered)
        self.contents[sheet] = ordered
        self.holders += [(kind, host, sheet) for host in hosts]


def _nameless(record: Record) -> Record:
    """The record as hosts share it: a fingerprint is of one host by its nature."""
    return replace(record, fingerprint="") if isinstance(record, FindingRecord) else record


def _base(kind: int) -> int:
    return kind - SHARED if kind > SHARED else kind


def put(
    database: Database,
    sweep: SweepId,
    kind: type[R],
    records: Iterable[R],
    shared: Iterable[Shared[R]] = (),
    how: JudgedWith | None = None,
) -> None:
    """Replace what was judged of the sweep; hosts of which nothing is said get no row, the others one.

    A host with records of its own has those that it shares on the same sheet.
    """
    number = KINDS[kind]
    sheets = _Sheets()
    grouped: dict[HostId, list[R]] = defaultdict(list)
    for record in records:
        grouped[record.host].append(record)
    own = {host: sheets.items_of(items) for host, items in grouped.items()}
    for group in shared:
        if group.records:
            common = sheets.items_of(map(_nameless, group.records))
            if rest := [host for host in group.hosts if host not in own]:
                sheets.add(number + SHARED, rest, common)
            for host in own.keys() & set(group.hosts):
                own[host] += common
    for host, content in own.items():
        sheets.add(number, (host,), content)
    told = json.dumps([how.baseline, how.approvals]) if how else ""
    database.write(lambda connection: _write(connection, database.name, sweep, number, sheets, told))


def _write(connection: Connection, name: str, sweep: SweepId, kind: int, sheets: _Sheets, told: str) -> None:
    query = select(schema.sweep.c.id).where(schema.sweep.c.name == sweep, schema.sweep.c.pruned.is_(None))
    sweep_number = connection.execute(query).scalar()
    if sweep_number is None:
        raise StoreError(f"there is no sweep {sweep}", where=name, hint="fleetscan store sweeps")
    judged = schema.judged.c
    connection.execute(
        delete(schema.judged).where(judged.sweep == sweep_number, judged.kind.in_((kind, kind + SHARED)))
    )
    judging = schema.judging.c
    connection.execute(delete(schema.judging).where(judging.sweep == sweep_number, judging.kind == kind))
    connection.execute(
        insert(schema.judging).values(
            sweep=sweep_number, kind=kind, judged_with=told, sha256=judging_digest(sweep, sheets.holders, told)
        )
    )
    if not sheets.holders:
        return
    numbers = Numbers()
    numbers.begin(generation(connection))
    items = numbers.of(
        connection, TABLES[kind], {digest: partial(_row, *body) for digest, body in sheets.bodies.items()}
    )
    newest = connection.execute(select(func.max(schema.sheet.c.id))).scalar() or 0
    made = numbers.of(connection, schema.sheet, {digest: lambda: {"kind": kind} for digest in sheets.contents})
    rows = [
        {"sheet": made[digest], "position": position, "item": items[body], "fingerprint": name}
        for digest, content in sheets.contents.items()
        if made[digest] > newest  # one that was there has its items, written with it
        for position, (body, name) in enumerate(content)
    ]
    if rows:
        connection.execute(ignore_known(connection, schema.sheet_item), rows)
    hosts = number_hosts(connection, sorted({host for _, host, _ in sheets.holders}))
    connection.execute(
        insert(schema.judged),
        [
            {"sweep": sweep_number, "kind": of_kind, "host": hosts[host], "sheet": made[sheet]}
            for of_kind, host, sheet in sheets.holders
        ],
    )


def load(database: Database, sweep: SweepId, kind: type[R]) -> tuple[R, ...]:
    """What was judged of the sweep, by host, then in canonical order."""
    number = KINDS[kind]
    query = text(f"""
        SELECT h.name, i.fingerprint, x.record FROM judged j JOIN sweep s ON s.id = j.sweep JOIN host h ON h.id = j.host
        JOIN sheet_item i ON i.sheet = j.sheet JOIN {TABLES[number].name} x ON x.id = i.item
        WHERE s.id = :sweep AND j.kind IN (:kind, :shared)""")
    with Reader(database).at(sweep) as (connection, sweep_number):
        found = connection.execute(query, {"sweep": sweep_number, "kind": number, "shared": number + SHARED})
        rows = [(str(name), str(fingerprint), unpack(bytes(body))) for name, fingerprint, body in found]
    return tuple(parse_body(kind, HostId(name), body, fingerprint) for name, fingerprint, body in sorted(rows))


def judged_with(database: Database, sweep: SweepId) -> JudgedWith | None:
    """What the findings of the sweep were made with; None if nobody judged it, or only an earlier version did."""
    query = "SELECT judged_with FROM judging WHERE sweep = :sweep AND kind = :kind"
    with Reader(database).at(sweep) as (connection, number):
        told = connection.execute(text(query), {"sweep": number, "kind": KINDS[FindingRecord]}).scalar()
    if not told:
        return None
    try:
        baseline, approvals = json.loads(told)
        return JudgedWith(str(baseline), tuple(map(str, approvals)))
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(
            f"what sweep {sweep} was judged with is damaged in the store", hint="fleetscan evaluate makes it anew"
        ) from error


def judging_digest(sweep: str, holders: Iterable[tuple[int, str, bytes]], told: str = "") -> bytes:
    """The hash over who has which sheet in a sweep, as kind, host and the sheet's hash, and what it was judged with."""
    held = sorted([kind, host, sheet.hex()] for kind, host, sheet in holders)
    return sha256(canonical([sweep, held, told] if told else [sweep, held]))


def holders_by_judging(
    connection: Connection, how: str = "g.judged_with"
) -> Iterator[tuple[int, int, str, bytes, list[tuple[int, str, bytes]], str]]:
    """Every judging as sweep, kind, the sweep's name, the stored hash, who has which sheet, and judged with what."""
    held: dict[tuple[int, int], list[tuple[int, str, bytes]]] = defaultdict(list)
    query = """
        SELECT j.sweep, j.kind, h.name, s.sha256 FROM judged j
        LEFT JOIN host h ON h.id = j.host LEFT JOIN sheet s ON s.id = j.sheet"""
    for sweep, kind, host, sheet in connection.execute(text(query)):
        held[sweep, _base(kind)].append((kind, host or "", bytes(sheet or b"")))
    query = f"SELECT g.sweep, g.kind, s.name, g.sha256, {how} FROM judging g LEFT JOIN sweep s ON s.id = g.sweep"
    for sweep, kind, name, digest, told in connection.execute(text(query)).all():
        yield sweep, kind, name or "", bytes(digest or b""), held.pop((sweep, kind), []), told
    for (sweep, kind), found in held.items():  # somebody took the judging away and left its sheets
        yield sweep, kind, "", b"", found, ""


def hash_all(connection: Connection) -> None:
    """Migration to version 6: every judging gets its hash."""
    judging = schema.judging.c
    for sweep, kind, name, _, held, _ in holders_by_judging(connection, how="''"):
        change = update(schema.judging).where(judging.sweep == sweep, judging.kind == kind)
        connection.execute(change.values(sha256=judging_digest(name, held)))


def sheet_digest(kind: int, content: list[Item]) -> bytes:
    """The hash of a sheet, from the sorted hashes of its items and their fingerprints."""
    return sha256(canonical([kind, [f"{body.hex()} {name}" if name else body.hex() for body, name in content]]))


def body_bytes(record: Record) -> bytes:
    """Canonical bytes of a record without its host."""
    body = {name: _json(part) for name, part in zip(_NAMES[type(record)], _PARTS[type(record)](record), strict=True)}
    if isinstance(record, FindingRecord):
        body["fingerprint"] = record.fingerprint
    return canonical(body)


def _json(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value  # a read-only mapping is no JSON


def parse_body(kind: type[R], host: HostId, body: bytes, fingerprint: str = "") -> R:
    """The inverse of ``body_bytes``; ``fingerprint`` is the one on the sheet, if there is one."""
    try:
        values: dict[str, Any] = {
            name: tuple(value) if name == "techniques" else value for name, value in parse(body).items()
        }
        if fingerprint:
            values["fingerprint"] = fingerprint
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
                "techniques": readable(" ".join(record.techniques)),
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
