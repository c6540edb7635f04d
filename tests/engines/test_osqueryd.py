"""osqueryd over its extension socket: real Thrift, and an empty answer is told from a refused one."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from fleetscan.engines.osqueryd import OsquerydEngine
from fleetscan.model.host import Host, HostId
from fleetscan.model.snapshot import Reason
from fleetscan.planner.facts import FACTS, host_facts
from fleetscan.planner.plan import Answer, Answered, Failed, Statement
from tests.doubles import win32
from tests.doubles.osqueryd import HangUpError, manager
from tests.doubles.shell import ROWS, RefusalError, answer_rows
from tests.patience import LONG, given_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ALL = Statement(id="all", sql="SELECT key, name, type, data FROM registry WHERE type <> 'subkey'")
NONE = Statement(id="none", sql="SELECT key FROM registry WHERE key = 'nowhere'")
DENIED = Statement(id="denied", sql="SELECT 'denied'")
BROKEN = Statement(id="broken", sql="SELECT missing FROM registry")
KILLER = Statement(id="killer", sql="SELECT 'killer'")
SLOW = Statement(id="slow", sql="SELECT 'slow'")
LARGE = Statement(id="large", sql="SELECT 'large'")


def daemon(sql: str) -> Sequence[Mapping[str, str]]:
    """Answers as osqueryd with a watchdog."""
    match sql:
        case DENIED.sql:
            raise RefusalError("distributed query is denylisted")
        case KILLER.sql:
            raise HangUpError
        case LARGE.sql:
            return [{"data": "x" * 1000}] * 2000
        case _:
            return answer_rows(sql)


@contextmanager
def slow_daemon(
    path: Path, meanwhile: Callable[[], None] = lambda: None, *, seconds: float = 2 * LONG
) -> Iterator[Path]:
    """One that works on SLOW for longer than anybody waits; ``meanwhile`` is called once it does."""
    let_go = threading.Event()

    def answer(sql: str) -> Sequence[Mapping[str, str]]:
        if sql == SLOW.sql:
            meanwhile()
            let_go.wait(seconds)
        return daemon(sql)

    with manager(path, answer) as found:
        try:
            yield found
        finally:
            let_go.set()


def ask(
    path: Path, *statements: Statement, seconds: float = LONG, engine: OsquerydEngine | None = None
) -> list[Answer]:
    host = Host(id=HostId("local"), engine="osqueryd", settings=MappingProxyType({"socket": str(path)}))
    answers = (engine or OsquerydEngine()).ask(host, statements, deadline=time.monotonic() + seconds).answers
    return [answers[statement.id] for statement in statements]


def reasons(answers: Sequence[Answer]) -> list[Reason | None]:
    return [answer.reason if isinstance(answer, Failed) else None for answer in answers]


def test_who_asks_is_told_by_the_daemon_about_its_own_process(tmp_path: Path) -> None:
    scanner = Statement(id="facts-scanner", sql=FACTS["facts-scanner"])
    with manager(tmp_path / "em", daemon) as path:
        [answer] = ask(path, scanner)
    assert isinstance(answer, Answered)
    facts = host_facts(lambda name: answer.rows if name == scanner.id else [])
    assert dict(facts.extra) == {"account": "SYSTEM", "account_id": "18", "elevated": "yes"}


def test_rows_that_are_hard_to_carry_arrive_whole(tmp_path: Path) -> None:
    with manager(tmp_path / "em", daemon) as path:
        [answer] = ask(path, ALL)
    assert answer == Answered(tuple(dict(zip(("key", "name", "type", "data"), row, strict=True)) for row in ROWS))


def test_denied_broken_and_empty_are_three_different_answers(tmp_path: Path) -> None:
    with manager(tmp_path / "em", daemon) as path:
        denied, broken, none = ask(path, DENIED, BROKEN, NONE)
    assert denied == Failed(Reason.DENYLISTED, "distributed query is denylisted")
    assert broken == Failed(Reason.OSQUERY_ERROR, "no such column: missing")
    assert none == Answered(())


def test_the_version_is_asked_first_and_noted(tmp_path: Path) -> None:
    host = Host(id=HostId("local"), engine="osqueryd", settings=MappingProxyType({"socket": str(tmp_path / "em")}))
    with manager(tmp_path / "em", daemon):
        answers = OsquerydEngine().ask(host, [NONE], deadline=time.monotonic() + LONG)
    assert dict(answers.notes) == {"osquery_version": "5.23.1", "osquery_build": "double"}
    assert [raw.content for raw in answers.raw] == [b"[]"]


def test_a_worker_ended_by_its_watchdog_fails_that_statement_only(tmp_path: Path) -> None:
    with manager(tmp_path / "em", daemon) as path:
        assert reasons(ask(path, NONE, KILLER, ALL)) == [None, Reason.OSQUERY_ERROR, None]


def test_a_daemon_that_hangs_up_twice_is_left_alone(tmp_path: Path) -> None:
    with manager(tmp_path / "em", daemon) as path:
        found = reasons(ask(path, KILLER, KILLER, ALL))
    assert found == [Reason.OSQUERY_ERROR, Reason.OSQUERY_ERROR, Reason.NOT_ASKED]


def test_a_slow_daemon_is_left_at_the_deadline(tmp_path: Path) -> None:
    with slow_daemon(tmp_path / "em") as path:
        found = given_time(
            lambda seconds: reasons(ask(path, NONE, SLOW, ALL, seconds=seconds)),
            lambda found: found[0] is None,
            seconds=0.5,
        )
    assert found == [None, Reason.DEADLINE, Reason.DEADLINE]


def test_answers_are_bounded_in_bytes(tmp_path: Path) -> None:
    with manager(tmp_path / "em", daemon) as path:
        found = reasons(ask(path, NONE, LARGE, ALL, engine=OsquerydEngine(max_bytes=1_000_000)))
    assert found == [None, Reason.TOO_LARGE, Reason.TOO_LARGE]


def test_stop_ends_a_query_at_once(tmp_path: Path) -> None:
    engine = OsquerydEngine()
    with slow_daemon(tmp_path / "em", engine.stop) as path:
        assert reasons(ask(path, SLOW, ALL, engine=engine)) == [Reason.CANCELLED, Reason.CANCELLED]


def test_no_socket_means_no_osquery(tmp_path: Path) -> None:
    assert reasons(ask(tmp_path / "none", ALL)) == [Reason.NO_OSQUERY]


def test_a_socket_nobody_listens_on_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "em"))
    assert reasons(ask(tmp_path / "em", ALL)) == [Reason.REFUSED]


def test_a_file_that_is_no_socket_means_no_osquery(tmp_path: Path) -> None:
    (tmp_path / "em").touch()
    assert reasons(ask(tmp_path / "em", ALL)) == [Reason.NO_OSQUERY]


@pytest.mark.parametrize("noise", [b"HTTP/1.1 200 OK\r\n\r\n", b"\x80\x01\x00\x02\x00\x00\x00\x05query", b"\xff" * 64])
def test_what_is_not_thrift_is_a_failure_with_a_reason(tmp_path: Path, noise: bytes) -> None:
    with manager(tmp_path / "em", daemon, greeting=noise) as path:
        found = reasons(ask(path, ALL, seconds=2.0))
    assert found[0] in (Reason.PROTOCOL, Reason.OSQUERY_ERROR, Reason.TOO_LARGE, Reason.DEADLINE, Reason.NOT_ASKED)


def test_a_named_pipe_is_asked_as_a_socket_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = win32.install(monkeypatch, tmp_path)
    pipe = Path(win32.PREFIX + "osquery.em")
    with slow_daemon(tmp_path / "osquery.em", seconds=2.0):  # reading from a pipe cannot be broken off
        pipes.busy = 2
        answers = ask(pipe, ALL, DENIED, NONE, BROKEN)
        assert answers[0] == Answered(
            tuple(dict(zip(("key", "name", "type", "data"), row, strict=True)) for row in ROWS)
        )
        assert reasons(answers) == [None, Reason.DENYLISTED, None, Reason.OSQUERY_ERROR]
        assert reasons(ask(pipe, KILLER, ALL)) == [Reason.OSQUERY_ERROR, None]
        assert reasons(ask(pipe, LARGE, engine=OsquerydEngine(max_bytes=500_000))) == [Reason.TOO_LARGE]
        assert reasons(ask(pipe, SLOW, ALL, seconds=1.0))[1] == Reason.DEADLINE


def test_no_pipe_means_no_osquery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    win32.install(monkeypatch, tmp_path)
    [answer] = ask(Path(win32.PREFIX + "osquery.em"), ALL)
    assert isinstance(answer, Failed)
    assert answer.reason is Reason.NO_OSQUERY
    assert "is osqueryd running" in answer.detail
