"""The emulated table answers every recorded case as osquery's own did: rows, order, cost in registry calls."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from fleetscan.engines.registry_table.calls import Fault, Faults
from fleetscan.engines.registry_table.database import Database
from fleetscan.hives.mount import Registry, contents
from fleetscan.hives.regfile import apply_reg
from fleetscan.hives.sidefile import apply_extra
from fleetscan.hives.tree import MemoryRegistry

if TYPE_CHECKING:
    from pathlib import Path

Rows = list[dict[str, str]]

PLATFORM = (
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft",
    r"HKEY_LOCAL_MACHINE\SYSTEM",
    r"HKEY_CLASSES_ROOT",
    r"HKEY_CURRENT_CONFIG",
    r"HKEY_CURRENT_USER\Software",
    r"HKEY_CURRENT_USER_LOCAL_SETTINGS",
)
"""What the recording platform's registry held before the contents were loaded.

The README leaves these hives open ("absent or empty"), and no row depends on them; recorded costs of scans that read
every hive root or ``HKLM\\SOFTWARE`` count these keys.
"""


def _registry(corpus: Path, case: dict[str, Any]) -> Registry:
    memory = MemoryRegistry()
    for key in PLATFORM:
        memory.key(key.split("\\"))
    environment = dict(json.loads((corpus / "env.json").read_text("utf-8"))["env"])
    for name in case["reg"]:
        apply_reg(memory, (corpus / name).read_bytes(), name)
    for name in case.get("extra", ()):
        environment |= apply_extra(memory, (corpus / name).read_bytes(), name)
    return contents(memory, environment=environment)


def _faults(case: dict[str, Any]) -> Faults:
    return Faults(
        tuple(
            Fault(op=f["op"], key=f["key"], code=f["code"], name=f.get("name", ""), index=f.get("index", -1))
            for f in case.get("faults", ())
        )
    )


def _answer(database: Database, case: dict[str, Any]) -> Rows:
    rows = database.texts(case["sql"])
    return [{name: text for name, text in row.items() if name not in case["ignore"]} for row in rows]


def _counted(rows: Rows) -> Counter[tuple[tuple[str, str], ...]]:
    return Counter(tuple(sorted(row.items())) for row in rows)


def test_answers_as_osquery_does(corpus: Path, case: dict[str, Any]) -> None:
    database = Database(_registry(corpus, case), faults=_faults(case))

    rows = _answer(database, case)

    expected: Rows = case["rows"]
    if case["ordered"]:
        assert rows == expected
    assert _counted(rows) == _counted(expected)
    if "calls" in case:
        assert database.calls.as_dict() == case["calls"]
