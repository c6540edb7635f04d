"""Hosts that were refused because of their key: a finding of its own, because somebody may stand in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.domain.entity import Entity
from fleetscan.domain.verdicts import Judged, unknown
from fleetscan.model.finding import Severity, What
from fleetscan.model.snapshot import Complete, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fleetscan.findings.reading import HostGroup
    from fleetscan.model.host import HostId
    from fleetscan.store.interface import Cell

KIND = "host_key"


def refusal(cells: Iterable[Cell]) -> str | None:
    """In words, why the host's key was refused; None if it was not."""
    for cell in cells:
        if not isinstance(cell.status, Complete) and cell.status.reason is Reason.HOST_KEY:
            return cell.status.detail or "its host key was refused"
    return None


def refusals(groups: Iterable[HostGroup]) -> Mapping[HostId, str]:
    """The refused hosts, each with the reason."""
    return {host: why for group in groups if (why := refusal(group.cells)) is not None for host in group.hosts}


def refused_host(host: HostId, why: str) -> Judged:
    """The matter of one refused host; what the host showed is compared, so that another key is a change."""
    entity = Entity(kind=KIND, identity=(("host", host),), attributes=(("state", why),))
    verdict = unknown(
        f"{why}: the host was not asked; compare the key before it is trusted", Severity.HIGH, What.SUSPICIOUS
    )
    return Judged(entity, verdict)
