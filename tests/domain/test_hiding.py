"""Ways to keep a key or a row out of a listing: what stays visible of them, and what is then not called removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleetscan.domain.decode import decode
from fleetscan.domain.judge import judge_all
from fleetscan.domain.known_good import load
from fleetscan.domain.shape import whole_host
from fleetscan.model.finding import Severity, VerdictKind, What
from fleetscan.model.registry import SUBKEY, RegistryRow
from tests.domain.catalogue import entry, namespace, packed
from tests.domain.rows import DNS, OID, TRUST, WINSOCK, key

if TYPE_CHECKING:
    from fleetscan.domain.verdicts import Judged

HELPER = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters\Winsock"
FLAG = (
    r"HKEY_USERS\S-1-5-21-1-2-3-1001\Software\Microsoft\Windows\CurrentVersion\WinTrust\Trust Providers"
    r"\Software Publishing"
)
CATALOG = f"{WINSOCK}\\Protocol_Catalog9"
TCP_ROW = entry(1, packed())
MSWSOCK = r"%SystemRoot%\System32\mswsock.dll"


def judged(rows: list[RegistryRow], *unproven: str) -> list[Judged]:
    return list(judge_all(decode(rows, unproven=unproven)))


def incomplete(rows: list[RegistryRow], *unproven: str) -> list[str]:
    found = [one for one in judged(rows, *unproven) if one.verdict.what is What.INCOMPLETE]
    assert all(one.verdict.severity >= Severity.MEDIUM for one in found)
    return [one.entity.identity[-1][1] for one in found]


@pytest.mark.parametrize(
    "silent",
    [
        r"HKEY_LOCAL_MACHINE\SOFTWARE",
        r"HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432Node\Microsoft",
        r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services",
        OID.rpartition("\\")[0],
        OID,
        OID.replace("SOFTWARE", r"SOFTWARE\WOW6432Node"),
        r"HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432Node\Microsoft\Cryptography",
        TRUST,
        WINSOCK,
        CATALOG,
        f"{WINSOCK}\\AppId_Catalog",
        r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList",
    ],
)
def test_a_silent_key_that_holds_an_area_is_incomplete(silent: str) -> None:
    assert incomplete([], silent) == [silent]


def test_a_silent_helper_key_is_the_helper_of_its_transport() -> None:
    [one] = judged([], HELPER)
    assert (one.entity.kind, one.entity.get("service")) == ("winsock_helper", "Tcpip")
    assert one.verdict.what is What.INCOMPLETE


def test_empty_keys_that_windows_makes_are_no_gap() -> None:
    volatile = f"{WINSOCK}\\000003F1", f"{CATALOG}\\0000000A"
    assert incomplete([], *volatile, r"HKEY_LOCAL_MACHINE\SOFTWARE\Contoso\Empty") == []


def test_a_silent_key_of_which_an_entity_speaks_is_said_once() -> None:
    silent = f"{CATALOG}\\Catalog_Entries64\\000000000002"
    rows = [*TCP_ROW, *key(silent)]
    assert incomplete(rows, silent) == ["000000000002"]


def test_without_the_values_that_name_the_catalogues_no_value_is_known_to_be_absent() -> None:
    listing = [RegistryRow(WINSOCK, "Protocol_Catalog9", SUBKEY, "")]
    stock = {"Current_Protocol_Catalog": "Protocol_Catalog9", "Current_NameSpace_Catalog": "NameSpace_Catalog5"}
    assert incomplete([*listing, *key(WINSOCK, **stock)]) == []
    assert "AutodialDLL" in incomplete(listing)
    assert "Current_NameSpace_Catalog" in incomplete([*listing, *key(WINSOCK, Current_Protocol_Catalog="x")])


@pytest.mark.parametrize(
    ("counter", "numbers", "what"),
    [
        ({"Num_Catalog_Entries64": ("REG_DWORD", "2")}, (1, 2), None),
        ({"Num_Catalog_Entries64": ("REG_DWORD", "3")}, (1, 2), What.INCOMPLETE),
        ({"Num_Catalog_Entries64": ("REG_DWORD", "1")}, (1, 2), What.SUSPICIOUS),
        ({"Num_Catalog_Entries64": ("REG_DWORD", "2")}, (1, 5), What.SUSPICIOUS),
        ({"Serial_Access_Num": ("REG_DWORD", "2")}, (1, 2), What.INCOMPLETE),
    ],
    ids=["agrees", "more than shown", "fewer than shown", "a number is skipped", "no counter"],
)
def test_counter_and_numbers_of_a_catalogue(
    counter: dict[str, str | tuple[str, str]], numbers: tuple[int, int], what: What | None
) -> None:
    first, second = (entry(number, packed(catalog_id=1000 + number, numbers=(2, number, 6))) for number in numbers)
    found = [one for one in judged([*key(CATALOG, **counter), *first, *second]) if one.entity.kind == "winsock_catalog"]
    [one] = found
    assert one.verdict.what is (what or What.STOCK)
    assert (one.verdict.kind is VerdictKind.STRUCTURAL) == (what is not None)


def test_a_row_that_cannot_be_read_may_be_the_one_that_is_missed() -> None:
    both = [
        row
        for view in ("32", "64")
        for row in namespace(2, "6642243A-3BA8-4AA6-BAA5-2E0BD71FDD83", r"%SystemRoot%\system32\NLAapi.dll", view=view)
    ]
    rows = [*both, *namespace(1, DNS, MSWSOCK, view="64")]
    [gone] = [one for one in judged(rows) if one.verdict.what is What.REMOVED]
    assert gone.entity.get("view") == "32"
    silent = [*rows, *key(f"{WINSOCK}\\NameSpace_Catalog5\\Catalog_Entries\\000000000001")]
    assert not [one for one in judged(silent) if one.verdict.what is What.REMOVED]


@pytest.mark.parametrize(
    "place",
    [
        f"{OID} ",
        f"{OID}\\CryptSIPDllVerifyIndirectData ",
        f"{OID}\\ CryptSIPDllVerifyIndirectData",
        f"{TRUST}\\FinalPolicy ",
        f"{CATALOG} ",
        f"{CATALOG}\\Catalog_Entries64 ",
        f"{CATALOG}\\Catalog_Entries64\\000000000001 ",
        f"{WINSOCK}\\AppId_Catalog\\343305C9 ",
    ],
)
def test_a_name_with_a_blank_is_reported_wherever_it_stands(place: str) -> None:
    parent, _, name = place.rpartition("\\")
    siblings = [*TCP_ROW, RegistryRow(f"{WINSOCK}\\AppId_Catalog", "2C69D9F1", SUBKEY, "")]
    odd = [one for one in judged([*siblings, RegistryRow(parent, name, SUBKEY, "")]) if one.entity.kind == "area"]
    assert [(one.entity.get("key"), one.verdict.severity) for one in odd] == [(place, Severity.MEDIUM)]


@pytest.mark.parametrize("below", ["", "\\Software\\Microsoft", FLAG.partition("1001")[2]])
def test_a_hive_in_which_a_key_on_the_way_is_silent_is_incomplete(below: str) -> None:
    hive = FLAG.partition("\\Software")[0]
    rows = [RegistryRow("HKEY_USERS", hive.rpartition("\\")[2], SUBKEY, "")]
    [user] = judged(rows, hive + below)
    assert (user.entity.kind, user.verdict.what, user.verdict.severity) == ("user", What.INCOMPLETE, Severity.LOW)
    assert judged(rows, f"{hive}\\Software\\Microsoft\\Cryptography")[0].verdict.what is What.OBSERVED


@pytest.mark.parametrize(
    ("rows", "severity"),
    [
        (key(HELPER, HelperDllName=r"%SystemRoot%\System32\wshtcpip.dll"), Severity.MEDIUM),
        (
            key(
                f"{WINSOCK}\\AppId_Catalog\\343305C9",
                AppFullPath=r"C:\Windows\System32\lsass.exe",
                PermittedLspCategories=("REG_DWORD", "1073741824"),
            ),
            Severity.MEDIUM,
        ),
        (namespace(1, DNS, MSWSOCK), Severity.MEDIUM),
        (key(FLAG, State=("REG_DWORD", "146432")), Severity.LOW),
    ],
    ids=["helper", "program", "name space", "signature flag"],
)
def test_one_value_name_twice_is_the_trace_of_a_name_with_a_nul(rows: list[RegistryRow], severity: Severity) -> None:
    assert {one.verdict.kind for one in judged(rows)} == {VerdictKind.EXPECTED}
    [one] = [one for one in judged([*rows, rows[-1]]) if one.verdict.kind is VerdictKind.STRUCTURAL]
    assert (one.verdict.what, one.verdict.severity) == (What.SUSPICIOUS, severity)


def steps(*guids: str, views: tuple[str, ...]) -> list[RegistryRow]:
    """One step of every action in every view."""
    return [
        row
        for view in views
        for guid in guids
        for row in key(
            f"{TRUST.replace('SOFTWARE', view)}\\Message\\{{{guid}}}",
            __DLL="WINTRUST.DLL",
            __Function="SoftpubLoadMessage",
        )
    ]


@pytest.mark.parametrize(
    "views", [("SOFTWARE",), ("SOFTWARE", r"SOFTWARE\WOW6432Node")], ids=["one view", "both views"]
)
def test_a_listing_whose_last_stock_registrations_are_missing_was_cut(views: tuple[str, ...]) -> None:
    known = load()
    stock = sorted(fact.guid for fact in known.of_kind("trust") if "Message" in fact.functions and fact.is_stock)

    def cut(*guids: str) -> list[str]:
        found = whole_host(judged(steps(*guids, views=views)), known, frozenset())
        assert {one.verdict.what for one in found} <= {What.INCOMPLETE}
        return [one.entity.get("key") for one in found]

    assert cut(*stock) == []
    assert cut(*stock[:-3]) == [f"{TRUST.replace('SOFTWARE', view)}\\Message" for view in views]
    assert cut(*stock[:-2]) == [], "two may be missing for other reasons"
    assert cut(*stock[:2]) == [], "so few say nothing of the others"
    assert cut(*stock[:-3], "FFFFFFFF-0000-0000-0000-000000000000") == [], "the listing went on"
