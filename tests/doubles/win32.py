"""What osqueryd's named pipe needs of Windows, over Unix sockets: enough for the osquery package's own pipe client."""

from __future__ import annotations

import socket
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PREFIX = "\\\\.\\pipe\\"
FILE_NOT_FOUND = 2
PIPE_BUSY = 231


class Win32Error(Exception):
    """``pywintypes.error``: number first, as the real one has it."""

    def __init__(self, number: int, function: str, text: str) -> None:
        super().__init__(number, function, text)
        self.winerror = number


class Handle:
    """An open pipe."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.handle = connection.fileno()


class _Pipes:
    """The functions of win32file and win32pipe that a client calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.busy = 0
        """How often the pipe has no free instance before it has one."""

    def open(self, name: str, *_how: object) -> Handle:
        path = self.folder / name.removeprefix(PREFIX)
        if not path.exists():
            raise Win32Error(FILE_NOT_FOUND, "CreateFile", "The system cannot find the file specified.")
        if self.busy:
            self.busy -= 1
            raise Win32Error(PIPE_BUSY, "CreateFile", "All pipe instances are busy.")
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        return Handle(connection)

    def wait(self, _name: str, milliseconds: int) -> None:
        assert isinstance(milliseconds, int)
        assert milliseconds > 0

    def read(self, handle: Handle, size: int, _overlapped: None) -> tuple[int, bytes]:
        return 0, handle.connection.recv(size)

    def write(self, handle: Handle, content: bytes, _overlapped: None) -> tuple[int, int]:
        handle.connection.sendall(content)
        return 0, len(content)

    def disconnect(self, handle: Handle) -> None:
        handle.connection.close()


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> _Pipes:
    r"""Let ``osquery.TPipe`` be imported here; the pipe ``\\.\pipe\name`` is the socket ``folder/name``."""
    pipes = _Pipes(folder)
    contents: dict[str, dict[str, object]] = {
        "win32file": {
            "CreateFile": pipes.open,
            "ReadFile": pipes.read,
            "WriteFile": pipes.write,
            "FlushFileBuffers": lambda _handle: None,
            "GENERIC_READ": 1,
            "GENERIC_WRITE": 2,
            "OPEN_EXISTING": 3,
            "FILE_FLAG_OVERLAPPED": 4,
        },
        "win32pipe": {"WaitNamedPipe": pipes.wait, "DisconnectNamedPipe": pipes.disconnect},
        "win32api": {},
        "win32event": {},
        "winerror": {"ERROR_PIPE_BUSY": PIPE_BUSY, "ERROR_INVALID_HANDLE": 6, "ERROR_SEM_TIMEOUT": 121},
        "pywintypes": {"error": Win32Error},
    }
    for name, members in contents.items():
        module = ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "osquery.TPipe", raising=False)
    return pipes
