"""Reading sweeps back: by number and by hash; rows are unpacked only where somebody asks for them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, text

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.model.snapshot import HostResult, RawAnswer, Reason, ScopeResult, Unreachable
from fleetscan.store import schema
from fleetscan.store.content import moment, parse_blind, parse_facts, parse_status
from fleetscan.store.digest import block_lines, block_rows, parse, unpack
from fleetscan.store.interface import (
    BlockId,
    Cell,
    ChangedCell,
    CoverageCell,
    DistinctBlock,
    DistinctTree,
    PlanRecord,
    RuleRecord,
    StoredHost,
    Sweep,
    SweepId,
)
from fleetscan.store.write import chunks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.snapshot import BlindSpot, HostFacts
    from fleetscan.store.database import Database

NOT_ASKED = Unreachable(Reason.NOT_ASKED)
_FETCH = 2000
_SWEEPS_HINT = "fleetscan store sweeps"

_COUNTED = {
    "sweeps": schema.sweep,
    "hosts": schema.host,
    "host results": schema.result,
    "distinct trees": schema.tree,
    "distinct blocks": schema.block,
    "distinct raw answers": schema.raw,
    "seals": schema.seal,
    "baselines": schema.baseline,
    "findings": schema.finding,
    "changes": schema.change,
    "entities": schema.entity,
}

_SWEEPS = """
SELECT s.id, s.name, s.started, s.finished, s.outcome, s.note, s.pruned, p.digest, p.rules_digest,
  (SELECT COUNT(*) FROM result r WHERE r.sweep = s.id) AS hosts,
  (SELECT COUNT(*) FROM result r WHERE r.sweep = s.id AND r.tree IS NOT NULL) AS answered,
  e.sha256 AS seal, f.sha256 AS previous
FROM sweep s JOIN plan p ON p.id = s.plan
LEFT JOIN seal e ON s.finished IS NOT NULL
  AND e.number = (SELECT MAX(m.number) FROM seal m WHERE m.sweep = s.id AND m.act = 'finished')
