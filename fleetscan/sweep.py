"""The main job: rules and hosts in, a stored sweep out. Judging and reporting read the store afterwards."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan import distributed
from fleetscan.dispatcher import Dispatcher, Limits
from fleetscan.domain.areas import AREAS
from fleetscan.errors import RuleError, SettingsError, StoreError
from fleetscan.hives.collection import collection
from fleetscan.inventory import Inventory, load_inventory, select
from fleetscan.model.host import Host, HostId
from fleetscan.planner.detections import with_detections
from fleetscan.planner.plan import make_plan
from fleetscan.planner.scopes import DEFAULT_OPTIONS, Options
from fleetscan.queries import load_queries
from fleetscan.rules.load import load_rules
from fleetscan.settings import content
from fleetscan.store.interface import COMPLETE, INCOMPLETE, PlanRecord, SweepHost

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from fleetscan.engines.interface import Engine
    from fleetscan.model.snapshot import HostResult
    from fleetscan.planner.plan import Plan
    from fleetscan.progress import Observer
    from fleetscan.rules.load import LoadReport
    from fleetscan.store.interface import Store, Sweep, SweepId


_NAMED = 5  # hosts that a line spells out
LOCAL = frozenset({"embedded", "recorded"})
"""Engines that read files of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a user asks for. Exactly one of ``inventory`` and ``hives`` is given; ``rules`` empty: the shipped ones."""

    inventory: str = ""
    hives: str = ""
    limit: tuple[str, ...] = ()
    rules: tuple[Path, ...] = ()
    options: Options = DEFAULT_OPTIONS
    limits: Limits = field(default_factory=Limits)
    scheduler: str = ""
    """Address of a Dask scheduler whose workers ask the hosts; empty: this process asks them."""
    note: str = ""

    @property
    def source(self) -> str:
        """Option and value that name the hosts on the command line."""
        return f"-i {self.inventory}" if self.inventory else f"--hives {self.hives}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that is known before a host is asked. ``remarks`` are lines a user must see."""

    request: Request
    report: LoadReport
    plan: Plan
    inventory: Inventory
    remarks: tuple[str, ...] = ()


def prepare(request: Request) -> Prepared:
    """Load rules and hosts and make the plan; errors are raised before anything is stored or asked."""
    if bool(request.inventory) == bool(request.hives):
        raise SettingsError(
            "name what to sweep: an inventory or a folder of hives, not both",
            hint="fleetscan sweep -i inventory/demo.yml",
        )
    inventory, remarks = machines(request.hives) if request.hives else (load_inventory(request.inventory), ())
    inventory = select(inventory, request.limit)
    if request.scheduler:
        distributed.check_address(request.scheduler)
    if not inventory.hosts:
        raise SettingsError("no host is left", where=inventory.source, hint="fleetscan hosts -i FILE --limit PATTERN")
    rules = request.rules or (content("rules"),)
    report = load_rules(rules)
    if not report.rules:
        first = report.problems[0] if report.problems else None
        raise RuleError(
            first.text if first else "no rule file is here",
            where=first.where if first else str(rules[0]),
            hint="fleetscan rules check PATH",
        )
    plan = with_detections(
        make_plan(report.rules, extra_scopes=AREAS, options=request.options),
        load_queries(content("queries") / "detections"),
    )
    return Prepared(
        request=request, report=report, plan=plan, inventory=inventory, remarks=(*remarks, *inventory.notes)
    )


def machines(path: str) -> tuple[Inventory, tuple[str, ...]]:
    """A folder of hives as an inventory: each machine a host of the embedded engine."""
    found = collection(Path(path))
    hosts = tuple(
        Host(
            id=HostId(machine.name),
            engine="embedded",
            settings={"hives": tuple(str(file.path) for file in machine.files)},
        )
        for machine in found.machines
    )
    unused = tuple(f"{unused.file}: not used: {unused.reason}" for unused in found.unused)
    return Inventory(source=path, hosts=hosts, groups={}), unused


def begin(prepared: Prepared, store: Store, *, now: datetime) -> SweepId:
    """Record a new sweep: what will be asked of whom."""
    hosts = [SweepHost(id=host.id, engine=host.engine, groups=host.groups) for host in prepared.inventory]
    return store.begin_sweep(PlanRecord.of(prepared.plan), hosts, started=now, note=prepared.request.note)


