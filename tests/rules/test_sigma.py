"""Sigma as its modifiers, lists, conditions and escapes say (rule-semantics T4, T6, K4, E1)."""

from __future__ import annotations

import pytest

from fleetscan.evaluate import judge
from fleetscan.model.finding import Severity
from fleetscan.model.rule import Subject
from fleetscan.model.truth import Truth
from tests.evaluate.writing import HKLM, loaded, refused, row, sigma

KEY = rf"{HKLM}\SOFTWARE\Vendor\Product"
HEAD = "title: t\nlogsource: {product: windows, category: registry_set}\n"


@pytest.mark.parametrize(
    ("line", "data", "found"),
    [
        ("Details: abc", "ABC", True),
        ("Details: abc", "abcd", False),
        ("Details|contains: b", "abc", True),
        ("Details|startswith: b", "abc", False),
        ("Details|endswith: C", "abc", True),
        ("Details: a*c", "abbc", True),
        ("Details: a?c", "abbc", False),
        ("Details: a?c", "aßc", True),
        (r"Details: 'a\*c'", "abc", False),
        (r"Details: 'a\*c'", "a*c", True),
        (r"Details: '\\srv\share'", r"\srv\share", True),
        (r"Details: '\\\\srv'", r"\\srv", True),
        ("Details: [x, y]", "y", True),
        ("Details|contains|all: [x, y]", "y", False),
        ("Details|contains|all: [x, y]", "y-x", True),
        ("Details|cased: abc", "ABC", False),
        ("Details|contains|cased: b", "abc", True),
        ("Details|re: 'b+c$'", "abbc", True),
        ("Details|re: 'B'", "abc", False),
        ("Details|re|i: 'B'", "abc", True),
        ("Details|re|s: 'a.c'", "a\nc", True),
        ("Details|re: 'a.c'", "a\nc", False),
        ("Details|re|m: '^c'", "a\nc", True),
        ("Details|windash|contains: ' -enc'", "powershell /enc", True),
        ("Details|base64offset|contains: foobar", "xZm9vYmFyx", True),
        ("Details|wide|base64offset|contains: foo", "AAGYAbwBvAA", True),
        ("Details|exists: true", "x", True),
        ("Details|exists: false", "x", False),
        ("Details|gt: 5", "7", True),
        ("Details|lte: 5", "7", False),
        ("Details|neq: x", "y", True),
        ("Details: ''", "", True),
        ("Details: ''", "x", False),
        ("Details: null", "x", False),
    ],
)
def test_modifier_means_on_text_data_what_sigma_says(line: str, data: str, found: bool) -> None:  # noqa: FBT001 - expected
    assert (judge(sigma(line), row(KEY, "v", data=data)).truth is Truth.TRUE) is found


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("a", True),
        ("b", False),
        ("a and b", False),
        ("a or b", True),
        ("a and not b", True),
        ("not (a and b)", True),
        ("not not a", True),
        ("1 of a*", True),
        ("all of a*", False),
        ("1 of them", True),
        ("all of them", False),
        ("any of b*", False),
        ("[b, a]", True),
        ("a and (b or (a and not b))", True),
    ],
)
def test_condition_links_selections(condition: str, found: bool) -> None:  # noqa: FBT001 - expected
    detection = f"a:\n  Details: x\na2:\n  Details: never\nb:\n  Details: y\n_c:\n  Details: z\ncondition: {condition}"
    assert (judge(sigma(detection), row(KEY, "v", data="x")).truth is Truth.TRUE) is found


def test_selections_that_start_with_an_underscore_are_not_among_them() -> None:
    detection = "a:\n  Details: x\n_b:\n  Details: y\ncondition: all of them"
    assert judge(sigma(detection), row(KEY, "v", data="x")).truth is Truth.TRUE


def test_list_of_maps_is_or_and_each_map_is_and() -> None:
    detection = r"""
s:
  - TargetObject|endswith: '\v'
    Details: x
  - Details: y
condition: s
"""
    rule = sigma(detection)
    assert judge(rule, row(KEY, "v", data="x")).truth is Truth.TRUE
    assert judge(rule, row(KEY, "w", data="x")).truth is Truth.FALSE
    assert judge(rule, row(KEY, "w", data="y")).truth is Truth.TRUE


