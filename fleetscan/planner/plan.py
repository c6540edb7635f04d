"""The plan: statements for a host, and how their answers become scope results. Pure values; nothing is asked here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.rule import Rule
    from fleetscan.model.scope import Scope
    from fleetscan.model.snapshot import HostFacts, Reason, ScopeResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One SQL statement, on one line, without semicolon. ``id`` is unique in the plan and stable for the same text."""

    id: str
    sql: str


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
    """How one rule is answered: ``label`` is exact, complete, complete under assumptions, partial or unplannable."""

    rule: Rule
    label: str
    scope_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked of every host, whatever the engine."""

    rules: tuple[RulePlan, ...]
    scopes: tuple[Scope, ...]
    statements: tuple[Statement, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of scopes and statements: the plan's identity in the store."""
        raise NotImplementedError


def make_plan(rules: Sequence[Rule]) -> Plan:
    """Plan all rules together: scopes merged into one trie, each key asked once."""
    raise NotImplementedError


def assemble(plan: Plan, answers: Mapping[str, Answer]) -> tuple[HostFacts, tuple[ScopeResult, ...]]:
    """Facts and exactly one result for every scope, from the answers by statement id (missing: not asked)."""
    raise NotImplementedError


def rows_in_scope(scope: Scope, rows: Sequence[RegistryRow]) -> tuple[RegistryRow, ...]:
    """The rows whose key lies in the scope and that pass its row filter."""
    raise NotImplementedError
