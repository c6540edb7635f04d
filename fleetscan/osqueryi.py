"""A shell that behaves as ``osqueryi`` does, over offline hives: the far end of SSH tests, and useful by itself.

``python -m fleetscan.osqueryi --hives DIR --json`` reads a script on standard input, chunk by chunk: lines are gathered
until one holds a semicolon and the text is complete; the whole chunk runs, and its rows are printed once.
"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO

import apsw

from fleetscan.engines.registry_table.database import Database
from fleetscan.engines.registry_table.errors import SqlError
from fleetscan.engines.registry_table.facts import scanner_tables
from fleetscan.engines.registry_table.printer import MODES, Style, format_rows
from fleetscan.engines.registry_table.sources import machine_in
from fleetscan.engines.registry_table.versions import behaviour_of
from fleetscan.errors import FleetscanError, SettingsError
from fleetscan.hives.load import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from fleetscan.engines.registry_table.database import Columns, TextRow

HIVES_VARIABLE = "FLEETSCAN_OSQUERYI_HIVES"
VERSION_VARIABLE = "FLEETSCAN_OSQUERYI_VERSION"
MACHINE_VARIABLE = "FLEETSCAN_OSQUERYI_MACHINE"
ELEVATED_VARIABLE = "FLEETSCAN_OSQUERYI_ELEVATED"

EXIT_STARTUP = 1

_VALUED: Final = frozenset(
    {
        *(
            "hives",
            "machine",
            "osquery_version",
            "elevated",
            "nullvalue",
            "separator",
            "query",
            "query_file",
            "output",
            "A",
            "pack",
        ),
        *("flagfile", "config_path", "config_plugin", "database_path", "enable_tables", "disable_tables", "connect"),
        *("extensions_socket", "extension", "extensions_autoload", "tls_hostname", "pidfile"),
        *("logger_path", "logger_plugin", "logger_min_status", "logger_min_stderr"),
    }
)
"""Flags of osquery that take a value, which may stand in the next argument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asks for."""

    style: Style
    hives: tuple[str, ...] = ()
    machine: str = ""
    version: str | None = None
    elevated: bool | None = None
    """What ``processes`` tells of the shell itself; None: there is no such table."""
    sql: str | None = None
    show_version: bool = False


def parse_arguments(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Options from osquery's flags; flags that mean nothing here are accepted and ignored, as their values are."""
    flags, words = _flags(arguments)
    mode = next(
        (mode for mode in ("json", "json_pretty", "csv", "line", "list") if flags.get(mode) == "true"), "pretty"
    )
    style = Style(mode=mode, null=flags.get("nullvalue", ""), separator="," if mode == "csv" else "|")
    if "separator" in flags:
        style = replace(style, separator=flags["separator"])
    hives = flags.get("hives") or environ.get(HIVES_VARIABLE, "")
    sql = flags.get("query") or next(iter(words), None)
    if "query_file" in flags:
        sql = _file_text(flags["query_file"])
    if "A" in flags:
        sql = f"SELECT * FROM {flags['A']}"
    return Options(
        style=style,
        hives=tuple(part for part in hives.split(os.pathsep) if part),
        machine=flags.get("machine") or environ.get(MACHINE_VARIABLE, ""),
        version=flags.get("osquery_version") or environ.get(VERSION_VARIABLE) or None,
        elevated=_switch("--elevated", flags.get("elevated") or environ.get(ELEVATED_VARIABLE, "")),
        sql=sql,
        show_version=flags.get("version") == "true",
    )


def _switch(option: str, text: str) -> bool | None:
    if text not in ("", "0", "1"):
        raise SettingsError(f"{option} is 0 or 1, not {text!r}")
    return text == "1" if text else None


def _file_text(name: str) -> str:
    try:
        return Path(name).read_text("utf-8", errors="replace")
    except OSError as error:
        raise SettingsError(f"the query file cannot be read: {error.strerror}", where=name) from error


