"""The console report fits the terminal, says what matters and lets nothing through that acts on the terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.report.table import LONGEST_TEXT, MANY_HOSTS, NARROWEST, columns, render, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetscan.report.document import Document

SGR = re.compile(r"\x1b\[[0-9;]+m")


@pytest.mark.parametrize("width", [80, 120])
def test_golden_table(document: Document, golden: Callable[[str, str], None], width: int) -> None:
    golden(f"table-{width}.txt", render(document, width=width))


def test_golden_table_of_a_silent_sweep(silent: Document, golden: Callable[[str, str], None]) -> None:
    golden("table-silent.txt", render(silent))


@pytest.mark.parametrize("width", [10, NARROWEST, 73, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal_but_commands(document: Document, width: int) -> None:
    lines = render(document, width=width, everything=True).splitlines()
    wide = [line for line in lines if columns(line) > max(width, NARROWEST) and not line.startswith("    fleetscan ")]
    assert not wide


def test_wide_characters_count_twice(document: Document) -> None:
    wide = replace(document.assessment.findings[0], why=("中文" * 60,))
    lines = render(replace(document, assessment=replace(document.assessment, findings=(wide,))), width=80).splitlines()
    assert not [line for line in lines if columns(line) > 80 and not line.startswith("    fleetscan ")]


def test_stock_rows_fold_into_one_line_per_host_and_all_lists_them(document: Document) -> None:
    folded, listed = render(document), render(document, everything=True)
    assert "CryptSIPDllGetSignedDataMsg" not in folded
    assert "ws-09: no findings; not listed: 1 known good; 1 likely stock, unconfirmed (--all lists them)" in folded
    assert listed.count("CryptSIPDllGetSignedDataMsg") == 4
    assert listed.count("CryptSIPDllGetCaps") == 1
    assert "not listed" not in listed


def test_approved_findings_are_counted_not_listed(document: Document) -> None:
    assert "a99c07be2d44" not in render(document)
    assert "a99c07be2d44" in render(document, everything=True)


def test_colours_only_when_asked_for(document: Document) -> None:
    plain, coloured = render(document), render(document, colour=True)
    assert "\x1b" not in plain
    assert SGR.search(coloured)
    assert [line.split() for line in SGR.sub("", coloured).splitlines()] == [
        line.split() for line in plain.splitlines()
    ]


def test_a_lost_host_is_not_called_clean(document: Document) -> None:
    text = render(document)
    assert "srv-03: no findings" not in text
    assert re.search(r"srv-03 +0 +0 +2 +timeout \(2 scopes\)", text)


def test_many_quiet_hosts_share_one_line(silent: Document) -> None:
    host = silent.hosts[0]
    many = replace(silent, hosts=tuple(replace(host, name=f"h{n}") for n in range(MANY_HOSTS)))
    lines = render(many).splitlines()
    assert f"{MANY_HOSTS} hosts without findings." in lines
    assert len(lines) < MANY_HOSTS


def test_a_very_long_text_is_cut_and_says_so() -> None:
    lines = list(wrap("A" * 100_000, 80))
    assert len(lines) == 6
    assert lines[-1].endswith("... (100000 characters)")


@given(st.text(max_size=LONGEST_TEXT), st.integers(1, 40))
def test_wrapping_loses_nothing_but_blanks(text: str, width: int) -> None:
    lines = list(wrap(text, width))
    assert "".join(lines).replace(" ", "") == "".join(wrap(text, 10**6)).replace(" ", "")
    assert all(columns(line) <= max(width, 2) for line in lines)


@pytest.mark.parametrize("copies", [1, MANY_HOSTS + 1])
def test_a_host_asked_without_elevation_says_what_was_not_seen(document: Document, copies: int) -> None:
    """Also among many hosts, and also where nothing that was asked lies there."""
    host = next(host for host in document.hosts if host.is_complete)
    others = tuple(replace(host, name=f"other-{number}") for number in range(copies))
    plain = replace(host, name="plain", facts=(*host.facts, ("limits", "kim is not elevated: no SAM")))
    text = render(replace(document, hosts=(plain, *others)), width=120)
    coverage = text[text.index("Coverage:") :].partition("\n\n")[0]
    assert next(line for line in coverage.splitlines() if line.startswith("plain")).endswith(
        "kim is not elevated: no SAM"
    )
    assert coverage.count("elevated") == 1


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("{name}.corp: jump host gate: says no", "jump host gate: says no"),
        ("[{name}.corp]:2222: connecting: timed out", "connecting: timed out"),
        ("{name}.corp: no key exchange in time", "no key exchange in time"),
    ],
)
def test_hosts_that_fail_in_the_same_way_share_a_line(document: Document, detail: str, told: str) -> None:
    lost = document.hosts[-1]
    names = [f"ws-{number}" for number in range(4)]
    alike = tuple(
        replace(lost, name=name, scopes=tuple(replace(scope, detail=detail.format(name=name)) for scope in lost.scopes))
        for name in names
    )
    text = render(replace(document, hosts=alike), width=120)
    coverage = text[text.index("Coverage:") :].partition("\n\n")[0]
    assert coverage.count(f"timeout: {told} (2 scopes)") == 1
    assert all(name in coverage for name in names)
