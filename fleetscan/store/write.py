"""Writing a sweep: results of hosts in short transactions, everything that is known already by its number."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.store import schema
from fleetscan.store.content import Content, content_of, microseconds, moment, parse_facts, parse_status, status_words
from fleetscan.store.database import driver
from fleetscan.store.digest import canonical, pack, readable, sha256
from fleetscan.store.interface import SweepId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection
    from sqlalchemy.sql.expression import TableClause

    from fleetscan.model.snapshot import HostResult
    from fleetscan.store.database import Database
    from fleetscan.store.interface import PlanRecord, SweepHost

REMEMBERED = 100_000
"""Numbers kept in memory per kind of record; forgetting costs one query."""
_FEW = 64  # records of a few hosts, which are most likely new; more than that are looked up first
_SPREAD = 40503  # odd, so that it loses nothing; near the golden section of 65,536, so that neighbours look unlike
_CHUNK = 500  # SQLite takes at least 999 parameters in one statement

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(slots=True)
class Numbers:
    """The numbers of records by hash, remembered as long as nobody prunes. Only used inside a transaction."""

    generation: str = ""
    known: dict[str, dict[bytes, int]] = field(default_factory=dict)
    fresh: dict[str, dict[bytes, int]] = field(default_factory=dict)
    """Learnt in the transaction that is under way; true only if it commits."""
    scopes: dict[str, int] = field(default_factory=dict)
    """The same of scopes, by their ids."""
    fresh_scopes: dict[str, int] = field(default_factory=dict)

    def begin(self, generation: str) -> None:
        """Start of a transaction: forget everything when another process has pruned since."""
        self.fresh, self.fresh_scopes = {}, {}
        if generation != self.generation:
            self.known, self.scopes = {}, {}
            self.generation = generation

    def keep(self) -> None:
        """The transaction has committed."""
        for kind, numbers in self.fresh.items():
            known = self.known.setdefault(kind, {})
            if len(known) > REMEMBERED:
                known.clear()
            known |= numbers
        if len(self.scopes) > REMEMBERED:
            self.scopes.clear()
        self.scopes |= self.fresh_scopes
        self.fresh, self.fresh_scopes = {}, {}

    def get(self, table: TableClause, digest: bytes) -> int | None:
        """The number of a record, if it is remembered."""
        return self.known.get(table.name, {}).get(digest) or self.fresh.get(table.name, {}).get(digest)

    def of(
        self, connection: Connection, table: TableClause, rows: Mapping[bytes, Callable[[], Row]]
    ) -> dict[bytes, int]:
        """Number of every hash; records that the store does not have yet are inserted."""
        found = {digest: number for digest in rows if (number := self.get(table, digest)) is not None}
        missing = sorted(digest for digest in rows if digest not in found)  # sorted: no deadlock between writers
        if missing:
            make = _made if len(missing) <= _FEW else _in_bulk
            fresh = make(connection, table, {digest: rows[digest] for digest in missing})
            self.fresh.setdefault(table.name, {}).update(fresh)
            found |= fresh
        return found

    def of_scopes(self, connection: Connection, scope_ids: Collection[str]) -> dict[str, int]:
        """Number of every scope; one transaction asks the database for those that are not remembered."""
        if absent := {one: "" for one in scope_ids if one not in self.scopes and one not in self.fresh_scopes}:
            self.fresh_scopes |= _scope_numbers(connection, absent)
        numbers = {**self.scopes, **self.fresh_scopes} if self.fresh_scopes else self.scopes
        return {one: numbers[one] for one in scope_ids}

    def learn(self, connection: Connection) -> None:
        """Remember what a fleet most likely answers again: the newest records."""
        for table in (schema.tree, schema.answer, schema.block, schema.raw, schema.status):
            query = select(table.c.sha256, table.c.id).order_by(table.c.id.desc()).limit(REMEMBERED // 2)
            self.fresh[table.name] = {bytes(digest): number for digest, number in connection.execute(query)}


def _made(connection: Connection, table: TableClause, rows: Mapping[bytes, Callable[[], Row]]) -> dict[bytes, int]:
    """The way of a few hosts with something new: past SQLAlchemy's compiler, which costs more than the database."""
    columns, insert_sql, select_sql = _statements(table.name, len(rows))
    execute = driver(connection).execute
    values: list[Any] = []
    for digest, make in rows.items():
        row = make()
        values.append(digest)
        values += (row[column] for column in columns)
    numbers = {bytes(digest): number for number, digest in execute(insert_sql, values).fetchall()}
    for digest in rows:
        if digest not in numbers:  # it is there already
            [numbers[digest]] = _sound(execute(select_sql, (digest,)).fetchone())
    return numbers


