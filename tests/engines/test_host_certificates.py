"""Certificates of hosts, shown by real OpenSSH: each is believed exactly where OpenSSH's own client believes it."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import paramiko
import pytest

from fleetscan.cli.main import main
from fleetscan.engines.osqueryi import OsqueryiEngine
from fleetscan.errors import ExitCode
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answered, Statement
from fleetscan.transport.credentials import Credentials
from fleetscan.transport.destination import resolve
from fleetscan.transport.failure import TransportError
from fleetscan.transport.known_hosts import fingerprint
from fleetscan.transport.ssh import SshTransport
from tests.doubles.asking_server import bare_server
from tests.doubles.sshd import Fleet, certificate, keygen, showing
from tests.patience import LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from fleetscan.model.host import Host
    from tests.engines.conftest import Faults

WHO = Statement(id="who", sql="SELECT data FROM registry WHERE path = 'HKEY_LOCAL_MACHINE\\SOFTWARE\\Fleet\\Name'")
HERE = ("-h", "-n", "{address}")
PAST = ("-V", "20200101:20210101")
UNKNOWN, CHANGED, REVOKED = Reason.HOST_KEY_UNKNOWN, Reason.HOST_KEY_CHANGED, Reason.HOST_KEY_REVOKED
TRUSTED = "@cert-authority {name} {ca}\n"
PINNED = "{name} {host_ed25519}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How a key is signed, what is known of authorities and keys, and what comes of it."""

    signed: tuple[str, ...] = HERE
    key: str = "host_ed25519"
    authority: str = "ca"
    known: str = TRUSTED
    reason: Reason | None = None
    """Why the host is refused; None if it is trusted."""
    said: str = ""


CASES = {
    "of a trusted authority": Case(),
    "of an RSA key": Case(key="host_rsa"),
    "of an ECDSA key": Case(key="host_ecdsa"),
    "signed by an RSA authority": Case(authority="host_rsa", known="@cert-authority {name} {host_rsa}"),
    "signed by an ECDSA authority": Case(authority="host_ecdsa", known="@cert-authority {name} {host_ecdsa}"),
    "of an authority for all names": Case(known="@cert-authority * {ca}"),
    "of an authority without port": Case(known="@cert-authority 127.0.0.* {ca}"),
    "of one of two authorities": Case(known="@cert-authority * {id_certified}\n@cert-authority * {ca}"),
    "for several names": Case(signed=("-h", "-n", "a,b,{address}")),
    "with an extension": Case(signed=(*HERE, "-O", "extension:x=y")),
    "of an authority for another name": Case(
        known="@cert-authority *.corp {ca}", reason=UNKNOWN, said="its host key is not pinned, it shows ssh-ed25519"
    ),
    "of an authority not for this name": Case(known="@cert-authority *,!{name} {ca}\n", reason=None),
    "of no authority, with other ports": Case(
        known="@cert-authority [{address}]:1 {ca}", reason=UNKNOWN, said="its host key is not pinned"
    ),
    "of another authority": Case(
        authority="id_certified",
        reason=UNKNOWN,
        said="its certificate is signed by {id_certified}, which no @cert-authority line names for it",
    ),
    "expired": Case(signed=(*HERE, *PAST), reason=UNKNOWN, said="its certificate expired on 2021-01-01"),
    "not yet valid": Case(
        signed=(*HERE, "-V", "20900101:20910101"), reason=UNKNOWN, said="its certificate is not valid before 2090-01-01"
    ),
    "for another name": Case(
        signed=("-h", "-n", "a,b,c,d"),
        reason=UNKNOWN,
        said="its certificate is for a, b, c and 1 more, not for {address}",
    ),
    "for the name with a port": Case(
        signed=("-h", "-n", "[{address}]:22"), reason=UNKNOWN, said="is for [{address}]:22, not for {address}"
    ),
    "for users": Case(signed=("-n", "{address}"), reason=UNKNOWN, said="its certificate is one for users"),
    "with a critical option": Case(
        signed=(*HERE, "-O", "critical:x@y=z"), reason=UNKNOWN, said="the critical option x@y, which is not known"
    ),
    "of an authority that is a plain key": Case(
        signed=("-h", "-n", "b"), known="@cert-authority * {host_ed25519}", reason=UNKNOWN, said="is signed by {ca}"
    ),
    "of a revoked authority": Case(
        known=TRUSTED + "@revoked * {ca}", reason=REVOKED, said="its certificate is signed by the revoked {ca}"
    ),
    "of a revoked authority, with its key pinned": Case(
        known=TRUSTED + "@revoked * {ca}\n" + PINNED, reason=REVOKED, said="signed by the revoked {ca}"
    ),
    "of a revoked authority that nobody trusts": Case(
        known="@revoked * {ca}\n@cert-authority * {id_certified}", reason=REVOKED, said="signed by the revoked {ca}"
    ),
    "of a revoked key": Case(
        known=TRUSTED + "@revoked * {host_ed25519}", reason=REVOKED, said="it shows the revoked key {host_ed25519}"
    ),
    "expired, with its key pinned": Case(signed=(*HERE, *PAST), known=TRUSTED + PINNED),
    "for users, with its key pinned": Case(signed=("-n", "{address}"), known=TRUSTED + PINNED),
    "of a trusted authority, with its key pinned": Case(known=TRUSTED + PINNED),
    "expired, with another key pinned": Case(
        signed=(*HERE, *PAST),
        known=TRUSTED + "{name} {host_rsa}",
        reason=CHANGED,
        said="its host key changed, it shows {host_ed25519}; its certificate expired on 2021-01-01",
    ),
    "of a trusted authority, with another key pinned": Case(known=TRUSTED + "{name} {id_certified}"),
}


