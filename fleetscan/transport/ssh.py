"""One SSH session per host: connect through the jumps, check pinned keys, prove who we are, run one command."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import paramiko

from fleetscan.model.snapshot import Reason, at_jump
from fleetscan.transport.certificate import SUFFIX
from fleetscan.transport.credentials import Credentials, terminal_prompt
from fleetscan.transport.failure import TransportError, hush, mapped
from fleetscan.transport.known_hosts import (
    KnownHosts,
    PinnedKey,
    ShownKey,
    Trust,
    Verdict,
    fingerprint,
    read_known_hosts,
)
from fleetscan.transport.proxy import ProxySocket, through
from fleetscan.transport.readahead import read_ahead
from fleetscan.transport.stop import Bell, Stop
from fleetscan.transport.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fleetscan.transport.destination import Destination

_CHUNK = 65536
_SOON = 0.02
_TICK = 0.5  # how long a request to stop may go unnoticed while only the exit status is missing
_GRACE = 3.0  # after a deadline, for ending the remote process
_ERROR_BYTES = 1024 * 1024  # of stderr; more is cut, the host is not punished for talking
_BREATH = 0.05  # seconds between looks at a host that talks without end
_MAX_PACKET = 256 * 1024  # as OpenSSH has it
_MAX_PREAMBLE = 64 * 1024
_SHOWN = 200
_MAX_LISTED = 1000
_COUNTED = {7: 0, 60: 3}
"""Messages that count what follows (EXT_INFO, USERAUTH_INFO_REQUEST), and how many texts stand before the number."""
_EXPIRED = "the password has expired, a new one is asked for"
_SERVER_SIDE = "find out why; a server without this certificate can be pinned"
_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a command gave until it ended or was ended; ``ended`` None means by itself, with ``exit_status``.

    ``exit_status`` is None too when the connection broke.
    """

    stdout: bytes
    stderr: bytes
    exit_status: int | None
    ended: Reason | None = None


class _Packetizer(paramiko.packet.Packetizer):
    """Without the library's own timer for the key exchange, a thread for each host: here it is waited for in time.

    And with bounds on what a server may say before anybody knows who it is.
    """

    said = b""
    """What came before the first packet: the banner, and what a server that refuses says instead of it."""

    def start_handshake(self, timeout: float) -> None:
        del timeout

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:  # noqa: FBT001, FBT002 - the library's own signature
        if n > _MAX_PACKET:
            raise paramiko.SSHException(f"a packet of {n} bytes")
        return super().read_all(n, check_rekey)

    def read_message(self) -> tuple[int, paramiko.Message]:
        kind, message = super().read_message()
        if kind in _COUNTED:
            _require_few(kind, message)
        return kind, message

    def _read_timeout(self, timeout: float) -> bytes:
        said: bytes = super()._read_timeout(timeout)  # type: ignore[misc]  # not in the stubs
        self.said += said
        if len(self.said) > _MAX_PREAMBLE:
            raise paramiko.SSHException("it talks, and shows no banner")
        return said

    @property
    def refusal(self) -> str:
        """What was said instead of a banner, in a few words."""
        if re.search(rb"^SSH-", self.said, re.MULTILINE):
            return ""
        return " ".join(self.said[: _SHOWN * 4].decode("utf-8", "replace").split())[:_SHOWN]


def _require_few(kind: int, message: paramiko.Message) -> None:
    """Raises SSHException for a list that says it is longer than its packet: the library would read it to its end."""
    for _ in range(_COUNTED[kind]):
        message.get_string()
    if (number := message.get_int()) > _MAX_LISTED:
        raise paramiko.SSHException(f"a list of {number} entries")
    message.rewind()


class _Transport(paramiko.Transport):
    """Asks for certificates first where somebody is trusted to sign them: most servers have plain keys, too."""

    certified = False

    @property
    def preferred_keys(self) -> Sequence[str]:
        names = super().preferred_keys
        return tuple(sorted(names, key=lambda name: not name.endswith(SUFFIX))) if self.certified else names


