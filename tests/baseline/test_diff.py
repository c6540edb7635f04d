"""The laws of the entity diff, on generated machines; and what is noise on Windows, one line for each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscan.baseline.diff import Change, ChangeKind, Diff, Side, apply, diff, reverse
from fleetscan.baseline.identity import Coverage, CoveredArea, changed_lines, unit_of
from fleetscan.domain.areas import AREAS
from fleetscan.domain.decode import decode
from fleetscan.model.registry import SUBKEY, RegistryRow
from fleetscan.model.snapshot import Complete, Partial, Reason, Unreachable
from fleetscan.store.digest import block_bytes, block_lines, line_rows
from tests.domain.catalogue import entry, namespace, packed
from tests.domain.rows import DNS, OID, PE, POWERSHELL, VERIFY, WINSOCK, key, sip

if TYPE_CHECKING:
    import random

    from fleetscan.domain.entity import Entity
    from fleetscan.model.snapshot import Status

FOREIGN = "5D9F2E61-3B7C-4A50-8C11-9A64E7B0D2F3"

guids = st.sampled_from([PE, POWERSHELL, "{5D9F2E61-3B7C-4A50-8C11-9A64E7B0D2F3}", "DEFAULT"])
dlls = st.sampled_from(["WINTRUST.DLL", r"C:\Windows\System32\a.dll", r"%SystemRoot%\System32\a.dll", r"C:\x\b.dll"])
registrations = st.builds(
    sip, guids, dlls, st.sampled_from(["F", "G"]), st.sampled_from([VERIFY, "CryptSIPDllGetCaps"])
)
providers = st.builds(
    lambda number, path, provider, protocol: entry(
        number, packed(path=path, provider=provider, numbers=(2, 1, protocol), catalog_id=1000 + number)
    ),
    st.integers(1, 6),
    st.sampled_from([r"%SystemRoot%\system32\mswsock.dll", r"C:\x\lsp.dll"]),
    st.sampled_from(["E70F1AA0-AB8B-11CF-8CA3-00805F48A192", FOREIGN]),
    st.sampled_from([6, 17]),
)


def _machine(parts: list[list[RegistryRow]]) -> list[RegistryRow]:
    """Rows of one machine: the last writer of a value wins, as in a registry."""
    table = {(row.key, row.name, row.type == "subkey"): row for part in parts for row in part}
    return list(table.values())


machines = st.lists(st.one_of(registrations, providers), max_size=7).map(_machine)


def content(entities: object) -> dict[object, object]:
    assert isinstance(entities, dict | tuple)
    table = entities.values() if isinstance(entities, dict) else entities
    return {entity.ident: entity.attributes for entity in table}


def compare(before: list[RegistryRow], after: list[RegistryRow]) -> Diff:
    return diff(Side(decode(before)), Side(decode(after)))


@settings(max_examples=60, deadline=None)
@given(machines)
def test_a_machine_does_not_differ_from_itself(rows: list[RegistryRow]) -> None:
    assert compare(rows, rows) == Diff()


@settings(max_examples=60, deadline=None)
@given(machines, machines)
def test_applying_the_difference_gives_the_newer_machine(before: list[RegistryRow], after: list[RegistryRow]) -> None:
    old, new = decode(before), decode(after)
    found = diff(Side(old), Side(new))
    assert content(apply(found.changes, old)) == content(new)


@settings(max_examples=60, deadline=None)
@given(machines, machines)
def test_swapping_the_sides_swaps_added_and_removed(before: list[RegistryRow], after: list[RegistryRow]) -> None:
    there = compare(before, after).changes
    back = compare(after, before).changes
    assert [summary(reverse(change)) for change in there] == [summary(change) for change in back]


def summary(change: Change) -> object:
    return (
        change.kind,
        change.entity.ident,
        sorted((one.name, one.old or "", one.new or "") for one in change.attributes),
    )


@settings(max_examples=60, deadline=None)
@given(machines, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(rows: list[RegistryRow], shuffler: random.Random) -> None:
    shuffled = rows.copy()
    shuffler.shuffle(shuffled)
    assert compare(rows, shuffled) == Diff()


@settings(max_examples=60, deadline=None)
@given(machines, machines)
def test_decoding_only_what_differs_finds_the_same(before: list[RegistryRow], after: list[RegistryRow]) -> None:
    old, new = changed_lines(_lines(before), _lines(after), line_rows)
    small, whole = diff(Side(decode(old)), Side(decode(new))), compare(before, after)
    assert [summary(change) for change in small.changes] == [summary(change) for change in whole.changes]


texts = st.sampled_from(["", "a", 'a"', '","', "\\", "A\\", "é", "\ud800"])
odd_rows = st.lists(
    st.builds(
        lambda key, name, kind, data: RegistryRow(key, name, kind, data, f"{key}\\{name}"),
        texts,
        texts,
        st.sampled_from(["REG_SZ", SUBKEY]),
        texts,
    ),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(odd_rows, odd_rows)
def test_units_that_differ_come_whole_and_others_not_at_all(
    before: list[RegistryRow], after: list[RegistryRow]
) -> None:
    one, two = Counter(before), Counter(after)
    units = {unit_of(row) for row in one | two if one[row] != two[row]}
    for side, found in zip((before, after), changed_lines(_lines(before), _lines(after), line_rows), strict=True):
        assert Counter(found) == Counter(row for row in side if unit_of(row) in units)


def _lines(rows: list[RegistryRow]) -> tuple[bytes, ...]:
    return block_lines(block_bytes(rows))


STOCK = sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData")
NOISE = {
    "case of the path": sip(PE, "wintrust.dll", "CryptSIPVerifyIndirectData"),
    "case of key and value names": [
        RegistryRow(row.key.replace(PE, PE.lower()), row.name.upper(), row.type, row.data)
        if row.type != "subkey"
        else row
        for row in STOCK
    ],
    "mtime": [RegistryRow(row.key, row.name, row.type, row.data, mtime=99) for row in STOCK],
}


@pytest.mark.parametrize("name", NOISE)
def test_noise_of_registrations(name: str) -> None:
    assert compare(STOCK, NOISE[name]) == Diff()


def test_expand_strings_before_and_after_514_are_equal() -> None:
    old = sip(PE, ("REG_EXPAND_SZ", r"%SystemRoot%\System32\wintrust.dll"), "F")
    new = sip(PE, ("REG_SZ", r"C:\Windows\System32\wintrust.dll"), "F")
    assert compare(old, new) == Diff()


def test_renumbering_ids_garbage_and_counters_are_noise() -> None:
    def chain(catalog_id: int, *below: int) -> bytes:
        return packed(
            catalog_id=catalog_id,
            chain=below,
            numbers=(2, 3, 0),
            provider=FOREIGN,
            chain_length=2,
            path=r"C:\x\lsp.dll",
        )

    udp = (2, 2, 17)
    old = [
        *entry(1, packed(catalog_id=1001)),
        *entry(2, packed(catalog_id=1002, numbers=udp)),
        *entry(3, chain(1003, 1002, 1001)),
    ]
    new = [
        *entry(1, packed(catalog_id=2002, numbers=udp, tail=b"noise")),
        *entry(2, chain(2003, 2002, 2001)),
        *entry(3, packed(catalog_id=2001)),
    ]
    counters = key(
        f"{WINSOCK}\\Protocol_Catalog9", Num_Catalog_Entries64=("REG_DWORD", "3"), Serial_Access_Num=("REG_DWORD", "9")
    )
    moved = key(
        f"{WINSOCK}\\Protocol_Catalog9", Num_Catalog_Entries64=("REG_DWORD", "3"), Serial_Access_Num=("REG_DWORD", "12")
    )
    assert compare([*counters, *old], [*moved, *new]) == Diff()


def test_stores_service_class_info_means_nothing() -> None:
    path = r"%SystemRoot%\System32\mswsock.dll"
    assert compare(namespace(1, DNS, path), namespace(2, DNS, path)) == Diff()


def test_the_same_identity_with_another_file_is_a_replacement() -> None:
    [change] = compare(entry(1, packed()), entry(1, packed(path=r"C:\x\x.dll"))).changes
    assert change.kind is ChangeKind.REPLACED
    [attribute] = [one for one in change.attributes if one.name == "dll"]
    assert (attribute.old, attribute.new) == (r"{system32}\mswsock.dll", r"c:\x\x.dll")


def test_netbios_rows_are_counted_not_listed() -> None:
    one = entry(1, packed(numbers=(17, 5, -1)))
    two = [*one, *entry(2, packed(numbers=(17, 5, -2), catalog_id=1002))]
    [change] = compare(one, two).changes
    assert [(attribute.name, attribute.old, attribute.new) for attribute in change.attributes] == [("count", "1", "2")]


def coverage(status: Status, *unproven: str, loaded: frozenset[str] | None = None) -> Coverage:
    return Coverage(tuple(CoveredArea(scope=scope, status=status, unproven=unproven) for scope in AREAS), (), loaded)


UNCOVERED = {
    "unreachable": coverage(Unreachable(Reason.TIMEOUT)),
    "cut off": coverage(Partial(Reason.TRUNCATED)),
    "set not readable": coverage(Complete(), f"{OID}\\{VERIFY}"),
    "nothing asked": Coverage(()),
    "hidden": Coverage(None, (f"{OID}\\{VERIFY}",)),
}


@pytest.mark.parametrize("name", UNCOVERED)
def test_what_one_side_did_not_cover_is_neither_added_nor_removed(name: str) -> None:
    entities: tuple[Entity, ...] = decode(STOCK)
    gone = diff(Side(entities), Side((), UNCOVERED[name]))
    assert (gone.changes, len(gone.not_comparable)) == ((), 1)
    new = diff(Side((), UNCOVERED[name]), Side(entities))
    assert (new.changes, len(new.not_comparable)) == ((), 1)


def test_a_covered_side_proves_the_removal_beside_an_unreadable_key() -> None:
    other = coverage(Complete(), f"{OID}\\CryptSIPDllGetCaps")
    [change] = diff(Side(decode(STOCK)), Side((), other)).changes
    assert change.kind is ChangeKind.REMOVED


def test_the_hive_of_a_user_who_logged_off_is_not_observed() -> None:
    user = "S-1-5-21-1-2-3-1001"
    rows = sip(PE, "x.dll", "F", tree=OID.replace("HKEY_LOCAL_MACHINE\\SOFTWARE", f"HKEY_USERS\\{user}\\Software"))
    off, on = coverage(Complete(), loaded=frozenset()), coverage(Complete(), loaded=frozenset({user}))
    assert diff(Side(decode(rows)), Side((), off)).changes == ()
    assert len(diff(Side(decode(rows)), Side((), on)).changes) == 1


def test_an_incomplete_registration_is_not_compared_attribute_by_attribute() -> None:
    hidden = key(f"{OID}\\{VERIFY}\\{PE}")
    found = diff(Side(decode(STOCK)), Side(decode(hidden)))
    assert found.changes == ()
    assert [gap.side for gap in found.not_comparable] == ["sweep"]
