"""Which keys can decide a rule: rule-semantics C1 to C9, one case a line."""

from __future__ import annotations

import pytest

from fleetscan.planner.scopes import Label, Options, rule_scopes
from tests.planner.asking import eql, sigma, target

RUN = r"HKEY_LOCAL_MACHINE\SOFTWARE\MICROSOFT\WINDOWS\CURRENTVERSION\RUN"
CCS = r"HKEY_LOCAL_MACHINE\SYSTEM\CURRENTCONTROLSET"
POLICIES = r"MICROSOFT\WINDOWS\CURRENTVERSION\POLICIES\SYSTEM"


def patterns(rule: object, options: Options | None = None) -> set[str]:
    found = rule_scopes(rule, options or Options())  # type: ignore[arg-type]
    return {scope.pattern for scope in found.scopes}


SIGMA_PATTERNS = {
    "the pattern ends with the run: its parent alone": (
        {"whole": r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run\x"},
        {RUN},
    ),
    "a gap behind a backslash: the subtree": (
        {"startswith": r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run\\"},
        {RUN + r"\**"},
    ),
    "a gap inside an element: the parent too, and every child with that prefix": (
        {"startswith": r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"},
        {RUN.removesuffix(r"\RUN"), RUN.removesuffix("RUN") + r"<RUN*>\**"},
    ),
    "any control set is the current one": (
        {"whole": r"HKLM\SYSTEM\ControlSet002\Control\Lsa\x"},
        {CCS + r"\CONTROL\LSA"},
    ),
    "a floating run stands at the root of every hive that begins so": (
        {"endswith": r"\Software\Vendor\Product\x"},
        {r"HKEY_LOCAL_MACHINE\SOFTWARE\VENDOR\PRODUCT", r"HKEY_USERS\<SID>\SOFTWARE\VENDOR\PRODUCT"},
    ),
    "a value's name is looked for where it is known": (
        {"endswith": r"\EnableLUA"},
        {
            rf"HKEY_LOCAL_MACHINE\SOFTWARE\{POLICIES}",
            rf"HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432NODE\{POLICIES}",
            rf"HKEY_USERS\<SID>\SOFTWARE\{POLICIES}",
            rf"HKEY_USERS\<SID>\SOFTWARE\WOW6432NODE\{POLICIES}",
        },
    ),
    "a user's class hive is also called Software\\Classes": (
        {"whole": r"HKU\S-1-5-21-1-2-3-1001\Software\Classes\a\b"},
        {r"HKEY_USERS\S-1-5-21-1-2-3-1001\SOFTWARE\CLASSES\A", r"HKEY_USERS\S-1-5-21-1-2-3-1001_CLASSES\A"},
    ),
    "classes root is the machine's and every user's classes": (
        {"whole": r"HKCR\a\b"},
        {
            r"HKEY_LOCAL_MACHINE\SOFTWARE\CLASSES\A",
            r"HKEY_USERS\<*_CLASSES>\A",
            r"HKEY_USERS\<SID>\SOFTWARE\CLASSES\A",
        },
    ),
    "the end of a class hive's name": (
        {"endswith": r"_Classes\mscfile\x"},
        {r"HKEY_USERS\<*_CLASSES>\MSCFILE", r"HKEY_USERS\<SID>\SOFTWARE\CLASSES\MSCFILE"},
    ),
    "the system's user hive has two names": (
        {"whole": r"HKU\.DEFAULT\Environment\x"},
        {r"HKEY_USERS\.DEFAULT\ENVIRONMENT", r"HKEY_USERS\S-1-5-18\ENVIRONMENT"},
    ),
    "current config is the current hardware profile": (
        {"whole": r"HKCC\Software\x"},
        {rf"{CCS}\HARDWARE PROFILES\CURRENT\SOFTWARE", rf"{CCS}\HARDWARE PROFILES\0001\SOFTWARE"},
    ),
}


@pytest.mark.parametrize(("modifiers", "expected"), SIGMA_PATTERNS.values(), ids=SIGMA_PATTERNS.keys())
def test_pattern_gives_keys(modifiers: dict[str, str], expected: set[str]) -> None:
    assert patterns(target(**modifiers)) == expected


EQL_PATTERNS = {
    "a trailing backslash is the unnamed value; the key itself may be meant as well": (
        r'registry where registry.path : "HKLM\\SOFTWARE\\A\\B\\"',
        {r"HKEY_LOCAL_MACHINE\SOFTWARE\A\B", r"HKEY_LOCAL_MACHINE\SOFTWARE\A"},
    ),
    "only values change: no parent is listed": (
        r'registry where event.type == "change" and registry.path : "HKLM\\SOFTWARE\\A\\B\\*"',
        {r"HKEY_LOCAL_MACHINE\SOFTWARE\A\B\**"},
    ),
    "any user's hive": (
        r'registry where event.type : "change" and registry.path : "HKU\\*\\Environment\\UserInitMprLogonScript"',
        {r"HKEY_USERS\<SID>\ENVIRONMENT"},
    ),
    "a regular expression keeps its literal runs": (
        r'registry where event.type == "change" and registry.path regex~ """HKLM\\SOFTWARE\\A\\B\\[0-9]+"""',
        {r"HKEY_LOCAL_MACHINE\SOFTWARE\A\B\**"},
    ),
    "the key alone": (
        r'registry where event.type == "change" and registry.key : "SOFTWARE\\A\\B" and registry.hive : "HKLM"',
        {
            r"HKEY_LOCAL_MACHINE\SOFTWARE\A",
            r"HKEY_LOCAL_MACHINE\SOFTWARE\A\B",
            r"HKEY_USERS\SOFTWARE\A",
            r"HKEY_USERS\SOFTWARE\A\B",
            r"HKEY_USERS\<SID>\SOFTWARE\A",
            r"HKEY_USERS\<SID>\SOFTWARE\A\B",
            r"HKEY_LOCAL_MACHINE\SOFTWARE\CLASSES\SOFTWARE\A",
            r"HKEY_LOCAL_MACHINE\SOFTWARE\CLASSES\SOFTWARE\A\B",
            r"HKEY_USERS\<*_CLASSES>\SOFTWARE\A",
            r"HKEY_USERS\<*_CLASSES>\SOFTWARE\A\B",
            r"HKEY_USERS\<SID>\SOFTWARE\CLASSES\SOFTWARE\A",
            r"HKEY_USERS\<SID>\SOFTWARE\CLASSES\SOFTWARE\A\B",
            rf"{CCS}\HARDWARE PROFILES\CURRENT\SOFTWARE\A",
            rf"{CCS}\HARDWARE PROFILES\CURRENT\SOFTWARE\A\B",
            rf"{CCS}\HARDWARE PROFILES\0001\SOFTWARE\A",
            rf"{CCS}\HARDWARE PROFILES\0001\SOFTWARE\A\B",
        },
    ),
}


@pytest.mark.parametrize(("query", "expected"), EQL_PATTERNS.values(), ids=EQL_PATTERNS.keys())
def test_query_gives_keys(query: str, expected: set[str]) -> None:
    assert patterns(eql(query)) == expected


def test_and_takes_its_best_operand_and_never_joins_fragments() -> None:
    rule = target(contains=r"\SYSTEM\CurrentControlSet\Services\\", endswith=r"\ImagePath")
    assert patterns(rule) == {
        CCS + r"\SERVICES\**",
        r"HKEY_USERS\<SID>\SYSTEM\CURRENTCONTROLSET\SERVICES\**",
    }


def test_what_follows_a_gap_filters_the_rows_of_a_subtree() -> None:
    rule = target(startswith=r"HKLM\SYSTEM\CurrentControlSet\Services\\", endswith=r"\ImagePath")
    (scope,) = rule_scopes(rule).scopes
    assert scope.text == CCS + r"\SERVICES\** where path '*\\IMAGEPATH'"


def test_branch_without_path_is_named_and_the_others_are_planned() -> None:
    rule = sigma(
        r"""
a:
    TargetObject: 'HKLM\SOFTWARE\A\B'
b:
    TargetObject|contains: 'xyzzy'
condition: a or b
"""
    )
    found = rule_scopes(rule)
    assert found.label is Label.PARTIAL
    assert [message.code for message in found.messages] == ["P101"]
    assert "xyzzy" in found.messages[0].text
    assert {scope.pattern for scope in found.scopes} == {r"HKEY_LOCAL_MACHINE\SOFTWARE\A"}


def test_negated_path_bounds_nothing() -> None:
    rule = sigma(
        r"""
a:
    Image|endswith: '\x.exe'
b:
    TargetObject|startswith: 'HKLM\SOFTWARE\A\\'
condition: a and not b
"""
    )
    assert rule_scopes(rule).label is Label.UNPLANNABLE


LABELS = {
    "one key": ({"whole": r"HKLM\SOFTWARE\A\b"}, Label.EXACT, 0),
    "a subtree": ({"startswith": r"HKLM\SOFTWARE\A\\"}, Label.COMPLETE, 0),
    "one literal is an assumption": ({"endswith": r"\EnableLUA"}, Label.ASSUMED, 1),
    "below a wildcard": ({"endswith": r"\shell\open\command\(Default)"}, Label.ASSUMED, 2),
    "without a leading backslash the element may be longer": ({"endswith": r"Software\A\B\c"}, Label.ASSUMED, 1),
    "nowhere": ({"contains": "xyzzy"}, Label.UNPLANNABLE, 3),
}


@pytest.mark.parametrize(("modifiers", "label", "level"), LABELS.values(), ids=LABELS.keys())
def test_label_and_level(modifiers: dict[str, str], label: Label, level: int) -> None:
    found = rule_scopes(target(**modifiers))
    assert (found.label, found.level) == (label, level)
    assert ("P110" in {message.code for message in found.messages}) == (level in (1, 2))


def test_whole_hive_is_expensive_and_kept_out_unless_asked_for() -> None:
    rule = target(contains=r"\Software\Classes\\", endswith="xyzzy")
    found = rule_scopes(rule)
    assert found.label is Label.UNPLANNABLE
    assert not found.scopes
    assert r"HKEY_LOCAL_MACHINE\SOFTWARE\CLASSES\**" in {scope.pattern for scope in found.expensive}
    taken = rule_scopes(rule, Options(include_expensive=True))
    assert {scope.id for scope in found.expensive} <= {scope.id for scope in taken.scopes}
    assert taken.label is Label.COMPLETE


def test_deep_mode_assumes_nothing() -> None:
    assert patterns(target(endswith=r"\EnableLUA"), Options(deep=True)) == {r"HKEY_LOCAL_MACHINE\**", r"HKEY_USERS\**"}


def test_delete_rule_needs_a_baseline() -> None:
    rule = sigma("s:\n    TargetObject: 'HKLM\\SOFTWARE\\A\\b'\ncondition: s", category="registry_delete")
    found = rule_scopes(rule)
    assert found.needs_baseline
    assert [scope.pattern for scope in found.scopes] == [r"HKEY_LOCAL_MACHINE\SOFTWARE\A"]