class SshTransport:
    """Connects to destinations; shared by all threads of a sweep, so that keys and pins are read once."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        """Without ``credentials``, the agent's and those of files; what they need is asked for at the terminal."""
        self._credentials = credentials or Credentials(ask=terminal_prompt())
        self._stop = Stop()
        self._pins: dict[tuple[Path, ...], tuple[object, KnownHosts]] = {}
        self._lock = threading.Lock()
        self._watchdog = Watchdog()
        hush("paramiko")

    def stop(self) -> None:
        """End the commands of the connections that are open now."""
        before, self._stop = self._stop, Stop()
        before.ask()

    @contextmanager
    def connect(self, destination: Destination, *, deadline: float) -> Iterator[Connection]:
        """A connection, closed at the end of the block or at ``deadline`` (``time.monotonic()``).

        Raises TransportError with the reason.
        """
        stop = self._stop
        with ExitStack() as stack:
            below = self._jumped(stack, destination, deadline)
            yield Connection(stack.enter_context(self._hop(destination, below, deadline)), destination, stop)

    def shown_key(self, destination: Destination, *, deadline: float) -> ShownKey:
        """The key that a host shows, without trusting it and without logging in; jumps must be trusted already.

        Of several keys it is asked for one that can be checked, as it is when somebody logs in.
        """
        with ExitStack() as stack:
            below = self._jumped(stack, destination, deadline)
            return _key_of(stack.enter_context(self._negotiated(destination, below, deadline)))

    def pins(self, files: tuple[Path, ...]) -> KnownHosts:
        """The pinned keys of these files, read again only when one of them changed."""
        state = tuple((path, *_version(path)) for path in files)
        with self._lock:
            known = self._pins.get(files)
            if known is None or known[0] != state:
                known = self._pins[files] = (state, read_known_hosts(files))
            return known[1]

    def _jumped(self, stack: ExitStack, destination: Destination, deadline: float) -> paramiko.Transport | None:
        """The transport of the last jump host, None without any; a jump that fails is named."""
        below: paramiko.Transport | None = None
        for hop in destination.jumps:
            try:
                below = stack.enter_context(self._hop(hop, below, deadline))
            except TransportError as error:
                what = at_jump(str(hop), error.what)
                raise TransportError(error.reason, what, where=str(destination), hint=error.hint) from error
        return below

    @contextmanager
    def _hop(
        self, destination: Destination, below: paramiko.Transport | None, deadline: float
    ) -> Iterator[paramiko.Transport]:
        with self._negotiated(destination, below, deadline) as transport:
            # Up to here only keys were exchanged. A host that cannot be reached says so by itself, pinned or not; one
            # that can and is not trusted learns nothing: not who asks, nor with which keys.
            _require_trust(self.pins(destination.known_hosts), destination, _key_of(transport))
            transport.auth_timeout = _left(destination, deadline)
            with mapped(str(destination), "logging in"):
                self._log_in(transport, destination)
            yield transport

    @contextmanager
    def _negotiated(
        self, destination: Destination, below: paramiko.Transport | None, deadline: float
    ) -> Iterator[paramiko.Transport]:
        """A transport after key exchange; the server is not yet known."""
        pins = self.pins(destination.known_hosts)
        with mapped(str(destination), "connecting"):
            seconds = _left(destination, deadline)
            sock = _socket(destination, below, seconds)
            try:
                transport = _Transport(sock, packetizer_class=_Packetizer)
                transport.certified = bool(pins.authorities(destination.known_as))
                # The library looks ten times a second whether it was closed, and before every packet whether it may
                # be read or written; with hundreds of hosts that adds up, and closing wakes it anyway.
                sock.settimeout(None)
            except BaseException:
                sock.close()
                raise
        # Whatever hangs later (a request without an answer), the deadline closes the connection under it.
        with self._watchdog.watch(max(deadline, time.monotonic()) + _GRACE, transport.close):
            try:
                try:
                    with mapped(str(destination), "connecting"):
                        _negotiate(transport, pins.keys(destination.known_as), seconds)
                except TransportError as error:
                    transport.close()
                    raise _explained(error, transport, sock) from error
                yield transport
            finally:
                transport.close()
                sock.close()  # which closing a transport that has ended leaves to its thread

    def _log_in(self, transport: paramiko.Transport, destination: Destination) -> None:
        refused: paramiko.SSHException | None = None
        for key in self._credentials.keys(destination):
            try:
                if not transport.auth_publickey(destination.user, key):
                    return
                refused = paramiko.AuthenticationException("a second factor is asked for")
            except paramiko.AuthenticationException as error:
                if not transport.is_active() or "timeout" in str(error).lower():
                    raise
                refused = error
        password = self._credentials.password(destination)
        if password is not None:
            if not _log_in_with_password(transport, destination.user, password):
                return
            refused = paramiko.AuthenticationException("a second factor is asked for")
        raise refused or TransportError(
            Reason.AUTH,
            f"no key and no password for {destination.user}",
            where=str(destination),
            hint="identity_file, an agent, or password_env in the inventory",
        )


