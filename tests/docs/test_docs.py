"""The documentation tells the truth: the reference is in step, and every command shown is run and prints what is shown.

In a ``console`` block a line that starts with ``$ `` is a command; what follows is its output, where a line ``...``
stands for any number of lines. ``# exit N`` behind a command names an exit code other than 0. The commands of one page
run in order, in an empty folder that holds copies of what a checkout has.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetscan.cli.main import VERBS, build_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXIT = re.compile(r"\s+# exit (\d)$")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Shown:
    """One command of a page with the output shown for it."""

    command: str
    exit_code: int
    output: tuple[str, ...]


def shown_commands(text: str) -> list[Shown]:
    found = []
    for block in BLOCK.findall(text):
        for chunk in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *output = chunk.rstrip("\n").split("\n")
            marked = EXIT.search(command)
            code = int(marked[1]) if marked else 0
            found.append(Shown(EXIT.sub("", command), code, tuple(line.rstrip() for line in output)))
    return found


def matches(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Equal line by line; ``...`` stands for any lines, and inside a line for any text."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*?") + r"\n" for line in shown
    )
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in printed)) is not None


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("inventory", "rules", "queries"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```console" in page.read_text(encoding="utf-8")], ids=lambda page: page.name
)
def test_commands_of_a_page_print_what_the_page_shows(page: Path, checkout: Path) -> None:
    environment = os.environ | {
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for shown in shown_commands(page.read_text(encoding="utf-8")):
        done = subprocess.run(
            ["bash", "-c", shown.command],
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == shown.exit_code, f"{shown.command}\n{done.stdout}"
        if shown.output:
            assert matches(shown.output, done.stdout.splitlines()), f"{shown.command}\n{done.stdout}"


FENCE = re.compile(r"^ *```(?:console|sh|cron|ini|powershell)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[\s/\"=])fleetscan ((?:[a-z]+ ?)[^\n|>&#\"]*(?:\"[^\n\"]*\"[^\n|>&#\"]*)*)")


def commands_named(text: str) -> list[str]:
    """Every fleetscan command in a code block, whether the block is run or not."""
    return [match.strip() for block in FENCE.findall(text) for match in COMMAND.findall(block)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_named_is_one_the_command_line_takes(page: Path) -> None:
    for command in commands_named(page.read_text(encoding="utf-8")):
        words = shlex.split(command.split(" # ")[0])
        if words and words[0] in VERBS:
            build_parser(words[0]).parse_args(words)


def test_reference_is_what_help_prints() -> None:
    written = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "import generate_reference as g; print(g.page(), end='')"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    )
    assert written == done.stdout, "stale: run python docs/generate_reference.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
