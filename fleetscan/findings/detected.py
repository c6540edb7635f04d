"""What detections returned, compared: files and modules that a query shows now, or showed at the baseline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fleetscan.baseline.diff import ChangeKind, Reasons, Side, diff
from fleetscan.baseline.grade import Graded, moved
from fleetscan.domain.detections import detection_entities
from fleetscan.findings.removals import cell_gap
from fleetscan.model.finding import Severity, What

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fleetscan.baseline.diff import Change
    from fleetscan.domain.entity import Entity, Ident
    from fleetscan.findings.reading import Judge
    from fleetscan.store.interface import Cell

    Entities = Mapping[Ident, Entity]
    Cells = Mapping[str, Cell]


def compare_detected(
    judge: Judge, before: Sequence[Cell], after: Sequence[Cell]
) -> tuple[list[Graded], list[tuple[Entity, str]]]:
    """Changes and gaps between all answers of a host's detections; one thing may be shown by several of them."""
    old_cells, new_cells = ({cell.scope_id: cell for cell in cells} for cells in (before, after))
    old, new = _entities(judge, before), _entities(judge, after)
    unshown = {ident: _why_added(entity, old_cells) for ident, entity in new.items() if ident not in old}
    unseen = {ident: _why_lost(entity, (), new_cells) for ident, entity in old.items() if ident not in new}
    found = diff(
        Side(_known_parts(old, new, old_cells), Reasons(unshown)),
        Side(_known_parts(new, old, new_cells), Reasons(unseen)),
    )
    return [_grade(judge, change) for change in found.changes], [
        (gap.entity, f"{gap.side}: {gap.reason}") for gap in found.not_comparable
    ]


def _entities(judge: Judge, cells: Sequence[Cell]) -> Entities:
    rows = (row for cell in cells for row in judge.rows(cell.block))
    return {one.entity.ident: one.entity for one in detection_entities(rows)}


def _scopes(entity: Entity) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.key for row in entity.rows))


def _why_added(entity: Entity, cells: Cells) -> str:
    """Why nobody can say that it was not there; one detection that looked and did not show it is enough."""
    gaps = [cell_gap(cells.get(scope), scope) for scope in _scopes(entity)]
    return "" if "" in gaps else gaps[0]


def _why_lost(entity: Entity, shown: Iterable[str], cells: Cells) -> str:
    """Why it may still be so: a detection that showed it did not answer on this side."""
    gaps = (cell_gap(cells.get(scope), scope) for scope in _scopes(entity) if scope not in shown)
    return next((gap for gap in gaps if gap), "")


def _known_parts(side: Entities, other: Entities, cells: Cells) -> tuple[Entity, ...]:
    """The entities of one side; those of which a detection of the other side is missing here are not whole."""
    return tuple(
        replace(entity, incomplete=_why_lost(other[ident], _scopes(entity), cells)) if ident in other else entity
        for ident, entity in side.items()
    )


def _grade(judge: Judge, change: Change) -> Graded:
    told = [judge.detection(scope) for scope in _scopes(change.entity)]
    severity = max(severity for _, severity in told)
    titles = "; ".join(dict.fromkeys(title for title, _ in told))
    match change.kind:
        case ChangeKind.ADDED:
            return Graded(
                change=change, what=What.NEW, severity=severity, why=f"new since the baseline: {titles} (certain)"
            )
        case ChangeKind.REMOVED:
            why = f"gone since the baseline; it was: {titles}"
            return Graded(change=change, what=What.REMOVED, severity=Severity.INFO, why=why)
        case _:
            why = f"{moved(change)}; {titles}"
            return Graded(change=change, what=What.CHANGED, severity=severity, why=why)
