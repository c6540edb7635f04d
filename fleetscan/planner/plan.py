"""The plan: statements for a host, and how their answers become scope results. Pure values; nothing is asked here."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from typing import TYPE_CHECKING

from fleetscan.model.registry import DEFAULT_VALUE, SUBKEY, fold, make_row
from fleetscan.model.snapshot import Complete, Partial, Reason, ScopeResult, Unreachable
from fleetscan.planner.facts import FACTS, host_facts
from fleetscan.planner.index import scope_index
from fleetscan.planner.scopes import DEFAULT_OPTIONS, Options, rule_scopes
from fleetscan.planner.sql import NAMED, UNPROVEN, area, entries, programs, statement
from fleetscan.planner.trie import Trie

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.rule import Message, Rule
    from fleetscan.model.scope import Scope
    from fleetscan.model.snapshot import HostFacts, Status

_MTIME_DIGITS = 20  # more cannot be a time; Python refuses to read thousands


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One SQL statement, on one line, without semicolon. ``id`` is unique in the plan and stable for the same text.

    ``scope_ids`` are the scopes that need its answer; none for a statement that asks for facts.
    """

    id: str
    sql: str
    scope_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answered:
    """A statement was answered; every row maps column name to text, as osqueryi prints it."""

    rows: Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Failed:
    """A statement was not answered, or not wholly."""

    reason: Reason
    detail: str = ""


Answer = Answered | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePlan:
    """How one rule is answered: ``label`` is exact, complete, complete under assumptions, partial or unplannable.

    ``expensive`` are patterns of whole hives that the rule needs and that are kept out of the plan; ``unanchored`` its
    branches that could match anywhere; ``needs_baseline``: it is judged on what disappeared between two sweeps.
    """

    rule: Rule
    label: str
    scope_ids: tuple[str, ...]
    level: int = 0
    expensive: tuple[str, ...] = ()
    unanchored: tuple[str, ...] = ()
    needs_baseline: bool = False
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked of every host, whatever the engine."""

    rules: tuple[RulePlan, ...]
    scopes: tuple[Scope, ...]
    statements: tuple[Statement, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of scopes and statements: the plan's identity in the store."""
        lines = [*(scope.text for scope in self.scopes), *(text.sql for text in self.statements)]
        return sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def make_plan(rules: Sequence[Rule], *, extra_scopes: Iterable[Scope] = (), options: Options = DEFAULT_OPTIONS) -> Plan:
    """Plan all rules together: scopes merged into one trie, each key asked once.

    ``extra_scopes`` are asked as well, whatever the rules need (the domain's areas).
    """
    planned = [rule_scopes(rule, options) for rule in rules]
    scopes = {scope.id: scope for found in planned for scope in found.scopes}
    scopes |= {scope.id: scope for scope in extra_scopes}
    ordered = tuple(sorted(scopes.values(), key=lambda scope: scope.text))
    return Plan(
        rules=tuple(
            RulePlan(
                rule=found.rule,
                label=found.label,
                scope_ids=tuple(scope.id for scope in found.scopes),
                level=found.level,
                expensive=tuple(scope.pattern for scope in found.expensive if scope.id not in scopes),
                unanchored=found.unanchored,
                needs_baseline=found.needs_baseline,
                messages=found.messages,
            )
            for found in planned
        ),
        scopes=ordered,
        statements=tuple(_statements(ordered)),
    )