def test_keyword_is_found_in_name_or_data_and_may_stand_in_fields_that_state_does_not_show() -> None:
    rule = sigma("keywords:\n  - evil\n  - bad\ncondition: keywords")
    assert judge(rule, row(KEY, "eviL.value", data="x")).truth is Truth.TRUE
    assert judge(rule, row(KEY, "v", data="so bad")).truth is Truth.TRUE
    assert judge(rule, row(KEY, "v", data="x")).truth is Truth.UNKNOWN


def test_documents_of_one_file_are_separate_rules() -> None:
    from fleetscan.rules.load import load_text  # noqa: PLC0415 - beside its use

    one = HEAD.replace("title: t", "title: one\nid: 1") + "detection: {s: {Details: x}, condition: s}\n"
    two = HEAD.replace("title: t", "title: two\nid: 2") + "detection: {s: {Details: y}, condition: s}\n"
    broken = HEAD.replace("title: t", "title: three") + "detection: {s: {Details: y}, condition: other}\n"
    report = load_text(f"{one}---\n{broken}---\n{two}", "three.yml")
    assert [rule.title for rule in report.rules] == ["one", "two"]
    assert [(str(problem.where), problem.code) for problem in report.problems] == [("three.yml:8", "P100")]


@pytest.mark.parametrize(
    ("category", "subjects"),
    [
        ("registry_set", {Subject.VALUE}),
        ("registry_add", {Subject.KEY}),
        ("registry_event", {Subject.VALUE, Subject.KEY}),
        ("registry_delete", {Subject.REMOVED_VALUE, Subject.REMOVED_KEY}),
    ],
)
def test_category_says_what_a_rule_is_judged_on(category: str, subjects: set[Subject]) -> None:
    assert sigma("TargetObject: x", category=category).subjects == subjects


def test_registry_event_is_judged_on_removals_only_if_it_names_them() -> None:
    named = sigma("EventType: [SetValue, DeleteValue]", category="registry_event")
    excluded = sigma("s:\n  EventType: DeleteKey\ncondition: not s", category="registry_event")
    assert Subject.REMOVED_VALUE in named.subjects
    assert Subject.REMOVED_KEY not in excluded.subjects


