"""The trie as SQL: one recursive walk (architecture section 3). The only place that quotes registry names.

Shape of a statement, made of forms proven safe on the real table (osquery-registry.md section 4):

* ``entry``: keys that are known by name, with every key above them. Each is opened directly, so that nothing above can
  blind the walk: neither an unreadable key nor a 255-character name.
* ``trie``: edges. A subkey row takes the first edge (lowest ``rank``) of its node that its name follows; the key to ask
  for is its path plus ``suffix``, a way down that is known by name (below each user hive).
* ``walk``: the recursion. A row of type ``ask`` is a key to read; it is answered by the rows of the table, each turn
  binding ``r.key =`` one text. A subkey row that takes an edge becomes the next ``ask``.
* A key that was asked for and gave no row is proven absent if the nearest key above that answered does not list it.
  If that one is listed, it is *unproven*: empty, unreadable or hidden.

Rows that come back: the rows of wanted keys that pass their filter, and rows of type ``unproven``: ``data`` holds the
names, joined by backslashes, of the keys that ``key`` lists and that are silent; if it is empty, ``key`` is a hive root
that gave nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleetscan.model.registry import HKLM, HKU, fold
from fleetscan.planner.globs import like, overlaps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetscan.model.scope import RowClause, RowFilter
    from fleetscan.planner.trie import Edge, Named, Node, Trie

UNPROVEN = "unproven"
NAMED = " named"
r"""Behind the type of a value that is really called ``(Default)``; the unnamed value has a path that ends in ``\``."""

_NAMED_DEFAULT = r"w.name = '(Default)' AND w.type <> 'subkey' AND substr(w.path, -1) <> '\'"
"""Type of the rows that stand for keys without an answer."""

DEPTH_GUARD = 96
"""Turns of the walk below an entry key; links to an ancestor end here, and are reported as silent."""

_NOTHING, _EVERYTHING = 0, 1

Row = tuple[int | str, ...]


def quote(value: int | str) -> str:
    """A SQL literal."""
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


@dataclass(slots=True)
class Program:
    """The tables of one statement."""

    trie: Trie
    entries: dict[str, Row] = field(default_factory=dict)
    edges: list[Row] = field(default_factory=list)
    clauses: list[Row] = field(default_factory=list)
    _numbers: dict[tuple[int, Named], int] = field(default_factory=dict)
    _filters: dict[tuple[RowFilter, ...], int] = field(default_factory=dict)
    _wanted: dict[int, int] = field(default_factory=dict)
    _todo: list[tuple[Node, Named, int]] = field(default_factory=list)

    def pass_by(self, key: str) -> None:
        """Read this key for what it lists, unless it is an entry."""
        self.entries.setdefault(fold(key), (key, 0, _NOTHING))

    def enter(self, entry: Entry) -> None:
        """Read this key directly, and walk from it."""
        row = (entry.key, self._number(entry.node, entry.named), self._filter(entry.node))
        self.entries[fold(entry.key)] = row
        while self._todo:
            self._compile(*self._todo.pop())

    def _compile(self, node: Node, named: Named, number: int) -> None:
        """The edges of one node, in the order in which they are tried."""
        rank = 0
        for at, edge in enumerate(node.edges):
            targets = tuple(_targets(self.trie, edge, named))
            if not targets and not any(overlaps(edge.glob, other.glob) for other in node.edges[at + 1 :]):
                continue
            # An edge without target keeps its names from the edges behind it: such keys are entries themselves.
            rank += 1
            test = (int(edge.exact), edge.text if edge.exact else like(edge.glob))
            for suffix, child, known in targets:
                self.edges.append((number, rank, *test, suffix, self._number(child, known), self._filter(child)))
            if not targets:
                self.edges.append((number, rank, *test, "", 0, _NOTHING))

    def _number(self, node: Node, named: Named) -> int:
        if not node.edges:
            return 0
        key = (id(node), named)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers) + 1
            self._todo.append((node, named, self._numbers[key]))
        return self._numbers[key]

    def _filter(self, node: Node) -> int:
        """The number of a node's row filter; nodes are asked about once an edge, and filters are dear to compare."""
        if id(node) not in self._wanted:
            self._wanted[id(node)] = self._new_filter(node)
        return self._wanted[id(node)]

    def _new_filter(self, node: Node) -> int:
        filters = self.trie.filters(node)
        if filters is None:
            return _EVERYTHING
        if not filters:
            return _NOTHING
        if filters not in self._filters:
            number = self._filters[filters] = len(self._filters) + _EVERYTHING + 1
            clauses = {_clause(clause) for row_filter in filters for clause in row_filter.clauses}
            self.clauses.extend((number, *clause) for clause in sorted(clauses))
        return self._filters[filters]