@cache
def _statements(table: str, rows: int) -> tuple[tuple[str, ...], str, str]:
    names = tuple(column.name for column in schema.BY_NAME[table].columns if column.name not in {"id", "sha256"})
    marks = ", ".join([f"({', '.join('?' * (len(names) + 1))})"] * rows)
    insert_sql = f"INSERT INTO {table} (sha256, {', '.join(names)}) VALUES {marks}"
    insert_sql += " ON CONFLICT DO NOTHING RETURNING id, sha256"
    return names, insert_sql, f"SELECT id FROM {table} WHERE sha256 = ?"


def _in_bulk(connection: Connection, table: TableClause, rows: Mapping[bytes, Callable[[], Row]]) -> dict[bytes, int]:
    """The way of many records at once; known ones are not made."""
    numbers = _lookup(connection, table, list(rows))
    if absent := [digest for digest in rows if digest not in numbers]:
        connection.execute(ignore_known(connection, table), [{"sha256": digest, **rows[digest]()} for digest in absent])
        numbers |= _lookup(connection, table, absent)
    return numbers


def ignore_known(connection: Connection, table: TableClause) -> Any:  # noqa: ANN401 - the insert of either dialect
    """An insert that leaves rows alone that are there already."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def chunks(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """Parts that fit into one statement."""
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def _lookup(connection: Connection, table: TableClause, digests: Sequence[bytes]) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for part in chunks(digests):
        query = select(table.c.sha256, table.c.id).where(table.c.sha256.in_(part))
        found |= {bytes(digest): number for digest, number in connection.execute(query)}
    return found


@dataclass(frozen=True, slots=True)
class _Running:
    number: int
    started: int
    hosts: dict[HostId, int]


_PUT = (
    "UPDATE result SET tree = ?, answer = ?, started = ?, duration = ? WHERE sweep = ? AND host = ? AND"
    " (? OR NOT EXISTS (SELECT 1 FROM tree t WHERE t.id = result.tree AND t.covered = 1))"
)
"""The last condition: what covers nothing does not replace what does."""
_STATE = "SELECT (SELECT value FROM meta WHERE name = 'generation'), finished, pruned FROM sweep WHERE id = ?"


@dataclass(slots=True)
class Writer:
    """Writes into one database; safe for many threads, which take turns."""

    database: Database
    _numbers: Numbers = field(default_factory=Numbers)
    _running: dict[SweepId, _Running] = field(default_factory=dict)
    _turn: Lock = field(default_factory=Lock)

    def begin(self, plan: PlanRecord, hosts: Sequence[SweepHost], started: datetime, note: str) -> SweepId:
        """Record what will be asked of whom."""
        _check_hosts(hosts)
        began = microseconds(started)

        def action(connection: Connection) -> tuple[SweepId, _Running]:
            self._begin(connection, generation(connection))
            plan_number = self._plan(connection, plan)
            number = connection.execute(
                insert(schema.sweep)
                .values(plan=plan_number, started=began, outcome="running", note=readable(note))
                .returning(schema.sweep.c.id)
            ).scalar_one()
            name = _sweep_name(number, started)
            connection.execute(update(schema.sweep).where(schema.sweep.c.id == number).values(name=name))
            numbers = number_hosts(connection, [host.id for host in hosts])
            places = self._placements(connection, hosts)
            if hosts:
                connection.execute(
                    insert(schema.result),
                    [
                        {"sweep": number, "host": numbers[host.id], "placement": places[_placement(host)[0]]}
                        for host in hosts
                    ],
                )
            return name, _Running(number, began, numbers)

        with self._turn:
            name, running = self.database.write(action)
            self._numbers.keep()
            self._running[name] = running
        return name

    def put(self, sweep: SweepId, results: Sequence[HostResult]) -> None:
        """Store results, all of them wholly or none."""
        contents = [content_of(result) for result in results]  # the expensive part, outside of the turn
        with self._turn:
            running = self._running.get(sweep) or self._load(sweep)
            places = [self._place(running, sweep, result) for result in results]

            def action(connection: Connection) -> None:
                driven = driver(connection)
                current, finished, pruned = _sound(driven.execute(_STATE, (running.number,)).fetchone())
                if finished is not None or pruned is not None:
                    raise StoreError(f"sweep {sweep} is finished", hint="fleetscan sweep --resume continues it")
                self._begin(connection, _sound(current))
                trees = self._trees(connection, contents)
                answers = self._answers(connection, contents)
                rows = [
                    (trees[content.tree], answers[content.answer], *times, running.number, host, content.covered)
                    for content, (host, *times) in zip(contents, places, strict=True)
                ]
                driven.executemany(_PUT, sorted(rows, key=lambda row: row[5]))  # no deadlock between writers

            self.database.write(action, durable=False)
            self._numbers.keep()

    def _place(self, running: _Running, sweep: SweepId, result: HostResult) -> tuple[int, int, int]:
        """The number of the result's host, when it began in the sweep, and how long it took."""
        host = running.hosts.get(result.host)
        if host is None:
            raise StoreError(f"host {result.host} is not part of sweep {sweep}", where=self.database.name)
        began = microseconds(result.started)
        return host, began - running.started, microseconds(result.finished) - began

    def _begin(self, connection: Connection, current: str) -> None:
        # A server that crashed may have forgotten records whose numbers are remembered here.
        current = f"{current} {self.database.connections.made}"
        known = self._numbers.generation == current
        self._numbers.begin(current)
        if not known:
            self._numbers.learn(connection)

    def forget(self, sweep: SweepId) -> None:
        """Drop what is remembered of a finished sweep."""
        with self._turn:
            self._running.pop(sweep, None)

    def _load(self, sweep: SweepId) -> _Running:
        with self.database.reading() as connection:
            row = connection.execute(
                select(schema.sweep.c.id, schema.sweep.c.started).where(schema.sweep.c.name == sweep)
            ).one_or_none()
            if row is None:
                raise StoreError(f"there is no sweep {sweep}", where=self.database.name, hint="fleetscan store sweeps")
            hosts = connection.execute(
                select(schema.host.c.name, schema.host.c.id)
                .join_from(schema.result, schema.host, schema.result.c.host == schema.host.c.id)
                .where(schema.result.c.sweep == row.id)
            )
            running = _Running(row.id, row.started, {HostId(name): number for name, number in hosts})
        self._running[sweep] = running
        return running

    def _plan(self, connection: Connection, plan: PlanRecord) -> int:
        record = plan_bytes(plan)
        digest = sha256(record)
        row = {"digest": plan.digest, "rules_digest": plan.rules_digest, "record": pack(record)}
        number = self._numbers.of(connection, schema.plan, {digest: lambda: row})[digest]
        if plan.scopes:
            scopes = _scope_numbers(connection, dict(plan.scopes))
            values = [{"plan": number, "scope": scope} for scope in sorted(scopes.values())]
            connection.execute(ignore_known(connection, schema.plan_scope), values)
        return number

    def _placements(self, connection: Connection, hosts: Sequence[SweepHost]) -> dict[bytes, int]:
        rows = dict(_placement(host) for host in hosts)
        return self._numbers.of(connection, schema.placement, {digest: row.copy for digest, row in rows.items()})

    def _trees(self, connection: Connection, contents: Sequence[Content]) -> dict[bytes, int]:
        """The numbers of the contents' trees, by hash."""
        fresh = self._fresh(schema.tree, {content.tree: content for content in contents})
        rows = {content.tree: partial(_tree_row, content) for content in contents}
        numbers = self._numbers.of(connection, schema.tree, rows)
        if fresh:  # also one that is there but not remembered: that is rare, and asking costs as much
            self._cells(connection, [(content, numbers[tree]) for tree, content in fresh.items()])
        return numbers

    def _fresh(self, table: TableClause, contents: Mapping[bytes, Content]) -> dict[bytes, Content]:
        """Those of which no number is remembered."""
        return {digest: one for digest, one in contents.items() if self._numbers.get(table, digest) is None}

    def _cells(self, connection: Connection, trees: Sequence[tuple[Content, int]]) -> None:
        blocks = self._numbers.of(
            connection,
            schema.block,
            {digest: _block_row(*item) for content, _ in trees for digest, item in content.blocks.items()},
        )
        statuses = self._numbers.of(
            connection,
            schema.status,
            {
                digest: partial(status_row, record)
                for content, _ in trees
                for digest, record in content.statuses.items()
            },
        )
        scopes = self._numbers.of_scopes(connection, {cell.scope_id for content, _ in trees for cell in content.cells})
        values = [
            (tree, scopes[cell.scope_id], statuses[cell.status], None if cell.block is None else blocks[cell.block])
            for content, tree in trees
            for cell in content.cells
        ]
        if values:
            insert_sql = "INSERT INTO cell (tree, scope, status, block) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
            driver(connection).executemany(insert_sql, values)

    def _answers(self, connection: Connection, contents: Sequence[Content]) -> dict[bytes, int]:
        """The numbers of the contents' answers, by hash."""
        fresh = self._fresh(schema.answer, {content.answer: content for content in contents})
        facts = self._numbers.of(
            connection, schema.facts, {one.facts: partial(facts_row, one.facts_record) for one in fresh.values()}
        )
        raw = self._numbers.of(
            connection,
            schema.raw,
            {digest: _raw_row(answer) for one in fresh.values() for digest, answer in one.raw_bytes.items()},
        )
        rows = {content.answer: partial(_answer_row, content, facts) for content in contents}
        numbers = self._numbers.of(connection, schema.answer, rows)
        values = [
            (numbers[name], position, readable(statement), raw[digest])
            for name, one in fresh.items()
            for position, (statement, digest) in enumerate(one.raw)
        ]
        if values:
            insert_sql = "INSERT INTO answer_raw (answer, position, statement_id, raw) VALUES (?, ?, ?, ?)"
            insert_sql += " ON CONFLICT DO NOTHING"
            driver(connection).executemany(insert_sql, values)
        return numbers


