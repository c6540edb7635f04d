"""Scopes: one id for one text, however often and by whom it is asked."""

from __future__ import annotations

import pickle
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleetscan.model.registry import HKLM, HKU
from fleetscan.model.scope import Glob, RowFilter, Scope

SCOPES = st.builds(
    Scope,
    root=st.sampled_from([HKLM, HKU]),
    elements=st.lists(st.sampled_from(["SOFTWARE", "software", "Fleet", Glob("*")]), max_size=3).map(tuple),
    depth=st.sampled_from([None, 0, 2]),
    row_filter=st.sampled_from([None, RowFilter.of_names("Dll"), RowFilter.of_names("dll")]),
)


@given(SCOPES, SCOPES)
def test_two_scopes_have_one_id_if_and_only_if_they_have_one_text(one: Scope, other: Scope) -> None:
    assert (one.id == other.id) == (one.text == other.text)
    if one == other:
        assert hash(one) == hash(other)


@given(SCOPES)
def test_the_id_follows_the_scope_and_not_what_it_was_made_from(scope: Scope) -> None:
    before = scope.id
    deeper = replace(scope, depth=7)
    assert deeper.id != before
    assert scope.id == before
    assert pickle.loads(pickle.dumps(scope)) == scope  # noqa: S301 - our own
    assert pickle.loads(pickle.dumps(scope)).id == before  # noqa: S301 - our own
