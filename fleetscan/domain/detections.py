"""What detections found, as entities: a file, a loaded module, or whatever else the query speaks of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.domain.entity import Entity
from fleetscan.domain.verdicts import Judged, Verdict
from fleetscan.model.detection import VOLATILE, columns_of
from fleetscan.model.finding import Severity, VerdictKind, What
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fleetscan.model.registry import RegistryRow

KINDS = frozenset({"file", "module", "detection"})
_FOUND = Verdict(kind=VerdictKind.NOT_JUDGED, what=What.OBSERVED, severity=Severity.INFO, why="a detection returned it")


def detection_entities(rows: Iterable[RegistryRow]) -> tuple[Judged, ...]:
    """One entity for everything that the rows of all detections of a host are about."""
    groups: dict[tuple[str, str], list[RegistryRow]] = {}
    for row in rows:
        groups.setdefault((_kind(columns_of(row)), fold(row.name)), []).append(row)
    return tuple(Judged(_entity(kind, group), _FOUND) for (kind, _), group in groups.items())


def _kind(columns: Mapping[str, str]) -> str:
    return "module" if columns.get("module") else "file" if columns.get("path") else "detection"


def _entity(kind: str, rows: list[RegistryRow]) -> Entity:
    first = rows[0]
    identity = (("query", first.key), ("row", first.name)) if kind == "detection" else (("path", first.name),)
    found: dict[str, set[str]] = {}
    for row in rows:
        for name, value in columns_of(row).items():
            if value and value != row.name:
                # The path of a module's row is that of the program which loaded it.
                found.setdefault("process" if kind == "module" and name == "path" else name, set()).add(value)
    texts = {name: " | ".join(sorted(values)) for name, values in sorted(found.items())}
    return Entity(
        kind=kind,
        identity=identity,
        attributes=tuple((name, text) for name, text in texts.items() if name not in VOLATILE),
        ignored=tuple((name, text) for name, text in texts.items() if name in VOLATILE),
        rows=tuple(rows),
    )
