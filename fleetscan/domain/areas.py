"""What the domain checks need beyond the scopes of the rules: added to every plan, whatever the rules ask.

Each area is one scope, so that the blocks of two sweeps stay comparable when the rules change.
"""

from __future__ import annotations

from fleetscan.model.registry import HKLM, HKU
from fleetscan.model.scope import SID, Glob, RowFilter, Scope

_SERVICES = ("SYSTEM", "CurrentControlSet", "Services")
_CRYPTOGRAPHY = ("Microsoft", "Cryptography")
_ANY = Glob("*")

AREAS: tuple[Scope, ...] = (
    Scope(HKLM, ("SOFTWARE", *_CRYPTOGRAPHY, "OID"), None),
    Scope(HKLM, ("SOFTWARE", *_CRYPTOGRAPHY, "Providers"), None),
    Scope(HKLM, ("SOFTWARE", *_CRYPTOGRAPHY, "Wintrust", "Config"), 0),
    Scope(HKLM, ("SOFTWARE", "WOW6432Node", *_CRYPTOGRAPHY, "OID"), None),
    Scope(HKLM, ("SOFTWARE", "WOW6432Node", *_CRYPTOGRAPHY, "Providers"), None),
    Scope(HKLM, ("SOFTWARE", "WOW6432Node", *_CRYPTOGRAPHY, "Wintrust", "Config"), 0),
    Scope(HKLM, (*_SERVICES, "WinSock2", "Parameters"), None),
    Scope(HKLM, (*_SERVICES, "Winsock", "Parameters"), 0),
    Scope(HKLM, (*_SERVICES, _ANY, "Parameters", "Winsock"), 0),
    Scope(
        HKLM,
        ("SOFTWARE", "Microsoft", "Windows NT", "CurrentVersion"),
        0,
        RowFilter.of_names("CurrentBuild", "CurrentBuildNumber", "CurrentVersion", "InstallationType", "ProductName"),
    ),
    Scope(HKLM, ("SOFTWARE", "Microsoft", "Windows NT", "CurrentVersion", "ProfileList"), 0),
    Scope(HKU, (), 0),
    Scope(HKU, (SID, "Software", *_CRYPTOGRAPHY, "OID"), None),
    Scope(HKU, (SID, "Software", *_CRYPTOGRAPHY, "Providers"), None),
    Scope(HKU, (SID, "Software", "WOW6432Node", *_CRYPTOGRAPHY, "OID"), None),
    Scope(HKU, (SID, "Software", "WOW6432Node", *_CRYPTOGRAPHY, "Providers"), None),
    Scope(
        HKU,
        (
            SID,
            "Software",
            "Microsoft",
            "Windows",
            "CurrentVersion",
            "WinTrust",
            "Trust Providers",
            "Software Publishing",
        ),
        0,
    ),
)
"""The domain scope set; part of ``Plan.scopes`` of every plan (``extra_scopes``)."""
