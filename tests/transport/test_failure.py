"""Every exception that the network and the SSH library can raise has a reason; a new one cannot slip through."""

from __future__ import annotations

import inspect
import socket

import paramiko
import pytest
from paramiko import ssh_exception

from fleetscan.model.snapshot import Reason
from fleetscan.transport.failure import TransportError, mapped, reason_of

EXPECTED = {
    "AuthenticationException": Reason.AUTH,
    "BadAuthenticationType": Reason.AUTH,
    "BadHostKeyException": Reason.HOST_KEY_CHANGED,
    "ChannelException": Reason.CONNECTION,
    "ConfigParseError": Reason.CONNECTION,
    "CouldNotCanonicalize": Reason.CONNECTION,
    "IncompatiblePeer": Reason.PROTOCOL,
    "MessageOrderError": Reason.CONNECTION,
    "NoValidConnectionsError": Reason.CONNECTION,
    "PartialAuthentication": Reason.AUTH,
    "PasswordRequiredException": Reason.AUTH,
    "ProxyCommandFailure": Reason.CONNECTION,
    "SSHException": Reason.CONNECTION,
    "UnableToAuthenticate": Reason.AUTH,
}


def exceptions() -> dict[str, type[Exception]]:
    return {
        name: kind
        for name, kind in inspect.getmembers(ssh_exception, inspect.isclass)
        if issubclass(kind, (paramiko.SSHException, OSError)) and kind.__module__.startswith("paramiko")
    }


def test_the_library_has_no_exception_that_nobody_thought_of() -> None:
    assert set(exceptions()) <= set(EXPECTED)


@pytest.mark.parametrize("name", sorted(exceptions()))
def test_each_has_its_reason(name: str) -> None:
    # Their constructors differ; only the class and the text count here.
    kind = type(name, (exceptions()[name],), {"__str__": lambda _: "", "__init__": lambda _: None})
    assert reason_of(kind()) == EXPECTED[name]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(-2, "Name or service not known"), Reason.DNS),
        (UnicodeError("label too long"), Reason.DNS),
        (TimeoutError("timed out"), Reason.TIMEOUT),
        (ConnectionRefusedError(111, "Connection refused"), Reason.REFUSED),
        (ConnectionResetError(104, "reset"), Reason.CONNECTION),
        (OSError(113, "No route to host"), Reason.CONNECTION),
        (EOFError(), Reason.CONNECTION),
        (paramiko.SSHException("Timeout opening channel."), Reason.TIMEOUT),
        (paramiko.AuthenticationException("Authentication timeout."), Reason.TIMEOUT),
    ],
)
def test_what_the_network_says_is_mapped_with_host_and_action(error: Exception, reason: Reason) -> None:
    with pytest.raises(TransportError) as caught, mapped("ws1", "connecting"):
        raise error
    assert caught.value.reason == reason
    assert str(caught.value).startswith("ws1: connecting: ")
    assert caught.value.__cause__ is error