def generation(connection: Connection) -> str:
    """Changes with every prune: numbers remembered under another one may be gone."""
    query = select(schema.meta.c.value).where(schema.meta.c.name == "generation")
    return str(_sound(connection.execute(query).scalar()))


def _sound(value: T | None) -> T:
    """A value that is there in every sound store."""
    if value is None:
        raise StoreError("a part of the store is missing", hint="restore it from a backup")
    return value


def plan_bytes(plan: PlanRecord) -> bytes:
    """Canonical bytes of a plan record."""
    rules = [[rule.id, rule.title, rule.digest, rule.label, list(rule.scope_ids)] for rule in plan.rules]
    return canonical(
        {"digest": plan.digest, "scopes": list(plan.scopes), "statements": list(plan.statements), "rules": rules}
    )


def _check_hosts(hosts: Sequence[SweepHost]) -> None:
    seen: set[str] = set()
    for host in hosts:
        if readable(host.id) != host.id or not host.id:
            raise StoreError(f"a host cannot have this name: {host.id!a}", hint="rename it in the inventory")
        if host.id in seen:
            raise StoreError(f"host {host.id} is in the sweep twice", hint="each host needs its own name")
        seen.add(host.id)


def _sweep_name(number: int, started: datetime) -> SweepId:
    """The time, and four digits that differ for every two of 65,536 sweeps in a row: many can begin in one second."""
    return SweepId(f"{moment(microseconds(started)):%Y%m%d-%H%M%S}-{number * _SPREAD % 0x10000:04x}")


