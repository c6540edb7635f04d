"""A TCP line in user space that delays, throttles, tears, cuts and swallows: works where no kernel can be asked to."""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What happens between two ends; times are seconds, one way; amounts are bytes that went towards the client.

    ``cut_after``: then both ends are reset. ``swallow_after``: then nothing passes any more, and nobody is told, as
    when a cable is pulled out or a firewall forgets a connection. ``tear``: at most so many bytes in one piece.
    """

    delay: float = 0.0
    jitter: float = 0.0
    bytes_per_second: float = float("inf")
    tear: int = 65536
    cut_after: int | None = None
    swallow_after: int | None = None


class _Connection:
    """One connection through the line."""

    def __init__(self, line: Line, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.line = line
        self.client = client
        self.server = server
        self.passed = 0
        self.dice = random.Random(7)  # noqa: S311 - jitter, not secrets

    async def run(self, from_client: asyncio.StreamReader, from_server: asyncio.StreamReader) -> None:
        await asyncio.gather(
            self.way(from_client, self.server, counted=False), self.way(from_server, self.client, counted=True)
        )

    async def way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        """One direction: what is read now is written when its time has come, so that delay does not cost bandwidth."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        writing = asyncio.create_task(self.write(pieces, writer, counted=counted))
        due = 0.0
        with suppress(OSError):
            while not writing.done():
                piece = await reader.read(self.line.tear)
                now = asyncio.get_running_loop().time()
                # Never before what went ahead: TCP keeps the order.
                due = max(due, now + self.line.delay + self.dice.uniform(0, self.line.jitter))
                await pieces.put((due, piece))
                if not piece:
                    break
        await writing

    async def write(
        self, pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not piece:
                    writer.close()
                    return
                piece = await self.spoilt(piece, counted=counted)
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(len(piece) / self.line.bytes_per_second)

    async def spoilt(self, piece: bytes, *, counted: bool) -> bytes:
        """The piece, as far as it still passes; never returns once the line swallows."""
        if counted:
            self.passed += len(piece)
        if self.line.cut_after is not None and self.passed > self.line.cut_after:
            for end in (self.client, self.server):
                end.transport.abort()
            raise ConnectionAbortedError
        if self.line.swallow_after is not None and self.passed > self.line.swallow_after:
            await asyncio.Event().wait()
        return piece


@contextmanager
def bad_line(port: int, line: Line, *, host: str = "127.0.0.1") -> Iterator[int]:
    """The port of a line to ``host``:``port``, on the loopback address, until the end of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def connect(from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        ends = [client]
        try:
            from_server, server = await asyncio.open_connection(host, port)
            ends.append(server)
            await _Connection(line, client, server).run(from_client, from_server)
        except (OSError, asyncio.CancelledError):
            return
        finally:
            for end in ends:
                end.transport.abort()

    async def end() -> None:
        listener.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.05)  # transports close in the next rounds of the loop

    listener = asyncio.run_coroutine_threadsafe(asyncio.start_server(connect, "127.0.0.1", 0), loop).result(60)
    try:
        yield int(listener.sockets[0].getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