def _statements(scopes: tuple[Scope, ...]) -> Iterable[Statement]:
    for name, sql in FACTS.items():
        yield Statement(id=name, sql=sql)
    if not scopes:
        return
    trie = Trie(scopes)
    needed: dict[str, set[int]] = defaultdict(set)
    for entry in entries(trie):
        # A scope needs the statement of the last key that it knows by name, and of other scopes' entries below that.
        needed[area(entry.key)].update(index for index, at in entry.node.states if at >= trie.known[index])
    for name, program in programs(trie).items():
        sql = statement(program)
        digest = sha256(sql.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        ids = tuple(scopes[index].id for index in sorted(needed[name]))
        yield Statement(id=f"{name}-{digest}", sql=sql, scope_ids=ids)


def assemble(plan: Plan, answers: Mapping[str, Answer]) -> tuple[HostFacts, tuple[ScopeResult, ...]]:
    """Facts and exactly one result for every scope, from the answers by statement id (missing: not asked).

    Status of a scope: Unreachable if every statement that it needs failed, Partial if one of them did. A key that its
    parent lists though it gave no row may be empty, unreadable or hidden; osquery cannot tell, and stock machines have
    many empty keys. So it is named in ``unproven`` (coverage shows the count; it is never called clean), but the scope
    stays Complete. Partial(UNPROVEN) is kept for what cannot even be proven absent: no key above it answered.
    """
    facts = host_facts(lambda name: answer.rows if isinstance(answer := answers.get(name), Answered) else ())
    sorter = _Sorter(plan)
    failures: dict[str, list[Failed]] = defaultdict(list)
    answered: set[str] = set()
    for text in plan.statements:
        if not text.scope_ids:
            continue
        answer = answers.get(text.id, Failed(Reason.NOT_ASKED))
        if isinstance(answer, Failed):
            for scope_id in text.scope_ids:
                failures[scope_id].append(answer)
        else:
            answered.update(text.scope_ids)
            sorter.take(answer.rows)
    given = sorter.rows.keys() | sorter.silent.keys()
    return facts, tuple(
        ScopeResult(
            scope_id=scope.id,
            status=_status(failures.get(scope.id, ()), answered=scope.id in answered, unread=sorter.unread(scope)),
            rows=tuple(sorter.rows.get(index, ())),
            unproven=tuple(sorted(sorter.silent.get(index, ()))),
        )
        if index in given or scope.id in failures or sorter.unread(scope)
        else _nothing(scope.id)
        for index, scope in enumerate(plan.scopes)
    )


@lru_cache(maxsize=65536)
def _nothing(scope_id: str) -> ScopeResult:
    """Of most scopes on most hosts: it was looked at, and nothing is there."""
    return ScopeResult(scope_id=scope_id, status=Complete())


def _status(failures: Sequence[Failed], *, answered: bool, unread: bool) -> Status:
    if failures:
        first = failures[0]
        return Partial(first.reason, first.detail) if answered else Unreachable(first.reason, first.detail)
    return Partial(Reason.UNPROVEN, "not even the hive root could be listed") if unread else Complete()


class _Sorter:
    """Gives every row to the scopes that hold its key; each distinct key is looked up once."""

    def __init__(self, plan: Plan) -> None:
        self._scopes = plan.scopes
        self._index = scope_index(plan.scopes)
        self._takers: dict[str, tuple[Callable[[RegistryRow], None], ...]] = {}
        self._unread: set[str] = set()
        self._given: set[tuple[str, str, str, str]] = set()
        self.rows: dict[int, list[RegistryRow]] = defaultdict(list)
        self.silent: dict[int, set[str]] = defaultdict(set)

    def take(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Sort the rows of one answer."""
        for row in rows:
            key = row.get("key", "")
            if row.get("type") == UNPROVEN:
                self._miss(key, row.get("data", ""))
                continue
            takers = self._takers.get(key)
            if takers is None:
                takers = self._takers[key] = self._takers_of(key)
            if takers:
                made = _registry_row(row, key)
                for take in takers:
                    take(made)

    def _takers_of(self, key: str) -> tuple[Callable[[RegistryRow], None], ...]:
        """What to do with a row of the key: one call for each scope that holds it, the plain case a bare append."""
        indices = self._index.holding(_elements(key))
        if not key.isascii() and indices:
            return (partial(self._give, indices=indices),)
        return tuple(
            self.rows[index].append if self._scopes[index].row_filter is None else partial(self._give, indices=(index,))
            for index in indices
        )

    def _give(self, row: RegistryRow, *, indices: tuple[int, ...]) -> None:
        if not row.key.isascii():
            # Such a key may have been read twice, under two spellings (planner/sql.py).
            identity = (fold(row.key), row.name, row.type, row.data)
            if identity in self._given:
                return
            self._given.add(identity)
        for index in indices:
            row_filter = self._scopes[index].row_filter
            if row_filter is None or row_filter.passes(row):
                self.rows[index].append(row)

    def _miss(self, key: str, names: str) -> None:
        """Keys that ``key`` lists but that gave no row; without names, the hive root itself gave none."""
        if not names:
            self._unread.add(fold(key))
        for name in names.split("\\"):
            silent = f"{key}\\{name}" if name else key
            for index in self._index.touching(_elements(silent)):
                self.silent[index].add(silent)

    def unread(self, scope: Scope) -> bool:
        """Did the scope's hive root give nothing at all?"""
        return scope.root in self._unread


@lru_cache(maxsize=65536)
def _elements(key: str) -> tuple[str, ...]:
    return tuple(element for element in key.split("\\") if element)


@lru_cache(maxsize=65536)
def _seconds(mtime: str) -> int:
    return int(mtime) if mtime.isascii() and mtime.isdigit() and len(mtime) <= _MTIME_DIGITS else 0


def _registry_row(row: Mapping[str, str], key: str) -> RegistryRow:
    name, kind, data = row.get("name", ""), row.get("type", ""), row.get("data", "")
    if kind == SUBKEY:
        return make_row(key, name, kind, "", f"{key}\\{name}", _seconds(data))
    if kind.endswith(NAMED):
        return make_row(key, name, kind.removesuffix(NAMED), data, f"{key}\\{name}", 0)
    return make_row(key, name, kind, data, f"{key}\\{'' if name == DEFAULT_VALUE else name}", 0)


def rows_in_scope(scope: Scope, rows: Sequence[RegistryRow]) -> tuple[RegistryRow, ...]:
    """The rows whose key lies in the scope and that pass its row filter."""
    return tuple(
        row
        for row in rows
        if scope.contains(_elements(row.key)) and (scope.row_filter is None or scope.row_filter.passes(row))
    )


def covers(scopes: Iterable[Scope], rule: Rule, options: Options = DEFAULT_OPTIONS) -> bool:
    """Do stored scopes hold every row that could decide the rule? It may say no where it is yes, never the reverse."""
    stored = tuple(scopes)
    found = rule_scopes(rule, options)
    return not found.unanchored and all(any(scope.includes(wanted) for scope in stored) for wanted in found.scopes)
