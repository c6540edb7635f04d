"""The hive reader gives back every tree that can be written, and survives every byte that can be changed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscan.errors import HiveError
from fleetscan.hives.regf import MOST_DEPTH, Hive
from fleetscan.hives.tree import MemoryKey, Value
from fleetscan.model.registry import fold
from tests.doubles.hive_writer import NONE, SUBKEYS_AT, VALUES_AT, HiveWriter, name_hash, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetscan.hives.tree import Key

names = st.text(st.characters(exclude_characters="\\"), min_size=1, max_size=12)
values = st.tuples(st.text(max_size=8), st.integers(0, NONE), st.binary(max_size=60))
trees: st.SearchStrategy[tuple[list[tuple[str, int, bytes]], dict[str, object]]] = st.recursive(
    st.tuples(st.lists(values, max_size=4), st.just({})),
    lambda below: st.tuples(st.lists(values, max_size=4), st.dictionaries(names, below, max_size=5)),
    max_leaves=12,
)


def _grown(name: str, tree: object, mtime: int = 0) -> MemoryKey:
    assert isinstance(tree, tuple)
    key = MemoryKey(name, mtime=mtime)
    for value_name, value_type, data in tree[0]:
        key.set(value_name, value_type, data)
    for subkey_name, below in tree[1].items():
        key._subkeys.setdefault(fold(subkey_name), _grown(subkey_name, below, mtime + 1))  # noqa: SLF001 - built whole
    return key


def _dump(key: Key) -> object:
    return (key.name, key.mtime, list(key.values()), [_dump(subkey) for subkey in key.subkeys()])


@settings(max_examples=60, deadline=None)
@given(trees, st.sampled_from([b"lh", b"lf", b"li"]), st.integers(1, 3))
def test_tree_that_is_written_is_read(tree: object, lists: bytes, leaf: int) -> None:
    root = _grown("ROOT", tree, 1_500_000_000)

    hive = Hive(write(root, lists=lists, leaf=leaf), "test")

    assert _dump(hive.root) == _dump(root)
    assert all("order" in damage.what for damage in hive.damages())


@settings(max_examples=60, deadline=None)
@given(trees, st.sampled_from([b"lh", b"lf", b"li"]), names)
def test_subkey_is_found_by_name_in_any_case(tree: object, lists: bytes, absent: str) -> None:
    root = _grown("ROOT", tree)
    hive = Hive(write(root, lists=lists, leaf=2), "test")

    for subkey in root.subkeys():
        found = hive.root.subkey(
            "".join(char.lower() if fold(char.lower()) == fold(char) else char for char in subkey.name)
        )
        assert found is not None
        assert found.name == subkey.name
    expected = root.subkey(absent)
    assert (hive.root.subkey(absent) is None) == (expected is None)


@pytest.mark.parametrize("minor", [3, 5])
@pytest.mark.parametrize("size", [0, 1, 4, 5, 16343, 16344, 16345, 16348, 2 * 16344, 100_000])
def test_data_of_any_size_is_read(minor: int, size: int) -> None:
    data = bytes(at % 251 for at in range(size))

    hive = Hive(write(MemoryKey("ROOT").set("v", 3, data), minor=minor), "test")

    assert hive.root.values() == [Value("v", 3, data)]
    assert hive.damages() == ()


@pytest.mark.parametrize(
    "name", ["a\0b", "\0", " lead", "trail ", "a\r\nb", "ÿ", "Ж", "a\ud800", "\U0001f600", "a/b", "x" * 255]
)
def test_names_come_as_stored(name: str) -> None:
    key = MemoryKey("ROOT")
    key.add(name).set(name, 1, b"")

    hive = Hive(write(key), "test")

    assert [subkey.name for subkey in hive.root.subkeys()] == [name]
    assert [value.name for value in hive.root.subkeys()[0].values()] == [name]
    assert hive.root.subkey(name) is not None


def test_link_tells_its_target() -> None:
    target = r"\Registry\Machine\SOFTWARE\x"
    link = MemoryKey("ROOT").add("link").set("SymbolicLinkValue", 6, target.encode("utf-16-le"))
    link.link_target = target
    root = MemoryKey("ROOT")
    root._subkeys["LINK"] = link  # noqa: SLF001 - built whole
    root.add("plain").set("SymbolicLinkValue", 6, target.encode("utf-16-le"))

    hive = Hive(write(root), "test")

    assert [subkey.link_target for subkey in hive.root.subkeys()] == [target, None]


def _two_keys(change: Callable[[HiveWriter, int, int], None]) -> Hive:
    """A root with the subkeys ``a`` (which has ``b``) and ``c``, changed by ``change(writer, a, c)``."""
    writer = HiveWriter()
    root = MemoryKey("ROOT")
    root.add("a", "b").set("v", 1, b"in b")
    root.add("c").set("w", 1, b"in c")
    top = writer.key(root)
    listed = struct.unpack_from("<I", writer.bins, top + 4 + SUBKEYS_AT)[0]
    first, _, second, _ = struct.unpack_from("<4I", writer.bins, listed + 8)
    change(writer, first, second)
    return Hive(writer.hive(top), "test")


def _all(hive: Hive) -> list[str]:
    found, waiting = [], [hive.root]
    while waiting:
        key = waiting.pop()
        found.append(key.path)
        key.values()
        waiting += key.subkeys()
    return sorted(found)


def _list_of(writer: HiveWriter, *keys: tuple[str, int]) -> int:
    return writer.subkey_list([(fold(name), key) for name, key in keys])


def test_list_that_leads_back_to_the_key_itself_ends() -> None:
    hive = _two_keys(lambda writer, a, _: writer.patch(a, SUBKEYS_AT, _list_of(writer, ("a", a))))

    assert _all(hive) == ["", "\\a", "\\a\\a", "\\c"]
    assert [damage.key for damage in hive.damages("HKLM\\X")] == ["HKLM\\X\\a\\a"]


def test_list_that_leads_back_to_the_root_ends() -> None:
    hive = _two_keys(lambda writer, a, _: writer.patch(a, SUBKEYS_AT, _list_of(writer, ("root", 32))))

    assert _all(hive) == ["", "\\a", "\\a\\ROOT", "\\c"]


def test_key_below_two_parents_has_its_subkeys_below_its_own() -> None:
    def change(writer: HiveWriter, a: int, c: int) -> None:
        writer.patch(c, 20, 1)
        writer.patch(c, SUBKEYS_AT, _list_of(writer, ("a", a)))

    hive = _two_keys(change)

    assert _all(hive) == ["", "\\a", "\\a\\b", "\\c", "\\c\\a"]
    assert ["another parent" in damage.what for damage in hive.damages()] == [True]


def test_wrong_hash_hides_a_key_from_windows_but_not_here() -> None:
    writer = HiveWriter()
    root = writer.key(MemoryKey("ROOT"))
    hidden = writer.key(MemoryKey("hidden"), root)
    writer.patch(root, 20, 1)
    writer.patch(root, SUBKEYS_AT, writer.cell(struct.pack("<2sHII", b"lh", 1, hidden, name_hash("OTHER"))))
    hive = Hive(writer.hive(root), "test")

    assert hive.root.subkey("hidden") is not None
    assert [damage.key for damage in hive.damages("X")] == ["X\\hidden"]


def test_two_keys_of_one_name_are_both_listed_and_reported() -> None:
    writer = HiveWriter()
    root = writer.key(MemoryKey("ROOT"))
    twins = [(name.upper(), writer.key(MemoryKey(name), root)) for name in ("run", "Run")]
    writer.patch(root, 20, 2)
    writer.patch(root, SUBKEYS_AT, writer.subkey_list(twins))
    hive = Hive(writer.hive(root), "test")

    assert [key.name for key in hive.root.subkeys()] == ["run", "Run"]
    assert [damage.what for damage in hive.damages()] == ["two keys of one name: only one can be opened on Windows"]


def test_shared_values_cannot_multiply() -> None:
    writer = HiveWriter()
    root = writer.key(MemoryKey("ROOT"))
    data = writer.cell(bytes(16_000))
    value = writer.cell(struct.pack("<2sHIIIHH", b"vk", 1, 16_000, data, 3, 1, 0) + b"v")
    listed = writer.cell(struct.pack("<8I", *[value] * 8))
    subkeys = []
    for number in range(2000):
        key = writer.key(MemoryKey(f"{number:04}"), root)
        writer.patch(key, VALUES_AT, 8, listed)
        subkeys.append((f"{number:04}", key))
    writer.patch(root, 20, len(subkeys))
    writer.patch(root, SUBKEYS_AT, writer.subkey_list(subkeys))
    hive = Hive(writer.hive(root), "test")

    read = sum(len(value.data) for key in hive.root.subkeys() for value in key.values())

    assert read <= 2 * len(hive.data)
    assert any("share their data" in damage.what for damage in hive.damages())


@pytest.mark.parametrize("roots", [False, True], ids=["one list", "list of lists"])
def test_shared_subkey_lists_cannot_multiply(roots: bool) -> None:  # noqa: FBT001 - a parameter
    writer = HiveWriter(lists=b"li", leaf=8 if roots else 5000)
    root = writer.key(MemoryKey("ROOT"))
    keys = [(f"{number:04}", writer.key(MemoryKey(f"{number:04}"), root)) for number in range(3000)]
    listed = writer.subkey_list(keys)
    for key in (root, *(offset for _, offset in keys)):
        writer.patch(key, 20, len(keys))
        writer.patch(key, SUBKEYS_AT, listed)
    hive = Hive(writer.hive(root), "test")

    found = _all(hive)

    assert len(found) * 8 <= len(hive.data)
    assert any("lists are shared" in damage.what for damage in hive.damages()) or len(hive.damages()) > 1000


def test_chain_of_keys_is_read_to_the_depth_of_windows() -> None:
    writer = HiveWriter()
    root = above = writer.key(MemoryKey("ROOT"))
    for _ in range(MOST_DEPTH + 10):
        key = writer.key(MemoryKey("k"), above)
        writer.patch(above, 20, 1)
        writer.patch(above, SUBKEYS_AT, writer.subkey_list([("K", key)]))
        above = key
    hive = Hive(writer.hive(root), "test")

    assert len(_all(hive)) == MOST_DEPTH + 1
    assert any("levels deep" in damage.what for damage in hive.damages())


def test_list_that_claims_more_than_its_cell_holds_is_cut() -> None:
    writer = HiveWriter()
    root = writer.key(MemoryKey("ROOT").set("v", 1, b"x"))
    writer.patch(root, VALUES_AT, 0xFFFFFFF0)
    hive = Hive(writer.hive(root), "test")

    assert Value("v", 1, b"x") in hive.root.values()
    assert any("in a cell for" in damage.what for damage in hive.damages())


def test_root_is_found_where_the_base_block_is_wrong() -> None:
    writer = HiveWriter()
    data = bytearray(writer.hive(writer.key(MemoryKey("ROOT").set("v", 1, b"x"))))
    data[:512] = bytes(512)

    hive = Hive(bytes(data), "test")

    assert hive.root.values() == [Value("v", 1, b"x")]
    assert any("damaged base block" in damage.what for damage in hive.damages())


@pytest.mark.parametrize("data", [b"", b"regf", b"regf" + bytes(600), b"regf" + bytes(9000), b"MZ" + bytes(9000)])
def test_what_is_no_hive_is_refused(data: bytes) -> None:
    with pytest.raises(HiveError, match="test"):
        Hive(data, "test")