LEFT JOIN seal f ON f.number = e.number - 1
"""

_HOSTS = """
SELECT h.name, p.engine, p.groups, r.tree, t.complete, t.covered, r.started, r.duration, s.started AS base
FROM result r JOIN host h ON h.id = r.host JOIN placement p ON p.id = r.placement
JOIN sweep s ON s.id = r.sweep LEFT JOIN tree t ON t.id = r.tree
WHERE r.sweep = :sweep
"""

_CELLS = """
SELECT c.tree, p.scope_id, t.record, c.block
FROM cell c JOIN scope p ON p.id = c.scope JOIN status t ON t.id = c.status
WHERE c.tree IN (SELECT r.tree FROM result r WHERE r.sweep = :sweep)
ORDER BY c.tree, p.scope_id
"""

_TREES = text("""
SELECT h.name, r.tree FROM result r JOIN host h ON h.id = r.host
WHERE r.sweep = :sweep AND r.tree IS NOT NULL AND h.name IN :hosts
""").bindparams(bindparam("hosts", expanding=True))

_TREE_CELLS = text("""
SELECT c.tree, p.scope_id, t.record, c.block
FROM cell c JOIN scope p ON p.id = c.scope JOIN status t ON t.id = c.status
WHERE c.tree IN :trees ORDER BY c.tree, p.scope_id
""").bindparams(bindparam("trees", expanding=True))

_BLOCK = text("SELECT sha256, content FROM block WHERE id = :block")  # read by the thousand: past the compiler

_MOVED = """
WITH moved (host, old, new) AS (
  SELECT b.host, a.tree, b.tree
  FROM result b LEFT JOIN result a ON a.sweep = :base AND a.host = {past}
  WHERE b.sweep = :sweep AND COALESCE(a.tree, 0) <> COALESCE(b.tree, 0)
  {gone}
), pair (old, new) AS (SELECT DISTINCT old, new FROM moved),
cells (old, new, scope, old_status, old_block, new_status, new_block) AS (
  SELECT p.old, p.new, o.scope, o.status, o.block, n.status, n.block
  FROM pair p JOIN cell o ON o.tree = p.old LEFT JOIN cell n ON n.tree = p.new AND n.scope = o.scope
  WHERE n.scope IS NULL OR n.status <> o.status OR COALESCE(n.block, 0) <> COALESCE(o.block, 0)
  UNION ALL
  SELECT p.old, p.new, n.scope, NULL, NULL, n.status, n.block
  FROM pair p JOIN cell n ON n.tree = p.new LEFT JOIN cell o ON o.tree = p.old AND o.scope = n.scope
  WHERE o.scope IS NULL
)
SELECT h.name, s.scope_id, so.record, c.old_block, sn.record, c.new_block
FROM moved m
JOIN cells c ON COALESCE(c.old, 0) = COALESCE(m.old, 0) AND COALESCE(c.new, 0) = COALESCE(m.new, 0)
JOIN host h ON h.id = m.host
JOIN scope s ON s.id = c.scope
LEFT JOIN status so ON so.id = c.old_status
LEFT JOIN status sn ON sn.id = c.new_status
ORDER BY h.name, s.scope_id
"""
_GONE = """UNION ALL
  SELECT a.host, a.tree, NULL FROM result a
  WHERE a.sweep = :base AND a.tree IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM result b WHERE b.sweep = :sweep AND b.host = a.host)"""
_CHANGED = text(_MOVED.format(past="b.host", gone=_GONE))
_CHANGED_GOLDEN = text(_MOVED.format(past=":golden", gone=""))
_CHANGED_SOME = text(
    _MOVED.format(past=":golden", gone="AND b.host IN (SELECT o.id FROM host o WHERE o.name IN :hosts)")
).bindparams(bindparam("hosts", expanding=True))


class Reader:
    """Reads from one database."""

    def __init__(self, database: Database) -> None:
        """Nothing is read before somebody asks."""
        self.database = database

    def sweeps(self) -> tuple[Sweep, ...]:
        """All sweeps, oldest first."""
        with self.database.reading() as connection:
            return tuple(_sweep(row) for row in connection.execute(text(f"{_SWEEPS} ORDER BY s.id")))

    def sweep(self, name: str) -> Sweep:
        """By id, by a unique beginning of it, or ``latest``."""
        with self.database.reading() as connection:
            query = select(schema.sweep.c.id, schema.sweep.c.name).order_by(schema.sweep.c.id)
            names: dict[int, str] = {row.id: row.name for row in connection.execute(query)}
            number = self._choose(names, name)
            return _sweep(connection.execute(text(f"{_SWEEPS} WHERE s.id = :id"), {"id": number}).one())

    def _choose(self, names: Mapping[int, str], wanted: str) -> int:
        if wanted == "latest":
            if not names:
                raise StoreError("the store has no sweep", where=self.database.name, hint="fleetscan sweep")
            return max(names)
        matching = [number for number, name in names.items() if name == wanted] or [
            number for number, name in names.items() if wanted and name.startswith(wanted)
        ]
        match matching:
            case [number]:
                return number
            case []:
                raise StoreError(f"there is no sweep {wanted}", where=self.database.name, hint=_SWEEPS_HINT)
            case _:
                ids = ", ".join(names[number] for number in matching[:5])
                raise StoreError(f"{wanted} is the beginning of {len(matching)} sweeps", hint=f"one of {ids}")

    @contextmanager
    def at(self, sweep: SweepId, *, answers: bool = True) -> Iterator[tuple[Connection, int]]:
        """A connection and the sweep's number; with ``answers``, a pruned sweep is an error, not an empty one."""
        with self.database.reading() as connection:
            row = connection.execute(
                select(schema.sweep.c.id, schema.sweep.c.pruned).where(schema.sweep.c.name == sweep)
            ).one_or_none()
            if row is None:
                raise StoreError(f"there is no sweep {sweep}", where=self.database.name, hint=_SWEEPS_HINT)
            if answers and row.pruned is not None:
                raise StoreError(
                    f"the answers of sweep {sweep} were pruned on {moment(row.pruned):%Y-%m-%d}",
                    where=self.database.name,
                    hint="use a later sweep: fleetscan store sweeps",
                )
            yield connection, row.id

    def plan(self, sweep: SweepId) -> PlanRecord:
        """What the sweep asked."""
        with self.at(sweep, answers=False) as (connection, number):
            record = connection.execute(
                select(schema.plan.c.record)
                .join_from(schema.sweep, schema.plan, schema.sweep.c.plan == schema.plan.c.id)
                .where(schema.sweep.c.id == number)
            ).scalar_one()
        return parse_plan(unpack(bytes(record)))

    def hosts(self, sweep: SweepId) -> tuple[StoredHost, ...]:
        """All hosts of the sweep, by name."""
        with self.at(sweep) as (connection, number):
            rows = connection.execute(text(_HOSTS), {"sweep": number}).all()
        return tuple(sorted(map(_host, rows), key=lambda host: host.id))

    def reached(self, sweep: SweepId) -> Mapping[HostId, bool]:
        """All hosts of the sweep, and whether something of them is covered."""
        query = text("""
            SELECT h.name, t.covered FROM result r JOIN host h ON h.id = r.host LEFT JOIN tree t ON t.id = r.tree
            WHERE r.sweep = :sweep""")
        with self.at(sweep) as (connection, number):
            return {HostId(name): bool(covered) for name, covered in connection.execute(query, {"sweep": number})}

    def _one_host(self, sweep: SweepId, host: HostId) -> StoredHost | None:
        with self.at(sweep) as (connection, number):
            row = connection.execute(
                text(f"{_HOSTS} AND h.name = :host"), {"sweep": number, "host": host}
            ).one_or_none()
        return None if row is None else _host(row)

    def pending(self, sweep: SweepId) -> tuple[HostId, ...]:
        """Hosts without a result or with one that is not complete."""
        return tuple(host.id for host in self.hosts(sweep) if not host.complete)

    def coverage(self, sweep: SweepId) -> Iterator[CoverageCell]:
        """Exactly one status for every host and planned scope, by host name and scope id."""
        planned = sorted(scope_id for scope_id, _ in self.plan(sweep).scopes)
        answered: dict[HostId, tuple[Cell, ...]] = {
            host: tree.cells for tree in self.trees(sweep) for host in tree.hosts
        }
        for host in self.hosts(sweep):
            cells = {cell.scope_id: cell for cell in answered.get(host.id, ())}
            for scope_id in sorted({*planned, *cells}):
                cell = cells.get(scope_id)
                if cell is None:
                    yield CoverageCell(host.id, scope_id, NOT_ASKED)
                else:
                    yield CoverageCell(host.id, scope_id, cell.status, cell.unproven)

    def tree(self, sweep: SweepId, host: HostId) -> Mapping[str, Cell]:
        """The cells of one host by scope id."""
        query = text("""
            SELECT p.scope_id, t.record, c.block
            FROM result r JOIN host h ON h.id = r.host JOIN cell c ON c.tree = r.tree
            JOIN scope p ON p.id = c.scope JOIN status t ON t.id = c.status
            WHERE r.sweep = :sweep AND h.name = :host ORDER BY p.scope_id""")
        with self.at(sweep) as (connection, number):
            rows = connection.execute(query, {"sweep": number, "host": host}).all()
        return {scope_id: _cell(scope_id, record, block) for scope_id, record, block in rows}

    def cells(self, sweep: SweepId, hosts: Sequence[HostId]) -> Mapping[HostId, tuple[Cell, ...]]:
        """The cells of some hosts; each distinct tree is read once."""
        with self.at(sweep) as (connection, number):
            trees: dict[HostId, int] = {}
            for part in chunks(hosts):
                rows = connection.execute(_TREES, {"sweep": number, "hosts": list(part)})
                trees |= {HostId(name): tree for name, tree in rows}
            found: dict[int, tuple[Cell, ...]] = {}
            for part in chunks(sorted(set(trees.values()))):
                rows = connection.execute(_TREE_CELLS, {"trees": list(part)})
                for tree, cells in groupby(rows, key=itemgetter(0)):
                    found[tree] = tuple(_cell(scope_id, record, block) for _, scope_id, record, block in cells)
        return {host: found.get(tree, ()) for host, tree in trees.items()}

    def trees(self, sweep: SweepId) -> Iterator[DistinctTree]:
        """Every distinct tree with the hosts that have it."""
        with self.at(sweep) as (connection, number):
            holders: dict[int, list[HostId]] = {}
            query = text(
                "SELECT r.tree, h.name FROM result r JOIN host h ON h.id = r.host"
                " WHERE r.sweep = :sweep AND r.tree IS NOT NULL"
            )
            for tree, name in connection.execute(query, {"sweep": number}):
                holders.setdefault(tree, []).append(HostId(name))
            rows = connection.execute(text(_CELLS), {"sweep": number}, execution_options={"yield_per": _FETCH})
            for tree, cells in groupby(rows, key=itemgetter(0)):
                shared = tuple(_cell(scope_id, record, block) for _, scope_id, record, block in cells)
                yield DistinctTree(shared, tuple(sorted(holders.pop(tree))))
            for hosts in holders.values():
                yield DistinctTree((), tuple(sorted(hosts)))

    def blocks(self, sweep: SweepId) -> tuple[DistinctBlock, ...]:
        """Every distinct block by scope with its number of hosts; each distinct tree is looked at once."""
        query = text("""
            WITH holder (tree, hosts) AS (
              SELECT r.tree, COUNT(*) FROM result r WHERE r.sweep = :sweep AND r.tree IS NOT NULL GROUP BY r.tree)
            SELECT p.scope_id, c.block, SUM(holder.hosts)
            FROM holder JOIN cell c ON c.tree = holder.tree JOIN scope p ON p.id = c.scope
            WHERE c.block IS NOT NULL GROUP BY p.scope_id, c.block ORDER BY p.scope_id, c.block""")
        with self.at(sweep) as (connection, number):
            rows = connection.execute(query, {"sweep": number}).all()
        return tuple(DistinctBlock(scope_id, BlockId(block), int(hosts)) for scope_id, block, hosts in rows)

    def block_hosts(self, sweep: SweepId, scope_id: str, block: BlockId) -> tuple[HostId, ...]:
        """The hosts that answered the scope with that block."""
        query = text("""
            SELECT h.name FROM result r JOIN host h ON h.id = r.host
            WHERE r.sweep = :sweep AND r.tree IN (
              SELECT c.tree FROM cell c JOIN scope p ON p.id = c.scope
              WHERE p.scope_id = :scope AND c.block = :block)""")
        with self.at(sweep) as (connection, number):
            rows = connection.execute(query, {"sweep": number, "scope": scope_id, "block": block})
            return tuple(sorted(HostId(name) for (name,) in rows))

    def scope_blocks(self, sweep: SweepId, scope_id: str) -> Mapping[HostId, BlockId]:
        """The block with which each host answered the scope."""
        query = text("""
            SELECT h.name, c.block FROM scope p JOIN result r ON r.sweep = :sweep JOIN host h ON h.id = r.host
            JOIN cell c ON c.tree = r.tree AND c.scope = p.id
            WHERE p.scope_id = :scope AND c.block IS NOT NULL""")
        with self.at(sweep) as (connection, number):
            rows = connection.execute(query, {"sweep": number, "scope": scope_id})
            return {HostId(name): BlockId(block) for name, block in rows}

    def block(self, block: BlockId) -> tuple[RegistryRow, ...]:
        """The rows of a block."""
        return block_rows(unpack(self._block(block).content))

    def block_lines(self, block: BlockId) -> tuple[bytes, ...]:
        """The rows of a block, not decoded."""
        return block_lines(unpack(self._block(block).content))

    def block_digest(self, block: BlockId) -> str:
        """SHA-256 (hex) of the block's canonical bytes."""
        return bytes(self._block(block).sha256).hex()

    def _block(self, block: BlockId) -> Row[Any, Any]:
        with self.database.reading() as connection:
            row = connection.execute(_BLOCK, {"block": block}).one_or_none()
        if row is None:
            raise StoreError(f"there is no block {block}", where=self.database.name, hint="was its sweep pruned?")
        return row

    def facts(self, sweep: SweepId, host: HostId) -> HostFacts | None:
        """What the host said about itself."""
        query = text("""
            SELECT f.record FROM result r JOIN host h ON h.id = r.host JOIN answer a ON a.id = r.answer
            JOIN facts f ON f.id = a.facts WHERE r.sweep = :sweep AND h.name = :host""")
        with self.at(sweep) as (connection, number):
            record = connection.execute(query, {"sweep": number, "host": host}).scalar()
        return None if record is None else parse_facts(bytes(record))

    def fleet_facts(self, sweep: SweepId) -> Mapping[HostId, HostFacts]:
        """The facts of all hosts that have a result."""
        query = text("""
            SELECT h.name, f.id, f.record FROM result r JOIN host h ON h.id = r.host JOIN answer a ON a.id = r.answer
            JOIN facts f ON f.id = a.facts WHERE r.sweep = :sweep ORDER BY h.name""")
        parsed: dict[int, HostFacts] = {}
        fleet: dict[HostId, HostFacts] = {}
        with self.at(sweep) as (connection, number):
            for name, facts, record in connection.execute(query, {"sweep": number}):
                if facts not in parsed:
                    parsed[facts] = parse_facts(bytes(record))
                fleet[HostId(name)] = parsed[facts]
        return fleet

    def raw_hashes(self, sweep: SweepId) -> Mapping[HostId, tuple[tuple[str, str], ...]]:
        """Statement id and hash of every raw answer, by host."""
        query = text("""
            SELECT h.name, x.statement_id, w.sha256 FROM result r JOIN host h ON h.id = r.host
            JOIN answer_raw x ON x.answer = r.answer JOIN raw w ON w.id = x.raw
            WHERE r.sweep = :sweep ORDER BY h.name, x.position""")
        found: dict[HostId, list[tuple[str, str]]] = {}
        with self.at(sweep) as (connection, number):
            for name, statement, digest in connection.execute(query, {"sweep": number}):
                found.setdefault(HostId(name), []).append((statement, bytes(digest).hex()))
        return {host: tuple(hashes) for host, hashes in found.items()}

    def raw(self, sweep: SweepId, host: HostId) -> tuple[RawAnswer, ...]:
        """The raw answers of the host."""
        query = text("""
            SELECT x.statement_id, w.sha256, w.content FROM result r JOIN host h ON h.id = r.host
            JOIN answer_raw x ON x.answer = r.answer JOIN raw w ON w.id = x.raw
            WHERE r.sweep = :sweep AND h.name = :host ORDER BY x.position""")
        with self.at(sweep) as (connection, number):
            rows = connection.execute(query, {"sweep": number, "host": host}).all()
        return tuple(
            RawAnswer(statement, bytes(digest).hex(), unpack(bytes(content))) for statement, digest, content in rows
        )

    def blind_spots(
        self, sweep: SweepId, hosts: Sequence[HostId] | None = None
    ) -> Mapping[HostId, tuple[BlindSpot, ...]]:
        """The places where the table hides something, for the hosts that have any."""
        query = """
            SELECT h.name, a.blind_spots FROM result r JOIN host h ON h.id = r.host JOIN answer a ON a.id = r.answer
            WHERE r.sweep = :sweep AND a.blind_spots IS NOT NULL"""
        whole = text(f"{query} ORDER BY h.name")
        some = text(f"{query} AND h.name IN :hosts ORDER BY h.name").bindparams(bindparam("hosts", expanding=True))
        with self.at(sweep) as (connection, number):
            if hosts is None:
                rows = connection.execute(whole, {"sweep": number}).all()
            else:
                values = {"sweep": number, "hosts": list(hosts)}
                rows = connection.execute(some, values).all() if hosts else []
        return {HostId(name): parse_blind(bytes(record)) for name, record in rows}

    def _blind_spots(self, sweep: SweepId, host: HostId) -> tuple[BlindSpot, ...]:
        query = text("""
            SELECT a.blind_spots FROM result r JOIN host h ON h.id = r.host JOIN answer a ON a.id = r.answer
            WHERE r.sweep = :sweep AND h.name = :host""")
        with self.at(sweep) as (connection, number):
            record = connection.execute(query, {"sweep": number, "host": host}).scalar()
        return parse_blind(None if record is None else bytes(record))

    def result(self, sweep: SweepId, host: HostId) -> HostResult | None:
        """The whole result of a host as it was put."""
        stored = self._one_host(sweep, host)
        facts = self.facts(sweep, host)
        if stored is None or stored.started is None or stored.finished is None or facts is None:
            return None
        scopes = tuple(
            ScopeResult(
                scope_id=cell.scope_id,
                status=cell.status,
                rows=self.block(cell.block) if cell.block is not None else (),
                unproven=cell.unproven,
            )
            for cell in self.tree(sweep, host).values()
        )
        return HostResult(
            host=host,
            facts=facts,
            scopes=scopes,
            started=stored.started,
            finished=stored.finished,
            raw=self.raw(sweep, host),
            blind_spots=self._blind_spots(sweep, host),
        )

    def changed(
        self, base: SweepId, sweep: SweepId, golden: HostId | None, hosts: Collection[HostId] | None = None
    ) -> Iterator[ChangedCell]:
        """Cells that differ, found by comparing numbers only."""
        with self.at(base) as (connection, base_number):
            known = select(schema.sweep.c.id).where(schema.sweep.c.name == sweep, schema.sweep.c.pruned.is_(None))
            number = connection.execute(known).scalar()
            if number is None:
                with self.at(sweep):  # says why
                    return
            values: dict[str, object] = {"base": base_number, "sweep": number}
            queries = [(_CHANGED, values)]
            if golden is not None:
                values["golden"] = self._golden(connection, base, base_number, golden)
                queries = [(_CHANGED_GOLDEN, values)]
                if hosts is not None:  # of several golden hosts each has its own: all hosts with each would be too many
                    queries = [(_CHANGED_SOME, values | {"hosts": list(some)}) for some in chunks(sorted(hosts))]
            rows = (
                row
                for query, chosen in queries
                for row in connection.execute(query, chosen, execution_options={"yield_per": _FETCH})
            )
            for name, scope_id, old_status, old_block, new_status, new_block in rows:
                yield ChangedCell(
                    host=HostId(name),
                    scope_id=scope_id,
                    before=None if old_status is None else _cell(scope_id, old_status, old_block),
                    after=None if new_status is None else _cell(scope_id, new_status, new_block),
                )

    def _golden(self, connection: Connection, base: SweepId, base_number: int, golden: HostId) -> int:
        query = (
            select(schema.host.c.id)
            .join_from(schema.result, schema.host, schema.result.c.host == schema.host.c.id)
            .where(
                schema.result.c.sweep == base_number, schema.result.c.tree.is_not(None), schema.host.c.name == golden
            )
        )
        number = connection.execute(query).scalar()
        if number is None:
            raise StoreError(f"sweep {base} has no answer of host {golden}", where=self.database.name)
        return int(number)

    def counts(self) -> Mapping[str, int]:
        """How many records of each kind there are."""
        with self.database.reading() as connection:
            return {
                words: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for words, table in _COUNTED.items()
            }


