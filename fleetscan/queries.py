"""Query files: one osquery SELECT each, with what it is for in the leading comment.

``-- name: value`` lines at the top of the file are its metadata, the rest is SQL. A ``:name`` in the SQL stands for a
value that is filled in, quoted, when the query is run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from fleetscan.errors import Place, QueryError
from fleetscan.model.detection import detection_id
from fleetscan.model.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_BYTES = 256 * 1024
KEYS = ("title", "description", "answers", "severity", "attack", "interval", "needs", "caution")
_META = re.compile(r"--\s*(?P<key>[a-z]+):\s*(?P<value>.*\S)\s*")
_TOKEN = re.compile(
    r"""
    (?P<text> '(?:[^']|'')*' | "(?:[^"]|"")*" )   # a literal or a quoted name: never looked into
  | (?P<comment> --[^\n]* | /\*.*?\*/ )
  | (?P<parameter> :[a-z_]+ )
  | (?P<end> ; )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query file. ``severity`` is set for detections: each row they return is a finding of that severity."""

    name: str
    where: Place
    sql: str
    parameters: tuple[str, ...]
    title: str
    description: str = ""
    answers: str = ""
    """What a row means, in words for the analyst."""
    needs: str = ""
    """What a host must have (an osquery version, a running Sysmon) for the answer to mean anything."""
    caution: str = ""
    severity: Severity | None = None
    techniques: tuple[str, ...] = ()
    interval: int | None = None

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the SQL."""
        return sha256(self.sql.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def scope_id(self) -> str:
        """Id of the query as a detection: stable for the same text."""
        return detection_id(self.name, self.digest)


def load_queries(folder: Path) -> tuple[Query, ...]:
    """All ``*.sql`` directly in a folder, by name; QueryError names the first that is wrong."""
    return tuple(load_query(path) for path in sorted(folder.glob("*.sql")))


def load_query(path: Path) -> Query:
    """The query of one file."""
    try:
        content = path.read_bytes()[: MAX_BYTES + 1]
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise QueryError(f"cannot be read: {reason}", where=str(path)) from error
    if len(content) > MAX_BYTES:
        raise QueryError(f"larger than {MAX_BYTES // 1024} KB", where=str(path))
    meta, first = _metadata(text, path)
    sql, parameters = _statement(text.split("\n", first)[-1] if first else text, Place(str(path), first + 1))
    if "title" not in meta:
        raise QueryError("the query has no title", where=Place(str(path), 1), hint="-- title: What it asks")
    return Query(
        name=path.stem,
        where=Place(str(path), first + 1),
        sql=sql,
        parameters=parameters,
        title=meta["title"],
        description=meta.get("description", ""),
        answers=meta.get("answers", ""),
        needs=meta.get("needs", ""),
        caution=meta.get("caution", ""),
        severity=_severity(meta, path),
        techniques=tuple(meta.get("attack", "").replace(",", " ").split()),
        interval=_interval(meta, path),
    )


def _metadata(text: str, path: Path) -> tuple[dict[str, str], int]:
    meta: dict[str, str] = {}
    for number, line in enumerate(text.split("\n")):
        match = _META.fullmatch(line.strip())
        if match is None:
            return meta, number
        key = match["key"]
        if key not in KEYS:
            raise QueryError(f"unknown metadata {key!r}", where=Place(str(path), number + 1), hint=", ".join(KEYS))
        meta[key] = f"{meta[key]} {match['value']}" if key in meta else match["value"]
    return meta, text.count("\n")


def _severity(meta: Mapping[str, str], path: Path) -> Severity | None:
    word = meta.get("severity")
    if word is None:
        return None
    try:
        return Severity[word.upper()]
    except KeyError as error:
        known = ", ".join(str(severity) for severity in Severity)
        raise QueryError(f"severity {word!r} is unknown", where=str(path), hint=known) from error


def _interval(meta: Mapping[str, str], path: Path) -> int | None:
    text = meta.get("interval")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise QueryError(f"interval {text!r} is no number of seconds", where=str(path), hint="-- interval: 3600")
    return int(text)


def _statement(text: str, where: Place) -> tuple[str, tuple[str, ...]]:
    """The SQL on one line, without comments and semicolon, and the names of its parameters."""
    parts: list[str] = []
    parameters: dict[str, None] = {}
    at = 0
    for match in _TOKEN.finditer(text):
        parts.append(text[at : match.start()])
        at = match.end()
        if match["end"]:
            if re.sub(r"--[^\n]*", "", text[at:]).strip():
                raise QueryError("a query file holds one statement", where=where, hint="one file a query")
            at = len(text)
            break
        if match["parameter"]:
            parameters[match["parameter"][1:]] = None
        parts.append(" " if match["comment"] else match[0])
    parts.append(text[at:])
    sql = " ".join("".join(parts).split())
    if not re.match(r"(?i)(select|with)\b", sql):
        raise QueryError("the query does not begin with SELECT or WITH", where=where, hint="SELECT ... FROM ...")
    return sql, tuple(parameters)


def fill(query: Query, literals: Mapping[str, str]) -> str:
    """The SQL with its parameters replaced by SQL literals, which the caller has quoted."""
    missing = [name for name in query.parameters if name not in literals]
    if missing:
        raise QueryError(f"no value for :{missing[0]}", where=query.where)

    def replace(match: re.Match[str]) -> str:
        name = match["parameter"]
        return literals[name[1:]] if name else match[0]

    return _TOKEN.sub(replace, query.sql)
