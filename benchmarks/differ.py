"""What the comparison of two sweeps costs, with decoding: against reading alone, and against a plain row table.

    python benchmarks/differ.py            # 20,000 hosts x 20 scopes, then ten times the rows; 3 GB, three minutes
    python benchmarks/differ.py --quick    # 2,000 hosts, under 50 s

0.1 % of the cells change, each in its own way. Reading is: find the changed cells and unpack the bytes of their blocks.
The diff is all that ``fleetscan diff`` does before it prints: which hosts there are and what each runs, the changed
cells, decoding, grading, changes of the fleet. The plain table holds one row for every registry value of every host of
the same sweeps and finds the changed rows with an anti-join, in the same SQLite; nothing is decoded there.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
import time
import tracemalloc
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from sqlalchemy import select
from tabulate import tabulate

from fleetscan.domain.areas import AREAS
from fleetscan.domain.known_good import load
from fleetscan.findings.difference import difference
from fleetscan.findings.reading import LISTINGS
from fleetscan.model.host import HostId
from fleetscan.model.registry import SUBKEY, RegistryRow
from fleetscan.model.scope import Glob
from fleetscan.model.snapshot import Complete, HostFacts, HostResult, ScopeResult
from fleetscan.store import schema
from fleetscan.store.digest import block_bytes, unpack
from fleetscan.store.interface import Baseline, PlanRecord, SweepHost
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetscan.model.scope import Scope
    from fleetscan.store.interface import SweepId
    from fleetscan.store.sql import SqlStore

START = datetime(2026, 1, 1, tzinfo=UTC)
OTHERS = tuple(f"s-{number:016x}" for number in range(20 - len(AREAS)))
"""Scopes of rules beside the domain's own: 20 in all."""
ENTRIES = 8  # registrations in a scope: listing, Dll and FuncName each
SHARE = 0.001
LIMIT = 1.0
Key = tuple[int, int]


def _base(scope: Scope) -> str:
    elements = [
        "S-1-5-21-1-2-3-1001" if isinstance(one, Glob) and one.text == "<SID>" else one for one in scope.elements
    ]
    return "\\".join(
        (scope.root, *(one.text.replace("*", "Tcpip") if isinstance(one, Glob) else one for one in elements))
    )


def _rows(number: int, entries: int, own: str = "") -> tuple[RegistryRow, ...]:
    """Registrations of one scope; ``own`` is what only this host has in one of them."""
    base = _base(AREAS[number]) if number < len(AREAS) else f"HKEY_LOCAL_MACHINE\\SOFTWARE\\Area{number}"
    if number < len(AREAS) and AREAS[number].id in LISTINGS:
        return tuple(RegistryRow(base, f"S-1-5-21-1-2-3-100{user}{own}", SUBKEY, "") for user in range(5))
    group = f"{base}\\EncodingType 0\\CryptSIPDllVerifyIndirectData" if base.endswith("OID") else f"{base}\\FinalPolicy"
    if base.endswith("Providers"):
        group = f"{base}\\Trust\\FinalPolicy"
    found = []
    for entry in range(entries):
        name = f"{{{entry:08X}-0000-0000-0000-{number:012X}}}"
        dll = f"C:\\Windows\\System32\\lib{entry}{own if entry == 0 else ''}.dll"
        prefix = "$" if "Trust" in group else ""
        found += [
            RegistryRow(group, name, SUBKEY, ""),
            RegistryRow(f"{group}\\{name}", f"{prefix}Dll", "REG_SZ", dll),
            RegistryRow(f"{group}\\{name}", "$Function" if prefix else "FuncName", "REG_SZ", "Verify"),
        ]
    return tuple(found)


def _cells(hosts: int, seed: int) -> set[Key]:
    dice = random.Random(seed)  # noqa: S311 - which cells change is no secret
    return {(dice.randrange(hosts), dice.randrange(20)) for _ in range(round(hosts * 20 * SHARE))}


@contextmanager
def _written_once() -> Iterator[None]:
    """Within it, rows that are one object are made bytes once: filling is not what is measured.

    A fleet of one image hands the same rows to the store for every host; everything else of the store is as it is.
    """
    known: dict[int, tuple[object, bytes]] = {}

    def remembered(rows: Iterable[RegistryRow]) -> bytes:
        if id(rows) not in known:
            known[id(rows)] = rows, block_bytes(rows)  # kept, so that its id stays its own
        return known[id(rows)][1]

    with patch("fleetscan.store.content.block_bytes", remembered):
        yield


