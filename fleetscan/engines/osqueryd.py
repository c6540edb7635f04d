"""The engine ``osqueryd``: a local daemon asked over its extension socket, with the same plan as any other host."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from typing import TYPE_CHECKING

from fleetscan.engines.framing import HELLO
from fleetscan.engines.interface import Answers
from fleetscan.model.snapshot import RawAnswer, Reason
from fleetscan.planner.plan import Answered, Failed
from fleetscan.transport.extension import DEFAULT_SOCKET, DaemonRefusalError, ExtensionSession, Rows
from fleetscan.transport.failure import TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscan.model.host import Host
    from fleetscan.planner.plan import Answer, Statement

DEFAULT_SECONDS = 120.0
DEFAULT_BYTES = 64 * 1024 * 1024
_RECONNECT_SECONDS = 5.0  # a watchdog that ended its worker starts another one


class OsquerydEngine:
    """Asks a daemon statement by statement; what its watchdog stops is not asked again."""

    def __init__(self, *, max_bytes: int = DEFAULT_BYTES, max_seconds: float = DEFAULT_SECONDS) -> None:
        """``max_bytes`` bounds what one session may answer, ``max_seconds`` how long where no deadline is given."""
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._stopped = threading.Event()
        self._open: set[ExtensionSession] = set()

    def ask(self, host: Host, statements: Sequence[Statement], *, deadline: float | None = None) -> Answers:
        """See Engine.ask."""
        limit = time.monotonic() + self._max_seconds if deadline is None else deadline
        dialogue = _Dialogue(self, self._stopped, str(host.settings.get("socket", DEFAULT_SOCKET)), limit)
        try:
            return dialogue.run(statements)
        finally:
            dialogue.close()

    def stop(self) -> None:
        """See Stoppable.stop."""
        before, self._stopped = self._stopped, threading.Event()
        before.set()
        for session in tuple(self._open):
            session.interrupt()

    def connect(self, path: str, deadline: float) -> ExtensionSession:
        """A session that ``stop`` interrupts."""
        session = ExtensionSession(path, deadline=deadline, max_bytes=self._max_bytes)
        self._open.add(session)
        return session

    def hang_up(self, session: ExtensionSession) -> None:
        """The end of a session."""
        self._open.discard(session)
        session.close()


class _Dialogue:
    """The statements of one ask, over one connection, or two if the first one broke."""

    def __init__(self, engine: OsquerydEngine, stopped: threading.Event, path: str, deadline: float) -> None:
        self._engine = engine
        self._stopped = stopped
        self._path = path
        self._deadline = deadline
        self._session: ExtensionSession | None = None
        self._broken: Failed | None = None
        self._breaks = 0

    def run(self, statements: Sequence[Statement]) -> Answers:
        answers: dict[str, Answer] = {}
        raw: list[RawAnswer] = []
        notes: list[tuple[str, str]] = []
        hello = self._ask(HELLO)
        if isinstance(hello, Answered) and len(hello.rows) == 1:
            notes.append(("osquery_version", hello.rows[0].get("version", "")))
            notes.append(("osquery_build", hello.rows[0].get("platform", "")))
        for statement in statements:
            answer = self._ask(statement)
            answers[statement.id] = answer
            if isinstance(answer, Answered):
                content = json.dumps(answer.rows, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")
                raw.append(RawAnswer(statement.id, hashlib.sha256(content).hexdigest(), content))
        return Answers(answers=answers, raw=tuple(raw), notes=tuple(notes))

    def close(self) -> None:
        if self._session is not None:
            self._engine.hang_up(self._session)
            self._session = None

    def _ask(self, statement: Statement) -> Answer:
        if self._stopped.is_set():
            return Failed(Reason.CANCELLED)
        if self._broken is not None:
            return self._broken
        if time.monotonic() >= self._deadline:
            return Failed(Reason.DEADLINE)
        try:
            if self._session is None:
                self._session = self._connect()
        except TransportError as error:
            self._broken = Failed(error.reason, str(error))
            return self._broken
        return self._query(self._session, statement)

    def _query(self, session: ExtensionSession, statement: Statement) -> Answer:
        try:
            return _answered(session.query(statement.sql))
        except DaemonRefusalError as error:
            return Failed(error.reason, error.what)
        except TransportError as error:
            self.close()
            return self._broke(error)

    def _broke(self, error: TransportError) -> Failed:
        """The connection is lost; is it worth another one?"""
        self._breaks += 1
        if self._stopped.is_set():
            return Failed(Reason.CANCELLED)
        if error.reason is Reason.CONNECTION:
            # Not a failure that passes: the statement that ended the worker would end the next one too.
            failed = Failed(Reason.OSQUERY_ERROR, "osqueryd hung up while it worked; did its watchdog stop it?")
        else:
            failed = Failed(error.reason, str(error))
        if self._breaks > 1 or error.reason in (Reason.DEADLINE, Reason.TOO_LARGE):
            reason = Reason.NOT_ASKED if failed.reason is Reason.OSQUERY_ERROR else failed.reason
            self._broken = Failed(
                reason, "not asked after the daemon hung up twice" if self._breaks > 1 else str(error)
            )
        return failed

    def _connect(self) -> ExtensionSession:
        """Connect; after a break, wait for the new worker for a few seconds."""
        until = min(self._deadline, time.monotonic() + _RECONNECT_SECONDS) if self._breaks else 0.0
        while True:
            try:
                return self._engine.connect(self._path, self._deadline)
            except TransportError:
                if time.monotonic() >= until or self._stopped.is_set():
                    raise
                time.sleep(0.1)


def _answered(rows: Rows) -> Answer:
    try:
        for row in rows:
            "".join((*row, *row.values())).encode()
    except (UnicodeEncodeError, TypeError):
        return Failed(Reason.PROTOCOL, "a row that is not text")
    return Answered(rows)
