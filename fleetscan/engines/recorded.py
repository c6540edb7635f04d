"""The engine ``recorded``: answers of an earlier sweep, replayed; and the recorder that writes them.

A recording is a folder: one JSON Lines file per host, and an inventory that replays it. One line per answer, with the
bytes as the host gave them; what is asked later is answered only if the same SQL was recorded. Every line is sealed
with the hash of what stands before it, so that a recording changed by hand is not taken for what a host said.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fleetscan.engines.framing import parse_rows
from fleetscan.engines.interface import Answers, Stoppable
from fleetscan.errors import HostError, Place, SettingsError
from fleetscan.model.snapshot import BlindSpot, RawAnswer, Reason
from fleetscan.planner.plan import Answered, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fleetscan.engines.interface import Engine
    from fleetscan.model.host import Host, HostId
    from fleetscan.planner.plan import Answer, Statement

INVENTORY = "inventory.yml"
_HEADER = """# Written by fleetscan sweep --record; replay with: fleetscan sweep -i inventory.yml
vars: {engine: recorded, recording: .}
hosts:
"""
_ELSEWHERE = "another folder for --record"
_FORMAT = 1
_SEAL = "seal"
_MAX_BYTES = 512 * 1024 * 1024


def recording_of(folder: Path, host: HostId) -> Path:
    """The file of a host in a recording."""
    return folder / f"{quote(host, safe='')}.jsonl"


def _key(statement: Statement) -> str:
    return hashlib.sha256(statement.sql.encode("utf-8", "surrogatepass")).hexdigest()


class Recorder:
    """Wraps ``engine_named`` so that every answer is written to a folder as it comes."""

    def __init__(self, folder: Path, engine_named: Callable[[str], Engine], *, go_on: bool = False) -> None:
        """Write to ``folder``, made if it is absent; ``go_on`` keeps the hosts that a recording there has already."""
        self.folder = folder
        self.problem = ""
        """Why the recording is not complete: the first answer that could not be written; nothing is, after it."""
        self._engine_named = engine_named
        self._lock = threading.Lock()
        self._seals: dict[str, str] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._listed = set(_listed(folder / INVENTORY))
            if not (go_on and self._listed):
                self._listed = set()
                (folder / INVENTORY).write_text(_HEADER, encoding="utf-8")
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise SettingsError(f"cannot record here: {reason}", where=Place(str(folder)), hint=_ELSEWHERE) from error

    def __call__(self, name: str) -> Engine:
        """The engine of that name, recorded."""
        return _Recording(self._engine_named(name), self)

    def write(self, host: Host, statements: Sequence[Statement], answers: Answers) -> None:
        """Append what one ask gave; the first time in this sweep, what stood there before is dropped.

        A disk that is full ends the recording, and not the sweep: what hosts said is stored all the same.
        """
        lines = tuple(_lines(host, statements, answers))
        with self._lock:
            if self.problem:
                return
            try:
                self._append(host, lines)
            except OSError as error:
                self.problem = f"{host.id}: {error.strerror or error}"

    def _append(self, host: Host, lines: Sequence[dict[str, Any]]) -> None:
        before = self._seals.get(host.id, "")
        with recording_of(self.folder, host.id).open("a" if before else "w", encoding="utf-8") as file:
            for line in lines:
                self._seals[host.id] = seal = _seal(line, self._seals.get(host.id, ""))
                file.write(f"{json.dumps({**line, _SEAL: seal})}\n")
        if host.id not in self._listed:
            self._listed.add(host.id)
            with (self.folder / INVENTORY).open("a", encoding="utf-8") as file:
                file.write(f"  {json.dumps(host.id, ensure_ascii=False)}:\n")


def _listed(inventory: Path) -> Iterator[str]:
    """The hosts that the inventory of a recording names. Raises SettingsError for a file that no recorder wrote."""
    text = inventory.read_text(encoding="utf-8") if inventory.exists() else ""
    what = "this inventory is none of a recording, and --record would overwrite it"
    foreign = SettingsError(what, where=Place(str(inventory)), hint=_ELSEWHERE)
    if text and not text.startswith(_HEADER):
        raise foreign
    try:
        for line in text.removeprefix(_HEADER).splitlines():
            yield str(json.loads(line.strip().removesuffix(":")))
    except ValueError as error:
        raise foreign from error


class _Recording:
    """One engine, recorded."""

    def __init__(self, engine: Engine, recorder: Recorder) -> None:
        self._engine = engine
        self._recorder = recorder

    def ask(self, host: Host, statements: Sequence[Statement], *, deadline: float | None = None) -> Answers:
        """See Engine.ask."""
        answers = self._engine.ask(host, statements, deadline=deadline)
        self._recorder.write(host, statements, answers)
        return answers

    def stop(self) -> None:
        """See Stoppable.stop."""
        if isinstance(self._engine, Stoppable):
            self._engine.stop()


def _lines(host: Host, statements: Sequence[Statement], answers: Answers) -> Iterator[dict[str, Any]]:
    yield {
        "format": _FORMAT,
        "host": host.id,
        "notes": list(map(list, answers.notes)),
        "missing": list(answers.missing),
        "parts": list(answers.parts),
        "damages": list(map(list, answers.damages)),
        "blind_spots": [[spot.kind, spot.key, spot.detail] for spot in answers.blind_spots],
    }
    contents = {raw.statement_id: raw.content for raw in answers.raw}
    for statement in statements:
        line: dict[str, Any] = {"statement": statement.id, "sql_sha256": _key(statement)}
        answer = answers.answers.get(statement.id, Failed(Reason.NOT_ASKED))
        if isinstance(answer, Failed):
            yield {**line, "failed": answer.reason.value, "detail": answer.detail}
        else:
            yield {**line, **_content(contents.get(statement.id), answer)}


def _seal(line: dict[str, Any], before: str) -> str:
    """The seal of a line after the seal of the line before it."""
    return hashlib.sha256(f"{before}{json.dumps(line, sort_keys=True)}".encode()).hexdigest()


def _content(content: bytes | None, answer: Answered) -> dict[str, Any]:
    """The bytes where they say it all, the rows where they do not."""
    if content is not None:
        try:
            if parse_rows(content) == tuple(answer.rows):
                return {"raw": content.decode()}
        except ValueError:
            pass
    rows: dict[str, Any] = {"rows": [dict(row) for row in answer.rows]}
    return rows if content is None else {**rows, "raw_base64": base64.b64encode(content).decode()}


class RecordedEngine:
    """Replays a recording."""

    def ask(self, host: Host, statements: Sequence[Statement], *, deadline: float | None = None) -> Answers:  # noqa: ARG002 - a file is read at once
        """See Engine.ask. Statements that were not recorded are not asked."""
        folder = Path(str(host.settings.get("recording", "")))
        try:
            tape = _read(recording_of(folder, host.id))
        except HostError as error:
            failed = Failed(Reason.UNREADABLE, str(error))
            return Answers(answers={statement.id: failed for statement in statements})
        missing = Failed(Reason.NOT_ASKED, "not in the recording")
        answers = {statement.id: tape.answers.get(_key(statement), missing) for statement in statements}
        raw = tuple(
            RawAnswer(statement.id, hashlib.sha256(content).hexdigest(), content)
            for statement in statements
            if (content := tape.raw.get(_key(statement))) is not None
        )
        return Answers(
            answers=answers,
            raw=raw,
            blind_spots=tuple(tape.blind_spots),
            missing=tuple(tape.missing),
            parts=tuple(tape.parts),
            damages=tuple(tape.damages),
            notes=tuple(tape.notes.items()),
        )


class _Tape:
    """What one file holds; later lines replace earlier ones (a host that was asked again)."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.raw: dict[str, bytes] = {}
        self.notes: dict[str, str] = {}
        self.missing: dict[str, None] = {}
        self.parts: dict[str, None] = {}
        self.damages: dict[tuple[str, str], None] = {}
        self.blind_spots: dict[BlindSpot, None] = {}

    def take(self, line: dict[str, Any]) -> None:
        """Take one line in; raises KeyError, TypeError or ValueError for one that says something else."""
        if "host" in line:
            self.notes.update((str(name), str(text)) for name, text in line["notes"])
            self.missing.update(dict.fromkeys(map(str, line["missing"])))
            self.parts.update(dict.fromkeys(map(str, line["parts"])))
            self.damages.update(dict.fromkeys((str(key), str(what)) for key, what in line["damages"]))
            spots = (BlindSpot(str(kind), str(key), str(detail)) for kind, key, detail in line["blind_spots"])
            self.blind_spots.update(dict.fromkeys(spots))
            return
        key = str(line["sql_sha256"])
        self.raw.pop(key, None)
        if "failed" in line:
            self.answers[key] = Failed(Reason(line["failed"]), str(line["detail"]))
        elif "raw" in line:
            self.raw[key] = line["raw"].encode("utf-8", "surrogatepass")
            self.answers[key] = Answered(parse_rows(self.raw[key]))
        else:
            self.answers[key] = Answered(parse_rows(json.dumps(line["rows"]).encode()))
            if "raw_base64" in line:
                self.raw[key] = base64.b64decode(line["raw_base64"])


