r"""The example table of the rule semantics (section 11), line by line: rule part, row, result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleetscan.evaluate import Context, judge
from fleetscan.model.rule import Subject
from fleetscan.model.truth import Truth
from fleetscan.rules.load import load_rules
from tests.evaluate.writing import HKLM, HKU, eql, row, sigma, subkey

if TYPE_CHECKING:
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.rule import Rule

T, F, U = Truth.TRUE, Truth.FALSE, Truth.UNKNOWN
USER = rf"{HKU}\S-1-5-21-1-2-3-1001"
LSA = rf"{HKLM}\SYSTEM\ControlSet001\Control\Lsa"
ANY = rf"{HKLM}\SOFTWARE\X"
ZONE = rf"{ANY}\ZoneMap\Domains\a.com\b"
RUN = rf"{HKLM}\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
WINSOCK2 = rf"{HKLM}\SYSTEM\CurrentControlSet\Services\WinSock2\Parameters"
CATALOG = rf"{WINSOCK2}\Protocol_Catalog9\Catalog_Entries64\000000000016"
CRYPTOGRAPHY = rf"{HKLM}\SOFTWARE\Microsoft\Cryptography"
TRUST = rf"{CRYPTOGRAPHY}\Providers\Trust\FinalPolicy\{{00AAC56B-CD44-11D0-8CC2-00C04FC295EE}}"
OID = rf"{CRYPTOGRAPHY}\OID\EncodingType 0"

SEEDS = {rule.id: rule for rule in load_rules([Path(__file__).parents[2] / "rules"]).rules}
SIGMA_SIP = SEEDS["5a2b21ee-6aaa-4234-ac9d-59a59edf90a1"]
WINSOCK = SEEDS["d6c2ce7e-afb5-4337-9ca4-4b5254ed0565"]
ELASTIC_SIP = SEEDS["f2c7b914-eda3-40c2-96ac-d23ef91776ca"]

STRINGS = 'registry.data.strings : ("1", "0x00000001")'
NTDSA = r"Details: '%%systemroot%%\system32\ntdsa.dll'"
DEFAULT_COMMAND = r"TargetObject|endswith: '\shell\open\command\(Default)'"
EMPTY_RUN = 'registry.path : "*\\\\Run\\\\" and length(registry.data.strings) > 0'

CASES = [
    (1, sigma(r"TargetObject|contains: '\Control\Lsa\'"), row(LSA, "Security Packages", "REG_MULTI_SZ", '""'), T),
    (2, sigma("Details: DWORD (0xffffffff)"), row(ANY, "v", "REG_DWORD", "-1"), T),
    (3, sigma("Details: DWORD (0x00000001)"), row(ANY, "v", "REG_SZ", "1"), F),
    (4, eql(STRINGS), row(ANY, "v", "REG_DWORD", "1"), T),
    (5, eql(STRINGS), row(ANY, "v", "REG_SZ", "1"), T),
    (6, sigma("Details: 0"), row(ANY, "v", "REG_DWORD", "0"), T),
    (6, sigma("Details: 0"), row(ANY, "v", "REG_SZ", "0"), T),
    (6, sigma("Details: 0"), row(ANY, "v", "REG_SZ", "00"), F),
    (7, sigma("Details: (Empty)"), row(ANY, "v", "REG_SZ", ""), T),
    (8, sigma("Details: Binary Data"), row(ANY, "v", "REG_BINARY", "2577"), T),
    (8, sigma("Details: Binary Data"), row(ANY, "v", "REG_MULTI_SZ", "a,b"), T),
    (8, sigma("Details: Binary Data"), row(ANY, "v", "REG_SZ", "Binary Data"), T),
    (9, sigma("Details|endswith: .dll"), row(ANY, "v", "REG_MULTI_SZ", "scecli.dll,evil"), T),
    (10, sigma(NTDSA), row(ANY, "v", "REG_SZ", r"C:\Windows\system32\ntdsa.dll"), T),
    (11, sigma("Details|contains: '%temp%'"), row(ANY, "v", "REG_SZ", r"C:\Windows\TEMP\a.exe"), T),
    (12, sigma("Details: null", category="registry_event"), subkey(ANY, "k"), T),
    (12, sigma("Details: null", category="registry_event"), row(ANY, "v", "REG_SZ", "x"), F),
    (13, sigma(DEFAULT_COMMAND), row(rf"{USER}_Classes\x\shell\open\command"), T),
    (14, sigma(r"TargetObject|startswith: 'HKCR\'"), row(rf"{HKLM}\SOFTWARE\Classes\zune"), T),
    (
        15,
        eql(r'registry.path : "HKLM\\SYSTEM\\ControlSet*\\Services\\*\\ImagePath"'),
        row(rf"{HKLM}\SYSTEM\CurrentControlSet\Services\X", "ImagePath", data="x"),
        T,
    ),
    (
        16,
        eql(r'registry.path : "HKEY_USERS\\*\\InprocServer32\\"'),
        row(rf"{USER}_Classes\CLSID\{{A}}\InprocServer32", data="x"),
        T,
    ),
    (17, eql(EMPTY_RUN), row(RUN, data="x"), T),
    (17, eql(EMPTY_RUN), row(RUN, "a", data="x"), F),
    (
        18,
        sigma(r"TargetObject|contains: '\Software\Classes\'", category="registry_event"),
        subkey(rf"{USER}_Classes\mscfile", "shell"),
        T,
    ),
    (19, sigma("EventType: SetValue", category="registry_event"), subkey(ANY, "k"), F),
    (19, sigma("EventType: CreateKey", category="registry_event"), subkey(ANY, "k"), T),
    (19, sigma("EventType: RenameKey", category="registry_event"), subkey(ANY, "k"), U),
    (
        20,
        sigma(r"TargetObject|contains: 'ZoneMap\Domains\'"),
        row(rf"{ANY}\ZoneMap\Domains\a.com\b", "*", "REG_DWORD", "2"),
        T,
    ),
    (21, sigma(r"TargetObject|endswith: '\Foo\*'"), row(rf"{ANY}\Foo", "*", data="x"), F),
    (21, sigma(r"TargetObject|endswith: '\Foo\\\*'"), row(rf"{ANY}\Foo", "*", data="x"), T),
    (22, sigma(r"Image|endswith: '\msiexec.exe'"), row(ANY, "v", data="x"), U),
    (23, sigma("selection:\n  Image: null\ncondition: not selection"), row(ANY, "v", data="x"), T),
    (25, WINSOCK, row(CATALOG, "PackedCatalogItem", "REG_SZ", ""), F),
    (26, SIGMA_SIP, row(TRUST, "$DLL", data="evil.dll"), T),
    (27, SIGMA_SIP, row(TRUST, "$DLL", data="wintrust.dll"), F),
    (30, ELASTIC_SIP, row(rf"{OID}\CryptSIPDllPutSignedDataMsg\{{G}}", "Dll", data=r"C:\x\evil.dll"), T),
    (30, ELASTIC_SIP, row(rf"{OID}\CryptSIPDllPutSignedDataMsg\{{G}}", "Dll", data="evil.txt"), F),
]


@pytest.mark.parametrize(("number", "rule", "subject", "truth"), CASES, ids=[f"line-{case[0]}" for case in CASES])
def test_example_has_the_truth_of_the_table(number: int, rule: Rule, subject: RegistryRow, truth: Truth) -> None:
    assert judge(rule, subject).truth is truth, number


@pytest.mark.parametrize(
    ("rule", "subject", "excuse"),
    [
        pytest.param(
            WINSOCK,
            row(CATALOG, "PackedCatalogItem", "REG_BINARY", "2577"),
            r"Image is C:\Windows\System32\MsiExec.exe or C:\Windows\syswow64\MsiExec.exe",
            id="line-24",
        ),
        pytest.param(
            SIGMA_SIP,
            row(rf"{OID}\CryptSIPDllGetSignedDataMsg\{{G}}", "Dll", data=r"C:\Windows\System32\PsfSip.dll"),
            r"Image is C:\Windows\System32\poqexec.exe",
            id="line-28",
        ),
        pytest.param(
            ELASTIC_SIP,
            row(rf"{OID}\CryptSIPDllPutSignedDataMsg\{{G}}", "Dll", data="mso.dll"),
            "process.name is msiexec.exe",
            id="line-29",
        ),
    ],
)
def test_possible_example_names_what_would_excuse_it(rule: Rule, subject: RegistryRow, excuse: str) -> None:
    judgement = judge(rule, subject)
    assert (judgement.truth, judgement.qualifier, judgement.excuse) == (U, "unless", excuse)


def test_deleted_value_is_certain_for_a_delete_rule() -> None:
    """Line 31; line 32 (a key that could not be listed) is the differ's: it makes no subject of it."""
    rule = sigma(r"TargetObject|endswith: '\DeviceGuard\x'", category="registry_delete")
    gone = row(rf"{HKLM}\SOFTWARE\DeviceGuard", "x", "REG_DWORD", "1")
    assert judge(rule, gone, subject=Subject.REMOVED_VALUE).truth is T
    assert judge(rule, gone).truth is F


def test_example_15_needs_no_select_value_but_uses_it() -> None:
    rule = eql(r'registry.path : "HKLM\\SYSTEM\\ControlSet002\\Services\\X\\ImagePath"')
    subject = row(rf"{HKLM}\SYSTEM\CurrentControlSet\Services\X", "ImagePath", data="x")
    assert judge(rule, subject).truth is F
    assert judge(rule, subject, context=Context(current_control_set=2)).truth is T
