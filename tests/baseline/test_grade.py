"""How much a change matters: the verdicts of both sides decide."""

from __future__ import annotations

import pytest

from fleetscan.baseline.diff import Side, diff
from fleetscan.baseline.grade import Graded, grade
from fleetscan.domain.decode import decode
from fleetscan.domain.judge import judge_all
from fleetscan.model.finding import Severity, What
from fleetscan.model.registry import RegistryRow
from tests.domain.catalogue import entry, namespace, packed
from tests.domain.rows import DNS, OID, PE, POWERSHELL, WINSOCK, key, sip

STOCK = sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData")
HIJACK = sip(PE, r"C:\x\x.dll", "CryptSIPVerifyIndirectData")
OFFICE = sip(
    "{9FA65764-C36F-4319-9737-658A34585BB7}",
    r"C:\Program Files\Common Files\Microsoft Shared\OFFICE16\mso.dll",
    "MsoVBADigSigVerifyIndirectData",
)
OBJECT = f"{OID}\\CryptDllFindOIDInfo\\1.3.6.1.4.1.311.60.1.1!7"
MSWSOCK = r"%SystemRoot%\System32\mswsock.dll"
DNS_ROW = f"{WINSOCK}\\NameSpace_Catalog5\\Catalog_Entries64\\000000000001"
STORE = f"{OID}\\CertDllOpenStoreProv\\#254"
VSOCK = "570ADC4B-67B2-42CE-92B2-ACD33D88D842"


def vsock(path: str, name: str) -> list[RegistryRow]:
    return entry(1, packed(provider=VSOCK, path=path, name=name, numbers=(28, 1, 0), flags=(0x26, 8)))


CASES = {
    # before, after, what, severity
    "stock added": ([], STOCK, What.NEW, Severity.INFO),
    "product added": ([], OFFICE, What.NEW, Severity.LOW),
    "stranger added": (
        [],
        sip("{5D9F2E61-3B7C-4A50-8C11-9A64E7B0D2F3}", r"C:\Program Files\x.dll", "F"),
        What.NEW,
        Severity.MEDIUM,
    ),
    "stock removed": (STOCK, [], What.REMOVED, Severity.MEDIUM),
    "product removed": (OFFICE, [], What.REMOVED, Severity.LOW),
    "hijack removed": (HIJACK, [], What.REMOVED, Severity.INFO),
    "hijacked": (STOCK, HIJACK, What.HIJACKED, Severity.HIGH),
    "restored": (HIJACK, STOCK, What.REPLACED, Severity.INFO),
    "function swapped": (sip(POWERSHELL, "x.dll", "A"), sip(POWERSHELL, "x.dll", "B"), What.HIJACKED, Severity.HIGH),
    "vendor moved its file": (
        vsock(r"%windir%\system32\vsocklib.dll", "vSockets STREAM"),
        vsock(r"C:\Program Files\VMware\VMware Tools\vSock SDK\bin\x64\vsocklib.dll", "VMCI sockets STREAM"),
        What.REPLACED,
        Severity.LOW,
    ),
    "store provider added": ([], key(STORE, Dll=r"C:\Program Files\x.dll", FuncName="F"), What.NEW, Severity.MEDIUM),
    "usual DLL added": ([], key(STORE, Dll="cryptnet.dll", FuncName="F"), What.NEW, Severity.LOW),
    "store provider changed": (
        key(STORE, Dll="cryptnet.dll", FuncName="F"),
        key(STORE, Dll="cryptnet.dll", FuncName="G"),
        What.CHANGED,
        Severity.MEDIUM,
    ),
    "store provider removed": (key(STORE, Dll="cryptnet.dll", FuncName="F"), [], What.REMOVED, Severity.MEDIUM),
    "store provider put right": (
        key(STORE, Dll=r"C:\ProgramData\x.dll", FuncName="F"),
        key(STORE, Dll="cryptnet.dll", FuncName="F"),
        What.REPLACED,
        Severity.INFO,
    ),
    "store provider named with its folder": (
        key(STORE, Dll="cryptnet.dll", FuncName="F"),
        key(STORE, Dll=r"C:\Windows\System32\cryptnet.dll", FuncName="F"),
        What.REPLACED,
        Severity.LOW,
    ),
    "store provider replaced by another usual DLL": (
        key(STORE, Dll="cryptnet.dll", FuncName="F"),
        key(STORE, Dll="cryptdlg.dll", FuncName="F"),
        What.REPLACED,
        Severity.MEDIUM,
    ),
    "name of an object identifier added": ([], key(OBJECT, Name="Signer"), What.NEW, Severity.LOW),
    "name of an object identifier changed": (
        key(OBJECT, Name="Signer"),
        key(OBJECT, Name="Other"),
        What.CHANGED,
        Severity.LOW,
    ),
    "name of an object identifier removed": (key(OBJECT, Name="Signer"), [], What.REMOVED, Severity.LOW),
    "Java removed": (
        sip("{C689AAB9-8E78-11D0-8C47-00C04FC295EE}", "WINTRUST.DLL", "CryptSIPVerifyIndirectData"),
        [],
        What.REMOVED,
        Severity.LOW,
    ),
    "optional function removed": (
        sip(PE, "WINTRUST.DLL", "CryptSIPGetCaps", "CryptSIPDllGetCaps"),
        [],
        What.REMOVED,
        Severity.LOW,
    ),
    "value added to a name space": (
        namespace(1, DNS, MSWSOCK),
        [*namespace(1, DNS, MSWSOCK), RegistryRow(DNS_ROW, "LibraryPathEx", "REG_SZ", r"C:\x\x.dll")],
        What.CHANGED,
        Severity.LOW,
    ),
    "NetBIOS gone with its interfaces": (
        entry(1, packed(provider="8D5F1830-C273-11CF-95C8-00805F48A192", numbers=(17, 5, -1), flags=(0x2000E, 0))),
        [],
        What.REMOVED,
        Severity.LOW,
    ),
    "unknown value changed": (
        key(WINSOCK, Size=("REG_DWORD", "1")),
        key(WINSOCK, Size=("REG_DWORD", "2")),
        What.CHANGED,
        Severity.LOW,
    ),
}


def test_the_name_of_a_catalogue_has_no_case() -> None:
    sides = [
        Side(decode(key(WINSOCK, Current_Protocol_Catalog=name))) for name in ("Protocol_Catalog9", "protocol_catalog9")
    ]
    assert diff(*sides).changes == ()


def graded(before: list[RegistryRow], after: list[RegistryRow], *, new_release: bool = False) -> Graded:
    sides = [decode(before), decode(after)]
    old, new = ({one.entity.ident: one.verdict for one in judge_all(side)} for side in sides)
    [change] = diff(Side(sides[0]), Side(sides[1])).changes
    ident = change.entity.ident
    return grade(change, old.get(ident), new.get(ident) if change.after else None, new_release=new_release)


@pytest.mark.parametrize("name", CASES)
def test_grade(name: str) -> None:
    before, after, what, severity = CASES[name]
    found = graded(before, after)
    assert (found.what, found.severity) == (what, severity), found.why
    assert found.why


def test_what_goes_with_the_release_is_low() -> None:
    assert graded(STOCK, [], new_release=True).severity is Severity.LOW
