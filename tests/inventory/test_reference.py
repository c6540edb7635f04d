"""The page about inventories names every setting that there is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from fleetscan.inventory.vocabulary import ENGINES, NAMES, SHELLS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "inventory.md"


def test_the_page_names_every_setting_engine_and_shell() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## Settings")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| `")]
    named = [name for cells in rows for name in re.findall(r"`(\w+)`", cells[0])]
    assert sorted(named) == sorted(NAMES)
    assert {cells[1].strip() for cells in rows} == {"all", *ENGINES}
    assert all(f"`{word}`" in table for word in (*ENGINES, *SHELLS))