@pytest.fixture(scope="module")
def ecdsa(sshd: Fleet) -> Path:
    """A host key of the one type that the fleet has not."""
    path = sshd.folder / "host_ecdsa"
    if not path.exists():
        keygen(path, "ecdsa")
    return path


def key_of(path: Path) -> str:
    """Type and key as in known_hosts."""
    return " ".join(path.read_text().split()[:2])


def printed(path: Path) -> str:
    """Type and fingerprint, by OpenSSH's own tool."""
    found = subprocess.run(["ssh-keygen", "-lf", str(path)], check=True, capture_output=True, text=True)
    return f"{path.read_text().split()[0]} {found.stdout.split()[1]}"


def certified(fleet: Fleet, folder: Path, case: Case) -> Path:
    """The certificate of a case."""
    words = [word.format(address=fleet.addresses[0]) for word in case.signed]
    return certificate(folder / "shown", fleet.folder / case.authority, fleet.folder / case.key, *words)


def filled(text: str, running: Fleet, values: Mapping[str, str]) -> str:
    address = running.addresses[0]
    return text.format(address=address, name=f"[{address}]:{running.port}", **values)


def refusal(host: Host) -> tuple[Reason | None, str]:
    """Why fleetscan does not log in; None if it does."""
    destination = resolve(host)
    try:
        with SshTransport(Credentials({})).connect(destination, deadline=time.monotonic() + LONG):
            return None, ""
    except TransportError as error:
        return error.reason, str(error.what)


def openssh(running: Fleet, folder: Path, *words: str, address: str = "") -> bool:
    """Does OpenSSH's client log in with these pins? Nothing but the host's key may keep it from that."""
    config = folder / "oracle"
    config.write_text(
        f"Host *\n  BatchMode yes\n  StrictHostKeyChecking yes\n  UserKnownHostsFile {folder}/known\n"
        f"  GlobalKnownHostsFile /dev/null\n  IdentitiesOnly yes\n  IdentityFile {running.folder}/id_ed25519\n"
        f"  Port {running.port}\n  ControlPath none\n"
    )
    command = ["ssh", "-F", str(config), *words, address or running.addresses[0], "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0 or "Host key verification failed" in done.stderr, done.stderr
    return done.returncode == 0


@pytest.mark.live
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_certificate_is_believed_where_openssh_believes_it(
    ssh_fleet: Fleet, ecdsa: Path, tmp_path: Path, case: Case
) -> None:
    keys = {path.stem: path for path in ssh_fleet.folder.glob("*.pub")} | {"host_ecdsa": ecdsa.with_suffix(".pub")}
    with showing(ssh_fleet, tmp_path, {ssh_fleet.folder / case.key: certified(ssh_fleet, tmp_path, case)}) as running:
        known = filled(case.known, running, {name: key_of(path) for name, path in keys.items()})
        (tmp_path / "known").write_text(known)
        reason, detail = refusal(running.host(running.addresses[0], known_hosts=str(tmp_path / "known")))
        oracle = openssh(running, tmp_path)
    assert (reason is None) == oracle
    assert reason == case.reason, detail
    assert (
        filled(case.said, running, {name: printed(path) for name, path in keys.items() if name in case.said}) in detail
    )


def openssh_version() -> tuple[int, ...]:
    found = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True)
    match = re.search(r"OpenSSH\w*_(\d+)\.(\d+)", found.stderr)
    return tuple(map(int, match.groups())) if match else (0, 0)


