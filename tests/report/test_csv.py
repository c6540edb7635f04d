"""The CSV package: stable columns, RFC 4180, one row per evidence, hashes that tie it to the store."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fleetscan.report.csv import APPROVALS, CHANGES, COVERAGE, FINDINGS, SHEETS, lines, mtime, write_package
from fleetscan.report.document import RawHash
from fleetscan.report.escape import read_cell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fleetscan.report.csv import Sheet
    from fleetscan.report.document import Document


def rows(sheet: Sheet, document: Document) -> list[dict[str, str]]:
    return list(csv.DictReader(lines(sheet, document)))


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_golden_sheets(document: Document, golden: Callable[[str, str], None], sheet: Sheet) -> None:
    golden(sheet.name, "".join(lines(sheet, document)))


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_every_row_has_every_column_and_ends_in_crlf(document: Document, sheet: Sheet) -> None:
    text = list(lines(sheet, document))
    assert {len(row) for row in csv.reader(text)} == {len(sheet.columns)}
    assert all(line.endswith("\r\n") for line in text)


def test_a_finding_has_one_row_for_each_evidence_with_the_way_back(document: Document) -> None:
    first, second, third = (row for row in rows(FINDINGS, document) if row["finding"] == "3a91c07be2d4")
    assert first["rule_title"] == "New SIP provider"
    assert first["registry_data"] == "C:\\Users\\Public\\sip.dll"
    assert first["statement"] == "q-0001"
    assert re.fullmatch("[0-9a-f]{64}", first["raw_sha256"])
    assert (second["registry_value"], second["registry_data"]) == ("FuncName", "DbgUiContinue")
    assert (third["source"], third["reason"]) == ("baseline", "the same identity loads another file")
    assert (second["source"], second["reason"]) == ("known good", "the GUID is stock, the DLL is not")


def test_stock_rows_are_listed_with_their_verdict(document: Document) -> None:
    assert sum(row["verdict"] == "expected" for row in rows(FINDINGS, document)) == 4


def test_a_finding_without_evidence_still_has_a_row(document: Document) -> None:
    bare = replace(document.assessment.stock[0].findings[0], hits=())
    alone = replace(document, assessment=replace(document.assessment, findings=(bare,), stock=()))
    assert [row["source"] for row in rows(FINDINGS, alone)] == [""]


def test_of_several_statements_the_one_for_the_area_of_the_key_is_named(document: Document) -> None:
    raw = {"ws-07": (RawHash("system-0a1b", "1" * 64), RawHash("software-0a1b", "2" * 64))}
    first, second = rows(FINDINGS, replace(document, raw=raw, scope_statements={}))[:2]
    assert (first["statement"], first["raw_sha256"]) == ("software-0a1b", "2" * 64)
    assert second["statement"] == "software-0a1b"


def test_where_the_statement_is_not_known_all_answers_are_named(document: Document) -> None:
    first = rows(FINDINGS, replace(document, scope_statements={}))[0]
    assert first["statement"] == "q-0001 | q-0002"
    assert first["raw_sha256"].count(" | ") == 1


def test_changes_have_one_row_for_each_attribute(document: Document) -> None:
    replaced, added, *update, lost_host, lost_entity = rows(CHANGES, document)
    assert (replaced["attribute"], replaced["new"]) == ("dll", "c:\\users\\public\\sip.dll")
    assert (added["change"], added["attribute"]) == ("added", "")
    assert [row["host"] for row in update] == ["ws-07", "ws-08", "ws-09"]
    assert (lost_host["change"], lost_host["entity"]) == ("not comparable", "the whole host")
    assert lost_entity["why"] == "sweep: 2 keys gave no row"


def test_coverage_has_a_row_for_every_host_and_rule_also_the_lost_ones(document: Document) -> None:
    statuses = {(row["host"], row["rule_title"]): row["status"] for row in rows(COVERAGE, document)}
    assert len(statuses) == len(document.hosts) * len(document.rules)
    assert statuses["srv-03", "New SIP provider"] == "unreachable"
    assert statuses["ws-09", "WinSock2 autorun keys"] == "proven clean"
    assert statuses["ws-08", "WinSock2 autorun keys"] == "partial"


def test_approvals_say_what_they_did(document: Document) -> None:
    active, expired = rows(APPROVALS, document)
    assert (active["uses"], active["expires"]) == ("1", "2027-03-01")
    assert expired["state"] == "expired"


def test_the_manifest_holds_the_hash_of_every_file(
    document: Document, tmp_path: Path, conforms: Callable[[str, object], None]
) -> None:
    paths = write_package(document, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    conforms("manifest.schema.json", manifest)
    assert (
        {path.name for path in paths} == {*manifest["files"], "manifest.json"} == {p.name for p in tmp_path.iterdir()}
    )
    for name, expected in manifest["files"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == expected
    assert (manifest["sweep"], manifest["plan"]) == (document.sweep.id, document.sweep.plan)


@pytest.mark.parametrize(("bom", "start"), [(True, b"\xef\xbb\xbffinding,"), (False, b"finding,")])
def test_the_byte_order_mark_is_an_option(document: Document, tmp_path: Path, start: bytes, bom: bool) -> None:  # noqa: FBT001 - data
    write_package(document, tmp_path, bom=bom)
    assert (tmp_path / "findings.csv").read_bytes().startswith(start)


def test_a_parser_reads_back_what_the_host_gave(hostile: Document, payload: str) -> None:
    first = rows(FINDINGS, hostile)[0]
    for column in ("host", "name", "dll", "why", "registry_key", "registry_data", "excuse", "capped"):
        assert read_cell(first[column]) == payload


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_no_cell_of_any_sheet_is_a_formula(all_hostile: Document, sheet: Sheet) -> None:
    starts = tuple("=+-@|%\uff1d\uff0b\uff0d\uff20")
    cells = [cell for row in csv.reader(lines(sheet, all_hostile)) for cell in row]
    assert not [cell for cell in cells if cell.lstrip().startswith(starts)]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, ""), (1_763_750_000, "2025-11-21T18:33:20Z"), (2**62, ""), (-(2**62), "")]
)
def test_times_are_iso_8601_in_utc_or_empty(seconds: int, text: str) -> None:
    assert mtime(seconds) == text