def _log_in_with_password(transport: paramiko.Transport, user: str, password: str) -> list[str]:
    """What is asked for beside the password; nothing if the user is logged in."""
    try:
        return transport.auth_password(user, password, fallback=False)
    except paramiko.BadAuthenticationType as error:
        if not _is_dialogue(error):
            raise
    except paramiko.AuthenticationException:
        raise
    except paramiko.SSHException as error:
        # The library knows no request to change a password, which has the number of a question.
        if "info request" in str(error):
            raise TransportError(Reason.AUTH, _EXPIRED) from error
        raise
    answer = _OneAnswer(password)
    try:
        return transport.auth_interactive(user, answer)
    except paramiko.SSHException as error:
        if answer.question:
            raise TransportError(Reason.AUTH, f"more than a password is asked for: {answer.question}") from error
        raise


def _is_dialogue(error: paramiko.BadAuthenticationType) -> bool:
    """Does the server take a password as an answer to its question only?"""
    return "keyboard-interactive" in error.allowed_types and "password" not in error.allowed_types


class _OneAnswer:
    """Answers the one question for a password. Whatever is asked beside it is not answered with the password.

    A password that has expired is asked for a second time, and then for a new one; a second factor is asked for, too.
    """

    def __init__(self, password: str) -> None:
        self._password = password
        self._answered = False
        self.question = ""
        """The question that has no answer; empty for none."""

    def __call__(self, _title: str, instructions: str, fields: list[tuple[str, bool]]) -> list[str]:
        if not fields:
            return []
        if self._answered or len(fields) > 1 or fields[0][1]:
            words = " ".join((instructions + " " + " ".join(prompt for prompt, _ in fields)).split())
            self.question = words[:_SHOWN] or "?"
            raise paramiko.AuthenticationException("more than a password")
        self._answered = True
        return [self._password]


