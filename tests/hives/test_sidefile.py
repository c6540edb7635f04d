"""Side files add what a .reg export cannot hold."""

from __future__ import annotations

import json

import pytest

from fleetscan.errors import HiveError
from fleetscan.hives.sidefile import apply_extra
from fleetscan.hives.tree import MemoryRegistry, Value

KEY = "HKEY_LOCAL_MACHINE\\SOFTWARE\\A"


def test_everything_a_side_file_holds_is_added() -> None:
    registry = MemoryRegistry()
    content = {
        "about": "a remark",
        "keys": [KEY + "\\nul\0key", KEY + "\\ lead"],
        "values": [
            {"key": KEY, "name": "a\0b", "type": 1, "data_hex": "6100"},
            {"key": KEY, "name": "", "type": 9, "data_hex": ""},
        ],
        "links": [{"key": KEY + "\\link", "target": "HKEY_LOCAL_MACHINE\\SOFTWARE"}],
        "mtimes": {KEY: 1_600_000_000},
        "env": {"NAME": "text"},
    }

    environment = apply_extra(registry, json.dumps(content).encode(), "side.json")

    key = registry.find(KEY.split("\\"))
    assert key is not None
    assert [subkey.name for subkey in key.subkeys()] == [" lead", "link", "nul\0key"]
    assert key.values() == [Value("a\0b", 1, b"a\0"), Value("", 9, b"")]
    assert key.mtime == 1_600_000_000
    link = key.subkey("LINK")
    assert link is not None
    assert link.link_target == "HKEY_LOCAL_MACHINE\\SOFTWARE"
    assert environment == {"NAME": "text"}


def test_lone_surrogates_of_json_survive() -> None:
    registry = MemoryRegistry()

    apply_extra(registry, rb'{"keys": ["HKEY_USERS\\sur\ud800"]}', "side.json")

    assert [key.name for key in registry.roots["HKEY_USERS"].subkeys()] == ["sur\ud800"]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"\xff", b'{"keys": [1]}', b'{"keys": [""]}', b'{"values": [{}]}', b'{"values": 1}',
     b'{"values": [{"key": "HKEY_USERS", "name": "a", "type": 1, "data_hex": "0"}]}', b'{"mtimes": []}',
     b'{"env": []}', b'{"links": [[]]}', b"[" * 100_000],
)  # fmt: skip
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(HiveError, match=r"side\.json: no side file"):
        apply_extra(MemoryRegistry(), content, "side.json")
