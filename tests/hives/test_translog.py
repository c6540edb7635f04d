"""Logs are replayed as Windows replays them: in sequence, from the hive's own state on, up to what is damaged."""

from __future__ import annotations

import pytest

from fleetscan.hives.marvin import marvin32
from fleetscan.hives.regf import Hive
from fleetscan.hives.translog import is_log
from fleetscan.hives.tree import MemoryKey
from tests.doubles.hive_writer import HiveWriter, base_block, log_entry, new_log

PAGE = 4096
WRITTEN = 131_331_190_512_216_222


def _states(count: int) -> list[bytes]:
    """The same hive at several times: its value ``n`` is the number of the state."""
    states = []
    for number in range(count):
        writer = HiveWriter()
        root = writer.key(MemoryKey("ROOT").set("n", 1, bytes((number,)) * 8))
        states.append(writer.hive(root))
    return states


def _dirty(state: bytes, *, primary: int = 11, secondary: int = 10, written: int = 0) -> bytes:
    block = base_block((primary, secondary), 32, PAGE, written=written)
    return block + state[512:]


def _entry(sequence: int, state: bytes) -> bytes:
    return log_entry(sequence, PAGE, [(0, state[PAGE : 2 * PAGE])])


def _number(hive: Hive) -> int:
    return hive.root.values()[0].data[0]


def _old_log(state: bytes, *, written: int, sequences: tuple[int, int] = (11, 11)) -> bytes:
    vector = (b"DIRT" + b"\xff").ljust(512, b"\0")
    return base_block(sequences, 32, PAGE, kind=1, written=written) + vector + state[PAGE : 2 * PAGE]


def test_clean_hive_ignores_its_logs() -> None:
    old, new = _states(2)

    hive = Hive(_dirty(old, primary=10, secondary=10), "h", [("h.LOG1", new_log(10, PAGE, [_entry(10, new)]))])

    assert (_number(hive), hive.log_entries, hive.damages()) == (0, 0, ())


def test_entries_of_both_logs_are_applied_in_sequence() -> None:
    states = _states(5)
    first = new_log(12, PAGE, [_entry(12, states[3]), _entry(13, states[4])])
    second = new_log(10, PAGE, [_entry(10, states[1]), _entry(11, states[2])])

    hive = Hive(_dirty(states[0]), "h", [("h.LOG1", first), ("h.LOG2", second)])

    assert (_number(hive), hive.log_entries, hive.damages()) == (4, 4, ())


def test_entries_before_the_state_of_the_hive_are_left_out() -> None:
    states = _states(3)
    log = new_log(8, PAGE, [_entry(8, states[1]), _entry(9, states[1])])
    good = new_log(10, PAGE, [_entry(10, states[2])])

    hive = Hive(_dirty(states[0]), "h", [("h.LOG1", log), ("h.LOG2", good)])

    assert (_number(hive), hive.log_entries) == (2, 1)


def test_left_over_entries_behind_the_last_one_are_left_out() -> None:
    states = _states(3)
    log = new_log(10, PAGE, [_entry(10, states[1]), _entry(7, states[2])])

    assert _number(Hive(_dirty(states[0]), "h", [("h.LOG1", log)])) == 1


def test_gap_between_two_logs_ends_the_replay_and_is_reported() -> None:
    states = _states(3)
    logs = [new_log(10, PAGE, [_entry(10, states[1])]), new_log(15, PAGE, [_entry(15, states[2])])]

    hive = Hive(_dirty(states[0]), "h", [("h.LOG1", logs[0]), ("h.LOG2", logs[1])])

    assert _number(hive) == 1
    assert [damage.what for damage in hive.damages()] == ["entries 11 to 14 are in no log: later ones are not applied"]


def test_gap_between_hive_and_log_is_reported() -> None:
    states = _states(2)

    hive = Hive(_dirty(states[0]), "h", [("h.LOG1", new_log(40, PAGE, [_entry(40, states[1])]))])

    assert _number(hive) == 1
    assert ["changes in between are unknown" in damage.what for damage in hive.damages()] == [True]


@pytest.mark.parametrize("at", [4, 8, 12, 16, 20, 24, 32, 40, 44, 60, 500])
def test_entry_that_was_torn_or_changed_ends_the_replay(at: int) -> None:
    states = _states(3)
    torn = bytearray(_entry(11, states[2]))
    torn[at] ^= 0x01
    log = new_log(10, PAGE, [_entry(10, states[1]), bytes(torn)])

    hive = Hive(_dirty(states[0]), "h", [("h.LOG1", log)])

    assert _number(hive) == 1
    assert [damage.offset for damage in hive.damages()] == [512 + len(_entry(10, states[1]))]


