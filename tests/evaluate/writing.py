"""Short forms to write rules and rows in tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fleetscan.model.registry import DEFAULT_VALUE, SUBKEY, RegistryRow
from fleetscan.rules.load import load_text

if TYPE_CHECKING:
    from fleetscan.model.rule import Rule

HKLM = "HKEY_LOCAL_MACHINE"
HKU = "HKEY_USERS"


def sigma(detection: str, *, category: str = "registry_set") -> Rule:
    """A Sigma rule with this detection: one line for one selection, or whole YAML with its condition."""
    text = detection if "condition:" in detection else f"selection:\n  {detection}\ncondition: selection\n"
    body = "".join(f"  {line}\n" for line in text.strip("\n").splitlines())
    return loaded(f"title: t\nlogsource: {{product: windows, category: {category}}}\ndetection:\n{body}", "rule.yml")


def eql(condition: str, *, kind: str = "registry") -> Rule:
    """An Elastic rule that asks ``registry where`` the condition."""
    return elastic(f"{kind} where {condition}")


def elastic(query: str) -> Rule:
    """An Elastic rule with this query."""
    head = '[rule]\nname = "t"\nlanguage = "eql"\ntype = "eql"\nseverity = "low"\n'
    return loaded(f"{head}query = {json.dumps(query)}\n", "rule.toml")


def loaded(text: str, name: str) -> Rule:
    """The one rule of a text; a text that does not load fails the test with its problems."""
    report = load_text(text, name)
    assert len(report.rules) == 1, [(p.code, p.text) for p in report.problems]
    return report.rules[0]


def refused(text: str, name: str) -> tuple[str, ...]:
    """The codes with which a text is refused."""
    report = load_text(text, name)
    assert not report.rules
    return tuple(problem.code for problem in report.problems)


def row(key: str, name: str = DEFAULT_VALUE, kind: str = "REG_SZ", data: str = "") -> RegistryRow:
    """A row as osquery prints it."""
    last = "" if name == DEFAULT_VALUE and kind != SUBKEY else name
    return RegistryRow(key, name, kind, data, f"{key}\\{last}")


def subkey(key: str, name: str) -> RegistryRow:
    """A row that stands for a subkey."""
    return row(key, name, SUBKEY)
