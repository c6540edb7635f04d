"""What people read of an entity: every kind has a noun, and no number stands without a word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fleetscan
from fleetscan.domain.entity import Entity
from fleetscan.domain.labels import KINDS

GUID = "E70F1AA0-AB8B-11CF-8CA3-00805F48A192"
LABELS = {
    "sip native CryptSIPDllVerifyIndirectData 603BCC1F": "SIP native CryptSIPDllVerifyIndirectData 603BCC1F",
    "trust native FinalPolicy 00AAC56B": "trust provider native FinalPolicy 00AAC56B",
    "oid_other view=native encoding=EncodingType_1 set=CryptDllEncodeObject id=1000": (
        "OID function native EncodingType_1 CryptDllEncodeObject number 1000"
    ),
    "oid_other id=1.3.6.1.4.1.311": "OID function 1.3.6.1.4.1.311",
    f"winsock_protocol view=64 provider={GUID} family=2 type=1 protocol=6 chain=base": (
        f"Winsock protocol 64-bit {GUID} IPv4 stream TCP"
    ),
    "winsock_protocol view=32 provider=X family=23 type=2 protocol=17 chain=layered": (
        "Winsock protocol 32-bit X IPv6 datagram UDP layered"
    ),
    "winsock_protocol view=64 family=32 type=1 protocol=3 chain=chain chain_providers=A,?": (
        "Winsock protocol 64-bit Bluetooth stream RFCOMM chain over A, ?"
    ),
    "winsock_protocol view=64 family=99 type=8 protocol=-2147483648 chain=base": (
        "Winsock protocol 64-bit family 99 socket type 8 protocol -2147483648"
    ),
    "winsock_protocol view=64 entry=000000000007": "Winsock protocol 64-bit entry 000000000007",
    "winsock_namespace view=32 provider=X namespace=12": "Winsock name space 32-bit X DNS",
    "winsock_namespace view=32 provider=X namespace=77": "Winsock name space 32-bit X name space 77",
    "winsock_netbios view=64 provider=X type=2": "Winsock NetBIOS protocol 64-bit X datagram",
    "winsock_catalog catalog=protocol view=32": "Winsock catalogue of protocols 32-bit",
    "winsock_scalar name=AutodialDLL": "Winsock setting AutodialDLL",
    "winsock_appid name=06EBDCB1": "Winsock program 06EBDCB1",
    "winsock_appid name=12345678": "Winsock program name 12345678",
    "winsock_helper service=Tcpip": "Winsock helper of Tcpip",
    "winsock_dormant key=HKLM\\X": "Winsock catalogue out of use HKLM\\X",
    "user sid=S-1-5-21-1": "user S-1-5-21-1",
    "wintrust_flag sid=S-1-5-21-1": "signature checks of user S-1-5-21-1",
    "area key=HKLM\\X": "area HKLM\\X",
    "registry_value key=HKLM\\Run name=1": "value HKLM\\Run: 1",
    "registry_value key=HKLM\\Run name=": "value HKLM\\Run: (default)",
    "registry_key key=HKLM\\Run": "key HKLM\\Run",
    "file path=C:\\x.ini": "file C:\\x.ini",
    "module path=C:\\x.dll": "module C:\\x.dll",
    "detection query=q row=7": "detection q row 7",
    "host_key host=ws-01": "key of host ws-01",
    "jump_key host=[gate]:2222": "key of jump host [gate]:2222",
}
BARE = {"sip": ("view", "set", "id"), "trust": ("view", "step", "id")}


def entity(words: str, title: str = "") -> Entity:
    """An entity of a kind and ``field=value`` words."""
    kind, *parts = words.split(" ")
    names = BARE.get(kind, ())
    pairs = [part.split("=", 1) if "=" in part else (names[place], part) for place, part in enumerate(parts)]
    return Entity(kind=kind, identity=tuple((name, value) for name, value in pairs), title=title)


@pytest.mark.parametrize("words", LABELS)
def test_a_label_is_made_for_people(words: str) -> None:
    assert entity(words).label == LABELS[words]
    assert entity(words, "known as").label == f"{LABELS[words]} (known as)"


def test_every_kind_has_a_noun_and_an_example_here() -> None:
    sources = Path(fleetscan.__file__).parent.glob("domain/*.py")
    kinds = {kind for file in sources for kind in re.findall(r'kind="([a-z_0-9]+)"', file.read_text(encoding="utf-8"))}
    assert kinds <= KINDS.keys()
    assert KINDS.keys() == {words.split(" ")[0] for words in LABELS}