@pytest.mark.live
@pytest.mark.skipif(not shutil.which("ssh"), reason="OpenSSH's client is missing")
def test_a_certificate_without_names_is_for_every_host_of_its_authority(ssh_fleet: Fleet, tmp_path: Path) -> None:
    shown = certified(ssh_fleet, tmp_path, Case(signed=("-h",)))
    with showing(ssh_fleet, tmp_path, {ssh_fleet.folder / "host_ed25519": shown}) as running:
        (tmp_path / "known").write_text(f"@cert-authority * {key_of(ssh_fleet.folder / 'ca.pub')}\n")
        assert refusal(running.host(running.addresses[0], known_hosts=str(tmp_path / "known"))) == (None, "")
        # From 10.3 on, OpenSSH takes it for nobody's.
        assert openssh(running, tmp_path) == (openssh_version() < (10, 3))


@pytest.mark.live
def test_a_host_with_an_alias_is_certified_for_its_alias(ssh_fleet: Fleet, tmp_path: Path) -> None:
    shown = certified(ssh_fleet, tmp_path, Case(signed=("-h", "-n", "box")))
    (tmp_path / "config").write_text("Host *\n  HostKeyAlias Box\n")
    with showing(ssh_fleet, tmp_path, {ssh_fleet.folder / "host_ed25519": shown}) as running:
        (tmp_path / "known").write_text(f"@cert-authority box {key_of(ssh_fleet.folder / 'ca.pub')}\n")
        settings = {"known_hosts": str(tmp_path / "known")}
        host = running.host(running.addresses[0], ssh_config=str(tmp_path / "config"), **settings)
        assert refusal(host) == (None, "")
        assert openssh(running, tmp_path, "-o", "HostKeyAlias=Box")
        assert refusal(running.host(running.addresses[0], **settings))[0] is UNKNOWN
        assert not openssh(running, tmp_path)


@pytest.mark.live
@pytest.mark.parametrize("names", ["{first},{third}", "{third}", "{first}"])
def test_jump_hosts_show_certificates_as_well(ssh_fleet: Fleet, tmp_path: Path, names: str) -> None:
    first, _, third = ssh_fleet.addresses
    shown = certified(ssh_fleet, tmp_path, Case(signed=("-h", "-n", names.format(first=first, third=third))))
    with showing(ssh_fleet, tmp_path, {ssh_fleet.folder / "host_ed25519": shown}) as running:
        (tmp_path / "known").write_text(f"@cert-authority * {key_of(ssh_fleet.folder / 'ca.pub')}\n")
        host = running.host(third, proxy_jump=f"{first}:{running.port}", known_hosts=str(tmp_path / "known"))
        reason, detail = refusal(host)
        assert (reason is None) == openssh(running, tmp_path, "-J", first, address=third)
        if reason is None:
            answers = OsqueryiEngine(SshTransport(Credentials({}))).ask(host, [WHO], deadline=time.monotonic() + LONG)
            assert answers.answers["who"] == Answered(({"data": f"Rechner ü {third}"},))
    assert (reason is None) == (names == "{first},{third}")
    if reason:
        assert reason is UNKNOWN
        assert ("jump host" in detail) == (names == "{third}"), detail


@pytest.mark.live
def test_a_server_with_plain_keys_too_shows_its_certificate_where_one_is_trusted(
    ssh_fleet: Fleet, tmp_path: Path
) -> None:
    keys = {ssh_fleet.folder / name: None for name in ("host_ed25519", "host_rsa")}
    shown = certified(ssh_fleet, tmp_path, Case(key="host_rsa"))
    transport = SshTransport(Credentials({}))
    with showing(ssh_fleet, tmp_path, {**keys, ssh_fleet.folder / "host_rsa": shown}) as running:
        destination = resolve(running.host(running.addresses[0], known_hosts=str(tmp_path / "known")))
        seen = {}
        for line in ("@cert-authority *", "@cert-authority *.corp", running.addresses[0]):
            (tmp_path / "known").write_text(f"{line} {key_of(ssh_fleet.folder / 'ca.pub')}\n")
            seen[line] = transport.shown_key(destination, deadline=time.monotonic() + LONG)
    certified_key, *plain = seen.values()
    assert certified_key.key.type == "ssh-rsa"
    assert certified_key.certificate
    assert [(key.key.type, key.certificate) for key in plain] == [("ssh-ed25519", b"")] * 2


@pytest.mark.live
def test_a_server_without_certificate_is_not_trusted_through_an_authority(ssh_fleet: Fleet, tmp_path: Path) -> None:
    # The authority's own key is no exception.
    with showing(ssh_fleet, tmp_path, {ssh_fleet.folder / "ca": None}) as running:
        (tmp_path / "known").write_text(f"@cert-authority * {key_of(ssh_fleet.folder / 'ca.pub')}\n")
        reason, detail = refusal(running.host(running.addresses[0], known_hosts=str(tmp_path / "known")))
        assert not openssh(running, tmp_path)
    assert reason is UNKNOWN
    assert "it shows no certificate, though a @cert-authority line speaks of it" in detail


