"""The page about formats is what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_about_formats_is_in_step() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import generate_formats as g; print(g.page(), end='')"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    )
    written = (ROOT / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")
    assert written == done.stdout, "stale: run python docs/generate_formats.py"
