"""Whatever bytes stand in a hive, a log or an export: a typed error or a bounded tree, never anything else.

The usual run is short; FLEETSCAN_DEEP=1 takes in the long one.
"""

from __future__ import annotations

import lzma
import os
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetscan.errors import HiveError
from fleetscan.hives.collection import machine
from fleetscan.hives.load import load
from fleetscan.hives.mount import Hives, hives_of, mount
from fleetscan.hives.recognise import account, profile_folder, recognise
from fleetscan.hives.regf import Hive
from fleetscan.hives.regfile import apply_reg
from fleetscan.hives.sidefile import apply_extra
from fleetscan.hives.tree import MemoryKey, MemoryRegistry
from tests.doubles.hive_writer import base_block, log_entry, new_log, write
from tests.hives.corpus import edge_cases, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEEP = os.environ.get("FLEETSCAN_DEEP") == "1"
SECONDS = 60
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
thorough = settings(max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])

words = st.one_of(
    st.sampled_from(
        [0, 1, 0x20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF8, 0x1000, 0xFFFFF000, 0x6B6E, 0x6972, 0x686C]
    ),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0x400).map(lambda cell: 8 * cell),
)
edits = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([1, 2, 4]), words), min_size=1, max_size=12
)


def _hand_made() -> bytes:
    root = MemoryKey("ROOT")
    for name in ("Select", "ControlSet001", "Software", "Environment"):
        root.add(name).set("Current", 4, b"\1\0\0\0").set("big", 3, bytes(20_000)).set("text", 1, b"a\0b\0")
    for number in range(40):
        root.add("Software", "Microsoft", f"key {number}").set("v", 1, b"x" * number)
    return write(root, lists=b"lf", leaf=8)


SEEDS = [_hand_made(), *(unpacked(case.path)[:40_000] for case in edge_cases())]


def _changed(data: bytes, changes: list[tuple[float, int, int]], *, cut: float = 1.0, reach: int = 24_000) -> bytes:
    """``data`` with a few words changed, mostly where its first cells stand."""
    changed = bytearray(data)
    for place, size, word in changes:
        at = int(place * min(len(changed) - 4, reach))
        struct.pack_into({1: "<B", 2: "<H", 4: "<I"}[size], changed, at & ~(size - 1), word & (1 << 8 * size) - 1)
    return bytes(changed[: int(len(changed) * cut)])


def _walk(hive: Hive) -> None:
    """Read everything; what comes is bounded by the file."""
    keys, values, size = 0, 0, 0
    waiting = [hive.root]
    while waiting:
        key = waiting.pop()
        keys += 1
        _ = key.name, key.mtime, key.link_target
        for value in key.values():
            values += 1
            size += len(value.data)
        waiting += key.subkeys()
        assert key.subkey("absent") is None
    assert max(keys * 8, values * 4, size) <= 8 * len(hive.data)
    assert len(hive.damages()) <= 1001


def _survives(data: bytes, logs: list[tuple[str, bytes]] | None = None) -> None:
    start = time.monotonic()
    try:
        hive = Hive(data, "mutated", logs or [])
    except HiveError:
        return
    _walk(hive)
    recognise(hive, "mutated")
    account(hive)
    profile_folder(hive)
    registry = mount(Hives(machine={"SYSTEM": hive.root, "SOFTWARE": hive.root}, users={"S-1-5-21-1": hive.root}))
    registry.open(("HKEY_LOCAL_MACHINE", "SYSTEM", "CurrentControlSet", "x"))
    assert time.monotonic() - start < SECONDS


@contextmanager
def _refusals(where: str) -> Iterator[None]:
    """A HiveError is an answer too, if it says where."""
    try:
        yield
    except HiveError as error:
        if where not in str(error):
            raise


mutated_hives = st.tuples(st.sampled_from(SEEDS), edits, st.sampled_from([1.0, 1.0, 1.0, 0.9, 0.3]))