def resume(prepared: Prepared, store: Store, name: str = "") -> tuple[SweepId, tuple[str, ...]]:
    """Open a sweep again, without a name the latest that asked the same; with lines that a user must see.

    The plan must be the one it began with: else its answers would not speak of one question. A sweep of which nothing
    is left to ask stays sealed.
    """
    sweep = store.sweep(name) if name else _latest(prepared, store)
    if sweep.plan_digest != prepared.plan.digest:
        raise SettingsError(
            f"sweep {sweep.id} asked something else: rules or options have changed since",
            hint="fleetscan store sweeps, and --resume SWEEP, or start a new sweep",
        )
    pending = store.pending(sweep.id)
    if pending or sweep.finished is None:
        store.reopen_sweep(sweep.id)
    return sweep.id, tuple(_what_resuming_leaves(prepared, store, sweep.id, pending))


def _latest(prepared: Prepared, store: Store) -> Sweep:
    latest = store.sweep()
    same = (sweep for sweep in reversed(store.sweeps()) if sweep.plan_digest == prepared.plan.digest)
    return next((sweep for sweep in same if sweep.pruned is None), latest)


def _what_resuming_leaves(
    prepared: Prepared, store: Store, sweep: SweepId, pending: tuple[HostId, ...]
) -> Iterator[str]:
    known = {host.id for host in store.hosts(sweep)}
    here = {host.id for host in prepared.inventory}
    chosen = sum(host in here for host in pending)
    yield f"sweep {sweep}: {chosen} of {len(known)} hosts are left to ask" if pending else f"sweep {sweep} is complete"
    if new := [host.id for host in prepared.inventory if host.id not in known]:
        yield f"not asked, because they are not in sweep {sweep}: {_some(new)} (try: a new sweep)"
    if away := [host for host in pending if host not in here]:
        yield f"not complete in sweep {sweep}, and not in {prepared.request.source} as chosen: {_some(away)}"


def _some(names: list[HostId]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def ask(
    prepared: Prepared,
    store: Store,
    sweep: SweepId,
    engine_named: Callable[[str], Engine],
    *,
    observer: Observer,
    stop: threading.Event,
    now: Callable[[], datetime],
) -> Sweep:
    """Ask every host of the sweep that is not complete, store each answer as it arrives, seal the sweep.

    A sweep that was told to stop stays open: ``resume`` goes on with it. Several processes may do so at once: whoever
    seals it first does not keep the others from storing what they still got.
    """
    pending = set(store.pending(sweep))
    hosts = [host for host in prepared.inventory if host.id in pending]
    if hosts:
        for bundle in _bundles(prepared, hosts, engine_named, observer=observer, stop=stop, now=now):
            _put(store, sweep, bundle)
    if not stop.is_set() and store.sweep(sweep).finished is None:
        _seal(store, sweep, now())
    return store.sweep(sweep)


def _put(store: Store, sweep: SweepId, results: tuple[HostResult, ...]) -> None:
    try:
        store.put(sweep, *results)
    except StoreError:
        if store.sweep(sweep).finished is None:
            raise
        store.reopen_sweep(sweep)
        store.put(sweep, *results)


def _seal(store: Store, sweep: SweepId, finished: datetime) -> None:
    try:
        store.finish_sweep(sweep, finished=finished, outcome=INCOMPLETE if store.pending(sweep) else COMPLETE)
    except StoreError:
        if store.sweep(sweep).finished is None:
            raise


def _bundles(
    prepared: Prepared,
    hosts: list[Host],
    engine_named: Callable[[str], Engine],
    *,
    observer: Observer,
    stop: threading.Event,
    now: Callable[[], datetime],
) -> Iterator[tuple[HostResult, ...]]:
    plan, total = prepared.plan, len(hosts)
    limits = replace(prepared.request.limits, group_concurrency=prepared.inventory.concurrency)
    if all(host.engine in LOCAL for host in hosts):
        # Work for this processor, not waiting for others: more threads than processors only hold each other up, and
        # whoever stops the sweep would wait for all of them.
        limits = replace(limits, concurrency=min(limits.concurrency, os.cpu_count() or 1))
    if prepared.request.scheduler:
        address = prepared.request.scheduler
        return distributed.bundles(plan, hosts, address, limits, observer=observer, stop=stop, total=total, now=now)
    dispatcher = Dispatcher(plan, engine_named, limits=limits, stop=stop, observer=observer, now=now)
    return dispatcher.bundles(hosts, total=total)