def _placement(host: SweepHost) -> tuple[bytes, Row]:
    row = {"engine": readable(host.engine), "groups": canonical(list(host.groups)).decode("utf-8", "replace")}
    return placement_digest(row["engine"], row["groups"]), row


def placement_digest(engine: str, groups: str) -> bytes:
    """The hash of how a host was named in a sweep."""
    return sha256(canonical([engine, groups]))


def number_hosts(connection: Connection, names: Sequence[HostId]) -> dict[HostId, int]:
    """Numbers of hosts by name; new names get one."""
    numbers: dict[HostId, int] = {}
    for part in chunks(sorted(names)):
        connection.execute(ignore_known(connection, schema.host), [{"name": name} for name in part])
        query = select(schema.host.c.name, schema.host.c.id).where(schema.host.c.name.in_(part))
        numbers |= {HostId(name): number for name, number in connection.execute(query)}
    return numbers


def _scope_numbers(connection: Connection, texts: Mapping[str, str]) -> dict[str, int]:
    """Numbers of scopes by id; ``texts`` names them, in case they are new."""
    ids = sorted(texts)
    numbers = _known_scopes(connection, ids)
    named = [(readable(words), scope_id) for scope_id, words in texts.items() if words and scope_id in numbers]
    if named:  # known so far only from a host's answer
        driver(connection).executemany("UPDATE scope SET text = ? WHERE scope_id = ? AND text = ''", named)
    if absent := [scope_id for scope_id in ids if scope_id not in numbers]:
        values = [{"scope_id": scope_id, "text": readable(texts[scope_id])} for scope_id in absent]
        connection.execute(ignore_known(connection, schema.scope), values)
        numbers |= _known_scopes(connection, absent)
    return numbers


