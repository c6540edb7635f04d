"""Query files: metadata, one statement, parameters."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

from fleetscan.errors import QueryError
from fleetscan.model.finding import Severity
from fleetscan.queries import Query, fill, load_queries, load_query
from fleetscan.settings import content

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = sorted(content("queries").rglob("*.sql"))
TEXT = """-- title: Two words
-- description: First line
-- description: and the second.
-- severity: high
-- attack: T1553.003, T1547
-- interval: 3600
SELECT ':not_one' AS a, -- a comment; with a semicolon
  :dll AS b, /* :nor_this */ :dll AS c, :name AS d;
"""


def query(folder: Path, text: str) -> Query:
    path = folder / "q.sql"
    path.write_text(text, encoding="utf-8")
    return load_query(path)


def test_metadata_and_statement_are_read(tmp_path: Path) -> None:
    loaded = query(tmp_path, TEXT)
    assert loaded.title == "Two words"
    assert loaded.description == "First line and the second."
    assert loaded.severity is Severity.HIGH
    assert loaded.techniques == ("T1553.003", "T1547")
    assert loaded.interval == 3600
    assert loaded.sql == "SELECT ':not_one' AS a, :dll AS b, :dll AS c, :name AS d"
    assert loaded.parameters == ("dll", "name")


WRONG = {
    "no title": ("SELECT 1", "no title"),
    "unknown key": ("-- title: x\n-- sevrity: high\nSELECT 1", "sevrity"),
    "unknown severity": ("-- title: x\n-- severity: bad\nSELECT 1", "bad"),
    "odd interval": ("-- title: x\n-- interval: 1h\nSELECT 1", "1h"),
    "two statements": ("-- title: x\nSELECT 1; SELECT 2;", "one statement"),
    "not a query": ("-- title: x\nDELETE FROM t", "SELECT or WITH"),
    "nothing": ("-- title: x\n", "SELECT or WITH"),
    "too large": ("-- title: x\nSELECT 1" + " " * 300_000, "larger than"),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_query_file_is_refused_in_words(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=re.escape(words)):
        query(tmp_path, text)


def test_a_missing_file_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="cannot be read"):
        load_query(tmp_path / "none.sql")


def test_a_missing_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=":name"):
        fill(query(tmp_path, TEXT), {"dll": "'x'"})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_query_loads_and_its_filled_form_is_one_statement(path: Path) -> None:
    loaded = load_query(path)
    sql = fill(loaded, dict.fromkeys(loaded.parameters, "'it''s'"))
    assert sqlite3.complete_statement(sql + ";")
    assert not re.search(r":[a-z_]+", re.sub(r"'(?:[^']|'')*'", "", sql))


def test_detections_have_a_severity_and_triage_queries_have_none() -> None:
    assert all(one.severity is not None for one in load_queries(content("queries") / "detections"))
    assert all(one.severity is None for one in load_queries(content("queries") / "triage"))
    assert load_queries(content("queries") / "triage")
