"""From a stored sweep to what it means: rules, known good, baseline and approvals; kept, and made a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.baseline.approvals import load_approvals
from fleetscan.findings.assemble import assess
from fleetscan.findings.hits import RuleHits
from fleetscan.findings.records import (
    change_records,
    own_entity_records,
    own_finding_records,
    shared_entity_records,
    shared_finding_records,
)
from fleetscan.queries import load_queries
from fleetscan.report.build import build_document
from fleetscan.settings import content
from fleetscan.store.interface import Baseline
from fleetscan.store.records import JudgedWith
from fleetscan.triage import pairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fleetscan.findings.model import Assessment
    from fleetscan.model.rule import Rule
    from fleetscan.report.document import Document
    from fleetscan.store.interface import PlanRecord, Store, Sweep


@dataclass(frozen=True, slots=True)
class Judged:
    """What a sweep means, and the document that every report renders."""

    assessment: Assessment
    document: Document


ROLLING = "auto"
"""Name of the rolling baseline, which is kept nowhere: each host as the last sweep of the same kind saw it."""

_EARLIER = 30  # sweeps that may know a host which the last one did not reach


def previous(store: Store, sweep: Sweep) -> Baseline | None:
    """The last finished sweep before this one with the same note, as a baseline; None if there is none.

    In a fleet some host is always away. One that the last sweep did not reach is compared with the sweep before it that
    did, else whatever happened to it meanwhile would never be new.
    """
    finished = [
        one
        for one in store.sweeps()
        if one.started < sweep.started and one.note == sweep.note and one.finished is not None and one.pruned is None
    ]
    if not finished:
        return None
    last, *earlier = sorted(finished, key=lambda one: one.started, reverse=True)
    ids = tuple(one.id for one in earlier[:_EARLIER])
    return Baseline(name=ROLLING, sweep=last.id, created=last.started, earlier=ids)


def judge(
    store: Store,
    sweep: Sweep,
    rules: Sequence[Rule],
    *,
    now: datetime,
    baseline: Baseline | None = None,
    approvals: Sequence[Path] = (),
    plan: PlanRecord | None = None,
    inventory: str = "",
) -> Judged:
    """Judge a stored sweep with today's rules and keep the outcome beside it; no host is asked.

    ``plan`` is the plan of ``rules``, where it is not the one the sweep was asked with.
    """
    detections = load_queries(content("queries") / "detections")
    assessment = assess(
        store,
        sweep,
        today=now.date(),
        baseline=baseline,
        find_hits=RuleHits.of(rules),
        approvals=load_approvals(approvals),
        detections=detections,
    )
    how = JudgedWith(baseline.name if baseline else "", tuple(str(path.resolve()) for path in approvals))
    store.put_findings(sweep.id, own_finding_records(assessment), shared_finding_records(assessment), how)
    store.put_changes(sweep.id, change_records(assessment, baseline.sweep if baseline else ""))
    store.put_entities(sweep.id, own_entity_records(assessment), shared_entity_records(assessment))
    document = build_document(
        store,
        sweep,
        assessment,
        rules,
        detections=detections,
        plan=plan,
        inventory=inventory,
        generated=now,
        triage={fingerprint: pairs(record) for fingerprint, record in store.triages().items()},
    )
    return Judged(assessment, document)
