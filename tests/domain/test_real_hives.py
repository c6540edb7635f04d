"""Real SYSTEM hives: every catalogue row, scalar and AppId row of four releases is known, a real LSP is not."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from fleetscan.domain.decode import decode
from fleetscan.domain.judge import judge_all
from fleetscan.hives.collection import machine
from fleetscan.hives.load import load
from fleetscan.model.finding import Severity, VerdictKind
from tests.domain.reading import rows_below

if TYPE_CHECKING:
    from pathlib import Path

PARAMETERS = ("HKEY_LOCAL_MACHINE", "SYSTEM", "CurrentControlSet", "Services", "WinSock2", "Parameters")


@pytest.mark.parametrize(
    "name", ["win7x86-stark-SYSTEM.xz", "win81x64-sensei-SYSTEM.xz", "win10-1709-lonewolf-SYSTEM.xz"]
)
def test_nothing_on_a_clean_machine_needs_a_person(hives_folder: Path, name: str) -> None:
    registry = load(machine("host", [hives_folder / name]))
    found = judge_all(decode(rows_below(registry, PARAMETERS)))
    assert Counter(one.entity.kind for one in found)["winsock_protocol"] >= 10
    assert [one for one in found if one.verdict.severity > Severity.INFO] == []
    assert not [one for one in found if one.verdict.kind is VerdictKind.UNKNOWN]


def test_a_real_layered_provider_is_found_with_its_chains(hives_folder: Path) -> None:
    registry = load(machine("host", [hives_folder / "reg" / "win10-tencent-lsp-WinSock2.reg.xz"]))
    found = [
        one for one in judge_all(decode(rows_below(registry, PARAMETERS))) if one.verdict.severity >= Severity.MEDIUM
    ]
    assert Counter(one.entity.get("chain") for one in found) == {"layered": 2, "chain": 6}
    chains = [one.entity.get("chain_providers") for one in found if one.entity.get("chain") == "chain"]
    assert all(chain.endswith("E70F1AA0-AB8B-11CF-8CA3-00805F48A192") for chain in chains)
