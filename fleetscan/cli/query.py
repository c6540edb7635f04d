"""``fleetscan query``: osquery SQL over offline hives, of one machine or of every machine of a collection."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
import time
from typing import TYPE_CHECKING

from fleetscan.engines.registry_table.blind_spots import DAMAGE, MISSING_HIVE, Witness
from fleetscan.engines.registry_table.database import Database
from fleetscan.engines.registry_table.printer import json_rows
from fleetscan.engines.registry_table.sources import machine_in, machines_in
from fleetscan.engines.registry_table.versions import behaviour_of
from fleetscan.errors import ExitCode, HiveError, QueryError, SettingsError
from fleetscan.hives.load import load

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from fleetscan.engines.registry_table.database import Columns, TextRow
    from fleetscan.engines.registry_table.versions import Behaviour
    from fleetscan.hives.collection import Machine
    from fleetscan.model.snapshot import BlindSpot

HELP = "run osquery SQL over offline hives"
ALL = "all"
HOST_COLUMN = "host"
DEFAULT_SECONDS = 300.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("sql", nargs="?", metavar="SQL", help="statements; without any, they are read one by one")
    parser.add_argument(
        "--hives",
        required=True,
        action="append",
        metavar="PATH",
        help="folder of a machine or of a collection, or a hive or .reg export; several are one machine",
    )
    parser.add_argument("--machine", default="", metavar="NAME", help="one machine of a collection, or 'all'")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON, as osqueryi --json does")
    form.add_argument("--csv", action="store_true", help="print CSV (RFC 4180)")
    parser.add_argument(
        "--report-hidden", action="store_true", help="say on standard error what the table hides in the keys it read"
    )
    parser.add_argument("--osquery-version", metavar="VERSION", help="emulate this version of osquery, such as 5.13.1")
    parser.add_argument(
        "--timeout", type=float, default=DEFAULT_SECONDS, metavar="SECONDS", help="time for one query (%(default)s)"
    )


def run(args: argparse.Namespace) -> ExitCode:
    """CLEAN if every machine answered all; INCOMPLETE if a machine, or part of it, could not be read."""
    behaviour = behaviour_of(args.osquery_version)
    everyone = args.machine == ALL
    machines = machines_in(args.hives) if everyone else (machine_in(args.hives, args.machine),)
    session = _Session(machines, args, behaviour)
    if args.sql is not None:
        try:
            session.print_answer(args.sql)
        except QueryError as error:
            where, hint = (
                error.where or "SQL",
                error.hint or "fleetscan query without SQL, to try statements one by one",
            )
            raise QueryError(error.what, where=where, hint=hint) from error
    else:
        session.converse()
    return ExitCode.INCOMPLETE if session.incomplete else ExitCode.CLEAN


class _Session:
    """The machines that are asked, opened once."""

    def __init__(self, machines: Sequence[Machine], args: argparse.Namespace, behaviour: Behaviour) -> None:
        self._args = args
        self._many = args.machine == ALL
        self._open: list[tuple[str, _Machine]] = []
        self.incomplete = False
        for machine in machines:
            try:
                self._open.append((machine.name, _Machine(machine, behaviour)))
            except HiveError as error:
                if not self._many:
                    raise
                self._complain(f"{machine.name}: {error}")
        if not self._open:
            raise SettingsError("no machine can be read", hint="see the messages above")

    def print_answer(self, sql: str) -> None:
        """Run statements on every machine and print all rows as one result."""
        columns: Columns = ()
        rows: list[TextRow] = []
        for name, machine in self._open:
            head, found = machine.ask(sql, self._args.timeout)
            columns = columns or head
            rows += [{HOST_COLUMN: name, **row} for row in found] if self._many else found
        if self._many and columns:
            columns = (HOST_COLUMN, *(column for column in columns if column != HOST_COLUMN))
        self._print(columns, rows)
        for name, machine in self._open:
            self._report_unread(name, machine)

    def converse(self) -> None:
        """Read statements until the end of input; an error does not end it."""
        for sql in _statements():
            try:
                self.print_answer(sql)
            except QueryError as error:
                print(f"Error: {error}", file=sys.stderr)

    def _print(self, columns: Columns, rows: Sequence[TextRow]) -> None:
        if self._args.json:
            sys.stdout.write(json_rows(rows))
        elif self._args.csv:
            sys.stdout.write(csv_text(columns, rows))
        elif rows:
            from tabulate import tabulate  # noqa: PLC0415 - JSON and CSV start faster without it

            cells = [[_plain(row.get(column, "")) for column in columns] for row in rows]
            print(tabulate(cells, headers=list(columns), disable_numparse=True))
        sys.stdout.flush()

    def _report_unread(self, name: str, machine: _Machine) -> None:
        front = f"{name}: " if self._many else ""
        for spot in machine.spots():
            unread = spot.kind in {MISSING_HIVE, DAMAGE}
            if unread or self._args.report_hidden:
                print(f"{front}{'not covered' if unread else 'hidden'}: {_plain(spot_text(spot))}", file=sys.stderr)
            self.incomplete = self.incomplete or unread

    def _complain(self, text: str) -> None:
        self.incomplete = True
        print(f"not covered: {_plain(text)}", file=sys.stderr)


class _Machine:
    """One opened machine."""

    def __init__(self, machine: Machine, behaviour: Behaviour) -> None:
        self._witness = Witness()
        self._database = Database(load(machine), behaviour=behaviour, witness=self._witness)
        self._told: set[BlindSpot] = set()

    def ask(self, sql: str, seconds: float) -> tuple[Columns, list[TextRow]]:
        """Columns of the first statement with any, and all rows."""
        heads: list[Columns] = []
        self._database.deadline = time.monotonic() + seconds
        rows = list(self._database.texts(sql, told=heads.append))
        return next(filter(None, heads), ()), rows

    def spots(self) -> Iterator[BlindSpot]:
        """What is hidden or could not be read in the keys asked for; each place once."""
        for key in self._database.take_missing():
            self._witness.see(MISSING_HIVE, key, "the collection lacks this hive")
        for damage in self._database.damages():
            self._witness.see(DAMAGE, damage.key or damage.file, str(damage))
        for spot in self._witness.spots():
            if spot not in self._told:
                self._told.add(spot)
                yield spot


def spot_text(spot: BlindSpot) -> str:
    """A blind spot on one line."""
    return ": ".join(part for part in (spot.kind, spot.key, spot.detail) if part)


def csv_text(columns: Columns, rows: Sequence[TextRow]) -> str:
    """RFC 4180, lines ended by CR LF; cells are as found, they are not made safe for spreadsheets."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _plain(text: str) -> str:
    """The text without control characters: names and data come from a machine that may be hostile to a terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _statements() -> Iterator[str]:
    import apsw  # noqa: PLC0415 - only a conversation needs to know where a statement ends

    interactive = sys.stdin.isatty()
    if interactive:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401, PLC0415 - editing of lines, where the platform has it
    gathered = ""
    while True:
        prompt = ("fleetscan> " if not gathered else "      ...> ") if interactive else ""
        try:
            # Bytes that are no text come as lone surrogates, which no SQL can hold; nor can it hold NUL.
            line = input(prompt).encode("utf-8", "replace").decode().replace("\0", "?")
        except EOFError:
            break
        if not gathered and line.strip().lower() in {".exit", ".quit", "exit", "quit"}:
            break
        gathered += line + "\n"
        if apsw.complete(gathered) and ";" in line:
            yield gathered
            gathered = ""
    if gathered.strip():
        yield gathered
