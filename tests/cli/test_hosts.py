"""``fleetscan hosts``: what the inventory resolves to, who can be asked, and keys pinned after a look."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fleetscan.cli.main import main
from fleetscan.errors import ExitCode
from tests.engines.conftest import ssh_fleet  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doubles.sshd import Fleet


def inventory_of(fleet: Fleet, folder: Path, extra: str = "") -> Path:
    """An inventory of the fleet that pins its keys in a file of this test."""
    hosts = "".join(f"      host-{address}: {{address: {address}}}\n" for address in fleet.addresses)
    path = folder / "fleet.yml"
    path.write_text(
        "groups:\n  all-of-it:\n    vars:\n"
        f"      port: {fleet.port}\n      osqueryi: '{fleet.osqueryi}'\n      agent: no\n      user: root\n"
        f"      identity_file: {fleet.folder}/id_ed25519\n      known_hosts: {folder}/known_hosts\n{extra}"
        f"    hosts:\n{hosts}"
    )
    return path


def test_hosts_are_listed_as_resolved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fleet.yml"
    path.write_text("groups:\n  web:\n    vars: {user: svc}\n    hosts: ['ws-[1:2]']\n  db:\n    hosts: [db1]\n")
    assert main(["hosts", "-i", str(path), "--limit", "web,!ws-2"]) == ExitCode.CLEAN
    printed = capsys.readouterr().out
    assert "ws-1    osqueryi  web       user=svc" in printed
    assert printed.endswith("\n1 host\n")
    assert main(["hosts", "list", "-i", str(path), "--json"]) == ExitCode.CLEAN
    assert [host["host"] for host in json.loads(capsys.readouterr().out)] == ["ws-1", "ws-2", "db1"]


def test_what_was_left_out_of_an_import_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hosts.ini").write_text("[web]\nh1 ansible_password=x http_port=80\n")
    main(["hosts", "-i", str(tmp_path / "hosts.ini")])
    assert "ansible_password not read" in capsys.readouterr().err


@pytest.mark.live
def test_a_host_is_refused_until_its_key_is_pinned(
    ssh_fleet: Fleet,  # noqa: F811 - the fixture
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = str(inventory_of(ssh_fleet, tmp_path))
    assert main(["hosts", "check", "-i", path]) == ExitCode.INCOMPLETE
    assert "its host key is not pinned" in capsys.readouterr().out

    assert main(["hosts", "trust", "-i", path, "--yes", "--hashed"]) == ExitCode.CLEAN
    printed = capsys.readouterr().out
    assert printed.count("SHA256:") == 3
    assert "pinned 3 keys" in printed
    assert "127.0.0" not in (tmp_path / "known_hosts").read_text()

    assert main(["hosts", "check", "-i", path]) == ExitCode.CLEAN
    assert capsys.readouterr().out.count(" ok ") == 3
    assert main(["hosts", "trust", "-i", path, "--yes"]) == ExitCode.CLEAN
    assert "pinned 3 keys" not in capsys.readouterr().out


@pytest.mark.live
def test_check_says_what_an_account_without_elevation_cannot_see(
    ssh_fleet: Fleet,  # noqa: F811 - the fixture
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = ssh_fleet.addresses[1]
    path = str(inventory_of(ssh_fleet, tmp_path))
    limit = ["--limit", f"host-{address}"]
    main(["hosts", "trust", "-i", path, "--yes", *limit])
    ssh_fleet.elevate(address, elevated=False)
    capsys.readouterr()
    assert main(["hosts", "check", "-i", path, "--json", *limit]) == ExitCode.CLEAN
    [line] = json.loads(capsys.readouterr().out)
    assert line["status"] == "ok"
    assert line["why"] == (
        "the account root is not elevated: SECURITY, SAM and the hives of other users cannot be read"
    )
    ssh_fleet.elevate(address, elevated=True)
    assert main(["hosts", "check", "-i", path, "--json", *limit]) == ExitCode.CLEAN
    assert json.loads(capsys.readouterr().out)[0]["why"] == ""


@pytest.mark.live
def test_a_changed_key_is_shown_and_never_pinned(
    ssh_fleet: Fleet,  # noqa: F811 - the fixture
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = (ssh_fleet.folder / "ca.pub").read_text().split()[:2]
    before = f"[{ssh_fleet.addresses[0]}]:{ssh_fleet.port} {' '.join(other)}\n"
    (tmp_path / "known_hosts").write_text(before)
    path = str(inventory_of(ssh_fleet, tmp_path))
    limit = f"host-{ssh_fleet.addresses[0]}"
    assert main(["hosts", "trust", "-i", path, "--yes", "--limit", limit]) == ExitCode.INCOMPLETE
    assert "CHANGED" in capsys.readouterr().out
    assert (tmp_path / "known_hosts").read_text() == before
    assert main(["hosts", "check", "-i", path, "--limit", limit]) == ExitCode.INCOMPLETE
    assert "host key changed" in capsys.readouterr().out


@pytest.mark.live
def test_jump_hosts_are_trusted_before_what_lies_behind_them(
    ssh_fleet: Fleet,  # noqa: F811 - the fixture
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    jump, _, behind = ssh_fleet.addresses
    extra = f"      proxy_jump: root@{jump}:{ssh_fleet.port}\n"
    path = str(inventory_of(ssh_fleet, tmp_path, extra))
    limit = f"host-{behind}"
    assert main(["hosts", "trust", "-i", path, "--yes", "--limit", limit]) == ExitCode.CLEAN
    assert capsys.readouterr().out.count("pinned 1 keys") == 2
    assert main(["hosts", "check", "-i", path, "--limit", limit]) == ExitCode.CLEAN


def test_without_a_person_nothing_is_pinned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "empty").open("w+") as nobody, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", nobody)
        _refused(capsys)


def _refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["hosts", "trust", "-i", "h1,"])
    assert stop.value.code == ExitCode.USAGE
    assert "--yes" in capsys.readouterr().err
