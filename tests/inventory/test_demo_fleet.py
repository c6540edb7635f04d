"""The demo fleet's exports are what their generator writes from known_good.yml."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DEMO = Path(__file__).parents[2] / "inventory" / "demo"


def test_exports_are_in_step_with_the_facts_they_are_written_from() -> None:
    spec = importlib.util.spec_from_file_location("demo_generate", DEMO / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, content in generate.contents().items():
        assert (DEMO / name).read_bytes() == content, f"{name} is stale: run python inventory/demo/generate.py"