def _known_scopes(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for part in chunks(ids):
        query = select(schema.scope.c.scope_id, schema.scope.c.id).where(schema.scope.c.scope_id.in_(part))
        numbers |= {str(scope_id): int(number) for scope_id, number in connection.execute(query)}
    return numbers


def _tree_row(content: Content) -> Row:
    return {"complete": int(content.complete), "covered": int(content.covered)}


def _answer_row(content: Content, facts: Mapping[bytes, int]) -> Row:
    return {"facts": facts[content.facts], "blind_spots": content.blind_spots}


def _block_row(content: bytes, rows: int) -> Callable[[], Row]:
    return lambda: {"row_count": rows, "content": pack(content)}


def _raw_row(content: bytes) -> Callable[[], Row]:
    return lambda: {"size": len(content), "content": pack(content)}


def status_row(record: bytes) -> Row:
    """A status with the columns that people query."""
    kind, reason, detail = status_words(parse_status(record)[0])
    return {"kind": kind, "reason": reason, "detail": readable(detail), "record": record}


def facts_row(record: bytes) -> Row:
    """Facts with the columns that people query."""
    facts = parse_facts(record)
    names = ("hostname", "os_name", "os_version", "os_build", "arch", "osquery_version")
    return {**{name: readable(getattr(facts, name)) for name in names}, "record": record}
