"""What the expected shape says about registrations: one line for each way in which one can be right or wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from fleetscan.domain.decode import decode
from fleetscan.domain.judge import judge_all
from fleetscan.model.finding import Severity, VerdictKind, What
from fleetscan.model.registry import RegistryRow
from fleetscan.model.snapshot import HostFacts
from tests.domain.catalogue import entry, namespace, packed
from tests.domain.rows import (
    DNS,
    GENERIC_VERIFY,
    MSI,
    OID,
    OID_WOW,
    PE,
    POWERSHELL,
    TRUST,
    VERIFY,
    WINSOCK,
    key,
    sip,
    trust,
)

if TYPE_CHECKING:
    from fleetscan.domain.verdicts import Judged

WIN10 = HostFacts(os_build="19045", os_name="Microsoft Windows 10 Pro")
WIN7 = HostFacts(os_build="7601", os_name="Windows 7")
PS_DLL = r"C:\Windows\System32\WindowsPowerShell\v1.0\pwrshsip.dll"
PS_KEY = f"{OID}\\{VERIFY}\\{POWERSHELL}"
STOCK_PS = sip(POWERSHELL, PS_DLL, "PsVerifyHash")
UNKNOWN = "{5D9F2E61-3B7C-4A50-8C11-9A64E7B0D2F3}"
FLAG = (
    r"HKEY_USERS\S-1-5-21-1-2-3-1001\Software\Microsoft\Windows\CurrentVersion\WinTrust\Trust Providers"
    r"\Software Publishing"
)
FOREIGN = "5D9F2E61-3B7C-4A50-8C11-9A64E7B0D2F3"


def judged(rows: list[RegistryRow], facts: HostFacts = WIN10) -> list[Judged]:
    return list(judge_all(decode(rows, facts), facts))


@dataclass
class Case:
    name: str
    rows: list[RegistryRow]
    kind: VerdictKind
    severity: Severity = Severity.INFO
    what: What | None = None


E, L, U, H, S = (
    VerdictKind.EXPECTED,
    VerdictKind.LIKELY,
    VerdictKind.UNKNOWN,
    VerdictKind.HIJACK,
    VerdictKind.STRUCTURAL,
)
LOW, MEDIUM, HIGH = Severity.LOW, Severity.MEDIUM, Severity.HIGH

CASES = [
    Case("stock", sip(POWERSHELL, PS_DLL, "PsVerifyHash"), E),
    Case("stock in another case", sip(POWERSHELL.lower(), PS_DLL.upper(), "PsVerifyHash"), E),
    Case(
        "stock as expand string",
        sip(PE, ("REG_EXPAND_SZ", r"%SystemRoot%\system32\wintrust.dll"), "CryptSIPVerifyIndirectData"),
        E,
    ),
    Case(
        "inferred function",
        sip(MSI, r"C:\Windows\System32\msisip.dll", "MsiSIPPutSignedDataMsg", "CryptSIPDllPutSignedDataMsg"),
        L,
    ),
    Case("other DLL", sip(POWERSHELL, r"C:\Program Files\x\x.dll", "PsVerifyHash"), H, HIGH),
    Case("other function", sip(MSI, r"C:\Windows\System32\MSISIP.DLL", "DllCanUnloadNow"), H, HIGH),
    Case(
        "inferred function differs",
        sip(MSI, r"C:\Windows\System32\msisip.dll", "Other", "CryptSIPDllPutSignedDataMsg"),
        H,
        MEDIUM,
    ),
    Case("ntdll", sip(PE, "ntdll.dll", "DbgUiContinue"), H, HIGH),
    Case("stripped to a bare name", sip(POWERSHELL, "pwrshsip.dll", "PsVerifyHash"), H, HIGH),
    Case(
        "32-bit DLL in the 64-bit view",
        sip(PE, r"C:\Windows\SysWOW64\wintrust.dll", "CryptSIPVerifyIndirectData"),
        H,
        HIGH,
    ),
    Case("trailing blank", sip(PE, "WINTRUST.DLL ", "CryptSIPVerifyIndirectData"), S, MEDIUM, What.SUSPICIOUS),
    Case("binary", sip(PE, ("REG_BINARY", "5700"), "CryptSIPVerifyIndirectData"), S, MEDIUM),
    Case("no function", sip(PE, "WINTRUST.DLL"), S, MEDIUM, What.INCOMPLETE),
    Case("empty DLL", sip(PE, "", "CryptSIPVerifyIndirectData"), S, MEDIUM, What.INCOMPLETE),
    Case("no values", key(f"{OID}\\{VERIFY}\\{PE}"), S, MEDIUM, What.INCOMPLETE),
    Case(
        "CryptFlags",
        key(
            f"{OID}\\{VERIFY}\\{PE}",
            Dll="WINTRUST.DLL",
            FuncName="CryptSIPVerifyIndirectData",
            CryptFlags=("REG_DWORD", "1"),
        ),
        S,
        MEDIUM,
    ),
    Case("unknown GUID", sip(UNKNOWN, r"C:\Program Files\x\x.dll", "F"), U, MEDIUM, What.NEW),
    Case("unknown GUID, writable folder", sip(UNKNOWN, r"C:\Users\Public\x.dll", "F"), U, HIGH),
    Case("unknown GUID, network", sip(UNKNOWN, r"\\host\share\x.dll", "F"), U, HIGH),
    Case(
        "unknown GUID that sorts first",
        sip("{00000001-7A3B-4C1D-9E20-5B1F0C2D3E4F}", r"C:\Program Files\x.dll", "F", "CryptSIPDllIsMyFileType2"),
        U,
        HIGH,
    ),
    Case(
        "test artefact",
        sip("{00000000-DEAD-BEEF-DEAD-DEADBABECAFE}", r"C:\Windows\System32\x.dll", "GtSipVerify"),
        U,
        HIGH,
    ),
    Case(
        "dead GUID revived",
        sip(
            "{BA08A66F-113B-4D58-9329-A1B37AF30F0E}",
            r"C:\Program Files\x\xapauthenticodesip.dll",
            "XAP_CryptSIPVerifyIndirectData",
        ),
        U,
        MEDIUM,
    ),
    Case("version 1 of the file type question", sip(PE, "WINTRUST.DLL", "F", "CryptSIPDllIsMyFileType"), S, HIGH),
    Case("unknown function set", sip(PE, "WINTRUST.DLL", "F", "CryptSIPDllNovel"), S, MEDIUM),
    Case(
        "other encoding", sip(PE, "WINTRUST.DLL", "F", tree=OID.replace("EncodingType 0", "EncodingType 1")), S, MEDIUM
    ),
    Case("DEFAULT list", sip("DEFAULT", ("REG_MULTI_SZ", r"C:\Windows\System32\a.dll,b.dll")), S, HIGH),
    Case(
        "user hive",
        sip(
            PE,
            "x.dll",
            "F",
            tree=OID.replace("HKEY_LOCAL_MACHINE\\SOFTWARE", "HKEY_USERS\\S-1-5-21-1-2-3-1001\\Software"),
        ),
        U,
        LOW,
    ),
    Case(
        "NUL in a value name",
        [
            *sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData"),
            RegistryRow(f"{OID}\\{VERIFY}\\{PE}", "Dll", "REG_SZ", "WINTRUST.DLL"),
        ],
        S,
        MEDIUM,
    ),
    Case("trust step", trust(GENERIC_VERIFY, "FinalPolicy", "WINTRUST.dll", "SoftpubAuthenticode"), E),
    Case("trust step, other export", trust(GENERIC_VERIFY, "FinalPolicy", "WINTRUST.DLL", "SoftpubCleanup"), H, HIGH),
    Case(
        "trust step that is not stock",
        trust(GENERIC_VERIFY, "DiagnosticPolicy", "WINTRUST.DLL", "SoftpubDumpStructure"),
        H,
        HIGH,
    ),
    Case(
        "trust step without function",
        key(f"{TRUST}\\FinalPolicy\\{GENERIC_VERIFY}", __DLL="WINTRUST.DLL"),
        S,
        MEDIUM,
        What.INCOMPLETE,
    ),
    Case("unknown action", trust(UNKNOWN, "FinalPolicy", r"C:\Program Files\x\x.dll", "F"), U, MEDIUM),
    Case("usage callback", key(f"{TRUST}\\Usages\\1.3.6.1.5.5.7.3.1", __DLL=r"C:\x\x.dll"), H, HIGH),
    Case(
        "usage without DLL",
        key(f"{TRUST}\\Usages\\1.3.6.1.5.5.7.3.3", DefaultId="{00AAC56B-CD44-11D0-8CC2-00C04FC295EE}"),
        E,
    ),
    Case("TCP", entry(1, packed()), E),
    Case("TCP, bare DLL", entry(1, packed(path="mswsock.dll")), H, HIGH, What.REPLACED),
    Case("TCP, other flags", entry(1, packed(flags=(0x66, 8))), H, MEDIUM),
    Case("foreign base provider", entry(1, packed(provider=FOREIGN, path=r"%SystemRoot%\system32\x.dll")), U, MEDIUM),
    Case("layered provider", entry(1, packed(provider=FOREIGN, chain_length=0, path=r"C:\x\x.dll")), U, MEDIUM),
    Case(
        "Proxifier",
        entry(1, packed(provider=FOREIGN, chain_length=0, path=r"%SystemRoot%\system32\PrxerDrv.dll")),
        U,
        LOW,
    ),
    Case("chain to nowhere", entry(1, packed(provider=FOREIGN, chain_length=2, chain=(7, 8))), S, MEDIUM),
    Case("short row", entry(1, packed()[:628]), S, MEDIUM),
    Case(
        "row without blob",
        key(f"{WINSOCK}\\Protocol_Catalog9\\Catalog_Entries64\\000000000001", ProtocolName="x"),
        S,
        MEDIUM,
        What.INCOMPLETE,
    ),
    Case("DNS", namespace(1, DNS, r"%SystemRoot%\System32\mswsock.dll"), E),
    Case("DNS switched off", namespace(1, DNS, r"%SystemRoot%\System32\mswsock.dll", enabled=0), H, MEDIUM),
    Case("Bonjour", namespace(1, "B600E6E9-553B-4A19-8696-335E5C896153", r"C:\Program Files\Bonjour\mdnsNSP.dll"), L),
    Case(
        "Bonjour switched off",
        namespace(1, "B600E6E9-553B-4A19-8696-335E5C896153", r"C:\Program Files\Bonjour\mdnsNSP.dll", enabled=0),
        L,
    ),
    Case("foreign name space", namespace(1, FOREIGN, r"C:\Program Files\x\x.dll"), U, MEDIUM),
    Case(
        "name space without GUID",
        key(f"{WINSOCK}\\NameSpace_Catalog5\\Catalog_Entries64\\000000000001", LibraryPath="x.dll"),
        S,
        MEDIUM,
    ),
    Case("AutodialDLL", key(WINSOCK, AutodialDLL=r"C:\Windows\System32\rasadhlp.dll"), E),
    Case("AutodialDLL bare on 10", key(WINSOCK, AutodialDLL="rasadhlp.dll"), H, HIGH),
    Case("NameSpace_Callout", key(WINSOCK, NameSpace_Callout=r"C:\ProgramData\fwpuclnt.dll"), H, HIGH),
    Case("catalogue redirected", key(WINSOCK, Current_Protocol_Catalog="Protocol_Catalog10"), H, HIGH),
    Case("unknown value", key(WINSOCK, Ws2_32NumHandleBuckets=("REG_DWORD", "1")), VerdictKind.NOT_JUDGED),
    Case("unknown value with a DLL", key(WINSOCK, Novel=r"C:\x\x.dll"), U, MEDIUM),
    Case(
        "lsass admits nobody",
        key(
            f"{WINSOCK}\\AppId_Catalog\\343305C9",
            AppFullPath=r"C:\Windows\System32\lsass.exe",
            PermittedLspCategories=("REG_DWORD", "1073741824"),
        ),
        E,
    ),
    Case(
        "stock in a folder that only looks like System32",
        sip(POWERSHELL, PS_DLL.replace("Windows", "Windows ", 1), "PsVerifyHash"),
        H,
        HIGH,
    ),
    Case(
        "name space without Enabled",
        [row for row in namespace(1, DNS, r"%SystemRoot%\System32\mswsock.dll") if row.name != "Enabled"],
        S,
        MEDIUM,
        What.INCOMPLETE,
    ),
    Case(
        "name space with a GUID that is too long",
        [
            RegistryRow(row.key, row.name, row.type, f"{row.data}6576696C") if row.name == "ProviderId" else row
            for row in namespace(1, DNS, r"%SystemRoot%\System32\mswsock.dll")
        ],
        S,
        MEDIUM,
    ),
    Case(
        "name space with a GUID that an old agent padded",
        [
            RegistryRow(row.key, row.name, row.type, f"{row.data}0000") if row.name == "ProviderId" else row
            for row in namespace(1, DNS, r"%SystemRoot%\System32\mswsock.dll")
        ],
        E,
    ),
    Case("registration with a key below it", [*STOCK_PS, *key(f"{PS_KEY}\\Shadow", Dll="x.dll")], S, LOW),
    Case(
        "object identifier with a name",
        key(f"{OID}\\CryptDllFindOIDInfo\\1.3.6.1.4.1.311.60.1.1!7", Name="Signer", Flags=("REG_DWORD", "1")),
        L,
    ),
    Case(
        "store provider in a writable folder",
        key(f"{OID}\\CertDllOpenStoreProv\\#254", Dll=r"C:\ProgramData\x.dll", FuncName="F"),
        S,
        HIGH,
    ),
    Case(
        "store provider in a user hive",
        key(
            r"HKEY_USERS\S-1-5-21-1-2-3-1001\Software\Microsoft\Cryptography\OID\EncodingType 0"
            r"\CertDllOpenStoreProv\#254",
            Dll=r"C:\ProgramData\x.dll",
        ),
        U,
        LOW,
    ),
    Case(
        "permissions of lsass as text",
        key(
            f"{WINSOCK}\\AppId_Catalog\\343305C9",
            AppFullPath=r"C:\Windows\System32\lsass.exe",
            PermittedLspCategories="1073741824",
        ),
        H,
        MEDIUM,
    ),
    Case(
        "key beside the rows of a catalogue",
        [*entry(1, packed()), *key(f"{WINSOCK}\\Protocol_Catalog9\\Catalog_Entries64\\15", PackedCatalogItem="x")],
        S,
        LOW,
    ),
    Case("signature flag as text", key(FLAG, State="146432"), H, LOW),
    Case("signature flag", key(FLAG, State=("REG_DWORD", "146432")), E),
    Case("stock with forward slashes", sip(POWERSHELL, PS_DLL.replace("\\", "/"), "PsVerifyHash"), S, MEDIUM),
    Case("stock in quotes", sip(POWERSHELL, f'"{PS_DLL}"', "PsVerifyHash"), S, MEDIUM),
    Case("stock with a doubled backslash", sip(POWERSHELL, PS_DLL.replace("32", "32\\"), "PsVerifyHash"), S, LOW),
    Case(
        "stock beside the program", trust(GENERIC_VERIFY, "Message", r".\WINTRUST.DLL", "SoftpubLoadMessage"), S, HIGH
    ),
    Case(
        "diagnostic step of an inferred action",
        trust("{6078065B-8F22-4B13-BD9B-5B762776F386}", "DiagnosticPolicy", "WINTRUST.DLL", "SoftpubDumpStructure"),
        H,
        HIGH,
    ),
    Case("diagnostic step of an unknown action", trust(UNKNOWN, "DiagnosticPolicy", r"C:\x\x.dll", "X"), U, HIGH),
    Case(
        "usage without one of its functions",
        key(
            f"{TRUST}\\Usages\\1.3.6.1.5.5.7.3.2",
            __DLL="WINTRUST.DLL",
            DefaultId="{573E31F8-AABA-11D0-8CCB-00C04FC295EE}",
        ),
        S,
        MEDIUM,
        What.INCOMPLETE,
    ),
    Case("TCP is hidden", entry(1, packed(flags=(0x20066, 12))), H, MEDIUM, What.SUSPICIOUS),
    Case(
        "Office 2013",
        sip(
            "{9FA65764-C36F-4319-9737-658A34585BB7}",
            r"C:\Program Files\Common Files\Microsoft Shared\OFFICE15\MSO.DLL",
            "MsoVBADigSigVerifyIndirectData",
        ),
        L,
    ),
    Case("system library without extension", sip(UNKNOWN, "user32", "GetDesktopWindow"), U, HIGH),
    Case("stock with an empty default value", [*STOCK_PS, RegistryRow(PS_KEY, "(Default)", "REG_SZ", "")], E),
    Case("stock with a default value", [*STOCK_PS, RegistryRow(PS_KEY, "(Default)", "REG_SZ", "x.dll")], S, MEDIUM),
    Case(
        "a second row for lsass admits all",
        key(
            f"{WINSOCK}\\AppId_Catalog\\343305C9-0BADF00D",
            AppFullPath=r"C:\Windows\System32\lsass.exe",
            PermittedLspCategories=("REG_DWORD", "-1"),
        ),
        U,
        MEDIUM,
    ),
    Case(
        "a row for svchost with other arguments",
        key(
            f"{WINSOCK}\\AppId_Catalog\\2C69D9F1-0BADF00D",
            AppFullPath=r"C:\Windows\System32\svchost.exe",
            PermittedLspCategories=("REG_DWORD", str(0x40000000)),
        ),
        U,
        LOW,
    ),
    Case(
        "lsass admits all",
        key(
            f"{WINSOCK}\\AppId_Catalog\\343305C9",
            AppFullPath=r"C:\Windows\System32\lsass.exe",
            PermittedLspCategories=("REG_DWORD", "-1"),
        ),
        H,
        MEDIUM,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_verdict(case: Case) -> None:
    worst = max(judged(case.rows), key=lambda one: one.verdict.severity)
    assert (worst.verdict.kind, worst.verdict.severity) == (case.kind, case.severity), worst.verdict.why
    if case.what is not None:
        assert worst.verdict.what is case.what
    assert worst.verdict.why


def test_a_bare_autodial_dll_is_stock_on_windows_7() -> None:
    assert judged(key(WINSOCK, AutodialDLL="rasadhlp.dll"), WIN7)[0].verdict.kind is E


def test_bare_mso_is_stock_in_the_32_bit_view_only() -> None:
    office = "{9FA65764-C36F-4319-9737-658A34585BB7}"
    rows = sip(office, "mso.dll", "MsoVBADigSigVerifyIndirectData", tree=OID_WOW)
    assert judged(rows)[0].verdict.kind is L
    native = sip(office, "mso.dll", "MsoVBADigSigVerifyIndirectData")
    assert judged(native)[0].verdict.kind is H
    assert judged(native, HostFacts(os_build="19045", arch="32-bit"))[0].verdict.kind is L


def test_a_stock_row_that_only_one_view_has_was_removed_from_the_other() -> None:
    rows = [
        *sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData"),
        *sip(POWERSHELL, PS_DLL, "PsVerifyHash"),
        *sip(POWERSHELL, PS_DLL, "PsVerifyHash", tree=OID_WOW),
    ]
    [gone] = [one for one in judged(rows) if one.verdict.what is What.REMOVED]
    assert gone.entity.get("view") == "wow64"
    assert gone.entity.get("id") == PE.strip("{}")
    assert gone.verdict.severity is MEDIUM


def test_what_may_be_absent_from_a_sound_host_was_not_removed() -> None:
    java = ("{C689AAB9-8E78-11D0-8C47-00C04FC295EE}", "WINTRUST.DLL", "CryptSIPVerifyIndirectData")
    both = [row for tree in (OID, OID_WOW) for row in sip(POWERSHELL, PS_DLL, "PsVerifyHash", tree=tree)]
    assert {one.verdict.kind for one in judged([*both, *sip(*java)])} == {E}


@pytest.mark.parametrize("name", [r"Cache\Protocol_Catalog9", "Protocol_Catalog10"])
def test_the_live_catalogue_is_where_the_pointer_leads(name: str) -> None:
    pointer = key(WINSOCK, Current_Protocol_Catalog=name)
    hidden = entry(1, packed(path=r"C:\x\x.dll"), catalog=name)
    found = [one for one in judged([*pointer, *entry(1, packed()), *hidden]) if one.verdict.severity is HIGH]
    assert sorted(one.entity.kind for one in found) == ["winsock_protocol", "winsock_scalar"]


def test_where_the_pointer_leads_nowhere_the_rows_are_still_there() -> None:
    found = judged([*key(WINSOCK, Current_Protocol_Catalog="Nowhere"), *entry(1, packed())])
    assert {one.entity.kind: one.verdict.severity for one in found}["winsock_protocol"] is Severity.INFO


def test_a_listing_that_stops_early_is_incomplete_and_not_a_removal() -> None:
    stock = [
        ("{C689AAB8-8E78-11D0-8C47-00C04FC295EE}", "WINTRUST.DLL", "CryptSIPVerifyIndirectData"),
        ("{C689AABA-8E78-11D0-8C47-00C04FC295EE}", "WINTRUST.DLL", "CryptSIPVerifyIndirectData"),
        ("{DE351A42-8E59-11D0-8C47-00C04FC295EE}", "WINTRUST.DLL", "CryptSIPVerifyIndirectData"),
    ]
    both = [row for tree in (OID, OID_WOW) for row in sip(POWERSHELL, PS_DLL, "PsVerifyHash", tree=tree)]
    rows = [*both, *(row for one in stock for row in sip(*one))]
    found = [one for one in judged(rows) if one.verdict.what in {What.REMOVED, What.INCOMPLETE}]
    assert [(one.entity.kind, one.verdict.what) for one in found] == [("area", What.INCOMPLETE)]


def test_a_foreign_row_in_front_of_the_stock_row_is_asked_first() -> None:
    rows = [
        *entry(1, packed(provider=FOREIGN, path=r"%SystemRoot%\system32\x.dll")),
        *entry(2, packed(catalog_id=1002)),
    ]
    assert max(one.verdict.severity for one in judged(rows)) is HIGH
    behind = [*entry(1, packed()), *entry(2, packed(provider=FOREIGN, path=r"%SystemRoot%\system32\x.dll"))]
    assert max(one.verdict.severity for one in judged(behind)) is MEDIUM


def test_a_foreign_name_service_before_dns_sees_every_query() -> None:
    dns = namespace(2, DNS, r"%SystemRoot%\System32\mswsock.dll")
    before = [*namespace(1, FOREIGN, r"C:\Program Files\x\x.dll"), *dns]
    assert max(one.verdict.severity for one in judged(before)) is HIGH
    behind = [*namespace(3, FOREIGN, r"C:\Program Files\x\x.dll"), *dns]
    assert max(one.verdict.severity for one in judged(behind)) is MEDIUM


def test_two_rows_under_one_identity_are_kept_and_reported() -> None:
    rows = [*entry(1, packed()), *entry(2, packed(path=r"C:\x\x.dll", catalog_id=1002))]
    [one] = [one for one in judged(rows) if one.entity.kind == "winsock_protocol"]
    assert one.verdict.severity is HIGH
    assert one.entity.get("dll") == r"c:\x\x.dll | {system32}\mswsock.dll"


def test_the_counter_must_agree_with_the_rows() -> None:
    counter = key(f"{WINSOCK}\\Protocol_Catalog9", Num_Catalog_Entries64=("REG_DWORD", "2"))
    [one] = [one for one in judged([*counter, *entry(1, packed())]) if one.entity.kind == "winsock_catalog"]
    assert (one.verdict.severity, one.entity.get("seen")) == (MEDIUM, "1")
    both = judged([*counter, *entry(1, packed()), *entry(2, packed(numbers=(2, 2, 17)))])
    assert [one.verdict.kind for one in both if one.entity.kind == "winsock_catalog"] == [E]


def test_a_key_name_with_a_blank_is_an_area_and_its_twin_stays_clean() -> None:
    rows = [
        *sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData"),
        *sip(f"{PE} ", "WINTRUST.DLL", "CryptSIPVerifyIndirectData"),
    ]
    found = {one.entity.kind: one.verdict for one in judged(rows)}
    assert found["sip"].kind is E
    assert (found["area"].kind, found["area"].severity) == (S, MEDIUM)
