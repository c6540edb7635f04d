"""SSH servers and keys as people have them: what asks back, what refuses, and what is no key."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import paramiko
import pytest
from paramiko.common import AUTH_FAILED, MSG_EXT_INFO, MSG_USERAUTH_INFO_REQUEST

from fleetscan.engines.osqueryi import OsqueryiEngine
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answered, Failed, Statement
from fleetscan.transport.credentials import Credentials
from fleetscan.transport.destination import resolve
from fleetscan.transport.failure import TransportError
from fleetscan.transport.ssh import SshTransport
from tests.doubles.asking_server import asking_server, bare_server
from tests.doubles.fault_server import fault_server, raw_server
from tests.patience import LONG, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.model.host import Host
    from fleetscan.planner.plan import Answer
    from tests.doubles.sshd import Fleet
    from tests.engines.conftest import Faults

WHO = Statement(id="who", sql="SELECT count(*) AS n FROM registry")
SECRET = "correct horse"


def ask(host: Host, *, seconds: float = 60.0, environment: dict[str, str] | None = None) -> Answer:
    engine = OsqueryiEngine(SshTransport(Credentials(environment or {})))
    return engine.ask(host, [WHO], deadline=time.monotonic() + seconds).answers["who"]


def refused(answer: Answer, reason: Reason) -> str:
    """What is said of an answer that was not given for this reason."""
    assert isinstance(answer, Failed)
    assert answer.reason is reason, answer.detail
    return answer.detail


def asked(faults: Faults, tmp_path: Path, user: str) -> tuple[Reason | None, str, list[str]]:
    """What comes of logging in with a password where questions are asked, and what they were answered."""
    with asking_server() as server:
        pins = tmp_path / "pins"
        pins.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
        destination = resolve(
            faults.host(user, port=server.port, known_hosts=str(pins), identity_file=None, password_env="PW")
        )
        transport = SshTransport(Credentials({"PW": SECRET}))
        try:
            with transport.connect(destination, deadline=time.monotonic() + 60):
                return None, "", server.answers
        except TransportError as error:
            return error.reason, str(error), server.answers


def test_a_password_may_be_the_answer_to_a_question(faults: Faults, tmp_path: Path) -> None:
    assert asked(faults, tmp_path, "asks") == (None, "", [SECRET])


@pytest.mark.parametrize(
    ("user", "words", "answers"),
    [
        ("asks_again", "more than a password is asked for: Your password has expired. New password:", [SECRET]),
        ("asks_twice_at_once", "more than a password is asked for: Password: Token:", []),
        ("asks_openly", "more than a password is asked for: Name of your first pet:", []),
    ],
)
def test_the_password_is_the_answer_to_one_question_only(
    faults: Faults, tmp_path: Path, user: str, words: str, answers: list[str]
) -> None:
    reason, detail, given = asked(faults, tmp_path, user)
    assert (reason, given) == (Reason.AUTH, answers)
    assert words in detail
    assert SECRET not in detail


def test_a_password_that_has_expired_is_not_tried_again(faults: Faults) -> None:
    host = faults.host("expired", identity_file=None, password_env="PW")
    assert "the password has expired" in refused(ask(host, environment={"PW": SECRET}), Reason.AUTH)


@pytest.mark.parametrize("hello", ["Exceeded MaxStartups", "Not allowed at this time", "Too many \x1b[31musers"])
def test_what_a_server_says_that_has_no_room_is_told_and_it_is_asked_again(faults: Faults, hello: str) -> None:
    with raw_server(f"{hello}\r\n".encode(), close=True) as port:
        detail = refused(ask(faults.host("x", port=port)), Reason.CONNECTION)
    assert f"it said: {hello}" in detail


def test_a_server_that_talks_without_end_is_left(faults: Faults) -> None:
    with raw_server(b"x" * 200_000) as port:
        assert "it talks, and shows no banner" in refused(ask(faults.host("x", port=port)), Reason.CONNECTION)


def test_a_packet_larger_than_any_is_not_waited_for(faults: Faults) -> None:
    with raw_server(b"SSH-2.0-x\r\n\xff\xff\xff\xf4" + b"x" * 100) as port:
        assert "a packet of 42949672" in refused(ask(faults.host("x", port=port)), Reason.CONNECTION)


class Hesitant(paramiko.ServerInterface):
    """Says no to everybody, and not before it is told to."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def check_auth_none(self, username: str) -> int:
        del username
        self.told.wait(LONG)
        return AUTH_FAILED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        del key
        return self.check_auth_none(username)


