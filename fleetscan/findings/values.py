"""Values and keys that no decoder knows, compared as they are in the scopes that rules asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fleetscan.baseline.diff import AttributeChange, ChangeKind, Reasons, Side, diff
from fleetscan.baseline.grade import Graded, moved
from fleetscan.domain.areas import AREAS
from fleetscan.domain.entity import merge_duplicates
from fleetscan.domain.generic import value_entity
from fleetscan.evaluate import ADDED, ADDED_OR_MODIFIED, MODIFIED, Context
from fleetscan.findings.reading import SCOPES
from fleetscan.findings.removals import cell_gap
from fleetscan.model.detection import is_detection
from fleetscan.model.finding import Severity, What
from fleetscan.model.registry import KeyPath, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fleetscan.baseline.diff import Change
    from fleetscan.baseline.identity import Coverage
    from fleetscan.domain.entity import Entity, Ident
    from fleetscan.findings.hits import RuleHits
    from fleetscan.findings.model import RuleHit
    from fleetscan.findings.reading import Judge, Outlook
    from fleetscan.model.registry import RegistryRow
    from fleetscan.store.interface import Cell

_ONE_SIDED = "the scope shows values of certain data only"


def is_plain(scope_id: str) -> bool:
    """Is it a scope of rules, of which no decoder knows what the rows mean?"""
    return scope_id not in SCOPES and not is_detection(scope_id)


@dataclass(slots=True)
class _Shown:
    """Rows that one side shows and the other does not, with the cells of that other side."""

    rows: dict[Ident, list[RegistryRow]] = field(default_factory=dict)
    cells: dict[Ident, list[Cell]] = field(default_factory=dict)

    def add(self, row: RegistryRow, other: Cell) -> None:
        """One more scope shows the row."""
        ident = value_entity(row).ident
        rows = self.rows.setdefault(ident, [])
        if row not in rows:  # several scopes may show one value
            rows.append(row)
        self.cells.setdefault(ident, []).append(other)

    def entities(self, environment: Mapping[str, str] | None) -> tuple[Entity, ...]:
        """One entity for every value and key."""
        return merge_duplicates(value_entity(row, environment) for rows in self.rows.values() for row in rows)

    def reasons(self, coverage: Coverage) -> Mapping[Ident, str]:
        """Why the other side cannot speak of them."""
        return {ident: _gap(self.rows[ident][0].key, cells, coverage) for ident, cells in self.cells.items()}


def _gap(key: str, cells: Iterable[Cell], coverage: Coverage) -> str:
    gaps = [coverage.hidden_gap(key) or cell_gap(cell, key) for cell in cells]
    return "" if "" in gaps else gaps[0]


@dataclass(frozen=True, slots=True)
class Values:
    """Compares the scopes of rules, and has rules say how much a change matters."""

    judge: Judge
    rules: RuleHits | None = None
    by_data: frozenset[str] = frozenset()
    """Scopes that show a value only while its data is so: what comes or goes there is a change, and no more."""

    def compare(
        self,
        cells: Sequence[tuple[Cell, Cell]],
        outlooks: tuple[Outlook, Outlook],
        coverages: tuple[Coverage, Coverage],
    ) -> tuple[list[Graded], list[tuple[Entity, str]]]:
        """Changes and gaps of cells whose blocks differ; what the domain decodes is left to it."""
        gone, come = _Shown(), _Shown()
        for old, new in cells:
            before, after = self.judge.differing(old.block, new.block)
            for row in _only(before, after):
                gone.add(row, new)
            for row in _only(after, before):
                come.add(row, old)
        found = diff(
            Side(gone.entities(_environment(outlooks[0])), Reasons(come.reasons(coverages[0]))),
            Side(come.entities(_environment(outlooks[1])), Reasons(gone.reasons(coverages[1]))),
        )
        changes = [_one_sided(change, self.by_data, gone, come) for change in found.changes]
        hits = self._hits(changes, [new for _, new in cells])
        return [_grade(change, hits.get(change.entity.ident, ())) for change in changes], [
            (gap.entity, f"{gap.side}: {gap.reason}") for gap in found.not_comparable
        ]

    def _hits(self, changes: Sequence[Change], after: Sequence[Cell]) -> Mapping[Ident, Sequence[RuleHit]]:
        """What rules say of the changed rows, of creation and deletion too."""
        if self.rules is None:
            return {}
        rows: dict[str, list[RegistryRow]] = {ADDED: [], MODIFIED: [], ADDED_OR_MODIFIED: [], "removed": []}
        for change in changes:
            kind = _happened(change)
            if kind != "removed" or change.kind is ChangeKind.REMOVED:
                rows[kind].extend(change.entity.rows)
        shown = (ADDED, MODIFIED, ADDED_OR_MODIFIED)
        hits = [hit for kind in shown for hit in self.rules("", rows[kind], Context(change=kind))]
        if rows["removed"] and self.rules.judges_removals:
            # The values of a removed key are gone with it, and only the key is a subject (rule-semantics S1).
            there = {fold(row.key) for cell in after for row in self.judge.rows(cell.block)}
            subjects = [row for row in rows["removed"] if row.is_subkey or fold(row.key) in there]
            hits += self.rules.removed("", subjects)
        found: dict[Ident, list[RuleHit]] = {}
        for hit in hits:
            found.setdefault(value_entity(hit.row).ident, []).append(hit)
        return found


def _happened(change: Change) -> str:
    if change.after is None:
        return "removed"
    if change.kind is ChangeKind.ADDED:
        return ADDED
    return MODIFIED if change.before is not None else ADDED_OR_MODIFIED


def _only(rows: Iterable[RegistryRow], other: Iterable[RegistryRow]) -> list[RegistryRow]:
    there = frozenset(other)
    return [row for row in rows if row not in there and not _is_decoded(row)]


def _is_decoded(row: RegistryRow) -> bool:
    elements = KeyPath.parse(row.key).elements
    return any(
        scope.contains(elements) and (scope.row_filter is None or scope.row_filter.passes(row)) for scope in AREAS
    )


def _environment(outlook: Outlook) -> Mapping[str, str] | None:
    return None if outlook.environment is None else dict(outlook.environment)


def _one_sided(change: Change, by_data: frozenset[str], gone: _Shown, come: _Shown) -> Change:
    if change.before is not None and change.after is not None:
        return change
    shown, is_new = (come, True) if change.after is not None else (gone, False)
    if not all(cell.scope_id in by_data for cell in shown.cells[change.entity.ident]):
        return change
    attributes = tuple(
        AttributeChange(name, None if is_new else value, value if is_new else None)
        for name, value in change.entity.attributes
    )
    return replace(change, kind=ChangeKind.MODIFIED, attributes=attributes)


def _grade(change: Change, hits: Sequence[RuleHit]) -> Graded:
    what, why = What.CHANGED, [moved(change)]
    if change.kind is ChangeKind.ADDED:
        what, why = What.NEW, ["new since the baseline"]
    elif change.kind is ChangeKind.REMOVED:
        what, why = What.REMOVED, ["gone since the baseline"]
    elif change.before is None or change.after is None:
        why.append(_ONE_SIDED)
    why += dict.fromkeys(hit.told for hit in sorted(hits, key=lambda hit: -hit.severity))
    severity = max((hit.severity for hit in hits), default=Severity.LOW)
    return Graded(change=change, what=what, severity=severity, why="; ".join(why))
