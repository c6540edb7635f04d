"""What a plan costs in registry calls, before any host is asked (osquery-registry.md section 5).

A key with S subkeys and V values costs 2 + S + 3V calls, a missing key one. How many keys a wildcard stands for is an
assumption about a Windows 10 workstation, stated in FAN_OUT; a host may differ from it by a factor of a few.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.model.registry import HKU, fold
from fleetscan.model.scope import Glob

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fleetscan.model.scope import Scope
    from fleetscan.planner.plan import Plan

USER_HIVES = 3
FAN_OUT = {
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\CLASSES": 5_000,
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\CLASSES\\CLSID": 7_000,
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\CLASSES\\APPID": 600,
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\CLASSES\\INTERFACE": 20_000,
    "HKEY_LOCAL_MACHINE\\SYSTEM\\CURRENTCONTROLSET\\SERVICES": 700,
    "HKEY_LOCAL_MACHINE\\SYSTEM\\CURRENTCONTROLSET\\CONTROL\\CLASS": 90,
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\MICROSOFT\\WINDOWS\\CURRENTVERSION\\UNINSTALL": 100,
}
"""Subkeys of well-known keys."""
OTHER_FAN_OUT = 15
BELOW = {
    "HKEY_LOCAL_MACHINE": 600_000,
    "HKEY_LOCAL_MACHINE\\SOFTWARE": 450_000,
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\CLASSES": 130_000,
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\CLASSES\\CLSID": 35_000,
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\WOW6432NODE": 60_000,
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\MICROSOFT": 250_000,
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\MICROSOFT\\WINDOWS\\CURRENTVERSION": 150_000,
    "HKEY_LOCAL_MACHINE\\SYSTEM": 60_000,
    "HKEY_LOCAL_MACHINE\\SYSTEM\\CURRENTCONTROLSET": 45_000,
    "HKEY_LOCAL_MACHINE\\SYSTEM\\CURRENTCONTROLSET\\SERVICES": 4_000,
    "HKEY_LOCAL_MACHINE\\SYSTEM\\CURRENTCONTROLSET\\CONTROL": 12_000,
    "HKEY_USERS": 40_000,
}
"""Keys of well-known subtrees."""
OTHER_BELOW = 60
CALLS_OF_KEY = 20
"""2 + S + 3V for a key with three subkeys and five values."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Keys read and registry calls made on one host."""

    keys: int
    calls: int

    def __add__(self, other: Estimate) -> Estimate:
        """Both together, as if they shared no key."""
        return Estimate(self.keys + other.keys, self.calls + other.calls)

    def __str__(self) -> str:
        """Rounded to what the assumptions allow."""
        return f"about {_rounded(self.keys)} keys, {_rounded(self.calls)} registry calls"


def scope_cost(scope: Scope) -> Estimate:
    """The keys of one scope, with its own fan-out."""
    keys, known = 1, scope.root
    for element in scope.elements:
        if isinstance(element, Glob):
            keys *= _fan_out(known, element)
            known += "\\*"
        else:
            known += "\\" + fold(element)
    if scope.depth is None:
        keys *= BELOW.get(known, OTHER_BELOW)
    elif scope.depth:
        keys *= sum(OTHER_FAN_OUT**level for level in range(scope.depth + 1))
    return Estimate(keys, keys * CALLS_OF_KEY)


def _fan_out(known: str, element: Glob) -> int:
    if known == HKU:
        return USER_HIVES
    every = FAN_OUT.get(known, OTHER_FAN_OUT)
    # A prefix or suffix takes a few of them.
    return every if element.text == "*" else max(1, every // 10)


def scopes_cost(scopes: Iterable[Scope]) -> Estimate:
    """The keys of several scopes; what one of them holds is not read again for another."""
    patterns = {scope.pattern: scope for scope in scopes}
    kept = [scope for scope in patterns.values() if not _is_held(scope, patterns)]
    return sum(map(scope_cost, kept), Estimate(0, 0))


def _is_held(scope: Scope, patterns: dict[str, Scope]) -> bool:
    """Is the scope part of a subtree that is read anyway?"""
    parts = scope.pattern.removesuffix("\\**").split("\\")
    above = ("\\".join(parts[:length]) + "\\**" for length in range(1, len(parts) + 1))
    return any(pattern in patterns and pattern != scope.pattern for pattern in above)


def plan_cost(plan: Plan) -> Estimate:
    """The whole plan on one host."""
    return scopes_cost(plan.scopes)


def _rounded(number: int) -> str:
    digits = len(str(number))
    step = 10 ** max(0, digits - 2)
    return f"{round(number / step) * step:,}"