def announce_extensions(transport: paramiko.Transport) -> None:
    """Four thousand million of them, after the key exchange and before any answer to a login."""
    hesitant = Hesitant()
    transport.start_server(server=hesitant)
    bomb = paramiko.Message()
    bomb.add_byte(b"\x07")
    bomb.add_int(0xFFFFFFFF)
    transport._send_message(bomb)  # type: ignore[attr-defined]  # noqa: SLF001 - no honest server can be made to
    hesitant.told.set()


def test_a_list_that_says_it_is_longer_than_its_packet_is_not_read(faults: Faults, tmp_path: Path) -> None:
    with bare_server(announce_extensions) as (port, key):
        pins = tmp_path / "pins"
        pins.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
        answer = ask(faults.host("x", port=port, known_hosts=str(pins)))
    assert isinstance(answer, Failed)
    assert "a list of 4294967295 entries" in answer.detail, answer


def test_an_ipv6_address_is_a_host_like_any_other(faults: Faults, tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_INET6, socket.SOCK_STREAM)) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
    with fault_server("::1") as server:
        for address in ("::1", "[::1]"):
            pins = tmp_path / "pins"
            pins.write_text(f"[{address.strip('[]')}]:{server.port} {server.host_key}\n")
            host = faults.host("good", address=address, port=server.port, known_hosts=str(pins))
            assert isinstance(ask(host), Answered)


def test_an_authority_of_hosts_is_no_key_of_a_host(faults: Faults, tmp_path: Path) -> None:
    pins = tmp_path / "pins"
    pins.write_text(f"@cert-authority * {faults.server.host_key}\n")
    detail = refused(ask(faults.host("good", known_hosts=str(pins))), Reason.HOST_KEY_UNKNOWN)
    assert "it shows no certificate, though a @cert-authority line speaks of it" in detail
    assert "fleetscan hosts trust" in detail
    pins.write_text(f"@cert-authority *.other {faults.server.host_key}\n")
    assert "@cert" not in refused(ask(faults.host("good", known_hosts=str(pins))), Reason.HOST_KEY_UNKNOWN)


PUTTY = "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: me\nPublic-Lines: 2\nAAAA\n"

NO_KEYS = {
    "of PuTTY": (PUTTY, "is in the format of PuTTY", "puttygen"),
    "public": ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me\n", "is a public key, not the private one", "id"),
    "public of another form": ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "is a public key", "id"),
    "nonsense": ("hello\n", "cannot be used", "passphrase_env"),
    "empty": ("", "cannot be used", "passphrase_env"),
}


@pytest.mark.parametrize(("content", "words", "hint"), NO_KEYS.values(), ids=NO_KEYS)
def test_a_file_that_is_no_private_key_is_called_by_its_name(
    faults: Faults, tmp_path: Path, content: str, words: str, hint: str
) -> None:
    path = tmp_path / "id.pub"
    path.write_text(content)
    detail = refused(ask(faults.host("good", identity_file=str(path))), Reason.AUTH)
    assert f"key {path} {words}" in detail
    assert hint in detail.partition("(try:")[2]


def test_a_key_that_is_not_there_is_named(faults: Faults, tmp_path: Path) -> None:
    detail = refused(ask(faults.host("good", identity_file=str(tmp_path / "gone"))), Reason.AUTH)
    assert f"key {tmp_path / 'gone'}: No such file" in detail


@pytest.mark.live
def test_the_agent_is_never_forwarded(ssh_fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is root on a host could use it."""
    socket_path = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.DEVNULL)
    try:
        assert eventually(socket_path.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket_path))
        (tmp_path / "config").write_text("Host *\n  ForwardAgent yes\n  ForwardX11 yes\n")
        host = ssh_fleet.host(ssh_fleet.addresses[0], ssh_config=str(tmp_path / "config"), agent=True)
        limit = time.monotonic() + 2 * LONG
        with SshTransport(Credentials({})).connect(resolve(host), deadline=limit) as connection:
            said = connection.run("echo agent:$SSH_AUTH_SOCK display:$DISPLAY", b"", deadline=limit, max_bytes=1000)
    finally:
        agent.terminate()
        agent.wait(LONG)
    assert said.stdout == b"agent: display:\n"


def test_the_library_counts_in_these_messages() -> None:
    assert (MSG_EXT_INFO, MSG_USERAUTH_INFO_REQUEST) == (7, 60)
