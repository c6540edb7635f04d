"""Escaping neutralises what acts on its reader, and can always be undone."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.report.escape import FORMULA_STARTS, cell, read_cell, restore, visible

any_text = st.text(st.characters(codec=None)) | st.text(st.sampled_from("<U+0;=@'\t\r\n\\ \x1b\u202e\uff1d"))


@given(any_text)
def test_restore_undoes_visible(text: str) -> None:
    assert restore(visible(text)) == text


@given(any_text)
def test_read_cell_undoes_cell(text: str) -> None:
    assert read_cell(cell(text)) == text


@given(any_text)
def test_visible_text_has_no_active_character_and_encodes(text: str) -> None:
    shown = visible(text)
    categories = {unicodedata.category(char) for char in shown if char != " "}
    assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}
    shown.encode("utf-8")


@given(any_text)
def test_no_cell_starts_a_formula_even_after_blanks(text: str) -> None:
    assert not cell(text).lstrip().startswith(tuple(FORMULA_STARTS))


@given(any_text)
def test_no_part_after_a_semicolon_starts_a_formula(text: str) -> None:
    assert not any(part.lstrip().startswith(tuple(FORMULA_STARTS)) for part in cell(text).split(";"))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (r"C:\new\table.dll", r"C:\new\table.dll"),
        ("\x1b[2J", "<U+001B>[2J"),
        ("a\r\nb", "a<U+000D><U+000A>b"),
        ("gnp\u202e.dll", "gnp<U+202E>.dll"),
        ("<U+001B>", "<U+003C>U+001B>"),
        ("<b>", "<b>"),
        ("Ünïcode ß 中", "Ünïcode ß 中"),
        ("\ud800", "<U+D800>"),
        ("a\u00a0b c", "a<U+00A0>b c"),
        ("\U000e0041", "<U+E0041>"),
    ],
)
def test_visible_shows_code_points_and_leaves_text_alone(raw: str, shown: str) -> None:
    assert visible(raw) == shown


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        ("=1+1", "'=1+1"),
        ("  @SUM(A1)", "'  @SUM(A1)"),
        ("\t=1", "<U+0009>=1"),
        ("\uff1dcmd", "'\uff1dcmd"),
        ("'quoted", "''quoted"),
        ("a;=cmd|' /C calc'!A0", "a<U+003B>=cmd|' /C calc'!A0"),
        ("a;b", "a;b"),
        ("-5", "'-5"),
    ],
)
def test_formulas_become_text(raw: str, written: str) -> None:
    assert cell(raw) == written
