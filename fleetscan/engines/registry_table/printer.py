"""Results as the osquery shell prints them: JSON, table, CSV, list, line (osquery/devtools/printer.cpp)."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fleetscan.engines.registry_table.database import Columns

    Texts = Sequence[Sequence[str]]

MODES = ("csv", "column", "json", "json_pretty", "line", "list", "pretty")

_JSON_NAMES = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
_JSON_ESCAPES = {code: _JSON_NAMES.get(code, f"\\u{code:04X}") for code in (*range(32), 34, 92)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How rows are printed."""

    mode: str = "pretty"
    null: str = ""
    separator: str = "|"
    headers: bool = True


def json_rows(rows: Sequence[Mapping[str, str]]) -> str:
    """The array that ``--json`` prints: an object a line, its columns in alphabetical order, all values text."""
    lines = ",\n".join(f"  {_json_object(row)}" for row in rows)
    return f"[\n{lines}\n]\n"


def _json_object(row: Mapping[str, str]) -> str:
    cells = ",".join(f"{_json_text(name)}:{_json_text(row[name])}" for name in sorted(row))
    return f"{{{cells}}}"


def _json_text(text: str) -> str:
    encoded = _ENCODE(text)
    # The shell writes other control characters with upper-case digits.
    return f'"{text.translate(_JSON_ESCAPES)}"' if "\\u00" in encoded else encoded


def format_rows(columns: Columns, rows: Sequence[Mapping[str, str]], style: Style) -> str:
    """The text of a result. ``columns`` give the order where the form has one; a row may lack some."""
    if style.mode == "json":
        return json_rows(rows)
    if style.mode == "json_pretty":
        return json.dumps([dict(sorted(row.items())) for row in rows], ensure_ascii=False, indent=2) + "\n"
    texts = [[row.get(name, "") for name in columns] for row in rows]
    return _FORMS.get(style.mode, _table)(columns, texts, style) if texts else ""


def _csv(columns: Columns, rows: Texts, style: Style) -> str:
    return _separated(columns, rows, style, _csv_cell)


def _list(columns: Columns, rows: Texts, style: Style) -> str:
    return _separated(columns, rows, style, str)


def _separated(columns: Columns, rows: Texts, style: Style, cell_text: Callable[[str], str]) -> str:
    lines = [columns, *rows] if style.headers else rows
    return "".join(style.separator.join(map(cell_text, line)) + "\n" for line in lines)


def _csv_cell(cell: str) -> str:
    """A cell of the shell's CSV: quoted if it holds anything but plain printable characters."""
    if not cell or all("!" <= char <= "~" and char not in "\"',;" for char in cell):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def _line(columns: Columns, rows: Texts, _: Style) -> str:
    return "\n".join(_lines(columns, row) for row in rows)


def _lines(columns: Columns, row: Sequence[str]) -> str:
    width = max(5, *map(len, columns))
    return "".join(f"{name:>{width}} = {cell}\n" for name, cell in zip(columns, row, strict=True))


def _column(columns: Columns, rows: Texts, style: Style) -> str:
    widths = _widths(columns, rows)
    head = [columns, ["-" * width for width in widths]] if style.headers else []
    return "".join("  ".join(_padded(line, widths)).rstrip() + "\n" for line in (*head, *rows))


def _table(columns: Columns, rows: Texts, _: Style) -> str:
    widths = _widths(columns, rows)
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+\n"
    lines = [_table_line(row, widths) for row in rows]
    return rule + _table_line(columns, widths) + rule + "".join(lines) + rule


def _table_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(_padded(cells, widths)) + " |\n"


def _padded(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for cell, width in zip(cells, widths, strict=True):
        yield cell + " " * (width - display_width(cell))


def _widths(columns: Columns, rows: Texts) -> list[int]:
    return [max(map(display_width, cells)) for cells in zip(columns, *rows, strict=True)]


def display_width(text: str) -> int:
    """Columns a terminal takes for the text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


_FORMS: Final[Mapping[str, Callable[[Columns, Texts, Style], str]]] = {
    "column": _column,
    "csv": _csv,
    "line": _line,
    "list": _list,
}
