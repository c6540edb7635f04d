"""osqueryi over SSH: what each way of going wrong is called, and that the right answers survive it."""

from __future__ import annotations

import base64
import threading
import time
from typing import TYPE_CHECKING

import pytest

from fleetscan.engines.osqueryi import OsqueryiEngine, command_line, shell_of
from fleetscan.model.snapshot import Reason
from fleetscan.planner.facts import FACTS
from fleetscan.planner.plan import Answer, Answered, Failed, Statement
from fleetscan.transport.credentials import Credentials
from fleetscan.transport.known_hosts import fingerprint
from fleetscan.transport.ssh import SshTransport
from tests.doubles.fault_server import raw_server
from tests.doubles.shell import ROWS
from tests.patience import LONG, given_time

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.model.host import Host
    from tests.engines.conftest import Faults

ALL = Statement(id="all", sql="SELECT key, name, type, data FROM registry WHERE type <> 'subkey'")
BROKEN = Statement(id="broken", sql="SELECT missing FROM registry")
ACCENT = Statement(id="accent", sql="SELECT data FROM registry WHERE name = 'ünïcødé'")
EXPECTED = Answered(tuple(dict(zip(("key", "name", "type", "data"), row, strict=True)) for row in ROWS))


def ask(
    host: Host, *statements: Statement, seconds: float = LONG, engine: OsqueryiEngine | None = None
) -> list[Answer]:
    engine = engine or OsqueryiEngine()
    answers = engine.ask(host, statements or (ALL,), deadline=time.monotonic() + seconds)
    return [answers.answers[statement.id] for statement in statements or (ALL,)]


def reason(answer: Answer) -> Reason | None:
    return answer.reason if isinstance(answer, Failed) else None


@pytest.mark.parametrize("user", ["good", "noisy"])
def test_rows_that_are_hard_to_carry_arrive_whole(faults: Faults, user: str) -> None:
    assert ask(faults.host(user)) == [EXPECTED]


def test_a_broken_statement_leaves_the_others(faults: Faults) -> None:
    answers = ask(faults.host("good"), ALL, BROKEN, ACCENT)
    assert answers[0] == EXPECTED
    assert answers[1] == Failed(Reason.OSQUERY_ERROR, "no such column: missing")
    assert answers[2] == Answered(({"data": "日本語 😀"},))


def test_no_sql_is_ever_on_the_command_line(faults: Faults) -> None:
    ask(faults.host("good"))
    assert not any("SELECT" in command for command in faults.server.log.commands)
    assert any("--flagfile= --config_path=" in command for command in faults.server.log.commands)


def test_version_server_and_shell_are_noted(faults: Faults) -> None:
    notes = dict(OsqueryiEngine().ask(faults.host("good"), [ALL], deadline=time.monotonic() + LONG).notes)
    assert notes["osquery_version"] == "5.23.1"
    assert notes["account"] == "good"
    assert "AsyncSSH" in notes["ssh_server"]


def test_what_is_noted_of_an_unchanged_host_does_not_change(faults: Faults) -> None:
    """Neither the number of the process nor the time in what osquery logs: facts are kept by content."""
    engine = OsqueryiEngine()
    first, second = (engine.ask(faults.host("noisy"), [ALL], deadline=time.monotonic() + LONG).notes for _ in range(2))
    assert first == second
    assert dict(first)["stderr"] == "W flags.cpp:7] odd"


def test_who_asks_is_told_by_osquery_about_its_own_process(faults: Faults) -> None:
    scanner = Statement(id="facts-scanner", sql=FACTS["facts-scanner"])
    assert ask(faults.host("good"), scanner) == [Answered(({"uid": "18", "euid": "-1", "elevated_token": "1"},))]


FAULTS = {
    "refused": Reason.AUTH,
    "cut": Reason.TRUNCATED,
    "dies": Reason.TRUNCATED,
    "other_nonce": Reason.PROTOCOL,
    "other_nonce_fails": Reason.PROTOCOL,
    "other_nonce_later": Reason.PROTOCOL,
    "other_nonce_breaks": Reason.PROTOCOL,
    "no_markers": Reason.PROTOCOL,
    "only_complaints": Reason.PROTOCOL,
    "not_json": Reason.PROTOCOL,
    "not_utf8": Reason.PROTOCOL,
    "mangled": Reason.PROTOCOL,
    "no_osquery": Reason.NO_OSQUERY,
    "loud_without_osquery": Reason.NO_OSQUERY,
    "another_program": Reason.PROTOCOL,
    "endless": Reason.TOO_LARGE,
}


