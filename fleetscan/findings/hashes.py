"""The SHA-256 of the file behind a finding: shown by the finding itself, or by its stored triage.

A triage speaks for the days around it and not for ever: the file may have been exchanged since, under the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fleetscan.domain.paths import normalise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetscan.domain.entity import Entity

_HASHES = "dll-hash"
"""Name of the triage query that hashes a finding's DLL."""

TRIAGE_HOLDS = timedelta(days=30)
"""How far a triage may be from a sweep, before or after it, to say what its files were."""


@dataclass(frozen=True, slots=True)
class FileHashes:
    """What triage answered, by fingerprint, as it counts for a sweep that began at ``swept``."""

    triages: Mapping[str, Mapping[str, Any]]
    swept: datetime

    def of(self, fingerprint: str, entity: Entity) -> str:
        """The hash, in hex; empty where nobody asked, too long ago, or where triage saw another file than this."""
        own = entity.get("sha256")
        if own:
            return own
        wanted = entity.get("dll")
        record = self.triages.get(fingerprint, {})
        rows = _rows(record) if wanted and self._holds(record) else ()
        return next((row["sha256"] for row in rows if normalise(row["path"]).token == wanted), "")

    def _holds(self, record: Mapping[str, Any]) -> bool:
        try:
            taken = datetime.strptime(str(record.get("taken")), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            return False
        return abs(self.swept - taken) <= TRIAGE_HOLDS


def _rows(record: Mapping[str, Any]) -> list[dict[str, str]]:
    replies = record.get("replies")
    found = [one.get("rows") for one in replies if one.get("query") == _HASHES] if isinstance(replies, list) else []
    rows = (row for rows in found if isinstance(rows, list) for row in rows if isinstance(row, dict))
    return [row for row in rows if isinstance(row.get("path"), str) and isinstance(row.get("sha256"), str)]
