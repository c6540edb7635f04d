"""The SHA-256 of the file behind a finding: shown by the finding itself, or by its stored triage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleetscan.domain.paths import normalise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetscan.domain.entity import Entity

_HASHES = "dll-hash"
"""Name of the triage query that hashes a finding's DLL."""


@dataclass(frozen=True, slots=True)
class FileHashes:
    """What triage answered, by fingerprint."""

    triages: Mapping[str, Mapping[str, Any]]

    def of(self, fingerprint: str, entity: Entity) -> str:
        """The hash, in hex; empty where nobody asked, or where triage saw another file than the one named now."""
        own = entity.get("sha256")
        if own:
            return own
        wanted = entity.get("dll")
        rows = _rows(self.triages.get(fingerprint, {})) if wanted else ()
        return next((row["sha256"] for row in rows if normalise(row["path"]).token == wanted), "")


def _rows(record: Mapping[str, Any]) -> list[dict[str, str]]:
    replies = record.get("replies")
    found = [one.get("rows") for one in replies if one.get("query") == _HASHES] if isinstance(replies, list) else []
    rows = (row for rows in found if isinstance(rows, list) for row in rows if isinstance(row, dict))
    return [row for row in rows if isinstance(row.get("path"), str) and isinstance(row.get("sha256"), str)]
