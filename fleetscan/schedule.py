"""Jobs of ``fleetscan.yml``: what each sweeps, when, and whom it tells; and the scheduler of ``fleetscan watch``."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.events import EVENT_JOB_MAX_INSTANCES
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from fleetscan.errors import Place, SettingsError
from fleetscan.inventory.document import Mapping as YamlMapping
from fleetscan.inventory.document import Node, Scalar, Sequence, kind, parse
from fleetscan.inventory.vocabulary import suggestion
from fleetscan.settings import DEFAULT_STORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from apscheduler.triggers.base import BaseTrigger

OUTBOX = "fleetscan-outbox"
"""Folder that holds what receivers have not taken yet, if the settings name no other."""
RULE_INTERVAL = "rules"
"""``every: rules``: as often as the most impatient rule of the job asks for."""

FORMATS = ("table", "csv", "json", "html", "navigator", "sarif", "ocsf")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[smhdw])")
_JOB_KEYS = (
    "inventory",
    "limit",
    "rules",
    "baseline",
    "approvals",
    "every",
    "cron",
    "timezone",
    "jitter",
    "deadline",
    "reports",
    "notify",
)
_TOP_KEYS = ("store", "outbox", "jobs", "notify")
_MAX_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Every:
    """Every so many seconds; None: the shortest interval that the job's rules ask for."""

    seconds: int | None


@dataclass(frozen=True, slots=True)
class Cron:
    """A crontab line of five fields, in a time zone."""

    line: str
    timezone: str


When = Every | Cron


@dataclass(frozen=True, slots=True)
class ReportTo:
    """One report to write after a run."""

    format: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job; paths are relative to the settings file. ``when`` None: only by ``fleetscan run``."""

    name: str
    where: Place
    inventory: str
    limit: str = ""
    rules: tuple[str, ...] = ()
    baseline: str = ""
    approvals: tuple[str, ...] = ()
    when: When | None = None
    jitter: int = 0
    deadline: int | None = None
    reports: tuple[ReportTo, ...] = ()
    notify: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """What a settings file says; ``receivers`` are the raw settings of each entry below ``notify:``."""

    folder: Path
    store: str
    jobs: tuple[Job, ...]
    receivers: Mapping[str, Mapping[str, str]]
    places: Mapping[str, Place] = field(default_factory=dict)
    """Where each of ``receivers`` stands."""
    outbox: str = OUTBOX

    def job(self, name: str) -> Job:
        """The job of that name."""
        for job in self.jobs:
            if job.name == name:
                return job
        hint = suggestion(name, [job.name for job in self.jobs]) if self.jobs else "add it below jobs:"
        raise SettingsError(f"no job {name!r}", hint=hint)


def seconds_of(text: str, where: Place) -> int:
    """Seconds of a duration as people write it: 90s, 15m, 6h, 1d, 2w."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or int(match["number"]) == 0:
        raise SettingsError(f"{text!r} is no duration", where=where, hint="90s, 15m, 6h, 1d or 2w")
    return int(match["number"]) * _UNITS[match["unit"]]


