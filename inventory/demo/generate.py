"""Writes the demo fleet's .reg exports from the facts in known_good.yml: run it after changing either.

Each host is a base export (what its Windows release ships) and small overlays (what was installed or done to it), so
that a reader of the repository sees exactly what the attacker changed. Names and vendors are invented.
"""

from __future__ import annotations

import struct
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
KNOWN_GOOD = HERE.parents[1] / "fleetscan" / "domain" / "known_good.yml"
CRYPTOGRAPHY = r"HKEY_LOCAL_MACHINE\SOFTWARE{view}\Microsoft\Cryptography"
CURRENT_VERSION = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
WINSOCK = r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Services\WinSock2\Parameters"
SERVICES = r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Services"
VIEWS = {"": "System32", r"\WOW6432Node": "SysWOW64"}
FIRST_CATALOG_ID = 1001

Keys = dict[str, dict[str, str]]
"""Key to value name to the right-hand side of its .reg line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A Windows release: what known_good.yml calls it, and what its CurrentVersion key says."""

    file: str
    labels: frozenset[str]
    features: frozenset[str]
    product: str
    build: str
    display: str
    revision: int
    installation: str


RELEASES = (
    Release(
        file="base-win10-22h2",
        labels=frozenset({"any", "10", "10-1803+", "10-1903+", "10-22h2"}),
        features=frozenset({"bluetooth"}),
        product="Windows 10 Pro",
        build="19045",
        display="22H2",
        revision=5011,
        installation="Client",
    ),
    Release(
        file="base-win11-23h2-office",
        labels=frozenset({"any", "11", "10-1803+", "10-1903+"}),
        features=frozenset({"bluetooth", "office"}),
        product="Windows 10 Pro",  # what Windows 11 says there: it is told apart by its build
        build="22631",
        display="23H2",
        revision=4460,
        installation="Client",
    ),
    Release(
        file="base-server-2022",
        labels=frozenset({"any", "server-2022", "10-1803+", "10-1903+"}),
        features=frozenset(),
        product="Windows Server 2022 Standard",
        build="20348",
        display="21H2",
        revision=2849,
        installation="Server",
    ),
)


def text(value: str) -> str:
    """A REG_SZ."""
    return '"{}"'.format(value.replace("\\", "\\\\").replace('"', '\\"'))


def dword(value: int) -> str:
    """A REG_DWORD."""
    return f"dword:{value & 0xFFFFFFFF:08x}"


def binary(data: bytes, kind: str = "hex") -> str:
    """A value in hex, in lines of 25 bytes."""
    lines = [data[at : at + 25] for at in range(0, len(data), 25)]
    return f"{kind}:" + ",\\\r\n  ".join(",".join(f"{byte:02x}" for byte in line) for line in lines)


def expand(value: str) -> str:
    """A REG_EXPAND_SZ."""
    return binary((value + "\0").encode("utf-16-le"), "hex(2)")


def guid_bytes(guid: str) -> bytes:
    """A GUID as Windows stores it: the first three fields little-endian."""
    return uuid.UUID(guid).bytes_le


def load_facts() -> list[dict[str, Any]]:
    """The entries of known_good.yml."""
    entries = yaml.safe_load(KNOWN_GOOD.read_text(encoding="utf-8"))["entries"]
    if not isinstance(entries, list):
        raise TypeError(KNOWN_GOOD)
    return entries


def expected(entry: dict[str, Any], release: Release) -> bool:
    """Does that release ship the entry?"""
    return (
        bool(release.labels & set(entry["windows_versions"])) and set(entry.get("requires") or ()) <= release.features
    )


def dll_text(entry: dict[str, Any], function: str, folder: str) -> str:
    """The usual DLL text of a registration in the view of one bitness.

    Functions of wintrust stand under other providers' entries too. Office writes a bare name in the 32-bit view only.
    """
    if entry["dll"] == "wintrust.dll" or function.startswith(("Softpub", "Wintrust")):
        return "WINTRUST.DLL"
    if entry["dll"] == "mso.dll" and folder == "SysWOW64":
        return "mso.dll"
    usual = next(path for path in entry["paths"] if path != "{bare}")
    programs = r"C:\Program Files" if folder == "System32" else r"C:\Program Files (x86)"
    tokens = {"system32": rf"C:\Windows\{folder}", "windir": r"C:\Windows", "commonfiles": rf"{programs}\Common Files"}
    return str(usual.format(**tokens))


