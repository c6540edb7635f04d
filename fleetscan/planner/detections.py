"""Detections beside the plan's registry walks: each a statement and a scope of its own, which fails alone."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from fleetscan.model.detection import detection_row, is_detection
from fleetscan.model.snapshot import Complete, Reason, ScopeResult, Unreachable
from fleetscan.planner.plan import Answered, Failed, Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fleetscan.planner.plan import Answer, Plan
    from fleetscan.queries import Query

_LACKING = re.compile(r"(?i)no such (?:table|column): [\w.]+")


def with_detections(plan: Plan, queries: Iterable[Query]) -> Plan:
    """The plan with a statement for each query; they need no scope of the registry."""
    added = tuple(Statement(id=query.scope_id, sql=query.sql) for query in queries)
    return replace(plan, statements=(*plan.statements, *added))


def detection_scopes(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Id and SQL of the plan's detections."""
    return tuple((one.id, one.sql) for one in plan.statements if is_detection(one.id))


def detected(plan: Plan, answers: Mapping[str, Answer]) -> tuple[ScopeResult, ...]:
    """One result for each detection.

    Hives hold no files and no processes, and an old agent lacks columns: what a host has no table for can be answered
    by nobody there. That is said, and it makes the host no less complete.
    """
    return tuple(_result(name, answers.get(name, Failed(Reason.NOT_ASKED))) for name, _ in detection_scopes(plan))


def _result(scope_id: str, answer: Answer) -> ScopeResult:
    if isinstance(answer, Answered):
        rows = dict.fromkeys(detection_row(scope_id, row) for row in answer.rows)
        return ScopeResult(scope_id=scope_id, status=Complete(), rows=tuple(rows))
    lacking = _LACKING.search(answer.detail) if answer.reason is Reason.OSQUERY_ERROR else None
    if lacking:
        return ScopeResult(scope_id=scope_id, status=Unreachable(Reason.NOT_ANSWERABLE, lacking[0]))
    return ScopeResult(scope_id=scope_id, status=Unreachable(answer.reason, answer.detail))
