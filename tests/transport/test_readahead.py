"""Reading ahead: the same bytes in the same order, whatever sizes are asked for and whatever arrives together."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.transport.readahead import read_ahead


@given(parts=st.lists(st.binary(min_size=1, max_size=40), max_size=12), sizes=st.lists(st.integers(1, 30), min_size=1))
def test_every_byte_arrives_once_and_in_order(parts: list[bytes], sizes: list[int]) -> None:
    ours, theirs = socket.socketpair()
    with theirs, read_ahead(ours) as reader:
        read = b""
        for part in parts:
            theirs.sendall(part)
        theirs.shutdown(socket.SHUT_WR)
        while True:
            size = sizes[len(read) % len(sizes)]
            got = reader.recv(size)
            assert len(got) <= size
            if not got:
                break
            read += got
        assert read == b"".join(parts)
        assert reader.recv(1) == b""


def test_the_timeout_goes_with_the_connection_and_what_was_read_outlives_the_other_side() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.01)
    with read_ahead(ours) as reader:
        with pytest.raises(TimeoutError):
            reader.recv(1)
        theirs.sendall(b"ab")
        theirs.close()
        assert [reader.recv(1), reader.recv(1), reader.recv(1)] == [b"a", b"b", b""]


def test_closing_wakes_who_waits_for_more() -> None:
    ours, theirs = socket.socketpair()
    reader = read_ahead(ours)
    got: list[bytes] = []
    waiting = threading.Thread(target=lambda: got.append(reader.recv(1)))
    with theirs:
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        reader.close()
        waiting.join(60)
        assert not waiting.is_alive()
    assert got == [b""]


def test_flags_are_refused() -> None:
    ours, theirs = socket.socketpair()
    with theirs, read_ahead(ours) as reader, pytest.raises(ValueError, match="no flags"):
        reader.recv(1, socket.MSG_PEEK)
