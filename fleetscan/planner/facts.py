"""What every plan asks a host about itself, and how the answers become HostFacts; no fact is needed by any scope."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from fleetscan.model.environment import completed
from fleetscan.model.registry import fold
from fleetscan.model.snapshot import HostFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Rows = Sequence[Mapping[str, str]]

FACTS: Mapping[str, str] = MappingProxyType(
    {
        "facts-osquery": "SELECT version, build_platform, build_distro FROM osquery_info",
        "facts-os": "SELECT name, version, build, platform, arch FROM os_version",
        "facts-system": "SELECT hostname, computer_name, uuid, hardware_vendor, hardware_model FROM system_info",
        "facts-control-set": (
            "SELECT key, name, type, data FROM registry WHERE key = 'HKEY_LOCAL_MACHINE\\SYSTEM\\Select'"
        ),
        "facts-profiles": (
            "SELECT key, name, type FROM registry WHERE key = "
            "'HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\ProfileList'"
        ),
        "facts-users": "SELECT key, name, type FROM registry WHERE key = 'HKEY_USERS'",
        "facts-environment": "SELECT variable, value FROM default_environment",
        # Not joined with users for a name: on a domain controller that lists every account of the domain.
        "facts-scanner": (
            "SELECT p.uid AS uid, p.euid AS euid, p.elevated_token AS elevated_token"
            " FROM osquery_info AS i CROSS JOIN processes AS p WHERE p.pid = i.pid"
        ),
    }
)
"""Statement ids and their SQL. A table that an old agent lacks fails alone.

Nothing that differs from run to run (clock, uptime, process start): raw answers are kept by content, and an unchanged
host must not cost the store a new one in every sweep.
"""

_CLASSES = "_CLASSES"
_SERVICES = {"18": "SYSTEM", "19": "LOCAL SERVICE", "20": "NETWORK SERVICE"}
"""Accounts that every Windows has, by the last number of their SID."""


def host_facts(rows_of: Callable[[str], Rows]) -> HostFacts:
    """HostFacts from the rows of the fact statements; ``rows_of`` gives none for what was not answered."""
    osquery, system = _first(rows_of("facts-osquery")), _first(rows_of("facts-os"))
    machine = _first(rows_of("facts-system"))
    environment = {row.get("variable", ""): row.get("value", "") for row in rows_of("facts-environment")}
    extra = {
        "hardware_vendor": machine.get("hardware_vendor", ""),
        "hardware_model": machine.get("hardware_model", ""),
        "uuid": machine.get("uuid", ""),
        **_scanner(_first(rows_of("facts-scanner"))),
    }
    return HostFacts(
        osquery_version=osquery.get("version", ""),
        os_name=system.get("name", ""),
        os_version=system.get("version", ""),
        os_build=system.get("build", ""),
        arch=system.get("arch", ""),
        hostname=machine.get("hostname", "") or machine.get("computer_name", ""),
        environment=completed(environment) if environment else None,
        current_control_set=_control_set(rows_of("facts-control-set")),
        profiles_known=_subkeys(rows_of("facts-profiles")),
        profiles_loaded=tuple(
            name
            for name in _subkeys(rows_of("facts-users"))
            if not fold(name).endswith(_CLASSES) and fold(name) != ".DEFAULT"
        ),
        extra=MappingProxyType({name: value for name, value in extra.items() if value}),
    )


def _first(rows: Rows) -> Mapping[str, str]:
    return rows[0] if rows else {}


def _scanner(row: Mapping[str, str]) -> Mapping[str, str]:
    """Who osquery runs as, and whether elevated: told by the token on Windows, by being root elsewhere."""
    user, token = row.get("uid", ""), row.get("elevated_token", "")
    if token:
        elevated = {"1": "yes", "0": "no"}.get(token, "")
        return {"account": _SERVICES.get(user, ""), "account_id": user, "elevated": elevated}
    root = row.get("euid", "")
    return {"account_id": user, "elevated": "yes" if root == "0" else "no" if root.isdecimal() else ""}


def _subkeys(rows: Rows) -> tuple[str, ...]:
    return tuple(sorted(row.get("name", "") for row in rows if row.get("type") == "subkey"))


def _control_set(rows: Rows) -> int | None:
    for row in rows:
        data = row.get("data", "")
        if fold(row.get("name", "")) == "CURRENT" and data.isascii() and data.isdigit():
            return int(data)
    return None
