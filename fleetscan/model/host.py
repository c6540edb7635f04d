"""A host of the inventory: who it is and how to reach it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NewType

if TYPE_CHECKING:
    from collections.abc import Mapping

HostId = NewType("HostId", str)
"""Inventory name of a host, unique in a sweep; the name under which its past is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine to ask. ``settings`` are the engine's own (address, user, path of hives...), never secrets."""

    id: HostId
    engine: str
    groups: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
