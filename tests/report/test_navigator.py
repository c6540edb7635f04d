"""The ATT&CK Navigator layer counts findings per technique."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fleetscan.report.navigator import layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetscan.report.document import Document

SCHEMA = "navigator.schema.json"


def test_golden_layer(document: Document, golden: Callable[[str, str], None]) -> None:
    golden("navigator.json", json.dumps(layer(document), indent=2) + "\n")


def test_findings_that_need_attention_are_counted(document: Document, conforms: Callable[[str, object], None]) -> None:
    value = layer(document)
    conforms(SCHEMA, value)
    assert {item["techniqueID"]: item["score"] for item in value["techniques"]} == {"T1547.001": 1, "T1553.003": 1}


def test_what_was_looked_for_without_a_finding_is_shown_with_zero(
    silent: Document, conforms: Callable[[str, object], None]
) -> None:
    value = layer(silent)
    conforms(SCHEMA, value)
    assert [item["score"] for item in value["techniques"]] == [0, 0]
    assert value["gradient"]["maxValue"] > value["gradient"]["minValue"]


def test_hostile_text_is_text(hostile: Document, conforms: Callable[[str, object], None]) -> None:
    value = layer(hostile)
    conforms(SCHEMA, value)
    assert json.dumps(value).isascii()
