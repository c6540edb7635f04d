"""The command on a terminal: a bar, no colour where none is wanted, and nothing that a host could act on."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleetscan.errors import ExitCode
from tests.engines.conftest import faults  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from tests.engines.conftest import Faults

DEMO = Path(__file__).parents[2] / "inventory" / "demo.yml"
COLOUR = re.compile(r"\x1b\[[0-9;]*[0-9]m")
STEERING = re.compile(r"\x1b\[(?:\?25[lh]|[0-9;]*[mAKGJ]|2K)")
"""What a bar needs: the cursor hidden and shown, a line rewritten, colours."""


def on_terminal(
    *words: str, folder: Path, columns: int = 100, interrupt: str = "", **environment: str
) -> tuple[int, str]:
    """Exit code and everything that the command wrote to its terminal; it is interrupted once ``interrupt`` shows."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "fleetscan", *words],
        cwd=folder,
        env={**known, "TERM": "xterm-256color", **environment},
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    watchdog = threading.Timer(90, process.kill)
    watchdog.start()
    written = b""
    with suppress(OSError):  # how Linux says that the other side is closed
        while piece := os.read(ours, 65536):
            written += piece
            if interrupt and interrupt.encode() in written:
                process.send_signal(signal.SIGINT)
                interrupt = ""
    os.close(ours)
    code = process.wait()
    watchdog.cancel()
    return code, written.decode("utf-8", "replace")


@pytest.mark.parametrize("columns", [100, 30])
def test_a_terminal_gets_a_bar_and_is_given_back(tmp_path: Path, columns: int) -> None:
    words = ["sweep", "-i", str(DEMO), "--limit", "ws-berlin-01,srv-print-02", "--store", "s.db"]
    code, text = on_terminal(*words, folder=tmp_path, columns=columns)
    assert code == ExitCode.INCOMPLETE, text
    assert "2/2" in text or columns < 100
    assert "srv-print-02: not reached" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert COLOUR.search(text) or columns < 100
    assert "\x1b" not in STEERING.sub("", text)


def test_no_colour_where_none_is_wanted(tmp_path: Path) -> None:
    words = ["sweep", "-i", str(DEMO), "--limit", "ws-berlin-01", "--store", "s.db"]
    code, text = on_terminal(*words, folder=tmp_path, NO_COLOR="1")
    assert code == ExitCode.CLEAN, text
    assert "1/1" in text
    assert not COLOUR.search(text)


def test_quiet_leaves_the_table_only(tmp_path: Path) -> None:
    words = ["sweep", "-i", str(DEMO), "--limit", "srv-print-02", "--store", "s.db", "-q"]
    code, text = on_terminal(*words, folder=tmp_path)
    assert code == ExitCode.INCOMPLETE, text
    assert text.startswith("Sweep ")
    assert "?25l" not in text


def inventory(faults: Faults, folder: Path, user: str) -> str:  # noqa: F811 - the fixture
    (folder / "fleet.yml").write_text(
        f"vars: {{address: 127.0.0.1, port: {faults.server.port}, agent: no, osqueryi: osqueryi,"
        f" known_hosts: {faults.folder}/known_hosts, identity_file: {faults.folder}/id}}\n"
        f"hosts: {{ws1: {{user: {user}}}}}\n"
    )
    return "fleet.yml"


@pytest.mark.parametrize("command", [["sweep", "--store", "s.db", "-v"], ["hosts", "check"]], ids=["sweep", "check"])
def test_what_a_host_says_never_acts_on_the_terminal(
    faults: Faults,  # noqa: F811 - the fixture
    tmp_path: Path,
    command: list[str],
) -> None:
    code, text = on_terminal(*command, "-i", inventory(faults, tmp_path, "hostile"), folder=tmp_path, columns=400)
    assert code == ExitCode.INCOMPLETE, text
    assert "<U+001B>]0;owned<U+0007><U+001B>[2J" in text
    assert "\x1b" not in STEERING.sub("", text)
    assert not {"\x07", "\x9b", "\u202e"} & set(text)


def test_ctrl_c_is_answered_at_once_and_the_last_line_says_how_to_go_on(
    faults: Faults,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    words = ["sweep", "-i", inventory(faults, tmp_path, "silent"), "--store", "s.db"]
    code, text = on_terminal(*words, folder=tmp_path, interrupt="1 running")
    assert code == ExitCode.INCOMPLETE
    assert "stopping: 1 host may finish within 3 s; Ctrl-C again does not wait for them" in " ".join(text.split())
    last = text.strip().splitlines()[-1]
    assert re.search(r"stopped: 0 of 1 hosts are complete \(try: the same with --resume \S+\)$", last)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
