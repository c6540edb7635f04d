"""A detection's answer as rows of a scope of its own, so that it is stored, compared and counted like every other.

A detection is a query of which any row is a finding. Its scope's name begins with ``d-``; one row of its answer is kept
as a registry row whose key is that name, whose name is what the row is about, and whose data is the whole row as JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fleetscan.model.registry import RegistryRow

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPE = "detection"
_PREFIX = "d-"
_SUBJECTS = ("module", "path")
"""Columns that say what a row is about; a loaded module before the program that loaded it."""
VOLATILE = frozenset({"pid", "parent", "mtime", "atime", "ctime", "btime", "start_time", "time", "datetime"})
"""Columns that differ without anything having changed."""


def detection_id(name: str, digest: str) -> str:
    """Id of scope and statement of a detection."""
    return f"{_PREFIX}{name}-{digest[:8]}"


def is_detection(scope_id: str) -> bool:
    """Does the scope, or the statement, belong to a detection?"""
    return scope_id.startswith(_PREFIX)


def detection_row(scope_id: str, row: Mapping[str, str]) -> RegistryRow:
    """A row of the answer as it is kept."""
    name = next((row[column] for column in _SUBJECTS if row.get(column)), "") or " ".join(
        value for column, value in sorted(row.items()) if column not in VOLATILE
    )
    data = json.dumps(dict(row), ensure_ascii=False, sort_keys=True)
    return RegistryRow(scope_id, name, TYPE, data, f"{scope_id}\\{name}")


def columns_of(row: RegistryRow) -> Mapping[str, str]:
    """The columns of a kept row; none where it holds something else."""
    try:
        columns = json.loads(row.data)
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(value) for name, value in columns.items()} if isinstance(columns, dict) else {}
