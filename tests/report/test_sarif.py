"""SARIF 2.1.0: results that viewers can follow, and hosts that were not covered."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin

import pytest

from fleetscan.report.sarif import host_uri, log

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetscan.report.document import Document

SCHEMA = "sarif.schema.json"


def test_golden_log(document: Document, golden: Callable[[str, str], None]) -> None:
    golden("findings.sarif", json.dumps(log(document), indent=2) + "\n")


def test_the_log_conforms_to_the_rules_of_the_published_schema(
    document: Document, silent: Document, conforms: Callable[[str, object], None]
) -> None:
    conforms(SCHEMA, log(document))
    conforms(SCHEMA, log(silent))


def test_every_result_points_to_its_rule(document: Document) -> None:
    run = log(document)["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert len(run["results"]) == 3
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    assert len({rule["id"] for rule in rules}) == len(rules)


def test_states_become_baseline_states_and_approvals_suppressions(document: Document) -> None:
    hijack, approved, provider = log(document)["runs"][0]["results"]
    assert (hijack["baselineState"], provider["baselineState"]) == ("updated", "new")
    assert approved["suppressions"][0]["status"] == "accepted"


def test_without_baseline_nothing_is_compared(document: Document) -> None:
    run = log(replace(document, sweep=replace(document.sweep, baseline="")))["runs"][0]
    assert "baselineGuid" not in run
    assert not any("baselineState" in result for result in run["results"])


def test_a_finding_that_no_rule_made_gets_a_rule_of_its_own(document: Document) -> None:
    finding = replace(document.assessment.findings[0], hits=())
    run = log(replace(document, assessment=replace(document.assessment, findings=(finding,))))["runs"][0]
    assert run["results"][0]["ruleId"] == "fleetscan/known-good"
    assert "fleetscan/known-good" in {rule["id"] for rule in run["tool"]["driver"]["rules"]}


def test_lost_hosts_are_notifications(document: Document) -> None:
    notes = log(document)["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert [(note["level"], note["message"]["text"]) for note in notes] == [
        ("warning", "ws-08 is not wholly covered: unproven keys"),
        ("error", "srv-03 is not wholly covered: timeout"),
    ]


def test_a_host_asked_without_elevation_is_a_notification(document: Document) -> None:
    host = replace(document.hosts[0], facts=(("limits", "kim is not elevated"),))
    notes = log(replace(document, hosts=(host,)))["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert [(note["level"], note["message"]["text"]) for note in notes] == [
        ("warning", f"{host.name} is not wholly covered: kim is not elevated")
    ]


def test_hostile_text_is_text(hostile: Document, conforms: Callable[[str, object], None]) -> None:
    value = log(hostile)
    conforms(SCHEMA, value)
    assert json.dumps(value).isascii()


@pytest.mark.parametrize(
    "name", ["..", ".", "../../etc/passwd", "/etc/passwd", "..\\x", "a?b#c", "http://e.example/", "ü"]
)
def test_no_host_name_climbs_out_of_the_folder(name: str) -> None:
    uri = host_uri(name)
    assert unquote(uri) == f"hosts/{name}"
    assert urljoin("https://report.example/base/", uri) == f"https://report.example/base/{uri}"
