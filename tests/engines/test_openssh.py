"""osqueryi over real OpenSSH: identities, pins, jumps, and what is left behind on the host."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from fleetscan.engines.osqueryi import OsqueryiEngine
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answer, Answered, Failed, Statement
from fleetscan.transport.credentials import Credentials
from fleetscan.transport.destination import resolve
from fleetscan.transport.known_hosts import PinnedKey, Trust, known_name
from fleetscan.transport.ssh import SshTransport
from tests.doubles.sshd import Fleet, fleet
from tests.patience import LONG, eventually, given_time

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.engines.interface import Answers
    from fleetscan.model.host import Host

pytestmark = pytest.mark.live

WHO = Statement(id="who", sql="SELECT data FROM registry WHERE path = 'HKEY_LOCAL_MACHINE\\SOFTWARE\\Fleet\\Name'")
# Counts for longer than any test waits, without an answer in between.
SLOW = Statement(
    id="slow",
    sql="WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e9) SELECT max(i) AS i FROM n",
)


def ask(host: Host, *, seconds: float = LONG, engine: OsqueryiEngine | None = None) -> Answer:
    engine = engine or OsqueryiEngine(SshTransport(Credentials({})))
    return engine.ask(host, [WHO], deadline=time.monotonic() + seconds).answers["who"]


def test_each_address_answers_from_its_own_hives(ssh_fleet: Fleet) -> None:
    for address in ssh_fleet.addresses:
        assert ask(ssh_fleet.host(address)) == Answered(({"data": f"Rechner ü {address}"},))


def test_hashed_pins_are_found(ssh_fleet: Fleet) -> None:
    host = ssh_fleet.host(ssh_fleet.addresses[0], known_hosts=str(ssh_fleet.folder / "known_hashed"))
    assert isinstance(ask(host), Answered)


def test_a_key_file_opens_with_the_passphrase_of_the_named_variable(ssh_fleet: Fleet) -> None:
    locked = str(ssh_fleet.folder / "id_locked")
    host = ssh_fleet.host(ssh_fleet.addresses[0], identity_file=locked, passphrase_env="FLEET_KEY")
    right = OsqueryiEngine(SshTransport(Credentials({"FLEET_KEY": "open sesame"})))
    wrong = OsqueryiEngine(SshTransport(Credentials({"FLEET_KEY": "open barley"})))
    assert isinstance(ask(host, engine=right), Answered)
    refused = ask(host, engine=wrong)
    assert isinstance(refused, Failed)
    assert refused.reason == Reason.AUTH
    assert "barley" not in refused.detail


def test_a_passphrase_is_asked_for_once(ssh_fleet: Fleet) -> None:
    asked: list[str] = []

    def prompt(text: str) -> str:
        asked.append(text)
        return "open sesame"

    engine = OsqueryiEngine(SshTransport(Credentials({}, ask=prompt)))
    for address in ssh_fleet.addresses:
        host = ssh_fleet.host(address, identity_file=str(ssh_fleet.folder / "id_locked"))
        assert isinstance(ask(host, engine=engine), Answered)
    assert len(asked) == 1


def test_a_certificate_of_the_trusted_authority_logs_in(ssh_fleet: Fleet) -> None:
    key = str(ssh_fleet.folder / "id_certified")
    certificate = str(ssh_fleet.folder / "certificate.pub")
    address = ssh_fleet.addresses[0]
    assert isinstance(ask(ssh_fleet.host(address, identity_file=key, certificate_file=certificate)), Answered)
    alone = ask(ssh_fleet.host(address, identity_file=key))
    assert isinstance(alone, Failed)
    assert alone.reason == Reason.AUTH


def test_the_agent_is_asked_where_it_may_be(ssh_fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        assert eventually(socket.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        monkeypatch.setenv("HOME", str(tmp_path))
        subprocess.run(["ssh-add", "-q", str(ssh_fleet.folder / "id_ed25519")], check=True, capture_output=True)
        address = ssh_fleet.addresses[0]
        assert isinstance(ask(ssh_fleet.host(address, identity_file=None, agent=True, user="root")), Answered)
        refused = ask(ssh_fleet.host(address, identity_file=None, agent=False, user="root"))
    finally:
        agent.terminate()
        agent.wait(LONG)
    assert isinstance(refused, Failed)
    assert refused.reason == Reason.AUTH
    assert "no key and no password for root" in refused.detail


def test_a_chain_of_jumps_leads_to_the_host(ssh_fleet: Fleet) -> None:
    first, second, third = ssh_fleet.addresses[:3]
    user = "root" if os.geteuid() == 0 else os.environ["USER"]
    chain = f"{user}@{first}:{ssh_fleet.port},{user}@{second}:{ssh_fleet.port}"
    assert ask(ssh_fleet.host(third, proxy_jump=chain)) == Answered(({"data": f"Rechner ü {third}"},))


def test_a_jump_host_is_pinned_as_well(ssh_fleet: Fleet, tmp_path: Path) -> None:
    first, _, third = ssh_fleet.addresses[:3]
    lines = (ssh_fleet.folder / "known_hosts").read_text().splitlines()
    (tmp_path / "known").write_text("".join(f"{line}\n" for line in lines if f"[{first}]" not in line))
    answer = ask(ssh_fleet.host(third, proxy_jump=f"{first}:{ssh_fleet.port}", known_hosts=str(tmp_path / "known")))
    assert isinstance(answer, Failed)
    assert answer.reason == Reason.HOST_KEY_UNKNOWN
    assert f"[{third}]:{ssh_fleet.port}: jump host [{first}]:{ssh_fleet.port}: its host key" in answer.detail


def pins(fleet: Fleet, folder: Path, *kinds: str, address: str) -> str:
    """A file that pins keys of these files of the server for an address."""
    keys = (" ".join((fleet.folder / f"{kind}.pub").read_text().split()[:2]) for kind in kinds)
    path = folder / "known"
    path.write_text("".join(f"[{address}]:{fleet.port} {key}\n" for key in keys))
    return str(path)


@pytest.mark.parametrize("kinds", [("host_rsa",), ("host_rsa", "host_ed25519"), ("ca", "host_rsa")])
def test_of_several_host_keys_a_pinned_one_is_asked_for(
    ssh_fleet: Fleet, tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    address = ssh_fleet.addresses[0]
    known = pins(ssh_fleet, tmp_path, *kinds, address=address)
    expected = Answered if "ca" not in kinds else Failed  # another ed25519 key is pinned, and both types are asked for
    host = ssh_fleet.host(address, known_hosts=known)
    assert isinstance(ask(host), expected)
    transport, destination = SshTransport(Credentials({})), resolve(host)
    shown = transport.shown_key(destination, deadline=time.monotonic() + LONG)
    trust = transport.pins(destination.known_hosts).judge(destination.known_as, shown.key)
    assert trust is (Trust.KNOWN if expected is Answered else Trust.CHANGED)


def test_a_server_without_the_pinned_type_of_key_has_changed(ssh_fleet: Fleet, tmp_path: Path) -> None:
    address = ssh_fleet.addresses[0]
    words = ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(tmp_path / "gone")]
    subprocess.run(words, check=True, capture_output=True)
    gone = " ".join((tmp_path / "gone.pub").read_text().split()[:2])
    (tmp_path / "known").write_text(f"[{address}]:{ssh_fleet.port} {gone}\n")
    answer = ask(ssh_fleet.host(address, known_hosts=str(tmp_path / "known")))
    assert isinstance(answer, Failed)
    assert answer.reason == Reason.HOST_KEY_CHANGED
    assert "it shows ssh-ed25519 SHA256:" in answer.detail


def test_a_host_that_moved_to_another_address_is_known_by_its_old_one(ssh_fleet: Fleet, tmp_path: Path) -> None:
    old, new = ssh_fleet.addresses[:2]
    answer = ask(ssh_fleet.host(new, known_hosts=pins(ssh_fleet, tmp_path, "host_ed25519", address=old)))
    assert isinstance(answer, Failed)
    assert answer.reason == Reason.HOST_KEY_UNKNOWN
    assert f"which is pinned for [{old}]:{ssh_fleet.port}" in answer.detail


def test_openssh_sees_no_login_from_who_does_not_trust_it(tmp_path: Path) -> None:
    # A server of its own: in its log stands nothing of other tests.
    with fleet(tmp_path / "sshd", {"127.0.0.14": ()}) as alone:
        ask(alone.host("127.0.0.14", known_hosts=str(tmp_path / "none")))
        log = alone.folder / "sshd.log"
        assert eventually(lambda: "[preauth]" in log.read_text(errors="replace")), log.read_text(errors="replace")
        lines = [line for line in log.read_text(errors="replace").splitlines() if "[preauth]" in line]
    assert not any("user" in line for line in lines), lines


def test_ssh_config_names_the_host(ssh_fleet: Fleet, tmp_path: Path) -> None:
    address = ssh_fleet.addresses[1]
    (tmp_path / "config").write_text(
        f"Host jump\n  HostName {ssh_fleet.addresses[0]}\n"
        f"Host ws?\n  HostName {address}\n  ProxyJump jump\n"
        f"Host *\n  Port {ssh_fleet.port}\n  IdentityFile {ssh_fleet.folder}/id_ed25519\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {ssh_fleet.folder}/known_hosts\n"
    )
    settings = dict.fromkeys(("port", "identity_file", "known_hosts"))
    host = ssh_fleet.host(address, ssh_config=str(tmp_path / "config"), name="ws1", **settings)
    assert ask(host) == Answered(({"data": f"Rechner ü {address}"},))


def test_a_process_at_work_is_ended_with_its_deadline(ssh_fleet: Fleet) -> None:
    host = ssh_fleet.host(ssh_fleet.addresses[0])
    engine = OsqueryiEngine(SshTransport(Credentials({})))
    answers = given_time(
        lambda seconds: engine.ask(host, [WHO, SLOW], deadline=time.monotonic() + seconds), _has_begun, seconds=5.0
    )
    assert isinstance(answers.answers["who"], Answered)
    assert answers.answers["slow"] == Failed(Reason.DEADLINE)
    assert _is_gone(int(dict(answers.notes)["osquery_pid"]))


def test_stopping_a_sweep_ends_the_remote_process_too(ssh_fleet: Fleet) -> None:
    engine = OsqueryiEngine(SshTransport(Credentials({})))
    host = ssh_fleet.host(ssh_fleet.addresses[1])

    def stopped_after(seconds: float) -> Answers:
        threading.Timer(seconds, engine.stop).start()
        return engine.ask(host, [WHO, SLOW], deadline=time.monotonic() + seconds + LONG)

    answers = given_time(stopped_after, _has_begun, seconds=4.0)
    assert answers.answers["slow"] == Failed(Reason.CANCELLED)
    assert _is_gone(int(dict(answers.notes)["osquery_pid"]))


def _has_begun(answers: Answers) -> bool:
    return isinstance(answers.answers["who"], Answered)


def _is_gone(pid: int) -> bool:
    return eventually(lambda: not _is_running(pid))


def _is_running(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip()) and not found.stdout.startswith("Z")


def test_the_key_a_server_shows_can_be_seen_without_trusting_it(ssh_fleet: Fleet) -> None:
    destination = resolve(ssh_fleet.host(ssh_fleet.addresses[0]))
    transport = SshTransport(Credentials({}))
    shown = transport.shown_key(destination, deadline=time.monotonic() + LONG)
    name = known_name(ssh_fleet.addresses[0], ssh_fleet.port)
    pins = transport.pins(destination.known_hosts)
    assert pins.judge(name, shown.key) is Trust.KNOWN
    assert pins.judge(name, PinnedKey(shown.key.type, b"other")) is Trust.CHANGED
