"""The agent that holds a user's keys: that of the session, or one that ``IdentityAgent`` names."""

from __future__ import annotations

import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import paramiko
from paramiko.agent import AgentSSH

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 60.0  # somebody may have to touch a token, or to say yes in a window


@contextmanager
def agent_keys(path: str = "") -> Iterator[tuple[paramiko.PKey, ...]]:
    """The keys of the agent behind a Unix socket, by default of that in SSH_AUTH_SOCK, usable in the block.

    None where no agent answers: then there are other ways to log in, or that is said.
    """
    try:
        agent = _NamedAgent(path) if path else paramiko.Agent()
    except (paramiko.SSHException, OSError):
        yield ()
        return
    try:
        yield tuple(agent.get_keys())
    finally:
        agent.close()


class _NamedAgent(AgentSSH):
    """The library's agent, which would look at SSH_AUTH_SOCK only."""

    def __init__(self, path: str) -> None:
        super().__init__()
        if sys.platform == "win32":
            raise OSError("no Unix sockets")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_SECONDS)
            connection.connect(path)
            self._connect(connection)  # type: ignore[attr-defined]  # not in the stubs
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """As ``paramiko.Agent`` has it."""
        self._close()  # type: ignore[attr-defined]  # not in the stubs