@pytest.mark.parametrize(("user", "expected"), FAULTS.items())
def test_each_fault_has_its_reason(faults: Faults, user: str, expected: Reason) -> None:
    engine = OsqueryiEngine(max_bytes=4 * 1024 * 1024)
    assert reason(ask(faults.host(user), engine=engine)[0]) == expected


@pytest.mark.parametrize("user", ["silent", "deaf", "half_closed", "hang_auth", "endless_errors"])
def test_a_host_that_hangs_is_left_at_its_deadline(faults: Faults, user: str) -> None:
    began = time.monotonic()
    assert reason(ask(faults.host(user), seconds=1.0)[0]) == Reason.DEADLINE
    assert time.monotonic() - began < LONG


def test_what_was_answered_before_a_hang_is_kept(faults: Faults) -> None:
    many = [ALL, *(Statement(id=f"q{n}", sql=ALL.sql) for n in range(20))]
    answers = given_time(
        lambda seconds: ask(faults.host("deaf"), *many, seconds=seconds),
        lambda answers: isinstance(answers[0], Answered),
        seconds=1.5,
    )
    assert answers[0] == EXPECTED
    assert reason(answers[-1]) == Reason.DEADLINE


def pinned(faults: Faults, name: str, *, key: str = "") -> dict[str, str]:
    """The setting of a file that pins the server's key, or another one, for one name."""
    path = faults.folder / f"known_{name.strip('[]').replace(':', '_')}"
    path.write_text(f"{name} {key or faults.server.host_key}\n")
    return {"known_hosts": str(path)}


@pytest.fixture(params=["pinned", "unknown"])
def is_pinned(request: pytest.FixtureRequest) -> bool:
    """A host that cannot be reached says why, whether or not its key was ever pinned."""
    return bool(request.param == "pinned")


@pytest.mark.parametrize(
    ("hello", "then", "expected"),
    [
        (b"", "wait", Reason.TIMEOUT),
        (b"SSH-2.0-OpenSSH_for_Windows_9.5\r\n", "wait", Reason.TIMEOUT),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "close", Reason.CONNECTION),
        (b"", "close", Reason.CONNECTION),
        (b"SSH-2.0-x\r\n", "close", Reason.CONNECTION),
    ],
    ids=["no banner", "no key exchange", "not SSH", "hangs up", "hangs up after its banner"],
)
def test_servers_that_never_come_to_the_point(
    faults: Faults, *, is_pinned: bool, hello: bytes, then: str, expected: Reason
) -> None:
    with raw_server(hello, close=then == "close") as port:
        pins = pinned(faults, f"[127.0.0.1]:{port if is_pinned else 1}")
        limit = 1.0 if then == "wait" else LONG
        assert reason(ask(faults.host("x", port=port, connect_timeout=limit, **pins))[0]) == expected


def test_a_port_where_nobody_listens_is_refused(faults: Faults, *, is_pinned: bool) -> None:
    pins = pinned(faults, "[127.0.0.1]:1" if is_pinned else "another")
    assert reason(ask(faults.host("x", port=1, **pins))[0]) == Reason.REFUSED


def test_a_name_that_does_not_resolve_is_a_matter_of_dns(faults: Faults, *, is_pinned: bool) -> None:
    pins = pinned(faults, "no-such-host.invalid" if is_pinned else "another")
    assert reason(ask(faults.host("x", address="no-such-host.invalid", port=22, **pins))[0]) == Reason.DNS


OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBvKJLaNSmiWFHRrOYDLd8dHcPYzq5lVqTQcGhuBgpf2"


