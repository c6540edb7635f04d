"""The engine ``osqueryi``: one SSH session per host, one osqueryi process, SQL on its standard input only."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.engines.framing import (
    CANARY,
    HELLO,
    Ending,
    Rows,
    Script,
    Transcript,
    parse_rows,
    read_transcript,
    survives,
    write_script,
)
from fleetscan.engines.interface import Answers
from fleetscan.errors import SettingsError
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answered, Failed
from fleetscan.transport.destination import resolve
from fleetscan.transport.failure import TransportError
from fleetscan.transport.ssh import SshTransport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetscan.model.host import Host
    from fleetscan.model.snapshot import RawAnswer
    from fleetscan.planner.plan import Answer, Statement
    from fleetscan.transport.ssh import Connection, Output

DEFAULT_SECONDS = 120.0
DEFAULT_BYTES = 64 * 1024 * 1024

WINDOWS_PATH = r"C:\Program Files\osquery\osqueryi.exe"
UNIX_PATH = "osqueryi"
# Independent of what the host is configured to do: no flag file, no configuration, no extensions, no events.
_FLAGS = "--json --flagfile= --config_path=fleetscan.none --disable_extensions --disable_events"

_PLAIN_PATH = re.compile(r"[\w./:\\~+-]+")
_PROBE = "echo fleetscan-%OS%-$0-$PSHOME-end"
_PROBE_ANSWER = re.compile(rb"fleetscan-(.*?)-(.*)-(.*?)-end")
_STAMP = re.compile(r"\b([IWEF])[0-9]{4} [0-9:.]+ +[0-9]+ ")  # time and thread of a line that osquery logs
# Somebody who speaks as osqueryi, but not to this script: a line of another script's markers, an array as osqueryi lays
# it out, a complaint about a line. No shell says any of these where it finds no osqueryi.
_OTHER_MARKER = re.compile(rb"^([0-9a-f]{32}):(?:begin|end)\r?$", re.MULTILINE)
_ARRAY = re.compile(rb"^\[\r?\n(?:\r?\n\]|[ \t]*\{\")", re.MULTILINE)
_COMPLAINT = re.compile(rb"^Error: near line [0-9]{1,9}:", re.MULTILINE)
_OTHER_QUERY = Failed(Reason.PROTOCOL, "it answered another query: the markers are of another script")
_KILL_SECONDS = 2.0
_CHATTER = 1024 * 1024  # bytes, for commands of which a word is wanted


class OsqueryiEngine:
    """Asks osqueryi over SSH. Identical answers of many hosts are parsed once."""

    def __init__(
        self,
        transport: SshTransport | None = None,
        *,
        max_bytes: int = DEFAULT_BYTES,
        max_seconds: float = DEFAULT_SECONDS,
    ) -> None:
        """``max_bytes`` bounds what one host may answer, ``max_seconds`` how long where no deadline is given."""
        self._transport = transport or SshTransport()
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._parse = _ParseOnce()

    def ask(self, host: Host, statements: Sequence[Statement], *, deadline: float | None = None) -> Answers:
        """See Engine.ask."""
        limit = time.monotonic() + self._max_seconds if deadline is None else deadline
        try:
            destination = resolve(host)
            with self._transport.connect(destination, deadline=limit) as connection:
                return self._session(connection, host, statements, limit)
        except TransportError as error:
            late = time.monotonic() >= limit
            return _nothing(statements, Reason.DEADLINE if late else error.reason, str(error))
        except SettingsError as error:
            return _nothing(statements, Reason.NOT_ASKED, str(error))

    def stop(self) -> None:
        """See Stoppable.stop."""
        self._transport.stop()

    def _session(self, connection: Connection, host: Host, statements: Sequence[Statement], deadline: float) -> Answers:
        shell = self._shell(connection, host, deadline)
        script = write_script(statements)
        path = str(host.settings.get("osqueryi", ""))
        command = command_line(path, shell)
        output = connection.run(command, script.text, deadline=deadline, max_bytes=self._max_bytes)
        transcript = read_transcript(script, output.stdout, output.stderr, _ending(output), self._parse)
        if output.ended is not None:
            _end_process(connection, transcript.notes.get("osquery_pid", ""), shell, path)
        known = {"account": connection.user, "ssh_server": connection.server_version, "shell": shell}
        notes = {**known, **_lasting(transcript.notes, ended=output.ended is not None)}
        return Answers(
            answers=_judged(script, transcript, output, statements),
            raw=tuple(raw for raw in transcript.raw if raw.statement_id not in (HELLO.id, CANARY.id)),
            notes=tuple(notes.items()),
        )

    def _shell(self, connection: Connection, host: Host, deadline: float) -> str:
        """The host's login shell: as set, not of interest, or as a probe shows."""
        wanted = str(host.settings.get("shell", "auto"))
        path = str(host.settings.get("osqueryi", ""))
        if wanted != "auto":
            return wanted
        if path and _PLAIN_PATH.fullmatch(path) and not path.startswith("~"):
            return "any"
        return shell_of(connection.run(_PROBE, b"", deadline=deadline, max_bytes=_CHATTER).stdout)


def shell_of(answer: bytes) -> str:
    """The shell that answered the probe: cmd fills in %OS%, PowerShell $PSHOME, the others $0."""
    match = _PROBE_ANSWER.search(answer)
    if match is None:
        return "sh"
    if match[1] != b"%OS%":
        return "cmd"
    return "powershell" if match[3] and match[3] != b"$PSHOME" else "sh"


