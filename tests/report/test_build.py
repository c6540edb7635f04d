"""The document of a stored sweep: the demo fleet, swept through the embedded engine into a store."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleetscan.engines.named import engine_named
from fleetscan.judging import judge
from fleetscan.progress import Silent
from fleetscan.report import csv
from fleetscan.report.document import Covered, evidence
from fleetscan.store.manifest import check_manifest
from fleetscan.store.sql import open_store
from fleetscan.sweep import Request, ask, begin, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetscan.report.document import Document
    from fleetscan.store.interface import Store

DEMO = Path(__file__).resolve().parents[2] / "inventory" / "demo.yml"
NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with one sweep of the demo fleet."""
    prepared = prepare(Request(inventory=str(DEMO)))
    with open_store(tmp_path_factory.mktemp("store") / "demo.db") as store:
        sweep = begin(prepared, store, now=NOW)
        ask(prepared, store, sweep, engine_named, observer=Silent(), stop=threading.Event(), now=lambda: NOW)
        yield store


@pytest.fixture(scope="module")
def demo(store: Store) -> Document:
    """Its document."""
    rules = prepare(Request(inventory=str(DEMO))).report.rules
    return judge(store, store.sweep(), rules, now=NOW, inventory=f"-i {DEMO}").document


def test_every_host_of_the_sweep_is_in_the_document_with_every_rule(demo: Document) -> None:
    assert len(demo.hosts) == 6
    assert demo.rules
    assert {len(host.rules) for host in demo.hosts} == {len(demo.rules)}


def test_the_host_that_cannot_be_read_is_unreachable_for_every_rule(demo: Document) -> None:
    (lost,) = [host for host in demo.hosts if host.unreachable]
    assert lost.name == "srv-print-02"
    assert {row.status for row in lost.rules} == {Covered.UNREACHABLE}


def test_a_clean_host_is_proven_clean(demo: Document) -> None:
    clean = next(host for host in demo.hosts if host.name == "ws-berlin-01")
    said = {
        (rule.dialect == "osquery", rule.needs_baseline): row.status
        for rule, row in zip(demo.rules, clean.rules, strict=True)
    }
    assert said == {
        (False, False): Covered.CLEAN,
        (False, True): Covered.NOT_COVERED,
        (True, False): Covered.NOT_ANSWERABLE,  # a .reg export holds no files
    }
    assert "3 detections not answerable on 5 hosts, which have no file, processes" in demo.notes
    assert clean.build == "19045"


def test_open_findings_lead_to_one_query_and_to_the_raw_answer_that_holds_the_row(store: Store, demo: Document) -> None:
    sweep = store.sweep().id
    statements = {statement.id for statement in demo.statements}
    rows = [(finding, row) for finding in demo.open_findings for row in evidence(demo, finding)]
    assert rows
    for finding, row in rows:
        (raw,) = row.raw
        assert raw.statement_id in statements
        content = next(answer.content for answer in store.raw(sweep, finding.host) if answer.sha256 == raw.sha256)
        assert json.dumps(row.value)[1:-1].encode() in content
        assert json.dumps(row.data)[1:-1].encode() in content


def test_the_csv_package_is_sound_for_the_store_it_came_from(store: Store, demo: Document, tmp_path: Path) -> None:
    csv.write_package(demo, tmp_path)
    checked = check_manifest(store, tmp_path / "manifest.json")
    assert checked.problems == ()
    (tmp_path / "coverage.csv").write_text("changed")
    assert [problem.where for problem in check_manifest(store, tmp_path / "manifest.json").problems] == ["coverage.csv"]