def _fill(store: SqlStore, hosts: int, entries: int, changed: set[Key], day: int) -> SweepId:
    ids = (*(scope.id for scope in AREAS), *OTHERS)
    plan = PlanRecord(digest="0" * 64, scopes=tuple((one, one) for one in ids), statements=())
    started = START + timedelta(days=day)
    sweep = store.begin_sweep(plan, [SweepHost(HostId(f"h{n:05}"), "x") for n in range(hosts)], started=started)
    common = tuple(ScopeResult(scope_id=one, status=Complete(), rows=_rows(n, entries)) for n, one in enumerate(ids))
    own: dict[int, list[int]] = {}
    for host, number in sorted(changed):
        own.setdefault(host, []).append(number)
    with _written_once():
        for host in range(hosts):
            scopes = list(common)
            for number in own.get(host, ()):
                rows = _rows(number, entries, f"-{host}-{day}")
                scopes[number] = ScopeResult(scope_id=ids[number], status=Complete(), rows=rows)
            result = HostResult(
                host=HostId(f"h{host:05}"),
                facts=HostFacts(os_build="19045"),
                scopes=tuple(scopes),
                started=started,
                finished=started,
            )
            store.put(sweep, result)
    store.finish_sweep(sweep, finished=started, outcome="complete")
    return sweep


def _read(store: SqlStore, old: SweepId, new: SweepId) -> int:
    """Bytes of all blocks on either side of a changed cell, each read once and not decoded."""
    blocks = {
        side.block
        for cell in store.changed(old, new)
        for side in (cell.before, cell.after)
        if side is not None and side.block is not None
    }
    size = 0
    with store.database.reading() as connection:
        for block in blocks:
            query = select(schema.block.c.content).where(schema.block.c.id == block)
            size += len(unpack(bytes(connection.execute(query).scalar_one())))
    return size


def _diff(store: SqlStore, old: SweepId, new: SweepId) -> int:
    base = Baseline(name=old, sweep=old, created=START)
    return len(difference(store, base, store.sweep(new)).changes)


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of the best of three runs, and megabytes at the peak of one."""

    reading: float
    whole: float
    changes: int
    peak: float

    @property
    def decoding(self) -> float:
        """Seconds beyond reading."""
        return self.whole - self.reading


def _cost(store: SqlStore, old: SweepId, new: SweepId) -> Cost:
    load()
    reading, whole, changes = [], [], 0
    for _ in range(3):
        begin = time.process_time()
        _read(store, old, new)
        reading.append(time.process_time() - begin)
        begin = time.process_time()
        changes = _diff(store, old, new)
        whole.append(time.process_time() - begin)
    tracemalloc.start()
    _diff(store, old, new)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return Cost(min(reading), min(whole), changes, peak)


def _plain(hosts: int, entries: int, changed: set[Key]) -> tuple[float, int]:
    """The same two sweeps as rows of one table, compared with anti-joins in both directions."""
    common = [_rows(number, entries) for number in range(20)]

    def rows(own: set[Key], day: int) -> Iterator[tuple[int, str, str, str]]:
        for host in range(hosts):
            for number in range(20):
                found = _rows(number, entries, f"-{host}-{day}") if (host, number) in own else common[number]
                for row in found:
                    yield host, row.key, row.name, row.data

    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(Path(folder) / "plain.db")) as database:
        database.execute("PRAGMA synchronous = OFF")
        for name, own, day in (("old", set[Key](), 0), ("new", changed, 1)):
            database.execute(
                f"CREATE TABLE {name} (host, key, name, data, PRIMARY KEY (host, key, name)) WITHOUT ROWID"
            )
            database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", rows(own, day))
        database.commit()
        begin = time.process_time()
        count = 0
        for one, other in (("old", "new"), ("new", "old")):
            query = (
                f"SELECT count(*) FROM {one} a LEFT JOIN {other} b"
                " ON a.host = b.host AND a.key = b.key AND a.name = b.name AND a.data = b.data WHERE b.host IS NULL"
            )
            count += database.execute(query).fetchone()[0]
        return time.process_time() - begin, count


def main() -> int:
    """Measure and print; exit code 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 hosts instead of 20,000")
    hosts = 2_000 if parser.parse_args().quick else 20_000
    changed = _cells(hosts, 7)
    costs = []
    for entries in (ENTRIES, 10 * ENTRIES):
        with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "store.db") as store:
            old = _fill(store, hosts, entries, set(), 0)
            new = _fill(store, hosts, entries, changed, 1)
            costs.append(_cost(store, old, new))
    print(f"{hosts:,} hosts x 20 scopes, {SHARE:.1%} of the cells changed")
    table = [
        (rows, len(changed), one.changes, one.reading, one.whole, one.decoding, f"{one.peak:.1f}")
        for rows, one in zip((3 * ENTRIES, 30 * ENTRIES), costs, strict=True)
    ]
    headers = ("rows per scope", "cells changed", "changes", "reading s", "diff s", "diff - reading s", "peak MB")
    print(tabulate(table, headers=headers, floatfmt=".2f"))
    seconds, rows = _plain(hosts, ENTRIES, changed)
    size = f"{3 * ENTRIES} rows per scope"
    print(f"plain row table, anti-join, {size}: {seconds:.2f} s, {rows} changed rows, none decoded")
    worst = max(one.decoding for one in costs)
    print(f"the diff costs {worst:.2f} s more than reading (limit {LIMIT:.1f} s)")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
