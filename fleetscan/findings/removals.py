"""Rules about deletion: judged on rows that a covered comparison no longer shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleetscan.model.registry import fold
from fleetscan.model.snapshot import Complete, Partial, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetscan.findings.hits import RuleHits
    from fleetscan.findings.model import RuleHit
    from fleetscan.findings.reading import HostGroup, Judge
    from fleetscan.model.registry import RegistryRow
    from fleetscan.store.interface import BlockId, Cell

_BY_KEY = frozenset({Reason.UNPROVEN, Reason.HIDDEN})


def cell_gap(cell: Cell | None, key: str) -> str:
    """Why a scope's cell cannot speak of a key; empty if it can."""
    if cell is None:
        return "not asked"
    folded = fold(key)
    for unproven in cell.unproven:
        above = fold(unproven)
        if folded == above or folded.startswith(f"{above}\\"):
            return "the key, or one above it, gave no row"
    status = cell.status
    if isinstance(status, Complete) or (isinstance(status, Partial) and status.reason in _BY_KEY):
        return ""
    return str(status.reason)


@dataclass(slots=True)
class Removals:
    """Finds hits on removed rows; equal transitions of a scope are judged once."""

    judge: Judge
    rules: RuleHits
    _known: dict[tuple[str, BlockId | None, BlockId | None], tuple[RuleHit, ...]] = field(default_factory=dict)

    def hits(self, before: HostGroup, after: HostGroup) -> Iterator[RuleHit]:
        """Hits on rows of ``before`` whose key ``after`` covers and does not show any more."""
        if not self.rules.judges_removals:
            return
        new = {cell.scope_id: cell for cell in after.cells}
        for old in before.cells:
            cell = new.get(old.scope_id)
            if cell is None or cell.block == old.block or old.block is None:
                continue
            for hit in self._of(old, cell):
                gap = cell_gap(cell, hit.row.key) or after.coverage.hidden_gap(hit.row.key)
                if not gap:
                    yield hit

    def _of(self, old: Cell, new: Cell) -> tuple[RuleHit, ...]:
        key = old.scope_id, old.block, new.block
        if key not in self._known:
            gone = _gone(self.judge.rows(old.block), self.judge.rows(new.block))
            self._known[key] = self.rules.removed(old.scope_id, gone)
        return self._known[key]


def _gone(before: Iterable[RegistryRow], after: Iterable[RegistryRow]) -> list[RegistryRow]:
    """Values and keys that are not there any more, whatever their data was."""
    there = {(fold(row.key), fold(row.name), row.is_subkey) for row in after}
    return [row for row in before if (fold(row.key), fold(row.name), row.is_subkey) not in there]
