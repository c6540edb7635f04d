"""On the contents for which osquery's answers were recorded, the plan of the shipped rules misses no row they match.

The engine that answers here gives exactly the recorded answers (``tests/conformance``): osquery would say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleetscan.evaluate import judge, place
from fleetscan.hives.mount import contents
from fleetscan.hives.regfile import apply_reg
from fleetscan.hives.sidefile import apply_extra
from fleetscan.hives.tree import MemoryRegistry
from fleetscan.model.truth import Truth
from fleetscan.planner.plan import make_plan
from fleetscan.rules.load import load_rules
from fleetscan.settings import content
from tests.planner.asking import all_rows, planned_rows

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fleetscan.hives.mount import Registry
    from fleetscan.model.registry import RegistryRow

SEEDS = {
    "trust.reg": ("5a2b21ee-6aaa-4234-ac9d-59a59edf90a1", "f2c7b914-eda3-40c2-96ac-d23ef91776ca"),
    "winsock.reg": ("d6c2ce7e-afb5-4337-9ca4-4b5254ed0565",),
}


def registry_of_export(path: Path) -> Registry:
    """The contents of an export, with CurrentControlSet as the link that it is on a machine."""
    memory = MemoryRegistry()
    apply_reg(memory, path.read_bytes(), path.name)
    link = path.with_name("ccs_link.json")
    if link.exists():
        apply_extra(memory, link.read_bytes(), link.name)
    return contents(memory)


def places(rows: Iterable[RegistryRow]) -> set[tuple[str, str, str]]:
    """Rows by place: control sets are one place each with CurrentControlSet, where they are the current one."""
    return {(place(row), row.type, row.data) for row in rows}


@pytest.mark.parametrize("export", SEEDS)
def test_every_row_that_a_rule_matches_is_in_its_planned_rows(export: str, conformance_folder: Path) -> None:
    paths = sorted(conformance_folder.rglob(export))
    assert paths, f"{export} is not in {conformance_folder}"
    rules = load_rules([content("rules")]).rules
    plan = make_plan(rules)
    for path in paths:
        registry = registry_of_export(path)
        rows = list(all_rows(registry))
        planned = planned_rows(plan, registry)
        for rule in rules:
            matched = places(row for row in rows if judge(rule, row).truth is not Truth.FALSE)
            assert matched <= places(planned[rule.id]), rule.title
            assert matched or rule.id not in SEEDS[export], f"{rule.title} matches nothing: the test proves nothing"
