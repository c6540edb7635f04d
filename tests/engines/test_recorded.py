"""Recordings: what was recorded is replayed, and what was changed since, or has another form, is not believed."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscan.engines.named import engine_named
from fleetscan.engines.recorded import RecordedEngine, Recorder, recording_of
from fleetscan.model.host import Host, HostId
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answered, Failed, Statement

if TYPE_CHECKING:
    from fleetscan.engines.interface import Answers

EXPORT = Path(__file__).parents[2] / "inventory" / "demo" / "base-server-2022.reg"
STATEMENTS = [
    Statement(id="one", sql="SELECT name FROM registry WHERE key = 'HKEY_LOCAL_MACHINE\\SYSTEM\\Select'"),
    Statement(id="bad", sql="SELECT nothing FROM registry"),
    Statement(id="two", sql="SELECT 'ü 😀' AS text"),
]
NAME = HostId("srv/../1")


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """The file of one recorded host: a line about it, and one for each statement."""
    host = Host(id=NAME, engine="embedded", settings=MappingProxyType({"hives": str(EXPORT)}))
    Recorder(tmp_path / "tape", engine_named)("embedded").ask(host, STATEMENTS)
    path = recording_of(tmp_path / "tape", NAME)
    assert len(path.read_text().splitlines()) == 1 + len(STATEMENTS)
    assert path.parent == tmp_path / "tape"
    return path


def replayed(tape: Path) -> Answers:
    host = Host(id=NAME, engine="recorded", settings=MappingProxyType({"recording": str(tape.parent)}))
    return RecordedEngine().ask(host, STATEMENTS)


def refused(tape: Path) -> Failed:
    """The one reason why nothing of the recording is believed."""
    answers = set(replayed(tape).answers.values())
    assert len(answers) == 1
    [failed] = answers
    assert isinstance(failed, Failed)
    assert failed.reason is Reason.UNREADABLE
    return failed


def test_what_was_recorded_is_replayed(tape: Path) -> None:
    answers = replayed(tape)
    assert isinstance(answers.answers["one"], Answered)
    assert len(answers.answers["one"].rows) > 1
    assert answers.answers["two"] == Answered(({"text": "ü 😀"},))
    assert isinstance(answers.answers["bad"], Failed)
    assert {raw.statement_id for raw in answers.raw} >= {"one", "two"}


@pytest.mark.parametrize(
    ("number", "old", "new"),
    [(1, "srv", "SRV"), (2, "Current", "current"), (3, "osquery error", "denylisted"), (4, "\\ud83d", "\\ud83e")],
    ids=["host", "a row", "a reason", "half a character"],
)
def test_a_line_that_was_changed_by_hand_is_named(tape: Path, number: int, old: str, new: str) -> None:
    lines = tape.read_text().splitlines()
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new, 1)
    tape.write_text("\n".join(lines) + "\n")
    assert f"{tape}:{number}: changed since it was recorded" in refused(tape).detail


def test_a_line_that_is_missing_or_moved_is_noticed(tape: Path) -> None:
    lines = tape.read_text().splitlines()
    tape.write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    assert f"{tape}:2: changed since it was recorded, or a line before it is missing" in refused(tape).detail
    tape.write_text("\n".join([lines[0], lines[2], lines[1], lines[3]]) + "\n")
    refused(tape)


def test_a_recording_without_its_end_answers_what_it_holds(tape: Path) -> None:
    tape.write_text("\n".join(tape.read_text().splitlines()[:-1]) + "\n")
    answers = replayed(tape).answers
    assert isinstance(answers["one"], Answered)
    assert answers["two"] == Failed(Reason.NOT_ASKED, "not in the recording")


@pytest.mark.parametrize(
    ("form", "says"), [(None, "by an early version"), (0, "by an early version"), (2, "newer"), ("x", "newer")]
)
def test_recordings_of_another_form_say_so(tape: Path, form: object, says: str) -> None:
    first, *rest = tape.read_text().splitlines()
    line = json.loads(first)
    line["format"] = form
    if form is None:
        del line["format"]
    tape.write_text("\n".join([json.dumps(line), *rest]) + "\n")
    assert refused(tape).detail.startswith(f"{tape}:1: recorded ")
    assert says in refused(tape).detail
    assert "(try: " in refused(tape).detail


@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_one_changed_byte_is_never_another_answer(
    tmp_path_factory: pytest.TempPathFactory, place: float, byte: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "mutated"
    host = Host(id=NAME, engine="embedded", settings=MappingProxyType({"hives": str(EXPORT)}))
    path = recording_of(folder, NAME)
    if not path.exists():
        Recorder(folder, engine_named)("embedded").ask(host, STATEMENTS)
        path.with_suffix(".kept").write_bytes(path.read_bytes())
    content = bytearray(path.with_suffix(".kept").read_bytes())
    path.write_bytes(content)
    whole = replayed(path).answers
    content[int(place * len(content))] = byte
    path.write_bytes(content)
    for name, answer in replayed(path).answers.items():
        assert answer == whole[name] or isinstance(answer, Failed)


def test_a_host_that_is_asked_again_is_recorded_again(tape: Path, tmp_path: Path) -> None:
    host = Host(id=NAME, engine="embedded", settings=MappingProxyType({"hives": str(EXPORT)}))
    engine = Recorder(tmp_path / "tape", engine_named)("embedded")
    engine.ask(host, STATEMENTS[:1])
    engine.ask(host, STATEMENTS[2:])
    answers = replayed(tape).answers
    assert isinstance(answers["one"], Answered)
    assert isinstance(answers["two"], Answered)
    assert answers["bad"] == Failed(Reason.NOT_ASKED, "not in the recording")