def parse_plan(record: bytes) -> PlanRecord:
    """The inverse of ``plan_bytes``."""
    try:
        fields = parse(record)
        return PlanRecord(
            digest=fields["digest"],
            scopes=tuple((scope_id, words) for scope_id, words in fields["scopes"]),
            statements=tuple((statement, sql) for statement, sql in fields["statements"]),
            rules=tuple(
                RuleRecord(id=rule, title=title, digest=digest, label=label, scope_ids=tuple(scopes))
                for rule, title, digest, label, scopes in fields["rules"]
            ),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError("the plan of a sweep is damaged in the store", hint="fleetscan store verify") from error


def _sweep(row: Row[Any]) -> Sweep:
    return Sweep(
        id=SweepId(row.name),
        started=moment(row.started),
        finished=None if row.finished is None else moment(row.finished),
        outcome=row.outcome,
        note=row.note,
        plan_digest=row.digest,
        rules_digest=row.rules_digest,
        seal=bytes(row.seal or b"").hex(),
        previous=bytes(row.previous or b"").hex(),
        hosts=row.hosts,
        answered=row.answered,
        pruned=None if row.pruned is None else moment(row.pruned),
    )


@lru_cache(maxsize=256)
def _groups(record: str) -> tuple[str, ...]:
    return tuple(json.loads(record))


def _host(row: Row[Any]) -> StoredHost:
    answered = row.tree is not None
    return StoredHost(
        id=HostId(row.name),
        engine=row.engine,
        groups=_groups(row.groups),
        answered=answered,
        complete=bool(row.complete),
        covered=bool(row.covered),
        started=moment(row.base + row.started) if answered else None,
        finished=moment(row.base + row.started + row.duration) if answered else None,
    )


def _cell(scope_id: str, record: bytes, block: int | None) -> Cell:
    status, unproven = parse_status(bytes(record))
    return Cell(scope_id=scope_id, status=status, unproven=unproven, block=None if block is None else BlockId(block))
