"""The facts themselves: complete, unambiguous, with sources; an operator's own file goes on top."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from fleetscan.domain import guid
from fleetscan.domain.known_good import load
from fleetscan.domain.releases import labels
from fleetscan.errors import SettingsError
from fleetscan.settings import content

if TYPE_CHECKING:
    from pathlib import Path


def test_every_fact_has_a_name_a_source_and_valid_identities() -> None:
    facts = load().facts
    assert len(facts) >= 100
    for fact in facts:
        assert fact.name
        assert re.fullmatch(r"(S-[A-Z0-9]+)( S-[A-Z0-9]+)*", fact.source), fact
        assert not fact.guid or guid.is_guid(fact.guid), fact
        assert not fact.dll or fact.dll == fact.dll.lower(), fact
        assert all(path == path.lower() for path in fact.paths)


def test_function_sets_and_steps_are_spelled_as_listed() -> None:
    known = load()
    for fact in known.of_kind("sip"):
        assert set(fact.functions) <= set(known.function_sets)
        assert fact.likely_functions <= set(fact.functions)
    for fact in known.of_kind("trust"):
        assert fact.oid or set(fact.functions) <= set(known.steps)


def test_names_are_found_by_guid_in_any_case() -> None:
    assert load().name_of("c689aab8-8e78-11d0-8c47-00c04fc295ee").startswith("PE image")
    assert load().name_of("00000000-0000-0000-0000-000000000001") == ""


def test_an_own_file_is_layered_on_top(tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    own.write_text(
        "entries:\n- {kind: namespace, guid: 5D9F2E61-3B7C-4A50-8C11-9A64E7B0D2F3, name: Ours, dll: o.dll,"
        " paths: ['{system32}\\o.dll'], supported_namespace: 12, confidence: verified, source: S-OWN}\n",
        encoding="utf-8",
    )
    assert load(own).name_of("5D9F2E61-3B7C-4A50-8C11-9A64E7B0D2F3") == "Ours"
    assert len(load(own).facts) == len(load().facts) + 1


@pytest.mark.parametrize("text", ["entries: {", "entries: 1", "entries: [1]", "[]", "entries: [{name: x}]"])
def test_a_broken_own_file_is_one_error_with_its_place(tmp_path: Path, text: str) -> None:
    own = tmp_path / "own.yml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(own)
    assert str(caught.value).startswith(str(own))


@pytest.mark.parametrize(
    ("build", "name", "label"),
    [
        ("7601", "Windows 7", "7"),
        ("9600", "Windows 8.1", "8.1"),
        ("19045", "Windows 10 Pro", "10-22h2"),
        ("22631", "Windows 10 Pro", "11"),
        ("26100", "Windows 11 Pro", "11-24h2"),
        ("20348", "Windows Server 2022 Standard", "server-2022"),
    ],
)
def test_the_build_gives_the_release(build: str, name: str, label: str) -> None:
    assert label in labels(build, name)


def test_an_unknown_build_concludes_nothing() -> None:
    assert labels("", "Windows 10") == labels("x") == frozenset()


@pytest.mark.parametrize("query", ["provider-file-owner.sql", "provider-beside-program.sql"])
def test_the_detections_ask_for_every_file_of_windows_that_a_fact_names(query: str) -> None:
    asked = (content("queries") / "detections" / query).read_text(encoding="utf-8").lower()
    named = {fact.dll for fact in load().facts if fact.is_windows and fact.dll}
    assert {dll for dll in named if f"\\{dll}'" not in asked} == set()