def _clause(clause: RowClause) -> tuple[str, ...]:
    return tuple(map(_sql_glob, (clause.name, clause.path, clause.data, clause.type)))


def _sql_glob(glob: str) -> str:
    """For SQLite's GLOB on upper-case text, which can ask for a percent sign. Beyond ASCII any character fits."""
    return "".join("[[]" if char == "[" else char if char.isascii() else "?" for char in fold(glob))


def _targets(trie: Trie, edge: Edge, named: Named) -> Iterator[tuple[str, Node, Named]]:
    """Keys to read when a subkey takes the edge; none if the key is an entry, and so read already.

    A name beyond ASCII is compared loosely: the edge may take other names, so the key is read again where it is listed.

    The way down a user hive is known by name, but for the name of the hive: all its keys are asked for at once.
    """
    known = trie.follow(named, edge)
    if edge.node is None or (known and edge.exact):
        return
    yield "", edge.node, known
    if known and not edge.literal:
        for key, node, below in _named_keys(trie, "", edge.node, known):
            if key:
                yield key, node, below


@dataclass(frozen=True, slots=True)
class Entry:
    """A key that is known by its full name."""

    key: str
    node: Node
    named: Named


def _named_keys(trie: Trie, top: str, node: Node, named: Named) -> Iterator[tuple[str, Node, Named]]:
    """The keys below a node that scopes know by name, from the top."""
    todo = [(top, node, named)]
    while todo:
        key, node, known = todo.pop()
        yield key, node, known
        for edge in node.edges:
            below = trie.follow(known, edge) if edge.literal else frozenset()
            if below and edge.node is not None:
                todo.append((f"{key}\\{edge.text}", edge.node, below))


def entries(trie: Trie) -> Iterator[Entry]:
    """Every entry key of the trie: keys that scopes know by name, and all above them."""
    for root, node in trie.roots.items():
        for key, below, named in _named_keys(trie, root, node, trie.named(root)):
            yield Entry(key, below, named)


def area(key: str) -> str:
    """The statement a key belongs to: by hive, the classes apart because of their size."""
    elements = tuple(map(fold, key.split("\\")))
    if elements[0] != HKLM:
        return "users"
    if "CLASSES" in elements[1:4]:
        return "classes"
    return {"SOFTWARE": "software", "SYSTEM": "system"}.get(elements[1] if len(elements) > 1 else "", "machine")


def programs(trie: Trie) -> dict[str, Program]:
    """The trie cut into statements, by area; each holds all keys above its own, which prove what is absent."""
    found: dict[str, Program] = {}
    for entry in sorted(entries(trie), key=lambda entry: fold(entry.key)):
        program = found.setdefault(area(entry.key), Program(trie))
        elements = entry.key.split("\\")
        for length in range(1, len(elements)):
            program.pass_by("\\".join(elements[:length]))
        program.enter(entry)
    return dict(sorted(found.items()))


def statement(program: Program) -> str:
    """The program as one statement on one line."""
    parts = [_table("entry", ("key", "node", "want"), program.entries.values())]
    if program.edges:
        parts.append(_table("trie", ("node", "rank", "exact", "name", "suffix", "child", "want"), program.edges))
    if program.clauses:
        parts.append(_table("pass", ("want", "name", "path", "data", "type"), program.clauses))
    users = fold(HKU) in program.entries
    if users:
        parts.append(f"hives(name) AS MATERIALIZED (SELECT name FROM registry WHERE key = '{HKU}' AND type = 'subkey')")
    parts.append(_walk(with_trie=bool(program.edges), users=users))
    return f"WITH RECURSIVE {', '.join(parts)} {_answer(with_filter=bool(program.clauses))}"


