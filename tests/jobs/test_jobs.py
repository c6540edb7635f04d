"""Jobs end to end on the demo exports: what is told after which change, what is written, what survives."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleetscan.cli.main import main
from fleetscan.engines.named import engine_named
from fleetscan.errors import ExitCode, FleetscanError, SettingsError
from fleetscan.jobs import Outcome, World, run_job
from fleetscan.notify import Deferred, EventKind
from fleetscan.progress import Silent
from fleetscan.schedule import OUTBOX, load_jobs
from fleetscan.store.interface import INCOMPLETE
from fleetscan.store.sql import open_store
from tests.patience import LONG, ended_at_last

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO = Path(__file__).parents[2] / "inventory" / "demo"
CLEAN = [DEMO / "base-win10-22h2.reg"]
HIJACKED = [*CLEAN, DEMO / "change-sip-hijack.reg"]
BROKEN = [DEMO / "broken-SOFTWARE"]
SETTINGS = """
store: s.db
jobs:
  nightly:
    inventory: fleet.yml
    baseline: auto
    every: 2s
    reports:
      - {format: json, output: out/findings.jsonl}
    notify: [log]
notify:
  log: {type: file, path: told.jsonl}
"""


@dataclass(frozen=True)
class Fleet:
    """A folder with settings and an inventory whose one machine changes between runs."""

    folder: Path

    def becomes(self, exports: list[Path], **others: list[Path]) -> None:
        lines = [
            f"  {name}: {{engine: embedded, hives: [{', '.join(map(str, files))}]}}\n"
            for name, files in {"pc": exports, **others}.items()
        ]
        (self.folder / "fleet.yml").write_text("hosts:\n" + "".join(lines), encoding="utf-8")

    def run(self) -> Outcome:
        jobs = load_jobs(self.folder / "fleetscan.yml")
        world = World(
            engine_named=engine_named,
            now=lambda: datetime.now(UTC),
            sleep=lambda _: None,
            environment={},
            stdout=StringIO(),
        )
        return run_job(jobs, jobs.job("nightly"), world, observer=Silent(), stop=threading.Event())

    def told(self) -> list[dict[str, str]]:
        lines = (self.folder / "told.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    (tmp_path / "fleetscan.yml").write_text(SETTINGS, encoding="utf-8")
    return Fleet(tmp_path)


def test_what_is_new_and_what_is_gone_is_told_once_each(fleet: Fleet) -> None:
    fleet.becomes(CLEAN)
    assert fleet.run().exit_code is ExitCode.CLEAN
    fleet.becomes(HIJACKED)
    hijacked = fleet.run()
    assert hijacked.exit_code is ExitCode.FINDINGS
    assert {event.kind for event in hijacked.events} == {EventKind.NEW}
    assert fleet.run().events == ()
    fleet.becomes(CLEAN)
    cleaned = fleet.run()
    assert cleaned.exit_code is ExitCode.CLEAN, "what is restored is no finding"
    assert [event.kind for event in cleaned.events] == [EventKind.GONE] * len(hijacked.events)
    assert [told["kind"] for told in fleet.told()] == ["new"] * len(hijacked.events) + ["gone"] * len(hijacked.events)


def test_a_host_that_is_lost_loses_coverage_and_its_findings_are_not_gone(fleet: Fleet) -> None:
    fleet.becomes(HIJACKED)
    fleet.run()
    fleet.becomes(BROKEN)
    assert [event.kind for event in fleet.run().events] == [EventKind.COVERAGE_LOST]


@pytest.mark.parametrize("between", [[], [BROKEN], [BROKEN, BROKEN]], ids=["next", "away once", "away twice"])
def test_the_rolling_baseline_is_the_machine_as_the_job_last_saw_it(fleet: Fleet, between: list[list[Path]]) -> None:
    """A machine that was off when the job ran last must not become one without a past."""
    for exports in (CLEAN, *between):
        fleet.becomes(exports)
        fleet.run()
    fleet.becomes(HIJACKED)
    outcome = fleet.run()
    document = outcome.document
    assert document is not None
    assert EventKind.NEW in {event.kind for event in outcome.events}
    states = {
        finding.state for finding in document.assessment.findings if "pssigcheck" in str(finding.entity.attributes)
    }
    assert states
    assert states <= {"new", "changed"}


def test_a_machine_that_never_answers_does_not_take_the_past_from_the_others(fleet: Fleet) -> None:
    fleet.becomes(CLEAN, dead=BROKEN)
    assert fleet.run().sweep.outcome == INCOMPLETE
    fleet.becomes(HIJACKED, dead=BROKEN)
    assert EventKind.NEW in {event.kind for event in fleet.run().events}
    document = fleet.run().document
    assert document is not None
    states = {one.state for one in document.assessment.findings if one.host == "pc" and not one.is_coverage}
    assert "still there" in states
    assert "no baseline" not in states


def test_reports_are_written_and_one_that_cannot_be_written_is_said(fleet: Fleet) -> None:
    text = SETTINGS.replace("    notify:", "      - {format: html, output: fleet.yml/no.html}\n    notify:", 1)
    (fleet.folder / "fleetscan.yml").write_text(text, encoding="utf-8")
    fleet.becomes(HIJACKED)
    outcome = fleet.run()
    assert (fleet.folder / "out" / "findings.jsonl").stat().st_size > 0
    assert outcome.exit_code is ExitCode.FINDINGS
    assert [problem.partition(":")[0] for problem in outcome.problems] == ["report html"]


@contextmanager
def server_that_answers(code: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_failing_receiver_does_not_change_the_outcome_and_gets_its_events_later(fleet: Fleet) -> None:
    fleet.becomes(HIJACKED)
    with server_that_answers(500) as url:
        text = SETTINGS.replace("{type: file, path: told.jsonl}", f'{{type: webhook, url: "{url}"}}')
        (fleet.folder / "fleetscan.yml").write_text(text, encoding="utf-8")
        outcome = fleet.run()
    assert outcome.exit_code is ExitCode.FINDINGS
    assert isinstance(outcome.deliveries[0], Deferred)
    assert (fleet.folder / OUTBOX / "log.jsonl").exists()
    (fleet.folder / "fleetscan.yml").write_text(SETTINGS, encoding="utf-8")
    assert fleet.run().events == ()
    assert {told["kind"] for told in fleet.told()} == {"new"}


def test_a_job_that_is_told_to_stop_is_incomplete_and_tells_nothing(fleet: Fleet) -> None:
    fleet.becomes(HIJACKED)
    jobs = load_jobs(fleet.folder / "fleetscan.yml")
    stop = threading.Event()
    stop.set()
    world = World(
        engine_named=engine_named,
        now=lambda: datetime.now(UTC),
        sleep=lambda _: None,
        environment={},
        stdout=StringIO(),
    )
    outcome = run_job(jobs, jobs.job("nightly"), world, observer=Silent(), stop=stop)
    assert outcome.exit_code is ExitCode.INCOMPLETE
    assert outcome.document is None
    assert not (fleet.folder / "told.jsonl").exists()
    program, *words = shlex.split(outcome.again)
    assert program == "fleetscan"
    assert main([*words, "-q"]) == ExitCode.FINDINGS
    with open_store(str(fleet.folder / "s.db")) as store:
        [sweep] = store.sweeps()
        assert (sweep.id, sweep.answered) == (outcome.sweep.id, 1)


def test_a_receiver_that_cannot_be_made_stops_the_job_before_any_host_is_asked(fleet: Fleet) -> None:
    text = SETTINGS.replace("{type: file, path: told.jsonl}", "{type: webhook, url: 'https://x', secret_env: NOT_SET}")
    (fleet.folder / "fleetscan.yml").write_text(text, encoding="utf-8")
    fleet.becomes(CLEAN)
    with pytest.raises(SettingsError, match="NOT_SET"):
        fleet.run()
    assert not (fleet.folder / "s.db").exists()


def test_run_is_the_job_with_its_exit_code_and_table(fleet: Fleet) -> None:
    fleet.becomes(HIJACKED)
    done = subprocess.run(
        [sys.executable, "-m", "fleetscan", "run", "nightly"],
        cwd=fleet.folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == ExitCode.FINDINGS, done.stderr
    assert "pssigcheck.dll" in done.stdout
    assert "log: " in done.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP on this system")
def test_watch_runs_jobs_reads_its_file_again_on_sighup_and_ends_on_sigterm(fleet: Fleet) -> None:
    fleet.becomes(HIJACKED)
    command = [sys.executable, "-m", "fleetscan", "watch"]
    with (
        subprocess.Popen(command, cwd=fleet.folder, stderr=subprocess.PIPE, text=True) as watch,
        ended_at_last(watch),
    ):
        assert watch.stderr is not None
        lines = iter(watch.stderr.readline, "")
        assert "job nightly: next run" in next(lines)
        assert any("job nightly: sweep" in line and "findings" in line for line in lines)
        (fleet.folder / "fleetscan.yml").write_text(SETTINGS.replace("every: 2s", "evry: 2s"), encoding="utf-8")
        watch.send_signal(signal.SIGHUP)
        assert any("not reloaded" in line and "every" in line for line in lines)
        (fleet.folder / "fleetscan.yml").write_text(SETTINGS.replace("every: 2s", "every: 9h"), encoding="utf-8")
        watch.send_signal(signal.SIGHUP)
        assert any("job nightly: next run" in line for line in lines)
        watch.send_signal(signal.SIGTERM)
        assert any("stopped" in line for line in lines)
        assert watch.wait(timeout=LONG) == ExitCode.CLEAN


def watched(fleet: Fleet, settings: str, *options: str, until: str) -> list[str]:
    """What a watch says until a line holds the words."""
    (fleet.folder / "fleetscan.yml").write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "fleetscan", "watch", *options]
    said = []
    with (
        subprocess.Popen(command, cwd=fleet.folder, stderr=subprocess.PIPE, text=True) as watch,
        ended_at_last(watch),
    ):
        assert watch.stderr is not None
        for line in watch.stderr:
            said.append(line)
            if until in line:
                break
        watch.send_signal(signal.SIGTERM)
        said += watch.stderr
        assert watch.wait(timeout=300) == ExitCode.CLEAN
    return said


def test_json_lines_of_a_watch_name_their_job(fleet: Fleet) -> None:
    fleet.becomes(CLEAN)
    lines = [json.loads(line) for line in watched(fleet, SETTINGS, "--log-format", "json", until="ended with")]
    assert {line["event"] for line in lines} >= {"Message", "SweepStarted", "HostFinished", "SweepEnded"}
    assert {line.get("job") for line in lines if line.get("text") != "stopped"} == {"nightly"}


def test_watch_says_at_once_what_would_keep_a_job_from_running(fleet: Fleet) -> None:
    said = watched(fleet, SETTINGS.replace("every: 2s", "every: 9h"), until="next run")
    assert said[0].startswith("fleetscan: job nightly: would not run: ")
    assert "fleet.yml: cannot be read: No such file or directory" in said[0]


def test_a_job_that_fails_says_why(fleet: Fleet) -> None:
    said = watched(fleet, SETTINGS, until="job nightly: started")
    after = said[[": started" in line for line in said].index(True) + 1]
    assert after.startswith("fleetscan: job nightly: ")
    assert "fleet.yml: cannot be read: No such file or directory (try: " in after


def test_an_outbox_that_cannot_be_written_changes_no_outcome(fleet: Fleet) -> None:
    fleet.becomes(HIJACKED)
    (fleet.folder / OUTBOX).write_text("a file where the folder should be")
    outcome = fleet.run()
    assert outcome.exit_code == ExitCode.FINDINGS
    assert outcome.document is not None
    [problem] = outcome.problems
    assert "the next run tells these changes again (try: outbox: PATH in the settings" in problem


def test_the_outbox_may_stand_elsewhere(fleet: Fleet) -> None:
    fleet.becomes(HIJACKED)
    (fleet.folder / "fleetscan.yml").write_text(f"outbox: var/outbox\n{SETTINGS}", encoding="utf-8")
    fleet.run()
    assert (fleet.folder / "var" / "outbox").is_dir()
    assert not (fleet.folder / OUTBOX).exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("baseline: auto", "baseline: golt", "s.db: there is no baseline golt"),
        ("baseline: auto", "approvals: none.yml", "none.yml: the approvals file cannot be read: No such file"),
        ("type: file, path", "type: fil, path", "fleetscan.yml:12: receiver log: type 'fil' is unknown (try: "),
    ],
    ids=["baseline", "approvals", "receiver"],
)
def test_a_job_that_is_wrong_asks_nobody(fleet: Fleet, old: str, new: str, says: str) -> None:
    fleet.becomes(CLEAN)
    (fleet.folder / "fleetscan.yml").write_text(SETTINGS.replace(old, new), encoding="utf-8")
    with pytest.raises(FleetscanError) as caught:
        fleet.run()
    assert says in str(caught.value)
    if (fleet.folder / "s.db").exists():
        with open_store(str(fleet.folder / "s.db")) as store:
            assert store.sweeps() == ()


def test_watch_without_a_schedule_is_refused(fleet: Fleet) -> None:
    (fleet.folder / "fleetscan.yml").write_text(SETTINGS.replace("    every: 2s\n", ""), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "fleetscan", "watch"],
        cwd=fleet.folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == ExitCode.USAGE
    assert "no job has a schedule" in done.stderr
