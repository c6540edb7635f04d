"""Rules about deletion: judged on rows that a covered comparison no longer shows."""

from __future__ import annotations

import re
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
_ON_DATA = re.compile(r" (?:where|or|and) (?:data|type) '")

Name = tuple[str, str, bool]
"""Key, name and whether it is a subkey, folded."""


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


def filtered_by_data(scopes: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Scopes, given as id and text, from which a row vanishes when its data changes: they prove no removal."""
    return frozenset(scope_id for scope_id, text in scopes if _ON_DATA.search(text))


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a host shows in all its scopes."""

    names: frozenset[Name]
    keys: frozenset[str]


@dataclass(slots=True)
class Removals:
    """Finds hits on removed rows; equal transitions of a scope are judged once.

    A value is removed if its key is still there and no scope shows the value, whatever its data; the values of a
    removed key are gone with it, and only the key is a subject (rule-semantics S1).
    """

    judge: Judge
    rules: RuleHits
    by_data: frozenset[str] = frozenset()
    """Scopes that prove nothing, see ``filtered_by_data``."""
    _shown: dict[tuple[BlockId | None, ...], _Shown] = field(default_factory=dict)
    _known: dict[tuple[str, BlockId | None, BlockId | None], tuple[RuleHit, ...]] = field(default_factory=dict)

    def hits(self, before: HostGroup, after: HostGroup) -> Iterator[RuleHit]:
        """Hits on rows of ``before`` whose key ``after`` covers and does not show any more."""
        if not self.rules.judges_removals:
            return
        new = {cell.scope_id: cell for cell in after.cells}
        for old in before.cells:
            cell = new.get(old.scope_id)
            if cell is None or cell.block == old.block or old.block is None or old.scope_id in self.by_data:
                continue
            for hit in self._of(old, cell):
                gap = cell_gap(cell, hit.row.key) or after.coverage.hidden_gap(hit.row.key)
                if not gap and self._is_gone(hit.row, after):
                    yield hit

    def _is_gone(self, row: RegistryRow, after: HostGroup) -> bool:
        shown = self._show(after)
        if _name(row) in shown.names:
            return False
        return row.is_subkey or fold(row.key) in shown.keys

    def _show(self, group: HostGroup) -> _Shown:
        blocks = tuple(cell.block for cell in group.cells)
        if blocks not in self._shown:
            rows = [row for block in dict.fromkeys(blocks) for row in self.judge.rows(block)]
            keys = {fold(row.key) for row in rows} | {fold(row.subject_name) for row in rows if row.is_subkey}
            self._shown[blocks] = _Shown(frozenset(map(_name, rows)), frozenset(keys))
        return self._shown[blocks]

    def _of(self, old: Cell, new: Cell) -> tuple[RuleHit, ...]:
        key = old.scope_id, old.block, new.block
        if key not in self._known:
            gone = _gone(self.judge.rows(old.block), self.judge.rows(new.block))
            self._known[key] = self.rules.removed(old.scope_id, gone)
        return self._known[key]


def _gone(before: Iterable[RegistryRow], after: Iterable[RegistryRow]) -> list[RegistryRow]:
    """Values and keys that the scope does not show any more, whatever their data was."""
    there = set(map(_name, after))
    return [row for row in before if _name(row) not in there]


def _name(row: RegistryRow) -> Name:
    return fold(row.key), fold(row.name), row.is_subkey