def _table(name: str, columns: tuple[str, ...], rows: Iterable[Row]) -> str:
    values = ", ".join("(" + ", ".join(map(quote, row)) + ")" for row in rows)
    return f"{name}({', '.join(columns)}) AS MATERIALIZED (VALUES {values})"


_ONE_PLACE = (
    rf" AND NOT (w.key = '{HKU}' AND w.name = '.DEFAULT' COLLATE NOCASE AND EXISTS (SELECT 1 FROM hives"
    " WHERE name = 'S-1-5-18'))"
    r" AND NOT (t.suffix || '\' LIKE '\Software\Classes\%' AND EXISTS (SELECT 1 FROM hives"
    r" WHERE name = w.name || '_Classes' COLLATE NOCASE))"
)
"""Places with two names are read under one: .DEFAULT is S-1-5-18, Software\\Classes the user's class hive (N8)."""


_DEPTH = f"CASE WHEN w.name = trim(w.name, char(9, 10, 11, 12, 13, 32)) THEN w.depth + 1 ELSE {DEPTH_GUARD} END"
"""A key whose name begins or ends with a blank is asked for, so that it shows as unproven, but never read.

osquery trims names when it opens a key: it would answer with the twin without the blank, or with the parent, and a few
such names below each other would make a walk without end.
"""


def _walk(*, with_trie: bool, users: bool) -> str:
    columns = "node, want, depth, key, path, name, type, data, mtime"
    start = "SELECT node, want, 0, key, '', '', 'ask', '', 0 FROM entry"
    takes = "CASE x.exact WHEN 1 THEN w.name = x.name COLLATE NOCASE ELSE w.name LIKE x.name END"
    first = f"SELECT min(x.rank) FROM trie x WHERE x.node = w.node AND {takes}"
    ask = (
        f" UNION ALL SELECT t.child, t.want, {_DEPTH}, w.path || t.suffix, '', '', 'ask', '', 0 FROM walk w"
        f" JOIN trie t ON t.node = w.node AND t.rank = ({first}) WHERE w.type = 'subkey' AND w.depth < {DEPTH_GUARD}"
        " AND (t.child > 0 OR t.want > 0)"
    ) + (_ONE_PLACE if users else "")
    read = (
        " UNION ALL SELECT w.node, w.want, w.depth, r.key, r.path, r.name, r.type, r.data, r.mtime FROM walk w"
        f" CROSS JOIN registry r WHERE w.type = 'ask' AND w.depth < {DEPTH_GUARD} AND r.key = w.key"
    )
    return f"walk({columns}) AS MATERIALIZED ({start}{ask if with_trie else ''}{read})"


def _answer(*, with_filter: bool) -> str:
    """Four columns, because thousands of rows repeat their names: no path, and no time but that of subkeys.

    The time of a value row may be another key's; that of a subkey row is true, and stands in its data, which is empty.
    """
    wanted = f"w.want = {_EVERYTHING}"
    if with_filter:
        wanted += (
            " OR (w.want > 1 AND EXISTS (SELECT 1 FROM pass p WHERE p.want = w.want AND upper(w.name) GLOB p.name"
            r" AND upper(w.key || '\' || w.name) GLOB p.path AND upper(w.type) GLOB p.type"
            " AND upper(w.data) GLOB p.data))"
        )
    silent = "NOT IN (SELECT key FROM walk WHERE type <> 'ask')"
    kind = rf"CASE WHEN {_NAMED_DEFAULT} THEN w.type || '{NAMED}' ELSE w.type END AS type"
    data = "CASE w.type WHEN 'subkey' THEN w.mtime ELSE w.data END AS data"
    return (
        f"SELECT w.key AS key, w.name AS name, {kind}, {data} FROM walk w"
        f" WHERE w.type <> 'ask' AND ({wanted})"
        rf" UNION ALL SELECT w.key, '', '{UNPROVEN}', group_concat(w.name, '\') FROM walk w"
        f" WHERE w.type = 'subkey' AND w.path COLLATE NOCASE {silent}"
        " AND w.path COLLATE NOCASE IN (SELECT key FROM walk WHERE type = 'ask')"
        rf" GROUP BY w.key UNION ALL SELECT key, '', '{UNPROVEN}', '' FROM walk WHERE type = 'ask'"
        rf" AND instr(key, '\') = 0 AND key {silent}"
    )
