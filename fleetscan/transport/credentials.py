"""Keys, certificates and the agent: what a user proves who they are with. Secrets stay in here."""

from __future__ import annotations

import binascii
import os
import sys
import threading
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko

from fleetscan.model.snapshot import Reason
from fleetscan.transport.agent import agent_keys
from fleetscan.transport.failure import TransportError, is_exhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fleetscan.transport.destination import Destination

_LOOK = 64
_MOST = 64 * 1024  # bytes of a file with a public key
_PUBLIC = (b"ssh-", b"ecdsa-sha2-", b"sk-", b"---- BEGIN SSH2 PUBLIC KEY")
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


def terminal_prompt() -> Callable[[str], str] | None:
    """How to ask for a passphrase: on the terminal, if a person sits at one."""
    return getpass if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() else None


class Credentials:
    """Loads each key once, for deriving a key from a passphrase is slow on purpose.

    ``ask`` prompts for the passphrase of a key file where no variable is named; None never prompts.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, ask: Callable[[str], str] | None = None) -> None:
        """Secrets are read from ``environment``, the process's own by default."""
        self._environment = os.environ if environment is None else environment
        self._ask = ask
        self._keys: dict[tuple[Path, Path | None, str], paramiko.PKey | TransportError] = {}
        self._public: dict[Path, bytes] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        """Says nothing of what is inside."""
        return "Credentials(...)"

    def keys(self, destination: Destination) -> Iterator[paramiko.PKey]:
        """The keys to offer: files that were named, then the agent's, then the usual files.

        A named file may be locked, or hold the public key only: then the agent may have the private one. Where a
        password is named and no key is, no key is offered: each one counts as a failed attempt. Raises
        TransportError(AUTH) for a named file that cannot be used.
        """
        for path in destination.identity_files:
            held = False
            for key in self._held(path, destination):
                held = True
                yield key
            if not held:
                yield from self._named(path, destination)
        if destination.password_env and not destination.identity_files:
            return
        if destination.agent and not destination.identities_only:
            with agent_keys(destination.agent_socket) as keys:
                yield from keys
        if not destination.identity_files:
            for name in _DEFAULT_KEYS:
                path = Path.home() / ".ssh" / name
                if path.is_file():
                    yield from self._named(path, destination)

    def password(self, destination: Destination) -> str | None:
        """The password from the variable that the inventory names."""
        name = destination.password_env
        if not name:
            return None
        if name not in self._environment:
            raise TransportError(
                Reason.AUTH,
                f"the environment variable {name} is not set",
                where=str(destination),
                hint=f"export {name}=...",
            )
        return self._environment[name]

    def _named(self, path: Path, destination: Destination) -> Iterator[paramiko.PKey]:
        for certificate in (*destination.certificate_files, None):
            key = self._load(path, certificate, destination.passphrase_env)
            if isinstance(key, TransportError):
                raise key
            yield key

    def _held(self, path: Path, destination: Destination) -> Iterator[paramiko.PKey]:
        """The agent's own of a named key, where the file alone does not do; no other key of the agent."""
        if not destination.agent or destination.passphrase_env:
            return
        wanted = self._only_public(path)
        if not wanted:
            return
        with agent_keys(destination.agent_socket) as keys:
            for key in keys:
                if key.asbytes() == wanted:
                    yield key

    def _only_public(self, path: Path) -> bytes:
        """The public key of a file of which no more can be read; empty if it can be, or if not even that can."""
        with self._lock:
            if path not in self._public:
                try:
                    self._public[path] = _only_public(path)
                except OSError:
                    return b""  # what reads the private key says why; and it may pass
            return self._public[path]

    def _load(self, path: Path, certificate: Path | None, variable: str) -> paramiko.PKey | TransportError:
        with self._lock:
            wanted = (path, certificate, variable)
            if wanted not in self._keys:
                self._keys[wanted] = self._read(path, certificate, variable)
            return self._keys[wanted]

    def _read(self, path: Path, certificate: Path | None, variable: str) -> paramiko.PKey | TransportError:
        if variable and variable not in self._environment:
            return TransportError(
                Reason.AUTH, f"the environment variable {variable} is not set", hint=f"export {variable}=..."
            )
        if (foreign := _foreign(path)) is not None:
            return foreign
        try:
            key = self._decrypt(path, self._environment[variable] if variable else None)
            if certificate is not None:
                key.load_certificate(str(certificate))
        except OSError as error:
            if is_exhausted(error):
                raise  # what is returned is remembered for all hosts
            return TransportError(Reason.AUTH, f"key {error.filename or path}: {error.strerror}")
        except (paramiko.SSHException, ValueError, TypeError) as error:
            # The library's text is not passed on: it was made from the content of a secret file.
            hint = f"passphrase_env: NAME in the inventory, or ssh-add {path}"
            return TransportError(Reason.AUTH, f"key {path} cannot be used ({type(error).__name__})", hint=hint)
        return key

    def _decrypt(self, path: Path, passphrase: str | None) -> paramiko.PKey:
        try:
            return _key(path, passphrase)
        except (paramiko.PasswordRequiredException, TypeError):
            if passphrase is not None or self._ask is None:
                raise
        return _key(path, self._ask(f"Passphrase of {path}: "))


def _foreign(path: Path) -> TransportError | None:
    """Why a file is not to be taken for a private key; None if it may be one, or if reading it will say why not."""
    try:
        with path.open("rb") as file:
            begin = file.read(_LOOK)
    except OSError:
        return None
    if begin.startswith(b"PuTTY-User-Key-File"):
        hint = f"puttygen {path} -O private-openssh-new -o {path}.openssh"
        return TransportError(Reason.AUTH, f"key {path} is in the format of PuTTY", hint=hint)
    if begin.startswith(_PUBLIC):
        hint = f"identity_file: {path.with_suffix('')}" if path.suffix == ".pub" else "the file without .pub"
        what = f"key {path} is a public key, not the private one"
        return TransportError(Reason.AUTH, what, hint=f"{hint}, or ssh-add the private one")
    return None


def _only_public(path: Path) -> bytes:
    """The public key, where the file holds no other, or a private one that is locked."""
    with path.open("rb") as file:
        is_public = file.read(_LOOK).startswith(_PUBLIC[:-1])
    if not is_public and not _is_locked(path):
        return b""
    public = path if is_public else path.with_name(f"{path.name}.pub")
    with public.open("rb") as file:
        words = file.read(_MOST).split()
    try:
        return binascii.a2b_base64(words[1], strict_mode=True)
    except (binascii.Error, IndexError):
        return b""


def _is_locked(path: Path) -> bool:
    try:
        _key(path, None)
    except (paramiko.PasswordRequiredException, TypeError):
        return True
    except (paramiko.SSHException, ValueError):
        return False
    return False


def _key(path: Path, passphrase: str | None) -> paramiko.PKey:
    secret = passphrase.encode() if passphrase else None
    return paramiko.PKey.from_path(path, secret)  # type: ignore[arg-type]  # it says str, and hands it to who needs bytes
