"""Replay of transaction logs: a hive as Windows would have recovered it when it loads it the next time.

Windows writes changes to a log first (``.LOG``, ``.LOG1``, ``.LOG2``) and to the hive later, often much later. A hive
that was collected from a running machine is therefore *dirty*, and its newest keys are only in the logs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from fleetscan.hives.baseblock import SECTOR, SIGNATURE, SIZE, BaseBlock, base_block
from fleetscan.hives.marvin import marvin32
from fleetscan.hives.tree import Damage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OLD, _NEW = b"DIRT", b"HvLE"
_PAGE = 4096
_ENTRY = struct.Struct("<4sIIIIIQQ")
_REFERENCE = struct.Struct("<II")
_BIN = struct.Struct("<4sII")
_BIN_TIME = struct.Struct("<Q")
_SLACK = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The hive after the replay, its base block, and what could not be done. ``entries``: how many were applied."""

    data: bytes
    base: BaseBlock
    damages: tuple[Damage, ...] = ()
    entries: int = 0


@dataclass(frozen=True, slots=True)
class _Log:
    name: str
    data: bytes
    base: BaseBlock
    start: int
    """Where its entries or its dirty vector begin."""
    largest: int
    """Most bytes the hive can have after it: what a hive gains stands in the logs. Size fields must not cost memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    sequence: int
    bins_size: int
    pages: tuple[tuple[int, int, int], ...]
    """Place in the log, place in the hive bins, size."""


class _Refused(Exception):  # noqa: N818 - it is no error of the reader but the reason why a log is left out
    """Why a log, or the rest of it, cannot be applied; the offset in the log."""

    def __init__(self, why: str, offset: int) -> None:
        super().__init__(why)
        self.offset = offset


def replay(data: bytes, name: str, logs: Sequence[tuple[str, bytes]]) -> Replayed:
    """Apply ``logs`` (name, content; in the order LOG, LOG1, LOG2) to a dirty hive; a clean one stays as it is.

    What cannot be applied is left out and reported: the hive then stands as it was written last.
    """
    primary = base_block(data)
    if primary is None:
        primary = base_block(data.ljust(SECTOR, b"\0")[:SECTOR])
        assert primary is not None  # noqa: S101 - 512 bytes are enough
    if not primary.dirty:
        return Replayed(data=data, base=primary)
    damages: list[Damage] = []
    usable = list(_usable(logs, len(data) + sum(len(content) for _, content in logs) + _SLACK, damages))
    new = [log for log in usable if log.data.startswith(_NEW, log.start)]
    replayed = _replay_new(data, primary, new, damages) if new else None
    for log in usable if replayed is None else ():
        if not log.data.startswith(_OLD, log.start):
            continue
        replayed = _replay_old(data, primary, log, damages)
        if replayed is not None:
            break
    if replayed is None:
        damages.insert(0, Damage(file=name, what=_unreplayed(primary, logs=bool(usable)), offset=4))
        replayed = Replayed(data=data, base=primary)
    return replace(replayed, damages=tuple(damages))


def _unreplayed(primary: BaseBlock, *, logs: bool) -> str:
    state = "dirty hive" if primary.valid else "damaged base block"
    return f"{state}: its last changes are missing, {'no log could be applied' if logs else 'there is no usable log'}"


def _usable(logs: Sequence[tuple[str, bytes]], largest: int, damages: list[Damage]) -> Iterator[_Log]:
    """Logs with a valid base block and a known content; Windows also keeps empty ones, for old programs."""
    for name, data in logs:
        if not data.strip(b"\0"):
            continue
        base = base_block(data)
        if base is None or not base.valid or base.primary_sequence != base.secondary_sequence:
            damages.append(Damage(file=name, what="log with a damaged base block: not applied", offset=0))
            continue
        # The second sector of the disk; logs written for old programs use 512 bytes whatever the disk has.
        start = next((at for at in (SECTOR, base.sector) if data[at : at + 4] in {_OLD, _NEW}), None)
        if start is None:
            damages.append(Damage(file=name, what="log of an unknown format: not applied", offset=SECTOR))
            continue
        yield _Log(name, data, base, start, largest)


def _recovered(primary: BaseBlock, log: BaseBlock) -> BaseBlock:
    """The base block to go on with: the log's copy where the hive's own is damaged."""
    return primary if primary.valid else replace(log, file_type=0)


def _replay_new(data: bytes, primary: BaseBlock, logs: list[_Log], damages: list[Damage]) -> Replayed | None:
    """Entries in sequence from the hive's own sequence on, over both logs, up to the first gap or bad entry."""
    runs: list[tuple[_Log, list[_Entry]]] = []
    base = _recovered(primary, max((log.base for log in logs), key=lambda base: base.primary_sequence))
    least = primary.secondary_sequence if primary.valid else 0
    for log in logs:
        run = [entry for entry in _run(log, damages) if entry.sequence >= least]
        if run:
            runs.append((log, run))
    runs.sort(key=lambda run: run[1][0].sequence)
    hive = bytearray(data)
    count, last = 0, None
    for log, run in runs:
        if last is not None and run[0].sequence != last + 1:
            what = f"entries {last + 1} to {run[0].sequence - 1} are in no log: later ones are not applied"
            damages.append(Damage(file=log.name, what=what, offset=log.start))
            break
        for entry in run:
            _apply(hive, log, entry)
        count += len(run)
        last = run[-1].sequence
        base = replace(base, bins_size=run[-1].bins_size)
    if last is None:
        return None
    first = runs[0][1][0].sequence
    if primary.valid and first > primary.primary_sequence:
        # Windows 10 flushes rarely and starts its logs anew; the changes in between can be elsewhere or nowhere.
        what = f"the hive stands at {least}, the log starts at {first}: changes in between are unknown"
        damages.append(Damage(file=runs[0][0].name, what=what, offset=runs[0][0].start))
    base = replace(base, primary_sequence=last, secondary_sequence=last, file_type=0)
    return Replayed(data=bytes(hive), base=base, entries=count)


