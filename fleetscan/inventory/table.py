"""CSV inventories, such as an export of an asset database: one host per line, columns named like settings."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from fleetscan.errors import InventoryError, Place
from fleetscan.inventory.ranges import expand_range, split_port
from fleetscan.inventory.resolve import Declarations, Group, Setting, Settings
from fleetscan.inventory.vocabulary import NAMES, SECRETS, check_name, expand, value_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HOST_COLUMNS = ("host", "name", "hostname", "computer", "computername", "fqdn", "dnshostname")
_ODD = re.compile(r"[\s_-]+")  # between the words of a header
_GROUP_COLUMNS = frozenset({"group", "groups"})
_SEPARATORS = re.compile(r"[;|,\s]+")
_BEFORE = re.compile(r"(?:[^\S\n]*\n|#TYPE [^\n]*\n)*")  # blank lines, and what PowerShell writes of the type
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n")  # how Excel is told what separates cells


def read_csv(text: str, path: Path, environment: Mapping[str, str]) -> Declarations:
    """The declarations of a CSV text with a header; comma, semicolon or tab separates, groups stand in one cell.

    Columns that are no settings are named in a note; the name of a host may stand once only.
    """
    text = text.replace("\r\n", "\n")
    start = _BEFORE.match(text)
    before = start[0].count("\n") if start else 0
    text = text[start.end() :] if start else text
    separator = _SEPARATOR_LINE.match(text)
    before += 1 if separator else 0
    text = text[separator.end() :] if separator else text
    first_line = text.partition("\n")[0]
    delimiter = separator[1] if separator else max(",;\t", key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    declared = Declarations()
    try:
        header = [_column(cell) for cell in next(reader, [])]
        name_at = _name_column(header, Place(str(path), before + 1), declared)
        for row in reader:
            if any(cell.strip() for cell in row):
                where = Place(str(path), before + reader.line_num)
                _read_row(header, row, name_at, where, path, environment, declared)
    except csv.Error as error:
        where = Place(str(path), before + reader.line_num)
        raise InventoryError(f"not CSV: {error}", where=where, hint="quotes around a whole cell, or none") from error
    if not declared.hosts:
        raise InventoryError("no hosts", where=str(path))
    return declared


def _column(cell: str) -> str:
    """What a header means: ``Host Name`` is ``hostname``, while settings are spelt as they are."""
    word = cell.strip().lower()
    joined = _ODD.sub("", word)
    return joined if joined in _HOST_COLUMNS and word not in NAMES else word


def _name_column(header: list[str], where: Place, declared: Declarations) -> int:
    found = next((name for name in _HOST_COLUMNS if name in header), None)
    if found is None:
        raise InventoryError("no column with the host", where=where, hint=f"a header with {_HOST_COLUMNS[0]}")
    for secret in SECRETS.intersection(header):
        check_name(secret, where)
    used = [name for name in header if name in NAMES or name == found]
    if len(set(used)) != len(used):
        raise InventoryError("a column stands twice", where=where)
    if rest := [name for name in header if name and name != found and name not in {*NAMES, *_GROUP_COLUMNS}]:
        declared.notes.append(f"columns not used: {', '.join(rest[:20])}")
    return header.index(found)


def _read_row(
    header: list[str],
    row: list[str],
    name_at: int,
    where: Place,
    path: Path,
    environment: Mapping[str, str],
    declared: Declarations,
) -> None:
    if len(row) > len(header):
        raise InventoryError(f"{len(row)} cells under {len(header)} columns", where=where)
    name = row[name_at].strip() if name_at < len(row) else ""
    if not name:
        raise InventoryError(f"no {header[name_at]} in this line", where=where)
    settings: Settings = {}
    groups: list[str] = []
    for column, cell in zip(header, row, strict=False):
        text = cell.strip()
        if text and column in _GROUP_COLUMNS:
            groups += filter(None, _SEPARATORS.split(text))
        elif text and column in NAMES:
            value = value_of(column, expand(text, environment, where), where=where, folder=path.parent)
            settings[column] = Setting(value, where)
    pattern, port = split_port(name)
    if port is not None:
        settings.setdefault("port", Setting(value_of("port", port, where=where, folder=path.parent), where))
    for host in expand_range(pattern, where):
        if host in declared.hosts:
            raise InventoryError(f"{host!r} stands twice", where=where)
        declared.add_host(host, settings, where)
        for group in groups:
            declared.groups.setdefault(group, Group(where)).hosts[host] = where
