"""The demo fleet's exports are what their generator writes from known_good.yml."""

from __future__ import annotations

import runpy
from pathlib import Path

DEMO = Path(__file__).parents[2] / "inventory" / "demo"


def test_exports_are_in_step_with_the_facts_they_are_written_from() -> None:
    generate = runpy.run_path(str(DEMO / "generate.py"))
    for name, content in generate["contents"]().items():
        assert (DEMO / name).read_bytes() == content, f"{name} is stale: run python inventory/demo/generate.py"
