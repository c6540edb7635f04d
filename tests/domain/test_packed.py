"""PackedCatalogItem byte by byte, and every length that it can wrongly have."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscan.domain import packed
from tests.domain.catalogue import packed as built
from tests.domain.rows import TCP


def test_every_field_is_read_from_its_offset() -> None:
    data = built(chain_length=2, chain=(1014, 1001), catalog_id=1015, numbers=(23, 2, -17), tail=b"\xfe\x01noise")
    item = packed.parse(data.hex())
    assert item is not None
    assert item.path == r"%SystemRoot%\system32\mswsock.dll"
    assert item.tail.startswith(b"\xfe\x01noise")
    assert (item.service_flags, item.provider_flags) == (0x20066, 8)
    assert (item.provider, item.catalog_id) == (TCP, 1015)
    assert (item.chain_length, item.chain, item.chain_class) == (2, (1014, 1001), "chain")
    assert (item.version, item.family, item.max_address, item.min_address) == (2, 23, 16, 16)
    assert (item.socket_type, item.protocol) == (2, -17)
    assert item.name == r"@%SystemRoot%\System32\mswsock.dll,-60100"
    assert item.problems == ()


@pytest.mark.parametrize(("length", "chain_class"), [(0, "layered"), (1, "base"), (2, "chain"), (7, "chain")])
def test_chain_length_gives_the_class(length: int, chain_class: str) -> None:
    item = packed.parse(built(chain_length=length).hex())
    assert item is not None
    assert item.chain_class == chain_class


@pytest.mark.parametrize("length", [360, 376, 500, 628, 887, 889, 1000])
def test_another_length_is_parsed_as_far_as_it_goes_and_reported(length: int) -> None:
    data = (built() + b"\x01" * 200)[:length]
    item = packed.parse(data.hex())
    assert item is not None
    assert item.provider == TCP
    assert f"malformed: {length} bytes instead of 888" in item.problems


def test_zero_padding_of_old_agents_is_not_malformed() -> None:
    item = packed.parse((built() + bytes(400)).hex())
    assert item is not None
    assert item.problems == ()


@pytest.mark.parametrize("data", ["", "zz", "00" * 359, "0"])
def test_what_cannot_hold_an_identity_is_none(data: str) -> None:
    assert packed.parse(data) is None


def test_an_impossible_chain_and_a_path_without_end_are_reported() -> None:
    data = bytearray(built(chain_length=99))
    data[:260] = b"x" * 260
    item = packed.parse(bytes(data).hex())
    assert item is not None
    assert set(item.problems) == {"the library path has no end", "impossible chain length 99"}


@settings(max_examples=200)
@given(st.binary(max_size=1200))
def test_no_bytes_break_it(data: bytes) -> None:
    item = packed.parse(data.hex())
    assert item is None or len(item.chain) <= 7
