"""What would spoil a sweep is said before anybody is asked; what goes wrong beside it does not spoil it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleetscan.cli.main import main
from fleetscan.errors import ExitCode
from fleetscan.store.sql import open_store

EXPORT = Path(__file__).parents[2] / "inventory" / "demo" / "base-server-2022.reg"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with an inventory of two clean machines."""
    hosts = "".join(f"  {name}: {{engine: embedded, hives: '{EXPORT}'}}\n" for name in ("a", "b"))
    (tmp_path / "fleet.yml").write_text(f"hosts:\n{hosts}", encoding="utf-8")
    (tmp_path / "twice.yml").write_text("approvals: [x]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweeps() -> int:
    with open_store("s.db") as store:
        return len(store.sweeps())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--baseline", "golt"], "there is no baseline golt (try: "),
        (["--approvals", "none.yml"], "none.yml: the approvals file cannot be read: No such file or directory"),
        (["--approvals", "twice.yml"], "twice.yml"),
        (["--format", "pdf"], "no report format is called 'pdf' (try: one of table, csv"),
        (["--format", "html,csv"], "several formats need a folder (try: --output FOLDER)"),
        (["--output", "reports"], "--output says where, but no --format what (try: --format html --output reports)"),
        (["--csv", "."], ".: --csv takes a file, and this is a folder (try: --format csv)"),
        (["--record", "fleet.yml"], "fleet.yml: cannot record here: File exists (try: another folder for --record)"),
        (["--resume", "20991231"], "there is no sweep 20991231"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("folder")
def test_a_wrong_option_ends_it_before_a_host_is_asked(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["sweep", "-i", "fleet.yml", "--store", "s.db", *options])
    assert stop.value.code == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert says in err
    assert (out, err.count("\n")) == ("", 1)
    assert sweeps() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("options", [[], ["-v"], ["--log-format", "json"]], ids=["lines", "verbose", "json"])
def test_a_log_that_cannot_be_written_does_not_end_the_sweep(folder: Path, options: list[str]) -> None:
    words = ["sweep", "-i", "fleet.yml", "--store", "s.db", "--limit", "a,b", *options]
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device, and no path of ours
        done = subprocess.run(
            [sys.executable, "-m", "fleetscan", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == ExitCode.CLEAN
    assert "Coverage: 2 of 2 hosts complete" in done.stdout
    with open_store(str(folder / "s.db")) as store:
        assert store.sweep().outcome == "complete"


def test_nobody_who_reads_the_progress_does_not_end_the_sweep(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = ["sweep", "-i", "fleet.yml", "--store", "s.db", "-v"]
    done = subprocess.run(
        [sys.executable, "-m", "fleetscan", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=writer,
        text=True,
        timeout=300,
        check=False,
    )
    os.close(writer)
    assert done.returncode == ExitCode.CLEAN
    assert "Coverage: 2 of 2 hosts complete" in done.stdout


# Recordings


def recorded(*options: str, code: ExitCode = ExitCode.CLEAN) -> None:
    assert main(["sweep", "-i", "fleet.yml", "--store", "s.db", "-q", "--record", "tape", *options]) == code


@pytest.mark.parametrize("own", ["hosts: [my-only-copy]\n", '{"hosts": ["my-only-copy"]}\n'], ids=["YAML", "JSON"])
def test_a_recording_never_takes_the_place_of_an_inventory(
    folder: Path, capsys: pytest.CaptureFixture[str], own: str
) -> None:
    (folder / "inventory.yml").write_text(own, encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(["sweep", "-i", "fleet.yml", "--store", "s.db", "--record", "."])
    assert stop.value.code == ExitCode.USAGE
    assert "inventory.yml: this inventory is none of a recording, and --record would overwrite it" in (
        capsys.readouterr().err
    )
    assert (folder / "inventory.yml").read_text(encoding="utf-8") == own
    assert sweeps() == 0


def hosts_of_the_recording(capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["hosts", "-i", "tape/inventory.yml", "--json"]) == ExitCode.CLEAN
    return sorted(host["host"] for host in json.loads(capsys.readouterr().out))


def test_going_on_adds_to_the_recording(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = folder / "late.reg"
    hosts = (folder / "fleet.yml").read_text(encoding="utf-8")
    (folder / "fleet.yml").write_text(f"{hosts}  c: {{engine: embedded, hives: late.reg}}\n", encoding="utf-8")
    recorded(code=ExitCode.INCOMPLETE)
    assert hosts_of_the_recording(capsys) == ["a", "b", "c"]
    export.write_bytes(EXPORT.read_bytes())
    recorded("--resume")
    assert hosts_of_the_recording(capsys) == ["a", "b", "c"]
    assert main(["sweep", "-i", "tape/inventory.yml", "--store", "replay.db", "-q"]) == ExitCode.CLEAN


@pytest.mark.usefixtures("folder")
def test_another_sweep_into_the_folder_begins_the_recording_anew(capsys: pytest.CaptureFixture[str]) -> None:
    recorded()
    recorded("--limit", "b")
    assert hosts_of_the_recording(capsys) == ["b"]


def test_a_recording_that_cannot_be_written_costs_no_answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tape" / "a.jsonl").mkdir(parents=True)
    with pytest.raises(SystemExit) as stop:
        recorded()
    assert stop.value.code == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert "Coverage: 2 of 2 hosts complete" in out
    assert "tape: the sweep is stored, but its recording is not complete: a: Is a directory (try: " in err
    with open_store("s.db") as store:
        assert store.sweep().outcome == "complete"