def crypto_keys(entry: dict[str, Any], view: str, folder: str) -> Keys:
    """SIP or trust registrations of one entry in one registry view."""
    root = CRYPTOGRAPHY.format(view=view)
    if entry["guid"] is None:
        values = {
            name: text(f"{{{data}}}" if name == "DefaultId" else data) for name, data in entry["functions"].items()
        }
        dll = text(dll_text(entry, "", folder))
        return {rf"{root}\Providers\Trust\Usages\{entry['oid']}": {"$DLL": dll} | values}
    place, names = (r"Providers\Trust", ("$DLL", "$Function"))
    if entry["kind"] == "sip":
        place, names = (r"OID\EncodingType 0", ("Dll", "FuncName"))
    return {
        rf"{root}\{place}\{step}\{{{entry['guid']}}}": dict(
            zip(names, (text(dll_text(entry, function, folder)), text(function)), strict=True)
        )
        for step, function in entry["functions"].items()
        if step not in (entry.get("optional_functions") or ())
    }


def packed_item(entry: dict[str, Any], *, catalog_id: int, library: str, chain: tuple[int, ...] | None = None) -> bytes:
    """A PackedCatalogItem: 888 bytes, as windows-domain section 4.2 lays them out."""
    chain_length = 1 if chain is None else len(chain)
    chain_ids = (chain or ()) + (0,) * (7 - len(chain or ()))
    name = entry["protocol_names"][0].encode("utf-16-le")
    return b"".join(
        (
            library.encode("ascii").ljust(260, b"\0"),
            struct.pack("<4I", int(str(entry["service_flags1"]), 16), 0, 0, 0),
            struct.pack("<I", int(str(entry["provider_flags"]), 16)),
            guid_bytes(entry["guid"]),
            struct.pack("<II7I", catalog_id, chain_length, *chain_ids),
            struct.pack(
                "<iiii", entry["catalog_version"], entry["address_family"], entry["max_sockaddr"], entry["min_sockaddr"]
            ),
            struct.pack("<iii", entry["socket_type"], entry["protocol"], entry["protocol_max_offset"]),
            struct.pack("<iiIi", 0, 0, int(str(entry["message_size"]), 16), 0),
            name.ljust(512, b"\0"),
        )
    )


def protocol_keys(catalog: str, position: int, entry: dict[str, Any], item: bytes) -> Keys:
    """One row of a protocol catalogue."""
    return {
        rf"{WINSOCK}\Protocol_Catalog9\{catalog}\{position:012}": {
            "PackedCatalogItem": binary(item),
            "ProtocolName": text(entry["protocol_names"][0]),
        }
    }


def namespace_keys(catalog: str, position: int, entry: dict[str, Any]) -> Keys:
    """One row of a namespace catalogue; ProviderInfo is empty and last, as on real machines."""
    library = entry["paths"][0].format(system32=r"%SystemRoot%\system32")
    display = (entry["display_strings"] or [r"@%SystemRoot%\system32\nlasvc.dll,-1000"])[0]
    return {
        rf"{WINSOCK}\NameSpace_Catalog5\{catalog}\{position:012}": {
            "LibraryPath": text(library),
            "DisplayString": text(display),
            "ProviderId": binary(guid_bytes(entry["guid"])),
            "SupportedNameSpace": dword(entry["supported_namespace"]),
            "Enabled": dword(1),
            "Version": dword(0),
            "StoresServiceClassInfo": dword(0),
            "ProviderInfo": "hex:",
        }
    }


