"""``fleetscan triage`` on the demo fleet: offline, what can be answered is, the rest says why not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fleetscan.errors import ExitCode

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "inventory" / "demo.yml"


def fleetscan(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleetscan", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"COLUMNS": "160", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a sweep of the hijacked host, and the id of its finding."""
    folder = tmp_path_factory.mktemp("triage")
    ran = fleetscan("sweep", "-i", DEMO, "--limit", "ws-berlin-03", "-q", cwd=folder)
    match = re.search(r"pssigcheck.*?finding ([0-9a-f]{12})", ran.stdout, re.DOTALL)
    assert match is not None, ran.stdout
    return folder, match[1]


def test_triage_says_what_is_known_and_why_the_rest_is_not(swept: tuple[Path, str]) -> None:
    folder, finding = swept
    ran = fleetscan("triage", finding[:8], "-i", DEMO, cwd=folder)
    assert ran.returncode == ExitCode.CLEAN, ran.stderr
    assert "signature verdicts of this host are not evidence" in ran.stdout
    assert "mtime=" in ran.stdout
    assert "no such table: hash" in ran.stdout


def test_what_triage_found_stands_in_later_reports(swept: tuple[Path, str]) -> None:
    folder, finding = swept
    fleetscan("triage", finding, "-i", DEMO, cwd=folder)
    report = fleetscan("report", "--format", "html", cwd=folder)
    assert "signature verdicts of this host are not evidence" in report.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ffffffffffff", "-i", str(DEMO)], "no finding 'ffffffffffff'"),
        ([], "begins"),
        (["-i", "missing.yml"], "missing.yml"),
        (["--limit", "x"], "unrecognized"),
    ],
    ids=["no such finding", "ambiguous", "no inventory", "unknown option"],
)
def test_what_is_wrong_is_said_in_one_line(arguments: list[str], words: str, swept: tuple[Path, str]) -> None:
    folder, finding = swept
    first = [] if arguments and not arguments[0].startswith("-") else [finding if arguments else ""]
    extra = ["-i", str(DEMO)] if not arguments else []
    ran = fleetscan("triage", *first, *arguments, *extra, cwd=folder)
    assert ran.returncode == ExitCode.USAGE
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
