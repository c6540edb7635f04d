"""Jobs as people write them, when they run, and a watch that survives what happens to it."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.errors import Place, SettingsError
from fleetscan.schedule import Cron, Every, Job, Jobs, ReportTo, Watch, load_jobs, next_run, seconds_of, trigger_of
from tests.patience import LONG, eventually

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SETTINGS = """
store: sweeps.db
jobs:
  nightly:
    inventory: inventory/prod.yml
    limit: "workstations,!ws-lab-*"
    rules: [rules, more-rules]
    baseline: auto
    approvals: approvals.yml
    cron: "30 3 * * *"
    timezone: Europe/Berlin
    jitter: 10m
    deadline: 2h
    reports:
      - {format: html, output: reports/nightly.html}
    notify: [soc]
  hourly:
    inventory: inventory/servers.yml
    every: 1h
  by-hand:
    inventory: inventory/prod.yml
notify:
  soc: {type: webhook, url: "https://soc.example/hook", secret_env: SOC_SECRET}
"""
WINTER = datetime(2026, 1, 10, 0, 0, tzinfo=UTC)
SUMMER = datetime(2026, 7, 10, 0, 0, tzinfo=UTC)
HERE = Place("fleetscan.yml", 1)


def write(folder: Path, text: str) -> Path:
    path = folder / "fleetscan.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_limit_may_be_a_list(tmp_path: Path) -> None:
    limit = 'limit: [workstations, "!ws-lab-*"]'
    jobs = load_jobs(write(tmp_path, SETTINGS.replace('limit: "workstations,!ws-lab-*"', limit)))
    assert jobs.job("nightly").limit == "workstations,!ws-lab-*"


def test_a_settings_file_says_all_of_a_job(tmp_path: Path) -> None:
    jobs = load_jobs(write(tmp_path, SETTINGS))
    assert jobs.store == "sweeps.db"
    assert jobs.folder == tmp_path
    assert jobs.receivers == {"soc": {"type": "webhook", "url": "https://soc.example/hook", "secret_env": "SOC_SECRET"}}
    nightly = jobs.job("nightly")
    assert nightly == Job(
        name="nightly",
        where=nightly.where,
        inventory="inventory/prod.yml",
        limit="workstations,!ws-lab-*",
        rules=("rules", "more-rules"),
        baseline="auto",
        approvals=("approvals.yml",),
        when=Cron("30 3 * * *", "Europe/Berlin"),
        jitter=600,
        deadline=7200,
        reports=(ReportTo("html", "reports/nightly.html"),),
        notify=("soc",),
    )
    assert jobs.job("hourly").when == Every(3600)
    assert jobs.job("by-hand").when is None


WRONG = {
    "unknown top key": ("job: {}\n", 1, "jobs"),
    "unknown job key": ("jobs:\n  a:\n    inventory: x\n    evry: 1h\n", 4, "every"),
    "no inventory": ("jobs:\n  a: {every: 1h}\n", 2, "inventory: inventory/fleet.yml"),
    "every and cron": ('jobs:\n  a: {inventory: x, every: 1h, cron: "* * * * *"}\n', 2, "keep one"),
    "odd duration": ("jobs:\n  a: {inventory: x, every: 1 hour}\n", 2, "90s, 15m, 6h, 1d or 2w"),
    "zero duration": ("jobs:\n  a: {inventory: x, every: 0m}\n", 2, "90s"),
    "odd cron": ('jobs:\n  a: {inventory: x, cron: "61 * * * *"}\n', 2, "30 3 * * *"),
    "short cron": ('jobs:\n  a: {inventory: x, cron: "* *"}\n', 2, "30 3 * * *"),
    "odd time zone": ('jobs:\n  a: {inventory: x, cron: "* * * * *", timezone: Mars/Base}\n', 2, "Europe/Berlin"),
    "unknown receiver": (
        "jobs:\n  a: {inventory: x, notify: soc}\nnotify:\n  siem: {type: file, path: x}\n",
        2,
        "siem",
    ),
    "report without output": ("jobs:\n  a:\n    inventory: x\n    reports:\n    - {format: html}\n", 5, "output"),
    "report of unknown format": ("jobs:\n  a:\n    inventory: x\n    reports: [{format: pdf, output: x}]\n", 4, "html"),
    "jobs is a list": ("jobs: [a]\n", 1, "mapping"),
    "not YAML": ("jobs: [a\n", 2, "expected"),
}


@pytest.mark.parametrize(("text", "line", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_settings_file_is_refused_with_its_line_and_a_next_step(
    text: str, line: int, words: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)) as refused:
        load_jobs(write(tmp_path, text))
    assert refused.value.where is not None
    assert refused.value.where.line == line


def test_a_missing_settings_file_and_a_missing_job_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_jobs(tmp_path / "none.yml")
    with pytest.raises(SettingsError, match=r"no job 'nigthly'.*try: nightly"):
        load_jobs(write(tmp_path, SETTINGS)).job("nigthly")


@given(st.integers(1, 999), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86400), ("w", 604800)]))
def test_durations_are_a_number_and_a_unit(number: int, unit: tuple[str, int]) -> None:
    assert seconds_of(f"{number}{unit[0]}", HERE) == number * unit[1]


@pytest.mark.parametrize(("now", "hour"), [(WINTER, 2), (SUMMER, 1)], ids=["winter", "summer"])
def test_cron_follows_the_wall_clock_of_its_time_zone(now: datetime, hour: int) -> None:
    job = Job(name="a", where=HERE, inventory="x", when=Cron("30 3 * * *", "Europe/Berlin"))
    trigger = trigger_of(job, [])
    assert trigger is not None
    fire = next_run(trigger, now)
    assert fire is not None
    assert fire.astimezone(UTC) == now.replace(hour=hour, minute=30)


def test_a_job_may_run_as_often_as_its_most_impatient_rule_asks() -> None:
    job = Job(name="a", where=HERE, inventory="x", when=Every(None))
    trigger = trigger_of(job, [None, 300, 3600])
    assert trigger is not None
    now = datetime.now(UTC)
    fire = next_run(trigger, now)
    assert fire is not None
    assert fire - now <= timedelta(seconds=301)
    with pytest.raises(SettingsError, match="no rule asks for an interval"):
        trigger_of(job, [None])


class Recorder:
    """Runs jobs slowly and notes what happened; fails where told."""

    def __init__(self, *, fail: bool = False, hold: threading.Event | None = None) -> None:
        self.fail = fail
        self.hold = hold
        self.runs = 0
        self.together = 0
        self.most = 0
        self.lock = threading.Lock()
        self.ran = threading.Semaphore(0)

    def __call__(self, _jobs: Jobs, _job: Job) -> None:
        with self.lock:
            self.runs += 1
            self.together += 1
            self.most = max(self.most, self.together)
        self.ran.release()
        if self.hold is not None:
            self.hold.wait(LONG)
        with self.lock:
            self.together -= 1
        if self.fail:
            raise RuntimeError("a bug in a job")


def no_intervals(_jobs: Jobs, _job: Job) -> Sequence[int | None]:
    return []


def never(job: Job, error: Exception) -> None:
    raise AssertionError(job.name) from error


def every_second(folder: Path, *names: str) -> Jobs:
    jobs = tuple(Job(name=name, where=HERE, inventory="x", when=Every(1)) for name in names)
    return Jobs(folder=folder, store="s.db", jobs=jobs, receivers={})


def test_a_failing_job_does_not_end_the_watch(tmp_path: Path) -> None:
    recorder = Recorder(fail=True)
    told: list[tuple[str, str]] = []
    watch = Watch(recorder, no_intervals, lambda job, error: told.append((job.name, type(error).__name__)), print)
    watch.load(every_second(tmp_path, "a"))
    watch.start()
    try:
        assert recorder.ran.acquire(timeout=LONG)
        assert recorder.ran.acquire(timeout=LONG)
    finally:
        watch.stop()
    assert recorder.runs >= 2
    assert set(told) == {("a", "RuntimeError")}


def test_a_job_never_overlaps_itself_and_missed_runs_are_one_run(tmp_path: Path) -> None:
    hold = threading.Event()
    recorder = Recorder(hold=hold)
    skipped: list[str] = []
    watch = Watch(recorder, no_intervals, never, skipped.append)
    watch.load(every_second(tmp_path, "a"))
    watch.start()
    try:
        assert recorder.ran.acquire(timeout=LONG)
        assert not recorder.ran.acquire(timeout=2.5), "it ran again while it was running"
        assert eventually(lambda: set(skipped) == {"a"})
        hold.set()
        assert recorder.ran.acquire(timeout=LONG)
    finally:
        watch.stop()
    assert recorder.most == 1


def test_reload_replaces_the_jobs_and_refuses_a_wrong_set_whole(tmp_path: Path) -> None:
    watch = Watch(Recorder(), no_intervals, never, print)
    assert watch.load(every_second(tmp_path, "a")) == ("a",)
    watch.start()
    try:
        wrong = Jobs(
            folder=tmp_path,
            store="s.db",
            jobs=(Job(name="b", where=HERE, inventory="x", when=Every(None)),),
            receivers={},
        )
        with pytest.raises(SettingsError):
            watch.load(wrong)
        assert [name for name, _ in watch.upcoming()] == ["a"]
        watch.load(every_second(tmp_path, "c"))
        assert [name for name, _ in watch.upcoming()] == ["c"]
    finally:
        watch.stop()
