"""A socket that takes everything that has arrived in one call, for readers that ask for a few bytes at a time."""

from __future__ import annotations

import socket
from contextlib import suppress

_AHEAD = 65536


class ReadAheadSocket(socket.socket):
    """Saves two calls into the kernel, and two hand-overs of the interpreter, for each SSH packet."""

    _ahead = memoryview(b"")

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """At most ``bufsize`` bytes, as ever; more may have been taken from the kernel for the next call."""
        if flags:
            raise ValueError("no flags: what was read ahead would be passed over")
        if not self._ahead:
            self._ahead = memoryview(super().recv(_AHEAD))
        part = self._ahead[:bufsize]
        self._ahead = self._ahead[bufsize:]
        return bytes(part)

    def close(self) -> None:
        """Close, and wake a thread that waits in ``recv``: closing alone would leave it there until its timeout."""
        if self.fileno() < 0:
            return  # closed before
        with suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        super().close()


def read_ahead(sock: socket.socket) -> ReadAheadSocket:
    """The same connection; ``sock`` itself is spent."""
    timeout = sock.gettimeout()
    ahead = ReadAheadSocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
    ahead.settimeout(timeout)
    return ahead
