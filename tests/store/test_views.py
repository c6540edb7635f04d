"""What was judged is read back, and the views show it to SQL tools under stable names. On both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fleetscan.errors import StoreError
from fleetscan.model.host import HostId
from fleetscan.model.snapshot import Partial, Reason, Unreachable
from fleetscan.store.interface import SweepId
from fleetscan.store.records import ChangeRecord, EntityRecord, FindingRecord, Shared

if TYPE_CHECKING:
    from fleetscan.store.sql import SqlStore
    from tests.store.conftest import Fleet

ALL = {"s-oid": "a.dll", "s-run": "b.exe", "s-winsock": "c.dll"}
VIEWS = {
    "sweeps": "sweep started finished outcome note hosts answered plan_digest rules_digest seal pruned",
    "hosts": "sweep host engine groups coverage started finished hostname os_name os_version os_build arch"
    " osquery_version",
    "coverage": "sweep host scope scope_text status reason detail row_count block_sha256",
    "findings": "sweep sweep_started host fingerprint rule_id rule_title severity certainty state verdict entity_kind"
    " entity key_path summary techniques details",
    "changes": "sweep sweep_started host base kind entity_kind entity attribute old_value new_value summary details",
    "entities": "sweep host kind identity attributes",
}
FINDING = FindingRecord(
    host=HostId("a"),
    fingerprint="f-1",
    rule_id="r-1",
    rule_title="New SIP provider",
    severity="high",
    certainty="possible",
    state="new",
    verdict="hijack pattern",
    entity_kind="sip",
    entity="native CryptSIPDllVerifyIndirectData {00AA...}",
    key="HKEY_LOCAL_MACHINE\\SOFTWARE\\X",
    summary="another DLL\0\ud800",
    techniques=("T1553.003", "T1547.001"),
    details={"dll": "evil.dll\0", "rows": [1, {"x": None}]},
)
CHANGE = ChangeRecord(
    host=HostId("a"), kind="modified", entity_kind="sip", entity="e", base="b", attribute="dll", before="a", after="b"
)
ENTITY = EntityRecord(host=HostId("b"), kind="sip", identity="e", attributes={"dll": "a.dll"})


def rows(store: SqlStore, view: str) -> list[dict[str, Any]]:
    with store.database.reading() as connection:
        return [dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {view} ORDER BY 1, 2").mappings()]


@pytest.fixture
def judged(store: SqlStore, fleet: type[Fleet]) -> SweepId:
    """A sweep of three hosts with one finding, one change and one entity."""
    sweep = fleet.sweep(
        store, {"a": ALL, "b": {"s-oid": Partial(Reason.DAMAGED, "hbin"), "s-run": Unreachable(Reason.DNS)}, "c": None}
    )
    store.put_findings(sweep, [FINDING])
    store.put_changes(sweep, [CHANGE])
    store.put_entities(sweep, [ENTITY])
    return sweep


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.usefixtures("judged")
def test_the_columns_of_a_view_are_a_promise(store: SqlStore, view: str) -> None:
    assert list(rows(store, view)[0]) == VIEWS[view].split()


def test_what_was_judged_is_read_back(store: SqlStore, judged: SweepId) -> None:
    assert store.findings(judged) == (FINDING,)
    assert store.changes(judged) == (CHANGE,)
    assert store.entities(judged) == (ENTITY,)


def test_findings_view(store: SqlStore, judged: SweepId) -> None:
    (row,) = rows(store, "findings")
    assert (row["sweep"], row["sweep_started"], row["host"]) == (judged, "2026-11-21T21:10:45Z", "a")
    assert (row["severity"], row["state"], row["techniques"]) == ("high", "new", "T1553.003 T1547.001")
    assert row["summary"] == "another DLL\ufffd\ufffd"
    assert row["key_path"] == FINDING.key
    assert row["details"] == '{"dll": "evil.dll\\u0000", "rows": [1, {"x": null}]}'


@pytest.mark.usefixtures("judged")
def test_hosts_view_says_how_far_each_host_came(store: SqlStore) -> None:
    seen = {row["host"]: row for row in rows(store, "hosts")}
    assert {host: row["coverage"] for host, row in seen.items()} == {"a": "complete", "b": "partial", "c": "not asked"}
    assert seen["a"]["finished"] == "2026-11-21T21:10:48Z"
    assert seen["a"]["os_build"] == "19045"
    assert seen["c"]["started"] is None


def test_coverage_view_equals_coverage(store: SqlStore, judged: SweepId) -> None:
    shown = {(row["host"], row["scope"]): (row["status"], row["reason"]) for row in rows(store, "coverage")}
    assert shown["b", "s-oid"] == ("partial", "damaged")
    assert shown["b", "s-winsock"] == ("unreachable", "not asked")
    assert set(shown) == {(cell.host, cell.scope_id) for cell in store.coverage(judged)}
    digests = {row["block_sha256"] for row in rows(store, "coverage") if row["host"] == "a"}
    blocks = [cell.block for cell in store.tree(judged, HostId("a")).values()]
    assert digests == {store.block_digest(block) for block in blocks if block is not None}


@pytest.mark.usefixtures("judged")
def test_a_severity_is_counted_with_plain_sql(store: SqlStore) -> None:
    """The query of docs: findings of the latest sweep by severity."""
    with store.database.reading() as connection:
        found = connection.exec_driver_sql(
            "SELECT severity, COUNT(*) FROM findings WHERE sweep = (SELECT MAX(sweep) FROM sweeps) GROUP BY severity"
        )
        assert [tuple(row) for row in found] == [("high", 1)]


def test_judging_again_replaces(store: SqlStore, judged: SweepId) -> None:
    other = FindingRecord(host=HostId("b"), fingerprint="f-2", rule_id="r-2", severity="low")
    store.put_findings(judged, [other, other])
    assert store.findings(judged) == (other, other)
    store.put_findings(judged, [])
    assert store.findings(judged) == ()
    assert store.changes(judged) == (CHANGE,)


def test_the_same_judgement_in_the_next_sweep_adds_no_record(store: SqlStore, fleet: type[Fleet]) -> None:
    findings = [
        FindingRecord(host=HostId(host), fingerprint="f", rule_id="r", severity="low", state="still there")
        for host in ("a", "b")
    ]
    for _ in range(3):
        store.put_findings(fleet.sweep(store, {"a": ALL, "b": ALL}), findings)
    assert store.counts()["findings"] == 1
    assert len(rows(store, "findings")) == 6


def test_what_hosts_share_is_kept_once_and_shown_for_each(store: SqlStore, fleet: type[Fleet]) -> None:
    """Known-good rows: a thousand hosts of one image are one sheet; a fingerprint is of one host and is left out."""
    stock = tuple(
        FindingRecord(host=HostId("a"), fingerprint=f"f-{number}", rule_id="r", severity="info", summary=f"{number}")
        for number in range(5)
    )
    entities = tuple(EntityRecord(host=HostId("a"), kind="sip", identity=f"{number}") for number in range(5))
    hosts = tuple(HostId(host) for host in ("a", "b", "c"))
    for _ in range(2):
        sweep = fleet.sweep(store, dict.fromkeys(hosts, ALL))
        store.put_findings(sweep, [FINDING], [Shared(hosts, stock), Shared((), stock), Shared(hosts, ())])
        store.put_entities(sweep, [ENTITY], [Shared(hosts, entities)])
    assert store.counts()["findings"] == 6
    assert store.counts()["entities"] == 6
    found = store.findings(sweep)
    assert len(found) == 16
    assert [record.summary for record in found if record.host == "b"] == ["0", "1", "2", "3", "4"]
    assert {record.fingerprint for record in found} == {"f-1", ""}
    assert len(rows(store, "findings")) == 32
    assert len([row for row in rows(store, "entities") if row["host"] == "b"]) == 12
    assert store.verify().problems == ()


def test_many_records_at_once(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.sweep(store, {"a": ALL})
    entities = tuple(EntityRecord(host=HostId("a"), kind="sip", identity=f"{number:04}") for number in range(1200))
    store.put_entities(sweep, entities)
    assert sorted(store.entities(sweep), key=lambda record: record.identity) == list(entities)


def test_judging_a_sweep_that_does_not_exist_is_an_error(store: SqlStore) -> None:
    with pytest.raises(StoreError, match="there is no sweep"):
        store.put_findings(SweepId("nope"), [FINDING])


def test_a_later_triage_takes_the_place_of_an_earlier_one(store: SqlStore, fleet: type[Fleet]) -> None:
    first = {"file": {"path": "C:\\evil.dll\0", "sha256": None}, "processes": [1, 2]}
    store.put_triage("f-1", first, taken=fleet.start)
    store.put_triage("f-2", {}, taken=fleet.start)
    assert store.triages() == {"f-1": first, "f-2": {}}
    store.put_triage("f-1", {"lone": "\ud800"}, taken=fleet.start)
    assert store.triages() == {"f-1": {"lone": "\ud800"}, "f-2": {}}
