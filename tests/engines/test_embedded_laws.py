"""Laws of the emulated table, the printer and the shell, on generated registries and texts."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscan.engines.registry_table.blind_spots import Witness
from fleetscan.engines.registry_table.database import Database
from fleetscan.engines.registry_table.errors import SqlError
from fleetscan.engines.registry_table.printer import Style, format_rows, json_rows
from fleetscan.hives.mount import contents
from fleetscan.hives.tree import MemoryRegistry
from fleetscan.osqueryi import Shell

if TYPE_CHECKING:
    from fleetscan.hives.tree import MemoryKey

ROOT = "HKEY_LOCAL_MACHINE"
WALK = f"""WITH RECURSIVE walk(key, path, name, type, data) AS (
  SELECT key, path, name, type, data FROM registry WHERE key = '{ROOT}'
  UNION ALL
  SELECT r.key, r.path, r.name, r.type, r.data FROM walk w CROSS JOIN registry r
  WHERE w.type = 'subkey' AND r.key = w.path)
SELECT key, path, name, type, data FROM walk"""

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\\\0 \t\n\v\f\r%"), min_size=1, max_size=6)
PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=4), max_size=8)
VALUES = st.tuples(NAMES | st.just(""), st.sampled_from((1, 2, 3, 4, 7, 11)), st.binary(min_size=8, max_size=12))
HOSTILE_NAMES = st.text(st.sampled_from("ab \\\0\t%_\ud800é"), max_size=4)
HOSTILE_KEYS = HOSTILE_NAMES.filter(lambda name: name.partition("\0")[0].strip(" \t\\") != "")
"""Names that open as a key of their own: what a blank name does has tests of its own."""
HOSTILE_VALUES = st.tuples(HOSTILE_NAMES, st.integers(0, 0xFFFFFFFF), st.binary(max_size=6))
WORDS = st.sampled_from(
    [
        *("SELECT", "*", "FROM", "registry", "WHERE", "key", "path", "LIKE", "=", "IN", "(", ")", "OR", "AND", "'%%'"),
        *("'HKEY_LOCAL_MACHINE'", "LIMIT", "1", ";", "'", '"', "--", "/*", ".print", ".exit", "x'00'", "NULL", "users"),
        *("regex_match(key,'(',0)", "split(1,2,3)", "UNION", "JOIN", "\0", "\n", "é"),
    ]
)


def registry(paths: list[list[str]], values: list[tuple[str, int, bytes]]) -> MemoryRegistry:
    memory = MemoryRegistry()
    for number, path in enumerate(paths):
        key = memory.key((ROOT, *path))
        for name, value_type, data in values[number::2]:
            key.set(name, value_type, data)
    return memory


def paths_below(key: MemoryKey, path: str) -> list[str]:
    return [path, *(below for child in key.subkeys() for below in paths_below(child, f"{path}\\{child.name}"))]


@settings(max_examples=60, deadline=None)
@given(PATHS, st.lists(VALUES, max_size=5))
def test_walk_reads_every_key_once_and_says_what_asking_each_key_says(
    paths: list[list[str]], values: list[tuple[str, int, bytes]]
) -> None:
    memory = registry(paths, values)
    database = Database(contents(memory))

    walked = sorted(database.rows(WALK))

    keys = paths_below(memory.roots[ROOT], ROOT)
    assert database.calls.open == len(keys)
    asked = [
        row
        for key in keys
        for row in Database(contents(memory)).rows(
            "SELECT key, path, name, type, data FROM registry WHERE key = '" + key.replace("'", "''") + "'"
        )
    ]
    assert walked == sorted(asked)


@settings(max_examples=60, deadline=None)
@given(PATHS, st.lists(VALUES, max_size=5))
def test_recursive_pattern_gives_what_the_walk_gives_below_its_start(
    paths: list[list[str]], values: list[tuple[str, int, bytes]]
) -> None:
    memory = registry(paths, values)

    pattern = Database(contents(memory)).rows(
        rf"SELECT key, path, name, type, data FROM registry WHERE key LIKE '{ROOT}\%%'"
    )

    walk = Database(contents(memory)).rows(f"{WALK} WHERE key != '{ROOT}'")
    assert sorted(pattern) == sorted(walk)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(HOSTILE_KEYS, max_size=3), max_size=6), st.lists(HOSTILE_VALUES, max_size=6), st.booleans())
def test_hostile_names_and_data_are_answered(
    paths: list[list[str]],
    values: list[tuple[str, int, bytes]],
    old: bool,  # noqa: FBT001 - generated
) -> None:
    from fleetscan.engines.registry_table.versions import behaviour_of  # noqa: PLC0415

    memory = registry(paths, values)
    witness = Witness()
    database = Database(contents(memory), witness=witness, behaviour=behaviour_of("5.13.0" if old else None))

    rows = list(database.texts(WALK))
    rows += list(database.texts(rf"SELECT * FROM registry WHERE key LIKE '{ROOT}\%%'"))

    assert json.loads(json_rows(rows)) == rows
    assert all(spot.kind and spot.detail for spot in witness.spots())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), st.text(st.characters(codec="utf-8"), max_size=8)), max_size=4))
def test_printed_json_reads_back(rows: list[dict[str, str]]) -> None:
    assert json.loads(json_rows(rows)) == rows


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(("csv", "list", "line", "column", "pretty")), st.lists(st.text(max_size=5), max_size=4))
def test_every_form_prints_every_text(mode: str, texts: list[str]) -> None:
    printed = format_rows(("a",), [{"a": text} for text in texts], Style(mode=mode))

    assert bool(printed) == bool(texts)


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=14))
def test_any_script_ends_with_an_exit_code(words: list[str]) -> None:
    out, err = io.StringIO(), io.StringIO()
    database = Database(contents(MemoryRegistry()))
    database.deadline = None
    shell = Shell(database, style=Style(mode="json"), runs_unterminated=True, out=out, err=err)

    code = shell.run_script(io.StringIO(" ".join(words)))

    assert code in (0, 1)
    # A script that says ``.exit N`` names its own code; any other ends with 1 if and only if an error was printed.
    assert ".exit" in words or bool(code) == bool(err.getvalue())


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_any_text_as_sql_is_answered_or_refused(sql: str) -> None:
    with contextlib.suppress(SqlError):
        list(Database(contents(MemoryRegistry())).rows(sql))
