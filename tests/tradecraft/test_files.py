"""Cases whose registry is clean: what the shipped detections say of the files and modules that the side files list."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING

from fleetscan.findings.assemble import assess
from fleetscan.model.finding import Severity
from fleetscan.model.host import HostId
from fleetscan.model.snapshot import HostFacts, HostResult
from fleetscan.planner.detections import detected, with_detections
from fleetscan.planner.plan import Answered, make_plan
from fleetscan.queries import load_queries
from fleetscan.settings import content
from fleetscan.store.interface import Baseline, PlanRecord, SweepHost
from fleetscan.store.sql import open_store
from tests.tradecraft.pipeline import MONDAY, TODAY
from tests.tradecraft.scoring import Json, named, reports

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.findings.model import Assessment

QUERIES = load_queries(content("queries") / "detections")
PLAN = with_detections(make_plan(()), QUERIES)
TABLES = """
CREATE TABLE file (path, size, mtime, btime, uid, file_version, original_filename);
CREATE TABLE hash (path, sha256);
CREATE TABLE processes (pid, name, path);
CREATE TABLE process_memory_map (pid, path);
"""
FILE = "INSERT INTO file VALUES (:path, :size, 0, 0, :uid, :file_version, :original_filename)"


def answered(files: list[Json], modules: list[Json]) -> HostResult:
    """What a host with these files and modules answers to the detections."""
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.executescript(TABLES)
    database.executemany(FILE, files)
    database.executemany("INSERT INTO hash VALUES (:path, :sha256)", files)
    database.executemany("INSERT INTO processes VALUES (:pid, :name, :path)", modules)
    database.executemany("INSERT INTO process_memory_map VALUES (:pid, :module)", modules)
    answers = {
        one.scope_id: Answered([{name: str(row[name]) for name in row.keys()} for row in database.execute(one.sql)])  # noqa: SIM118
        for one in QUERIES
    }
    database.close()
    scopes = detected(PLAN, answers)
    return HostResult(host=HostId("host"), facts=HostFacts(), scopes=scopes, started=MONDAY, finished=MONDAY)


def assessments(results: tuple[HostResult, HostResult], place: Path) -> list[Assessment]:
    """The baseline alone, the sweep alone, and the sweep against the baseline."""
    with open_store(place) as store:
        sweeps = []
        for week, result in enumerate(results):
            started = MONDAY + timedelta(days=7 * week)
            sweep = store.begin_sweep(PlanRecord.of(PLAN), [SweepHost(result.host, "osqueryi")], started=started)
            store.put(sweep, result)
            store.finish_sweep(sweep, finished=started, outcome="complete")
            sweeps.append(store.sweep(sweep))
        before = Baseline(name="before", sweep=sweeps[0].id, created=MONDAY)
        asked = ((sweeps[0], None), (sweeps[1], None), (sweeps[1], before))
        return [assess(store, sweep, today=TODAY, baseline=base, detections=QUERIES) for sweep, base in asked]


def test_files_and_modules(tradecraft_folder: Path, filed_case: Json, tmp_path: Path) -> None:
    files: dict[str, list[Json]] = {"baseline": [], "current": []}
    modules: list[Json] = []
    for extra in filed_case["extra"]:
        side = json.loads((tradecraft_folder / "overlays" / extra).read_bytes())
        for moment, rows in side.get("files", {}).items():
            files[moment] += rows
        modules += side.get("modules", [])
    results = answered(files["baseline"], []), answered(files["current"], modules)
    past, *now = assessments(results, tmp_path / "s.db")
    assert not past.findings, "the baseline is clean"
    for assessment in now:
        found = reports(assessment, "host")
        for expected in filed_case["expected_with_files"]:
            least = Severity[expected["min_severity"].upper()]
            assert any(named(expected, one.entity) and one.severity >= least for one in found), (expected, found)
