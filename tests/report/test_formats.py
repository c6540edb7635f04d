"""Every format by its name, to a file, a folder or standard output; host names never become file names."""

from __future__ import annotations

import io
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from fleetscan.errors import SettingsError
from fleetscan.report.formats import FILE_NAMES, Format, Options, chunks, parse_formats, write

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.report.document import Document

PACKAGE = {"findings.csv", "changes.csv", "coverage.csv", "approvals.csv", "queries.csv", "manifest.json"}


@pytest.mark.parametrize("format_", Format)
def test_every_format_is_a_module_of_that_name(format_: Format) -> None:
    assert import_module(f"fleetscan.report.{format_}").__doc__


@pytest.mark.parametrize(
    ("words", "formats"),
    [(["html"], ("html",)), (["html", "csv,json"], ("html", "csv", "json")), (["csv", "csv"], ("csv",))],
)
def test_formats_are_words_or_lists(words: list[str], formats: tuple[str, ...]) -> None:
    assert parse_formats(words) == formats


def test_an_unknown_format_is_told_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"no report format is called 'pdf' \(try: one of table, csv"):
        parse_formats(["html,pdf"])


def test_several_formats_go_to_a_folder(document: Document, tmp_path: Path) -> None:
    paths = write(document, tuple(Format), tmp_path / "out", io.StringIO(), Options())
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {path.name for path in paths} == PACKAGE | set(FILE_NAMES.values())


def test_one_format_goes_to_the_file_named(document: Document, tmp_path: Path) -> None:
    assert write(document, (Format.JSON,), tmp_path / "x.jsonl", io.StringIO(), Options()) == (tmp_path / "x.jsonl",)
    assert (tmp_path / "x.jsonl").read_text().count("\n") == 15


def test_one_format_into_an_existing_folder_takes_its_usual_name(document: Document, tmp_path: Path) -> None:
    assert write(document, (Format.SARIF,), tmp_path, io.StringIO(), Options()) == (tmp_path / "findings.sarif",)


def test_csv_is_a_package_or_with_a_csv_name_the_findings_alone(document: Document, tmp_path: Path) -> None:
    write(document, (Format.CSV,), tmp_path / "package", io.StringIO(), Options())
    write(document, (Format.CSV,), tmp_path / "alone.csv", io.StringIO(), Options(bom=True))
    assert {path.name for path in (tmp_path / "package").iterdir()} == PACKAGE
    assert (tmp_path / "alone.csv").read_bytes().startswith(b"\xef\xbb\xbffinding,")


@pytest.mark.parametrize("format_", Format)
def test_one_format_without_output_goes_to_standard_output(document: Document, format_: Format) -> None:
    stream = io.StringIO()
    assert write(document, (format_,), None, stream, Options()) == ()
    assert stream.getvalue() == "".join(chunks(document, format_, Options()))
    assert stream.getvalue()


def test_a_terminal_that_knows_only_ascii_gets_the_table_all_the_same(document: Document) -> None:
    finding = replace(document.assessment.findings[0], why=("中文 ü",))
    wide = replace(document, assessment=replace(document.assessment, findings=(finding,)))
    held = io.BytesIO()
    stream = io.TextIOWrapper(held, encoding="ascii", newline="\r\n")
    write(wide, (Format.TABLE,), None, stream, Options())
    stream.flush()
    assert b"\\u4e2d\\u6587 \\xfc" in held.getvalue()


def test_programs_get_the_same_bytes_from_standard_output_as_from_a_file(document: Document, tmp_path: Path) -> None:
    held = io.BytesIO()
    stream = io.TextIOWrapper(held, encoding="ascii", newline="\r\n")
    write(document, (Format.CSV,), None, stream, Options())
    write(document, (Format.CSV,), tmp_path / "x.csv", io.StringIO(), Options())
    stream.flush()
    assert held.getvalue() == (tmp_path / "x.csv").read_bytes()


def test_several_formats_without_output_are_refused(document: Document) -> None:
    with pytest.raises(SettingsError, match="several formats need a folder"):
        write(document, (Format.CSV, Format.JSON), None, io.StringIO(), Options())


def test_hostile_names_write_the_same_files_and_nothing_else(hostile: Document, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "c" / "d" / "e" / "out"
    write(hostile, tuple(Format), folder, io.StringIO(), Options())
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {
        folder / name for name in PACKAGE | set(FILE_NAMES.values())
    }


@pytest.mark.parametrize(
    "format_", [Format.TABLE, Format.CSV, Format.JSON, Format.SARIF, Format.NAVIGATOR, Format.OCSF]
)
def test_no_text_of_a_host_acts_on_its_reader(hostile: Document, format_: Format) -> None:
    text = "".join(chunks(hostile, format_, Options(everything=True)))
    text.encode("utf-8")
    assert all(char == "\n" or char.isprintable() for char in text.replace("\r\n", "\n"))
