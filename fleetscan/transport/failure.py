"""Failures of the network and of SSH, mapped to the reasons of the coverage ledger in one place."""

from __future__ import annotations

import errno
import logging
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from paramiko.ssh_exception import AuthenticationException, BadHostKeyException, IncompatiblePeer, SSHException

from fleetscan.errors import HostError
from fleetscan.model.snapshot import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator


class TransportError(HostError):
    """A host cannot be talked to; ``reason`` is what the coverage ledger says."""

    def __init__(self, reason: Reason, what: str, *, where: str = "", hint: str = "") -> None:
        """``where`` is the host."""
        super().__init__(what, where=where or None, hint=hint)
        self.reason = reason


_REASONS: tuple[tuple[type[BaseException], str, Reason], ...] = (
    (socket.gaierror, "", Reason.DNS),
    (UnicodeError, "", Reason.DNS),  # a name that cannot be encoded for a look-up
    (TimeoutError, "", Reason.TIMEOUT),
    (ConnectionRefusedError, "", Reason.REFUSED),
    (AuthenticationException, "timeout", Reason.TIMEOUT),
    # Also for servers that hang up instead of saying no: asking again would lock the account all the same.
    (AuthenticationException, "", Reason.AUTH),
    (BadHostKeyException, "", Reason.HOST_KEY_CHANGED),
    (IncompatiblePeer, "", Reason.PROTOCOL),
    (SSHException, "timeout", Reason.TIMEOUT),
    (SSHException, "timed out", Reason.TIMEOUT),
    (BaseException, "", Reason.CONNECTION),
)
"""Class, word of its text, reason; the first that fits counts, because the classes inherit from each other."""


def reason_of(error: BaseException) -> Reason:
    """The reason for an exception of the socket or SSH library."""
    if isinstance(error, TransportError):
        return error.reason
    text = str(error).lower()
    return next(reason for kind, word, reason in _REASONS if isinstance(error, kind) and word in text)


def is_exhausted(error: BaseException) -> bool:
    """Is it this process, and not the host or a file, that has come to a limit? It passes as other hosts end."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def hush(name: str) -> None:
    """Keep a library from printing its log: what went wrong is told in the host's result."""
    log = logging.getLogger(name)
    if not log.handlers:
        log.addHandler(logging.NullHandler())


@contextmanager
def mapped(where: str, doing: str) -> Iterator[None]:
    """Everything that the network or the SSH library raises becomes a TransportError that says what was being done."""
    try:
        yield
    except TransportError:
        raise
    except (OSError, EOFError, UnicodeError, SSHException) as error:
        said = error.strerror if isinstance(error, OSError) else None
        text = " ".join((said or str(error)).split()) or type(error).__name__
        hint = "ulimit -n NUMBER, or a lower --concurrency" if is_exhausted(error) else ""
        raise TransportError(reason_of(error), f"{doing}: {text}", where=where, hint=hint) from error
