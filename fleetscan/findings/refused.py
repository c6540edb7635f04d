"""Hosts that were refused because of their key: a finding of its own, because somebody may stand in between.

A key that changed or was revoked is a sign of that. A key that was never pinned is none: nobody has vouched for the
host yet, which leaves it uncovered, as said, and is only worth a look. A jump host that is not trusted is one matter,
for all the hosts behind it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.domain.entity import Entity
from fleetscan.domain.verdicts import Judged, unknown
from fleetscan.model.finding import Severity, What
from fleetscan.model.snapshot import KEY_REFUSALS, Complete, Reason, jump_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fleetscan.findings.reading import HostGroup
    from fleetscan.model.host import HostId
    from fleetscan.store.interface import Cell

KIND = "host_key"
JUMP_KIND = "jump_key"
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a key was refused, in a word and in words that name the key that was shown.

    ``jump`` is the jump host that showed it, empty for the host itself.
    """

    reason: Reason
    why: str
    jump: str = ""


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump host that was refused, with the hosts behind it, in order."""

    name: str
    refused: Refusal
    hosts: tuple[HostId, ...]


@dataclass(frozen=True, slots=True)
class Refusals:
    """Who was refused: hosts by their own key, and jump hosts by name."""

    hosts: Mapping[HostId, Refusal]
    jumps: Mapping[str, Jump]


def refusal(cells: Iterable[Cell]) -> Refusal | None:
    """Why the host's key, or that of a jump host before it, was refused; None if it was not."""
    for cell in cells:
        if not isinstance(cell.status, Complete) and cell.status.reason in KEY_REFUSALS:
            jump, why = jump_of(cell.status.detail)
            return Refusal(cell.status.reason, why or "its host key was refused", jump)
    return None


def refusals(groups: Iterable[HostGroup]) -> Refusals:
    """The refused hosts and jump hosts."""
    hosts: dict[HostId, Refusal] = {}
    behind: dict[str, list[tuple[HostId, Refusal]]] = defaultdict(list)
    for group in groups:
        if (refused := refusal(group.cells)) is None:
            continue
        if refused.jump:
            behind[refused.jump] += [(host, refused) for host in group.hosts]
        else:
            hosts |= dict.fromkeys(group.hosts, refused)
    return Refusals(hosts, {name: _jump(name, found) for name, found in sorted(behind.items())})


def _jump(name: str, found: list[tuple[HostId, Refusal]]) -> Jump:
    """One that refused hosts in several ways, because their files of pins differ, is told by the worst."""
    found.sort(key=lambda one: one[0])
    worst = min((refused for _, refused in found), key=lambda one: one.reason is Reason.HOST_KEY_UNKNOWN)
    return Jump(name, worst, tuple(host for host, _ in found))


def refused_host(host: HostId, refused: Refusal) -> Judged:
    """The matter of one refused host; what the host showed is compared, so that another key is a change."""
    entity = Entity(kind=KIND, identity=(("host", host),), attributes=(("state", refused.why),))
    if refused.reason is Reason.HOST_KEY_UNKNOWN:
        why = f"{refused.why}: nobody has vouched for this host yet; it was not asked and is not covered until trusted"
        return Judged(entity, unknown(why, Severity.LOW))
    why = f"{refused.why}: the host was not asked; compare the key before it is trusted"
    return Judged(entity, unknown(why, Severity.HIGH, What.SUSPICIOUS))


def refused_jump(jump: Jump) -> Judged:
    """The matter of one refused jump host, whatever the number of hosts behind it."""
    refused = jump.refused
    entity = Entity(kind=JUMP_KIND, identity=(("host", jump.name),), attributes=(("state", refused.why),))
    if refused.reason is Reason.HOST_KEY_UNKNOWN:
        why = f"{refused.why}: nobody has vouched for this jump host yet; {_behind(jump.hosts)}"
        return Judged(entity, unknown(why, Severity.LOW))
    why = f"{refused.why}: compare the key before it is trusted; {_behind(jump.hosts)}"
    return Judged(entity, unknown(why, Severity.HIGH, What.SUSPICIOUS))


def _behind(hosts: tuple[HostId, ...]) -> str:
    more = f" and {len(hosts) - _NAMED} more" if len(hosts) > _NAMED else ""
    noun = "1 host behind it was" if len(hosts) == 1 else f"{len(hosts)} hosts behind it were"
    return f"{noun} not asked: {', '.join(hosts[:_NAMED])}{more}"
