"""SSH servers for the engines' tests: one that does everything wrong, and real OpenSSH on loopback addresses."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import asyncssh
import pytest

from fleetscan.model.host import Host, HostId
from tests.doubles.fault_server import FaultServer, fault_server
from tests.doubles.sshd import Fleet, fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Faults:
    """The fault server and the files a client needs: a key, and the server's key pinned."""

    server: FaultServer
    folder: Path

    def host(self, user: str, **settings: str | float | None) -> Host:
        """A host that misbehaves as ``user``; a setting None is taken away."""
        known: dict[str, str | float | None] = {
            "address": "127.0.0.1",
            "port": self.server.port,
            "user": user,
            "osqueryi": "osqueryi",
            "identity_file": str(self.folder / "id"),
            "known_hosts": str(self.folder / "known_hosts"),
            "agent": False,
            "connect_timeout": 60.0,
        }
        chosen = {name: value for name, value in (known | settings).items() if value is not None}
        return Host(id=HostId(user), engine="osqueryi", settings=MappingProxyType(chosen))


@pytest.fixture
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    """A fault server of the test's own: what it saw, it saw of this test."""
    folder = tmp_path_factory.mktemp("faults")
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(folder / "id"))
    with fault_server() as server:
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
        yield Faults(server, folder)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three hosts on loopback addresses behind one real OpenSSH daemon, each with a registry of its own."""
    folder = tmp_path_factory.mktemp("fleet")
    exports: dict[str, list[Path]] = {}
    for number in (11, 12, 13):
        address = f"127.0.0.{number}"
        export = folder / f"{address}.reg"
        export.write_text(
            "Windows Registry Editor Version 5.00\r\n\r\n"
            f'[HKEY_LOCAL_MACHINE\\SOFTWARE\\Fleet]\r\n"Name"="Rechner ü {address}"\r\n'
            '"Odd"="😀 \x1b[31m\\"\\\\ \u202e"\r\n',
            encoding="utf-16",
            newline="",
        )
        exports[address] = [export]
    with fleet(folder / "sshd", exports) as running:
        yield running


@pytest.fixture
def ssh_fleet(sshd: Fleet) -> Iterator[Fleet]:
    """The three hosts; nothing that a test began on them outlives it."""
    yield sshd
    sshd.tidy()
