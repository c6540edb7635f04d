"""From a raw row to the entity it belongs to, with that entity's verdict: what reports say about a rule's match."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.domain.decode import decode
from fleetscan.domain.generic import value_entity
from fleetscan.domain.judge import judge_all
from fleetscan.domain.verdicts import Judged, Verdict
from fleetscan.model.finding import Severity, VerdictKind, What
from fleetscan.model.registry import KeyPath, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.snapshot import HostFacts

_UNJUDGED = Verdict(
    kind=VerdictKind.NOT_JUDGED, what=What.OBSERVED, severity=Severity.INFO, why="no decoder knows this value"
)


@dataclass(frozen=True, slots=True)
class EntityIndex:
    """Judged entities by the keys they were read from."""

    judged: tuple[Judged, ...]
    by_key: Mapping[str, Judged]
    by_value: Mapping[tuple[str, str], Judged]

    def of_row(self, row: RegistryRow) -> Judged:
        """The entity that a row belongs to; a row that no decoder knows is an entity of its own."""
        key = fold(str(KeyPath.parse(row.key)))
        if row.is_subkey:
            child = self.by_key.get(f"{key}\\{fold(row.name)}")
            return child or Judged(value_entity(row), _UNJUDGED)
        found = self.by_value.get((key, fold(row.name))) or self.by_key.get(key)
        return found or Judged(value_entity(row), _UNJUDGED)


def index(judged: Iterable[Judged]) -> EntityIndex:
    """Index judged entities; those that are one value of a key shared with others are found by that value."""
    table = tuple(judged)
    by_key: dict[str, Judged] = {}
    by_value: dict[tuple[str, str], Judged] = {}
    for one in table:
        for row in one.entity.rows:
            if not row.is_subkey:
                by_value[fold(row.key), fold(row.name)] = one
        if one.entity.kind not in {"registry_value", "winsock_scalar", "winsock_catalog", "area"}:
            by_key.update((fold(key), one) for key in one.entity.keys)
    return EntityIndex(table, by_key, by_value)


def judge_rows(
    rows: Iterable[RegistryRow], facts: HostFacts | None = None, unproven: Sequence[str] = ()
) -> EntityIndex:
    """Decode and judge all rows of one host, and index the result."""
    return index(judge_all(decode(rows, facts, unproven=unproven), facts))
