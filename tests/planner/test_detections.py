"""Detections beside the walks: asked in the same plan, and each fails alone."""

from __future__ import annotations

import json

import pytest

from fleetscan.model.detection import columns_of, is_detection
from fleetscan.model.snapshot import Complete, Reason, Unreachable, is_gap
from fleetscan.planner.detections import detected, detection_scopes, with_detections
from fleetscan.planner.plan import Answer, Answered, Failed, assemble, make_plan
from fleetscan.queries import load_queries
from fleetscan.settings import content

QUERIES = load_queries(content("queries") / "detections")
PLAN = with_detections(make_plan(()), QUERIES)
INI = r"C:\Windows\System32\wintrust.dll.ini"


def test_every_shipped_detection_is_asked_and_leaves_the_walks_as_they_are() -> None:
    assert [name for name, _ in detection_scopes(PLAN)] == [query.scope_id for query in QUERIES]
    assert PLAN.statements[: -len(QUERIES)] == make_plan(()).statements
    assert PLAN.digest != make_plan(()).digest
    assert all(is_detection(query.scope_id) for query in QUERIES)
    assert not any(is_detection(result.scope_id) for result in assemble(PLAN, {})[1])


@pytest.mark.parametrize(
    ("answer", "status", "gap"),
    [
        (Answered(()), Complete(), False),
        (Failed(Reason.OSQUERY_ERROR, "no such table: file"), (Reason.NOT_ANSWERABLE, "no such table: file"), False),
        (
            Failed(Reason.OSQUERY_ERROR, "Error: near line 3: no such column: f.file_version"),
            (Reason.NOT_ANSWERABLE, "no such column: f.file_version"),
            False,
        ),
        (Failed(Reason.OSQUERY_ERROR, "out of memory"), (Reason.OSQUERY_ERROR, "out of memory"), True),
        (Failed(Reason.TIMEOUT, "no such table: file"), (Reason.TIMEOUT, "no such table: file"), True),
        (None, (Reason.NOT_ASKED, ""), True),
    ],
)
def test_a_detection_fails_alone(answer: Answer | None, status: Complete | tuple[Reason, str], *, gap: bool) -> None:
    name = QUERIES[0].scope_id
    found = {one.scope_id: one.status for one in detected(PLAN, {name: answer} if answer else {})}
    assert found.keys() == {query.scope_id for query in QUERIES}
    assert found[name] == (status if isinstance(status, Complete) else Unreachable(*status))
    assert is_gap(found[name]) is gap


def test_a_row_is_kept_whole_once_and_named_by_what_it_is_about() -> None:
    name = QUERIES[0].scope_id
    module = {"pid": "4", "path": r"C:\Tools\a.exe", "module": r"C:\Tools\mso.dll"}
    rows: list[dict[str, str]] = [{"path": INI, "size": "7"}, {"size": "7", "path": INI}, module, {"b": "2", "a": "1"}]
    [result] = [one for one in detected(PLAN, {name: Answered(rows)}) if one.scope_id == name]
    assert [row.name for row in result.rows] == [INI, module["module"], "1 2"]
    assert columns_of(result.rows[1]) == module
    assert json.loads(result.rows[0].data) == {"path": INI, "size": "7"}
