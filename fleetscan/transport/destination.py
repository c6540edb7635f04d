"""Where a host really is: inventory settings over ``ssh_config``, with the chain of jump hosts."""

from __future__ import annotations

import getpass
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetscan.errors import SettingsError
from fleetscan.transport.known_hosts import DEFAULT_PORT, known_name
from fleetscan.transport.ssh_config import expanded, ssh_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetscan.model.host import Host

_MAX_JUMPS = 8
_MAX_PORT = 65535
_JUMP = re.compile(r"(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^:@]+)(?::(?P<port>[0-9]{1,5}))?")
_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
_CONNECT_SECONDS = 20.0
_YES = ("yes", "true")
_SESSION_AGENT = "SSH_AUTH_SOCK"
_TOKEN = re.compile(r"%(.?)")
_HARMLESS = re.compile(r"[\w.:+@][\w.:%+@-]*")
"""What no shell takes for anything but a part of a word, and no command for an option."""


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
    agent_socket: str = ""
    """Where the agent listens; empty for that of the session."""
    passphrase_env: str = ""
    password_env: str = ""
    connect_seconds: float = _CONNECT_SECONDS
    jumps: tuple[Destination, ...] = field(default=())
    proxy: str = ""
    """The command line through which the server is reached, instead of a connection of our own."""

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


class _Resolver:
    """Looks names up in one ssh_config."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        self._config = ssh_config(path)
        self._settings = settings

    def destination(self, name: str, own: Mapping[str, Any], depth: int = 0, *, chain: bool = True) -> Destination:
        """``own`` settings win over the configuration's; ``chain``: follow the jump hosts that it names."""
        config = self._lookup(name)
        host = str(config.get("hostname", name)).strip("[]")
        port = int(own.get("port") or self._port(config))
        user = str(own.get("user") or config.get("user") or getpass.getuser())
        jump, command = self._way(own, config) if chain else ("none", "")
        agent = self._agent(str(config.get("identityagent", _SESSION_AGENT)))
        return Destination(
            host=host,
            port=port,
            user=user,
            known_as=known_name(str(config.get("hostkeyalias", host)), port),
            known_hosts=self._known_hosts(config),
            identity_files=self._files("identity_file", own, config.get("identityfile", ())),
            certificate_files=self._files("certificate_file", own, config.get("certificatefile", ())),
            identities_only="identity_file" in own or str(config.get("identitiesonly")).lower() in _YES,
            agent=bool(self._settings.get("agent", True)) and agent != "none",
            agent_socket="" if agent == "none" else agent,
            passphrase_env=str(self._settings.get("passphrase_env", "")),
            password_env=str(own.get("password_env", "")),
            connect_seconds=self._seconds(config),
            jumps=self._jumps(jump, depth),
            proxy=self._command(command, {"h": host, "n": name, "p": str(port), "r": user}) if command else "",
        )

    def _way(self, own: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, str]:
        """The jump hosts and the ProxyCommand, of which at most one counts: of the two, the one that was set first."""
        if own.get("proxy_jump"):
            return str(own["proxy_jump"]), ""
        first = next((keyword for keyword in config if keyword in ("proxyjump", "proxycommand")), "")
        value = str(config.get(first) or "none")
        return (value, "") if first != "proxycommand" or value == "none" else ("none", value)

    def _command(self, template: str, values: Mapping[str, str]) -> str:
        """The command line with its tokens filled in.

        A name in it may come from an inventory that somebody else wrote, and the line goes to a shell: what has a
        meaning there is refused.
        """
        self._require_own(f"ProxyCommand of {values['n']}")

        def filled(match: re.Match[str]) -> str:
            name = match[1]
            if name == "%":
                return "%"
            if name not in values:
                raise SettingsError(
                    f"ProxyCommand: no such token %{name}", where=str(self._path), hint="%h %n %p %r %%"
                )
            if not _HARMLESS.fullmatch(values[name]):
                what = f"{values[name]!r} cannot be put into a ProxyCommand (%{name})"
                raise SettingsError(what, where=str(self._path), hint="letters, digits and . _ : % + @ -")
            return values[name]

        return _TOKEN.sub(filled, template)

    def _require_own(self, what: str) -> None:
        """Only what the user wrote is run; an inventory, and the file that it names, may be somebody else's."""
        if sys.platform == "win32":
            raise SettingsError(f"{what}: not on Windows", where=str(self._path), hint="ProxyJump")
        own = Path.home() / ".ssh" / "config"
        if self._path.resolve() != own.resolve():
            hint = f"write it into {own}, or Include the file there"
            raise SettingsError(
                f"{what}: not run from a file that an inventory names", where=str(self._path), hint=hint
            )
        unsafe = self._config.unsafe if self._config else ""
        if unsafe:
            what = f"{what}: not run from a file that others may write"
            raise SettingsError(what, where=unsafe, hint=f"chmod 600 {unsafe}")

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
        return self._config.lookup(name) if self._config else {}

    def _seconds(self, config: Mapping[str, Any]) -> float:
        text = self._settings.get("connect_timeout") or config.get("connecttimeout", "none")
        if str(text) == "none":
            return _CONNECT_SECONDS
        try:
            return float(text)
        except ValueError as error:
            raise SettingsError(f"ConnectTimeout {text!r} is no number of seconds", where=str(self._path)) from error

    def _port(self, config: Mapping[str, Any]) -> int:
        text = str(config.get("port", DEFAULT_PORT))
        if text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= _MAX_PORT:
            return int(text)
        raise SettingsError(f"Port {text!r} is no port", where=str(self._path))

    def _files(self, name: str, own: Mapping[str, Any], configured: object) -> tuple[Path, ...]:
        if name in own:
            return (Path(str(own[name])),)
        texts = configured if isinstance(configured, (list, tuple)) else (configured,)
        return tuple(expanded(str(text), str(self._path)) for text in texts if str(text).lower() != "none")

    def _agent(self, named: str) -> str:
        """The socket that IdentityAgent names, itself or by a variable; empty for the session's, or ``none``."""
        if named.removeprefix("$") == _SESSION_AGENT:
            return ""
        if named.startswith("$"):
            return os.environ.get(named[1:].strip("{}")) or "none"
        return named if named == "none" else str(expanded(named, str(self._path)))

    def _known_hosts(self, config: Mapping[str, Any]) -> tuple[Path, ...]:
        if "known_hosts" in self._settings:
            # Named in the inventory: these pins and no others, so that a sweep does not depend on who runs it.
            return (Path(str(self._settings["known_hosts"])),)
        own = str(config.get("userknownhostsfile", "~/.ssh/known_hosts")).split()
        all_users = str(config.get("globalknownhostsfile", _SYSTEM_KNOWN_HOSTS)).split()
        files = (expanded(text, str(self._path)) for text in (*own, *all_users) if text != "none")
        return tuple(files) or (Path(os.devnull),)
