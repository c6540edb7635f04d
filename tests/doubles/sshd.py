"""Real OpenSSH on loopback: one daemon, many addresses, each a host whose osqueryi reads its own folder of hives."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from fleetscan.model.host import Host, HostId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SSHD = Path("/usr/sbin/sshd")
_START_SECONDS = 60.0

# The server tells in SSH_CONNECTION which of its addresses was called: that is the host.
_WRAPPER = """#!/bin/sh
address=$(echo "$SSH_CONNECTION" | cut -d' ' -f3)
FLEETSCAN_OSQUERYI_HIVES={folder}/hives/$address
FLEETSCAN_OSQUERYI_ELEVATED=$(cat {folder}/elevated/$address 2>/dev/null)
export FLEETSCAN_OSQUERYI_HIVES FLEETSCAN_OSQUERYI_ELEVATED
exec {python} -m fleetscan.osqueryi "$@"
"""

_CONFIG = """
Port {port}
{addresses}
{keys}
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
TrustedUserCAKeys {folder}/ca.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 1000
MaxSessions 1000
AllowTcpForwarding yes
PrintMotd no
SetEnv FLEETSCAN_TEST=1
"""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A running daemon: where it listens and the files a client needs."""

    folder: Path
    port: int
    addresses: tuple[str, ...]

    @property
    def osqueryi(self) -> str:
        """The command on every host; its path holds a blank."""
        return str(self.folder / "os query" / "osqueryi")

    def host(self, address: str, name: str = "", **settings: object) -> Host:
        """The host of an address, called by ``name`` if that is given; a setting None is taken away."""
        known: Mapping[str, object] = {
            "address": name or address,
            "port": self.port,
            "osqueryi": self.osqueryi,
            "identity_file": str(self.folder / "id_ed25519"),
            "known_hosts": str(self.folder / "known_hosts"),
            "agent": False,
        }
        chosen = {name: value for name, value in {**known, **settings}.items() if value is not None}
        return Host(id=HostId(f"host-{address}"), engine="osqueryi", settings=MappingProxyType(chosen))

    @contextmanager
    def elevation(self, address: str, *, elevated: bool) -> Iterator[None]:
        """Within it this host's osqueryi says whether it runs with elevation; before and after, it does not know."""
        answer = self.folder / "elevated" / address
        answer.parent.mkdir(exist_ok=True)
        answer.write_text(str(int(elevated)))
        try:
            yield
        finally:
            answer.unlink()

    def tidy(self) -> None:
        """End what still runs on the hosts: a process whose connection broke would count to the end."""
        mark = f"FLEETSCAN_OSQUERYI_HIVES={self.folder}/".encode()
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if mark in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)


def require_sshd() -> None:
    """Skip where OpenSSH's server is missing and cannot be installed; in CI that is a failure."""
    if SSHD.exists():
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for words in (["update"], ["install", "-y", "--no-install-recommends", "openssh-server"]):
            subprocess.run(["apt-get", "-qq", *words], check=False, capture_output=True, timeout=300)
    if SSHD.exists():
        return
    reason = "OpenSSH's server is missing: install openssh-server"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A port nobody listens on, on any loopback address."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def keygen(path: Path, kind: str = "ed25519", passphrase: str = "") -> None:
    """A pair of keys, the public one in a file with ``.pub`` behind its name."""
    words = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)]
    subprocess.run(words, check=True, capture_output=True)


def certificate(path: Path, authority: Path, key: Path, *words: str) -> Path:
    """The certificate of a key's file, signed with the authority's as ``ssh-keygen -s`` does with these words."""
    public = path.with_suffix(".pub")
    shutil.copy(f"{key}.pub", public)
    command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "tests", *words, str(public)]
    subprocess.run(command, check=True, capture_output=True)
    return path.with_name(f"{path.stem}-cert.pub")


@contextmanager
def fleet(folder: Path, exports: Mapping[str, Sequence[Path]], *, prefix: Sequence[str] = ()) -> Iterator[Fleet]:
    """Hosts by address; each reads the exports it is given. ``prefix`` starts the daemon (in another namespace)."""
    require_sshd()
    port = free_port()
    (folder / "os query").mkdir(parents=True)
    wrapper = folder / "os query" / "osqueryi"
    wrapper.write_text(_WRAPPER.format(folder=shlex.quote(str(folder)), python=shlex.quote(sys.executable)))
    wrapper.chmod(0o755)
    for address, files in exports.items():
        (folder / "hives" / address).mkdir(parents=True)
        for file in files:
            shutil.copy(file, folder / "hives" / address)
    _keys(folder, port, tuple(exports))
    keys = {folder / "host_ed25519": None, folder / "host_rsa": None}
    with _daemon(folder, folder, keys, port, tuple(exports), prefix):
        running = Fleet(folder, port, tuple(exports))
        yield running
        running.tidy()


@contextmanager
def showing(base: Fleet, folder: Path, keys: Mapping[Path, Path | None]) -> Iterator[Fleet]:
    """The same hosts behind another daemon, which has these keys, each with its certificate or None."""
    port = free_port()
    with _daemon(folder, base.folder, keys, port, base.addresses, ()):
        yield Fleet(base.folder, port, base.addresses)


@contextmanager
def _daemon(
    folder: Path,
    files: Path,
    keys: Mapping[Path, Path | None],
    port: int,
    addresses: tuple[str, ...],
    prefix: Sequence[str],
) -> Iterator[None]:
    lines = [f"HostKey {key}" for key in keys]
    lines += [f"HostCertificate {shown}" for shown in keys.values() if shown]
    listen = "\n".join(f"ListenAddress {address}" for address in addresses)
    config = folder / "sshd_config"
    config.write_text(_CONFIG.format(port=port, addresses=listen, folder=files, keys="\n".join(lines)))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "sshd.log").open("wb") as log:
        words = [*prefix, str(SSHD), "-D", "-e", "-f", str(config)]
        daemon = subprocess.Popen(words, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _await(addresses[0], port, daemon, folder / "sshd.log")
            yield
        finally:
            daemon.terminate()
            daemon.wait(60)


def _keys(folder: Path, port: int, addresses: tuple[str, ...]) -> None:
    keygen(folder / "host_ed25519")
    keygen(folder / "host_rsa", "rsa")
    keygen(folder / "ca")
    keygen(folder / "id_ed25519")
    keygen(folder / "id_locked", passphrase="open sesame")
    keygen(folder / "id_certified")
    user = "root" if os.geteuid() == 0 else os.environ.get("USER", "root")
    words = ["ssh-keygen", "-q", "-s", str(folder / "ca"), "-I", "tests", "-n", user, str(folder / "id_certified.pub")]
    subprocess.run(words, check=True, capture_output=True)
    # As a certificate is often kept: not beside its key under the name that would be found by itself.
    (folder / "id_certified-cert.pub").rename(folder / "certificate.pub")
    allowed = [(folder / name).read_text() for name in ("id_ed25519.pub", "id_locked.pub")]
    (folder / "authorized_keys").write_text("".join(allowed))
    key = " ".join((folder / "host_ed25519.pub").read_text().split()[:2])
    lines = [f"[{address}]:{port} {key}" for address in addresses]
    (folder / "known_hosts").write_text("\n".join(lines) + "\n")
    hashed = folder / "known_hashed"
    hashed.write_text("\n".join(lines) + "\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(hashed)], check=True, capture_output=True)


def _await(address: str, port: int, daemon: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and daemon.poll() is None:
        try:
            with socket.create_connection((address, port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"sshd does not answer: {log.read_text(errors='replace')[-2000:]}")
