"""A sweep of hosts that hang at every stage, told to stop: it ends within seconds and says how to go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from fleetscan.cli.main import main
from fleetscan.errors import ExitCode
from fleetscan.model.snapshot import Reason, Unreachable
from fleetscan.store.sql import open_store
from tests.doubles.fault_server import raw_server
from tests.engines.conftest import faults  # noqa: F401 - a fixture
from tests.patience import LONG, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.conftest import Faults

SILENT_AFTER = ("hang_auth", "silent", "deaf", "half_closed", "endless_errors")
"""Stages at which the fault server hangs; two more hang before their banner and before the key exchange."""

STOP_SECONDS = LONG
"""Much less than what the hosts themselves are given."""


@pytest.fixture
def hanging(faults: Faults, tmp_path: Path) -> Iterator[Path]:  # noqa: F811 - the fixture
    """A folder with an inventory of hosts that never come to an end."""
    with raw_server(b"") as no_banner, raw_server(b"SSH-2.0-x\r\n") as no_exchange:
        ports = {"no-banner": no_banner, "no-exchange": no_exchange}
        ports |= dict.fromkeys((name.replace("_", "-") for name in SILENT_AFTER), faults.server.port)
        pins = "".join(f"[127.0.0.1]:{port} {faults.server.host_key}\n" for port in set(ports.values()))
        (tmp_path / "pins").write_text(pins)
        hosts = "".join(f"  {name}: {{port: {port}, user: {name.replace('-', '_')}}}\n" for name, port in ports.items())
        (tmp_path / "fleet.yml").write_text(
            "vars: {address: 127.0.0.1, agent: no, connect_timeout: 600, osqueryi: osqueryi, known_hosts: pins,"
            f" identity_file: {faults.folder}/id}}\nhosts:\n{hosts}"
        )
        yield tmp_path


def started(folder: Path) -> subprocess.Popen[str]:
    """The sweep, when all its hosts are being asked."""
    words = ["sweep", "-i", "fleet.yml", "--store", "s.db", "--host-timeout", "600", "--log-format", "json"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fleetscan", *words], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
        )
    all_of_them = len(SILENT_AFTER) + 2
    assert eventually(lambda: (folder / "log").read_text().count("HostStarted") == all_of_them), log_of(folder)
    time.sleep(1.0)
    return process


def log_of(folder: Path) -> str:
    return (folder / "log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["Ctrl-C", "SIGTERM", "SIGHUP"])
def test_a_sweep_stops_within_seconds_whatever_its_hosts_do(hanging: Path, number: signal.Signals) -> None:
    with started(hanging) as process:
        began = time.monotonic()
        process.send_signal(number)
        out, _ = process.communicate(timeout=2 * LONG)
        assert time.monotonic() - began < STOP_SECONDS
    assert (process.returncode, out) == (ExitCode.INCOMPLETE, ""), log_of(hanging)
    lines = [json.loads(line) for line in (hanging / "log").read_text().splitlines()]
    with open_store(str(hanging / "s.db")) as store:
        sweep = store.sweep()
        assert sweep.finished is None
        assert len(store.pending(sweep.id)) == sweep.hosts == len(SILENT_AFTER) + 2
        statuses = {cell.status for cell in store.coverage(sweep.id)}
        assert all(isinstance(s, Unreachable) and s.reason == Reason.CANCELLED for s in statuses), statuses
    assert lines[-1]["text"] == f"stopped: 0 of 7 hosts are complete (try: the same with --resume {sweep.id})"
    assert [line["event"] for line in lines[-2:]] == ["SweepEnded", "Message"]


def interrupted_twice(folder: Path) -> dict[str, str]:
    """The last line of a sweep that was interrupted again when it had said that it stops."""
    (folder / "s.db").unlink(missing_ok=True)
    with started(folder) as process:
        process.send_signal(signal.SIGINT)
        assert eventually(lambda: "SweepStopping" in log_of(folder)), log_of(folder)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=2 * LONG)
    assert process.returncode == ExitCode.INCOMPLETE, log_of(folder)
    last = json.loads(log_of(folder).splitlines()[-1])
    assert isinstance(last, dict)
    return last


def test_a_second_ctrl_c_does_not_wait_for_anybody(hanging: Path) -> None:
    # The second one counts while the sweep still waits for the first: on a machine that stood still it is too late.
    last = next((line for line in (interrupted_twice(hanging) for _ in range(3)) if line["event"] == "Error"), {})
    assert last, log_of(hanging)
    assert last["text"] == "interrupted; what was stored is kept (try: the same with --resume)"


def test_every_line_is_json_when_that_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hosts.ini").write_text("[web]\nh1.invalid ansible_password=x http_port=80\n")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "broken.yml").write_text("title: broken\n")
    (tmp_path / "rules" / "good.yml").write_text(
        "title: good\nid: 5f3f3d0e-8d0b-4d8e-9b57-0a3b0f6b9f01\nlevel: low\n"
        "logsource: {category: registry_set, product: windows}\n"
        "detection:\n  selection: {TargetObject|contains: '\\Winlogon\\Notify\\'}\n  condition: selection\n"
    )
    words = ["-i", str(tmp_path / "hosts.ini"), "-r", str(tmp_path / "rules"), "--store", str(tmp_path / "s.db")]
    assert main(["sweep", *words, "--attempts", "1", "--log-format=json"]) == ExitCode.INCOMPLETE
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    events = [line["event"] for line in lines]
    assert events[-4:] == ["SweepStarted", "HostStarted", "HostFinished", "SweepEnded"]
    assert set(events[:-4]) == {"Message"}
    said = " ".join(line.get("text", "") for line in lines)
    assert "broken.yml" in said
    assert "ansible_password not read" in said
    assert all(line["time"] > 0 for line in lines)


@pytest.mark.parametrize("words", [["-i", "none.yml"], ["--no-such-option"], []], ids=["file", "usage", "nothing"])
def test_errors_are_json_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["sweep", *words, "--log-format", "json"])
    assert stop.value.code == ExitCode.USAGE
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "Error"
    assert "(try: " in json.loads(line)["text"]
