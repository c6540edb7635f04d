"""The extension socket of a local osqueryd: Thrift over a Unix socket or a Windows named pipe, bounded."""

from __future__ import annotations

import os
import socket
import stat
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from osquery.extensions import ExtensionManager
from osquery.extensions.ttypes import ExtensionException
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TProtocol import TProtocolException
from thrift.Thrift import TApplicationException, TException
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport, TTransportBase, TTransportException

from fleetscan.model.snapshot import Reason
from fleetscan.transport.failure import TransportError, hush

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_SOCKET = r"\\.\pipe\osquery.em" if sys.platform == "win32" else "/var/osquery/osquery.em"
_PIPE_PREFIX = "\\\\.\\pipe\\"
_PIPE_ATTEMPTS = 5
_MAX_ROWS = 5_000_000
_NOT_ALLOWED = "this account may not use the extension socket; the one that osqueryd runs as may"
_DENYLISTED = ("denylisted", "blacklisted")
"""What the daemon says of a query that its watchdog put aside, today and before 4.4."""

Rows = tuple[dict[str, str], ...]


class DaemonRefusalError(TransportError):
    """The daemon answered, and the answer is no; the connection stays usable."""


class ExtensionSession:
    """One connection to the daemon; not for use by two threads at once, except ``interrupt``."""

    def __init__(self, path: str, *, deadline: float, max_bytes: int) -> None:
        """Connect. Raises TransportError; ``max_bytes`` bounds all answers of the session together."""
        hush("thrift")
        self._path = path
        self._deadline = deadline
        if not path.startswith(_PIPE_PREFIX):
            _look_at(path)
        with self._mapped():
            kind = _BoundedPipe if path.startswith(_PIPE_PREFIX) else _BoundedSocket
            self._socket = kind(path, deadline, max_bytes)
            self._socket.open()
            protocol = TBinaryProtocol(
                TBufferedTransport(self._socket), string_length_limit=max_bytes, container_length_limit=_MAX_ROWS
            )
            self._client = ExtensionManager.Client(protocol)

    def query(self, sql: str) -> Rows:
        """The rows of a statement. Raises DaemonRefusalError, or TransportError when the connection is lost."""
        with self._mapped():
            response = self._client.query(sql)
        status = response.status
        if status is None:
            raise TransportError(Reason.PROTOCOL, "an answer without status", where=self._path)
        if status.code != 0:
            message = " ".join((status.message or "no message").split())
            put_aside = any(word in message.lower() for word in _DENYLISTED)
            raise DaemonRefusalError(Reason.DENYLISTED if put_aside else Reason.OSQUERY_ERROR, message)
        return tuple(cast("list[dict[str, str]]", response.response or []))

    def interrupt(self) -> None:
        """Make the query fail that another thread waits for; a pipe is left to its deadline."""
        handle = getattr(self._socket, "handle", None)
        if isinstance(handle, socket.socket):
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """Everything that the Thrift library raises becomes a TransportError."""
        try:
            yield
        except TransportError:
            raise
        except (TException, OSError, EOFError, ValueError, AttributeError, RecursionError) as error:
            # UnicodeDecodeError is a ValueError; AttributeError is how the library meets a socket closed under it.
            late = time.monotonic() >= self._deadline
            reason = Reason.DEADLINE if late else _reason(error)
            raise TransportError(reason, _words(error), where=self._path) from error


def _look_at(path: str) -> None:
    """Raise TransportError, in words of its own, for what is no socket that this account may use."""
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        what = "no extension socket; is osqueryd running?"
        raise TransportError(Reason.NO_OSQUERY, what, where=path) from error
    except PermissionError as error:
        raise TransportError(Reason.NO_OSQUERY, _NOT_ALLOWED, where=path) from error
    except (OSError, ValueError) as error:
        what = f"no extension socket: {getattr(error, 'strerror', None) or error}"
        raise TransportError(Reason.NO_OSQUERY, what, where=path) from error
    if not stat.S_ISSOCK(mode):
        raise TransportError(Reason.NO_OSQUERY, "this is no socket", where=path)
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise TransportError(Reason.NO_OSQUERY, _NOT_ALLOWED, where=path)