@quick
@given(mutated_hives)
def test_changed_hive_is_read_or_refused(mutated: tuple[bytes, list[tuple[float, int, int]], float]) -> None:
    data, changes, cut = mutated
    _survives(_changed(data, changes, cut=cut))


@pytest.mark.deep
@pytest.mark.skipif(not DEEP, reason="long run: set FLEETSCAN_DEEP=1")
@thorough
@given(mutated_hives)
def test_changed_hive_is_read_or_refused_in_a_long_run(
    mutated: tuple[bytes, list[tuple[float, int, int]], float],
) -> None:
    data, changes, cut = mutated
    _survives(_changed(data, changes, cut=cut))


def _log_seeds() -> list[bytes]:
    page = _hand_made()[4096:8192]
    size = len(_hand_made()) - 4096
    old = base_block((3, 3), 32, size, kind=1) + (b"DIRT" + b"\xff").ljust(512, b"\0") + page
    return [new_log(2, size, [log_entry(2, size, [(0, page)]), log_entry(3, size, [(0, page)])]), old]


@quick
@given(
    st.integers(1, 4),
    st.integers(0, 0xFFFFF).map(lambda page: page * 4096) | words,
    st.lists(st.tuples(words, st.binary(max_size=64)), max_size=4),
)
def test_log_with_valid_hashes_and_any_content_is_replayed_or_left_out(
    sequence: int, size: int, pages: list[tuple[int, bytes]]
) -> None:
    hive = _hand_made()
    log = new_log(2, 4096, [log_entry(2, len(hive) - 4096, []), log_entry(sequence, size, pages)])

    _survives(base_block((3, 2), 32, len(hive) - 4096) + hive[512:], [("log", log)])


@quick
@given(st.sampled_from(_log_seeds()), edits, st.sampled_from([1.0, 1.0, 0.7]), st.booleans())
def test_changed_log_is_replayed_or_left_out(
    log: bytes,
    changes: list[tuple[float, int, int]],
    cut: float,
    whole: bool,  # noqa: FBT001 - drawn
) -> None:
    hive = _hand_made()
    primary = base_block((3, 2), 32, len(hive) - 4096) if whole else bytes(512)
    _survives(primary + hive[512:], [("log", _changed(log, changes, cut=cut, reach=2000))])


EXPORT = (
    'Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SYSTEM\\Select]\r\n"Current"=dword:00000001\r\n'
    '@="a\\"b\\\\"\r\n"h"=hex(7):61,00,\\\r\n  00,00\r\n[-HKEY_USERS\\x]\r\n; remark\r\n"v"=-\r\n'
)
pieces = st.sampled_from(
    ['"', "\\", "[", "]", "=", "hex(", ":", ",", "\r\n", "-", "@", "dword:", "0", ";", "\\\r\n", "\0"]
)


@quick
@given(st.lists(st.tuples(st.integers(0, len(EXPORT)), st.integers(0, 9), pieces | st.text(max_size=3)), max_size=8))
def test_changed_export_is_imported_or_refused(changes: list[tuple[int, int, str]]) -> None:
    text = EXPORT
    for at, length, piece in changes:
        text = text[:at] + piece + text[at + length :]
    registry = MemoryRegistry()

    with _refusals("mutated"):
        apply_reg(registry, text, "mutated")

    mount(hives_of(registry))


@quick
@given(st.binary(max_size=300))
def test_any_bytes_are_an_export_a_side_file_or_refused(content: bytes) -> None:
    for mark in (b"", b"\xff\xfe", b"\xef\xbb\xbf"):
        for read in (apply_reg, apply_extra):
            with pytest.raises(HiveError):
                read(MemoryRegistry(), mark + content, "mutated")


@settings(max_examples=60, deadline=None)
@given(edits, st.sampled_from([1.0, 0.5]))
def test_changed_compressed_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int, int]], cut: float
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "SYSTEM.xz"
    path.write_bytes(_changed(lzma.compress(_hand_made()), changes, cut=cut))

    with _refusals(str(path)):
        load(machine("m", [path]))