def _read(path: Path) -> _Tape:
    """A file as a tape. Raises HostError with the line."""
    tape = _Tape()
    number = 0
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise HostError("the recording is too large", where=str(path))
        with path.open(encoding="utf-8") as file:
            before = ""
            for number, text in enumerate(file, 1):
                line = json.loads(text)
                if number == 1:
                    _check_format(line, path)
                before = _checked(line, before, Place(str(path), number))
                tape.take(line)
    except OSError as error:
        raise HostError(f"no recording: {error.strerror}", where=str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"not a recording ({type(error).__name__})"
        raise HostError(what, where=Place(str(path), number or 1)) from error
    return tape


def _check_format(line: dict[str, Any], path: Path) -> None:
    found = line.get("format", 0)
    if found != _FORMAT:
        older = isinstance(found, int) and found < _FORMAT
        what = "recorded by an early version" if older else f"recorded in the form {found!a} of a newer version"
        raise HostError(what, where=Place(str(path), 1), hint="record again" if older else "a newer fleetscan")


def _checked(line: dict[str, Any], before: str, where: Place) -> str:
    """The seal of a line, taken from it; raises HostError if it is not that of what stands there."""
    seal = line.pop(_SEAL)
    if seal != _seal(line, before):
        raise HostError(
            "changed since it was recorded, or a line before it is missing", where=where, hint="record again"
        )
    return str(seal)


def recording(engine_named: Callable[[str], Engine], folder: Path) -> Callable[[str], Engine]:
    """``engine_named`` with every answer also written to ``folder``."""
    return Recorder(folder, engine_named)
