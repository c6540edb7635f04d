"""The whole job over real SSH: the same snapshot as from the files themselves, recorded, replayed, without secrets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleetscan.errors import ExitCode
from fleetscan.model.host import HostId
from fleetscan.model.snapshot import Partial, Reason, Status
from fleetscan.store.sql import open_store
from tests.doubles.sshd import Fleet, fleet
from tests.engines.conftest import faults  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.engines.conftest import Faults

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "inventory" / "demo"
ADDRESSES = {
    "127.0.0.21": ["base-win10-22h2.reg"],
    "127.0.0.22": ["base-win11-23h2-office.reg"],
    "127.0.0.23": ["base-server-2022.reg"],
}
SECRET = "correct horse"


@pytest.fixture(scope="module")
def demo_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Machines of the demo behind OpenSSH."""
    exports = {address: [DEMO / name for name in names] for address, names in ADDRESSES.items()}
    with fleet(tmp_path_factory.mktemp("demo") / "sshd", exports) as running:
        yield running


def sweep(
    folder: Path, inventory: Path, store: str, *more: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    words = ["sweep", "-i", str(inventory), "--store", store, "--log-format", "json", "-v", *more]
    return subprocess.run(
        [sys.executable, "-m", "fleetscan", *words],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def ssh_inventory(running: Fleet, folder: Path) -> Path:
    path = folder / "ssh.yml"
    path.write_text(
        f"vars:\n  port: {running.port}\n  user: root\n  agent: no\n  osqueryi: '{running.osqueryi}'\n"
        f"  identity_file: {running.folder}/id_ed25519\n  known_hosts: {running.folder}/known_hosts\nhosts:\n"
        + "".join(f"  ws{address[-2:]}: {{address: {address}}}\n" for address in ADDRESSES)
    )
    return path


def file_inventory(folder: Path) -> Path:
    path = folder / "files.yml"
    hosts = (f"  ws{a[-2:]}: {{hives: ['{DEMO / names[0]}']}}\n" for a, names in ADDRESSES.items())
    path.write_text("vars: {engine: embedded}\nhosts:\n" + "".join(hosts))
    return path


def snapshot(store: Path) -> Mapping[tuple[str, str], tuple[Status, tuple[str, ...], object]]:
    with open_store(str(store)) as opened:
        sweep = opened.sweep()
        return {
            (host.id, scope): (cell.status, cell.unproven, cell.block and opened.block_digest(cell.block))
            for host in opened.hosts(sweep.id)
            for scope, cell in opened.tree(sweep.id, host.id).items()
        }


def test_a_sweep_over_ssh_is_the_sweep_of_the_files_and_its_recording_too(demo_fleet: Fleet, tmp_path: Path) -> None:
    files = sweep(tmp_path, file_inventory(tmp_path), "files.db")
    over_ssh = sweep(tmp_path, ssh_inventory(demo_fleet, tmp_path), "ssh.db", "--record", "tape")
    replayed = sweep(tmp_path, tmp_path / "tape" / "inventory.yml", "tape.db")
    assert files.returncode != ExitCode.USAGE, files.stderr
    assert (files.returncode, files.returncode) == (over_ssh.returncode, replayed.returncode), over_ssh.stderr
    assert snapshot(tmp_path / "ssh.db") == snapshot(tmp_path / "files.db")
    assert snapshot(tmp_path / "tape.db") == snapshot(tmp_path / "files.db")


def test_who_asked_is_kept_and_what_they_may_not_read_is_not_covered(demo_fleet: Fleet, tmp_path: Path) -> None:
    plain, administrator, _ = ADDRESSES
    with demo_fleet.elevation(plain, elevated=False), demo_fleet.elevation(administrator, elevated=True):
        over_ssh = sweep(tmp_path, ssh_inventory(demo_fleet, tmp_path), "ssh.db", "--record", "tape")
    replayed = sweep(tmp_path, tmp_path / "tape" / "inventory.yml", "tape.db")
    assert replayed.returncode == over_ssh.returncode, over_ssh.stderr + replayed.stderr
    assert snapshot(tmp_path / "ssh.db") == snapshot(tmp_path / "tape.db")
    with open_store(str(tmp_path / "tape.db")) as opened:
        facts = opened.fleet_facts(opened.sweep().id)
        texts = dict(opened.plan(opened.sweep().id).scopes)
    assert [facts[HostId(name)].extra.get("elevated") for name in ("ws21", "ws22", "ws23")] == ["no", "yes", None]
    assert {found.extra["account"] for found in facts.values()} == {"root"}

    reasons: dict[str, set[str]] = {name: set() for name in ("ws21", "ws22", "ws23")}
    for (name, scope), (status, *_) in snapshot(tmp_path / "ssh.db").items():
        if isinstance(status, Partial) and status.reason is Reason.NOT_ELEVATED:
            reasons[name].add(texts[scope])
    assert reasons["ws22"] == reasons["ws23"] == set()
    assert reasons["ws21"]
    assert all(text.startswith("HKEY_USERS") for text in reasons["ws21"])
    told = " ".join(over_ssh.stdout.split())
    assert "Note: asked without elevation: ws21; there SECURITY, SAM and other users' hives cannot be read" in told


def test_a_password_is_nowhere_but_on_the_wire(faults: Faults, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    path = tmp_path / "fleet.yml"
    path.write_text(
        f"vars:\n  address: 127.0.0.1\n  port: {faults.server.port}\n  osqueryi: osqueryi\n  agent: no\n"
        f"  known_hosts: {faults.folder}/known_hosts\n  password_env: FLEET_SECRET\n"
        "hosts:\n  right: {user: password}\n  wrong: {user: refused}\n"
    )
    done = sweep(tmp_path, path, "s.db", "--record", "tape", FLEET_SECRET=SECRET)
    assert '"reason": "auth"' in done.stderr, done.stderr
    with open_store(str(tmp_path / "s.db")) as opened:
        facts = opened.facts(opened.sweep().id, opened.hosts(opened.sweep().id)[0].id)
    assert facts is not None
    left = [done.stdout.encode(), done.stderr.encode()]
    left += [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(SECRET.encode() in content for content in left)


def test_two_sweeps_of_one_store_at_once_are_both_whole(tmp_path: Path) -> None:
    inventory = file_inventory(tmp_path)
    words = [sys.executable, "-m", "fleetscan", "sweep", "-i", str(inventory), "--store", "s.db", "-q"]
    running = [subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in "ab"]
    errors = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [running[0].returncode] * 2, errors
    with open_store(str(tmp_path / "s.db")) as opened:
        one, other = opened.sweeps()
        assert (one.answered, other.answered) == (3, 3)
        assert not list(opened.changed(one.id, other.id))
        assert not opened.verify().problems


def test_the_shipped_ssh_example_resolves(tmp_path: Path) -> None:
    shutil.copy(ROOT / "inventory" / "example-ssh.yml", tmp_path)
    words = [sys.executable, "-m", "fleetscan", "hosts", "-i", "example-ssh.yml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.CLEAN, done.stderr
    assert "258 hosts" in done.stdout