def _run(log: _Log, damages: list[Damage]) -> list[_Entry]:
    """The entries from the start of the log on, each the successor of the one before; what follows is left over."""
    run: list[_Entry] = []
    at = log.start
    try:
        while log.data.startswith(_NEW, at):
            entry, size = _entry(log, at)
            if run and entry.sequence != run[-1].sequence + 1:
                break
            run.append(entry)
            at += size
    except _Refused as refused:
        what = f"log entry: {refused}; it and what follows is not applied"
        damages.append(Damage(file=log.name, what=what, offset=refused.offset))
    return run


def _entry(log: _Log, at: int) -> tuple[_Entry, int]:
    data = log.data
    if len(data) - at < _ENTRY.size:
        raise _Refused("cut off", at)
    _, size, _, sequence, bins_size, count, hash_pages, hash_header = _ENTRY.unpack_from(data, at)
    if size < _ENTRY.size or size % SECTOR or at + size > len(data):
        raise _Refused(f"size {size} is impossible", at)
    if bins_size % _PAGE or bins_size > log.largest:
        raise _Refused(f"hive bins size {bins_size} is impossible", at)
    view = memoryview(data)[at : at + size]
    if marvin32(view[:32]) != hash_header or marvin32(view[_ENTRY.size :]) != hash_pages:
        raise _Refused("wrong hash", at)
    return _Entry(sequence=sequence, bins_size=bins_size, pages=_pages(data, at, size, count, bins_size)), size


def _pages(data: bytes, at: int, size: int, count: int, bins_size: int) -> tuple[tuple[int, int, int], ...]:
    references = at + _ENTRY.size
    source = references + count * _REFERENCE.size
    pages = []
    if source > at + size:
        raise _Refused(f"{count} pages do not fit", at)
    for index in range(count):
        target, length = _REFERENCE.unpack_from(data, references + index * _REFERENCE.size)
        if source + length > at + size or target + length > bins_size:
            raise _Refused(f"page {index} lies outside", references + index * _REFERENCE.size)
        pages.append((source, target, length))
        source += length
    return tuple(pages)