class Impostor(paramiko.ECDSAKey):
    """A host key that shows whatever it likes, and signs as if it were in it."""

    shown: bytes = b""

    def get_name(self) -> str:
        return "ecdsa-sha2-nistp256-cert-v01@openssh.com"

    def asbytes(self) -> bytes:
        return self.shown


def text(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


TYPE = text(b"ecdsa-sha2-nistp256-cert-v01@openssh.com")

GARBAGE = {
    "nothing": lambda _: b"",
    "no certificate": lambda _: b"\x00" * 200,
    "a length beyond the end": lambda _: TYPE + b"\xff\xff\xff\xff",
    "a type only": lambda _: TYPE,
    "no point": lambda _: TYPE + text(b"n") + text(b"nistp256") + text(b"\x04" + b"\x01" * 64),
    "another curve": lambda _: TYPE + text(b"n") + text(b"nistp384") + text(b"\x04"),
    "no type that can be read": lambda _: text(b"\xff\xfe"),
    "an RSA key without numbers": lambda _: text(b"ssh-rsa-cert-v01@openssh.com") + text(b"n") + text(b"") * 2,
    "cut off behind its key": lambda key: TYPE + text(b"n") + key,
    "huge, cut off": lambda key: TYPE + text(b"n" * 200_000) + key,
}


@contextmanager
def impostor(shown: Callable[[bytes], bytes]) -> Iterator[int]:
    """The port of a server that shows this, made of the fields of its own key."""

    def serve(transport: paramiko.Transport) -> None:
        honest = paramiko.ECDSAKey.generate()
        key = Impostor(vals=(honest.signing_key, honest.verifying_key))
        key.shown = shown(honest.asbytes()[len(text(b"ecdsa-sha2-nistp256")) :])
        transport.server_key_dict = {key.get_name(): key}
        transport.start_server(server=paramiko.ServerInterface())

    with bare_server(serve) as (port, _):
        yield port


def shown_by_an_impostor(
    faults: Faults, folder: Path, authority: str, shown: Callable[[bytes], bytes]
) -> tuple[Reason | None, str]:
    """What comes of it where an authority is trusted."""
    (folder / "known").write_text(f"@cert-authority * {authority}\n")
    with impostor(shown) as port:
        return refusal(faults.host("x", port=port, known_hosts=str(folder / "known")))


@pytest.mark.parametrize("shown", GARBAGE.values(), ids=GARBAGE)
def test_a_certificate_that_is_none_is_refused_in_words(
    faults: Faults, tmp_path: Path, shown: Callable[[bytes], bytes]
) -> None:
    reason, detail = shown_by_an_impostor(faults, tmp_path, faults.server.host_key, shown)
    assert reason in {UNKNOWN, Reason.CONNECTION}
    assert "its certificate is cut off" in detail if reason is UNKNOWN else detail.startswith("connecting: "), detail


def test_the_key_in_a_broken_certificate_is_not_pinned(
    faults: Faults, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # It would be refused all the same.
    before = f"@cert-authority * {faults.server.host_key}\n"
    (tmp_path / "known").write_text(before)
    with impostor(GARBAGE["cut off behind its key"]) as port:
        (tmp_path / "fleet.yml").write_text(
            "groups:\n  all-of-it:\n    hosts:\n"
            f"      ws1: {{address: 127.0.0.1, port: {port}, user: x, known_hosts: {tmp_path}/known, agent: no}}\n"
        )
        code = main(["hosts", "trust", "-i", str(tmp_path / "fleet.yml"), "--yes"])
    assert code == ExitCode.INCOMPLETE
    assert "NOT PINNED; its certificate is cut off" in capsys.readouterr().out
    assert (tmp_path / "known").read_text() == before


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is missing")
def test_somebody_elses_certificate_is_of_no_use(faults: Faults, tmp_path: Path) -> None:
    for name in ("authority", "victim"):
        keygen(tmp_path / name, "ecdsa")
    stolen = certificate(tmp_path / "stolen", tmp_path / "authority", tmp_path / "victim", "-h", "-n", "127.0.0.1")
    blob = base64.b64decode(stolen.read_text().split()[1])
    authority = key_of(tmp_path / "authority.pub")
    reason, detail = shown_by_an_impostor(faults, tmp_path, authority, lambda _: blob)
    assert reason is Reason.CONNECTION
    assert "Signature verification" in detail


@pytest.mark.live
def test_the_words_name_the_key_as_openssh_does(ssh_fleet: Fleet) -> None:
    destination = resolve(ssh_fleet.host(ssh_fleet.addresses[0]))
    shown = SshTransport(Credentials({})).shown_key(destination, deadline=time.monotonic() + LONG)
    assert str(shown.key) == printed(ssh_fleet.folder / "host_ed25519.pub")
    assert shown.key.fingerprint == fingerprint(shown.key.blob)
    assert shown.certificate == b""
