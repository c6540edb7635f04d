"""What every engine promises, asked of all of them on the same registry."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from fleetscan.engines.embedded import EmbeddedEngine
from fleetscan.engines.osqueryd import OsquerydEngine
from fleetscan.engines.osqueryi import OsqueryiEngine
from fleetscan.engines.recorded import RecordedEngine, Recorder
from fleetscan.inventory import load_inventory
from fleetscan.model.host import Host, HostId
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answered, Failed, Statement
from fleetscan.transport.credentials import Credentials
from fleetscan.transport.ssh import SshTransport
from tests.doubles.osqueryd import manager
from tests.doubles.shell import RefusalError
from tests.patience import LONG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fleetscan.engines.interface import Answers, Engine
    from tests.doubles.sshd import Fleet

KEY = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Fleet"
VALUES = Statement(
    id="values", sql=f"SELECT r.name AS name, r.type AS type, r.data AS data FROM registry r WHERE r.key = '{KEY}'"
)
SUBKEYS = Statement(id="subkeys", sql="SELECT r.name AS name FROM registry r WHERE r.key = 'HKEY_LOCAL_MACHINE'")
NONE = Statement(id="none", sql=f"SELECT r.name AS name FROM registry r WHERE r.key = '{KEY}\\Nowhere'")
BROKEN = Statement(id="broken", sql="SELECT missing FROM registry WHERE key = 'x'")
ALL = (VALUES, SUBKEYS, NONE, BROKEN)


@dataclass(frozen=True, slots=True)
class Subject:
    """An engine, a host that it reaches, and one that it does not."""

    engine: Engine
    host: Host
    nobody: Host

    def ask(self, *statements: Statement, seconds: float = 2 * LONG) -> Answers:
        return self.engine.ask(self.host, statements, deadline=time.monotonic() + seconds)


def host(engine: str, **settings: str) -> Host:
    return Host(id=HostId("ws1"), engine=engine, settings=MappingProxyType(settings))


def embedded(export: Path) -> Subject:
    return Subject(
        EmbeddedEngine(), host("embedded", hives=str(export)), host("embedded", hives=str(export / "nowhere"))
    )


def recorded(export: Path, folder: Path) -> Subject:
    original = embedded(export)
    Recorder(folder, lambda _: original.engine)("embedded").ask(original.host, ALL)
    [replayed] = load_inventory(folder / "inventory.yml", {})
    return Subject(RecordedEngine(), replayed, host("recorded", recording=str(folder / "nowhere")))


def osqueryd(export: Path, folder: Path, stack: ExitStack) -> Subject:
    behind = embedded(export)

    def answer(sql: str) -> Sequence[Mapping[str, str]]:
        statement = Statement(id="q", sql=sql)
        given = behind.engine.ask(behind.host, [statement]).answers["q"]
        if isinstance(given, Failed):
            raise RefusalError(given.detail)
        return given.rows

    path = stack.enter_context(manager(folder / "em", answer))
    return Subject(OsquerydEngine(), host("osqueryd", socket=str(path)), host("osqueryd", socket=str(folder / "none")))


def osqueryi(fleet: Fleet) -> Subject:
    transport = SshTransport(Credentials({}))
    nobody = fleet.host("127.0.0.99")
    return Subject(OsqueryiEngine(transport), fleet.host(fleet.addresses[0]), nobody)


@pytest.fixture(
    params=["embedded", "recorded", "osqueryd", pytest.param("osqueryi", marks=pytest.mark.live)],
)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Each engine over the same export."""
    fleet: Fleet = request.getfixturevalue("ssh_fleet")
    [export] = sorted((fleet.folder / "hives" / fleet.addresses[0]).iterdir())
    with ExitStack() as stack:
        match request.param:
            case "embedded":
                yield embedded(export)
            case "recorded":
                yield recorded(export, tmp_path)
            case "osqueryd":
                yield osqueryd(export, tmp_path, stack)
            case _:
                yield osqueryi(fleet)


def test_every_statement_has_one_answer_and_a_broken_one_leaves_the_others(subject: Subject) -> None:
    answers = subject.ask(*ALL).answers
    assert isinstance(answers["values"], Answered)
    assert list(answers["values"].rows) == [
        {"name": "Name", "type": "REG_SZ", "data": "Rechner ü 127.0.0.11"},
        {"name": "Odd", "type": "REG_SZ", "data": '😀 \x1b[31m"\\ \u202e'},
    ]
    assert isinstance(answers["subkeys"], Answered)
    assert {"name": "SOFTWARE"} in answers["subkeys"].rows
    assert isinstance(answers["none"], Answered)
    assert not answers["none"].rows
    assert isinstance(answers["broken"], Failed)
    assert answers["broken"].reason == Reason.OSQUERY_ERROR
    assert set(answers) == {statement.id for statement in ALL}


def test_the_bytes_of_every_answer_are_kept_with_their_hash(subject: Subject) -> None:
    given = subject.ask(*ALL)
    answered = [name for name, answer in given.answers.items() if isinstance(answer, Answered)]
    assert [raw.statement_id for raw in given.raw if raw.statement_id in answered] == answered
    assert all(hashlib.sha256(raw.content).hexdigest() == raw.sha256 for raw in given.raw)


def test_no_statements_are_no_answers(subject: Subject) -> None:
    assert subject.ask().answers == {}


def test_a_host_that_is_not_there_fails_every_statement_with_one_reason(subject: Subject) -> None:
    answers = subject.engine.ask(subject.nobody, ALL, deadline=time.monotonic() + LONG).answers
    assert set(answers) == {statement.id for statement in ALL}
    assert len({answer.reason for answer in answers.values() if isinstance(answer, Failed)}) == 1


def test_a_deadline_that_has_passed_is_kept(subject: Subject) -> None:
    began = time.monotonic()
    answers = subject.ask(*ALL, seconds=-1.0).answers
    assert time.monotonic() - began < LONG
    if not isinstance(subject.engine, RecordedEngine):  # its answers are there already
        assert {answer.reason for answer in answers.values() if isinstance(answer, Failed)} == {Reason.DEADLINE}


def test_many_threads_may_ask_at_once(subject: Subject) -> None:
    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(lambda _: subject.ask(VALUES, NONE).answers, range(8)))
    assert all(answers == given[0] for answers in given)
    assert isinstance(given[0]["values"], Answered)
