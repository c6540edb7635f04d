"""What a host says of itself, and who asked: what is not known stays unknown."""

from __future__ import annotations

import pytest

from fleetscan.model.snapshot import HostFacts
from fleetscan.planner.facts import FACTS, host_facts

UNSEEN = "SECURITY, SAM and the hives of other users cannot be read"


def facts(**scanner: str) -> HostFacts:
    return host_facts(lambda name: [scanner] if scanner and name == "facts-scanner" else [])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"uid": "1001", "euid": "-1", "elevated_token": "0"}, {"account_id": "1001", "elevated": "no"}),
        ({"uid": "500", "euid": "-1", "elevated_token": "1"}, {"account_id": "500", "elevated": "yes"}),
        (
            {"uid": "18", "euid": "-1", "elevated_token": "1"},
            {"account": "SYSTEM", "account_id": "18", "elevated": "yes"},
        ),
        ({"uid": "", "euid": "", "elevated_token": "-1"}, {}),
        ({"uid": "0", "euid": "0", "elevated_token": ""}, {"account_id": "0", "elevated": "yes"}),
        ({"uid": "0", "euid": "1000", "elevated_token": ""}, {"account_id": "0", "elevated": "no"}),
        ({"uid": "18", "euid": "", "elevated_token": ""}, {"account_id": "18"}),
        ({}, {}),
    ],
    ids=["user", "administrator", "daemon", "token not readable", "root", "user elsewhere", "unknown", "no such table"],
)
def test_who_asked_is_told_by_the_token_on_windows_and_by_root_elsewhere(
    row: dict[str, str], expected: dict[str, str]
) -> None:
    found = facts(**row)
    assert dict(found.extra) == expected
    assert found.lacks_elevation == (expected.get("elevated") == "no")


def test_what_could_not_be_seen_is_said_only_where_elevation_is_known_to_be_absent() -> None:
    plain = facts(uid="1001", elevated_token="0")
    assert plain.limits == f"the account that asked is not elevated: {UNSEEN}"
    named = HostFacts(extra={**plain.extra, "account": "kim"})
    assert named.limits == f"the account kim is not elevated: {UNSEEN}"
    assert [facts(elevated_token=token).limits for token in ("1", "-1", "")] == ["", "", ""]


def test_no_fact_differs_from_run_to_run() -> None:
    """Raw answers are kept by content: a clock or a process id would cost the store a new one in every sweep."""
    chosen = {sql.partition(" FROM ")[0] for sql in FACTS.values()}
    assert not [text for text in chosen if any(word in text for word in ("pid", "time", "*"))]
