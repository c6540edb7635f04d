"""EQL as Elastic's registry rules use it (rule-semantics T5, T7, K5, Q1 to Q5)."""

from __future__ import annotations

import pytest

from fleetscan.evaluate import judge
from fleetscan.model.finding import Severity
from fleetscan.model.rule import Subject
from fleetscan.model.truth import Truth
from fleetscan.rules.load import load_text
from tests.evaluate.writing import HKLM, HKU, elastic, eql, loaded, refused, row, subkey

KEY = rf"{HKLM}\SOFTWARE\Vendor"
VALUE = row(KEY, "Name", data="Data.DLL")
HEAD = '[rule]\nname = "t"\nlanguage = "eql"\ntype = "eql"\nseverity = "low"\n'


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ('registry.data.strings : "data.dll"', True),
        ('registry.data.strings == "data.dll"', False),
        ('registry.data.strings == "Data.DLL"', True),
        ('registry.data.strings != "Data.DLL"', False),
        ('registry.data.strings in ("x", "Data.DLL")', True),
        ('registry.data.strings in~ ("x", "data.dll")', True),
        ('registry.data.strings not in ("x", "y")', True),
        ('registry.data.strings like "Data*"', True),
        ('registry.data.strings like "data*"', False),
        ('registry.data.strings like~ ("x", "data*")', True),
        ('registry.data.strings regex "Data\\\\.[A-Z]+"', True),
        ('registry.data.strings regex "Data"', False),
        ('registry.data.strings regex~ ("x", "data.*")', True),
        ('registry.data.strings : ("*.exe", "*.dll")', True),
        ('registry.data.strings : "*"', True),
        ("registry.data.strings != null", True),
        ("registry.data.strings == null", False),
        ("null != registry.data.strings", True),
        ('registry.value : "name"', True),
        ('registry.value == "NAME"', True),  # names ignore case whatever the operator (T1)
        ('registry.value in ("NAME", "x")', True),
        (r'registry.path : "HKLM\\SOFTWARE\\Vendor\\Name"', True),
        (r'registry.path : """HKLM\SOFTWARE\Vendor\Name"""', True),
        (r'registry.path : "\\REGISTRY\\MACHINE\\Software\\Vendor\\*"', True),
        (r'registry.path : "MACHINE\\Software\\Vendor\\*"', True),
        (r'registry.path : "HKEY_LOCAL_MACHINE\\Software\\Vendor\\Na?e"', True),
        (r'registry.key : "SOFTWARE\\Vendor"', True),
        (r'registry.key : "SOFTWARE\\Vendor\\Name"', True),
        ('registry.hive : "HKLM"', True),
        ('registry.hive : ("HKEY_USERS", "HKU")', False),
        ('registry.data.type == "REG_SZ"', True),
        ("length(registry.data.strings) == 8", True),
        ("length(registry.data.strings) > 8", False),
        ("8 >= length(registry.data.strings)", True),
        ("length(registry.value) < 5", True),
        ('startsWith(registry.data.strings, "Data")', True),
        ('startsWith(registry.data.strings, "data")', False),
        ('startsWith~(registry.data.strings, "data")', True),
        ('endsWith~(registry.path, "\\\\name")', True),
        ('stringContains~(registry.data.strings, "A.D")', True),
        ('wildcard~(registry.data.strings, "x*", "data*")', True),
        ('match~(registry.data.strings, "data.*")', True),
        ('string(registry.data.strings) : "data*"', True),
        ('event.type == "change"', True),
        ('event.type in ("creation", "change")', True),
        ('event.type == "deletion"', False),
        ('event.action == "modification"', True),
        ('event.category == "registry" and host.os.type == "windows"', True),
        ('event.category == "process"', False),
        ("true", True),
        ("not false", True),
        ('?registry.value : "name" /* optional */ // and a comment', True),
        ('not registry.value : "x" and registry.value : "name"', True),
        ('registry.value : "x" and registry.value : "y" or registry.value : "name"', True),
        ('registry.value : "x" and (registry.value : "y" or registry.value : "name")', False),
        ('process.name != null and user.id != ""', True),
    ],
)
def test_condition_on_a_value(condition: str, found: bool) -> None:  # noqa: FBT001 - expected
    assert judge(eql(condition), VALUE).truth is Truth.of(found)


@pytest.mark.parametrize(
    "condition",
    [
        'process.name : "a.exe"',
        '?process.parent.name : "a.exe"',
        "process.code_signature.trusted == true",
        "process.code_signature.trusted",
        "source.port >= 49152",
        'cidrMatch(source.ip, "10.0.0.0/8")',
        "length(process.command_line) > 100",
        "process.name == registry.value",
        'registry.data.type == "REG_EXPAND_SZ"',
        'event.action == "something_of_a_vendor"',
        'concat(process.name, registry.value) == "x"',
        'process.thread.Ext.call_stack_summary : "*" and `odd name` : "x"',
        'process.args[0] : "x"',
    ],
)
def test_what_state_does_not_show_is_unknown(condition: str) -> None:
    assert judge(eql(condition), VALUE).truth is Truth.UNKNOWN


def test_number_is_compared_with_decimal_text_and_with_numbers() -> None:
    rule = eql("registry.data.strings : (0, 1)")
    assert judge(rule, row(KEY, "v", "REG_DWORD", "1")).truth is Truth.TRUE
    assert judge(rule, row(KEY, "v", "REG_SZ", "0")).truth is Truth.TRUE
    assert judge(rule, row(KEY, "v", "REG_SZ", "2")).truth is Truth.FALSE