def load_jobs(path: Path) -> Jobs:
    """The jobs of a settings file; SettingsError names file, line and the nearest word that is known."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(f"cannot be read: {reason}", where=str(path), hint="name it with -c FILE") from error
    return _Reader(path).jobs(parse(text, str(path)))


class _Reader:
    """Reads one settings file; every error carries its line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def place(self, node: Node) -> Place:
        return Place(str(self.path), node.line)

    def pairs(self, node: Node, name: str, known: Iterable[str] | None = None) -> list[tuple[Scalar, Node]]:
        if isinstance(node, Scalar) and node.is_null:
            return []
        if not isinstance(node, YamlMapping):
            raise SettingsError(f"{name} must be a mapping, not {kind(node)}", where=self.place(node))
        for key, _ in node:
            if known is not None and key.text not in known:
                hint = suggestion(key.text, known)
                raise SettingsError(f"unknown key {key.text!r} in {name}", where=self.place(key), hint=hint)
        return list(node)

    def text(self, node: Node, name: str) -> str:
        if not isinstance(node, Scalar) or node.is_null:
            raise SettingsError(f"{name} must be a text, not {kind(node)}", where=self.place(node))
        return node.text

    def texts(self, node: Node, name: str) -> tuple[str, ...]:
        if isinstance(node, Sequence):
            return tuple(self.text(item, name) for item in node.items)
        return (self.text(node, name),)

    def jobs(self, root: Node) -> Jobs:
        store, jobs, receivers = DEFAULT_STORE, (), {}  # type: str, tuple[Job, ...], dict[str, dict[str, str]]
        places: dict[str, Place] = {}
        outbox = OUTBOX
        for key, node in self.pairs(root, "the settings", _TOP_KEYS):
            match key.text:
                case "store":
                    store = self.text(node, "store")
                case "outbox":
                    outbox = self.text(node, "outbox")
                case "jobs":
                    jobs = tuple(self.job(name, value) for name, value in self.pairs(node, "jobs"))
                case _:
                    receivers = {name.text: self.receiver(name, value) for name, value in self.pairs(node, "notify")}
                    places = {name.text: self.place(name) for name, _ in self.pairs(node, "notify")}
        for job in jobs:
            for name in job.notify:
                if name not in receivers:
                    hint = suggestion(name, receivers) if receivers else "add it below notify:"
                    raise SettingsError(f"job {job.name}: no receiver {name!r}", where=job.where, hint=hint)
        return Jobs(folder=self.path.parent, store=store, jobs=jobs, receivers=receivers, places=places, outbox=outbox)

    def receiver(self, name: Scalar, node: Node) -> dict[str, str]:
        return {key.text: self.text(value, key.text) for key, value in self.pairs(node, f"receiver {name.text}")}

    def job(self, name: Scalar, node: Node) -> Job:
        found = {key.text: value for key, value in self.pairs(node, f"job {name.text}", _JOB_KEYS)}
        if "inventory" not in found:
            raise SettingsError(
                f"job {name.text} names no inventory", where=self.place(name), hint="inventory: inventory/fleet.yml"
            )

        def one(key: str) -> str:
            return self.text(found[key], key) if key in found else ""

        def many(key: str) -> tuple[str, ...]:
            return self.texts(found[key], key) if key in found else ()

        def seconds(key: str) -> int | None:
            return seconds_of(one(key), self.place(found[key])) if key in found else None

        return Job(
            name=name.text,
            where=self.place(name),
            inventory=one("inventory"),
            limit=",".join(many("limit")),
            rules=many("rules"),
            baseline=one("baseline"),
            approvals=many("approvals"),
            when=self.when(name, found),
            jitter=seconds("jitter") or 0,
            deadline=seconds("deadline"),
            reports=self.reports(found["reports"]) if "reports" in found else (),
            notify=many("notify"),
        )

    def when(self, name: Scalar, found: Mapping[str, Node]) -> When | None:
        if "every" in found and "cron" in found:
            raise SettingsError(
                f"job {name.text} has both every and cron", where=self.place(found["cron"]), hint="keep one of them"
            )
        if "every" in found:
            text = self.text(found["every"], "every")
            return Every(None if text == RULE_INTERVAL else seconds_of(text, self.place(found["every"])))
        if "cron" not in found:
            return None
        zone = self.text(found["timezone"], "timezone") if "timezone" in found else "UTC"
        cron = Cron(self.text(found["cron"], "cron"), zone)
        try:
            _cron_trigger(cron, jitter=0)
        except (ZoneInfoNotFoundError, ValueError) as error:
            where = self.place(found["cron"])
            raise SettingsError(
                f"job {name.text}: {error}", where=where, hint='cron: "30 3 * * *" and timezone: Europe/Berlin'
            ) from error
        return cron

    def reports(self, node: Node) -> tuple[ReportTo, ...]:
        if not isinstance(node, Sequence):
            raise SettingsError(
                "reports must be a list", where=self.place(node), hint="- {format: html, output: x.html}"
            )
        reports = []
        for item in node.items:
            fields = {
                key.text: self.text(value, key.text)
                for key, value in self.pairs(item, "a report", ("format", "output"))
            }
            if fields.get("format") not in FORMATS or not fields.get("output"):
                hint = f"format: one of {', '.join(FORMATS)}; output: a path"
                raise SettingsError("a report needs a format and an output", where=self.place(item), hint=hint)
            reports.append(ReportTo(fields["format"], fields["output"]))
        return tuple(reports)


