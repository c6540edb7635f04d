"""Notifications reach real receivers once, wait for those that are down, and cannot be forged by what a host says."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.errors import SettingsError
from fleetscan.notify import (
    MAX_WAITING,
    Deferred,
    Delivered,
    Event,
    EventKind,
    File,
    NotifyError,
    Outbox,
    Receiver,
    Syslog,
    Webhook,
    deliver,
    event_id,
    receiver_from,
    summary,
    syslog_message,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NEW = Event(
    id="a" * 32,
    kind=EventKind.NEW,
    job="nightly",
    sweep="7",
    host="ws-1",
    severity="high",
    title="SIP hijack",
    detail=r"C:\Users\Public\x.dll",
    time="2026-11-20T12:00:00Z",
)
RFC5424 = re.compile(
    r"<\d{1,3}>1 \S+ \S+ fleetscan \d+ \S+ \[fleetscan@32473 (?: ?\w+=\"(?:[^\"\\\]]|\\.)*\")+\] \ufeff.*"
)


class Hook:
    """A webhook receiver: answers with the codes it is given, keeps what it got."""

    def __init__(self, codes: list[int]) -> None:
        self.codes = codes
        self.got: list[tuple[dict[str, str], bytes]] = []


@contextmanager
def hook_server(codes: list[int]) -> Iterator[tuple[Hook, str]]:
    hook = Hook(codes)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.got.append((dict(self.headers), body))
            self.send_response(hook.codes.pop(0) if len(hook.codes) > 1 else hook.codes[0])
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hook, f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def webhook(url: str, *, secret: str | None = None, template: str | None = None) -> Webhook:
    return Webhook(name="hook", url=url, secret=secret, template=template, sleep=lambda _: None, clock=lambda: NOON)


def test_a_webhook_gets_json_with_every_field_of_the_event() -> None:
    with hook_server([200]) as (hook, url):
        webhook(url).send([NEW])
    assert json.loads(hook.got[0][1])["events"][0] == {
        "id": "a" * 32,
        "kind": "new",
        "job": "nightly",
        "sweep": "7",
        "host": "ws-1",
        "severity": "high",
        "title": "SIP hijack",
        "detail": r"C:\Users\Public\x.dll",
        "time": "2026-11-20T12:00:00Z",
    }


def test_a_webhook_signs_the_body_with_the_secret_and_its_time() -> None:
    with hook_server([200]) as (hook, url):
        webhook(url, secret="s3cret").send([NEW])
    headers, body = hook.got[0]
    stamp = headers["X-Fleetscan-Timestamp"]
    expected = hmac.new(b"s3cret", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Fleetscan-Signature"] == f"sha256={expected}"
    assert stamp == str(int(NOON.timestamp()))


def test_the_secret_never_shows_in_repr() -> None:
    assert "s3cret" not in repr(webhook("http://user:pw@receiver.example/s3cret", secret="s3cret"))


@pytest.mark.parametrize(
    ("codes", "requests", "taken"),
    [([503, 200], 2, True), ([503, 429, 200], 3, True), ([503, 503, 503], 3, False), ([403], 1, False)],
    ids=["busy once", "busy twice", "down", "refused is not tried again"],
)
def test_a_webhook_tries_again_only_what_can_get_better(codes: list[int], requests: int, *, taken: bool) -> None:
    with hook_server(codes) as (hook, url):
        if taken:
            webhook(url).send([NEW])
        else:
            with pytest.raises(NotifyError):
                webhook(url).send([NEW])
    assert len(hook.got) == requests


def test_a_template_makes_the_body() -> None:
    with hook_server([200]) as (hook, url):
        webhook(url, template='{"text": {{ (events[0].host ~ ": " ~ events[0].title)|tojson }}}').send([NEW])
    assert json.loads(hook.got[0][1]) == {"text": "ws-1: SIP hijack"}


@pytest.mark.parametrize(
    "template", ["{{ events[0].nothing }}", "{% for %}", "{{ 1 // 0 }}", "{{ ''.__class__.__mro__ }}"]
)
def test_a_template_that_fails_is_a_typed_error(template: str) -> None:
    with pytest.raises(NotifyError, match="template"):
        webhook("http://127.0.0.1:1/", template=template).send([NEW])


def test_syslog_over_udp_is_one_datagram_an_event() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        Syslog(name="siem", transport="udp", host="127.0.0.1", port=server.getsockname()[1]).send([NEW, NEW])
        messages = [server.recv(65536).decode() for _ in range(2)]
    assert all(RFC5424.fullmatch(message) for message in messages)
    assert messages[0].startswith("<107>1 2026-11-20T12:00:00Z ")  # facility 13 (log audit), severity 3 (high)


def test_syslog_over_tcp_counts_its_octets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        Syslog(name="siem", transport="tcp", host="127.0.0.1", port=server.getsockname()[1]).send([NEW])
        stream, _address = server.accept()
        with stream, stream.makefile("rb") as file:
            content = file.read()
    length, _, message = content.partition(b" ")
    assert int(length) == len(message)
    assert RFC5424.fullmatch(message.decode())


@given(st.text(), st.text())
def test_no_text_of_a_host_forges_a_second_syslog_message(title: str, host: str) -> None:
    message = syslog_message(
        replace(NEW, title=title.encode(errors="replace").decode(), host=host.encode(errors="replace").decode())
    )
    text = message.decode()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert RFC5424.fullmatch(text)


def test_a_file_receives_json_lines(tmp_path: Path) -> None:
    File(name="log", path=tmp_path / "changes.jsonl").send([NEW])
    File(name="log", path=tmp_path / "changes.jsonl").send([NEW])
    lines = (tmp_path / "changes.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [NEW.id, NEW.id]


class Flaky:
    """A receiver that is down for its first calls."""

    name = "flaky"

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.got: list[Event] = []

    def send(self, events: Sequence[Event]) -> None:
        if self.failures:
            self.failures -= 1
            raise NotifyError("down")
        self.got += events


def test_events_wait_for_a_receiver_that_is_down_and_arrive_once(tmp_path: Path) -> None:
    receiver = Flaky(failures=1)
    outbox = Outbox(tmp_path)
    later = replace(NEW, id="b" * 32, kind=EventKind.GONE)
    assert isinstance(deliver([receiver], [NEW], outbox)[0], Deferred)
    assert deliver([receiver], [later], outbox) == (Delivered("flaky", 2),)
    assert deliver([receiver], [], outbox) == (Delivered("flaky", 0),)
    assert [event.id for event in receiver.got] == [NEW.id, later.id]


def test_a_failing_receiver_does_not_keep_another_from_its_events(tmp_path: Path) -> None:
    good = Flaky(failures=0)
    broken: Receiver = File(name="broken", path=tmp_path / "missing" / "x.jsonl")
    first, second = deliver([broken, good], [NEW], Outbox(tmp_path / "outbox"))
    assert isinstance(first, Deferred)
    assert "kept for the next run" in summary(first)
    assert second == Delivered("flaky", 1)
    assert summary(second) == "flaky: 1 change(s) sent"


def test_an_outbox_torn_by_a_crash_keeps_what_is_whole(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.put("hook", [NEW])
    with (tmp_path / "hook.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "torn')
    assert outbox.waiting("hook") == [NEW]


def test_an_endless_queue_drops_the_oldest_and_says_so(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    events = [replace(NEW, id=f"{number:032}") for number in range(MAX_WAITING + 3)]
    assert outbox.put("hook", events) == 3
    assert outbox.waiting("hook")[0].id == f"{3:032}"


def test_the_id_of_a_change_depends_on_all_it_is_about() -> None:
    ids = {event_id(kind, sweep, host, "m") for kind in EventKind for sweep in "12" for host in "ab"}
    assert len(ids) == len(EventKind) * 4


BAD = {
    "unknown type": ({"type": "pigeon"}, "webhook, syslog or file"),
    "unknown key": ({"type": "file", "path": "x", "pth": "y"}, "pth"),
    "no url": ({"type": "webhook"}, "http"),
    "file url": ({"type": "webhook", "url": "file:///etc/passwd"}, "http"),
    "secret not set": ({"type": "webhook", "url": "https://a.example", "secret_env": "NOT_SET"}, "NOT_SET"),
    "no template": ({"type": "webhook", "url": "https://a.example", "template": "missing.j2"}, "template"),
    "syslog without port": ({"type": "syslog", "address": "udp://siem"}, "udp://siem.example:514"),
    "syslog with odd port": ({"type": "syslog", "address": "udp://siem:x"}, "udp://siem.example:514"),
    "file without path": ({"type": "file"}, "path"),
}


@pytest.mark.parametrize(("settings", "words"), BAD.values(), ids=BAD)
def test_a_wrong_receiver_is_refused_in_words(settings: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        receiver_from("r", settings, folder=tmp_path, environment={}, sleep=lambda _: None, clock=lambda: NOON)


def test_a_receiver_name_cannot_leave_the_outbox(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        receiver_from(
            "../x", {"type": "file"}, folder=tmp_path, environment={}, sleep=lambda _: None, clock=lambda: NOON
        )


def test_receivers_are_made_from_their_settings(tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text("{{ events|length }}", encoding="utf-8")
    settings = [
        {"type": "webhook", "url": "https://a.example", "secret_env": "S", "template": "t.j2"},
        {"type": "syslog", "address": "tls://siem:6514"},
        {"type": "file", "path": "changes.jsonl"},
    ]
    made = [
        receiver_from("r", one, folder=tmp_path, environment={"S": "x"}, sleep=lambda _: None, clock=lambda: NOON)
        for one in settings
    ]
    assert [type(receiver) for receiver in made] == [Webhook, Syslog, File]


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_syslog_server_that_is_gone_is_a_typed_error(transport: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NotifyError, match="cannot be reached"):
        Syslog(name="siem", transport=transport, host="127.0.0.1", port=port).send([NEW])


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_webhook_that_moved_has_taken_nothing(tmp_path: Path, code: int) -> None:
    """Python would follow with a GET that carries no event."""
    gets: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gets.append(self.path)
            self.send_response(200)
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(code)
            self.send_header("Location", "/new")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    with served(Elsewhere) as url:
        [delivery] = deliver([webhook(url)], [NEW], Outbox(tmp_path))
    assert delivery == Deferred("hook", 1, f"hook: the webhook answered {code}: give its new address")
    assert gets == []
    assert Outbox(tmp_path).waiting("hook") == [NEW]


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def noise(answer: bytes) -> Iterator[int]:
    """A server that says something of its own to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(answer)
                        connection.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n", b"", b"\xff" * 70_000])
