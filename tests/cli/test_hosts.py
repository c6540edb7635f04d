"""``fleetscan hosts``: what the inventory resolves to, who can be asked, and keys pinned after a look."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleetscan.cli.hosts import run
from fleetscan.cli.main import build_parser, main
from fleetscan.engines.named import engine_named
from fleetscan.errors import ExitCode
from fleetscan.planner.facts import FACTS
from tests.doubles.sshd import certificate, showing
from tests.engines.conftest import ssh_fleet, sshd  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscan.engines.interface import Answers
    from fleetscan.model.host import Host
    from fleetscan.planner.plan import Statement
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
    assert all(f"host-{address}  [{address}]:{ssh_fleet.port}  ssh-" in printed for address in ssh_fleet.addresses)
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
    capsys.readouterr()
    with ssh_fleet.elevation(address, elevated=False):
        assert main(["hosts", "check", "-i", path, "--json", *limit]) == ExitCode.CLEAN
    [line] = json.loads(capsys.readouterr().out)
    assert line["status"] == "ok"
    assert line["why"] == (
        "the account root is not elevated: SECURITY, SAM and the hives of other users cannot be read"
    )
    with ssh_fleet.elevation(address, elevated=True):
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
def test_a_host_with_a_certificate_of_a_trusted_authority_needs_no_pin(
    ssh_fleet: Fleet,  # noqa: F811 - the fixture
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second, _ = ssh_fleet.addresses
    known = tmp_path / "known_hosts"
    before = f"@cert-authority * {' '.join((ssh_fleet.folder / 'ca.pub').read_text().split()[:2])}\n"
    known.write_text(before)
    key, authority = ssh_fleet.folder / "host_ed25519", ssh_fleet.folder / "ca"
    shown = certificate(tmp_path / "shown", authority, key, "-h", "-n", first)
    with showing(ssh_fleet, tmp_path, {key: shown}) as running:
        path = str(inventory_of(running, tmp_path))
        only = ["--limit", f"host-{first}"]
        assert main(["hosts", "trust", "-i", path, "--yes", *only]) == ExitCode.CLEAN
        printed = capsys.readouterr().out
        fingerprint = subprocess.run(["ssh-keygen", "-lf", str(authority)], check=True, capture_output=True, text=True)
        assert f"trusted through its authority ssh-ed25519 {fingerprint.stdout.split()[1]}" in printed
        assert "pinned" not in printed
        assert known.read_text() == before
        assert main(["hosts", "check", "-i", path, *only]) == ExitCode.CLEAN

        # For another host it is no more than a plain key, and only that is pinned.
        other = ["--limit", f"host-{second}"]
        assert main(["hosts", "trust", "-i", path, "--yes", *other]) == ExitCode.CLEAN
        printed = capsys.readouterr().out
        assert f"new; its certificate is for {first}, not for {second}" in printed
        name, pinned = known.read_text().removeprefix(before).split(maxsplit=1)
        assert (name, pinned.split()) == (
            f"[{second}]:{running.port}",
            key.with_suffix(".pub").read_text().split()[:2],
        )
        assert main(["hosts", "check", "-i", path, *other]) == ExitCode.CLEAN


@pytest.mark.live
def test_jump_hosts_are_trusted_before_what_lies_behind_them(
    ssh_fleet: Fleet,  # noqa: F811 - the fixture
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    jump, _, behind = ssh_fleet.addresses
    extra = f"      proxy_jump: root@{jump}:{ssh_fleet.port}\n"
    path = str(inventory_of(ssh_fleet, tmp_path, extra))
    assert main(["hosts", "check", "-i", path, "--limit", f"!host-{jump}"]) == ExitCode.INCOMPLETE
    assert f"jump host [{jump}]:{ssh_fleet.port}: host key unknown; 2 hosts behind it" in capsys.readouterr().out
    limit = f"host-{behind}"
    assert main(["hosts", "trust", "-i", path, "--yes", "--limit", limit]) == ExitCode.CLEAN
    assert capsys.readouterr().out.count("pinned 1 keys") == 2
    assert main(["hosts", "check", "-i", path, "--limit", limit]) == ExitCode.CLEAN


class Spy:
    """The real engines; remembers what was asked of whom."""

    def __init__(self) -> None:
        self.asked: dict[str, Sequence[Statement]] = {}

    def __call__(self, name: str) -> Spy:
        self.engine = engine_named(name)
        return self

    def ask(self, host: Host, statements: Sequence[Statement], *, deadline: float | None = None) -> Answers:
        self.asked[host.id] = statements
        return self.engine.ask(host, statements, deadline=deadline)


def test_check_asks_a_canary_and_no_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = Path(__file__).parents[2] / "inventory" / "demo.yml"
    parser = build_parser("hosts")
    spy = Spy()
    args = parser.parse_args(["hosts", "check", "-i", str(demo), "--limit", "demo,!srv-files-01:!ws-berlin-0[3:4]"])
    assert run(args, engines=spy) == ExitCode.INCOMPLETE
    printed = capsys.readouterr().out
    assert set(spy.asked) == {"ws-berlin-01", "ws-berlin-02", "srv-print-02"}
    for statements in spy.asked.values():
        walks = [statement.sql for statement in statements if statement.id not in FACTS]
        # One key, and the root above it.
        assert len(walks) == 2
        assert "CurrentVersion" in "".join(walks)
        assert not any(word in "".join(walks) for word in ("WinSock2", "Cryptography", "Services", "Run"))
    assert "unreadable" in printed
    assert printed.endswith("2 of 3 hosts can be asked\n")

    args = parser.parse_args(["hosts", "check", "-i", str(demo), "--limit", "ws-berlin-01", "--json"])
    assert run(args, engines=spy) == ExitCode.CLEAN
    assert [line["status"] for line in json.loads(capsys.readouterr().out)] == ["ok"]
    assert not (tmp_path / "fleetscan.db").exists()


@pytest.mark.parametrize("action", ["check", "trust"])
def test_nothing_to_do_is_not_all_well(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["hosts", action, "-i", "h1,", "--limit", "nobody*", "--yes"])
    assert stop.value.code == ExitCode.USAGE
    assert "no host is left" in capsys.readouterr().err


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


class Person(io.StringIO):
    """Somebody at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.live
@pytest.mark.parametrize(
    ("typed", "code"),
    [("y\n", ExitCode.CLEAN), ("Yes\n", ExitCode.CLEAN), ("n\n", 3), ("\n", 3), ("", 3)],
    ids=["y", "yes", "n", "Enter", "Ctrl-D"],
)
def test_keys_are_pinned_when_a_person_says_yes_and_only_then(
    ssh_fleet: Fleet,  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    code: int,
) -> None:
    monkeypatch.setattr("sys.stdin", Person(typed))
    path = str(inventory_of(ssh_fleet, tmp_path))
    assert main(["hosts", "trust", "-i", path]) == code
    assert (tmp_path / "known_hosts").exists() == (code == ExitCode.CLEAN)
