"""An SSH server that does everything wrong a host can do; the user name that logs in chooses the fault."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import asyncssh

from tests.doubles.shell import answer_script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

Process = asyncssh.SSHServerProcess[bytes]
FOREVER = 3600.0


async def _script(process: Process) -> str:
    return (await process.stdin.read()).decode()


async def _honest(process: Process) -> tuple[bytes, bytes, int]:
    out, err, code = answer_script(await _script(process))
    return out.encode(), err.encode(), code


def _say(process: Process, out: bytes, err: bytes = b"", code: int = 0) -> None:
    process.stdout.write(out)
    process.stderr.write(err)
    process.exit(code)


async def good(process: Process) -> None:
    """Answers as it should."""
    _say(process, *(await _honest(process)))


async def noisy(process: Process) -> None:
    """Profile noise before, between the lines of nobody, and after."""
    out, err, code = await _honest(process)
    noise = b"Welcome to WS1! \x1b[2J\x1b]0;owned\x07 [{]\r\n\xff\xfe"
    _say(
        process,
        noise + out.replace(b"\n", b"\r\n") + noise,
        f"W0315 {time.strftime('%H:%M:%S')}.{time.time_ns() % 10**6:06} {os.getpid()} flags.cpp:7] odd\n".encode()
        + err,
        code,
    )


async def endless(process: Process) -> None:
    """Never stops talking."""
    await _flood(process.stdout)


async def endless_errors(process: Process) -> None:
    """Never stops complaining."""
    await _flood(process.stderr)


async def _flood(stream: asyncssh.SSHWriter[bytes]) -> None:
    with suppress(OSError, asyncssh.Error):
        while True:
            stream.write(b"x" * 32768)
            await stream.drain()


async def cut(process: Process) -> None:
    """The connection breaks in the middle of the last row."""
    out, _, _ = await _honest(process)
    process.stdout.write(out[: out.rindex(b'"')])
    await process.stdout.drain()
    await asyncio.sleep(0.1)
    process.channel.get_connection().abort()


async def dies(process: Process) -> None:
    """The program is killed half way; the session ends in good order."""
    out, _, _ = await _honest(process)
    _say(process, out[: len(out) // 2], b"Killed\n", 137)


async def silent(process: Process) -> None:
    """Starts and never says a word."""
    await process.stdin.read()
    await asyncio.sleep(FOREVER)


async def deaf(process: Process) -> None:
    """Says half of its answer and hangs."""
    out, _, _ = await _honest(process)
    process.stdout.write(out[: len(out) // 2])
    await asyncio.sleep(FOREVER)


async def half_closed(process: Process) -> None:
    """Closes its outputs and never tells its exit status."""
    process.stdout.write_eof()
    await asyncio.sleep(FOREVER)


async def other_nonce(process: Process) -> None:
    """Answers, but not to this question: every marker is another query's."""
    out, err, code = await _honest(process)
    _say(process, re.sub(rb"(?m)^[0-9a-f]{32}:", b"0" * 32 + b":", out), err, code)


async def other_nonce_fails(process: Process) -> None:
    """Replays another query's answer and ends as a shell does that found no program."""
    out, err, _ = await _honest(process)
    _say(process, re.sub(rb"(?m)^[0-9a-f]{32}:", b"0" * 32 + b":", out), err, 127)


async def other_nonce_later(process: Process) -> None:
    """Answers who it is, and replays another query's answer to all the rest."""
    out, err, _ = await _honest(process)
    own = [match.end() for match in re.finditer(rb"(?m)^[0-9a-f]{32}:end\n", out)][1]
    _say(process, out[:own] + re.sub(rb"(?m)^[0-9a-f]{32}:", b"0" * 32 + b":", out[own:]), err, 1)


async def other_nonce_breaks(process: Process) -> None:
    """Replays another query's answer and hangs up."""
    out, _, _ = await _honest(process)
    process.stdout.write(re.sub(rb"(?m)^[0-9a-f]{32}:", b"0" * 32 + b":", out))
    await process.stdout.drain()
    await asyncio.sleep(0.1)
    process.channel.get_connection().abort()


async def no_markers(process: Process) -> None:
    """Answers every statement without saying which, and fails."""
    out, err, _ = await _honest(process)
    _say(process, re.sub(rb"(?m)^[0-9a-f]{32}:.*\n", b"", out), err, 1)


async def only_complaints(process: Process) -> None:
    """Its standard output is lost: only what it says of a line arrives."""
    _say(process, b"", b"Error: near line 3: no such table: osquery_info\n", 1)


async def loud_without_osquery(process: Process) -> None:
    """There is no such program, and the profile talks: brackets, hashes, JSON on one line."""
    noise = b'[ OK ] mounted\n[]\n[{"user": "root"}]\n[\n' + b"0" * 32 + b"\n" + b"a" * 64 + b":begin\n"
    _say(process, noise, b"sh: 1: osqueryi: not found\nError: near enough\n", 127)


async def not_json(process: Process) -> None:
    """Every array is torn."""
    out, err, code = await _honest(process)
    _say(process, out.replace(b"\n]\n", b"\n}\n"), err, code)


async def not_utf8(process: Process) -> None:
    """Every quote is preceded by bytes that are no UTF-8."""
    out, err, code = await _honest(process)
    _say(process, out.replace(b'{"', b'{"\xff'), err, code)


async def mangled(process: Process) -> None:
    """The shell between translates to its code page and back."""
    out, err, code = await _honest(process)
    _say(process, out.decode().encode("cp850", "replace").decode("cp850").encode(), err, code)


async def no_osquery(process: Process) -> None:
    """There is no such program."""
    _say(process, b"", b"sh: 1: osqueryi: not found\n", 127)


