"""One job of ``fleetscan.yml``, start to end: sweep, judge, write the reports, tell what changed since last time."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fleetscan.baseline.approvals import load_approvals
from fleetscan.dispatcher import Limits
from fleetscan.errors import ExitCode, FleetscanError, SettingsError
from fleetscan.judging import ROLLING, judge, previous
from fleetscan.notify import Event, EventKind, Outbox, deliver, event_id, receiver_from
from fleetscan.report.formats import Format, Options, write
from fleetscan.rules.load import load_rules
from fleetscan.settings import content
from fleetscan.store.sql import open_store
from fleetscan.sweep import Request, ask, begin, prepare

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

    from fleetscan.engines.interface import Engine
    from fleetscan.notify import Delivery, Receiver
    from fleetscan.progress import Observer
    from fleetscan.report.document import Document
    from fleetscan.schedule import Job, Jobs
    from fleetscan.store.interface import Baseline, Store, Sweep
    from fleetscan.store.records import FindingRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a job needs from outside: engines, time, environment, and where a table goes."""

    engine_named: Callable[[str], Engine]
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    environment: Mapping[str, str]
    stdout: TextIO
    width: int = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a job did. ``document`` None: it was told to stop before the sweep was complete."""

    exit_code: ExitCode
    sweep: Sweep
    document: Document | None = None
    events: tuple[Event, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    problems: tuple[str, ...] = field(default=())
    again: str = ""
    """The command line that goes on with a sweep that was stopped."""


def note_of(job: Job) -> str:
    """The note under which the sweeps of a job are found again."""
    return f"job {job.name}"


def request_of(jobs: Jobs, job: Job) -> Request:
    """What the job asks for, with its paths taken from the folder of the settings file."""
    return Request(
        inventory=job.inventory if "," in job.inventory else str(jobs.folder / job.inventory),
        limit=(job.limit,) if job.limit else (),
        rules=tuple(jobs.folder / path for path in job.rules),
        limits=Limits(total_seconds=job.deadline),
        note=note_of(job),
    )


def _resuming(jobs: Jobs, job: Job, sweep: Sweep) -> str:
    """The command that goes on with a sweep of the job."""
    request = request_of(jobs, job)
    words = ["fleetscan", "sweep", "--resume", sweep.id, "-i", request.inventory, "--store", store_place(jobs)]
    words += [word for limit in request.limit for word in ("--limit", limit)]
    words += [word for path in request.rules for word in ("--rules", str(path))]
    return shlex.join(words)


def intervals_of(jobs: Jobs, job: Job) -> tuple[int | None, ...]:
    """The seconds between runs that the job's rules ask for."""
    paths = [jobs.folder / path for path in job.rules] or [content("rules")]
    return tuple(rule.interval for rule in load_rules(paths).rules)


def store_place(jobs: Jobs) -> str:
    """The store of the settings file: a URL as it is, a file beside the settings file."""
    return jobs.store if "://" in jobs.store else str(jobs.folder / jobs.store)


def check_job(jobs: Jobs, job: Job, environment: Mapping[str, str]) -> None:
    """Raise what would keep the job from running now, without asking a host or opening a store."""
    _receivers(jobs, job, environment)
    prepare(request_of(jobs, job))
    load_approvals([jobs.folder / path for path in job.approvals])


def _receivers(
    jobs: Jobs,
    job: Job,
    environment: Mapping[str, str],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Receiver]:
    """Whom the job tells; SettingsError names the line of the one that is wrong."""
    found = []
    for name in job.notify:
        try:
            given = jobs.receivers[name]
            found.append(
                receiver_from(name, given, folder=jobs.folder, environment=environment, sleep=sleep, clock=clock)
            )
        except SettingsError as error:
            where = error.where or jobs.places.get(name)
            raise SettingsError(error.what, where=where, hint=error.hint) from error
    return found


