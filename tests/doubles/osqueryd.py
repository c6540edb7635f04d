"""A stand-in for osqueryd's extension manager: the package's own generated service over a Unix socket."""

from __future__ import annotations

import os
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from osquery.extensions import ExtensionManager
from osquery.extensions.ttypes import ExtensionResponse, ExtensionStatus
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport, TTransportException

from tests.doubles.shell import RefusalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path


class HangUpError(Exception):
    """The worker is ended while it works, as a watchdog does."""


class _Handler:
    """The service: only ``query`` does anything."""

    def __init__(self, answer: Callable[[str], Sequence[Mapping[str, str]]]) -> None:
        self._answer = answer

    def query(self, sql: str) -> Any:  # noqa: ANN401 - the package has no types
        try:
            rows = [dict(row) for row in self._answer(sql)]
        except RefusalError as error:
            return ExtensionResponse(status=ExtensionStatus(code=1, message=str(error)), response=[])
        return ExtensionResponse(status=ExtensionStatus(code=0, message="OK"), response=rows)


def _serve(connection: socket.socket, answer: Callable[[str], Sequence[Mapping[str, str]]]) -> None:
    wire = TSocket()
    wire.setHandle(connection)
    protocol = TBinaryProtocol(TBufferedTransport(wire))
    processor = ExtensionManager.Processor(_Handler(answer))
    with suppress(TTransportException, HangUpError, OSError, EOFError, struct.error), connection:
        while True:
            processor.process(protocol, protocol)


@contextmanager
def manager(
    path: Path, answer: Callable[[str], Sequence[Mapping[str, str]]], *, greeting: bytes = b""
) -> Iterator[Path]:
    """A manager on the socket ``path`` until the end of the block; ``greeting`` is noise before any answer."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threads: list[threading.Thread] = []
        open_: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.sendall(greeting)
                    open_.append(connection)
                    thread = threading.Thread(target=_serve, args=(connection, answer), daemon=True)
                    threads.append(thread)
                    thread.start()

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in open_:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            acceptor.join(60)
            os.unlink(path)  # noqa: PTH108 - it is a socket
            for thread in threads:
                thread.join(60)
