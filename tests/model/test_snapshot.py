"""What is told of a host that a jump host kept from being reached can be taken apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.model.snapshot import at_jump, jump_of

names = st.from_regex(r"[a-z0-9.\\[\\]:%-]{1,30}", fullmatch=True)
texts = st.text(min_size=1, max_size=60)


@given(names, names, texts)
def test_a_jump_host_and_its_matter_are_found_again(host: str, jump: str, what: str) -> None:
    assert jump_of(at_jump(jump, what)) == (jump, what)
    assert jump_of(f"{host}: {at_jump(jump, what)}") == (jump, what)


@pytest.mark.parametrize(
    "detail", ["", "ws1: connecting: timed out", "its jump host x: y", "a b: jump host x: y", "jump"]
)
def test_what_speaks_of_no_jump_host_is_left_as_it_is(detail: str) -> None:
    assert jump_of(detail) == ("", detail)
