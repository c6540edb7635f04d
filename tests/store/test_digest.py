"""Canonical bytes: what counts as equal content, and what damaged bytes lead to."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.errors import StoreError
from fleetscan.model.registry import RegistryRow
from fleetscan.store import digest
from fleetscan.store.digest import (
    block_bytes,
    block_lines,
    block_rows,
    canonical,
    line_rows,
    pack,
    parse,
    readable,
    unpack,
)

TEXT = st.text(st.characters(codec=None), max_size=12)  # all code points: NUL and lone surrogates as well
ROWS = st.lists(
    st.builds(
        RegistryRow,
        key=TEXT,
        name=TEXT,
        type=st.sampled_from(["REG_SZ", "subkey", ""]),
        data=TEXT,
        path=TEXT,
        mtime=st.integers(0, 2**40),
    )
    | st.builds(lambda key, name: RegistryRow(key, name, "REG_SZ", "", f"{key}\\{name}"), TEXT, TEXT),
    max_size=8,
)


@given(rows=ROWS, seed=st.integers(0, 99))
def test_order_and_mtime_are_not_content(rows: list[RegistryRow], seed: int) -> None:
    shuffled = [replace(row, mtime=row.mtime + 1) for row in rows]
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - a test
    assert block_bytes(shuffled) == block_bytes(rows)


@given(rows=ROWS)
def test_rows_are_read_back_all_of_them(rows: list[RegistryRow]) -> None:
    def cells(row: RegistryRow) -> tuple[str, ...]:
        return (row.key, row.name, row.type, row.data, row.path)

    loaded = block_rows(unpack(pack(block_bytes(rows))))
    assert sorted(map(cells, loaded)) == sorted(map(cells, rows))
    assert {row.mtime for row in loaded} <= {0}
    assert block_bytes(loaded) == block_bytes(rows)


def cells_of(row: RegistryRow) -> list[str]:
    """A row as it stands in a block."""
    return [row.key, row.name, row.type, row.data, *([] if row.path == f"{row.key}\\{row.name}" else [row.path])]


@given(rows=ROWS)
def test_the_bytes_of_a_block_are_canonical_json(rows: list[RegistryRow]) -> None:
    assert block_bytes(rows) == canonical(sorted(map(cells_of, rows)))


def test_every_character_is_written_as_canonical_json_writes_it() -> None:
    planes = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x11000), 0x1F600, 0x10FFFF]))
    row = RegistryRow("K", planes, "REG_SZ", planes[::-1])
    assert block_bytes([row]) == canonical([cells_of(row)])
    assert block_rows(block_bytes([row]))[0].name == planes


TRAPS = st.lists(st.sampled_from(['"', "\\", "],[", ",", "]", "[", "x"]), max_size=6).map("".join)
"""Texts that look like the end of a row."""


@given(rows=ROWS | st.lists(st.builds(RegistryRow, key=TRAPS, name=TRAPS, type=TRAPS, data=TRAPS, path=TRAPS)))
def test_lines_are_the_rows_one_by_one_whatever_stands_in_them(rows: list[RegistryRow]) -> None:
    content = block_bytes(rows)
    lines = block_lines(content)
    assert [row for line in lines for row in line_rows([line])] == list(block_rows(content))
    assert line_rows(lines) == block_rows(content)


@given(left=ROWS, right=ROWS)
def test_different_rows_have_different_bytes(left: list[RegistryRow], right: list[RegistryRow]) -> None:
    def content(rows: list[RegistryRow]) -> list[tuple[str, ...]]:
        return sorted((row.key, row.name, row.type, row.data, row.path) for row in rows)

    assert (block_bytes(left) == block_bytes(right)) == (content(left) == content(right))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RegistryRow("K", "n", "REG_SZ", "a"), RegistryRow("K", "n", "REG_SZ", "A")),
        (RegistryRow("K", "n", "REG_SZ", "1"), RegistryRow("K", "n", "REG_DWORD", "1")),
        (RegistryRow("K", "n", "subkey", ""), RegistryRow("K", "n", "REG_SZ", "")),
        (RegistryRow("A\\B", "c", "REG_SZ", ""), RegistryRow("A", "B\\c", "REG_SZ", "")),
    ],
    ids=["case of data", "type", "subkey against value", "key and name with the same path"],
)
def test_what_looks_alike_is_not_equal(one: RegistryRow, other: RegistryRow) -> None:
    assert block_bytes([one]) != block_bytes([other])


def test_the_same_row_twice_is_not_the_row_once() -> None:
    row = RegistryRow("K", "n", "REG_SZ", "x")
    assert block_bytes([row, row]) != block_bytes([row])


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000], ids=["empty", "cut", "not UTF-8", "deep"])
def test_damaged_json_is_a_store_error(content: bytes) -> None:
    with pytest.raises(StoreError, match="damaged"):
        parse(content)


@pytest.mark.parametrize("value", [[["k"]], [[1, 2, 3, 4]], [["k", "n", "t", "d", "p", "x"]]])
def test_a_damaged_row_is_a_store_error(value: object) -> None:
    with pytest.raises(StoreError, match="damaged"):
        block_rows(canonical(value))


@pytest.mark.parametrize("content", [b"", b"nonsense", zlib.compress(b"x" * 99)[:-3]], ids=["empty", "foreign", "cut"])
def test_damaged_compression_is_a_store_error(content: bytes) -> None:
    with pytest.raises(StoreError, match=r"damaged|cut off"):
        unpack(content)


def test_a_planted_bomb_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "LARGEST", 1000)
    with pytest.raises(StoreError, match="too large"):
        unpack(zlib.compress(bytes(10_000_000)))


@given(text=TEXT)
def test_readable_text_can_be_stored_anywhere_and_plain_text_stays_as_it_is(text: str) -> None:
    shown = readable(text)
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert "\0" not in shown
    assert len(shown) == len(text)
    if "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text):
        assert shown == text