def _flags(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    flags: dict[str, str] = {}
    words: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        match = re.fullmatch(r"--?([A-Za-z][A-Za-z0-9_-]*)(?:=(.*))?", argument, re.DOTALL)
        if argument == "--":
            words.extend(rest)
        elif match is None:
            words.append(argument)
        else:
            name = match[1].replace("-", "_")
            value = match[2]
            flags[name] = value if value is not None else next(rest, "") if name in _VALUED else "true"
    return flags, words


class Shell:
    """One run of the shell; prints to the given streams."""

    def __init__(self, database: Database, *, style: Style, runs_unterminated: bool, out: TextIO, err: TextIO) -> None:
        """``runs_unterminated``: does a last statement without semicolon run?"""
        self.style = style
        self._database = database
        self._runs_unterminated = runs_unterminated
        self._out = out
        self._err = err
        self._exit_code: int | None = None
        self._bail = False
        self._timer = False
        self._echo = False

    def run_script(self, lines: Iterable[str]) -> int:
        """Run a script; 0, or 1 if any chunk or command failed, or the code of ``.exit``."""
        failures, start = 0, 0
        gathered: list[str] = []
        for number, line in enumerate(map(_c_line, lines), 1):
            if not gathered and not line.strip():
                continue
            if not gathered and line.startswith("."):
                failures += not self.command(line)
            else:
                start = start if gathered else number
                gathered.append(line if gathered else line.lstrip())
                if ";" not in line or not apsw.complete("\n".join(gathered)):
                    continue
                failures += self.run("\n".join(gathered), f"Error: near line {start}:") != 0
                gathered.clear()
            if self._exit_code is not None:
                return self._exit_code
            if failures and self._bail:
                return 1
        return int(failures + self._run_rest("\n".join(gathered), start) > 0)

    def _run_rest(self, text: str, start: int) -> int:
        """What stands behind the last semicolon; before 5.23 it does not run and does not count as a failure."""
        if not text.strip():
            return 0
        if self._runs_unterminated:
            return int(self.run(text, f"Error: near line {start}:") != 0)
        self._complain(f"Error: incomplete SQL: {text}")
        return 0

    def run(self, text: str, prefix: str = "Error:") -> int:
        """Run one chunk and print its rows once; the code SQLite gives, 0 if all is well."""
        if self._echo:
            self._say(text)
        started = time.perf_counter()
        code = 0
        rows: list[TextRow] = []
        heads: list[Columns] = []
        try:
            for row in self._database.texts(text, null=self.style.null, told=heads.append):
                rows.append(row)  # noqa: PERF402 - rows in front of an error are printed
        except SqlError as error:
            code = error.code
            self._complain(f"{prefix} {error.what}")
        self._out.write(format_rows(next(filter(None, heads), ()), rows, self.style))
        if self._timer:
            self._say(f"Run Time: real {time.perf_counter() - started:.3f} user 0.000000 sys 0.000000")
        self._out.flush()
        return code

    def command(self, line: str) -> bool:
        """Run a command that starts with a dot; False if it is unknown or its arguments are wrong."""
        name, *words = _words(line[1:]) or [""]
        known = _COMMANDS.get(name)
        if known is not None and known(self, words):
            self._out.flush()
            return True
        self._complain(f'Error: unknown command or invalid arguments:  "{name}". Enter ".help" for help')
        return False

    def print_text(self, words: Sequence[str]) -> bool:
        """``.print TEXT``: a line on standard output, also between JSON."""
        self._say(" ".join(words))
        return True

    def exit(self, words: Sequence[str]) -> bool:
        """``.exit [CODE]``: stop at once."""
        self._exit_code = _number(words[0]) if words else 0
        return True

    def switch(self, attribute: str, words: Sequence[str]) -> bool:
        """``.bail on``, ``.timer off``..."""
        if len(words) != 1:
            return False
        setattr(self, attribute, words[0].lower() in {"on", "yes", "1", "true"})
        return True

    def mode(self, words: Sequence[str]) -> bool:
        """``.mode csv``: how rows are printed."""
        if len(words) != 1 or words[0] not in MODES:
            return False
        self.style = replace(self.style, mode=words[0], separator="," if words[0] == "csv" else self.style.separator)
        return True

    def null_text(self, words: Sequence[str]) -> bool:
        """``.nullvalue TEXT``: what stands for NULL."""
        self.style = replace(self.style, null=" ".join(words))
        return len(words) == 1

    def separator(self, words: Sequence[str]) -> bool:
        """``.separator TEXT``: what stands between cells of list and CSV output."""
        self.style = replace(self.style, separator=" ".join(words))
        return len(words) == 1

    def headers(self, words: Sequence[str]) -> bool:
        """``.headers on``: names above CSV, list and column output."""
        if len(words) != 1:
            return False
        self.style = replace(self.style, headers=words[0].lower() in {"on", "yes", "1", "true"})
        return True

    def show(self, _: Sequence[str]) -> bool:
        """``.show``: the settings."""
        settings = {
            "echo": "on" if self._echo else "off",
            "headers": "on" if self.style.headers else "off",
            "mode": self.style.mode,
            "nullvalue": f'"{self.style.null}"',
            "output": "stdout",
            "separator": f'"{self.style.separator}"',
        }
        for name, text in settings.items():
            self._say(f"{name:>12}: {text}")
        return True

    def types(self, words: Sequence[str]) -> bool:
        """``.types SQL``: names and types of the columns of a query."""
        try:
            found = self._database.column_types(" ".join(words))
        except SqlError as error:
            self._complain(f"Error: {error.what}")
            return True
        rows = [{"name": name, "type": sql_type} for name, sql_type in found]
        self._out.write(format_rows(("name", "type"), rows, self.style))
        return True

    def tables(self, words: Sequence[str]) -> bool:
        """``.tables [TEXT]``: the tables, those whose name holds a text."""
        for name in self._database.tables():
            if not words or words[0] in name:
                self._say(f"  => {name}")
        return True

    def schema(self, words: Sequence[str]) -> bool:
        """``.schema [TABLE]``: columns of the tables."""
        for name in self._database.tables():
            if not words or words[0] == name:
                found = self._database.column_types(f"SELECT * FROM {name}")
                columns = ", ".join(f"`{column}` {sql_type}" for column, sql_type in found)
                self._say(f"CREATE TABLE {name}({columns});")
        return True

    def help(self, _: Sequence[str]) -> bool:
        """``.help``: the commands."""
        for name in _COMMANDS:
            self._say(f".{name}")
        return True

    def _say(self, text: str) -> None:
        self._out.write(f"{text}\n")

    def _complain(self, text: str) -> None:
        self._out.flush()
        self._err.write(f"{text}\n")
        self._err.flush()


_COMMANDS: Final[Mapping[str, Callable[[Shell, Sequence[str]], bool]]] = {
    "bail": lambda shell, words: shell.switch("_bail", words),
    "echo": lambda shell, words: shell.switch("_echo", words),
    "exit": Shell.exit,
    "headers": Shell.headers,
    "help": Shell.help,
    "mode": Shell.mode,
    "nullvalue": Shell.null_text,
    "print": Shell.print_text,
    "quit": Shell.exit,
    "schema": Shell.schema,
    "separator": Shell.separator,
    "show": Shell.show,
    "tables": Shell.tables,
    "timer": lambda shell, words: shell.switch("_timer", words),
    "types": Shell.types,
}

_WORD = re.compile(r"""'([^']*)'?|"((?:[^"\\]|\\.)*)"?|(\S+)""")


def _c_line(line: str) -> str:
    """A line as the shell, a C program, sees it: it ends at a NUL."""
    return line.rstrip("\r\n").partition("\0")[0]


def _words(line: str) -> list[str]:
    """Words of a command line; quotes of both kinds hold blanks together."""
    return ["".join(groups) for groups in _WORD.findall(line)]


def _number(word: str) -> int:
    match = re.match(r"\s*[+-]?[0-9]{1,9}", word)
    return int(match[0]) if match else 0


def main(
    arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None, stdin: BinaryIO | None = None
) -> int:
    """Run as a program: SQL in the arguments, or a script on standard input; returns the exit code."""
    _utf8(sys.stdout)
    _utf8(sys.stderr)
    try:
        options = parse_arguments(
            sys.argv[1:] if arguments is None else arguments, os.environ if environ is None else environ
        )
        behaviour = behaviour_of(options.version)
        if options.show_version:
            sys.stdout.write(f"osqueryi version {behaviour.version}\n")
            return 0
        registry = load(machine_in(options.hives, options.machine))
    except FleetscanError as error:
        # Without the next step that errors carry elsewhere: whoever reads a shell's errors knows its texts by heart.
        place = f"{error.where}: " if error.where else ""
        sys.stderr.write(f"Error: {place}{error.what}\n")
        return EXIT_STARTUP
    shell = Shell(
        Database(
            registry,
            behaviour=behaviour,
            tables=None if options.elevated is None else scanner_tables(elevated=options.elevated),
        ),
        style=options.style,
        runs_unterminated=behaviour.runs_unterminated,
        out=sys.stdout,
        err=sys.stderr,
    )
    if options.sql is not None:
        return shell.run(options.sql) if not options.sql.startswith(".") else int(not shell.command(options.sql))
    return shell.run_script(_lines(sys.stdin.buffer if stdin is None else stdin))


def _lines(stream: BinaryIO) -> Iterator[str]:
    for line in stream:
        yield line.decode(errors="replace")


def _utf8(stream: TextIO) -> None:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="replace")


if __name__ == "__main__":
    sys.exit(main())
