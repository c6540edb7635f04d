"""Hosts that were refused because of their key: a finding of its own, because somebody may stand in between.

A key that changed or was revoked is a sign of that. A key that was never pinned is none: nobody has vouched for the
host yet, which leaves it uncovered, as said, and is only worth a look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.domain.entity import Entity
from fleetscan.domain.verdicts import Judged, unknown
from fleetscan.model.finding import Severity, What
from fleetscan.model.snapshot import KEY_REFUSALS, Complete, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fleetscan.findings.reading import HostGroup
    from fleetscan.model.host import HostId
    from fleetscan.store.interface import Cell

KIND = "host_key"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a host's key was refused, in a word and in words that name the key it showed."""

    reason: Reason
    why: str


def refusal(cells: Iterable[Cell]) -> Refusal | None:
    """Why the host's key was refused; None if it was not."""
    for cell in cells:
        if not isinstance(cell.status, Complete) and cell.status.reason in KEY_REFUSALS:
            return Refusal(cell.status.reason, cell.status.detail or "its host key was refused")
    return None


def refusals(groups: Iterable[HostGroup]) -> Mapping[HostId, Refusal]:
    """The refused hosts."""
    return {host: why for group in groups if (why := refusal(group.cells)) is not None for host in group.hosts}


def refused_host(host: HostId, refused: Refusal) -> Judged:
    """The matter of one refused host; what the host showed is compared, so that another key is a change."""
    entity = Entity(kind=KIND, identity=(("host", host),), attributes=(("state", refused.why),))
    if refused.reason is Reason.HOST_KEY_UNKNOWN:
        why = f"{refused.why}: nobody has vouched for this host yet; it was not asked and is not covered until trusted"
        return Judged(entity, unknown(why, Severity.LOW))
    why = f"{refused.why}: the host was not asked; compare the key before it is trusted"
    return Judged(entity, unknown(why, Severity.HIGH, What.SUSPICIOUS))
