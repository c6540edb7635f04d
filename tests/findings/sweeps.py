"""Stored sweeps made of rows: every row goes to the domain scopes that hold it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from fleetscan.domain.areas import AREAS
from fleetscan.findings.assemble import assess, no_hits
from fleetscan.model.host import HostId
from fleetscan.model.snapshot import Complete, HostFacts, HostResult, Reason, ScopeResult, Unreachable
from fleetscan.planner.plan import rows_in_scope
from fleetscan.store.interface import Baseline, PlanRecord, SweepHost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetscan.baseline.approvals import Approval
    from fleetscan.findings.model import Assessment
    from fleetscan.findings.reading import HitFinder
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.snapshot import BlindSpot
    from fleetscan.store.interface import Store, SweepId

START = datetime(2026, 11, 2, tzinfo=UTC)
TODAY = date(2026, 11, 9)
PLAN = PlanRecord(digest="d" * 64, scopes=tuple((scope.id, scope.text) for scope in AREAS), statements=())
Rows = "Sequence[RegistryRow] | None"


def put_sweep(
    store: Store,
    hosts: Mapping[str, Sequence[RegistryRow] | Unreachable | None],
    *,
    day: int = 0,
    groups: tuple[str, ...] = (),
    build: str = "19045",
    builds: Mapping[str, str] | None = None,
    spots: tuple[BlindSpot, ...] = (),
) -> SweepId:
    """Store one sweep; None stands for a host that gave no answer in time."""
    started = START.replace(day=2 + day)
    named = [SweepHost(HostId(name), "embedded", groups) for name in hosts]
    sweep = store.begin_sweep(PLAN, named, started=started)
    for name, answer in hosts.items():
        rows = Unreachable(Reason.TIMEOUT) if answer is None else answer
        facts = HostFacts(
            os_build="" if isinstance(rows, Unreachable) else (builds or {}).get(name, build), os_name="Windows 10"
        )
        scopes = tuple(
            ScopeResult(scope_id=scope.id, status=rows)
            if isinstance(rows, Unreachable)
            else ScopeResult(scope_id=scope.id, status=Complete(), rows=rows_in_scope(scope, rows))
            for scope in AREAS
        )
        result = HostResult(
            host=HostId(name), facts=facts, scopes=scopes, started=started, finished=started, blind_spots=spots
        )
        store.put(sweep, result)
    store.finish_sweep(sweep, finished=started, outcome="complete")
    return sweep


def assessed(
    store: Store,
    sweep: SweepId,
    base: SweepId | None = None,
    *,
    golden: str | Sequence[str] | None = None,
    own_past: bool = False,
    approvals: Sequence[Approval] = (),
    find_hits: HitFinder = no_hits,
    today: date = TODAY,
) -> Assessment:
    """The assessment of a stored sweep."""
    baseline = None
    if base is not None:
        names = tuple(map(HostId, (golden,) if isinstance(golden, str) else golden or ()))
        host = names[0] if names else None
        baseline = Baseline(name="before", sweep=base, host=host, others=names[1:], own_past=own_past, created=START)
    return assess(
        store,
        store.sweep(sweep),
        today=today,
        baseline=baseline,
        find_hits=find_hits,
        approvals=approvals,
    )