async def hostile(process: Process) -> None:
    """Complains in a way that would take over the terminal of who reads it."""
    _say(process, b"", b"\x1b]0;owned\x07\x1b[2J\x9b31m sh: not found\r\xe2\x80\xae\n", 127)


async def another_program(process: Process) -> None:
    """Something else answers to that name."""
    _say(process, b"osqueryi? never heard of it\n")


async def cmd(process: Process) -> None:
    """Behaves as cmd.exe: %OS% is filled in, double quotes hold a path together, single quotes are nothing."""
    command = process.command or ""
    if command.startswith("echo "):
        _say(process, command.removeprefix("echo ").replace("%OS%", "Windows_NT").encode() + b"\r\n")
    elif command.startswith(('"C:\\Program Files\\osquery\\osqueryi.exe" ', "C:\\PROGRA~1\\osquery\\osqueryi.exe ")):
        await noisy(process)
    else:
        _say(process, b"", b"'x' is not recognized as an internal or external command\r\n", 1)


async def powershell(process: Process) -> None:
    """Behaves as PowerShell: names after a dollar are filled in, a quoted path needs the call operator."""
    command = process.command or ""
    if command.startswith("echo "):
        text = command.removeprefix("echo ").replace("$PSHOME", "C:\\Windows\\System32\\WindowsPowerShell\\v1.0")
        _say(process, text.replace("$0", "").encode() + b"\r\n")
    elif command.startswith(("& 'C:\\Program Files\\osquery\\osqueryi.exe' ", "C:\\PROGRA~1\\osquery\\osqueryi.exe ")):
        await noisy(process)
    else:
        _say(process, b"", b"Unexpected token in expression or statement.\r\n", 1)


async def posix(process: Process) -> None:
    """Behaves as sh, with osqueryi on its path."""
    words = shlex.split(process.command or "")
    if words[0] == "echo":
        _say(process, words[1].replace("$0", "sh").replace("$PSHOME", "").encode() + b"\n")
    elif words[0] == "osqueryi" or words[:2] == ["exec", "/opt/os query/it's/osqueryi"]:
        await good(process)
    else:
        _say(process, b"", b"sh: not found\n", 127)


HANDLERS: dict[str, Callable[[Process], Awaitable[None]]] = {
    handler.__name__: handler
    for handler in (
        good,
        noisy,
        endless,
        endless_errors,
        cut,
        dies,
        silent,
        deaf,
        half_closed,
        other_nonce,
        other_nonce_fails,
        other_nonce_later,
        other_nonce_breaks,
        no_markers,
        only_complaints,
        loud_without_osquery,
        not_json,
        not_utf8,
        mangled,
        no_osquery,
        hostile,
        another_program,
        cmd,
        powershell,
        posix,
    )
}


@dataclass(slots=True)
class Log:
    """What the server saw: commands as they came, and how often each user logged in."""

    commands: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)


class _Server(asyncssh.SSHServer):
    def __init__(self, log: Log) -> None:
        self._log = log

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._log.connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        self._log.logins.append(username)
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        if username == "expired" and password == "correct horse":
            raise asyncssh.PasswordChangeRequired("Your password has expired.")
        return username == "password" and password == "correct horse"

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        if username == "hang_auth":
            await asyncio.sleep(FOREVER)
        return username not in ("refused", "password", "expired") and key.get_algorithm() == "ssh-ed25519"


@dataclass(slots=True)
class FaultServer:
    """A running server: its port, its public host key line, what it saw."""

    port: int
    host_key: str
    log: Log


async def _handle(process: Process, log: Log) -> None:
    log.commands.append(process.command or "")
    user = process.get_extra_info("username")
    with suppress(OSError, asyncssh.Error, asyncio.CancelledError):
        await HANDLERS.get(user, good)(process)


async def _banner_only(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: bytes, *, close: bool
) -> None:
    writer.write(hello)
    with suppress(OSError, asyncio.CancelledError):
        await writer.drain()
        if not close:
            while await reader.read(4096):
                pass
    writer.close()


@contextmanager
def fault_server(address: str = "127.0.0.1") -> Iterator[FaultServer]:
    """A server on a loopback port, in a thread of its own."""
    log = Log()
    key = asyncssh.generate_private_key("ssh-ed25519")
    with _in_thread() as loop:
        server = loop.run(
            lambda: asyncssh.listen(
                address,
                0,
                server_factory=lambda: _Server(log),
                server_host_keys=[key],
                process_factory=lambda process: _handle(process, log),
                encoding=None,
                login_timeout=0,
            )
        )

        async def shut_down() -> None:
            server.close()
            for connection in log.connections:
                connection.abort()
            await server.wait_closed()
            await asyncio.sleep(0.05)

        try:
            public = key.export_public_key().decode().split()
            yield FaultServer(server.get_port(), f"{public[0]} {public[1]}", log)
        finally:
            loop.run(shut_down)


@contextmanager
def raw_server(hello: bytes, *, close: bool = False) -> Iterator[int]:
    """A TCP server that says ``hello`` and then nothing, or hangs up."""
    with _in_thread() as loop:
        server = loop.run(
            lambda: asyncio.start_server(lambda r, w: _banner_only(r, w, hello, close=close), "127.0.0.1", 0)
        )
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            loop.loop.call_soon_threadsafe(server.close)


T = TypeVar("T")


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        async def awaited() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(awaited(), self.loop).result(60)

    async def cancel_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _in_thread() -> Iterator[_Loop]:
    loop = _Loop()
    try:
        yield loop
    finally:
        loop.run(loop.cancel_all)
        loop.loop.call_soon_threadsafe(loop.loop.stop)
        loop.thread.join(60)
        loop.loop.close()
