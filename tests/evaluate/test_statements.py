"""The numbered statements of the rule semantics that the example table does not show."""

from __future__ import annotations

import pytest

from fleetscan.evaluate import Context, judge, place, spellings, subjects_of
from fleetscan.evaluate.data import elastic_texts, sysmon_texts
from fleetscan.model.finding import Certainty
from fleetscan.model.rule import Dialect, Evidence, Subject
from fleetscan.model.truth import Truth
from tests.evaluate.writing import HKLM, HKU, eql, row, sigma, subkey

SID = "S-1-5-21-1-2-3-1001"
KEY = rf"{HKLM}\SOFTWARE\Vendor"
CCS = rf"{HKLM}\SYSTEM\CurrentControlSet"


@pytest.mark.parametrize(
    ("key", "also"),
    [
        (rf"{CCS}\Services", {r"HKLM\SYSTEM\CurrentControlSet\Services\v", r"HKLM\SYSTEM\ControlSet001\Services\v"}),
        (
            rf"{HKLM}\SYSTEM\ControlSet003\Services",
            {
                r"HKLM\SYSTEM\ControlSet003\Services\v",
                r"HKLM\SYSTEM\CurrentControlSet\Services\v",
                r"HKLM\SYSTEM\ControlSet001\Services\v",
            },
        ),
        (
            rf"{HKU}\{SID}_Classes\x",
            {
                rf"HKU\{SID}_Classes\x\v",
                rf"HKU\{SID}\Software\Classes\x\v",
                r"HKCU\Software\Classes\x\v",
                r"HKCR\x\v",
            },
        ),
        (rf"{HKLM}\SOFTWARE\Classes\x", {r"HKLM\SOFTWARE\Classes\x\v", r"HKCR\x\v"}),
        (
            rf"{HKLM}\SOFTWARE\Wow6432Node\Classes\x",
            {
                r"HKLM\SOFTWARE\Wow6432Node\Classes\x\v",
                r"HKLM\SOFTWARE\Classes\Wow6432Node\x\v",
                r"HKCR\Wow6432Node\x\v",
            },
        ),
        (
            rf"{HKU}\.DEFAULT\Environment",
            {r"HKU\.DEFAULT\Environment\v", r"HKU\S-1-5-18\Environment\v", r"HKCU\Environment\v"},
        ),
        (
            rf"{CCS}\Hardware Profiles\Current\x",
            {
                r"HKLM\SYSTEM\CurrentControlSet\Hardware Profiles\Current\x\v",
                r"HKLM\SYSTEM\CurrentControlSet\Hardware Profiles\0001\x\v",
                r"HKLM\SYSTEM\ControlSet001\Hardware Profiles\Current\x\v",
                r"HKLM\SYSTEM\ControlSet001\Hardware Profiles\0001\x\v",
                r"HKCC\x\v",
            },
        ),
        (rf"{HKLM}\SOFTWARE\Wow6432Node\x", {r"HKLM\SOFTWARE\Wow6432Node\x\v"}),
    ],
    ids=["ccs", "control-set", "user-classes", "classes", "wow-classes", "default-user", "hardware-profile", "wow"],
)
def test_n4_one_object_has_these_spellings(key: str, also: set[str]) -> None:
    assert set(spellings(row(key, "v"), Subject.VALUE, Dialect.SIGMA)) == also


def test_n2_n3_last_element_of_unnamed_value_and_of_keys() -> None:
    unnamed, key = row(KEY), subkey(KEY, "k")
    assert spellings(unnamed, Subject.VALUE, Dialect.SIGMA) == (r"HKLM\SOFTWARE\Vendor\(Default)",)
    assert spellings(unnamed, Subject.VALUE, Dialect.EQL) == (
        r"HKLM\SOFTWARE\Vendor\(Default)",
        "HKLM\\SOFTWARE\\Vendor\\",
    )
    assert spellings(key, Subject.KEY, Dialect.SIGMA) == (r"HKLM\SOFTWARE\Vendor\k",)
    assert spellings(key, Subject.KEY, Dialect.EQL) == (r"HKLM\SOFTWARE\Vendor\k", "HKLM\\SOFTWARE\\Vendor\\k\\")


def test_n4_finding_outside_the_current_control_set_is_marked() -> None:
    rule = sigma(r"TargetObject|contains: '\CurrentControlSet\Services\'")
    old = row(rf"{HKLM}\SYSTEM\ControlSet002\Services\x", "v")
    assert judge(rule, old).remarks == ("in ControlSet002, which is not the current one",)
    assert judge(rule, old, context=Context(current_control_set=2)).remarks == ()