def winsock_keys(facts: list[dict[str, Any]], release: Release) -> Keys:
    """The whole WinSock2 area of one release."""
    protocols = [entry for entry in facts if entry["kind"] == "protocol" and expected(entry, release) and entry["guid"]]
    namespaces = [entry for entry in facts if entry["kind"] == "namespace" and expected(entry, release)]
    keys: Keys = {
        WINSOCK: {
            "WinSock_Registry_Version": text("2.0"),
            "Current_Protocol_Catalog": text("Protocol_Catalog9"),
            "Current_NameSpace_Catalog": text("NameSpace_Catalog5"),
            "AutodialDLL": text(r"C:\Windows\System32\rasadhlp.dll"),
            "NameSpace_Callout": expand(r"%SystemRoot%\System32\fwpuclnt.dll"),
        },
        rf"{WINSOCK}\Protocol_Catalog9": {
            "Num_Catalog_Entries": dword(len(protocols)),
            "Num_Catalog_Entries64": dword(len(protocols)),
            "Next_Catalog_Entry_ID": dword(FIRST_CATALOG_ID + len(protocols)),
            "Serial_Access_Num": dword(len(protocols) + 6),
        },
        rf"{WINSOCK}\NameSpace_Catalog5": {
            "Num_Catalog_Entries": dword(len(namespaces)),
            "Num_Catalog_Entries64": dword(len(namespaces)),
            "Serial_Access_Num": dword(len(namespaces) + 3),
        },
    }
    for catalog in ("Catalog_Entries", "Catalog_Entries64"):
        for index, entry in enumerate(protocols):
            item = packed_item(entry, catalog_id=FIRST_CATALOG_ID + index, library=r"%SystemRoot%\system32\mswsock.dll")
            keys |= protocol_keys(catalog, index + 1, entry, item)
        for index, entry in enumerate(namespaces):
            keys |= namespace_keys(catalog, index + 1, entry)
    for entry in facts:
        if entry["kind"] == "winsock_appid" and expected(entry, release):
            keys[rf"{WINSOCK}\AppId_Catalog\{entry['name']}"] = {
                "AppFullPath": text(entry["paths"][0].format(system32=r"C:\Windows\System32")),
                "PermittedLspCategories": dword(int(str(entry["permitted_lsp_categories"]), 16)),
            }
        if entry["kind"] == "winsock_helper" and expected(entry, release):
            library = entry["paths"][0].format(system32=r"%SystemRoot%\System32")
            keys[rf"{SERVICES}\{entry['name']}\Parameters\Winsock"] = {"HelperDllName": expand(library)}
    return keys


def machine_keys(release: Release) -> Keys:
    """Who the machine is: release, profiles, control set, one loaded user."""
    person = "S-1-5-21-3217412345-1187654321-2987123456-1001"
    state = {"State": dword(0x00023C00)}
    # The empty ones head the export, as a whole hive's export begins: what is not in it was not on the machine.
    keys: Keys = {
        r"HKEY_LOCAL_MACHINE\SOFTWARE": {},
        r"HKEY_LOCAL_MACHINE\SYSTEM": {},
        "HKEY_USERS": {},
        CURRENT_VERSION: {
            "ProductName": text(release.product),
            "CurrentBuild": text(release.build),
            "CurrentBuildNumber": text(release.build),
            "CurrentVersion": text("6.3"),
            "DisplayVersion": text(release.display),
            "InstallationType": text(release.installation),
            "CurrentMajorVersionNumber": dword(10),
            "CurrentMinorVersionNumber": dword(0),
            "UBR": dword(release.revision),
            "SystemRoot": text(r"C:\Windows"),
        },
        r"HKEY_LOCAL_MACHINE\SYSTEM\Select": {"Current": dword(1), "Default": dword(1), "LastKnownGood": dword(1)},
        r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Control\Session Manager\Environment": {
            "PROCESSOR_ARCHITECTURE": text("AMD64"),
            "windir": expand(r"%SystemRoot%"),
            "TEMP": expand(r"%SystemRoot%\TEMP"),
        },
    }
    profiles = {
        "S-1-5-18": r"%systemroot%\system32\config\systemprofile",
        "S-1-5-19": r"%systemroot%\ServiceProfiles\LocalService",
        "S-1-5-20": r"%systemroot%\ServiceProfiles\NetworkService",
        person: r"C:\Users\kim",
    }
    for sid, folder in profiles.items():
        keys[rf"{CURRENT_VERSION}\ProfileList\{sid}"] = {"ProfileImagePath": expand(folder)}
        user = r"HKEY_USERS\{}\Software\Microsoft\Windows\CurrentVersion\WinTrust\Trust Providers\Software Publishing"
        keys[user.format(sid)] = state
    keys[rf"HKEY_USERS\{person}_Classes"] = {}
    return keys


