"""Every rule that is shipped loads, plans, tells people what to do, and finds its trick and not the stock."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetscan.evaluate import judge
from fleetscan.model.rule import MessageLevel
from fleetscan.model.truth import Truth
from fleetscan.planner.plan import make_plan
from fleetscan.rules.load import load_rules
from tests.evaluate.writing import HKLM, HKU, row

FOLDER = Path(__file__).parents[2] / "rules"
REPORT = load_rules([FOLDER])
RULES = {Path(rule.where.name).stem: rule for rule in REPORT.rules}

OID = rf"{HKLM}\SOFTWARE\Microsoft\Cryptography\OID\EncodingType 0"
OID_32 = rf"{HKLM}\SOFTWARE\WOW6432Node\Microsoft\Cryptography\OID\EncodingType 0"
TRUST = rf"{HKLM}\SOFTWARE\Microsoft\Cryptography\Providers\Trust"
WINSOCK = rf"{HKLM}\SYSTEM\CurrentControlSet\Services\WinSock2\Parameters"
GUID = "{C689AAB8-8E78-11D0-8C47-00C04FC295EE}"
VERIFY = rf"{OID}\CryptSIPDllVerifyIndirectData\{GUID}"
REVOCATION = rf"{HKLM}\SOFTWARE\Microsoft\Cryptography\OID\EncodingType 1\CertDllVerifyRevocation\DEFAULT"
HELPER = rf"{HKLM}\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters\Winsock"
NAMESPACE = rf"{WINSOCK}\NameSpace_Catalog5\Catalog_Entries64\000000000004"
PUBLISHER = r"Software\Microsoft\Windows\CurrentVersion\WinTrust\Trust Providers\Software Publishing"

FOUND_AND_STOCK = [
    (
        "sip_function_always_true",
        row(VERIFY, "FuncName", data="DbgUiContinue"),
        row(VERIFY, "FuncName", data="CryptSIPVerifyIndirectData"),
    ),
    (
        "trust_final_policy_empty_function",
        row(rf"{TRUST}\FinalPolicy\{GUID}", "$Function", data="SoftpubCleanup"),
        row(rf"{TRUST}\Cleanup\{GUID}", "$Function", data="SoftpubCleanup"),
    ),
    (
        "sip_system_library",
        row(VERIFY, "Dll", data=r"C:\Windows\System32\ntdll.dll"),
        row(VERIFY, "Dll", data="WINTRUST.DLL"),
    ),
    (
        "sip_unusual_location",
        row(VERIFY, "Dll", data=r"C:\Users\Public\wintrust.dll"),
        row(VERIFY, "Dll", data=r"C:\Windows\System32\wintrust.dll"),
    ),
    ("sip_unusual_location", row(VERIFY, "Dll", data=r"\\host\share\x.dll"), row(VERIFY, "Dll", data="mso.dll")),
    (
        "sip_unusual_location",
        row(VERIFY, "Dll", data=r"\??\C:\x.dll"),
        row(VERIFY, "Dll", data=r"%SystemRoot%\System32\x.dll"),
    ),
    ("sip_no_dll_extension", row(VERIFY, "Dll", data="wintrust.dll "), row(VERIFY, "Dll", data="WINTRUST.DLL")),
    (
        "sip_is_my_file_type",
        row(rf"{OID_32}\CryptSIPDllIsMyFileType\{GUID}", "Dll", data="x.dll"),
        row(rf"{OID_32}\CryptSIPDllIsMyFileType2\{GUID}", "Dll", data="x.dll"),
    ),
    (
        "crypt_oid_default_library",
        row(rf"{OID}\CryptSIPDllGetSignedDataMsg\DEFAULT", "Dll", "REG_MULTI_SZ", "x.dll"),
        row(REVOCATION, "Dll", "REG_MULTI_SZ", "cryptnet.dll"),
    ),
    (
        "trust_diagnostic_policy",
        row(rf"{TRUST}\DiagnosticPolicy\{GUID}", "$DLL", data="x.dll"),
        row(rf"{TRUST}\DiagnosticPolicy\{{573E31F8-DDBA-11D0-8CCB-00C04FC295EE}}", "$DLL", data="WINTRUST.DLL"),
    ),
    (
        "winsock_autodial_dll",
        row(WINSOCK, "AutodialDLL", data="x.dll"),
        row(WINSOCK, "AutodialDLL", data=r"C:\Windows\System32\rasadhlp.dll"),
    ),
    (
        "winsock_namespace_callout",
        row(WINSOCK, "NameSpace_Callout", data="x.dll"),
        row(WINSOCK, "NameSpace_Callout", data=r"C:\Windows\system32\fwpuclnt.dll"),
    ),
    (
        "winsock_redirected_catalog",
        row(WINSOCK, "Current_Protocol_Catalog", data="Protocol_Catalog8"),
        row(WINSOCK, "Current_NameSpace_Catalog", data="NameSpace_Catalog5"),
    ),
    (
        "winsock_appid_catalog",
        row(rf"{WINSOCK}\AppId_Catalog\2C69D9F1", "PermittedLspCategories", "REG_DWORD", "0"),
        row(rf"{WINSOCK}\AppId_Catalog\2C69D9F1", "PermittedLspCategories", "REG_DWORD", "-2147483584"),
    ),
    (
        "winsock_namespace_library",
        row(NAMESPACE, "LibraryPath", data="mswsock.dll"),
        row(NAMESPACE, "LibraryPath", data=r"%SystemRoot%\System32\mswsock.dll"),
    ),
    (
        "winsock_helper_dll",
        row(HELPER, "HelperDllName", data=r"C:\x.dll"),
        row(HELPER, "HelperDllName", data=r"%SystemRoot%\System32\wshtcpip.dll"),
    ),
    (
        "trust_publisher_state",
        row(rf"{HKU}\S-1-5-21-1-2-3-1001\{PUBLISHER}", "State", "REG_DWORD", "146944"),
        row(rf"{HKU}\S-1-5-21-1-2-3-1001\{PUBLISHER}", "State", "REG_DWORD", "146432"),
    ),
]


@pytest.mark.parametrize("case", FOUND_AND_STOCK, ids=lambda case: case[0])
def test_rule_finds_the_trick_and_not_the_stock(case: tuple[str, object, object]) -> None:
    name, trick, stock = case
    rule = RULES[name]
    assert judge(rule, trick).truth is Truth.TRUE  # type: ignore[arg-type]
    assert judge(rule, stock).truth is Truth.FALSE  # type: ignore[arg-type]


def test_all_shipped_rules_load() -> None:
    assert [problem for problem in REPORT.problems if problem.level is MessageLevel.ERROR] == []
    assert len(REPORT.rules) == len([path for path in FOLDER.rglob("*") if path.suffix in {".yml", ".toml"}])


@pytest.mark.parametrize("rule", REPORT.rules, ids=lambda rule: Path(rule.where.name).stem)
def test_shipped_rule_is_ours_planned_and_tells_what_to_do(rule: object) -> None:
    from fleetscan.model.rule import Rule  # noqa: PLC0415 - only to narrow

    assert isinstance(rule, Rule)
    assert (rule.author, rule.license) == ("fleetscan", "Apache-2.0")
    assert rule.techniques
    assert "## Triage" in rule.note
    assert "## Response" in rule.note
    assert make_plan([rule]).rules[0].label in {"exact", "complete", "complete under assumptions"}
