"""What was judged, as plain records: findings, changes and entities as the report layers hand them to the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetscan.model.host import HostId


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRecord:
    """One finding. ``state`` is new, still there, changed, gone or approved; ``details`` is any JSON.

    ``fingerprint`` is empty for what hosts share (see Shared).
    """

    host: HostId
    fingerprint: str
    rule_id: str
    rule_title: str = ""
    severity: str
    certainty: str = ""
    state: str = ""
    verdict: str = ""
    """What known good says: expected, unknown, hijack pattern, structural..."""
    entity_kind: str = ""
    entity: str = ""
    """Identity of the entity, as text."""
    key: str = ""
    """Registry path of the row that decides."""
    summary: str = ""
    techniques: tuple[str, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Does somebody still have to look at it? Then its evidence is never pruned."""
        return self.state not in {"gone", "approved"} and self.severity != "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRecord:
    """One change of an entity against a baseline. ``kind`` is added, removed, modified, replaced or not comparable."""

    host: HostId
    kind: str
    entity_kind: str
    entity: str
    base: str = ""
    """Id of the sweep it was compared with."""
    attribute: str = ""
    before: str = ""
    after: str = ""
    summary: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRecord:
    """One decoded entity of a host."""

    host: HostId
    kind: str
    identity: str
    attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JudgedWith:
    """What the findings of a sweep were made with: the name of a baseline, if any, and the places of approvals."""

    baseline: str = ""
    approvals: tuple[str, ...] = ()


R = TypeVar("R", FindingRecord, ChangeRecord, EntityRecord)


@dataclass(frozen=True, slots=True)
class Shared(Generic[R]):
    """The same records on many hosts, known-good rows above all: kept once, whatever the number of hosts.

    The host of each record is not looked at, nor is its fingerprint, which is of one host by its nature.
    """

    hosts: tuple[HostId, ...]
    records: tuple[R, ...]
