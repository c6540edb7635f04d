"""What people read in place of an entity's kind and identity: words for numbers, and no number without a word."""

from __future__ import annotations

from collections.abc import Mapping

Words = Mapping[str, str]

KINDS: Words = {
    "sip": "SIP",
    "trust": "trust provider",
    "oid_other": "OID function",
    "winsock_protocol": "Winsock protocol",
    "winsock_namespace": "Winsock name space",
    "winsock_netbios": "Winsock NetBIOS protocol",
    "winsock_catalog": "Winsock catalogue of",
    "winsock_scalar": "Winsock setting",
    "winsock_appid": "Winsock program",
    "winsock_helper": "Winsock helper of",
    "winsock_dormant": "Winsock catalogue out of use",
    "user": "user",
    "wintrust_flag": "signature checks of user",
    "area": "area",
    "registry_value": "value",
    "registry_key": "key",
    "file": "file",
    "module": "module",
    "detection": "detection",
    "host_key": "key of host",
    "jump_key": "key of jump host",
}
"""The noun of every kind; another kind stands for itself."""

_FAMILIES: Words = {"2": "IPv4", "17": "NetBIOS", "23": "IPv6", "32": "Bluetooth", "34": "Hyper-V"}
_TYPES: Words = {"1": "stream", "2": "datagram", "3": "raw", "4": "reliable datagram", "5": "packet stream"}
_INTERNET: Words = {"0": "any protocol", "1": "ICMP", "6": "TCP", "17": "UDP", "58": "ICMPv6"}
_PROTOCOLS: Mapping[str, Words] = {"2": _INTERNET, "23": _INTERNET, "32": {"3": "RFCOMM", "256": "L2CAP"}}
_NAMESPACES: Words = {
    "12": "DNS", "13": "NetBT", "14": "WINS", "15": "NLA", "16": "Bluetooth", "19": "local names", "32": "NTDS",
    "37": "e-mail", "38": "PNRP names", "39": "PNRP clouds",
}  # fmt: skip
"""Numbers of winsock2.h and nspapi.h."""
_VIEWS: Words = {"32": "32-bit", "64": "64-bit"}
_CATALOGS: Words = {"protocol": "protocols", "namespace": "name spaces"}
_NAMED: Mapping[str, Words] = {
    "view": _VIEWS,
    "family": _FAMILIES,
    "type": _TYPES,
    "namespace": _NAMESPACES,
    "catalog": _CATALOGS,
}
_FIELDS: Words = {"type": "socket type", "namespace": "name space", "id": "number"}
"""How a field is called beside a number that has no name."""


def label(kind: str, identity: tuple[tuple[str, str], ...], title: str) -> str:
    """Kind and identity in one line, with the known name if there is one."""
    fields = dict(identity)
    if kind == "registry_value":
        shown = f"{fields.get('key', '')}: {fields.get('name') or '(default)'}"
    else:
        shown = " ".join(filter(None, (_word(name, value, fields) for name, value in identity)))
    return f"{KINDS.get(kind, kind)} {shown}" + (f" ({title})" if title else "")


def _word(name: str, value: str, identity: Words) -> str:
    if name == "chain":
        return "" if value == "base" else value
    if name == "chain_providers":
        return f"over {value.replace(',', ', ')}"
    names = _PROTOCOLS.get(identity.get("family", ""), {}) if name == "protocol" else _NAMED.get(name, {})
    if value in names:
        return names[value]
    return f"{_FIELDS.get(name, name)} {value}" if value.lstrip("-").isdecimal() else value
