"""JSON Lines: Elastic names, valid against the schema, exact texts on one ASCII line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fleetscan.report.json import SCHEMA, lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetscan.report.document import Document


def test_golden_lines(document: Document, golden: Callable[[str, str], None]) -> None:
    golden("findings.jsonl", "".join(f"{line}\n" for line in lines(document)))


def test_every_line_conforms_to_the_schema(document: Document, conforms: Callable[[str, object], None]) -> None:
    values = [json.loads(line) for line in lines(document)]
    assert len(values) == 3 + 5 + 5 + 2
    for value in values:
        conforms(SCHEMA, value)


def test_a_finding_is_an_alert_with_elastic_names(document: Document) -> None:
    value = json.loads(next(iter(lines(document))))
    assert value["event"]["kind"] == "alert"
    assert value["host"]["name"] == "ws-07"
    assert value["fleetscan"]["triage"] == [{"name": "file", "text": "C:\\Users\\Public\\sip.dll, 20480 bytes"}]
    assert value["rule"]["name"] == ["New SIP provider"]
    assert value["registry"]["path"].startswith("HKLM\\SOFTWARE\\Microsoft\\Cryptography\\OID\\EncodingType 0\\")
    assert value["registry"]["data"] == {"type": "REG_SZ", "strings": ["C:\\Users\\Public\\sip.dll"]}
    assert value["threat"]["technique"]["id"] == ["T1553"]
    assert value["threat"]["technique"]["subtechnique"]["id"] == ["T1553.003"]


def test_stock_and_approved_are_a_state_and_a_change_an_event(document: Document) -> None:
    kinds = [json.loads(line)["event"]["kind"] for line in lines(document)]
    assert kinds == ["alert", "state", "alert"] + ["state"] * 5 + ["event"] * 7


def test_hostile_text_stays_exact_on_one_ascii_line(
    hostile: Document, payload: str, conforms: Callable[[str, object], None]
) -> None:
    for line in lines(hostile):
        assert line.isascii()
        assert line.isprintable()
        conforms(SCHEMA, json.loads(line))
    unpaired = any("\ud800" <= char <= "\udfff" for char in payload)
    expected = "<U+D800><U+DFFF><U+DC00>" if unpaired else payload
    assert json.loads(next(iter(lines(hostile))))["registry"]["data"]["strings"] == [expected]
