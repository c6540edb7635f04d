"""What judging adds to the store: nothing for a host of which nothing changed, whatever the rest of the fleet does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fleetscan.judging import judge
from fleetscan.rules.load import load_rules
from fleetscan.settings import content
from fleetscan.store.interface import Baseline
from fleetscan.store.sql import open_store
from tests.domain.rows import MSI, PE, POWERSHELL, sip
from tests.findings.sweeps import START, put_sweep

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.store.interface import Store

CLEAN = [
    *sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData"),
    *sip(MSI, r"C:\Windows\System32\MSISIP.DLL", "MsiSIPVerifyIndirectData"),
]
HIJACK = [*CLEAN, *sip(POWERSHELL, r"C:\Users\Public\x.dll", "PsVerifyHash")]
RULES = load_rules((content("rules"),)).rules
HOSTS, LIMIT = 400, 64


def sweep(store: Store, day: int, hijacked: int, *, past: int = 0) -> None:
    """Sweep and judge: the first hosts are hijacked, every host is compared with the first sweep, or that of a day."""
    hosts = {f"ws-{number:05}.corp.example": HIJACK if number < hijacked else CLEAN for number in range(HOSTS)}
    name = put_sweep(store, hosts, day=day)
    first = store.sweeps()[past]
    judge(
        store,
        store.sweep(name),
        RULES,
        now=datetime(2026, 11, 9, tzinfo=UTC),
        baseline=Baseline(name="first", sweep=first.id, created=START) if day else None,
    )


def size(place: Path) -> int:
    """Bytes of the store with everything written back."""
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return place.stat().st_size


def test_a_finding_that_stays_costs_its_host_nothing_new(tmp_path: Path) -> None:
    place = tmp_path / "store.db"
    with open_store(place) as store:
        for day, hijacked in enumerate((HOSTS, HOSTS, HOSTS)):
            before = size(place)
            sweep(store, day, hijacked)
        assert size(place) - before <= LIMIT * HOSTS


def test_what_a_host_shares_stands_beside_what_is_its_own(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.db") as store:
        sweep(store, 0, HOSTS)
        found = [one for one in store.findings(store.sweep().id) if one.host == "ws-00000.corp.example"]
        assert {(one.severity, one.state) for one in found} == {("high", "no baseline"), ("info", "no baseline")}
        assert store.verify().problems == ()


def test_the_same_finding_is_kept_once_whatever_hosts_have_it_and_each_by_its_own_name(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.db") as store:
        counts = []
        for day, hijacked in enumerate((200, 200, 210)):
            sweep(store, day, hijacked)
            counts.append(store.counts()["findings"])
        assert counts[1] - counts[0] == 1, "still there"
        assert counts[2] - counts[1] == 1, "new on ten hosts more"
        found = [one for one in store.findings(store.sweep().id) if one.severity == "high"]
        assert len(found) == len({one.fingerprint for one in found}) == 210
        assert store.verify().problems == ()


def test_a_finding_that_goes_from_new_to_still_there_costs_its_host_one_line(tmp_path: Path) -> None:
    place = tmp_path / "store.db"
    with open_store(place) as store:
        sweep(store, 0, 0)
        sizes = []
        for day in (1, 2, 3):
            before = size(place)
            sweep(store, day, HOSTS, past=day - 1)
            sizes.append(size(place) - before)
        new, again, still = sizes
        states = [{one.state for one in store.findings(one.id) if one.severity == "high"} for one in store.sweeps()]
    assert states == [set(), {"new"}, {"still there"}, {"still there"}]
    assert max(new, again) <= 5 * LIMIT * HOSTS, "a sheet of its own with a name on it, and no text"
    assert still <= LIMIT * HOSTS