def test_head_of_a_rule_is_kept() -> None:
    rule = loaded(
        "title: A title\nid: 5a2b21ee-6aaa-4234-ac9d-59a59edf90a1\nstatus: test\nlevel: high\nauthor: Someone\n"
        "license: MIT\ntags: [attack.t1553.003, attack.persistence]\nfalsepositives: [None known]\n"
        "references: ['https://example.org']\nrelated: [{id: abc, type: derived}]\nnote: look\n"
        "logsource: {product: windows, category: registry_set}\ndetection: {s: {Details: x}, condition: s}\n",
        "a.yml",
    )
    assert (rule.id, rule.title, rule.level) == ("5a2b21ee-6aaa-4234-ac9d-59a59edf90a1", "A title", Severity.HIGH)
    assert (rule.author, rule.license, rule.status, rule.note) == ("Someone", "MIT", "test", "look")
    assert (rule.techniques, rule.related) == (("T1553.003",), ("abc",))
    assert rule.false_positives == ("None known",)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("correlation: {type: event_count, rules: [a]}\ntitle: t\n", "P105"),
        ("title: t\nfilter: {rules: [a], selection: {Image: x}}\nlogsource: {category: registry_set}\n", "P105"),
        (HEAD.replace("registry_set", "process_creation") + "detection: {s: {a: x}, condition: s}\n", "P103"),
        (HEAD.replace("windows", "linux") + "detection: {s: {a: x}, condition: s}\n", "P103"),
        ("title: t\nlogsource: {product: windows, service: sysmon}\ndetection: {s: {a: x}, condition: s}\n", "P103"),
        (HEAD + "detection: {s: {a: x}, condition: s | count() > 5}\n", "P105"),
        (HEAD + "detection: {s: {Details|cidr: 10.0.0.0/8}, condition: s}\n", "P107"),
        (HEAD + "detection: {s: {Details|fieldref: Image}, condition: s}\n", "P107"),
        (HEAD + "detection: {s: {Details|expand: '%x%'}, condition: s}\n", "P107"),
        (HEAD + "detection: {s: {Details|nonsense: x}, condition: s}\n", "P107"),
        (HEAD + "detection: {s: {TargetObject|gt: 5}, condition: s}\n", "P107"),
        (HEAD + "detection: {s: {Details|re: '(a'}, condition: s}\n", "P107"),
        (HEAD + "detection: {s: {Details|re: 'a(?=b)'}, condition: s}\n", "P107"),
        (HEAD + "detection: {s: {Details: x}, condition: t}\n", "P100"),
        (HEAD + "detection: {s: {Details: x}, condition: s and}\n", "P100"),
        (HEAD + "detection: {s: {Details: x}, condition: 1 of t*}\n", "P100"),
        (HEAD + "detection: {s: {Details: x}}\n", "P100"),
        (HEAD + "detection: {s: {}, condition: s}\n", "P100"),
        (HEAD + "detection: {s: {Details: {a: b}}, condition: s}\n", "P100"),
        (HEAD + "detection: [s]\n", "P100"),
        (HEAD, "P100"),
        ("title: t\ndetection: {s: {Details: x}, condition: s}\n", "P100"),
        (HEAD.replace("title: t", "title: ''") + "detection: {s: {a: x}, condition: s}\n", "P100"),
    ],
)
def test_what_is_not_supported_is_refused_with_its_code(text: str, code: str) -> None:
    assert refused(text, "r.yml") == (code,)


def test_all_defects_of_one_rule_are_reported_at_once_with_their_lines() -> None:
    from fleetscan.rules.load import load_text  # noqa: PLC0415 - beside its use

    text = """title: t
logsource:
  product: windows
  category: process_creation
detection:
  one:
    Details|cidr: 10.0.0.0/8
  two:
    Details|re: '('
  condition: one and three
"""
    report = load_text(text, "r.yml")
    assert [(p.where.line, p.code) for p in report.problems] == [(4, "P103"), (7, "P107"), (9, "P107"), (10, "P100")]
    assert report.refused == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("Details: DWORD (00000001)", "P201"),
        ("Details: DWORD (0x1)", "P201"),
        (r"TargetObject|contains: '\CurentControlSet\Services\'", "P201"),
        (r"TargetObject|contains: '\Sofware\Microsoft\'", "P201"),
        (r"TargetObject: 'HKLM\a*b\c'", "P202"),
        (r"TargetObject|endswith: '\Foo\*'", "P202"),
        (r"TargetObject|startswith: '\REGISTRY\A\'", "P102"),
        (r"TargetObject|contains: '\Root\InventoryApplicationFile\'", "P102"),
        ("Image: x", "P108"),
        ("EventType: DeleteValue", "P109"),
    ],
)
def test_doubtful_text_is_noted(line: str, code: str) -> None:
    assert code in sigma(line).codes


@pytest.mark.parametrize(
    "line", ["Details: DWORD (0x00000001)", r"TargetObject|contains: '\Windows\CurrentVersion\'", r"Details: 'C:\x'"]
)
def test_usual_text_is_not_noted(line: str) -> None:
    assert sigma(line).codes == ()


def test_misspelt_number_comes_with_the_right_form() -> None:
    messages = [message.text for message in sigma("Details: DWORD (00000001)").messages]
    assert messages == ["DWORD (00000001) can never match: did you mean DWORD (0x00000001)?"]


def test_unusual_metadata_does_not_cost_the_rule() -> None:
    rule = loaded(f"{HEAD}tags: {{a: b}}\nrelated: x\ndetection: {{s: {{Details: x}}, condition: s}}\n", "r.yml")
    assert [message.text for message in rule.messages] == [
        "tags must be a list of texts; left out",
        "related must be a list of maps; left out",
    ]
