"""What is read of many hosts at once, and the sheets of what was judged, on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.model.host import HostId
from fleetscan.model.snapshot import BlindSpot, Reason, Unreachable
from fleetscan.store.records import FindingRecord, Shared

if TYPE_CHECKING:
    from fleetscan.store.sql import SqlStore
    from tests.store.conftest import Fleet

TIMEOUT = Unreachable(Reason.TIMEOUT, "no answer in 120 s")
A, B, C = map(HostId, "abc")


def test_hosts_and_whether_they_gave_anything(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.begin(store, ["a", "b", "c"])
    store.put(sweep, fleet.result("a", {"s-oid": "a.dll", "s-run": TIMEOUT}))
    store.put(sweep, fleet.result("b", {"s-oid": TIMEOUT, "s-run": TIMEOUT}))
    assert store.reached(sweep) == {A: True, B: False, C: False}
    assert store.reached(sweep) == {host.id: host.covered for host in store.hosts(sweep)}


def test_the_block_of_one_scope_by_host(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.begin(store, ["a", "b", "c"])
    store.put(sweep, fleet.result("a", {"s-oid": "a.dll", "s-run": "b.exe"}))
    store.put(sweep, fleet.result("b", {"s-oid": "a.dll", "s-run": TIMEOUT}))
    assert store.scope_blocks(sweep, "s-run") == {A: store.tree(sweep, A)["s-run"].block}
    assert len(set(store.scope_blocks(sweep, "s-oid").values())) == 1
    assert store.scope_blocks(sweep, "s-none") == {}


def test_blind_spots_of_chosen_hosts(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.begin(store, ["a", "b", "c"])
    for host in ("a", "b"):
        spot = BlindSpot("link", "HKLM\\X", f"seen on {host}")
        store.put(sweep, fleet.result(host, {"s-oid": "a.dll"}, blind_spots=(spot,)))
    store.put(sweep, fleet.result("c", {"s-oid": "a.dll"}))
    assert store.blind_spots(sweep).keys() == {A, B}
    assert store.blind_spots(sweep, [B, C]) == {B: (BlindSpot("link", "HKLM\\X", "seen on b"),)}
    assert store.blind_spots(sweep, []) == {}


def test_a_host_has_what_it_shares_beside_what_is_its_own(store: SqlStore, fleet: type[Fleet]) -> None:
    sweep = fleet.begin(store, ["a", "b", "c"])
    own = FindingRecord(host=A, fingerprint="f" * 12, rule_id="r-1", severity="high", details={"title": "x"})
    stock = FindingRecord(host=A, fingerprint="f" * 12, rule_id="r-2", severity="info", details={"title": "y"})
    for _ in range(2):  # the same again changes nothing
        store.put_findings(sweep, [own], [Shared((A, B), (stock,))])
        found = {(one.host, one.rule_id, one.fingerprint) for one in store.findings(sweep)}
        assert found == {(A, "r-1", "f" * 12), (A, "r-2", ""), (B, "r-2", "")}
    store.put_findings(sweep, [], [Shared((A, B), (stock,))])
    assert {(one.host, one.rule_id) for one in store.findings(sweep)} == {(A, "r-2"), (B, "r-2")}
    assert store.verify().problems == ()
