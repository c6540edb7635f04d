"""Every corpus rule on real registries: judged on the planned rows = judged on all rows; events are planned and asked.

Left out are rules that the plan itself says it does not answer in full, and places that it reads under another name.
"""

from __future__ import annotations

import json
import lzma
from typing import TYPE_CHECKING, Any

import pytest

from fleetscan.engines.registry_table.database import Database
from fleetscan.evaluate import compile_rules, judge_rows
from fleetscan.hives.collection import machine
from fleetscan.hives.load import load
from fleetscan.hives.mount import contents
from fleetscan.hives.tree import MemoryRegistry
from fleetscan.planner.plan import Answered, assemble, make_plan
from fleetscan.rules.load import load_rules
from tests.conftest import corpus_folder
from tests.planner.asking import all_rows, bare

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fleetscan.hives.mount import Registry
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.rule import Rule
    from fleetscan.model.snapshot import ScopeResult
    from fleetscan.planner.plan import Plan

MACHINE = (
    "win81x64-sensei-SYSTEM",
    "win10-admin-NTUSER.DAT",
    "win10-admin-UsrClass.dat",
    "reg/wine8-HKLM-SOFTWARE.reg",
)
ROOTS = (
    r"HKEY_LOCAL_MACHINE\SOFTWARE",
    r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet",
    r"HKEY_LOCAL_MACHINE\SYSTEM\Setup",
    "HKEY_USERS",
)


@pytest.fixture(scope="module")
def rules(corpus_folder_of_rules: Path) -> tuple[Rule, ...]:
    return load_rules([corpus_folder_of_rules]).rules


@pytest.fixture(scope="module")
def plan(rules: tuple[Rule, ...]) -> Plan:
    return make_plan(rules)


@pytest.fixture(scope="module")
def registry(hives_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("machine")
    for name in MACHINE:
        packed = hives_folder / f"{name}.xz"
        if packed.is_file():
            (folder / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    if not any(folder.iterdir()):
        pytest.skip(f"none of {', '.join(MACHINE)} is in {hives_folder}")
    return load(machine("machine", sorted(folder.iterdir())))


def asked(plan: Plan, registry: Registry) -> dict[str, ScopeResult]:
    database = Database(registry)
    answers = {text.id: Answered(list(database.texts(text.sql))) for text in plan.statements if text.scope_ids}
    return {result.scope_id: result for result in assemble(plan, answers)[1]}


def verdicts(rules: Iterable[Rule], rows: Iterable[RegistryRow]) -> set[tuple[str, RegistryRow, str]]:
    return {(one.rule.id, bare(one.row), one.truth.name) for one in judge_rows(compile_rules(rules), rows)}


def read_under_another_name(row: RegistryRow) -> bool:
    """The mount shows a user's classes and the system's hive under two names, as Windows does."""
    parts = row.key.upper().split("\\")
    users = parts[0] == "HKEY_USERS" and len(parts) > 1
    return users and (parts[1] == ".DEFAULT" or parts[2:4] == ["SOFTWARE", "CLASSES"])


def test_judging_planned_rows_is_judging_all_rows(plan: Plan, registry: Registry) -> None:
    results = asked(plan, registry)
    whole = [found for found in plan.rules if not found.unanchored and not found.expensive]
    every = [row for root in ROOTS for row in all_rows(registry, [root]) if not read_under_another_name(row)]
    judged_all = verdicts([found.rule for found in whole], every)
    judged_planned: set[tuple[str, RegistryRow, str]] = set()
    for found in whole:
        rows = {bare(row): row for scope_id in found.scope_ids for row in results[scope_id].rows}
        judged_planned |= verdicts([found.rule], rows.values())
    assert len(judged_all) > 1000
    assert judged_all - judged_planned == set()
    assert judged_planned - judged_all == set()


def cases() -> list[dict[str, Any]]:
    folder = corpus_folder("corpus")
    file = folder / "events" / "expected.json" if folder else None
    found: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))["cases"] if file and file.is_file() else []
    return found


TYPES = {"REG_SZ": 1, "REG_BINARY": 3, "REG_DWORD": 4, "REG_QWORD": 11}


@pytest.fixture(scope="module")
def answers_to_events(plan: Plan) -> dict[str, ScopeResult]:
    """One machine on which all the events happened, asked with the plan of all rules."""
    memory = MemoryRegistry()
    for case in cases():
        row = case["row"]
        key = memory.key(row["key"].split("\\"))
        if row["type"] == "subkey":
            key.add(row["name"]).set("v", 1, b"x\0\0\0")
        else:
            name = "" if row["path"].endswith("\\") else row["name"]
            data = "x" if row["data"] is None else row["data"]
            key.set(name, TYPES.get(row["type"], 1), encoded(row["type"], data))
    return asked(plan, contents(memory))


def encoded(kind: str, data: str) -> bytes:
    if kind in ("REG_DWORD", "REG_QWORD"):
        return (int(data) % (1 << 32)).to_bytes(4 if kind == "REG_DWORD" else 8, "little")
    return bytes.fromhex(data) if kind == "REG_BINARY" else data.encode("utf-16-le") + b"\0\0"


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case['events_file']}-{case['index']}")
def test_event_is_planned_asked_and_judged(
    case: dict[str, Any], plan: Plan, answers_to_events: dict[str, ScopeResult]
) -> None:
    found = next(found for found in plan.rules if found.rule.id == case["rule_id"])
    row = case["row"]
    rows = {bare(one) for scope_id in found.scope_ids for one in answers_to_events[scope_id].rows}
    wanted = [one for one in rows if one.key == row["key"].upper() and one.name == row["name"]]
    assert wanted, sorted(str(one) for one in rows)
    judged = judge_rows(compile_rules([found.rule]), wanted, removed=case["mode"] == "diff-removed")
    assert [str(one.certainty) for one in judged] == [case["verdict"]]
