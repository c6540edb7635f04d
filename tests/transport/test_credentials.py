"""Keys are read once for all hosts; what passes by itself is not remembered."""

from __future__ import annotations

import errno
import resource
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

import asyncssh
import pytest

from fleetscan.model.host import Host, HostId
from fleetscan.model.snapshot import Reason
from fleetscan.transport.credentials import Credentials
from fleetscan.transport.destination import resolve
from fleetscan.transport.failure import TransportError, mapped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleetscan.transport.destination import Destination


@pytest.fixture
def destination(tmp_path: Path) -> Destination:
    settings = {"address": "ws1", "identity_file": str(tmp_path / "id"), "agent": False}
    return resolve(Host(id=HostId("ws1"), engine="osqueryi", settings=MappingProxyType(settings)))


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_key_that_found_no_descriptor_is_read_again(destination: Destination, tmp_path: Path) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(tmp_path / "id"))
    credentials = Credentials({})
    with no_descriptor_left(), pytest.raises(OSError, match="Too many open files") as caught:
        list(credentials.keys(destination))
    assert caught.value.errno == errno.EMFILE
    assert len(list(credentials.keys(destination))) == 1


def test_a_key_that_is_not_there_is_the_same_for_all(destination: Destination, tmp_path: Path) -> None:
    credentials = Credentials({})
    for _ in range(2):
        with pytest.raises(TransportError) as caught:
            list(credentials.keys(destination))
        assert caught.value.reason is Reason.AUTH
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(tmp_path / "id"))


def test_a_limit_of_this_process_may_pass_and_says_what_to_raise() -> None:
    with pytest.raises(TransportError) as caught, mapped("ws1", "logging in"):
        raise OSError(errno.EMFILE, "Too many open files")
    assert caught.value.reason is Reason.CONNECTION
    assert str(caught.value) == (
        "ws1: logging in: Too many open files (try: ulimit -n NUMBER, or a lower --concurrency)"
    )