def _version(path: Path) -> tuple[int, int]:
    """What changes when a file does."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _left(destination: Destination, deadline: float) -> float:
    return max(0.1, min(destination.connect_seconds, deadline - time.monotonic()))


def _socket(
    destination: Destination, below: paramiko.Transport | None, seconds: float
) -> socket.socket | paramiko.Channel:
    if below is None:
        if destination.proxy:
            return through(destination.proxy, seconds)
        sock = socket.create_connection((destination.host, destination.port), timeout=seconds)
        # A session is a dozen small messages that wait for each other: held back until the last one is acknowledged,
        # each costs up to 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return read_ahead(sock)
    return below.open_channel("direct-tcpip", (destination.host, destination.port), ("127.0.0.1", 0), timeout=seconds)


def _negotiate(transport: paramiko.Transport, pinned: tuple[PinnedKey, ...], seconds: float) -> None:
    transport.daemon = True
    # Longer than what is waited for here: the library's own timeouts do not say that they are timeouts.
    transport.banner_timeout = seconds + _GRACE
    _prefer(transport, pinned)
    done = threading.Event()
    transport.start_client(event=done)  # with its own timeout, it would look ten times a second
    if not done.wait(seconds):
        raise TransportError(Reason.TIMEOUT, "no key exchange in time")
    if not transport.is_active():
        raise _failed(transport.get_exception())


def _failed(error: Exception | None) -> Exception:
    """What ended the key exchange. A key that is none raises whatever the library stumbles over: no bug of ours."""
    if error is None or isinstance(error, (paramiko.SSHException, OSError, EOFError)):
        return error or paramiko.SSHException("the key exchange failed")
    return paramiko.SSHException(f"the key exchange failed: {str(error) or type(error).__name__}")


def _explained(
    error: TransportError, transport: paramiko.Transport, sock: socket.socket | paramiko.Channel
) -> TransportError:
    """The error with what the server said instead of a banner, and the command through which it is reached."""
    packetizer = transport.packetizer
    if isinstance(packetizer, _Packetizer) and (said := packetizer.refusal):
        error = TransportError(error.reason, f"{error.what}; it said: {said}", where=str(error.where), hint=error.hint)
    if isinstance(sock, ProxySocket):
        sock.close()
        return sock.process.explained(error)
    return error


def _prefer(transport: paramiko.Transport, pinned: tuple[PinnedKey, ...]) -> None:
    """Ask for the types of key that are pinned, so that a server with several keys shows one that can be checked.

    The other types come after them: a server that no longer has a pinned one then shows which key it has instead.
    """
    types: list[str] = []
    for key in pinned:
        types += _RSA_SIGNATURES if key.type == "ssh-rsa" else (key.type,)
    options = transport.get_security_options()
    # Authenticated ciphers first: the library checks the separate code of the others byte by byte in Python, which
    # costs more processor time than all the rest of a session.
    options.ciphers = sorted(options.ciphers, key=lambda name: "gcm" not in name)
    options.key_types = sorted(options.key_types, key=lambda name: name not in types)


def _key_of(transport: paramiko.Transport) -> ShownKey:
    key = transport.get_remote_server_key()
    # Where the library finds a key in a certificate, it keeps all of it.
    certificate = key.public_blob.key_blob if key.public_blob else b""
    return ShownKey(PinnedKey(key.get_name(), key.asbytes()), certificate)


def _require_trust(pins: KnownHosts, destination: Destination, shown: ShownKey) -> None:
    """Raises TransportError, with the key that was shown, unless this server is trusted with it."""
    verdict = pins.verdict(destination.known_as, shown, time.time())
    if verdict.trust is Trust.KNOWN:
        return
    what = _why(pins, shown.key, verdict)
    mend = f"find out why; then mend {destination.pin_file}"
    reason, hint = {
        Trust.UNKNOWN: (Reason.HOST_KEY_UNKNOWN, _SERVER_SIDE if verdict.broken else "fleetscan hosts trust"),
        Trust.CHANGED: (Reason.HOST_KEY_CHANGED, mend),
        Trust.REVOKED: (Reason.HOST_KEY_REVOKED, mend),
    }[verdict.trust]
    raise TransportError(reason, what, where=str(destination), hint=hint)


def _why(pins: KnownHosts, key: PinnedKey, verdict: Verdict) -> str:
    beside = f"; {verdict.doubt}" if verdict.doubt else ""
    match verdict.trust:
        case Trust.UNKNOWN if verdict.broken:
            return f"{verdict.doubt}; it shows {key}"
        case Trust.UNKNOWN:
            return f"its host key is not pinned, it shows {key}{_also(pins.names(key))}{beside}"
        case Trust.REVOKED if verdict.doubt:
            return verdict.doubt
        case Trust.REVOKED:
            return f"it shows the revoked key {key}"
        case _:
            return f"its host key changed, it shows {key}{beside}"


def _also(names: tuple[str, ...]) -> str:
    """Where else a key is pinned: a host that moved to another address is known by its old one."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f", which is pinned for {names[0]}{more}" if names else ""


