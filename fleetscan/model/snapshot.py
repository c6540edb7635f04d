"""What a host answered: rows and a status for every scope, facts about the host, and the raw answers as evidence."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fleetscan.model.host import HostId
    from fleetscan.model.registry import RegistryRow


class Reason(StrEnum):
    """Why a host or a scope is not covered; every value is documented for users."""

    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    AUTH = "auth"
    HOST_KEY_UNKNOWN = "host key unknown"  # never pinned: nobody has vouched for this host yet
    HOST_KEY_CHANGED = "host key changed"
    HOST_KEY_REVOKED = "host key revoked"
    HOST_KEY = "host key"  # any of the three, in stores and recordings that did not tell them apart
    NO_OSQUERY = "no osquery"
    OSQUERY_ERROR = "osquery error"
    DENYLISTED = "denylisted"
    TRUNCATED = "truncated"
    PROTOCOL = "protocol"  # the answer does not follow the protocol: noise, wrong nonce, invalid JSON or UTF-8
    TOO_LARGE = "too large"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    CONNECTION = "connection"  # any other network failure
    UNREADABLE = "unreadable"  # a hive or export that cannot be read at all
    DAMAGED = "damaged"  # a hive of which only a part can be read
    NO_HIVE = "no hive"  # offline: the collection lacks the hive that holds the scope
    UNPROVEN = "unproven keys"  # listed by their parent, but they gave no row
    HIDDEN = "hidden"  # something stands where the table cannot show it
    NOT_LOADED = "profile not loaded"
    NOT_ELEVATED = "not elevated"  # the account that asked may not read it
    NOT_ASKED = "not asked"
    NOT_ANSWERABLE = "not answerable"  # a detection: the host, or its hives, have no such table or column
    INTERNAL = "internal error"  # a bug of fleetscan; its debug log holds the traceback


KEY_REFUSALS = frozenset({Reason.HOST_KEY_UNKNOWN, Reason.HOST_KEY_CHANGED, Reason.HOST_KEY_REVOKED, Reason.HOST_KEY})
"""The host was refused because of its key, before anything was asked of it."""

_AT_JUMP = re.compile(r"(?:\S+: )?jump host (\S+): (.+)", re.DOTALL)


def at_jump(jump: str, what: str) -> str:
    """What is told of a host that was not reached because of a jump host before it."""
    return f"jump host {jump}: {what}"


def jump_of(detail: str) -> tuple[str, str]:
    """The jump host of which ``detail`` speaks, empty for none, and what is the matter there."""
    match = _AT_JUMP.fullmatch(detail)
    return (match[1], match[2]) if match else ("", detail)


@dataclass(frozen=True, slots=True)
class Complete:
    """Everything that the scope holds was returned, as far as the engine can show it."""


@dataclass(frozen=True, slots=True)
class Partial:
    """Some of the scope is not covered."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nothing of the scope is covered."""

    reason: Reason
    detail: str = ""


Status = Complete | Partial | Unreachable


def is_gap(status: Status) -> TypeGuard[Partial | Unreachable]:
    """Is something not covered that could be? What a host has no table for is not answerable, and no gap."""
    return not isinstance(status, Complete) and status.reason is not Reason.NOT_ANSWERABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeResult:
    """The answer for one scope on one host. ``unproven`` are keys that a parent listed but that gave no row."""

    scope_id: str
    status: Status
    rows: tuple[RegistryRow, ...] = ()
    unproven: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BlindSpot:
    """A place where the table hides something, seen by an engine that can look behind it (or by its traces).

    ``kind`` is one of: values behind an empty value, name with NUL, 255-character name, unreachable twin, REG_NONE
    payload, link, damage, ... ``key`` is the key's full text; ``detail`` says in words what is hidden, ``rows`` is what
    was found there (at most a few hundred; none where the engine knows only that something is hidden).
    """

    kind: str
    key: str
    detail: str
    rows: tuple[RegistryRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host says about itself; empty text where it did not say."""

    osquery_version: str = ""
    os_name: str = ""
    os_version: str = ""
    os_build: str = ""
    arch: str = ""
    hostname: str = ""
    environment: Mapping[str, str] | None = None
    """Environment that expands REG_EXPAND_SZ on that host; None: the documented default of SYSTEM."""
    current_control_set: int | None = None
    """``HKLM\\SYSTEM\\Select`` value ``Current``."""
    profiles_known: tuple[str, ...] = ()
    """SIDs of ProfileList."""
    profiles_loaded: tuple[str, ...] = ()
    """SIDs below HKEY_USERS, without ``_Classes``."""
    extra: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Whatever else is known: ``account`` and ``account_id`` of who asked, ``elevated`` (yes or no), hardware..."""

    @property
    def lacks_elevation(self) -> bool:
        """Is it known that the account that asked was not elevated?"""
        return self.extra.get("elevated") == "no"

    @property
    def limits(self) -> str:
        """What the account that asked could not see, in words; empty where it could, and where nobody knows."""
        if not self.lacks_elevation:
            return ""
        account = self.extra.get("account", "")
        who = f"the account {account} is" if account else "the account that asked is"
        return f"{who} not elevated: SECURITY, SAM and the hives of other users cannot be read"


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """The bytes a statement was answered with: the end of every chain of evidence."""

    statement_id: str
    sha256: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult:
    """Everything one host gave in one sweep; each planned scope has exactly one ScopeResult."""

    host: HostId
    facts: HostFacts
    scopes: tuple[ScopeResult, ...]
    started: datetime
    finished: datetime
    raw: tuple[RawAnswer, ...] = ()
    blind_spots: tuple[BlindSpot, ...] = ()
