"""The command line: every verb has a module, errors are one line, exit codes follow the contract."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from fleetscan import __version__
from fleetscan.cli.main import VERBS, main
from fleetscan.errors import ExitCode, FleetscanError, HiveError, Place


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_is_a_module_with_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = import_module(f"fleetscan.cli.{verb}")
    assert callable(module.configure)
    assert callable(module.run)
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"fleetscan {verb}" in capsys.readouterr().out


def test_help_of_the_program_names_every_verb_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in VERBS)
    assert "Exit codes" in printed


def test_version_is_the_package_version() -> None:
    done = subprocess.run([sys.executable, "-m", "fleetscan", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"fleetscan {__version__}\n"


def test_an_expected_error_is_one_line_with_exit_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fleetscan", "sweep", "-i", "no-such-inventory.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("fleetscan: no-such-inventory.yml: ")
    assert "(try: " in done.stderr


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FleetscanError("no such rule", where=Place("a.yml", 3, 7), hint="x"), "a.yml:3:7: no such rule (try: x)"),
        (FleetscanError("no such rule"), "no such rule"),
        (
            HiveError("cell is outside the file", where="SYSTEM", offset=4096),
            "SYSTEM: cell is outside the file at offset 0x1000",
        ),
    ],
    ids=["place and hint", "bare", "offset"],
)
def test_an_error_says_where_what_and_what_to_try(error: FleetscanError, text: str) -> None:
    assert str(error) == text