def test_hive_grows_by_the_pages_of_the_log() -> None:
    writer = HiveWriter()
    root = MemoryKey("ROOT")
    small = writer.hive(writer.key(root))
    for number in range(200):
        root.add(f"key {number:03}")
    writer = HiveWriter()
    large = writer.hive(writer.key(root))
    pages = [(at, large[PAGE + at : 2 * PAGE + at]) for at in range(0, len(large) - PAGE, PAGE)]
    log = new_log(10, len(large) - PAGE, [log_entry(10, len(large) - PAGE, pages)])

    hive = Hive(_dirty(small), "h", [("h.LOG1", log)])

    assert len(hive.root.subkeys()) == 200
    assert hive.damages() == ()


def test_size_that_no_log_can_fill_costs_no_memory() -> None:
    old, new = _states(2)
    entry = log_entry(10, 0x7FFFF000, [(0x7FFFE000, new[PAGE : 2 * PAGE])])

    hive = Hive(_dirty(old), "h", [("h.LOG1", new_log(10, PAGE, [entry]))])

    assert len(hive.data) == len(old)
    assert any("impossible" in damage.what for damage in hive.damages())


def test_old_log_of_the_same_state_is_applied() -> None:
    old, new = _states(2)

    hive = Hive(_dirty(old, written=WRITTEN), "h", [("h.LOG", _old_log(new, written=WRITTEN))])

    assert (_number(hive), hive.damages()) == (1, ())


def test_old_log_of_another_state_is_left_out() -> None:
    old, new = _states(2)

    hive = Hive(_dirty(old, written=WRITTEN), "h", [("h.LOG", _old_log(new, written=WRITTEN - 1))])

    assert _number(hive) == 0
    assert any("another state" in damage.what for damage in hive.damages())


def test_old_log_with_the_right_state_is_found_among_several() -> None:
    old, new = _states(2)
    logs = [("h.LOG1", _old_log(old, written=WRITTEN - 1)), ("h.LOG2", _old_log(new, written=WRITTEN))]

    assert _number(Hive(_dirty(old, written=WRITTEN), "h", logs)) == 1


def test_destroyed_base_block_is_taken_from_the_log() -> None:
    old, new = _states(2)
    hive = Hive(bytes(512) + old[512:], "h", [("h.LOG1", new_log(10, PAGE, [_entry(10, new)]))])

    assert (_number(hive), hive.base.secondary_sequence, hive.damages()) == (1, 10, ())


@pytest.mark.parametrize(
    ("log", "what"),
    [
        (b"\0" * 100, "there is no usable log"),
        (b"regf" + bytes(600), "damaged base block"),
        (base_block((1, 2), 32, PAGE, kind=6) + b"HvLE", "damaged base block"),
        (base_block((1, 1), 32, PAGE, kind=6) + b"ABCD", "unknown format"),
        (base_block((1, 1), 32, PAGE, kind=6) + b"HvLE", "cut off"),
        (base_block((11, 11), 32, PAGE, kind=1) + b"DIRT\xff", "dirty pages are missing"),
        (base_block((11, 11), 32, PAGE * 3 + 1, kind=1) + b"DIRT\xff", "is impossible"),
    ],
)
def test_unusable_log_is_reported_and_the_hive_is_read_without(log: bytes, what: str) -> None:
    hive = Hive(_dirty(_states(1)[0]), "h", [("h.LOG1", log)])

    assert _number(hive) == 0
    assert any(what in damage.what for damage in hive.damages())
    assert any("last changes are missing" in damage.what for damage in hive.damages())


def test_logs_are_told_from_hives_by_content() -> None:
    state = _states(1)[0]

    assert is_log(new_log(1, PAGE, []))
    assert is_log(_old_log(state, written=0))
    assert not is_log(state)
    assert not is_log(b"")


@pytest.mark.parametrize("length", range(9))
def test_hash_of_a_log_entry_sees_every_byte(length: int) -> None:
    """That the hash is Windows' own is proven by the logs of the corpus, which it accepts."""
    data = bytes(range(1, length + 1))
    changed = [data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :] for at in range(length)]

    hashes = {marvin32(text) for text in (data, data + b"\0", *changed)}

    assert len(hashes) == length + 2
