"""Whatever a command is given or interrupted by: one line, exit code 2, no traceback, nothing stored lost."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fleetscan.cli import plan
from fleetscan.cli.main import main
from fleetscan.errors import ExitCode
from tests.patience import LONG

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "fleetscan"]
STRANGE = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\\OID\\EncodingType 0\\CryptSIPDllVerifyIndirectData"
STRANGE_EXPORT = (
    "Windows Registry Editor Version 5.00\n\n"
    f"[{STRANGE}\\{{603BCC1F-4B59-4E08-B724-D2C6297EF351}}]\n"
    '"Dll"="C:\\\\Übel\\\\日本\U0001f600.dll"\n"FuncName"="Ж"\n'
)


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that must fail with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == ExitCode.USAGE
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    assert err.startswith("fleetscan: ")
    return err


def ran(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    environment = os.environ | {"COLUMNS": "200"} | dict(options.pop("env", {}))  # type: ignore[call-overload]
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*COMMAND, *arguments], env=environment, stderr=subprocess.PIPE, text=True, timeout=300, check=False, **options
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "fleetscan: the following arguments are required: COMMAND (try: fleetscan --help)"),
        (["plan", "--nosuch"], "fleetscan: unrecognized arguments: --nosuch (try: fleetscan --help)"),
        (
            ["baseline", "create"],
            "fleetscan: baseline create: the following arguments are required: NAME (try: {} --help)".format(
                "fleetscan baseline create"
            ),
        ),
    ],
    ids=["no command", "unknown option", "missing argument"],
)
def test_wrong_usage_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(capsys, *arguments) == f"{line}\n"


def stumble(_: object) -> None:
    raise KeyError("no\nsuch")


def test_a_bug_is_one_line_that_asks_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FLEETSCAN_DEBUG", raising=False)
    monkeypatch.setattr(plan, "run", stumble)
    line = failing(capsys, "plan")
    assert line.startswith("fleetscan: test_hostile.py:")
    assert "a bug of fleetscan: KeyError" in line
    assert line.endswith("(try: the same command with FLEETSCAN_DEBUG=1, and report what it prints)\n")


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FLEETSCAN_DEBUG", "1")
    monkeypatch.setattr(plan, "run", stumble)
    logger = logging.getLogger("fleetscan")
    try:
        with pytest.raises(SystemExit):
            main(["plan"])
        assert logger.isEnabledFor(logging.DEBUG)  # there the tracebacks of hosts are
    finally:
        logger.setLevel(logging.NOTSET)
    assert capsys.readouterr().err.startswith("Traceback")


def test_out_of_memory_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def swell(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(plan, "run", swell)
    assert "out of memory (try: " in failing(capsys, "plan")


def test_too_many_threads_are_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def multiply(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(plan, "run", multiply)
    assert "this machine allows no more threads (try: fewer hosts at once" in failing(capsys, "plan")


def test_a_name_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    line = failing(capsys, "sweep", "-i", "\x1b[31mred\nfleetscan: all clean.yml")
    assert "<U+001B>[31mred<U+000A>fleetscan: all clean.yml" in line


@pytest.fixture
def bad_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place that holds no store that can be used."""
    path = tmp_path / "s.db"
    match request.param:
        case "binary":
            path.write_bytes(bytes(range(256)) * 20)
        case "folder":
            path.mkdir()
        case "other":
            with sqlite3.connect(path) as database:
                database.execute("CREATE TABLE t (a)")
            database.close()
        case "short":
            path.write_bytes(b"SQLite format 3\0")
        case _:
            pass  # nothing is there
    return str(path)


