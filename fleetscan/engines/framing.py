"""The dialogue with an osqueryi shell: a script with random markers, and what its output proves. Pure."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sqlite3
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, TypeGuard

import msgspec

from fleetscan.model.snapshot import RawAnswer, Reason
from fleetscan.planner.plan import Answered, Failed, Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetscan.planner.plan import Answer

Rows = tuple[dict[str, str], ...]

_CANARY = "ä€あ😀\u0130"
_CANARY_SQL = f"char({', '.join(str(ord(char)) for char in _CANARY)})"

HELLO = Statement(
    id="hello", sql="SELECT i.version AS version, i.build_platform AS platform, i.pid AS pid FROM osquery_info i"
)
CANARY = Statement(id="canary", sql=f"SELECT {_CANARY_SQL} AS made, '{_CANARY}' AS sent")
"""A text made on the host and the same text sent there: does either way change what is not ASCII?"""

_ERROR_LINE = re.compile(rb"^Error: near line ([0-9]{1,9}): ?(.*?)\r?$", re.MULTILINE)
_MARKER = re.compile(rb":(begin|end)\r?\n")
_TORN = re.compile(rb"[:a-z]*\r?\Z")
_MANY = 8  # occurrences of a nonce that are looked at; two are right
_MAX_ROWS = 2_000_000  # of one answer: a row of a few bytes takes some hundred once it is parsed
_TAG = 16  # characters that the nonces of one script share, so that all are found in one pass over the output
_DECODE = msgspec.json.Decoder(list[dict[str, str]]).decode
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_DETAIL = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What is written to the shell: one line per statement, each between two lines only this script knows."""

    text: bytes
    tag: str
    """How all nonces of the script begin."""
    framed: tuple[tuple[Statement, str], ...]
    """Each statement sent, with its nonce."""
    lines: Mapping[int, str]
    """Line number to statement id."""
    refused: Mapping[str, Failed] = field(default_factory=dict)
    """Statements that cannot be sent on one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the shell's output ended: ``reason`` why statements without an end marker have none."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What an output proves: answers by statement id, their bytes, and whether any marker was seen at all."""

    answers: Mapping[str, Answer]
    raw: tuple[RawAnswer, ...] = ()
    began: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)


