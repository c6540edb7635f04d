"""What a result adds to a store, by hash."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from fleetscan.model.host import HostId
from fleetscan.model.registry import RegistryRow
from fleetscan.model.snapshot import (
    Complete,
    HostFacts,
    HostResult,
    Partial,
    Reason,
    ScopeResult,
    Unreachable,
)
from fleetscan.store.content import CellContent, content_of, parse_status, tree_digest
from fleetscan.store.digest import block_rows, canonical, sha256

DIGESTS = st.binary(min_size=32, max_size=32)
TEXT = st.text(st.characters(), max_size=12)
ROW = RegistryRow("HKEY_LOCAL_MACHINE\\SOFTWARE\\Fleet", "Name", "REG_SZ", "x")
RESULTS = st.builds(
    ScopeResult,
    scope_id=TEXT,
    status=st.one_of(
        st.just(Complete()),
        st.builds(Partial, st.sampled_from(Reason), TEXT),
        st.builds(Unreachable, st.sampled_from(Reason), TEXT),
    ),
    rows=st.sampled_from([(), (ROW,)]),
    unproven=st.sampled_from([(), ("HKEY_LOCAL_MACHINE\\SAM",)]),
)


@given(st.lists(st.builds(CellContent, TEXT, DIGESTS, st.none() | DIGESTS), max_size=5))
def test_a_tree_is_named_by_the_canonical_list_of_its_cells(cells: list[CellContent]) -> None:
    listed = [[cell.scope_id, cell.status.hex(), cell.block.hex() if cell.block else None] for cell in cells]
    for _ in range(2):
        assert tree_digest(tuple(cells)) == sha256(canonical(listed))


@given(st.lists(RESULTS, max_size=6, unique_by=lambda result: result.scope_id))
def test_every_scope_is_one_cell_that_leads_to_its_status_and_rows(results: list[ScopeResult]) -> None:
    now = datetime.now(UTC)
    host = HostResult(host=HostId("a"), facts=HostFacts(), scopes=tuple(results), started=now, finished=now)
    content = content_of(host)
    assert [cell.scope_id for cell in content.cells] == sorted(result.scope_id for result in results)
    given_ = {result.scope_id: result for result in results}
    for cell in content.cells:
        result = given_[cell.scope_id]
        assert parse_status(content.statuses[cell.status]) == (result.status, result.unproven)
        if cell.block is None:
            assert isinstance(result.status, Unreachable)
            assert result.rows == ()
        else:
            packed, count = content.blocks[cell.block]
            assert block_rows(packed) == result.rows
            assert count == len(result.rows)