def base(facts: list[dict[str, Any]], release: Release) -> Keys:
    """Everything a clean machine of that release holds in the areas a sweep reads."""
    keys = machine_keys(release)
    for entry in facts:
        if (
            entry["kind"] not in ("sip", "trust")
            or not entry["guid"]
            or not entry["paths"]
            or not expected(entry, release)
        ):
            continue
        for view, folder in VIEWS.items():
            keys |= crypto_keys(entry, view, folder)
    return keys | winsock_keys(facts, release)


def sip_hijack() -> Keys:
    """Two hijacks of stock SIPs on one machine.

    PowerShell's hash check goes to a DLL in a folder users can write; the check of PE files goes to a signed system DLL
    whose export always succeeds. The second drops no file and passes every test that looks at the DLL alone.
    """
    verify = CRYPTOGRAPHY.format(view="") + r"\OID\EncodingType 0\CryptSIPDllVerifyIndirectData"
    return {
        verify + r"\{603BCC1F-4B59-4E08-B724-D2C6297EF351}": {
            "Dll": text(r"C:\Users\Public\Libraries\pssigcheck.dll"),
            "FuncName": text("AutoApproveHash"),
        },
        verify + r"\{C689AAB8-8E78-11D0-8C47-00C04FC295EE}": {
            "Dll": text(r"C:\Windows\System32\ntdll.dll"),
            "FuncName": text("DbgUiContinue"),
        },
    }


def rogue_provider(facts: list[dict[str, Any]], release: Release) -> Keys:
    """A layered service provider over TCP, in both catalogues: the layer itself, and the chain that puts it on top."""
    stock = [entry for entry in facts if entry["kind"] == "protocol" and expected(entry, release) and entry["guid"]]
    tcp = stock[0]
    count, layer_id = len(stock), FIRST_CATALOG_ID + len(stock)
    library = r"C:\ProgramData\Fabrikam\NetLens\netlens.dll"
    layer = tcp | {
        "guid": "7D1B4E0A-52C3-4F6E-9A8B-1C0D5E2F3A47",
        "protocol_names": ["NetLens"],
        "provider_flags": "0xC",
    }
    chain = tcp | {
        "guid": "7D1B4E0A-52C3-4F6E-9A8B-1C0D5E2F3A48",
        "protocol_names": ["NetLens over [MSAFD Tcpip [TCP/IP]]"],
    }
    keys: Keys = {
        rf"{WINSOCK}\Protocol_Catalog9": {
            "Num_Catalog_Entries": dword(count + 2),
            "Num_Catalog_Entries64": dword(count + 2),
            "Next_Catalog_Entry_ID": dword(layer_id + 2),
        }
    }
    for catalog in ("Catalog_Entries", "Catalog_Entries64"):
        layer_item = packed_item(layer, catalog_id=layer_id, library=library, chain=())
        chain_item = packed_item(chain, catalog_id=layer_id + 1, library=library, chain=(layer_id, FIRST_CATALOG_ID))
        keys |= protocol_keys(catalog, count + 1, layer, layer_item)
        keys |= protocol_keys(catalog, count + 2, chain, chain_item)
    return keys


def export(keys: Keys) -> bytes:
    """The bytes regedit writes: UTF-16 with a byte order mark, CRLF."""
    parts = ["Windows Registry Editor Version 5.00"]
    for key, values in keys.items():
        lines = [f"[{key}]", *(f'"{name}"={value}' for name, value in values.items())]
        parts.append("\r\n".join(lines))
    return ("\r\n\r\n".join(parts) + "\r\n\r\n").encode("utf-16")


def contents() -> dict[str, bytes]:
    """File name to bytes, for every file of the demo fleet."""
    facts = load_facts()
    files = {f"{release.file}.reg": export(base(facts, release)) for release in RELEASES}
    files["change-sip-hijack.reg"] = export(sip_hijack())
    files["change-rogue-provider.reg"] = export(rogue_provider(facts, RELEASES[0]))
    # A collection that broke off while it was copied: the header of a hive, and nothing behind it.
    files["broken-SOFTWARE"] = b"regf" + struct.pack("<II", 41, 41) + b"\0" * 100
    return files


def main() -> int:
    """Write every file; prints nothing when all went well."""
    for name, content in contents().items():
        (HERE / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
