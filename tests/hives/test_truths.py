"""Every real hive of the corpus holds exactly what other parsers agree it holds, before and after its logs."""

from __future__ import annotations

import io
import struct
from typing import Any

import pyregf
import pytest

from fleetscan.errors import HiveError
from fleetscan.hives.files import Content, content_of
from fleetscan.hives.regf import Hive
from fleetscan.hives.regfile import apply_reg
from fleetscan.hives.tree import MemoryRegistry, Value
from tests.hives.corpus import Canonical, Case, cases_or_skip, main_cases, unpacked, walk

CASES = main_cases()
HIVES = [case for case in CASES if "keys" in case.truth and not case.name.endswith(".reg.xz")]
EXPORTS = [case for case in CASES if "keys_in_export" in case.truth]
DAMAGED = [case for case in CASES if "expected" in case.truth]
FOREIGN = [case for case in CASES if case.truth.get("format") == "CREG"]
TYPES = {
    0: "REG_NONE", 1: "REG_SZ", 2: "REG_EXPAND_SZ", 3: "REG_BINARY", 4: "REG_DWORD", 5: "REG_DWORD_BIG_ENDIAN",
    6: "REG_LINK", 7: "REG_MULTI_SZ", 8: "REG_RESOURCE_LIST", 9: "REG_FULL_RESOURCE_DESCRIPTOR",
    10: "REG_RESOURCE_REQUIREMENTS_LIST", 11: "REG_QWORD",
}  # fmt: skip


@pytest.mark.parametrize("case", cases_or_skip(HIVES))
def test_hive_holds_every_key_value_type_and_byte(case: Case) -> None:
    hive = Hive(unpacked(case.path), case.name)

    found = Canonical.of(hive.root)

    assert (found.keys, found.values) == (case.truth["keys"], case.truth["values"])
    assert found.values_hash == case.truth["sha256_canonical"]
    assert found.paths_hash == case.truth["sha256_key_paths"]


@pytest.mark.parametrize("case", cases_or_skip([case for case in HIVES if "after_log_replay" in case.truth]))
def test_replayed_logs_give_what_the_truth_has_after_replay(case: Case) -> None:
    hive = Hive(unpacked(case.path), case.name, [(name, unpacked(path)) for name, path in case.logs])
    truth = case.truth["after_log_replay"]

    found = Canonical.of(hive.root)

    assert (found.keys, found.values) == (truth["keys"], truth["values"])
    assert found.values_hash == truth["sha256_canonical"]


@pytest.mark.parametrize("case", cases_or_skip([case for case in HIVES if case.truth["header"]["dirty"]]))
def test_dirty_hive_without_logs_is_reported(case: Case) -> None:
    hive = Hive(unpacked(case.path), case.name)

    assert any("last changes are missing" in damage.what for damage in hive.damages())


@pytest.mark.parametrize("case", cases_or_skip([case for case in HIVES if not case.truth["header"]["dirty"]]))
def test_sound_hive_has_no_damage(case: Case) -> None:
    hive = Hive(unpacked(case.path), case.name)

    Canonical.of(hive.root)

    assert hive.damages() == ()


@pytest.mark.parametrize("case", cases_or_skip(HIVES))
def test_rows_of_the_truth_are_found_by_name(case: Case) -> None:
    hive = Hive(unpacked(case.path), case.name)

    for row in case.truth["persistence_rows"]:
        key = hive.root
        for name in row["key"].split("\\"):
            below = key.subkey(name.swapcase())
            assert below is not None, row["key"]
            key = below
        value = next(value for value in key.values() if value.name == row["name"])
        assert TYPES.get(value.type, str(value.type)) == row["type"]
        if row.get("hex"):
            assert value.data.hex() == row["hex"]
        elif isinstance(row["data"], str | int):
            assert _plain(value) == row["data"], row


def _plain(value: Value) -> Any:  # noqa: ANN401 - truths hold texts and numbers
    if value.type in {4, 11}:
        return int.from_bytes(value.data, "little")
    return value.data.decode("utf-16-le", "surrogatepass").partition("\0")[0]


@pytest.mark.parametrize("case", cases_or_skip([case for case in HIVES if len(unpacked(case.path)) < 1_500_000]))
def test_libregf_reads_the_same_in_the_same_order(case: Case) -> None:
    """The truths are sorted; libregf also tells the order of keys and values, and when a key was written."""
    other = pyregf.file()
    other.open_file_object(io.BytesIO(unpacked(case.path)))
    waiting = [(Hive(unpacked(case.path), case.name).root, other.get_root_key())]

    while waiting:
        ours, theirs = waiting.pop()
        assert (_cut(ours.name), ours.mtime) == (theirs.name, _seconds(theirs))
        assert [_cut(value.name) for value in ours.values()] == [value.name or "" for value in theirs.values]
        for value, other_value in zip(ours.values(), theirs.values, strict=True):
            # libregf takes data of one to three bytes from the back of its field and cuts texts; the truths do neither.
            if len(value.data) > 3 and value.type not in {1, 2, 6, 7}:
                assert value.data == other_value.data
        waiting += zip(ours.subkeys(), theirs.sub_keys, strict=True)


def _cut(name: str) -> str:
    return name.partition("\0")[0]


def _seconds(key: Any) -> int:  # noqa: ANN401 - libregf has no types
    return max(0, int(key.get_last_written_time_as_integer()) // 10_000_000 - 11_644_473_600)


@pytest.mark.parametrize("case", cases_or_skip(EXPORTS))
def test_export_holds_every_value(case: Case) -> None:
    registry = MemoryRegistry()
    apply_reg(registry, unpacked(case.path), case.name)
    base = case.truth["paths"].split()[-1].split("\\")

    root = registry.find(base)

    assert root is not None
    found = Canonical.of(root)
    assert found.values == case.truth["values"]
    assert found.values_hash == case.truth["sha256_canonical"]


@pytest.mark.parametrize("case", cases_or_skip(DAMAGED))
def test_damaged_hive_gives_what_is_readable_and_says_what_is_not(case: Case) -> None:
    hive = Hive(unpacked(case.path), case.name)

    paths = {path for path, _ in walk(hive.root)}
    values = Canonical.of(hive.root).values

    damages = hive.damages("HKEY_LOCAL_MACHINE\\SYSTEM")
    lenient = case.truth["parsers"]["libhivex unsafe"]
    assert values >= case.truth["values_agreed_by_hivex_and_perl"]
    assert len(paths) >= lenient["keys"]
    assert all(damage.offset is not None for damage in damages)
    unreadable = {damage.key.removeprefix("HKEY_LOCAL_MACHINE\\SYSTEM").strip("\\") for damage in damages}
    # The lenient parser also refuses single values that can be read; lists that it cannot read nobody can.
    for key in (key for key, part, _ in lenient["first_errors"] if part != "value"):
        assert any(place == key or key.startswith(f"{place}\\") for place in unreadable), key


@pytest.mark.parametrize("case", cases_or_skip(FOREIGN))
def test_registry_of_windows_9x_is_refused_by_name(case: Case) -> None:
    assert content_of(case.path) is Content.WINDOWS_9X
    with pytest.raises(HiveError, match="no registry hive"):
        Hive(unpacked(case.path), case.name)


def test_every_hive_of_the_manifest_is_tested(hives_folder: Any) -> None:  # noqa: ANN401 - a path
    assert hives_folder.is_dir()
    assert struct.calcsize("I") == 4
    assert {case.name for case in CASES} == {case.name for case in (*HIVES, *EXPORTS, *DAMAGED, *FOREIGN)}
