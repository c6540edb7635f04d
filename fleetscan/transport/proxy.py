"""A connection through a command of the user's (ProxyCommand): its input and output are the way to the host."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from fleetscan.model.snapshot import Reason
from fleetscan.processor import all_processors
from fleetscan.transport.failure import TransportError
from fleetscan.transport.readahead import ReadAheadSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer as ReadableBuffer

_SHELL = "/bin/sh"
_PATIENCE = 0.5  # seconds for a command to end by itself once it was told to
_REAPED = 2.0
_STEP = 0.02
_LAST_WORDS = 16  # times that what is left of its complaints is read; somebody may still be writing
_TAIL = 2000  # bytes of what it complained about; the last ones say why it ended
_SHOWN = 300
_CANNOT_START = (126, 127)


class ProxyProcess:
    """A running command in a session of its own, so that it and all that it starts can be ended together."""

    def __init__(self, command: str, connection: socket.socket) -> None:
        """Start it with ``connection`` as its input and output. It gets no terminal: nobody could answer it there."""
        shell = os.environ.get("SHELL") or _SHELL
        with all_processors():
            self._process = subprocess.Popen(  # noqa: S603 - the user's own configuration names it
                [shell, "-c", command],
                stdin=connection.fileno(),
                stdout=connection.fileno(),
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        self._stderr = self._process.stderr
        if self._stderr is not None:
            os.set_blocking(self._stderr.fileno(), False)
        self._said = b""
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def await_with(self, connection: socket.socket) -> None:
        """Wait until something comes through ``connection``, keeping what the command complains about meanwhile."""
        seconds = connection.gettimeout()
        end = None if seconds is None else time.monotonic() + seconds
        while self._stderr is not None:
            left = None if end is None else max(0.0, end - time.monotonic())
            complains = self._complains(connection, left)
            if complains is None:
                return
            if complains:
                self._listen()
            elif left == 0.0:
                raise TimeoutError("timed out")

    def _complains(self, connection: socket.socket, seconds: float | None) -> bool | None:
        """Is a complaint there? None if the connection has something, which may be its end."""
        with self._lock:
            numbers = (connection.fileno(), -1 if self._stderr is None else self._stderr.fileno())
        if -1 in numbers:
            return None
        poll = select.poll()
        for number in numbers:
            poll.register(number, select.POLLIN)
        found = {number for number, _ in poll.poll(None if seconds is None else seconds * 1000)}
        return None if numbers[0] in found else bool(found)

    def _listen(self) -> bool:
        """Take what it complains about; was there anything?"""
        with self._lock:
            if self._stderr is None:
                return False
            said = self._stderr.read(65536)
            if said:
                self._said = (self._said + said)[-_TAIL:]
            elif said is not None:
                self._stderr.close()
                self._stderr = None
        return bool(said)

    def end(self) -> None:
        """End it and everything it started, by force if it does not go; nothing is left behind."""
        self._signal(signal.SIGHUP)  # as OpenSSH ends it
        end = time.monotonic() + _PATIENCE
        while not self._has_ended() and time.monotonic() < end:
            self._await_end()
        self._signal(signal.SIGKILL)  # before the first is reaped, because its number stands for all of them
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_REAPED)
        for _ in range(_LAST_WORDS):
            if not self._listen():
                break
        with self._lock:
            if self._stderr is not None:
                self._stderr.close()
                self._stderr = None
        self._ended.set()

    def _signal(self, number: int) -> None:
        # Gone by itself, or of another user (sudo).
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):
            return self._stderr is None
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return True

    def _await_end(self) -> None:
        with self._lock:
            number = -1 if self._stderr is None else self._stderr.fileno()
        if number < 0:
            time.sleep(_STEP)
            return
        poll = select.poll()
        poll.register(number, select.POLLIN)
        if poll.poll(_STEP * 1000):
            self._listen()

    def await_end(self) -> None:
        """Wait until ``end``, which another thread may have called, is through."""
        self._ended.wait(_PATIENCE + _REAPED)

    def explained(self, error: TransportError) -> TransportError:
        """The error with what the command, which has been told to end, says about it."""
        self.await_end()
        status = self._process.returncode
        ended = f", which ended with exit status {status}" if status is not None and status > 0 else ""
        words = " ".join(self._said.decode("utf-8", "replace").split())[-_SHOWN:]
        what = f"{error.what}, through its ProxyCommand{ended}{': ' + words if words else ''}"
        if status in _CANNOT_START:
            return TransportError(Reason.NOT_ASKED, what, where=str(error.where or ""), hint="mend it in ~/.ssh/config")
        return TransportError(error.reason, what, where=str(error.where or ""), hint=error.hint)


class ProxySocket(ReadAheadSocket):
    """Our end of the connection; the command ends when it is closed, forgotten, or fleetscan ends."""

    process: ProxyProcess
    _end: Callable[[], object]

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """See ReadAheadSocket.recv."""
        if not self._ahead:
            self.process.await_with(self)
        try:
            return super().recv(bufsize, flags)
        except ConnectionResetError:
            return b""  # it ended before it read all we sent: an end like any other

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """As ever, except that who no longer listens is no error: what it said before is still to be read."""
        try:
            return super().send(data, flags)
        except BrokenPipeError:
            return len(memoryview(data))

    def close(self) -> None:
        """Close, and end the command."""
        super().close()
        self._end()
        self.process.await_end()


def through(command: str, seconds: float) -> ProxySocket:
    """The connection that a command makes; ``seconds`` is the timeout of reading and writing."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = ProxyProcess(command, theirs)
        except OSError as error:
            ours.close()
            if not isinstance(error, (FileNotFoundError, PermissionError)):
                raise
            raise TransportError(Reason.NOT_ASKED, f"no shell for its ProxyCommand: {error}", hint="SHELL") from error
    ahead = ProxySocket(ours.family, ours.type, ours.proto, fileno=ours.detach())
    ahead.process = process
    ahead._end = weakref.finalize(ahead, process.end)  # noqa: SLF001 - made here
    ahead.settimeout(seconds)
    return ahead
