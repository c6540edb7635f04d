"""The extension socket of a local daemon: whatever stands in its place is told in words a user can act on."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from fleetscan.model.snapshot import Reason
from fleetscan.transport.extension import ExtensionSession
from fleetscan.transport.failure import TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sockets of Unix")


def refusal(path: Path | str) -> tuple[Reason, str]:
    with pytest.raises(TransportError) as caught:
        ExtensionSession(str(path), deadline=time.monotonic() + 60, max_bytes=1000)
    return caught.value.reason, caught.value.what


def left_behind(path: Path) -> Path:
    """The socket of a daemon that is gone."""
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(path))
    return path


def test_what_is_no_socket_is_no_osquery(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "none") == (Reason.NO_OSQUERY, "no extension socket; is osqueryd running?")
    assert refusal(tmp_path / "file" / "em") == (Reason.NO_OSQUERY, "no extension socket; is osqueryd running?")
    assert refusal(tmp_path / "file") == (Reason.NO_OSQUERY, "this is no socket")
    assert refusal(tmp_path) == (Reason.NO_OSQUERY, "this is no socket")
    assert refusal(tmp_path / ("x" * 5000)) == (Reason.NO_OSQUERY, "no extension socket: File name too long")


def test_a_socket_that_was_left_behind_is_refused(tmp_path: Path) -> None:
    what = "nobody listens at the extension socket; is osqueryd running?"
    assert refusal(left_behind(tmp_path / "em")) == (Reason.REFUSED, what)


def test_a_pipe_of_windows_is_no_osquery_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not even where a test before this one lent it the modules of Windows.
    monkeypatch.setitem(sys.modules, "osquery.TPipe", None)
    assert refusal("\\\\.\\pipe\\osquery.em") == (Reason.NO_OSQUERY, "named pipes exist on Windows only")


@contextmanager
def somebody_else() -> Iterator[None]:
    """Be somebody to whom permissions apply: root passes them all."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("closed", ["em", "."], ids=["the socket", "its folder"])
def test_a_socket_that_is_closed_to_this_account_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    folder = tmp_path / "osquery"
    folder.mkdir()
    left_behind(folder / "em")
    (folder / closed).chmod(0)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the folders above it are closed to others, too
    with somebody_else():
        found = refusal("osquery/em")
    (folder / closed).chmod(0o700)
    what = "this account may not use the extension socket; the one that osqueryd runs as may"
    assert found == (Reason.NO_OSQUERY, what)
