"""An SSH server that takes a password only as the answer to its question, as those with PAM do; nothing runs on it."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL
from paramiko.server import InteractiveQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUESTIONS = {
    "asks": (("", "Password: ", False),),
    "asks_again": (("", "Password: ", False), ("Your password has expired.", "New password: ", False)),
    "asks_openly": (("", "Name of your first pet: ", True),),
}
"""By user: what is asked, one after the other, and whether the answer may be seen."""


@dataclass(slots=True)
class AskingServer:
    """A running server: its port, its public host key line, what it was answered."""

    port: int
    host_key: str
    answers: list[str] = field(default_factory=list)


class _Dialogue(paramiko.ServerInterface):
    def __init__(self, answers: list[str]) -> None:
        self._answers = answers
        self._left: list[tuple[str, str, bool]] = []

    def get_allowed_auths(self, username: str) -> str:
        del username
        return "keyboard-interactive"

    def check_auth_interactive(self, username: str, submethods: str) -> int | InteractiveQuery:
        del submethods
        if username == "asks_twice_at_once":
            return InteractiveQuery("", "", ("Password: ", False), ("Token: ", False))
        self._left = list(QUESTIONS[username])
        return self._next()

    def check_auth_interactive_response(self, responses: list[str]) -> int | InteractiveQuery:
        self._answers += responses
        return self._next() if responses == ["correct horse"] else AUTH_FAILED

    def _next(self) -> int | InteractiveQuery:
        if not self._left:
            return AUTH_SUCCESSFUL
        instructions, prompt, visible = self._left.pop(0)
        return InteractiveQuery("", instructions, (prompt, visible))


@contextmanager
def bare_server(serve: Callable[[paramiko.Transport], None]) -> Iterator[tuple[int, paramiko.PKey]]:
    """A TCP port and a host key; ``serve`` gets the one connection, which lasts until the end of the block."""
    key = paramiko.ECDSAKey.generate()
    done = threading.Event()

    def accept(listener: socket.socket) -> None:
        with suppress(OSError, EOFError, paramiko.SSHException):
            transport = paramiko.Transport(listener.accept()[0])
            transport.add_server_key(key)
            try:
                serve(transport)
                done.wait(60)
            finally:
                transport.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1], key
        finally:
            done.set()
            thread.join(60)


@contextmanager
def asking_server() -> Iterator[AskingServer]:
    """A server that asks; the user name chooses what."""
    answers: list[str] = []
    with bare_server(lambda transport: transport.start_server(server=_Dialogue(answers))) as (port, key):
        yield AskingServer(port, f"{key.get_name()} {key.get_base64()}", answers)
