"""``--limit``: patterns choose hosts as sets."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.errors import InventoryError
from fleetscan.inventory import Inventory, select
from fleetscan.model.host import Host, HostId

GROUPS = {"berlin": {"ws1", "ws2"}, "servers": {"dc1", "ws2"}, "all": {"ws1", "ws2", "ws3", "dc1"}}
INVENTORY = Inventory(
    source="fleet.yml",
    hosts=tuple(Host(id=HostId(name), engine="osqueryi") for name in ("ws1", "ws2", "ws3", "dc1")),
    groups=MappingProxyType({name: frozenset(map(HostId, ids)) for name, ids in GROUPS.items()}),
)

CASES = {
    "": "ws1 ws2 ws3 dc1",
    "all": "ws1 ws2 ws3 dc1",
    "ws1": "ws1",
    "WS1,Dc1": "ws1 dc1",
    "berlin": "ws1 ws2",
    "berlin,servers": "ws1 ws2 dc1",
    "berlin,&servers": "ws2",
    "&berlin,&servers": "ws2",
    "!servers": "ws1 ws3",
    "ws*,!ws2": "ws1 ws3",
    "ws*,!berlin": "ws3",
    "!berlin,ws*": "ws3",
    "b*": "ws1 ws2",
    "ws[2:3]": "ws2 ws3",
    "?s1": "ws1",
    "nobody*": "",
    "berlin , ws3": "ws1 ws2 ws3",
    "berlin:dc1": "ws1 ws2 dc1",
    "ws*:&berlin:!ws1": "ws2",
    "ws[2:3]:dc1": "ws2 ws3 dc1",
    "all:!ws[1:2],!dc1": "ws3",
}


@pytest.mark.parametrize(("pattern", "expected"), CASES.items())
def test_patterns_choose_hosts_in_the_order_of_the_file(pattern: str, expected: str) -> None:
    assert " ".join(host.id for host in select(INVENTORY, pattern)) == expected


def test_several_limits_are_one() -> None:
    assert [host.id for host in select(INVENTORY, ["berlin", "!ws1"])] == ["ws2"]


@pytest.mark.parametrize("pattern", ["berlni", "ws9", "!ws9", "ws[1:9]", "&", "a b"])
def test_a_pattern_that_names_nothing_is_an_error(pattern: str) -> None:
    with pytest.raises(InventoryError):
        select(INVENTORY, pattern)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(InventoryError, match="try: berlin"):
        select(INVENTORY, "berlni")


@pytest.mark.parametrize("pattern", ["!", "&", "ws1,!", "~ws.*", "@failed.txt", "berlin servers", "ws1,dc[12]"])
def test_what_is_no_pattern_is_refused_as_one(pattern: str) -> None:
    with pytest.raises(InventoryError, match="--limit: "):
        select(INVENTORY, pattern)


@given(st.sampled_from(sorted(CASES)), st.sampled_from(["ws1", "berlin", "servers", "ws*"]))
def test_exclusion_and_intersection_divide_a_selection(pattern: str, other: str) -> None:
    chosen = {host.id for host in select(INVENTORY, pattern)}
    inside = {host.id for host in select(INVENTORY, [pattern, f"&{other}"])}
    outside = {host.id for host in select(INVENTORY, [pattern, f"!{other}"])}
    assert inside | outside == chosen
    assert not inside & outside


ADDRESSES = Inventory(
    source="fleet.yml",
    hosts=tuple(Host(id=HostId(name), engine="osqueryi") for name in ("2001:db8::1", "2001:db8::2", "fe80::1%eth0")),
    groups=MappingProxyType({"all": frozenset(map(HostId, ("2001:db8::1", "2001:db8::2", "fe80::1%eth0")))}),
)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("!2001:db8::1", "2001:db8::2 fe80::1%eth0"),
        ("2001:db8::*", "2001:db8::1 2001:db8::2"),
        ("all,!2001:db8::*", "fe80::1%eth0"),
    ],
)
def test_the_colons_of_an_ipv6_address_divide_nothing(pattern: str, expected: str) -> None:
    assert " ".join(host.id for host in select(ADDRESSES, pattern)) == expected