def _reason(error: BaseException) -> Reason:
    match error:
        case TTransportException() if error.type == TTransportException.TIMED_OUT:
            return Reason.DEADLINE
        case TTransportException() if error.type == TTransportException.NOT_OPEN:
            return Reason.REFUSED
        case TTransportException() | OSError() | EOFError() | AttributeError():
            return Reason.CONNECTION
        case ExtensionException() | TApplicationException():
            return Reason.OSQUERY_ERROR
        case TProtocolException() if error.type == TProtocolException.SIZE_LIMIT:
            return Reason.TOO_LARGE
        case _:
            return Reason.PROTOCOL


def _words(error: BaseException) -> str:
    if isinstance(error, TTransportException) and error.type == TTransportException.NOT_OPEN:
        cause = getattr(error, "inner", None)
        if isinstance(cause, ConnectionRefusedError):
            return "nobody listens at the extension socket; is osqueryd running?"
        if isinstance(cause, OSError):
            return f"cannot connect to the extension socket: {cause.strerror or cause}"
    text = " ".join(str(getattr(error, "message", None) or error).split())
    return text or type(error).__name__


class _BoundedSocket(TSocket):  # type: ignore[misc]  # the library has no types
    """A Unix socket whose every operation ends at the deadline, and that reads no more than it may."""

    def __init__(self, path: str, deadline: float, max_bytes: int) -> None:
        super().__init__(unix_socket=path)
        self._deadline = deadline
        self._left = max_bytes

    def open(self) -> None:
        self._hurry()
        super().open()

    def read(self, size: int) -> bytes:
        self._hurry()
        content = cast("bytes", super().read(size))
        self._left -= len(content)
        if self._left < 0:
            raise _too_large()
        return content

    def write(self, content: bytes) -> None:
        self._hurry()
        super().write(content)

    def _hurry(self) -> None:
        self.setTimeout(max(1.0, (self._deadline - time.monotonic()) * 1000))


class _BoundedPipe(TTransportBase):  # type: ignore[misc]  # the library has no types
    """A named pipe that reads no more than it may and starts nothing after the deadline.

    What waits in Windows for an answer cannot be interrupted from here; the dispatcher gives such a host up.
    """

    def __init__(self, path: str, deadline: float, max_bytes: int) -> None:
        try:
            from osquery.TPipe import TPipe  # noqa: PLC0415 - works on Windows only
        except ImportError as error:
            raise TransportError(Reason.NO_OSQUERY, "named pipes exist on Windows only", where=path) from error

        milliseconds = max(1.0, (deadline - time.monotonic()) * 1000)
        self._pipe = TPipe(pipe_name=path, timeout=int(milliseconds / _PIPE_ATTEMPTS), max_attempts=_PIPE_ATTEMPTS)
        self._path = path
        self._deadline = deadline
        self._left = max_bytes

    def open(self) -> None:
        try:
            self._pipe.open()
        except TTransportException as error:
            if error.type != TTransportException.NOT_OPEN:
                raise
            what = "no extension pipe; is osqueryd running, and may this account use it?"
            raise TransportError(Reason.NO_OSQUERY, what, where=self._path) from error

    def read(self, size: int) -> bytes:
        self._hurry()
        content = cast("bytes", self._pipe.read(size))
        self._left -= len(content)
        if self._left < 0:
            raise _too_large()
        return content

    def write(self, content: bytes) -> None:
        self._hurry()
        self._pipe.write(content)

    def flush(self) -> None:
        self._pipe.flush()

    def close(self) -> None:
        self._pipe.close()

    def _hurry(self) -> None:
        if time.monotonic() >= self._deadline:
            raise TransportError(Reason.DEADLINE, "the daemon did not answer in time", where=self._path)


def _too_large() -> TransportError:
    return TransportError(Reason.TOO_LARGE, "the daemon's answers are too large")
