"""Tells receivers what changed since a job's last run, once each: new, gone, coverage lost. Never at the sweep's cost.

Events wait in an outbox folder until their receiver took them, so a receiver that is down for a night gets them in the
morning. Delivery is at least once: every event carries an id by which a receiver can drop a repetition.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, assert_never

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from fleetscan.errors import FleetscanError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

TIMEOUT = 10.0
"""Seconds one attempt may take."""

BACKOFF = (1.0, 4.0)
"""Seconds before the second and the third attempt."""

MAX_WAITING = 10_000
"""Events kept per receiver; of a longer queue the oldest are dropped, and the drop is itself reported."""

_ANY_TEXT = "backslashreplace"
"""What is no text, as half a character of a key's name, is written as an escape and not refused for ever."""

_MOVED = frozenset({301, 302, 303, 307, 308})
_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FACILITY_LOG_AUDIT = 13
_SYSLOG_SEVERITY = {"info": 6, "low": 5, "medium": 4, "high": 3, "critical": 2}


class NotifyError(FleetscanError):
    """A receiver did not take the events; they stay in the outbox."""


class EventKind(StrEnum):
    """What can be told."""

    NEW = "new"
    GONE = "gone"
    COVERAGE_LOST = "coverage lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change. ``id`` is the same for the same change, however often it is sent."""

    id: str
    kind: EventKind
    job: str
    sweep: str
    host: str
    severity: str
    title: str
    detail: str
    time: str
    """ISO 8601, UTC."""


def event_id(kind: EventKind, sweep: str, host: str, matter: str) -> str:
    """The id of a change: 32 hex digits over what it is about."""
    return hashlib.sha256(f"{kind}\0{sweep}\0{host}\0{matter}".encode()).hexdigest()[:32]


class Receiver(Protocol):
    """Takes events; raises NotifyError when it did not."""

    @property
    def name(self) -> str:
        """The name in ``fleetscan.yml``; also the name of its outbox."""
        ...

    def send(self, events: Sequence[Event]) -> None:
        """Deliver all of them, or raise."""
        ...


