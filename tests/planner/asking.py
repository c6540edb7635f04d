"""What planner tests share: a registry written as lines, the real table over it, and rules from a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.engines.registry_table.database import Database
from fleetscan.hives.mount import contents
from fleetscan.hives.tree import MemoryRegistry
from fleetscan.model.registry import SUBKEY, RegistryRow
from fleetscan.planner.plan import Answered, assemble
from fleetscan.rules.load import load_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fleetscan.engines.registry_table.calls import Faults
    from fleetscan.hives.mount import Registry
    from fleetscan.model.rule import Rule
    from fleetscan.model.snapshot import ScopeResult
    from fleetscan.planner.plan import Plan

REG_SZ, REG_DWORD = 1, 4
LONG = {"HKLM": "HKEY_LOCAL_MACHINE", "HKU": "HKEY_USERS"}


def elements(path: str) -> tuple[str, ...]:
    """A key's elements; a short hive name is made long."""
    root, *names = path.split("\\")
    return (LONG.get(root, root), *names)


def memory_of(lines: Iterable[str]) -> MemoryRegistry:
    r"""A registry from lines ``HKLM\key``, ``HKLM\key : name`` or ``HKLM\key : name = text``."""
    registry = MemoryRegistry()
    for line in lines:
        path, _, value = line.partition(" : ")
        key = registry.key(elements(path))
        if value:
            name, _, text = value.partition(" = ")
            key.set("" if name == "(Default)" else name, REG_SZ, (text or "x").encode("utf-16-le") + b"\0\0")
    return registry


def registry_of(lines: Iterable[str]) -> Registry:
    """The same, ready to be asked; without links or views."""
    return contents(memory_of(lines))


def ask(plan: Plan, registry: Registry, *, faults: Faults | None = None) -> dict[str, ScopeResult]:
    """The plan's statements, answered by the real table; results by scope id."""
    database = Database(registry, faults=faults)
    answers = {text.id: Answered(list(database.texts(text.sql))) for text in plan.statements if text.scope_ids}
    return {result.scope_id: result for result in assemble(plan, answers)[1]}


def planned_rows(plan: Plan, registry: Registry) -> dict[str, set[RegistryRow]]:
    """The rows that each rule gets to see, by rule id."""
    results = ask(plan, registry)
    return {
        found.rule.id: {bare(row) for scope_id in found.scope_ids for row in results[scope_id].rows}
        for found in plan.rules
    }


def all_rows(registry: Registry, roots: Iterable[str] = ("HKEY_LOCAL_MACHINE", "HKEY_USERS")) -> Iterator[RegistryRow]:
    """Every row that the table can show below the roots."""
    database = Database(registry)
    todo = list(roots)
    while todo:
        key = todo.pop()
        quoted = key.replace("'", "''")
        for row in database.texts(f"SELECT key, path, name, type, data FROM registry WHERE key = '{quoted}'"):
            yield row_of(row)
            if row["type"] == SUBKEY:
                todo.append(row["path"])


def row_of(row: Mapping[str, str]) -> RegistryRow:
    """A row of an answer."""
    return RegistryRow(row["key"], row["name"], row["type"], row["data"])


def bare(row: RegistryRow) -> RegistryRow:
    """The row's identity: the key without case, no time, no path."""
    return RegistryRow(row.key.upper(), row.name, row.type, row.data)


def sigma(detection: str, *, category: str = "registry_set") -> Rule:
    """A Sigma rule with this detection section."""
    body = "\n".join(f"    {line}" for line in detection.strip().splitlines())
    text = (
        f"title: t\nid: 11111111-1111-4111-8111-111111111111\nstatus: test\nlogsource:\n    category: {category}\n"
        f"    product: windows\ndetection:\n{body}\nlevel: high\n"
    )
    return _only(text, "rule.yml")


def target(**modifiers: str) -> Rule:
    """A Sigma rule on TargetObject alone: ``target(endswith=...)``; ``whole`` is no modifier."""
    lines = ["s:"]
    for name, value in modifiers.items():
        field = "TargetObject" if name == "whole" else f"TargetObject|{name}"
        lines.append(f"    {field}: '{value}'")
    return sigma("\n".join([*lines, "condition: s"]))


def eql(query: str) -> Rule:
    """An Elastic rule with this query."""
    text = (
        '[metadata]\nmaturity = "production"\n[rule]\nname = "t"\nrule_id = "22222222-2222-4222-8222-222222222222"\n'
        'type = "eql"\nlanguage = "eql"\nseverity = "medium"\nrisk_score = 47\ndescription = "d"\nauthor = ["a"]\n'
        f"query = '''\n{query}\n'''\n"
    )
    return _only(text, "rule.toml")


def _only(text: str, name: str) -> Rule:
    report = load_text(text, name)
    assert not report.problems, report.problems
    return report.rules[0]
