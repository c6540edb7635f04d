"""The formats by name, and where each is written: one file, a folder for several, or standard output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fleetscan.errors import SettingsError
from fleetscan.report import csv, html, navigator, ocsf, sarif, table
from fleetscan.report import json as json_lines
from fleetscan.report.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    from fleetscan.report.document import Document


class Format(StrEnum):
    """What ``--format`` takes; each is a module of this folder."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    HTML = "html"
    NAVIGATOR = "navigator"
    SARIF = "sarif"
    OCSF = "ocsf"


FILE_NAMES = {
    Format.TABLE: "report.txt",
    Format.JSON: "findings.jsonl",
    Format.HTML: "report.html",
    Format.NAVIGATOR: "navigator.json",
    Format.SARIF: "findings.sarif",
    Format.OCSF: "findings.ocsf.jsonl",
}
"""Names in a folder; CSV is a package of several files with names of their own. No name comes from a host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to render: CSV with byte order mark; width, colours and stock rows of the table."""

    bom: bool = False
    width: int = table.DEFAULT_WIDTH
    colour: bool = False
    everything: bool = False


def parse_formats(words: Iterable[str]) -> tuple[Format, ...]:
    """``["html", "csv,json"]`` as formats, each once, in the order given. Raises SettingsError for an unknown word."""
    formats: dict[Format, None] = {}
    for word in (part.strip() for text in words for part in text.split(",")):
        try:
            formats[Format(word)] = None
        except ValueError:
            raise SettingsError(f"no report format is called '{word}'", hint=f"one of {', '.join(Format)}") from None
    return tuple(formats)


def write(
    document: Document, formats: Sequence[Format], output: Path | None, stdout: TextIO, options: Options
) -> tuple[Path, ...]:
    """Write the document in every format; returns the files.

    Without ``output`` one format goes to ``stdout``. One format takes ``output`` as its file, unless that is a folder;
    several formats, and the CSV package, take it as a folder. CSV with a name in ``.csv`` is the findings alone.
    """
    if output is None:
        _to_stdout(document, formats, stdout, options)
        return ()
    if formats == (Format.CSV,) and output.suffix.lower() == ".csv":
        csv.write_findings(document, output, bom=options.bom)
        return (output,)
    single = len(formats) == 1 and formats[0] is not Format.CSV and not output.is_dir()
    return tuple(
        path
        for format_ in formats
        for path in (
            csv.write_package(document, output, bom=options.bom)
            if format_ is Format.CSV
            else _write_file(document, format_, output if single else output / FILE_NAMES[format_], options)
        )
    )


def _to_stdout(document: Document, formats: Sequence[Format], stdout: TextIO, options: Options) -> None:
    if len(formats) > 1:
        raise SettingsError("several formats need a folder", hint="--output FOLDER")
    for chunk in chunks(document, formats[0], options):
        if formats[0] is Format.TABLE:
            encoding = getattr(stdout, "encoding", None) or "utf-8"
            stdout.write(chunk.encode(encoding, "backslashreplace").decode(encoding))
        else:
            _write_exactly(chunk, stdout)


def _write_exactly(text: str, stdout: TextIO) -> None:
    """For programs: UTF-8 and line breaks as they are, whatever the terminal's own way would be."""
    binary = getattr(stdout, "buffer", None)
    if binary is None:
        stdout.write(text)
        return
    stdout.flush()
    binary.write(text.encode("utf-8"))


def _write_file(document: Document, format_: Format, path: Path, options: Options) -> tuple[Path, ...]:
    with whole_file(path) as stream:
        stream.writelines(chunks(document, format_, options))
    return (path,)


def chunks(document: Document, format_: Format, options: Options) -> Iterator[str]:
    """The text of one format, in parts; for CSV the findings."""
    match format_:
        case Format.TABLE:
            yield table.render(document, width=options.width, colour=options.colour, everything=options.everything)
        case Format.CSV:
            yield from csv.lines(csv.FINDINGS, document)
        case Format.JSON:
            yield from (line + "\n" for line in json_lines.lines(document))
        case Format.OCSF:
            yield from (line + "\n" for line in ocsf.lines(document))
        case Format.HTML:
            yield html.render(document)
        case Format.NAVIGATOR:
            yield json.dumps(navigator.layer(document), indent=2) + "\n"
        case Format.SARIF:
            yield json.dumps(sarif.log(document), indent=2) + "\n"
