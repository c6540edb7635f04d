"""Where a host really is: inventory settings over ``ssh_config``, with the chain of jump hosts."""

from __future__ import annotations

import getpass
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko

from fleetscan.errors import SettingsError
from fleetscan.transport.known_hosts import DEFAULT_PORT, known_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetscan.model.host import Host

_MAX_JUMPS = 8
_MAX_PORT = 65535
_JUMP = re.compile(r"(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^:@]+)(?::(?P<port>[0-9]{1,5}))?")
_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One SSH server on the way, the last one being the host itself. Names of secrets, never secrets."""

    host: str
    port: int
    user: str
    known_as: str
    known_hosts: tuple[Path, ...]
    identity_files: tuple[Path, ...] = ()
    certificate_files: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: bool = True
    passphrase_env: str = ""
    password_env: str = ""
    connect_seconds: float = 20.0
    jumps: tuple[Destination, ...] = field(default=())

    def __str__(self) -> str:
        """As in messages: host, with the port unless it is 22."""
        return self.known_as

    @property
    def pin_file(self) -> Path:
        """The file in which a key of this server is pinned: the user's first."""
        return self.known_hosts[0]


def resolve(host: Host) -> Destination:
    """The destination of a host. Raises SettingsError for a configuration that cannot be used."""
    settings = host.settings
    path = Path(str(settings.get("ssh_config", Path.home() / ".ssh" / "config")))
    if "ssh_config" in settings and not path.is_file():
        raise SettingsError(f"{host.id}: no such ssh_config", where=str(path))
    return _Resolver(path, settings).destination(str(settings.get("address", host.id)), settings)


@lru_cache(maxsize=64)
def _config(path: Path, _modified: float) -> paramiko.SSHConfig:
    try:
        return paramiko.SSHConfig.from_path(str(path))
    except (paramiko.SSHException, OSError, UnicodeError, ValueError) as error:
        raise SettingsError(f"ssh_config cannot be used: {error}", where=str(path)) from error


class _Resolver:
    """Looks names up in one ssh_config."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        self._settings = settings

    def destination(self, name: str, own: Mapping[str, Any], depth: int = 0, *, chain: bool = True) -> Destination:
        """``own`` settings win over the configuration's; ``chain``: follow the jump hosts that it names."""
        config = self._lookup(name)
        host = str(config.get("hostname", name)).strip("[]")
        port = int(own.get("port") or self._port(config))
        jump = str(own.get("proxy_jump") or config.get("proxyjump") or "none") if chain else "none"
        if config.get("proxycommand", "none") != "none" and jump == "none" and chain:
            raise SettingsError(f"{name}: ProxyCommand is not used", where=str(self._path), hint="ProxyJump")
        return Destination(
            host=host,
            port=port,
            user=str(own.get("user") or config.get("user") or getpass.getuser()),
            known_as=known_name(str(config.get("hostkeyalias", host)), port),
            known_hosts=self._known_hosts(config),
            identity_files=self._files("identity_file", own, config.get("identityfile", ())),
            certificate_files=self._files("certificate_file", own, config.get("certificatefile", ())),
            identities_only="identity_file" in own or config.get("identitiesonly") == "yes",
            agent=bool(self._settings.get("agent", True)) and config.get("identityagent") != "none",
            passphrase_env=str(self._settings.get("passphrase_env", "")),
            password_env=str(own.get("password_env", "")),
            connect_seconds=float(self._settings.get("connect_timeout") or config.get("connecttimeout") or 20.0),
            jumps=self._jumps(jump, depth),
        )

    def _jumps(self, jump: str, depth: int) -> tuple[Destination, ...]:
        if jump.lower() == "none":
            return ()
        words = [word.strip() for word in jump.split(",") if word.strip()]
        if depth + len(words) > _MAX_JUMPS:
            raise SettingsError(f"more than {_MAX_JUMPS} jump hosts, or a circle: {jump}", where=str(self._path))
        hops: list[Destination] = []
        for word in words:
            match = _JUMP.fullmatch(word.removeprefix("ssh://"))
            if match is None or int(match["port"] or 1) > _MAX_PORT:
                raise SettingsError(f"{word!r} is no jump host", where=str(self._path), hint="user@host:port")
            # Keys are those of the inventory; user and port only where the jump names them.
            own = {key: value for key, value in match.groupdict().items() if value and key != "host"}
            if "identity_file" in self._settings:
                own["identity_file"] = self._settings["identity_file"]
            # As with ssh -J: only the first jump may have jumps of its own in the configuration.
            hop = self.destination(match["host"].strip("[]"), own, depth + len(words), chain=not hops)
            hops += (*hop.jumps, hop)
        return tuple(hops)

    def _lookup(self, name: str) -> Mapping[str, Any]:
        try:
            modified = self._path.stat().st_mtime
        except OSError:
            return {}
        try:
            return dict(_config(self._path, modified).lookup(name))
        except (paramiko.SSHException, KeyError, ImportError, ValueError) as error:
            raise SettingsError(f"ssh_config cannot be used for {name}: {error}", where=str(self._path)) from error

    def _port(self, config: Mapping[str, Any]) -> int:
        text = str(config.get("port", DEFAULT_PORT))
        if text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= _MAX_PORT:
            return int(text)
        raise SettingsError(f"Port {text!r} is no port", where=str(self._path))

    def _files(self, name: str, own: Mapping[str, Any], configured: object) -> tuple[Path, ...]:
        if name in own:
            return (Path(str(own[name])),)
        texts = configured if isinstance(configured, (list, tuple)) else (configured,)
        return tuple(Path(str(text)).expanduser() for text in texts if str(text).lower() != "none")

    def _known_hosts(self, config: Mapping[str, Any]) -> tuple[Path, ...]:
        if "known_hosts" in self._settings:
            # Named in the inventory: these pins and no others, so that a sweep does not depend on who runs it.
            return (Path(str(self._settings["known_hosts"])),)
        own = str(config.get("userknownhostsfile", "")).split() or ["~/.ssh/known_hosts"]
        return (*(Path(text).expanduser() for text in own), Path(_SYSTEM_KNOWN_HOSTS))