def test_n5_a_filter_on_any_spelling_means_the_object() -> None:
    detection = r"""
s:
  TargetObject|endswith: '\v'
f:
  TargetObject|startswith: 'HKCR\'
condition: s and not f
"""
    assert judge(sigma(detection), row(rf"{HKLM}\SOFTWARE\Classes\x", "v")).truth is Truth.FALSE


def test_n7_application_hives_are_never_matched() -> None:
    rule = sigma(r"TargetObject|startswith: '\REGISTRY\A\'")
    assert judge(rule, row(rf"{HKLM}\SOFTWARE\A", "v")).truth is Truth.FALSE


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (rf"{HKU}\{SID}_Classes\x", rf"{HKU}\{SID}\Software\Classes\X", True),
        (rf"{HKLM}\SOFTWARE\Wow6432Node\Classes\x", rf"{HKLM}\SOFTWARE\Classes\Wow6432Node\x", True),
        (rf"{HKU}\.DEFAULT\x", rf"{HKU}\S-1-5-18\x", True),
        (rf"{HKLM}\SYSTEM\ControlSet001\x", rf"{CCS}\x", True),
        (rf"{HKLM}\SOFTWARE\Wow6432Node\x", rf"{HKLM}\SOFTWARE\x", False),
        (rf"{HKU}\{SID}\x", rf"{HKLM}\x", False),
    ],
)
def test_n8_rows_of_one_place(one: str, other: str, same: bool) -> None:  # noqa: FBT001 - expected
    assert (place(row(one, "v")) == place(row(other, "V"))) is same


def test_n9_pattern_without_wow6432node_does_not_match_a_name_with_it() -> None:
    view = row(rf"{HKLM}\SOFTWARE\Wow6432Node\Microsoft", "v")
    assert judge(sigma(r"TargetObject|startswith: 'HKLM\SOFTWARE\Microsoft\'"), view).truth is Truth.FALSE
    assert judge(sigma(r"TargetObject: 'HKLM\SOFTWARE\\*Microsoft\v'"), view).truth is Truth.TRUE


@pytest.mark.parametrize(
    ("kind", "data", "sysmon", "elastic"),
    [
        ("REG_DWORD", "1", ("DWORD (0x00000001)",), ("1", "0x00000001")),
        ("REG_DWORD", "-1", ("DWORD (0xffffffff)",), ("4294967295", "0xffffffff")),
        ("REG_QWORD", "-1", ("QWORD (0xffffffff-0xffffffff)",), ("18446744073709551615", "0xffffffffffffffff")),
        ("REG_QWORD", "4294967298", ("QWORD (0x00000001-0x00000002)",), ("4294967298", "0x0000000100000002")),
        ("REG_DWORD", "nonsense", ("Binary Data",), None),
        ("REG_SZ", "x", ("x",), ("x",)),
        ("REG_SZ", "", ("(Empty)", ""), ("", "(empty)")),
        ("REG_EXPAND_SZ", "%x%", ("%x%",), ("%x%",)),
        ("REG_MULTI_SZ", "a,b", ("Binary Data", "a,b", "a", "b"), ("a,b", "a", "b")),
        ("REG_MULTI_SZ", "", ("Binary Data", "(Empty)", ""), ("",)),
        ("REG_DWORD_BIG_ENDIAN", "1", ("Binary Data", "DWORD (0x00000001)"), None),
        ("REG_LINK", r"\Registry\x", ("Binary Data", r"\Registry\x"), (r"\Registry\x",)),
        ("REG_BINARY", "00FF", ("Binary Data",), None),
        ("REG_NONE", "", ("Binary Data",), None),
        ("UNKNOWN", "", ("Binary Data",), None),
    ],
)
def test_d1_d2_texts_of_data(kind: str, data: str, sysmon: tuple[str, ...], elastic: tuple[str, ...] | None) -> None:
    value = row(KEY, "v", kind, data)
    assert (sysmon_texts(value), elastic_texts(value)) == (sysmon, elastic)


