"""Checking the chain of evidence: its links, and every sweep against what the chain says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from fleetscan.errors import StoreError
from fleetscan.store import schema
from fleetscan.store.digest import parse, sha256
from fleetscan.store.evidence import FINISHED, HEAD, PRUNED, REOPENED, results_digest, seal_statement
from fleetscan.store.interface import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class _Link:
    """A row of the chain."""

    number: int
    sweep: int
    act: str
    digest: bytes
    content: bytes


def check_chain(connection: Connection) -> Iterator[Problem]:
    """Every link, that none is missing at either end or between, and every sweep against what is said of it."""
    links = [
        _Link(number, sweep, act, bytes(digest), bytes(content))
        for number, sweep, act, digest, content in connection.execute(
            text("SELECT number, sweep, act, sha256, content FROM seal ORDER BY number")
        )
    ]
    before: _Link | None = None
    sealed: dict[int, dict[str, Any]] = {}
    last: dict[int, tuple[str, dict[str, Any]]] = {}
    for link in links:
        statement = _statement(link.content)
        yield from _check_link(link, statement, before)
        before = link
        last[link.sweep] = (link.act, statement)
        if link.act == FINISHED:
            sealed[link.sweep] = statement
    head = connection.execute(select(schema.meta.c.value).where(schema.meta.c.name == HEAD)).scalar()
    if (head or "") != (before.digest.hex() if before else ""):
        yield Problem("chain of evidence", "its end is not the one that was written last: seals were removed or added")
    for sweep, (act, statement) in last.items():
        yield from _check_sweep(connection, sweep, act, statement, sealed.get(sweep, {}))
    unsealed = "SELECT name, id FROM sweep WHERE finished IS NOT NULL OR pruned IS NOT NULL"
    for name, number in connection.execute(text(unsealed)).all():
        if number not in last:
            yield Problem(f"sweep {name}", "it is finished or pruned but was never sealed")


def _check_link(link: _Link, statement: dict[str, Any], before: _Link | None) -> Iterator[Problem]:
    where = f"seal {link.number}"
    expected = before.number + 1 if before else 1
    if link.number != expected:
        yield Problem(where, f"seal {expected} is missing: the chain of evidence is broken")
    if sha256(link.content) != link.digest:
        yield Problem(where, "the seal does not match its hash: it was altered")
    if not statement:
        yield Problem(where, "the seal cannot be read")
    elif statement.get("number") != link.number or link.act not in statement:
        yield Problem(where, "the seal says something else than its row: it was altered")
    if statement.get("previous") != (before.digest.hex() if before else ""):
        yield Problem(where, "it does not follow the seal before it: the chain of evidence is broken")


def _statement(content: bytes) -> dict[str, Any]:
    try:
        return dict(parse(content))
    except (StoreError, TypeError, ValueError):
        return {}


def _check_sweep(
    connection: Connection, sweep: int, act: str, last: dict[str, Any], sealed: dict[str, Any]
) -> Iterator[Problem]:
    """A sweep against the last link that speaks of it, and against its seal."""
    query = text("SELECT name, finished, pruned FROM sweep WHERE id = :id")
    state = connection.execute(query, {"id": sweep}).first()
    if state is None:
        yield Problem(f"seal of sweep {last.get('sweep')}", "the sweep is not in the store any more")
        return
    name, finished, pruned = state
    if last.get("sweep") != name or _act(finished, pruned) != act or (act == PRUNED and last.get("pruned") != pruned):
        yield Problem(f"sweep {name}", f"it is {_act(finished, pruned)}, but the chain of evidence says {act}")
    if act == PRUNED and connection.execute(text(_KEPT), {"id": sweep}).scalar_one():
        yield Problem(f"sweep {name}", "it has answers although they were pruned")
    if finished is None or not sealed:  # it goes on after its seal, and the next seal will cover it
        return
    try:
        found = seal_statement(connection, sweep)
    except StoreError as error:
        yield Problem(f"sweep {name}", error.what)
        return
    for field, value in found.items():
        if sealed.get(field) != value:
            yield Problem(f"sweep {name}", f"{field} is not what was sealed")
    if act == FINISHED and sealed.get("results") != results_digest(connection, sweep):
        yield Problem(f"sweep {name}", "the answers are not those that were sealed: altered, added or removed")


_KEPT = "SELECT (SELECT COUNT(*) FROM result WHERE sweep = :id) + (SELECT COUNT(*) FROM judging WHERE sweep = :id)"


def _act(finished: int | None, pruned: int | None) -> str:
    """What the last link must say of a sweep in this state."""
    return PRUNED if pruned is not None else REOPENED if finished is None else FINISHED
