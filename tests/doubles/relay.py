"""Passes bytes between its standard input and output and a server, as ``nc`` does: for ProxyCommand."""

from __future__ import annotations

import os
import socket
import sys
import threading

INPUT, OUTPUT = 0, 1


def _send(connection: socket.socket) -> None:
    while data := os.read(INPUT, 65536):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def main() -> None:
    """``relay HOST PORT``."""
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as connection:
        connection.settimeout(None)
        threading.Thread(target=_send, args=(connection,), daemon=True).start()
        while data := connection.recv(65536):
            os.write(OUTPUT, data)


if __name__ == "__main__":
    main()