@pytest.mark.parametrize(
    ("line", "kind", "data", "how"),
    [
        ("Details: '%%x%%'", "REG_BINARY", "", None),
        ("Details: '%%x%%'", "REG_SZ", "%x%", "with %% read as %"),
        (r"Details: '%SystemRoot%\a'", "REG_SZ", r"C:\Windows\a", "equal after expansion of %SystemRoot%"),
        (r"Details: 'C:\Windows\a'", "REG_EXPAND_SZ", r"%windir%\a", "equal after expansion of %windir%"),
        (r"Details: '%SystemRoot%\\*.dll'", "REG_SZ", r"c:\windows\a.dll", "equal after expansion of %SystemRoot%"),
        (r"Details: '%unknown%\a'", "REG_SZ", r"C:\Windows\a", None),
        (r"Details: '%SystemRoot%\a'", "REG_MULTI_SZ", r"C:\Windows\a", None),
        (r"Details|re: '%%x%%'", "REG_SZ", "a%x%", "with %% read as %"),
    ],
)
def test_d4_d5_d6_percent_signs_and_the_environment(line: str, kind: str, data: str, how: str | None) -> None:
    judgement = judge(sigma(line), row(KEY, "v", kind, data))
    assert [match.how for match in judgement.matches] == ([] if how is None else [how])


def test_d5_environment_of_the_host_is_used() -> None:
    rule, value = sigma(r"Details: '%SystemRoot%\a'"), row(KEY, "v", data=r"D:\WinNT\a")
    assert judge(rule, value).truth is Truth.FALSE
    assert judge(rule, value, context=Context(environment={"systemroot": r"D:\WinNT"})).truth is Truth.TRUE


def test_d3_d8_null_is_not_the_empty_text() -> None:
    binary = row(KEY, "v", "REG_BINARY", "00")
    assert judge(eql("registry.data.strings == null"), binary).truth is Truth.TRUE
    assert judge(eql("registry.data.strings != null"), binary).truth is Truth.FALSE
    assert judge(eql('registry.data.strings : "*"'), binary).truth is Truth.FALSE
    assert judge(sigma("Details: null"), row(KEY, "v")).truth is Truth.FALSE
    assert judge(sigma("Details: ''"), row(KEY, "v")).truth is Truth.TRUE


def test_t1_names_ignore_case_whatever_the_operator() -> None:
    value = row(KEY, "NAME", data="X")
    assert judge(sigma(r"TargetObject|cased: 'hklm\software\vendor\name'"), value).truth is Truth.TRUE
    assert judge(sigma(r"TargetObject|re: 'vendor\\name$'"), value).truth is Truth.TRUE
    assert judge(eql('registry.value regex "n.*"'), value).truth is Truth.TRUE


def test_t2_folding_is_per_character() -> None:
    assert judge(sigma("Details: 'STRASSE'"), row(KEY, "v", data="straße")).truth is Truth.FALSE
    assert judge(sigma("Details: 'ÉTÉ'"), row(KEY, "v", data="été")).truth is Truth.TRUE


def test_text_with_lone_surrogates_is_compared_without_an_error() -> None:
    value = row(KEY, "v\ud800", data="a\udfffb")
    assert judge(sigma("Details: 'a?b'"), value).truth is Truth.TRUE
    assert judge(sigma("Details|re: 'a.b'"), value).truth is Truth.TRUE


@pytest.mark.parametrize(
    ("line", "subject", "truth"),
    [
        ("EventType: setvalue", row(KEY, "v"), Truth.TRUE),
        ("EventType: RenameValue", row(KEY, "v"), Truth.UNKNOWN),
        ("EventType: DeleteValue", row(KEY, "v"), Truth.FALSE),
        ("EventID: 13", row(KEY, "v"), Truth.TRUE),
        ("EventID: 12", row(KEY, "v"), Truth.FALSE),
        ("EventID: 12", subkey(KEY, "k"), Truth.TRUE),
        ("EventID: 14", subkey(KEY, "k"), Truth.UNKNOWN),
        (r"NewName|endswith: '\k'", subkey(KEY, "k"), Truth.UNKNOWN),
        (r"NewName|endswith: '\other'", subkey(KEY, "k"), Truth.FALSE),
    ],
)
def test_e2_e3_e4_kind_of_event(line: str, subject: object, truth: Truth) -> None:
    assert judge(sigma(line, category="registry_event"), subject).truth is truth  # type: ignore[arg-type]