def command_line(path: str, shell: str) -> str:
    """The command that starts osqueryi in a shell; a path that needs no quotes is the same in all of them."""
    path = path or (WINDOWS_PATH if shell in ("cmd", "powershell") else UNIX_PATH)
    if _PLAIN_PATH.fullmatch(path):
        # PowerShell takes a word that begins with a letter as a command, and so do the others.
        return f"{path} {_FLAGS}"
    if shell == "cmd":
        # cmd keeps one pair of quotes around the program; a quote cannot be part of a Windows path.
        return f'"{path.replace(chr(34), "")}" {_FLAGS}'
    quote = "''" if shell == "powershell" else "'\\''"
    quoted = path.replace("'", quote)
    return f"& '{quoted}' {_FLAGS}" if shell == "powershell" else f"exec '{quoted}' {_FLAGS}"


def _ending(output: Output) -> Ending:
    """Why an answer may be missing at the end of this output."""
    if output.ended is not None:
        return Ending(reason=output.ended)
    if output.exit_status is None:
        return Ending(reason=Reason.TRUNCATED, detail="the connection ended in the middle")
    return Ending(reason=Reason.TRUNCATED, detail=f"osqueryi ended early, exit status {output.exit_status}")


def _judged(
    script: Script, transcript: Transcript, output: Output, statements: Sequence[Statement]
) -> dict[str, Answer]:
    """The answers, after what the whole output says about them: did osqueryi start, does text survive?"""
    if not transcript.began and output.ended is None and (failed := _not_started(transcript, output)):
        return dict.fromkeys((statement.id for statement in statements), failed)
    answers = {statement.id: transcript.answers[statement.id] for statement in statements}
    cut_short = any(isinstance(answer, Failed) and answer.reason is Reason.TRUNCATED for answer in answers.values())
    if cut_short and _has_other_markers(script, output.stdout):
        return {name: _replayed(answer) for name, answer in answers.items()}
    from_host, to_host = survives(transcript.answers)
    for statement in statements:
        broken = not from_host or (not to_host and not statement.sql.isascii())
        if broken and isinstance(answers[statement.id], Answered):
            answers[statement.id] = Failed(Reason.PROTOCOL, "text that is not ASCII does not survive the host's shell")
    return answers


def _not_started(transcript: Transcript, output: Output) -> Failed | None:
    """Why no line of ours came back; None if the connection broke, which says nothing about who was there."""
    if _OTHER_MARKER.search(output.stdout):
        return _OTHER_QUERY
    if output.exit_status is None:
        return None
    if output.exit_status and not (_ARRAY.search(output.stdout) or _COMPLAINT.search(output.stderr)):
        said = transcript.notes.get("stderr", "")
        return Failed(Reason.NO_OSQUERY, f"exit status {output.exit_status}{': ' + said if said else ''}")
    return Failed(Reason.PROTOCOL, "what was started does not speak as osqueryi")


def _has_other_markers(script: Script, stdout: bytes) -> bool:
    """Are there markers of another script? In a row none can begin a line: JSON escapes the end of the line before."""
    tag = script.tag.encode()
    return any(not match[1].startswith(tag) for match in _OTHER_MARKER.finditer(stdout))


def _replayed(answer: Answer) -> Answer:
    """What has no marker of its own is not merely missing where another query's answer was put in its place."""
    return _OTHER_QUERY if isinstance(answer, Failed) and answer.reason is Reason.TRUNCATED else answer


def _end_process(connection: Connection, pid: str, shell: str, path: str) -> None:
    """End a process that is still at work; closing the session alone leaves it running on Unix."""
    if not (pid.isascii() and pid.isdigit()):
        return
    windows = shell in ("cmd", "powershell") or "\\" in path
    command = f"taskkill /F /T /PID {pid}" if windows else f"kill -9 {pid}"
    try:
        connection.run(command, b"", deadline=time.monotonic() + _KILL_SECONDS, max_bytes=_CHATTER)
    except TransportError:
        return


def _lasting(notes: Mapping[str, str], *, ended: bool) -> dict[str, str]:
    """The notes without what differs in every session of an unchanged host: its facts are kept by content.

    The number of a process matters only where it had to be ended.
    """
    kept = {name: _STAMP.sub(r"\1 ", text) for name, text in notes.items()}
    return kept if ended else {name: text for name, text in kept.items() if name != "osquery_pid"}


def _nothing(statements: Sequence[Statement], reason: Reason, detail: str) -> Answers:
    return Answers(answers={statement.id: Failed(reason, detail) for statement in statements})


@dataclass(slots=True)
class _Parsed:
    rows: Rows
    size: int


class _ParseOnce:
    """Remembers the rows of recent answers by the hash of their bytes: a gold image is parsed once, not per host."""

    def __init__(self, max_bytes: int = 16 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._known: OrderedDict[str, _Parsed] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, raw: RawAnswer) -> Rows:
        with self._lock:
            if raw.sha256 in self._known:
                self._known.move_to_end(raw.sha256)
                return self._known[raw.sha256].rows
        rows = parse_rows(raw.content)
        size = len(raw.content)
        with self._lock:
            if size <= self._max_bytes // 4 and raw.sha256 not in self._known:
                self._known[raw.sha256] = _Parsed(rows, size)
                self._size += size
            while self._size > self._max_bytes:
                self._size -= self._known.popitem(last=False)[1].size
        return rows
