"""What counts as removed: a scope that filters by data proves no removal."""

from __future__ import annotations

import pytest

from fleetscan.findings.removals import filtered_by_data
from fleetscan.model.registry import HKLM
from fleetscan.model.scope import RowClause, RowFilter, Scope


@pytest.mark.parametrize(
    ("clauses", "proves_nothing"),
    [
        ((RowClause(name="Dll"),), False),
        ((RowClause(path=r"*\Dll"), RowClause(name="x")), False),
        ((RowClause(name="data 'x"),), False),
        ((RowClause(data="*ntdll*"),), True),
        ((RowClause(type="REG_SZ"),), True),
        ((RowClause(name="a"), RowClause(name="b", data="*x*")), True),
    ],
    ids=["name", "path or name", "a name that looks like a filter", "data", "type", "name, or name and data"],
)
def test_a_row_vanishes_from_a_scope_that_filters_by_data_without_being_removed(
    clauses: tuple[RowClause, ...], *, proves_nothing: bool
) -> None:
    scope = Scope(HKLM, ("SOFTWARE",), None, RowFilter(clauses))
    assert (scope.id in filtered_by_data([(scope.id, scope.text)])) is proves_nothing