@pytest.mark.parametrize("bad_store", ["binary", "folder", "other", "short", "absent"], indirect=True)
@pytest.mark.parametrize(
    "arguments",
    [
        ["report"],
        ["diff"],
        ["evaluate"],
        ["baseline", "list"],
        ["store", "verify"],
        ["store", "sweeps"],
        ["approve", "f", "--reason", "r", "--owner", "o", "--expires", "2999-01-01"],
        ["triage", "f", "--hives", "x"],
    ],
    ids=" ".join,
)
def test_what_is_no_store_is_refused_by_name(
    arguments: list[str], bad_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = failing(capsys, *arguments, "--store", bad_store)
    assert line.startswith(f"fleetscan: {bad_store}: ")
    assert "(try: " in line


@pytest.mark.parametrize("limit", ["nan", "0", "-1"])
@pytest.mark.parametrize("option", ["--deadline", "--host-timeout"])
def test_a_time_limit_must_be_above_0(option: str, limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "must be above 0" in failing(capsys, "sweep", "-i", "x,", f"{option}={limit}")


def test_a_scheduler_is_named_by_its_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = str(ROOT / "inventory" / "demo.yml")
    line = failing(capsys, "sweep", "-q", "-i", demo, "--scheduler", "x", "--store", str(tmp_path / "s.db"))
    assert line == "fleetscan: 'x' is no address of a Dask scheduler (try: tcp://HOST:8786)\n"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="the system has no /dev/zero")
def test_an_endless_pack_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "larger than" in failing(capsys, "plan", "--lint", "/dev/zero")


def test_a_pack_nested_without_end_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    assert "neither a pack nor SQL" in failing(capsys, "plan", "--lint", str(tmp_path / "deep.json"))


def test_reader_that_goes_away_is_no_error_message() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"'{sys.executable}' -m fleetscan rules list | head -n 1"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_full_output_is_one_line() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = ran("rules", "list", stdout=full)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr == "fleetscan: output: No space left on device (try: free space on the disk)\n"


def test_closed_output_swallows_what_is_printed() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"'{sys.executable}' -m fleetscan rules list >&-"],
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (ExitCode.CLEAN, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("form", [[], ["--format", "csv"], ["--format", "json"]], ids=["table", "csv", "json"])
def test_any_encoding_of_the_output_prints_any_finding(encoding: str, form: list[str], tmp_path: Path) -> None:
    (tmp_path / "strange.reg").write_text(STRANGE_EXPORT, encoding="utf-16")
    done = ran(
        *("sweep", "-q", "--hives", "strange.reg", *form),
        env={"PYTHONIOENCODING": encoding, "COLUMNS": "40"},
        stdout=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (ExitCode.FINDINGS, "")


def test_query_takes_bytes_that_are_no_text() -> None:
    demo = ROOT / "inventory" / "demo" / "change-sip-hijack.reg"
    done = subprocess.run(
        [*COMMAND, "query", "--hives", str(demo)],
        input=b"SELECT '\xff\0';\nSELECT 42;\n",
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == ExitCode.CLEAN, done.stderr
    assert b"42" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_conversation_ends_without_traceback(number: signal.Signals) -> None:
    demo = ROOT / "inventory" / "demo" / "change-sip-hijack.reg"
    with subprocess.Popen(
        [*COMMAND, "query", "--hives", str(demo)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write("SELECT 42;\n")
        running.stdin.flush()
        assert any("42" in line for line in iter(running.stdout.readline, ""))
        running.send_signal(number)
        _, err = running.communicate(timeout=5 * LONG)
    expected = (ExitCode.USAGE, "fleetscan: interrupted; what was stored is kept\n")
    assert (running.returncode, err) == (expected if number == signal.SIGINT else (-signal.SIGTERM, ""))


def test_report_goes_through_a_link_and_into_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "strange.reg").write_text(STRANGE_EXPORT, encoding="utf-16")
    (tmp_path / "real.csv").touch()
    (tmp_path / "link.csv").symlink_to("real.csv")
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text(encoding="utf-8")), daemon=True)
    reader.start()
    ran("sweep", "-q", "--hives", "strange.reg", "--csv", "link.csv", cwd=tmp_path, stdout=subprocess.DEVNULL)
    ran("report", "--csv", "pipe", cwd=tmp_path, stdout=subprocess.DEVNULL)
    reader.join(LONG)
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "pipe").is_fifo()
    assert read == [(tmp_path / "real.csv").read_text(encoding="utf-8")]
    assert "CryptSIPDllVerifyIndirectData" in read[0]


def test_help_of_the_shell_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["osqueryi", "--help"])
    assert stop.value.code == 0
    assert "usage: fleetscan osqueryi" in capsys.readouterr().out


def _small_disk(folder: Path, size: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small tmpfs")
def test_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not _small_disk(disk, "600k"):
        pytest.skip("mounting needs root")
    try:
        hosts = "".join(f"  h{n}: {{hives: [{ROOT}/inventory/demo/base-win10-22h2.reg]}}\n" for n in range(3))
        (tmp_path / "i.yml").write_text(f"vars: {{engine: embedded}}\nhosts:\n{hosts}", encoding="utf-8")
        done = ran("sweep", "-q", "-i", "i.yml", "--store", "disk/s.db", cwd=tmp_path, stdout=subprocess.DEVNULL)
        assert done.returncode == ExitCode.USAGE
        assert done.stderr == (
            "fleetscan: disk/s.db: the disk is full; what was stored before is safe"
            " (try: free space, then fleetscan sweep --resume)\n"
        )
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        again = ran("store", "verify", "--store", "disk/s.db", cwd=tmp_path, stdout=subprocess.DEVNULL)
        assert again.returncode == ExitCode.CLEAN, again.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=False)
