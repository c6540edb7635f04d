"""A real ssh-agent: the session's, one that IdentityAgent names, and keys of which only the agent can be used."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from fleetscan.engines.osqueryi import OsqueryiEngine
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answer, Answered, Failed, Statement
from fleetscan.transport.credentials import Credentials
from fleetscan.transport.ssh import SshTransport
from tests.doubles.sshd import keygen
from tests.patience import LONG, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.doubles.sshd import Fleet

pytestmark = pytest.mark.live

WHO = Statement(id="who", sql="SELECT data FROM registry WHERE path = 'HKEY_LOCAL_MACHINE\\SOFTWARE\\Fleet\\Name'")
SECRET = "open sesame"
USER = "root" if os.geteuid() == 0 else os.environ.get("USER", "root")


@dataclass(frozen=True, slots=True)
class Agent:
    """A running agent that holds no key of its own accord."""

    socket: Path

    def add(self, key: Path, passphrase: str = "") -> None:
        """As ``ssh-add`` does it, which takes a passphrase from a program only."""
        program = self.socket.with_name("passphrase")
        program.write_text(f"#!/bin/sh\necho '{passphrase}'\n")
        program.chmod(0o700)
        environment = {"SSH_AUTH_SOCK": str(self.socket), "SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force"}
        subprocess.run(["ssh-add", "-q", str(key)], check=True, capture_output=True, env=environment)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        assert eventually(path.exists)
        yield Agent(path)
    finally:
        process.terminate()
        process.wait(LONG)


def ask(
    fleet: Fleet, *, identity_file: Path | None = None, ssh_config: Path | None = None, agent: bool = True
) -> Answer:
    host = fleet.host(
        fleet.addresses[0],
        user=USER,
        agent=agent,
        identity_file=str(identity_file) if identity_file else None,
        ssh_config=str(ssh_config) if ssh_config else None,
    )
    engine = OsqueryiEngine(SshTransport(Credentials({}, ask=None)))
    return engine.ask(host, [WHO], deadline=time.monotonic() + 2 * LONG).answers["who"]


def configured(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "ssh_config"
    path.write_text("\n".join(("Host *", *lines, "")))
    return path


def public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def refusal(answer: Answer) -> str:
    assert isinstance(answer, Failed)
    assert answer.reason == Reason.AUTH
    return answer.detail


@pytest.mark.parametrize("named", ["{socket}", "~/agent", "$FLEET_AGENT", "${{FLEET_AGENT}}"])
def test_identity_agent_names_another_agent_than_the_sessions(
    ssh_fleet: Fleet, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("FLEET_AGENT", str(agent.socket))
    agent.add(ssh_fleet.folder / "id_ed25519")
    config = configured(tmp_path, f"IdentityAgent {named.format(socket=agent.socket)}")
    assert isinstance(ask(ssh_fleet, ssh_config=config), Answered)


@pytest.mark.parametrize("named", ["SSH_AUTH_SOCK", "$SSH_AUTH_SOCK"])
def test_the_agent_of_the_session_can_be_named(
    ssh_fleet: Fleet, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    agent.add(ssh_fleet.folder / "id_ed25519")
    config = configured(tmp_path, f"IdentityAgent {named}")
    assert "no key" in refusal(ask(ssh_fleet, ssh_config=config))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent.socket))
    assert isinstance(ask(ssh_fleet, ssh_config=config), Answered)


@pytest.mark.parametrize("named", ["none", "$NOT_SET", "/nowhere/agent"])
def test_without_an_agent_the_sessions_is_not_asked_instead(
    ssh_fleet: Fleet, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    agent.add(ssh_fleet.folder / "id_ed25519")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent.socket))
    assert f"no key and no password for {USER}" in refusal(
        ask(ssh_fleet, ssh_config=configured(tmp_path, f"IdentityAgent {named}"))
    )


def test_a_locked_file_whose_key_the_agent_holds_needs_no_passphrase(
    ssh_fleet: Fleet, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent.socket))
    locked = ssh_fleet.folder / "id_locked"
    assert f"or ssh-add {locked}" in refusal(ask(ssh_fleet, identity_file=locked))
    agent.add(locked, SECRET)
    assert isinstance(ask(ssh_fleet, identity_file=locked), Answered)
    assert "passphrase_env" in refusal(ask(ssh_fleet, identity_file=locked, agent=False))


def test_a_public_key_names_the_one_of_the_agent_and_no_other_is_offered(
    ssh_fleet: Fleet, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent.socket))
    good, other = ssh_fleet.folder / "id_ed25519", tmp_path / "other"
    keygen(other)
    agent.add(good)
    refused = ask(ssh_fleet, identity_file=public(other))
    assert "is a public key, not the private one" in refusal(refused)
    assert isinstance(ask(ssh_fleet, identity_file=public(good)), Answered)
    lines = (f"IdentityFile {good}.pub", "IdentitiesOnly yes")
    assert isinstance(ask(ssh_fleet, ssh_config=configured(tmp_path, *lines)), Answered)
    agent.add(other)
    assert "Authentication failed" in refusal(ask(ssh_fleet, identity_file=public(other)))