def _cron_trigger(cron: Cron, jitter: int) -> CronTrigger:
    trigger = CronTrigger.from_crontab(cron.line, timezone=ZoneInfo(cron.timezone))
    trigger.jitter = jitter or None
    return trigger


def trigger_of(job: Job, rule_intervals: Iterable[int | None]) -> BaseTrigger | None:
    """When the job runs; None: only by hand. ``rule_intervals`` are those of its rules, in seconds."""
    match job.when:
        case None:
            return None
        case Cron() as cron:
            return _cron_trigger(cron, job.jitter)
        case Every(seconds):
            if seconds is None:
                asked = [interval for interval in rule_intervals if interval]
                if not asked:
                    raise SettingsError(
                        f"job {job.name}: no rule asks for an interval", where=job.where, hint="every: 6h"
                    )
                seconds = min(asked)
            return IntervalTrigger(seconds=seconds, jitter=job.jitter or None)


def next_run(trigger: BaseTrigger, now: datetime) -> datetime | None:
    """The next time the trigger fires after ``now``."""
    fire: datetime | None = trigger.get_next_fire_time(None, now)
    return fire


class Watch:
    """Runs jobs when they are due: no overlap of a job with itself, missed runs coalesced, errors survived.

    ``run`` runs one job and returns when it is done; it is called from worker threads, like ``failed``, which is told
    what a job raised, and ``skipped``, which is told the name of a job that was due and is still running. ``intervals``
    gives the intervals of a job's rules.
    """

    def __init__(
        self,
        run: Callable[[Jobs, Job], None],
        intervals: Callable[[Jobs, Job], Iterable[int | None]],
        failed: Callable[[Job, Exception], None],
        skipped: Callable[[str], None],
    ) -> None:
        self._run = run
        self._intervals = intervals
        self._failed = failed
        # The library's own words for it are a warning that names no job.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = BackgroundScheduler(executors={"default": ThreadPoolExecutor(_MAX_WORKERS)}, timezone="UTC")
        self._scheduler.add_listener(lambda event: skipped(event.job_id), EVENT_JOB_MAX_INSTANCES)
        self._lock = threading.Lock()

    def load(self, jobs: Jobs) -> tuple[str, ...]:
        """Schedule exactly these jobs; jobs that run now finish. Nothing changes if one of them is wrong."""
        triggers = [(job, trigger) for job in jobs.jobs if (trigger := trigger_of(job, self._intervals(jobs, job)))]
        with self._lock:
            self._scheduler.remove_all_jobs()
            for job, trigger in triggers:
                self._scheduler.add_job(
                    self._guarded,
                    trigger,
                    args=(jobs, job),
                    id=job.name,
                    max_instances=1,
                    coalesce=True,
                    misfire_grace_time=None,
                )
        return tuple(job.name for job, _ in triggers)

    def _guarded(self, jobs: Jobs, job: Job) -> None:
        try:
            self._run(jobs, job)
        except Exception as error:  # noqa: BLE001 - a job must not end the scheduler, whatever happens to it
            self._failed(job, error)

    def start(self) -> None:
        """Begin to run what is due."""
        self._scheduler.start()

    def upcoming(self) -> tuple[tuple[str, datetime], ...]:
        """Name and time of the next run of every job, soonest first."""
        due = [(job.id, job.next_run_time) for job in self._scheduler.get_jobs() if job.next_run_time]
        return tuple(sorted(due, key=lambda pair: pair[1]))

    def stop(self) -> None:
        """Start nothing more, and return when the running jobs are done."""
        self._scheduler.shutdown(wait=True)