def test_a_webhook_that_speaks_no_http_is_deferred(tmp_path: Path, answer: bytes) -> None:
    with noise(answer) as port:
        [delivery] = deliver([webhook(f"http://127.0.0.1:{port}/")], [NEW], Outbox(tmp_path))
    assert isinstance(delivery, Deferred)
    assert Outbox(tmp_path).waiting("hook") == [NEW]


@pytest.mark.parametrize("url", ["http://host:x/", "http://a..b/", "http:///", "https://[::1"])
def test_a_url_that_cannot_be_one_is_deferred_or_refused(tmp_path: Path, url: str) -> None:
    [delivery] = deliver([webhook(url)], [NEW], Outbox(tmp_path))
    assert isinstance(delivery, Deferred)
    syslog = Syslog(name="siem", transport="tcp", host="a..b", port=514)
    [delivery] = deliver([syslog], [NEW], Outbox(tmp_path))
    assert isinstance(delivery, Deferred)


def test_half_a_character_of_a_host_is_told_as_an_escape(tmp_path: Path) -> None:
    event = replace(NEW, detail="half \ud83d of it")
    file = File(name="log", path=tmp_path / "told.jsonl")
    with hook_server([200]) as (hook, url):
        deliveries = deliver([webhook(url), file], [event], Outbox(tmp_path))
    assert deliveries == (Delivered("hook", 1), Delivered("log", 1))
    assert json.loads(hook.got[0][1])["events"][0]["detail"] == "half \ud83d of it"
    assert "half \\ud83d of it" in (tmp_path / "told.jsonl").read_text(encoding="utf-8")
    assert rb"half \ud83d of it" in syslog_message(event)
