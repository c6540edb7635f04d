"""Odd and damaged hives of the corpus: nothing hangs, what is readable is read, and damage is said with its place."""

from __future__ import annotations

from typing import Any

import pytest

from fleetscan.hives.regf import Hive
from tests.hives.corpus import Canonical, Case, cases_or_skip, edge_cases, unpacked

CASES = edge_cases()
WITHOUT_LOGS = [case for case in CASES if "without_logs" not in case.truth]
WITH_LOGS = [case for case in CASES if "without_logs" in case.truth]


def _opened(case: Case, *, logs: bool) -> Hive:
    beside = [(name, unpacked(path)) for name, path in case.logs] if logs else []
    return Hive(unpacked(case.path), case.name, beside)


def _agrees(found: Canonical, truth: dict[str, Any]) -> bool:
    """Does a tree equal what another parser has read?"""
    read = {
        "keys": found.keys,
        "values": found.values,
        "sha256_canonical": found.values_hash,
        "sha256_key_paths": found.paths_hash,
    }
    return all(read[name] == value for name, value in truth.items() if name in read)


def _parsers(truth: dict[str, Any]) -> list[dict[str, Any]]:
    """What the parsers of the truth have read; a walk that had to be cut is none."""
    cut = "perl" if "perl_note" in truth else ""
    return [found for name, found in truth.items() if isinstance(found, dict) and "error" not in found and name != cut]


@pytest.mark.parametrize("case", cases_or_skip(WITHOUT_LOGS))
def test_hive_holds_what_other_parsers_read(case: Case) -> None:
    found = Canonical.of(_opened(case, logs=False).root)

    for truth in _parsers(case.truth):
        assert _agrees(found, truth), truth


@pytest.mark.parametrize("case", cases_or_skip(WITH_LOGS))
def test_hive_without_its_logs_is_as_it_was_written_last(case: Case) -> None:
    hive = _opened(case, logs=False)

    found = Canonical.of(hive.root)

    for truth in _parsers(case.truth["without_logs"]):
        if "keys" in truth:
            assert _agrees(found, truth), truth
    assert any("last changes are missing" in damage.what for damage in hive.damages())


@pytest.mark.parametrize("case", cases_or_skip(WITH_LOGS))
def test_replay_gives_what_windows_and_others_recovered(case: Case) -> None:
    hive = _opened(case, logs=True)

    found = Canonical.of(hive.root)

    recovered = [case.truth[name] for name in ("recovered_by_windows", "with_logs_yarp") if name in case.truth]
    for truth in recovered:
        if "error" not in truth:
            assert _agrees(found, truth), truth
            assert hive.damages() == ()


@pytest.mark.parametrize(
    "case", cases_or_skip([case for case in WITH_LOGS if "error" in case.truth.get("with_logs_yarp", {})])
)
def test_damaged_log_is_left_out_and_reported(case: Case) -> None:
    hive = _opened(case, logs=True)

    assert Canonical.of(hive.root) == Canonical.of(_opened(case, logs=False).root)
    logs = {name for name, path in case.logs if unpacked(path)}
    assert {damage.file for damage in hive.damages()} - {case.name} == logs


@pytest.mark.parametrize(
    "case", cases_or_skip([case for case in WITHOUT_LOGS if "error" in case.truth.get("yarp_strict", {})])
)
def test_damage_is_reported_with_its_place(case: Case) -> None:
    hive = _opened(case, logs=False)

    Canonical.of(hive.root)

    assert hive.damages()
    assert all(damage.offset is not None and damage.offset <= 0xFFFFFFFF + 4096 for damage in hive.damages())


@pytest.mark.parametrize("case", cases_or_skip(CASES))
def test_walk_is_bounded_by_the_file(case: Case) -> None:
    hive = _opened(case, logs=True)

    found = Canonical.of(hive.root)

    assert found.keys * 8 <= len(hive.data)
    assert found.values * 8 <= len(hive.data)


@pytest.mark.parametrize("case", cases_or_skip(CASES))
def test_reading_twice_gives_the_same_and_reports_each_damage_once(case: Case) -> None:
    hive = _opened(case, logs=True)

    first, damages = Canonical.of(hive.root), hive.damages()

    assert (Canonical.of(hive.root), hive.damages()) == (first, damages)