def run_job(jobs: Jobs, job: Job, world: World, *, observer: Observer, stop: threading.Event) -> Outcome:
    """Run the job once. What a receiver does never changes the outcome of the sweep."""
    receivers = _receivers(jobs, job, world.environment, sleep=world.sleep, clock=world.now)
    prepared = prepare(request_of(jobs, job))
    approvals = [jobs.folder / path for path in job.approvals]
    load_approvals(approvals)  # what is wrong with them is said before anybody is asked
    with open_store(store_place(jobs)) as store:
        if job.baseline and job.baseline != ROLLING:
            store.baseline(job.baseline)
        sweep_id = begin(prepared, store, now=world.now())
        sweep = ask(prepared, store, sweep_id, world.engine_named, observer=observer, stop=stop, now=world.now)
        if stop.is_set():
            return Outcome(exit_code=ExitCode.INCOMPLETE, sweep=sweep, again=_resuming(jobs, job, sweep))
        judged = judge(
            store,
            sweep,
            prepared.report.rules,
            now=world.now(),
            baseline=_baseline(store, job, sweep),
            approvals=approvals,
            inventory=prepared.request.source,
        )
        problems = tuple(_write_reports(jobs, job, judged.document, world))
        outbox = Outbox(jobs.folder / jobs.outbox)
        last = _last_told(store, outbox, job, sweep)
        events = tuple(changes_since(store, last, sweep, job=job.name, time=world.now()))
        deliveries = deliver(receivers, events, outbox)
        problems += tuple(_not_marked(outbox, job, sweep))
    return Outcome(
        exit_code=judged.assessment.exit_code,
        sweep=sweep,
        document=judged.document,
        events=events,
        deliveries=deliveries,
        problems=problems,
    )


def _not_marked(outbox: Outbox, job: Job, sweep: Sweep) -> Iterator[str]:
    """Remember what was told; where that cannot be, the sweep is no worse for it, and who is told must know."""
    try:
        outbox.mark(job.name, sweep.id)
    except OSError as error:
        if job.notify:
            what = f"{error.filename}: {error.strerror}: the next run tells these changes again"
            yield f"{what} (try: outbox: PATH in the settings, a folder that can be written)"


def _baseline(store: Store, job: Job, sweep: Sweep) -> Baseline | None:
    if job.baseline == ROLLING:
        return previous(store, sweep)
    return store.baseline(job.baseline) if job.baseline else None


def _last_told(store: Store, outbox: Outbox, job: Job, sweep: Sweep) -> Sweep | None:
    """The sweep whose state the receivers know: the last one that was told, though others may have run since."""
    marked = outbox.marked(job.name)
    told = (one for one in store.sweeps() if one.id == marked and one.note == sweep.note)
    return next(told, None)


def _write_reports(jobs: Jobs, job: Job, document: Document, world: World) -> Iterator[str]:
    """Write every report; one that cannot be written is said and does not keep the others from being written."""
    for report in job.reports:
        target: Path = jobs.folder / report.output
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write(document, (Format(report.format),), target, world.stdout, Options(width=world.width))
        except (FleetscanError, OSError) as error:
            yield f"report {report.format}: {error}"


def changes_since(store: Store, last: Sweep | None, sweep: Sweep, *, job: str, time: datetime) -> Iterator[Event]:
    """What is new, gone and no longer covered in ``sweep`` against ``last``; without ``last`` everything open is new.

    A finding is gone only if its host was seen whole; else its coverage is lost, which is told once for the host.
    """
    before = _open_findings(store.findings(last.id)) if last else {}
    after = _open_findings(store.findings(sweep.id))
    whole_before = {host.id for host in store.hosts(last.id) if host.complete} if last else set()
    whole_after = {host.id for host in store.hosts(sweep.id) if host.complete}
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ")

    def event(kind: EventKind, host: str, matter: str, **words: str) -> Event:
        identity = event_id(kind, sweep.id, host, matter)
        return Event(id=identity, kind=kind, job=job, sweep=sweep.id, host=host, time=stamp, **words)

    for name, record in after.items():
        if name not in before:
            yield event(EventKind.NEW, record.host, name, **_words(record))
    for name, record in before.items():
        if name not in after and record.host in whole_after:
            yield event(EventKind.GONE, record.host, name, **_words(record))
    for host in sorted(whole_before - whole_after):
        words = {"severity": "medium", "title": "no longer covered", "detail": "complete in the last run, not in this"}
        yield event(EventKind.COVERAGE_LOST, host, "", **words)


def _open_findings(records: Iterable[FindingRecord]) -> dict[str, FindingRecord]:
    return {record.fingerprint: record for record in records if record.is_open}


def _words(record: FindingRecord) -> dict[str, str]:
    return {
        "severity": record.severity,
        "title": f"{record.entity_kind} {record.entity}",
        "detail": record.summary or record.key,
    }
