"""OCSF: every finding that is not stock is a detection finding of class 2004."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fleetscan.model.finding import FindingState
from fleetscan.report.ocsf import SCHEMA, lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetscan.report.document import Document


def test_golden_lines(document: Document, golden: Callable[[str, str], None]) -> None:
    golden("findings.ocsf.jsonl", "".join(f"{line}\n" for line in lines(document)))


def test_every_line_conforms_to_the_schema(document: Document, conforms: Callable[[str, object], None]) -> None:
    values = [json.loads(line) for line in lines(document)]
    assert len(values) == 3
    for value in values:
        conforms(SCHEMA, value)


@pytest.mark.parametrize(
    ("state", "activity", "status", "alert"),
    [
        (FindingState.NEW, "Create", "New", True),
        (FindingState.NO_BASELINE, "Create", "New", True),
        (FindingState.CHANGED, "Update", "New", True),
        (FindingState.STILL_THERE, "Update", "New", True),
        (FindingState.APPROVED, "Update", "Suppressed", False),
        (FindingState.GONE, "Close", "Resolved", False),
    ],
)
def test_the_state_decides_activity_and_status(
    document: Document,
    state: FindingState,
    activity: str,
    status: str,
    alert: bool,  # noqa: FBT001 - data
) -> None:
    finding = replace(document.assessment.findings[0], state=state)
    one = replace(document, assessment=replace(document.assessment, findings=(finding,)))
    value = json.loads(next(iter(lines(one))))
    assert (value["activity_name"], value["status"], value["is_alert"]) == (activity, status, alert)
    assert value["type_uid"] == 200400 + value["activity_id"]


def test_hostile_text_stays_on_one_ascii_line(hostile: Document, conforms: Callable[[str, object], None]) -> None:
    for line in lines(hostile):
        assert line.isascii()
        assert line.isprintable()
        conforms(SCHEMA, json.loads(line))