def write_script(statements: Sequence[Statement], draw: Callable[[int], str] = secrets.token_hex) -> Script:
    """The script that asks version and canary first, then ``statements`` in order; ``draw`` gives random bytes in hex.

    They are drawn all at once: each call into the kernel is a chance for another thread to take the interpreter.
    """
    framed: list[tuple[Statement, str]] = []
    asked = (HELLO, CANARY, *statements)
    drawn = draw(_TAG // 2 * (1 + len(asked)))
    tag = drawn[:_TAG]
    # The empty line ends whatever a profile printed without one.
    lines = [".bail off", ".print"]
    numbers: dict[int, str] = {}
    refused: dict[str, Failed] = {}
    for number, statement in enumerate(asked, 1):
        if problem := _unsendable(statement.sql):
            refused[statement.id] = Failed(Reason.OSQUERY_ERROR, problem)
            continue
        nonce = tag + drawn[number * _TAG : (number + 1) * _TAG]
        framed.append((statement, nonce))
        lines += [f".print {nonce}:begin", f"{statement.sql};", f".print {nonce}:end"]
        numbers[len(lines) - 1] = statement.id
    lines += [".exit", ""]
    return Script(tag=tag, text="\n".join(lines).encode(), framed=tuple(framed), lines=numbers, refused=refused)


@lru_cache(maxsize=1024)
def _unsendable(sql: str) -> str:
    """Why a text cannot be one line of a script; empty if it can."""
    if found := _CONTROL.search(sql):
        # A newline would move all later line numbers; 0x1A ends the input of a Windows program.
        return f"the SQL holds the control character {ord(found[0]):#04x}"
    if sql.lstrip().startswith("."):
        return "the SQL is a command of the shell"
    if not sqlite3.complete_statement(f"{sql};") or not sql.strip():
        return "incomplete SQL: a text, a bracket or a comment is not closed"
    return ""


def read_transcript(
    script: Script, stdout: bytes, stderr: bytes, ending: Ending, parse: Callable[[RawAnswer], Rows] | None = None
) -> Transcript:
    """The answers that stand between their markers; everything else of the output is noise.

    A statement is answered if both its markers stand on lines of their own, once, in order, with exactly one JSON
    array between them, and no error names its line. ``parse`` is a cache before ``parse_rows``.
    """
    errors = _errors(script, stderr)
    answers: dict[str, Answer] = dict(script.refused)
    raw: list[RawAnswer] = []
    position = 0
    markers = _markers(stdout, script)
    for statement, nonce in script.framed:
        block = _block(markers.get(nonce.encode(), ()), position)
        if isinstance(block, Failed):
            answers[statement.id] = errors.get(statement.id) or block
            continue
        if block is None:
            answers[statement.id] = errors.get(statement.id) or Failed(ending.reason, ending.detail)
            continue
        start, end, position = block
        content = stdout[start:end]
        raw.append(RawAnswer(statement.id, hashlib.sha256(content).hexdigest(), content))
        answers[statement.id] = errors.get(statement.id) or _answer(raw[-1], parse)
    began = bool(script.framed) and script.framed[0][1].encode() in stdout
    return Transcript(answers=answers, raw=tuple(raw), began=began, notes=_notes(answers, stderr))


@dataclass(frozen=True, slots=True)
class _Marker:
    """An occurrence of a nonce: as a whole marker line, torn off by the end of the output, or anywhere else."""

    kind: str
    start: int
    end: int


def _markers(stdout: bytes, script: Script) -> dict[bytes, list[_Marker]]:
    """Every occurrence of every nonce, in order; of a host that repeats them without end nothing is believed."""
    found: dict[bytes, list[_Marker]] = {}
    tag, length = script.tag.encode(), len(script.framed[0][1])
    at = stdout.find(tag)
    for _ in range(_MANY * len(script.framed)):
        if at < 0:
            break
        end = at + length
        marker = _MARKER.match(stdout, end)
        if at and stdout[at - 1 : at] != b"\n":
            kind = "elsewhere"
        elif marker:
            kind, end = marker[1].decode(), marker.end()
        else:
            kind = "torn" if _TORN.match(stdout, end) else "elsewhere"
        found.setdefault(stdout[at : at + length], []).append(_Marker(kind, at, end))
        at = stdout.find(tag, at + len(tag))
    if at >= 0:
        return {nonce.encode(): [_Marker("elsewhere", 0, 0)] for _, nonce in script.framed}
    return found


def _block(found: Sequence[_Marker], after: int) -> tuple[int, int, int] | Failed | None:
    """Where the bytes between both markers stand, and where the end marker ends; None if they are not both there."""
    kinds = [marker.kind for marker in found]
    if "elsewhere" in kinds:
        return Failed(Reason.PROTOCOL, "a marker does not stand on a line of its own")
    if kinds in ([], ["torn"], ["begin"], ["begin", "torn"]):
        return None
    if kinds != ["begin", "end"] or found[0].start < after:
        return Failed(Reason.PROTOCOL, "markers stand twice or out of order")
    return found[0].end, found[1].start, found[1].end


def _errors(script: Script, stderr: bytes) -> dict[str, Failed]:
    found: dict[str, Failed] = {}
    for match in _ERROR_LINE.finditer(stderr):
        statement = script.lines.get(int(match[1]))
        if statement is not None:
            found.setdefault(statement, Failed(Reason.OSQUERY_ERROR, _words(match[2])))
    return found


def _answer(raw: RawAnswer, parse: Callable[[RawAnswer], Rows] | None) -> Answer:
    try:
        return Answered(parse(raw) if parse else parse_rows(raw.content))
    except ValueError as error:
        return Failed(Reason.PROTOCOL, str(error))


def parse_rows(content: bytes) -> Rows:
    """The rows of one JSON array of objects with text values. Raises ValueError in words for anything else."""
    if content.count(b"{") > _MAX_ROWS:
        raise ValueError(f"more than {_MAX_ROWS} rows")
    try:
        return tuple(_DECODE(content))
    except ValueError:
        return _parse_forgiving(content)


def _parse_forgiving(content: bytes) -> Rows:
    """The same, slower: for halves of surrogate pairs, and for words about what is wrong."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start} of the answer") from error
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"not one JSON array{where}") from error
    if not _are_rows(rows):
        raise ValueError("not an array of rows with text values")
    if "\\u" in text and "\\ud" in text.lower():
        rows = [{_whole(name): _whole(value) for name, value in row.items()} for row in rows]
    return tuple(rows)


def _are_rows(rows: object) -> TypeGuard[list[dict[str, str]]]:
    # Sets of types, because a loop over every cell costs more than parsing them did.
    if not isinstance(rows, list) or not set(map(type, rows)) <= {dict}:
        return False
    return set(map(type, chain.from_iterable(map(dict.values, rows)))) <= {str}


def _whole(text: str) -> str:
    """Halves of surrogate pairs, which JSON can smuggle in, replaced: no store could write them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _notes(answers: Mapping[str, Answer], stderr: bytes) -> dict[str, str]:
    notes: dict[str, str] = {}
    hello = answers.get(HELLO.id)
    if isinstance(hello, Answered) and len(hello.rows) == 1:
        row = hello.rows[0]
        for name, column in (("osquery_version", "version"), ("osquery_build", "platform"), ("osquery_pid", "pid")):
            if row.get(column):
                notes[name] = row[column][:_MAX_DETAIL]
    if talk := _words(_ERROR_LINE.sub(b"", stderr)):
        notes["stderr"] = talk
    return notes


def survives(answers: Mapping[str, Answer]) -> tuple[bool, bool]:
    """Does text that is not ASCII survive from the host to us, and from us to the host? True where nobody knows."""
    answer = answers.get(CANARY.id)
    if not isinstance(answer, Answered) or len(answer.rows) != 1:
        return True, True
    row = answer.rows[0]
    return row.get("made") == _CANARY, row.get("sent") == _CANARY


def _words(content: bytes) -> str:
    """The first words of what a host said."""
    return " ".join(content[: _MAX_DETAIL * 4].decode("utf-8", "replace").split())[:_MAX_DETAIL]