@pytest.mark.parametrize(
    ("lines", "expected", "words", "way_out"),
    [
        ("", Reason.HOST_KEY_UNKNOWN, "its host key is not pinned, it shows {shown} ", "fleetscan hosts trust"),
        ("{name} {other}", Reason.HOST_KEY_CHANGED, "its host key changed, it shows {shown} ", "find out why"),
        ("{name} {key}\n@revoked * {key}", Reason.HOST_KEY_REVOKED, "shows the revoked key {shown} ", "find out why"),
        ("@revoked * {key}", Reason.HOST_KEY_REVOKED, "shows the revoked key {shown} ", "find out why"),
        ("old-name {key}", Reason.HOST_KEY_UNKNOWN, "it shows {shown}, which is pinned for old-name (", "hosts trust"),
        ("a {key}\nb,c {key}", Reason.HOST_KEY_UNKNOWN, "{shown}, which is pinned for a and 2 more (", "hosts trust"),
        (
            "127.0.0.1 {key}",
            Reason.HOST_KEY_UNKNOWN,
            "it shows {shown}, which is pinned for 127.0.0.1 (",
            "hosts trust",
        ),
    ],
    ids=["unknown", "changed", "revoked", "revoked and never pinned", "moved", "shared", "pinned for another port"],
)
def test_an_untrusted_key_is_told_and_nobody_logs_in(
    faults: Faults, tmp_path: Path, lines: str, expected: Reason, words: str, way_out: str
) -> None:
    """The server sees a key exchange and a hang-up: no user, no key, no password."""
    name, key = f"[127.0.0.1]:{faults.server.port}", faults.server.host_key
    (tmp_path / "pins").write_text(lines.format(name=name, key=key, other=OTHER_KEY))
    log = faults.server.log
    before = len(log.logins), len(log.commands)
    connected = len(log.connections)
    host = faults.host(
        "password", known_hosts=str(tmp_path / "pins"), identity_file=None, password_env="FLEET_PASSWORD"
    )
    engine = OsqueryiEngine(SshTransport(Credentials({"FLEET_PASSWORD": "correct horse"})))
    answer = ask(host, engine=engine)[0]
    assert isinstance(answer, Failed)
    assert answer.reason is expected
    assert words.format(shown=f"ssh-ed25519 {fingerprint(base64.b64decode(key.split()[1]))}") in answer.detail
    assert way_out in answer.detail
    assert len(log.connections) == connected + 1
    assert (len(log.logins), len(log.commands)) == before


def test_no_passphrase_is_asked_for_before_the_host_is_trusted(faults: Faults, tmp_path: Path) -> None:
    asked: list[str] = []

    def prompt(text: str) -> str:
        asked.append(text)
        return ""

    host = faults.host("good", known_hosts=str(tmp_path / "none"), identity_file=str(tmp_path / "no-such-key"))
    answer = ask(host, engine=OsqueryiEngine(SshTransport(Credentials({}, ask=prompt))))[0]
    assert (reason(answer), asked) == (Reason.HOST_KEY_UNKNOWN, [])


def test_a_password_comes_from_the_named_variable_only_and_is_never_shown(faults: Faults) -> None:
    secret = "correct horse"
    credentials = Credentials({"FLEET_PASSWORD": secret, "WRONG": "battery staple"})
    engine = OsqueryiEngine(SshTransport(credentials))
    assert ask(faults.host("password", identity_file=None, password_env="FLEET_PASSWORD"), engine=engine) == [EXPECTED]
    wrong = ask(faults.host("password", identity_file=None, password_env="WRONG"), engine=engine)[0]
    unset = ask(faults.host("password", identity_file=None, password_env="UNSET"), engine=engine)[0]
    assert (reason(wrong), reason(unset)) == (Reason.AUTH, Reason.AUTH)
    shown = f"{wrong} {unset} {credentials!r}"
    assert secret not in shown
    assert "battery staple" not in shown


@pytest.mark.parametrize(
    ("user", "path"),
    [
        ("cmd", ""),
        ("powershell", ""),
        ("posix", ""),
        ("cmd", r"C:\PROGRA~1\osquery\osqueryi.exe"),
        ("powershell", r"C:\PROGRA~1\osquery\osqueryi.exe"),
        ("posix", "/opt/os query/it's/osqueryi"),
    ],
)
def test_the_login_shell_is_found_out_and_paths_with_blanks_work(faults: Faults, user: str, path: str) -> None:
    assert ask(faults.host(user, osqueryi=path)) == [EXPECTED]


@pytest.mark.parametrize(
    ("answer", "shell"),
    [
        (b"banner\r\nfleetscan-Windows_NT-$0-$PSHOME-end\r\n", "cmd"),
        (b"fleetscan-%OS%--C:\\Program Files\\PowerShell\\7-end\r\n", "powershell"),
        (b"fleetscan-%OS%--bash--end\n", "sh"),
        (b"fleetscan-%OS%-zsh--end\n", "sh"),
        (b"", "sh"),
    ],
)
def test_shells_by_their_answer_to_the_probe(answer: bytes, shell: str) -> None:
    assert shell_of(answer) == shell


def test_a_quote_in_a_path_cannot_start_another_command() -> None:
    assert command_line("a b'; reboot '", "sh").startswith("exec 'a b'\\''; reboot '\\''' ")
    assert command_line("a b'; reboot '", "powershell").startswith("& 'a b''; reboot ''' ")
    assert command_line('a b" & reboot "', "cmd").startswith('"a b & reboot " ')


def test_a_request_to_stop_ends_a_running_session(faults: Faults) -> None:
    engine = OsqueryiEngine()
    threading.Timer(0.5, engine.stop).start()
    assert reason(ask(faults.host("silent"), engine=engine)[0]) == Reason.CANCELLED