def test_e5_value_that_appeared_was_also_created() -> None:
    rule = eql('event.type == "creation"')
    assert judge(rule, row(KEY, "v")).truth is Truth.FALSE
    assert judge(rule, row(KEY, "v"), context=Context(change="added")).truth is Truth.TRUE
    assert judge(rule, subkey(KEY, "k")).truth is Truth.TRUE


def test_k1_only_tests_for_absence_of_what_every_event_carries_are_decided() -> None:
    assert judge(sigma("User: ''"), row(KEY, "v")).truth is Truth.FALSE
    assert judge(sigma("CommandLine: null"), row(KEY, "v")).truth is Truth.UNKNOWN
    assert judge(sigma("Image|exists: true"), row(KEY, "v")).truth is Truth.TRUE


def test_k2_an_unknown_and_its_opposite_cancel_out() -> None:
    detection = "a:\n  Image: x\nb:\n  Details: y\ncondition: (a or not a) and b"
    assert judge(sigma(detection), row(KEY, "v", data="y")).certainty is Certainty.CERTAIN
    either = "a:\n  Image: x\nb:\n  Details: y\ncondition: (a and b) or (not a and b)"
    assert judge(sigma(either), row(KEY, "v", data="y")).certainty is Certainty.CERTAIN
    other = "a:\n  Image: x\nb:\n  Image: y\ncondition: a or not b"
    assert judge(sigma(other), row(KEY, "v", data="y")).certainty is Certainty.POSSIBLE


@pytest.mark.parametrize(
    ("detection", "sentence"),
    [
        ("s:\n  Details: x\nf:\n  Image: 'C:\\a.exe'\ncondition: s and not f", r"possible, unless written by C:\a.exe"),
        (
            "s:\n  Image|endswith: '\\lsass.exe'\ncondition: s",
            r"possible, if written by a process whose image ends in \lsass.exe",
        ),
        (
            "s:\n  Details: x\nf:\n  Image: a\n  User: b\ncondition: s and not f",
            "possible, unless Image is a and User is b",
        ),
        (
            "s:\n  Details: x\nf:\n  Image: a\ng:\n  User|contains: [b, c]\ncondition: s and not 1 of f and not g",
            "possible, unless Image is a or User contains b or c",
        ),
    ],
)
def test_v3_possible_finding_says_what_would_excuse_or_confirm_it(detection: str, sentence: str) -> None:
    assert judge(sigma(detection), row(KEY, "v", data="x")).sentence == sentence


def test_v4_judgement_names_what_matched() -> None:
    judgement = judge(sigma(r"TargetObject|startswith: 'HKCR\'"), row(rf"{HKLM}\SOFTWARE\Classes\x", "v"))
    assert [match.text for match in judgement.matches] == [r"HKCR\x\v"]
    assert list(judgement.explanation.lines()) == [r'TRUE    TargetObject matches "HKCR\*" <- HKCR\x\v']


@pytest.mark.parametrize(
    ("detection", "evidence"),
    [
        ("s:\n  TargetObject: x\n  Details: y\ncondition: s", Evidence.CONTENT),
        ("s:\n  TargetObject: x\ncondition: s", Evidence.PRESENCE),
        ("s:\n  TargetObject: x\nf:\n  Details: y\ncondition: s and not f", Evidence.PRESENCE),
        ("s:\n  Details: x\nt:\n  TargetObject: y\ncondition: s or t", Evidence.PRESENCE),
        ("s:\n  Details: x\nt:\n  Image: y\ncondition: s or t", Evidence.CONTENT),
    ],
)
def test_v5_evidence(detection: str, evidence: Evidence) -> None:
    assert sigma(detection).evidence is evidence


def test_r1_account_names_are_judged_as_the_values_osquery_does_not_return() -> None:
    account = subkey(rf"{HKLM}\SAM\SAM\Domains\Account\Users\Names", "evil$")
    (key, _), (value, made) = subjects_of(account)
    assert (key, value) == (Subject.KEY, Subject.VALUE)
    rule = sigma("TargetObject|endswith: '\\Names\\evil$\\(Default)'\n  Details: Binary Data")
    assert judge(rule, made).truth is Truth.TRUE
    assert len(list(subjects_of(subkey(rf"{HKLM}\SAM\SAM\Domains", "Account")))) == 1


def test_s3_subject_of_a_key_row_is_the_subkey() -> None:
    rule = sigma(r"TargetObject: 'HKLM\SOFTWARE\Vendor\k'", category="registry_add")
    assert judge(rule, subkey(KEY, "k")).truth is Truth.TRUE