def _apply(hive: bytearray, log: _Log, entry: _Entry) -> None:
    for source, target, length in entry.pages:
        end = SIZE + target + length
        if len(hive) < end:
            hive.extend(bytes(end - len(hive)))
        hive[end - length : end] = log.data[source : source + length]


def _replay_old(data: bytes, primary: BaseBlock, log: _Log, damages: list[Damage]) -> Replayed | None:
    """One log of dirty pages; it belongs to the hive if both were written at the same time."""
    times = {primary.written} if primary.valid else {primary.written, _first_bin_time(data)}
    if log.base.written not in times:
        damages.append(Damage(file=log.name, what="log of another state of the hive: not applied", offset=12))
        return None
    base = _recovered(primary, log.base)
    try:
        hive = _with_pages(data, log, damages)
    except _Refused as refused:
        damages.append(Damage(file=log.name, what=f"log: {refused}; not applied", offset=refused.offset))
        return None
    sequence = max(primary.primary_sequence, log.base.primary_sequence)
    base = replace(base, primary_sequence=sequence, secondary_sequence=sequence, bins_size=log.base.bins_size)
    return Replayed(data=hive, base=base, entries=1)


def _first_bin_time(data: bytes) -> int:
    return int(_BIN_TIME.unpack_from(data, SIZE + 20)[0]) if data[SIZE : SIZE + 4] == b"hbin" else -1


def _with_pages(data: bytes, log: _Log, damages: list[Damage]) -> bytes:
    size = log.base.bins_size
    vector = log.start + len(_OLD)
    length = size // SECTOR // 8
    if size % _PAGE or size > log.largest or vector + length > len(log.data):
        raise _Refused(f"hive bins size {size} is impossible", 40)
    source = -(-(vector + length) // log.base.sector) * log.base.sector
    hive = bytearray(data)
    for first, end in _dirty_runs(log.data[vector : vector + length]):
        count = (end - first) * SECTOR
        if source + count > len(log.data):
            raise _Refused("cut off: dirty pages are missing", len(log.data))
        if why := _bad_bin(hive, log.data, source, first * SECTOR):
            damages.append(Damage(file=log.name, what=f"{why}: it and what follows is not applied", offset=source))
            break
        target = SIZE + first * SECTOR
        if len(hive) < target + count:
            hive.extend(bytes(target + count - len(hive)))
        hive[target : target + count] = log.data[source : source + count]
        source += count
    return bytes(hive)


def _dirty_runs(vector: bytes) -> Iterator[tuple[int, int]]:
    """First and end of each run of dirty pages of 512 bytes, by the bits of the vector."""
    dirty = [8 * at + bit for at, byte in enumerate(vector) if byte for bit in range(8) if byte >> bit & 1]
    starts = [page for before, page in pairwise([-2, *dirty]) if page != before + 1]
    ends = [page + 1 for page, after in pairwise([*dirty, -2]) if after != page + 1]
    yield from zip(starts, ends, strict=True)


def _bad_bin(hive: bytearray, log: bytes, source: int, place: int) -> str:
    """Why dirty pages that start a hive bin cannot be one; empty if nothing speaks against them."""
    if place % _PAGE or hive[SIZE + place : SIZE + place + 4] != b"hbin":
        return ""
    signature, offset, size = _BIN.unpack_from(log, source)
    good = signature == b"hbin" and offset == place and size >= _PAGE
    return "" if good else "dirty pages that are no hive bin"


def is_log(data: bytes) -> bool:
    """Is this a transaction log, by its content?"""
    base = base_block(data)
    return (
        base is not None
        and data.startswith(SIGNATURE)
        and (base.file_type in {1, 6} or data[SECTOR : SECTOR + 4] in {_OLD, _NEW})
    )