class Connection:
    """A logged-in session."""

    def __init__(self, transport: paramiko.Transport, destination: Destination, stop: Stop) -> None:
        """Made by SshTransport."""
        self.user = destination.user
        """Who is logged in."""
        self._transport = transport
        self._name = str(destination)
        self._stop = stop

    @property
    def server_version(self) -> str:
        """The server's own banner, ``SSH-2.0-OpenSSH_for_Windows_9.5``."""
        return str(self._transport.remote_version)

    def run(self, command: str, script: bytes, *, deadline: float, max_bytes: int) -> Output:
        """Run ``command`` with ``script`` as its standard input, until it ends, says too much, or time is over.

        Both outputs are read together while the script is written, so that neither side can block the other.
        """
        with mapped(self._name, "starting the command"):
            channel = self._transport.open_session(timeout=max(0.1, min(20.0, deadline - time.monotonic())))
        with channel:
            with mapped(self._name, "starting the command"):
                channel.exec_command(command)
            return _Exchange(channel, script, max_bytes, self._stop).run(deadline)


class _Exchange:
    """Writes a script and reads both outputs of one command."""

    def __init__(self, channel: paramiko.Channel, script: bytes, max_bytes: int, stop: Stop) -> None:
        self._channel = channel
        self._script = script
        self._written = 0
        self._max_bytes = max_bytes
        self._stop = stop
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._bell = Bell()

    def run(self, deadline: float) -> Output:
        self._channel.settimeout(0.0)
        # Not the channel's descriptor: that would be a pipe, three more descriptors and a dozen calls for each host.
        for buffer in (self._channel.in_buffer, self._channel.in_stderr_buffer):
            buffer.set_event(self._bell)
        with self._stop.rings(self._bell):
            ended = self._loop(deadline)
        status = self._channel.recv_exit_status() if ended is None and self._channel.exit_status_ready() else None
        return Output(
            stdout=bytes(self._stdout),
            stderr=bytes(self._stderr),
            exit_status=None if status == -1 else status,
            ended=ended,
        )

    def _loop(self, deadline: float) -> Reason | None:
        open_ = True
        while open_:
            now = time.monotonic()
            if now >= deadline:
                return Reason.DEADLINE
            if self._stop.asked:
                return Reason.CANCELLED
            writing = self._write()
            # A window that opens rings no bell; while there is something to write, look again soon.
            patience = min(_SOON, deadline - now) if writing else deadline - now
            if self._channel.eof_received:
                # Both outputs ended; only the exit status is missing, and it does not ring.
                self._channel.status_event.wait(min(_TICK, patience))
            else:
                self._bell.wait(patience)
            open_ = self._read()
            if len(self._stderr) == _ERROR_BYTES:
                # Nothing of it is kept any longer, and reading it as fast as it comes would take the processor from
                # all other hosts; so its window closes meanwhile.
                time.sleep(_BREATH)
            if len(self._stdout) > self._max_bytes:
                return Reason.TOO_LARGE
        return None

    def _write(self) -> bool:
        """Write what the window takes; is something left?"""
        try:
            while self._written < len(self._script) and self._channel.send_ready():
                self._written += self._channel.send(self._script[self._written : self._written + _CHUNK])
                if self._written == len(self._script):
                    self._channel.shutdown_write()
        except OSError:
            # Closed by the other side: what it said before is still worth reading.
            return False
        return self._written < len(self._script)

    def _read(self) -> bool:
        """Read what is there; may more come?"""
        while self._channel.recv_ready() and len(self._stdout) <= self._max_bytes:
            self._stdout += self._channel.recv(_CHUNK)
        while self._channel.recv_stderr_ready():
            chunk = self._channel.recv_stderr(_CHUNK)
            self._stderr += chunk[: max(0, _ERROR_BYTES - len(self._stderr))]
        if self._channel.recv_ready() or self._channel.recv_stderr_ready():
            return True
        # End of file comes before the exit status; a connection that broke brings neither.
        return not (self._channel.closed or (self._channel.eof_received and self._channel.exit_status_ready()))


__all__ = ["Connection", "Output", "SshTransport", "fingerprint"]
