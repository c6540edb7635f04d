"""Rules on rows that are new or changed since the baseline: what says "created" is decided there (E5, S2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleetscan.baseline.identity import unit_of
from fleetscan.domain.generic import value_entity
from fleetscan.evaluate import ADDED, ADDED_OR_MODIFIED, MODIFIED, Context
from fleetscan.findings.removals import cell_gap
from fleetscan.model.detection import is_detection
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetscan.baseline.identity import Units
    from fleetscan.findings.hits import RuleHits
    from fleetscan.findings.model import RuleHit
    from fleetscan.findings.reading import HostGroup, Judge
    from fleetscan.model.registry import RegistryRow
    from fleetscan.store.interface import BlockId, Cell

Place = tuple[str, str, bool]
"""Key, name and whether it is a subkey, folded."""


@dataclass(slots=True)
class Appearances:
    """Finds hits on rows that appeared or changed; equal transitions of a scope are judged once."""

    judge: Judge
    rules: RuleHits
    by_data: frozenset[str] = frozenset()
    """Scopes whose filter looks at data: what appears there may have been there with other data."""
    _known: dict[tuple[str, BlockId | None, BlockId | None], tuple[RuleHit, ...]] = field(default_factory=dict)
    _shown: dict[tuple[BlockId | None, ...], frozenset[Place]] = field(default_factory=dict)

    def hits(self, before: HostGroup, after: HostGroup) -> Iterator[RuleHit]:
        """Hits on rows of ``after`` that ``before`` lacks or shows otherwise, although it covered their key.

        Those of which it is known what they are come first: another scope may know more than one that looks at data.
        """
        old = {cell.scope_id: cell for cell in before.cells}
        unsure: list[RuleHit] = []
        for new in after.cells:
            cell = old.get(new.scope_id)
            if cell is None or new.block is None or cell.block == new.block or is_detection(new.scope_id):
                continue
            for hit in self._of(cell, new):
                if cell_gap(cell, hit.row.key) or before.coverage.hidden_gap(hit.row.key):
                    continue
                if hit.change == ADDED_OR_MODIFIED:
                    unsure.append(hit)
                else:
                    yield hit
        for hit in unsure:
            if _place(hit.row) in self._show(before):
                yield from self.rules(hit.scope_id, (hit.row,), Context(change=MODIFIED))
            else:
                yield hit

    def _of(self, old: Cell, new: Cell) -> tuple[RuleHit, ...]:
        key = new.scope_id, old.block, new.block
        if key not in self._known:
            rows: dict[str, list[RegistryRow]] = {ADDED: [], MODIFIED: [], ADDED_OR_MODIFIED: []}
            units = self.judge.units(old.block)
            for row in self.judge.rows(new.block):
                if row not in units.rows and (change := _change(row, units)):
                    unknown = change == ADDED and new.scope_id in self.by_data and not row.is_subkey
                    rows[ADDED_OR_MODIFIED if unknown else change].append(row)
            self._known[key] = tuple(
                hit
                for change, found in rows.items()
                if found
                for hit in self.rules(new.scope_id, found, Context(change=change))
            )
        return self._known[key]

    def _show(self, group: HostGroup) -> frozenset[Place]:
        """What a host shows in all its scopes, whatever its data."""
        blocks = tuple(cell.block for cell in group.cells)
        if blocks not in self._shown:
            rows = (row for block in dict.fromkeys(blocks) for row in self.judge.rows(block))
            self._shown[blocks] = frozenset(map(_place, rows))
        return self._shown[blocks]


def _change(row: RegistryRow, before: Units) -> str:
    """Added, modified, or nothing where only the spelling of agents differs."""
    unit = before.by_unit.get(unit_of(row), ())
    past = [one for one in unit if _place(one) == _place(row)]
    if not past:
        return ADDED
    meaning = value_entity(row).attributes
    return "" if any(value_entity(one).attributes == meaning for one in past) else MODIFIED


def _place(row: RegistryRow) -> Place:
    return fold(row.key), fold(row.name), row.is_subkey
