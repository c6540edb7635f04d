"""Baselines: names for sweeps, with or without a golden host."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, text, update

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.store import schema
from fleetscan.store.content import microseconds, moment
from fleetscan.store.digest import canonical, readable, sha256
from fleetscan.store.interface import Baseline, SweepId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Row

    from fleetscan.store.database import Database

RESERVED = frozenset({"auto", "latest"})
"""Words that already mean something where a baseline is named."""

LONGEST = 64
"""Characters in a name: it stands in tables and file names."""

_SWEEP = re.compile(r"[0-9]{1,8}|[0-9]{8}-.*", re.DOTALL)
"""The beginning of a sweep's id."""

_HINT = "fleetscan baseline list"


def put(database: Database, baseline: Baseline) -> None:
    """Keep a baseline; the name must be free and the sweep must have its answers."""
    _check_name(baseline.name)

    def action(connection: Connection) -> None:
        for name in connection.execute(select(schema.baseline.c.name)).scalars():
            if name.casefold() == baseline.name.casefold():
                raise StoreError(f"there is a baseline {name} already", hint=f"fleetscan baseline delete {name}")
        sweep = connection.execute(
            select(schema.sweep.c.id, schema.sweep.c.pruned).where(schema.sweep.c.name == baseline.sweep)
        ).one_or_none()
        if sweep is None or sweep.pruned is not None:
            state = "there is no sweep" if sweep is None else "the answers were pruned of sweep"
            raise StoreError(f"{state} {baseline.sweep}", where=database.name, hint="fleetscan store sweeps")
        numbers = [_host(connection, sweep.id, baseline, name) for name in baseline.golden]
        connection.execute(
            insert(schema.baseline).values(
                name=baseline.name,
                sweep=sweep.id,
                host=numbers[0] if numbers else None,
                others=json.dumps(baseline.others),
                own_past=int(baseline.own_past),
                created=microseconds(baseline.created),
                note=readable(baseline.note),
                sha256=baseline_digest(baseline),
            )
        )

    database.write(action)


def _check_name(name: str) -> None:
    """Refuse what nobody could type again, and what could mean a sweep or an option where a baseline is named."""
    is_shown = name.isprintable() and name == name.strip() and readable(name) == name
    if not is_shown or not 0 < len(name) <= LONGEST or name.startswith("-"):
        raise StoreError(
            f"a baseline cannot have this name: {name[:LONGEST]!a}", hint=f"letters, digits, - and _, up to {LONGEST}"
        )
    if name.casefold() in RESERVED or _SWEEP.fullmatch(name):
        raise StoreError(
            f"a baseline cannot have this name: {name!a} already means a sweep", hint="letters, digits, - and _"
        )


def _host(connection: Connection, sweep: int, baseline: Baseline, name: HostId) -> int:
    number = connection.execute(
        text(
            "SELECT h.id FROM host h JOIN result r ON r.host = h.id"
            " WHERE r.sweep = :sweep AND r.tree IS NOT NULL AND h.name = :name"
        ),
        {"sweep": sweep, "name": name},
    ).scalar()
    if number is None:
        raise StoreError(f"sweep {baseline.sweep} has no answer of host {name}", hint="choose another host")
    return int(number)


_QUERY = text("""
    SELECT b.name, s.name AS sweep, h.name AS host, b.others, b.own_past, b.created, b.note, b.sha256
    FROM baseline b LEFT JOIN sweep s ON s.id = b.sweep LEFT JOIN host h ON h.id = b.host""")


def load(database: Database) -> tuple[Baseline, ...]:
    """All baselines by name."""
    with database.reading() as connection:
        found = tuple(_baseline(row) for row in connection.execute(_QUERY) if row.sweep is not None)
    return tuple(sorted(found, key=lambda baseline: baseline.name))


def altered(connection: Connection) -> Iterator[str]:
    """Names of the baselines that do not match their hash."""
    for row in connection.execute(_QUERY).all():
        try:
            sound = row.sha256 is not None and baseline_digest(_baseline(row)) == bytes(row.sha256)
        except StoreError:
            sound = False
        if not sound:
            yield row.name


def hash_all(connection: Connection) -> None:
    """Migration to version 6: every baseline gets its hash."""
    table = schema.baseline
    for row in connection.execute(_QUERY).all():
        digest = baseline_digest(_baseline(row))
        connection.execute(update(table).where(table.c.name == row.name).values(sha256=digest))


def baseline_digest(baseline: Baseline) -> bytes:
    """The hash of a baseline: a golden host that is exchanged would hide every change."""
    names = [baseline.name, baseline.sweep, list(baseline.golden), baseline.own_past]
    return sha256(canonical([*names, microseconds(baseline.created), readable(baseline.note)]))


def _baseline(row: Row[Any]) -> Baseline:
    try:
        return Baseline(
            name=row.name,
            sweep=SweepId(row.sweep),
            host=None if row.host is None else HostId(row.host),
            others=tuple(HostId(str(name)) for name in json.loads(row.others)),
            own_past=bool(row.own_past),
            created=moment(row.created),
            note=row.note,
        )
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise StoreError(
            f"the baseline {row.name} is damaged in the store", hint=f"fleetscan baseline delete {row.name}"
        ) from error


def find(database: Database, name: str) -> Baseline:
    """The baseline of that name."""
    for baseline in load(database):
        if baseline.name == name:
            return baseline
    raise StoreError(f"there is no baseline {name}", where=database.name, hint=_HINT)


def remove(database: Database, name: str) -> None:
    """Forget the name."""

    def action(connection: Connection) -> None:
        if connection.execute(delete(schema.baseline).where(schema.baseline.c.name == name)).rowcount == 0:
            raise StoreError(f"there is no baseline {name}", where=database.name, hint=_HINT)

    database.write(action)
