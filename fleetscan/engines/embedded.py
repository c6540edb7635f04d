"""The engine ``embedded``: osquery's SQL and tables over a machine's hives, and what the table would have hidden.

Settings of a host: ``hives`` (a folder, hives or .reg exports), ``machine`` (which one, if a folder holds several),
``osquery_version`` (whose behaviour is emulated; the current one if absent).
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from fleetscan.engines.interface import Answers
from fleetscan.engines.registry_table.blind_spots import DAMAGE, Witness
from fleetscan.engines.registry_table.database import Database
from fleetscan.engines.registry_table.errors import DeadlineError, SqlError
from fleetscan.engines.registry_table.printer import json_rows
from fleetscan.engines.registry_table.sources import machine_in
from fleetscan.engines.registry_table.versions import behaviour_of
from fleetscan.errors import HiveError, SettingsError
from fleetscan.hives.load import load
from fleetscan.model.snapshot import RawAnswer, Reason
from fleetscan.planner.plan import Answered, Failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscan.hives.mount import Registry
    from fleetscan.model.host import Host
    from fleetscan.planner.plan import Answer, Statement

DEFAULT_BYTES = 256 * 1024 * 1024
DEFAULT_SECONDS = 300.0


class EmbeddedEngine:
    """Opens the hives for each call; keeps nothing between calls, so that any thread may call."""

    def __init__(self, *, max_bytes: int = DEFAULT_BYTES, max_seconds: float = DEFAULT_SECONDS) -> None:
        """``max_bytes`` bounds the text of one statement's answer, ``max_seconds`` a call that has no deadline."""
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds

    def ask(self, host: Host, statements: Sequence[Statement], *, deadline: float | None = None) -> Answers:
        """See Engine.ask."""
        witness = Witness()
        limit = time.monotonic() + self._max_seconds if deadline is None else deadline
        try:
            behaviour = behaviour_of(str(host.settings.get("osquery_version") or "") or None)
            registry = load(machine_in(_paths(host), str(host.settings.get("machine") or "")))
            database = Database(registry, behaviour=behaviour, witness=witness)
        except HiveError as error:
            return _nothing(statements, Reason.UNREADABLE, str(error))
        except SettingsError as error:
            return _nothing(statements, Reason.NOT_ASKED, str(error))
        try:
            return _Asking(database, limit, self._max_bytes).answers(statements, registry, witness)
        finally:
            database.close()


class _Asking:
    """One call of the engine."""

    def __init__(self, database: Database, deadline: float, max_bytes: int) -> None:
        self._database = database
        self._database.deadline = deadline
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._raw: list[RawAnswer] = []
        self._missing: dict[str, None] = {}

    def answers(self, statements: Sequence[Statement], registry: Registry, witness: Witness) -> Answers:
        answers = {statement.id: self._answer(statement) for statement in statements}
        # A missing hive is no blind spot of the table: ``missing`` narrows the coverage of the scopes below it.
        damages = tuple(self._database.damages())
        for damage in damages:
            witness.see(DAMAGE, damage.key or damage.file, str(damage))
        return Answers(
            answers=answers,
            raw=tuple(self._raw),
            blind_spots=witness.spots(),
            missing=tuple(self._missing),
            parts=tuple(map(str, registry.parts())),
            damages=tuple((damage.key, str(damage)) for damage in damages),
            notes=(("hives", "; ".join(registry.sources)),),
        )

    def _answer(self, statement: Statement) -> Answer:
        if time.monotonic() > self._deadline:
            return Failed(Reason.DEADLINE, "not asked before the deadline")
        opened = self._database.keys_opened
        rows: list[dict[str, str]] = []
        room = self._max_bytes
        try:
            for row in self._database.texts(statement.sql):
                room -= sum(map(len, row.values())) + sum(map(len, row))
                if room < 0:
                    return Failed(Reason.TOO_LARGE, f"more than {self._max_bytes} bytes")
                rows.append(row)
        except DeadlineError as error:
            return Failed(Reason.DEADLINE, error.what)
        except SqlError as error:
            return Failed(Reason.OSQUERY_ERROR, error.what)
        absent = self._database.take_missing()
        self._missing.update(dict.fromkeys(absent))
        if absent and not rows and self._database.keys_opened == opened:
            return Failed(Reason.NO_HIVE, f"not in the collection: {', '.join(absent)}")
        content = json_rows(rows).encode()
        self._raw.append(RawAnswer(statement.id, hashlib.sha256(content).hexdigest(), content))
        return Answered(rows)


def _paths(host: Host) -> tuple[str, ...]:
    hives = host.settings.get("hives") or ()
    return (hives,) if isinstance(hives, str) else tuple(map(str, hives))


def _nothing(statements: Sequence[Statement], reason: Reason, detail: str) -> Answers:
    return Answers(answers={statement.id: Failed(reason, detail) for statement in statements})
