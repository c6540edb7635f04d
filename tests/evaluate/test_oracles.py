"""Independent readers of the same languages agree with us wherever both can speak.

Rows are rebuilt as the one event they stand for; keys are chosen that have one spelling. Where the other reader differs
by design, the generator stays away from it, and the reason stands beside it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING

import eql
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sigma.backends.sqlite.sqlite import sqliteBackend
from sigma.collection import SigmaCollection

from fleetscan.evaluate import judge
from fleetscan.evaluate.data import sysmon_texts
from fleetscan.model.registry import RegistryRow
from fleetscan.model.truth import Truth
from fleetscan.rules.load import load_text
from tests.evaluate.writing import eql as eql_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = r"HKEY_LOCAL_MACHINE\SOFTWARE\Vendor\Run"
NAMES = ("Shell", "a.exe", "x_y", "*", "a?b", "50%", "[x]")
TEXTS = ("x", "X y", "evil.dll", "C:\\Windows\\a.exe", "*", "?", "a_b", "0x1", "\\\\srv\\share", "'quoted'", '"q"')
FRAGMENTS = (
    "HKLM\\",
    "SOFTWARE",
    "\\Vendor\\",
    "run",
    "\\Shell",
    "x",
    "_",
    "evil",
    ".dll",
    "\\",
    "'",
    "[",
    "a",
    "*",
    "?",
)
FEW = settings(max_examples=200, deadline=None)


def rows() -> st.SearchStrategy[RegistryRow]:
    text = st.builds(RegistryRow, st.just(KEY), st.sampled_from(NAMES), st.just("REG_SZ"), st.sampled_from(TEXTS))
    number = st.builds(
        RegistryRow, st.just(KEY), st.sampled_from(NAMES), st.just("REG_DWORD"), st.sampled_from(("0", "-1"))
    )
    return text | number


def texts() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=4).map("".join)


# Sigma: pySigma's SQLite backend


def selections() -> st.SearchStrategy[dict[str, object]]:
    key = st.builds(
        lambda field, modifier: field + modifier,
        st.sampled_from(("TargetObject", "Details")),
        st.sampled_from(("", "|contains", "|startswith", "|endswith", "|contains|all")),
    )
    # "|all" needs two values; a single wildcard alone asks "exists" in the backend, which is another question.
    values = st.lists(texts(), min_size=2, max_size=3, unique=True)
    return st.dictionaries(key, values, min_size=1, max_size=2)


CONDITIONS = ("a", "not a", "a and b", "a or b", "a and not b", "not (a or b)", "1 of them", "all of them")


@FEW
@given(selections(), selections(), st.sampled_from(CONDITIONS), rows())
def test_sigma_is_judged_as_the_sqlite_backend_selects(
    a: dict[str, object], b: dict[str, object], condition: str, row: RegistryRow
) -> None:
    text = yaml.safe_dump(
        {
            "title": "t",
            "logsource": {"product": "windows", "category": "registry_set"},
            "detection": {"a": a, "b": b, "condition": condition},
        }
    )
    rule = load_text(text, "r.yml").rules[0]
    assert (judge(rule, row).truth is Truth.TRUE) is _selected(text, row)


def _selected(text: str, row: RegistryRow) -> bool:
    """Does the backend's SQL select the event of the row?"""
    (query,) = sqliteBackend().convert(SigmaCollection.from_yaml(text))  # type: ignore[no-untyped-call]
    where = str(query).partition(" WHERE ")[2]
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE logs (TargetObject TEXT COLLATE NOCASE, Details TEXT COLLATE NOCASE)")
        path = f"HKLM{row.key.removeprefix('HKEY_LOCAL_MACHINE')}\\{row.name}"
        (details,) = sysmon_texts(row)
        connection.execute("INSERT INTO logs VALUES (?, ?)", (path, details))
        return bool(connection.execute(f"SELECT 1 FROM logs WHERE {where}").fetchall())


# EQL: the eql package. Its engine ignores case for every operator and gives null for tests on absent fields, so only
# operators without case and fields that are there are asked; a list field is one text there, so data has one text here.
# Its wildcards lack the question mark, which Elasticsearch has (T3).


def eql_conditions() -> st.SearchStrategy[str]:
    fields = st.sampled_from(("registry.path", "registry.value", "registry.data.strings"))
    plain = texts().filter(lambda text: "?" not in text)
    lists = st.lists(plain, min_size=1, max_size=3)
    colon = st.builds(lambda field, values: f"{field} : {_list(values)}", fields, lists)
    like = st.builds(lambda field, values: f"{field} like~ {_list(values)}", fields, lists)
    member = st.builds(lambda field, values: f"{field} in~ {_list(values)}", fields, lists)
    length = st.builds(
        lambda field, sign, number: f"length({field}) {sign} {number}",
        st.sampled_from(("registry.value", "registry.data.strings")),
        st.sampled_from(("==", "!=", "<", ">=")),
        st.integers(0, 9),
    )
    function = st.builds(
        lambda name, field, value: f"{name}~({field}, {_quoted(value)})",
        st.sampled_from(("startsWith", "endsWith", "stringContains")),
        fields,
        texts(),
    )
    return st.recursive(
        st.one_of(colon, like, member, length, function),
        lambda inner: (
            inner.map("not ({})".format)
            | st.tuples(inner, inner).map(" and ".join)
            | st.tuples(inner, inner).map(" or ".join)
            | inner.map("({})".format)
        ),
        max_leaves=4,
    )


def _quoted(text: str) -> str:
    return json.dumps(text)


def _list(values: Sequence[str]) -> str:
    return f"({', '.join(map(_quoted, values))})"


@FEW
@given(eql_conditions(), rows().filter(lambda row: row.type == "REG_SZ"))
def test_eql_is_judged_as_the_eql_package_evaluates(condition: str, row: RegistryRow) -> None:
    assert (judge(eql_rule(condition), row).truth is Truth.TRUE) is _evaluated(condition, row)


def _evaluated(condition: str, row: RegistryRow) -> bool:
    registry = {
        "path": f"HKLM{row.key.removeprefix('HKEY_LOCAL_MACHINE')}\\{row.name}",
        "value": row.name,
        "data": {"strings": row.data},
    }
    with eql.parser.elasticsearch_syntax:
        engine = eql.get_engine(eql.parse_query(f"registry where {condition}"))
    return bool(engine([eql.Event("registry", 1, {"registry": registry})]))