def test_hkcu_with_a_star_means_every_user() -> None:
    rule = eql(r'registry.path : "HKCU\\*\\Software\\Vendor\\x"')
    assert judge(rule, row(rf"{HKU}\S-1-5-21-1\Software\Vendor", "x", data="y")).truth is Truth.TRUE


def test_any_is_judged_as_registry_and_says_which_branches_are_about_something_else() -> None:
    process = '(event.category == "process" and process.name : "x")'
    registry = '(event.category == "registry" and registry.value : "name")'
    rule = eql(f"{process} or {registry}", kind="any")
    assert rule.kind == "any"
    assert judge(rule, VALUE).truth is Truth.TRUE
    assert judge(rule, row(KEY, "other")).truth is Truth.FALSE
    assert [m.text for m in rule.messages if m.code == "Q2"] == ["1 of 2 branches are not about the registry"]


def test_sequence_is_answered_by_its_registry_steps_and_at_most_possible() -> None:
    rule = elastic(
        """sequence by host.id with maxspan=1m
  [process where process.name : "a.exe"] by user.id
  [registry where registry.value : "name" and process.name : "b.exe"] by user.id with runs=2
  until [process where event.type == "end"]"""
    )
    judgement = judge(rule, VALUE)
    assert (rule.kind, "P104" in rule.codes) == ("sequence", True)
    assert (judgement.truth, judgement.qualifier) == (Truth.UNKNOWN, "if")
    assert judgement.residual_text == '(process.name matches "b.exe" and the other steps of the sequence, within 1m)'
    assert judge(rule, row(KEY, "other")).truth is Truth.FALSE


def test_rule_that_asks_for_deletion_is_judged_on_what_disappeared() -> None:
    asked = eql('event.type == "deletion" and registry.value : "name"')
    excluded = eql('event.action != "deletion" and registry.value : "name"')
    assert judge(asked, VALUE, subject=Subject.REMOVED_VALUE).truth is Truth.TRUE
    assert judge(asked, VALUE).truth is Truth.FALSE
    assert Subject.REMOVED_VALUE not in excluded.subjects


def test_key_has_no_value_name_and_no_data() -> None:
    key = subkey(KEY, "sub")
    assert judge(eql("registry.value == null and registry.data.strings == null"), key).truth is Truth.TRUE
    assert judge(eql('registry.path : "*\\\\sub\\\\"'), key).truth is Truth.TRUE
    assert judge(eql('registry.key : "SOFTWARE\\\\Vendor\\\\sub"'), key).truth is Truth.TRUE
    assert judge(eql("length(registry.data.strings) >= 0"), key).truth is Truth.FALSE


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ('process where process.name : "x"', "P103"),
        ("sequence [process where true] [file where true]", "P103"),
        ('any where event.category == "process"', "P103"),
        ("sample by host.id [registry where true] [registry where true]", "P105"),
        ("join [registry where true] [process where true]", "P105"),
        ("registry where true | head 5", "P105"),
        ("registry where child of [process where true]", "P105"),
        ("registry where registry.value :", "P105"),
        ('registry where (registry.value : "x"', "P105"),
        ('registry where registry.value = "x"', "P105"),
        ('registry where cidrMatch(registry.data.strings, "10.0.0.0/8")', "P107"),
        ('registry where nonsense(registry.value) == "x"', "P107"),
        ("registry where registry.value == registry.key", "P107"),
        ('registry where registry.value regex "(a"', "P107"),
        ("registry where registry.value", "P107"),
        ('registry where registry.value : "x" and and', "P105"),
        ("registry where " + "not " * 500 + "true", "P100"),
    ],
)
def test_query_that_is_not_supported_is_refused_with_its_code(query: str, code: str) -> None:
    assert refused(f"{HEAD}query = '''\n{query}\n'''\n", "r.toml") == (code,)


@pytest.mark.parametrize(
    ("head", "code"),
    [
        ('language = "kuery"\ntype = "new_terms"', "P105"),
        ('language = "kuery"\ntype = "query"', "P105"),
        ('language = "esql"\ntype = "esql"', "P105"),
        ('language = "kuery"\ntype = "threshold"', "P105"),
        ('type = "machine_learning"', "P105"),
    ],
)
def test_other_languages_are_refused_by_name(head: str, code: str) -> None:
    assert refused(f'[rule]\nname = "t"\n{head}\nquery = "x"\n', "r.toml") == (code,)


def test_error_in_a_query_names_its_line_in_the_file() -> None:
    report = load_text(f"{HEAD}query = '''\nregistry where\n  registry.value : \"x\" and and\n'''\n", "r.toml")
    assert [str(problem.where) for problem in report.problems] == ["r.toml:8:28"]


def test_head_of_a_rule_is_kept() -> None:
    rule = loaded(
        """[metadata]
maturity = "deprecated"
[rule]
author = ["Elastic", "Someone"]
rule_id = "f2c7b914-eda3-40c2-96ac-d23ef91776ca"
name = "A name"
language = "eql"
type = "eql"
severity = "high"
risk_score = 73
interval = "5m"
license = "L"
note = "look"
references = ["https://example.org"]
false_positives = ["none"]
query = "registry where registry.value : \\"x\\""
[[rule.threat]]
framework = "MITRE ATT&CK"
[[rule.threat.technique]]
id = "T1553"
[[rule.threat.technique.subtechnique]]
id = "T1553.003"
[[rule.threat.technique]]
id = "T1112"
""",
        "r.toml",
    )
    assert (rule.id, rule.title, rule.level) == ("f2c7b914-eda3-40c2-96ac-d23ef91776ca", "A name", Severity.HIGH)
    assert (rule.risk_score, rule.interval, rule.author) == (73, 300, "Elastic, Someone")
    assert rule.techniques == ("T1553.003", "T1112")
    assert "P203" in rule.codes
