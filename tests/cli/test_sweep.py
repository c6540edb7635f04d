"""The main job, as a user runs it: the demo fleet, real exports, bad input, interruption."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetscan.errors import ExitCode
from tests.patience import LONG, eventually

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


def fleetscan(*arguments: str | Path, cwd: Path) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "fleetscan", *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Path]:
    """The demo sweep, run once: what it printed, and the folder with its store and its CSV."""
    folder = tmp_path_factory.mktemp("demo")
    ran = fleetscan("sweep", "-i", ROOT / "inventory" / "demo.yml", "--store", "s.db", "--csv", "f.csv", cwd=folder)
    return ran, folder


def host_part(text: str, host: str) -> str:
    """The lines that name a host."""
    return "\n".join(line for line in text.splitlines() if host in line)


def findings_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "f.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_demo_finds_something_and_says_so_by_its_exit_code(demo: tuple[Ran, Path]) -> None:
    assert demo[0].code == ExitCode.FINDINGS, demo[0].err


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("ws-berlin-03", ["pssigcheck.dll", "603BCC1F-4B59-4E08-B724-D2C6297EF351", "CryptSIPDllVerifyIndirectData"]),
        ("ws-berlin-03", ["ntdll.dll", "DbgUiContinue"]),
        ("ws-berlin-04", ["netlens.dll"]),
    ],
    ids=["SIP hijack", "function swap to a signed DLL", "rogue layered provider"],
)
def test_demo_prints_what_was_done_to_a_machine(demo: tuple[Ran, Path], host: str, words: list[str]) -> None:
    printed = demo[0].out
    assert host in printed
    assert all(word in printed for word in words)


@pytest.mark.parametrize("host", ["ws-berlin-01", "ws-berlin-02", "srv-files-01"])
def test_demo_prints_no_row_of_a_clean_machine(demo: tuple[Ran, Path], host: str) -> None:
    assert f"{host}: no findings" in demo[0].out


@pytest.mark.parametrize("stock", ["mswsock.dll", "msisip.dll", "wshext.dll", "appxsip.dll"])
def test_demo_prints_no_stock_library_that_nothing_happened_to(demo: tuple[Ran, Path], stock: str) -> None:
    assert stock not in demo[0].out.lower()


def test_demo_counts_what_it_folded(demo: tuple[Ran, Path]) -> None:
    assert "known good" in demo[0].out
    assert "likely stock, unconfirmed" in demo[0].out


def test_a_host_that_cannot_be_read_is_unreachable_with_a_reason(demo: tuple[Ran, Path]) -> None:
    line = host_part(demo[0].out, "srv-print-02")
    assert "unreachable" in line or "unreadable" in line


def test_all_shows_the_stock_rows_too(tmp_path: Path) -> None:
    ran = fleetscan("sweep", "-i", ROOT / "inventory" / "demo.yml", "--limit", "ws-berlin-01", "--all", cwd=tmp_path)
    assert "mswsock.dll" in ran.out.lower()


def test_csv_holds_every_row_with_its_known_good_verdict(demo: tuple[Ran, Path]) -> None:
    rows = findings_of(demo[1])
    clean = [row for row in rows if row["host"] == "ws-berlin-01"]
    assert len(clean) > 100
    assert {row["verdict"] for row in clean} == {"expected", "likely stock, unconfirmed"}
    hijack = [row for row in rows if "pssigcheck.dll" in row["registry_data"]]
    assert hijack
    assert {row["verdict"] for row in hijack} == {"hijack pattern"}


def test_a_clean_fleet_ends_with_exit_code_0(tmp_path: Path) -> None:
    ran = fleetscan("sweep", "-i", ROOT / "inventory" / "demo.yml", "--limit", "ws-berlin-01", cwd=tmp_path)
    assert ran.code == ExitCode.CLEAN, ran.out + ran.err


def test_only_an_unreadable_host_is_incomplete_not_clean(tmp_path: Path) -> None:
    ran = fleetscan("sweep", "-i", ROOT / "inventory" / "demo.yml", "--limit", "srv-print-02", cwd=tmp_path)
    assert ran.code == ExitCode.INCOMPLETE, ran.out + ran.err


def test_a_real_export_shows_its_layered_service_provider(hives_folder: Path, tmp_path: Path) -> None:
    machine = tmp_path / "machine"
    machine.mkdir()
    shutil.copy(hives_folder / "reg" / "win10-tencent-lsp-WinSock2.reg.xz", machine)
    ran = fleetscan("sweep", "--hives", machine, cwd=tmp_path)
    assert ran.code == ExitCode.FINDINGS, ran.out + ran.err
    assert "tencent" in ran.out.lower() or "lsp" in ran.out.lower()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-i", "missing.yml"], ["missing.yml"]),
        (["-i", "broken.yml"], ["broken.yml:2"]),
        (["-i", "good.yml", "-r", "missing-rule.yml"], ["missing-rule.yml"]),
        (["--hives", "missing-folder"], ["missing-folder"]),
        ([], ["inventory"]),
    ],
    ids=["no inventory", "broken inventory", "no rule", "no hives", "nothing to sweep"],
)
def test_bad_input_is_one_line_that_says_what_where_and_what_to_try(
    arguments: list[str], words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "broken.yml").write_text("groups:\n  demo: ]\n", encoding="utf-8")
    (tmp_path / "good.yml").write_text("hosts:\n  a: {engine: embedded, hives: a.reg}\n", encoding="utf-8")
    ran = fleetscan("sweep", *arguments, cwd=tmp_path)
    assert ran.code == ExitCode.USAGE
    assert ran.err.startswith("fleetscan: ")
    assert "Traceback" not in ran.err
    assert all(word in ran.err for word in words)
    assert "(try: " in ran.err
    assert not (tmp_path / "fleetscan.db").exists()


def test_a_broken_rule_is_named_and_the_others_run(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", rules)
    (rules / "broken.yml").write_text(
        "title: broken\nlogsource: {category: registry_set, product: windows}\n", encoding="utf-8"
    )
    ran = fleetscan("sweep", "-i", ROOT / "inventory" / "demo.yml", "-r", rules, cwd=tmp_path)
    assert ran.code == ExitCode.FINDINGS
    assert "broken.yml" in ran.err
    assert "pssigcheck.dll" in ran.out


def test_ctrl_c_leaves_a_store_that_the_next_command_reads_and_resumes(tmp_path: Path) -> None:
    hosts = "".join(
        f"  host-{number:03}: {{engine: embedded, hives: [{ROOT}/inventory/demo/base-win10-22h2.reg]}}\n"
        for number in range(60)
    )
    (tmp_path / "many.yml").write_text(f"hosts:\n{hosts}", encoding="utf-8")
    words = ["sweep", "-i", "many.yml", "--store", "s.db", "--concurrency", "2", "--log-format", "json"]
    command, log = [sys.executable, "-m", "fleetscan", *words], tmp_path / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=errors) as running,
    ):
        assert eventually(lambda: "HostFinished" in log.read_text()), log.read_text()
        running.send_signal(signal.SIGINT)
        running.wait(5 * LONG)
    assert running.returncode == ExitCode.INCOMPLETE, log.read_text()
    assert "Traceback" not in log.read_text()
    resumed = fleetscan("sweep", "-i", "many.yml", "--store", "s.db", "--resume", cwd=tmp_path)
    assert resumed.code == ExitCode.CLEAN, resumed.out + resumed.err


def test_the_store_of_a_sweep_verifies(demo: tuple[Ran, Path]) -> None:
    ran = fleetscan("store", "verify", "--store", "s.db", cwd=demo[1])
    assert ran.code == ExitCode.CLEAN, ran.out + ran.err


PARTIAL = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\Tcpip"


def test_an_export_of_one_key_proves_nothing_about_the_rest_of_its_hive(tmp_path: Path) -> None:
    (tmp_path / "part.reg").write_text(f"Windows Registry Editor Version 5.00\n\n[{PARTIAL}]\n", encoding="utf-16")
    ran = fleetscan("sweep", "--hives", "part.reg", "--store", "s.db", cwd=tmp_path)
    assert ran.code == ExitCode.INCOMPLETE, ran.out + ran.err
    assert f"not in the export, which holds only {PARTIAL}" in " ".join(ran.out.split())
    assert "Coverage: 0 of 1 host complete" in ran.out


@pytest.mark.parametrize("kept", [0.5, 0.6667, 0.9])
def test_an_export_that_broke_off_is_not_complete(kept: float, tmp_path: Path) -> None:
    whole = (ROOT / "inventory" / "demo" / "base-win10-22h2.reg").read_bytes()
    (tmp_path / "cut.reg").write_bytes(whole[: int(len(whole) * kept)])
    ran = fleetscan("sweep", "--hives", "cut.reg", "--store", "s.db", cwd=tmp_path)
    assert ran.code in {ExitCode.INCOMPLETE, ExitCode.FINDINGS}, ran.out + ran.err
    assert "Coverage: 0 of 1 host complete" in ran.out
    assert "damaged: " in ran.out


def test_a_damaged_hive_is_not_complete(hives_folder: Path, tmp_path: Path) -> None:
    shutil.copy(hives_folder / "winxp-ginevra-SYSTEM-corrupt.xz", tmp_path)
    ran = fleetscan("sweep", "--hives", tmp_path, "--store", "s.db", cwd=tmp_path)
    assert ran.code in {ExitCode.INCOMPLETE, ExitCode.FINDINGS}, ran.out + ran.err
    assert "no hive bin: what lies here cannot be trusted" in " ".join(ran.out.split())
