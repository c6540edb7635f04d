"""The benchmark's states through the real pipeline: .reg import, osquery's table, the plan's SQL, store, findings."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import yaml

from fleetscan.domain.areas import AREAS
from fleetscan.engines.registry_table.blind_spots import Witness
from fleetscan.engines.registry_table.calls import Fault, Faults
from fleetscan.engines.registry_table.database import Database
from fleetscan.engines.registry_table.errors import SqlError
from fleetscan.engines.registry_table.versions import behaviour_of
from fleetscan.findings.assemble import assess, no_hits
from fleetscan.hives.mount import hives_of, mount
from fleetscan.hives.regfile import apply_reg
from fleetscan.hives.sidefile import apply_extra
from fleetscan.hives.tree import MemoryRegistry
from fleetscan.model.host import HostId
from fleetscan.model.snapshot import HostFacts, HostResult, Reason, ScopeResult, Unreachable
from fleetscan.planner.plan import Answered, Failed, Plan, assemble, make_plan
from fleetscan.store.interface import Baseline, PlanRecord, SweepHost
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fleetscan.findings.model import Assessment
    from fleetscan.findings.reading import HitFinder
    from fleetscan.planner.plan import Answer

Json = dict[str, Any]
MONDAY = datetime(2026, 11, 2, 2, tzinfo=UTC)
TODAY = date(2026, 11, 9)


@dataclass(frozen=True)
class Bench:
    """The benchmark's folder and the plan that every state is asked with."""

    folder: Path
    plan: Plan = field(default_factory=lambda: make_plan((), extra_scopes=AREAS))

    @lru_cache(maxsize=128)  # noqa: B019 - one bench lives as long as the test session
    def state(
        self,
        base: str,
        overlays: tuple[str, ...] = (),
        extras: tuple[str, ...] = (),
        version: str = "",
        *,
        offline: bool = False,
    ) -> HostResult:
        """What an agent of that version answers on clean host + overlays + side files.

        ``offline``: the same SQL over hives, with what the engine then sees beside the table, and without faults.
        """
        memory = MemoryRegistry()
        apply_reg(memory, (self.folder / "clean" / f"{base}.reg").read_bytes(), base)
        for overlay in overlays:
            apply_reg(memory, (self.folder / "overlays" / overlay).read_bytes(), overlay)
        faults: list[Fault] = []
        for extra in extras:
            content = (self.folder / "overlays" / extra).read_bytes()
            apply_extra(memory, content, extra)
            faults += [] if offline else [_fault(one) for one in json.loads(content).get("faults", ())]
        witness = Witness()
        database = Database(
            mount(hives_of(memory)),
            behaviour=behaviour_of(version or None),
            faults=Faults(tuple(faults)),
            witness=witness,
        )
        try:
            answers = {one.id: _answer(database, one.sql) for one in self.plan.statements}
        finally:
            database.close()
        facts, scopes = assemble(self.plan, answers)
        return HostResult(
            host=HostId("host"),
            facts=facts,
            scopes=scopes,
            started=MONDAY,
            finished=MONDAY,
            blind_spots=witness.spots() if offline else (),
        )

    def unreachable(self, reason: str) -> HostResult:
        """A host that gave nothing."""
        scopes = tuple(
            ScopeResult(scope_id=scope.id, status=Unreachable(Reason.CONNECTION, reason)) for scope in self.plan.scopes
        )
        return HostResult(host=HostId("host"), facts=HostFacts(), scopes=scopes, started=MONDAY, finished=MONDAY)

    def assess(
        self, sweeps: Sequence[Mapping[str, HostResult]], place: Path, *, find_hits: HitFinder = no_hits
    ) -> list[Assessment]:
        """Store sweeps one after the other; each is assessed alone, and the later ones against the first as well."""
        found = []
        with open_store(place) as store:
            baseline: Baseline | None = None
            for number, hosts in enumerate(sweeps):
                started = MONDAY.replace(day=2 + 7 * number)
                named = [SweepHost(HostId(name), "embedded") for name in hosts]
                sweep = store.begin_sweep(PlanRecord.of(self.plan), named, started=started)
                for name, result in hosts.items():
                    store.put(sweep, _named(result, name))
                store.finish_sweep(sweep, finished=started, outcome="complete")
                bases: tuple[Baseline | None, ...] = (None, baseline) if number else () if len(sweeps) > 1 else (None,)
                stored = store.sweep(sweep)
                found += [assess(store, stored, today=TODAY, baseline=one, find_hits=find_hits) for one in bases]
                baseline = baseline or Baseline(name="before", sweep=sweep, created=started)
        return found


def _named(result: HostResult, name: str) -> HostResult:
    return HostResult(
        host=HostId(name),
        facts=result.facts,
        scopes=result.scopes,
        started=result.started,
        finished=result.finished,
        blind_spots=result.blind_spots,
    )


def _fault(one: Json) -> Fault:
    return Fault(op=one["op"], key=one["key"], code=one["code"], name=one.get("name", ""), index=one.get("index", -1))


def _answer(database: Database, sql: str) -> Answer:
    try:
        return Answered(tuple(database.texts(sql)))
    except SqlError as error:
        return Failed(Reason.OSQUERY_ERROR, error.what)


def load_yaml(path: Path) -> Json:
    """A YAML file of the benchmark."""
    document = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    assert isinstance(document, dict)
    return document