def render(template: str, events: Sequence[Event]) -> str:
    """The text of a message from a jinja2 template, which sees ``events``; sandboxed, strict about names."""
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    try:
        return environment.from_string(template).render(events=[asdict(event) for event in events])
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise NotifyError(f"the notification template failed: {error}", hint="{{ events[0].title }}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: following it, Python would drop the events, and they would count as taken."""

    def redirect_request(self, *_arguments: object) -> None:
        """Go nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """POSTs JSON. ``secret`` signs the body: header ``X-Fleetscan-Signature: sha256=<HMAC of timestamp.body>``."""

    name: str
    url: str
    secret: str | None
    template: str | None
    sleep: Callable[[float], None]
    clock: Callable[[], datetime]

    def __repr__(self) -> str:
        """Without the secret, and without what a URL may carry as one."""
        return f"Webhook(name={self.name!r}, host={urllib.parse.urlsplit(self.url).hostname!r})"

    def send(self, events: Sequence[Event]) -> None:
        """Three attempts; what cannot get better (a refused request) is not tried again."""
        if self.template is None:
            body = json.dumps({"events": [asdict(event) for event in events]}, ensure_ascii=False)
        else:
            body = render(self.template, events)
        for pause in (*BACKOFF, None):
            try:
                self._post(body.encode(errors=_ANY_TEXT))
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in _RETRYABLE or pause is None:
                    moved = ": give its new address" if error.code in _MOVED else ""
                    raise NotifyError(f"{self.name}: the webhook answered {error.code}{moved}") from error
            except (OSError, ValueError, http.client.HTTPException) as error:
                if pause is None:
                    raise NotifyError(f"{self.name}: the webhook cannot be reached: {type(error).__name__}") from error
            else:
                return
            self.sleep(pause)

    def _post(self, body: bytes) -> None:
        stamp = str(int(self.clock().timestamp()))
        headers = {"Content-Type": "application/json; charset=utf-8", "X-Fleetscan-Timestamp": stamp}
        if self.secret is not None:
            signature = hmac.new(self.secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
            headers["X-Fleetscan-Signature"] = f"sha256={signature}"
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")  # noqa: S310 - scheme checked in receiver_from
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as answer:
            answer.read(65536)


@dataclass(frozen=True, slots=True, kw_only=True)
class Syslog:
    """RFC 5424 messages over UDP, TCP or TLS (RFC 6587 octet counting on streams)."""

    name: str
    transport: str
    host: str
    port: int

    def send(self, events: Sequence[Event]) -> None:
        """One message an event."""
        messages = [syslog_message(event) for event in events]
        try:
            if self.transport == "udp":
                family = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0][0]
                with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
                    for message in messages:
                        datagrams.sendto(message, (self.host, self.port))
                return
            with socket.create_connection((self.host, self.port), timeout=TIMEOUT) as stream:
                if self.transport == "tls":
                    with ssl.create_default_context().wrap_socket(stream, server_hostname=self.host) as secure:
                        _send_counted(secure, messages)
                else:
                    _send_counted(stream, messages)
        except (OSError, ValueError) as error:  # UnicodeError: a host name that cannot be one
            raise NotifyError(f"{self.name}: syslog at {self.host}:{self.port} cannot be reached: {error}") from error


def _send_counted(stream: socket.socket, messages: Sequence[bytes]) -> None:
    stream.sendall(b"".join(b"%d %s" % (len(message), message) for message in messages))


def syslog_message(event: Event) -> bytes:
    """One RFC 5424 message; control and bidirectional characters cannot forge a second one."""
    priority = _FACILITY_LOG_AUDIT * 8 + _SYSLOG_SEVERITY.get(event.severity, 5)
    fields = {"id": event.id, "kind": event.kind, "job": event.job, "sweep": event.sweep, "host": event.host}
    data = " ".join(f'{name}="{_parameter(value)}"' for name, value in fields.items())
    text = _plain(f"{event.kind}: {event.host}: {event.title}: {event.detail}")
    host = _CONTROL.sub("", socket.gethostname()) or "-"
    header = f"<{priority}>1 {event.time} {host} fleetscan {os.getpid()} {event.kind.replace(' ', '-')}"
    return f"{header} [fleetscan@32473 {data}] \ufeff{text}".encode(errors=_ANY_TEXT)


def _plain(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _parameter(text: str) -> str:
    return re.sub(r'(["\\\]])', r"\\\1", _plain(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Appends JSON lines."""

    name: str
    path: Path

    def send(self, events: Sequence[Event]) -> None:
        """All lines in one write, on disk when it returns."""
        try:
            with self.path.open("a", encoding="utf-8", errors=_ANY_TEXT) as file:
                file.write("".join(json.dumps(asdict(event), ensure_ascii=False) + "\n" for event in events))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NotifyError(f"{self.name}: {self.path} cannot be written: {error.strerror}") from error


def receiver_from(
    name: str,
    settings: Mapping[str, str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    sleep: Callable[[float], None],
    clock: Callable[[], datetime],
) -> Receiver:
    """The receiver of one entry below ``notify:``; SettingsError says what is missing or unknown."""
    known = {
        "webhook": {"type", "url", "secret_env", "template"},
        "syslog": {"type", "address"},
        "file": {"type", "path"},
    }
    if not _NAME.fullmatch(name):
        raise SettingsError(f"receiver {name!r}: letters, digits, dot, dash and underscore only")
    kind = settings.get("type", "")
    if kind not in known:
        raise SettingsError(f"receiver {name}: type {kind!r} is unknown", hint="type: webhook, syslog or file")
    if odd := sorted(set(settings) - known[kind]):
        raise SettingsError(f"receiver {name}: unknown key {odd[0]!r}", hint=", ".join(sorted(known[kind])))
    match kind:
        case "webhook":
            return _webhook(name, settings, folder, environment, sleep, clock)
        case "syslog":
            return _syslog(name, settings.get("address", ""))
        case _:
            if not settings.get("path"):
                raise SettingsError(f"receiver {name}: path is missing", hint="path: changes.jsonl")
            return File(name=name, path=folder / settings["path"])


def _webhook(
    name: str,
    settings: Mapping[str, str],
    folder: Path,
    environment: Mapping[str, str],
    sleep: Callable[[float], None],
    clock: Callable[[], datetime],
) -> Webhook:
    url = settings.get("url", "")
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise SettingsError(
            f"receiver {name}: url must be http or https", hint="url: https://receiver.example/fleetscan"
        )
    secret = None
    if variable := settings.get("secret_env"):
        secret = environment.get(variable)
        if not secret:
            raise SettingsError(f"receiver {name}: the environment variable {variable} is not set")
    template = None
    if file := settings.get("template"):
        try:
            template = (folder / file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError("the notification template cannot be read", where=str(folder / file)) from error
    return Webhook(name=name, url=url, secret=secret, template=template, sleep=sleep, clock=clock)


def _syslog(name: str, address: str) -> Syslog:
    parts = urllib.parse.urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ("udp", "tcp", "tls") or not parts.hostname or port is None:
        raise SettingsError(f"receiver {name}: address {address!r} is not understood", hint="udp://siem.example:514")
    return Syslog(name=name, transport=parts.scheme, host=parts.hostname, port=port)


class Outbox:
    """Events that wait, one JSON lines file a receiver; survives the process, safe against a crash while writing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, receiver: str) -> Path:
        return self.folder / f"{receiver}.jsonl"

    def waiting(self, receiver: str) -> list[Event]:
        """What the receiver has not taken yet, oldest first; a line torn by a crash is left out."""
        try:
            lines = self._file(receiver).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        events = []
        for line in lines:
            try:
                fields = json.loads(line)
                events.append(Event(**(fields | {"kind": EventKind(fields["kind"])})))
            except (ValueError, TypeError, KeyError):
                continue
        return events

    def put(self, receiver: str, events: Sequence[Event]) -> int:
        """Add what is not waiting already; returns how many of the oldest were dropped because too many wait."""
        queue = {event.id: event for event in (*self.waiting(receiver), *events)}
        dropped = max(0, len(queue) - MAX_WAITING)
        self._write(receiver, list(queue.values())[dropped:])
        return dropped

    def clear(self, receiver: str) -> None:
        """The receiver has taken everything."""
        self._file(receiver).unlink(missing_ok=True)

    def marked(self, job: str) -> str:
        """The last sweep of a job whose changes were put; empty if there is none."""
        try:
            return self._mark(job).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def mark(self, job: str, sweep: str) -> None:
        """Remember that the changes up to this sweep were put."""
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self._mark(job).with_suffix(".new")
        new.write_text(sweep + "\n", encoding="utf-8")
        new.replace(self._mark(job))

    def _mark(self, job: str) -> Path:
        # A job's name is free text; its hash is a file name anywhere.
        return self.folder / f"job-{hashlib.sha256(job.encode()).hexdigest()[:16]}.last"

    def _write(self, receiver: str, events: Sequence[Event]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self._file(receiver).with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(event)) + "\n" for event in events)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file(receiver))


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many events a receiver took."""

    receiver: str
    events: int


@dataclass(frozen=True, slots=True)
class Deferred:
    """A receiver that failed; its events stay in the outbox."""

    receiver: str
    events: int
    reason: str


Delivery = Delivered | Deferred


def deliver(receivers: Sequence[Receiver], events: Sequence[Event], outbox: Outbox) -> tuple[Delivery, ...]:
    """Give every receiver what it has not taken yet. Never raises for a receiver or the outbox: the sweep is done."""
    return tuple(_deliver(receiver, events, outbox) for receiver in receivers)


def _deliver(receiver: Receiver, events: Sequence[Event], outbox: Outbox) -> Delivery:
    try:
        dropped = outbox.put(receiver.name, events)
        waiting = outbox.waiting(receiver.name)
        if waiting:
            receiver.send(waiting)
            outbox.clear(receiver.name)
    except (NotifyError, OSError) as error:
        return Deferred(receiver.name, len(events), str(error))
    if dropped:
        return Deferred(receiver.name, dropped, f"{dropped} of the oldest events were dropped: too many were waiting")
    return Delivered(receiver.name, len(waiting))


def summary(delivery: Delivery) -> str:
    """One line about a delivery."""
    match delivery:
        case Delivered(receiver, count):
            return f"{receiver}: {count} change(s) sent"
        case Deferred(receiver, _, reason):
            return f"{receiver}: {reason}; kept for the next run"
        case _:
            assert_never(delivery)
