"""Whose hives were there to be read, and the flag by which a user's signature checks are weakened."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fleetscan.domain.entity import Entity, Flag
from fleetscan.domain.loadable import repeated
from fleetscan.domain.winsock import dword
from fleetscan.model.finding import Severity
from fleetscan.model.registry import HKLM, HKU, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetscan.domain.keys import Node

SYSTEM_SID = "S-1-5-18"
_PERSONS = ("S-1-5-21-", "S-1-12-1-")
_PROFILES = ("SOFTWARE", "Microsoft", "Windows NT", "CurrentVersion", "ProfileList")
_FLAG_KEY = (
    "Software", "Microsoft", "Windows", "CurrentVersion", "WinTrust", "Trust Providers", "Software Publishing",
)  # fmt: skip
_WAYS = frozenset(fold("\\".join(_FLAG_KEY[:length])) for length in range(len(_FLAG_KEY) + 1))
"""The keys of a hive that lead to the flag, which every user has: none of them is empty."""


def is_person(sid: str) -> bool:
    """Is it an account that can log on (local, domain or Entra ID)?"""
    return sid.upper().startswith(_PERSONS)


def sid_of(key: str) -> str:
    """The user whose hive a key lies in, with ``.DEFAULT`` as its real name; empty outside HKEY_USERS."""
    root, _, rest = key.partition("\\")
    if fold(root) != HKU:
        return ""
    name = rest.partition("\\")[0]
    if name.upper().endswith("_CLASSES"):
        name = name[: -len("_CLASSES")]
    return SYSTEM_SID if name.upper() == ".DEFAULT" else name


def decode_users(tree: Node, unproven: Iterable[str]) -> Iterator[Entity]:
    """One entity for every person known or loaded, and one for every state flag."""
    hives = tree.find(HKU)
    loaded = {fold(node.name): node for node in hives.children.values() if node.listing} if hives else {}
    profiles = tree.find(HKLM, *_PROFILES)
    known = {fold(node.name): node for node in profiles.children.values()} if profiles else {}
    closed = _closed(unproven)
    for sid in sorted({*loaded, *known, *closed}):
        node = loaded.get(sid) or known.get(sid)
        if is_person(sid) and not sid.endswith("_CLASSES") and node is not None:
            yield _user(node, is_loaded=sid in loaded, is_known=sid in known or not known, closed=closed.get(sid, ""))
    for node in hives.children.values() if hives else ():
        yield from _flag(node, has_system=hives is not None and hives.find(SYSTEM_SID) is not None)


def _closed(unproven: Iterable[str]) -> dict[str, str]:
    """The unread key of every hive that could not be entered: the hive itself or a key on the way to what is read."""
    found: dict[str, str] = {}
    for key in sorted(unproven):
        root, _, rest = key.partition("\\")
        user, _, below = rest.partition("\\")
        if fold(root) == HKU and user and fold(below) in _WAYS and not fold(user).endswith("_CLASSES"):
            found.setdefault(fold(sid_of(key)), key)
    return found


def _user(node: Node, *, is_loaded: bool, is_known: bool, closed: str) -> Entity:
    flags: tuple[Flag, ...] = ()
    if is_loaded and not is_known:
        text = "the hive is loaded, but ProfileList does not know the user: a temporary or mandatory profile"
        flags = (Flag("no profile", text, Severity.INFO),)
    return Entity(
        kind="user",
        identity=(("sid", node.name),),
        attributes=(("hive", "loaded" if is_loaded else "not loaded"),),
        keys=(node.path,),
        rows=tuple(node.listing),
        flags=flags,
        incomplete=f"the hive is loaded, but {closed} gave no row" if closed and is_loaded else "",
    )


def _flag(node: Node, *, has_system: bool) -> Iterator[Entity]:
    if node.name.upper() == ".DEFAULT" and has_system:
        return  # the two names are one hive
    key = node.find(*_FLAG_KEY)
    rows = tuple(row for row in key.values if fold(row.name) == "STATE") if key else ()
    if not rows:
        return
    sid = SYSTEM_SID if node.name.upper() == ".DEFAULT" else node.name
    yield Entity(
        kind="wintrust_flag",
        identity=(("sid", sid),),
        attributes=(("state", dword(rows[0])),),
        keys=(rows[0].key,),
        rows=rows,
        flags=tuple(replace(flag, severity=Severity.LOW) for flag in repeated(key.values_by_name())) if key else (),
        title="how strictly signatures are checked for this user",
    )
