"""The shipped pack is what the shipped rules need, and what osquery reads as a pack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fleetscan.planner.lint import lint
from fleetscan.planner.pack import DEFAULT_INTERVAL, pack, pack_text
from fleetscan.rules.load import load_rules
from tests.conftest import PROJECT
from tests.planner.asking import eql, target

if TYPE_CHECKING:
    from fleetscan.model.rule import Rule

SHIPPED = PROJECT / "queries" / "packs" / "fleetscan.json"


def shipped_rules() -> tuple[Rule, ...]:
    return load_rules([PROJECT / "rules"]).rules


def test_shipped_pack_is_in_step_with_the_rules() -> None:
    update = "fleetscan plan --format pack > queries/packs/fleetscan.json"
    assert SHIPPED.read_text("utf-8") == pack_text(shipped_rules()), f"the pack is stale; update it: {update}"


def test_shipped_pack_is_a_pack() -> None:
    document = json.loads(SHIPPED.read_text("utf-8"))
    assert document["platform"] == "windows"
    for query in document["queries"].values():
        assert isinstance(query["interval"], int)
        assert query["interval"] > 0
        assert query["platform"] == "windows"
        assert query["snapshot"] is True
        assert not list(lint(query["query"], "pack"))


def test_every_technique_is_in_a_description() -> None:
    descriptions = " ".join(query["description"] for query in pack(shipped_rules())["queries"].values())
    wanted = {technique for rule in shipped_rules() for technique in rule.techniques}
    assert {technique for technique in wanted if technique not in descriptions} == set()


def test_interval_is_the_rules_own() -> None:
    every = eql('registry where event.type == "change" and registry.path : "HKLM\\\\SOFTWARE\\\\A\\\\b"')
    queries = pack([every, target(whole=r"HKLM\SOFTWARE\A\c")])["queries"]
    assert {query["interval"] for query in queries.values()} == {every.interval or DEFAULT_INTERVAL, DEFAULT_INTERVAL}
