"""A .reg export gives the registry that an import of it would give; garbage is refused with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.errors import HiveError
from fleetscan.hives.regfile import apply_reg, decode, decode_up_to_the_cut, is_reg
from fleetscan.hives.tree import MemoryKey, MemoryRegistry, Value

FIVE = "Windows Registry Editor Version 5.00\r\n\r\n"
FOUR = "REGEDIT4\r\n\r\n"
KEY = ("HKEY_LOCAL_MACHINE", "SOFTWARE", "A")
HEADER = "[HKEY_LOCAL_MACHINE\\SOFTWARE\\A]\r\n"


def _imported(*texts: str | bytes) -> MemoryRegistry:
    registry = MemoryRegistry()
    for text in texts:
        apply_reg(registry, text, "test.reg")
    return registry


def _key(registry: MemoryRegistry, *below: str) -> MemoryKey:
    key = registry.find((*KEY, *below))
    assert key is not None
    return key


def _text(text: str) -> bytes:
    return (text + "\0").encode("utf-16-le", "surrogatepass")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('"a"="text"', Value("a", 1, _text("text"))),
        ('@="text"', Value("", 1, _text("text"))),
        ('"a"=""', Value("a", 1, _text(""))),
        (r'"a"="C:\\x \"y\""', Value("a", 1, _text('C:\\x "y"'))),
        (r'"a\\b\"c"="x"', Value('a\\b"c', 1, _text("x"))),
        (r'"a"="one\ntwo\r\0"', Value("a", 1, _text("one\ntwo\r\0"))),
        (r'"a"="\q"', Value("a", 1, _text(r"\q"))),
        ('"a"="one\r\ntwo"', Value("a", 1, _text("one\r\ntwo"))),
        ('"a"="x" ; a remark', Value("a", 1, _text("x"))),
        ('"a"="x ; no remark"', Value("a", 1, _text("x ; no remark"))),
        ('  "a" = "x"', Value("a", 1, _text("x"))),
        ('"a"=dword:0000000a', Value("a", 4, b"\x0a\0\0\0")),
        ('"a"=dword:FF', Value("a", 4, b"\xff\0\0\0")),
        ('"a"=hex:', Value("a", 3, b"")),
        ('"a"=hex:01,0a,FF', Value("a", 3, b"\x01\x0a\xff")),
        ('"a"=hex:1,2,', Value("a", 3, b"\x01\x02")),
        ('"a"=hex:01,\\\r\n  02,\\\r\n  03', Value("a", 3, b"\x01\x02\x03")),
        ('"a"=hex:01,\\ ; remark\r\n  02', Value("a", 3, b"\x01\x02")),
        ('"a"=hex(0):01', Value("a", 0, b"\x01")),
        ('"a"=hex(1):61,00', Value("a", 1, b"a\0")),
        ('"a"=hex(2):25,00,00,00', Value("a", 2, b"%\0\0\0")),
        ('"a"=hex(4):01,02', Value("a", 4, b"\x01\x02")),
        ('"a"=hex(7):00,00', Value("a", 7, b"\0\0")),
        ('"a"=hex(b):01,00,00,00,00,00,00,00', Value("a", 11, b"\x01" + bytes(7))),
        ('"a"=hex(100000):01', Value("a", 0x100000, b"\x01")),
        ('"a"=hex(ffffffff):01', Value("a", 0xFFFFFFFF, b"\x01")),
    ],
)
def test_value_line_sets_name_type_and_bytes(line: str, value: Value) -> None:
    registry = _imported(f"{FIVE}{HEADER}{line}\r\n")

    assert _key(registry).values() == [value]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('"a"=hex(2):25,61,25,00', Value("a", 2, _text("%a%"))),
        ('"a"=hex(2):61', Value("a", 2, _text("a"))),
        ('"a"=hex(7):61,00,e4,00,00', Value("a", 7, "a\0ä\0\0".encode("utf-16-le"))),
        ('"a"=hex(1):80,00', Value("a", 1, _text("€"))),
        ('"a"=hex:61,00', Value("a", 3, b"a\0")),
        ('"a"="ä"', Value("a", 1, _text("ä"))),
    ],
)
def test_version_4_holds_text_as_ansi_bytes(line: str, value: Value) -> None:
    registry = _imported(f"{FOUR}{HEADER}{line}\r\n".encode("cp1252"))

    assert _key(registry).values() == [value]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff"), ("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"")],
    ids=["UTF-16LE", "UTF-16BE", "UTF-8", "UTF-16LE without mark"],
)
def test_encoding_is_found_by_its_mark(encoding: str, mark: bytes) -> None:
    content = mark + f'{FIVE}{HEADER}"ключ"="значение"\r\n'.encode(encoding)

    assert is_reg(content)
    assert _key(_imported(content)).values() == [Value("ключ", 1, _text("значение"))]


def test_lone_surrogates_of_utf_16_survive() -> None:
    content = b"\xff\xfe" + f'{FIVE}{HEADER}"n\udc00"="x\ud800"\r\n'.encode("utf-16-le", "surrogatepass")

    assert _key(_imported(content)).values() == [Value("n\udc00", 1, _text("x\ud800"))]


@given(st.binary(max_size=64))
def test_ansi_bytes_always_decode_one_by_one(content: bytes) -> None:
    if not content.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")) and content[1:2] != b"\0":
        assert len(decode(content, "test.reg")) == len(content)


def test_rewritten_value_keeps_its_place_and_takes_the_new_spelling() -> None:
    registry = _imported(f'{FIVE}{HEADER}"a"="1"\r\n"b"="2"\r\n"A"="3"\r\n')

    assert _key(registry).values() == [Value("A", 1, _text("3")), Value("b", 1, _text("2"))]


def test_deleted_value_that_is_written_again_stands_last() -> None:
    registry = _imported(f'{FIVE}{HEADER}"a"="1"\r\n"b"="2"\r\n"a"=-\r\n"a"="3"\r\n@=-\r\n')

    assert [value.name for value in _key(registry).values()] == ["b", "a"]


def test_exports_are_imported_one_after_the_other() -> None:
    base = f'{FIVE}{HEADER}"a"="1"\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\A\\old\\deep]\r\n"b"="2"\r\n'
    change = f'{FIVE}[-HKEY_LOCAL_MACHINE\\software\\a\\OLD]\r\n[-HKEY_USERS\\none]\r\n{HEADER}"a"=-\r\n'

    registry = _imported(base, change)

    assert _key(registry).values() == []
    assert _key(registry).subkeys() == []


@pytest.mark.parametrize(
    ("header", "name"), [("a]b", "a]b"), ("[x]", "[x]"), (" lead", " lead"), ("trail ", "trail "), ("a ; b", "a ; b")]
)
def test_last_bracket_closes_a_key(header: str, name: str) -> None:
    registry = _imported(f"{FIVE}[HKEY_LOCAL_MACHINE\\SOFTWARE\\A\\{header}]\r\n")

    assert [key.name for key in _key(registry).subkeys()] == [name]


def test_names_may_hold_characters_that_other_tools_take_for_line_ends() -> None:
    registry = _imported(f'{FIVE}[HKEY_LOCAL_MACHINE\\SOFTWARE\\A\\x\u2028y]\r\n"a\x85b\x0bc"="d"\r\n')

    assert [value.name for value in _key(registry, "x\u2028y").values()] == ["a\x85b\x0bc"]


def test_remarks_blank_lines_and_any_line_end_are_fine() -> None:
    text = f'\n; remark\n  {FIVE.strip()}\n\n# remark\r[HKEY_LOCAL_MACHINE\\SOFTWARE\\A] ; remark\r"a"="1"\n   \n  ;end'

    assert _key(_imported(text)).values() == [Value("a", 1, _text("1"))]


def test_topmost_keys_of_exports_are_noted() -> None:
    registry = _imported(f"{FIVE}{HEADER}[HKEY_LOCAL_MACHINE\\SOFTWARE\\A\\b]\r\n[HKEY_USERS]\r\n[HKEY_USERS\\S-1]\r\n")

    assert [str(path) for path in registry.exported] == ["HKEY_LOCAL_MACHINE\\SOFTWARE\\A", "HKEY_USERS"]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "names no known version"),
        ("Windows Registry Editor Version 6.00\r\n", 1, "names no known version"),
        (f'{FIVE}"a"="1"', 3, "a value without a key"),
        (f'{FIVE}{HEADER}[-HKEY_LOCAL_MACHINE\\SOFTWARE\\A]\r\n"a"="1"', 5, "a value without a key"),
        (f"{FIVE}[HKLM\\SOFTWARE]", 3, "unknown hive root 'HKLM'"),
        (f"{FIVE}[]", 3, "unknown hive root ''"),
        (f"{FIVE}[\\\\]", 3, "unknown hive root ''"),
        (f"{FIVE}[-HKEY_LOCAL_MACHINE]", 3, "a hive root cannot be deleted"),
        (f"{FIVE}[HKEY_LOCAL_MACHINE{chr(92)}{'a' + chr(92)}{('a' + chr(92)) * 600}]", 3, "levels deep"),
        (f"{FIVE}[HKEY_LOCAL_MACHINE", 3, "no key, value or comment"),
        (f'{FIVE}{HEADER}"a"="1\r\n"b"="2"\r\n', 4, "no key, value or comment"),
        (f'{FIVE}{HEADER}"a"=text', 4, "no key, value or comment"),
        (f'{FIVE}{HEADER}"a"=dword:', 4, "no key, value or comment"),
        (f'{FIVE}{HEADER}"a"=dword:123456789', 4, "no key, value or comment"),
        (f'{FIVE}{HEADER}"a"=hex:0g', 4, "no key, value or comment"),
        (f'{FIVE}{HEADER}"a"=hex:012', 4, "'012' is no byte"),
        (f'{FIVE}{HEADER}"a"=hex:0102', 4, "'0102' is no byte"),
        (f'{FIVE}{HEADER}"a"=hex:01,,02', 4, "'' is no byte"),
        (f'{FIVE}{HEADER}"a"=hex(fffffffff):01', 4, "no key, value or comment"),
        (f'{FIVE}{HEADER}"a"="x" y', 4, "no key, value or comment"),
    ],
)
def test_garbage_is_refused_with_file_and_line(text: str, line: int, what: str) -> None:
    with pytest.raises(HiveError, match=what.replace("\\", "\\\\")) as caught:
        _imported(text)

    assert str(caught.value.where) == f"test.reg:{line}"


def test_invalid_utf_16_is_refused_with_its_offset() -> None:
    with pytest.raises(HiveError, match="not valid utf-16-le"):
        _imported(b"\xff\xfe" + FIVE.encode("utf-16-le") + b"\x00")


@pytest.mark.parametrize("line", ['"' + "\\" * 200_001, '"a"=hex:' + "00,\\\r\n" * 60_000 + "x", "[" * 200_000])
def test_long_garbage_is_refused_in_linear_time(line: str) -> None:
    with pytest.raises(HiveError, match=r"test\.reg:4|is no byte"):
        _imported(f"{FIVE}{HEADER}{line}")


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.dictionaries(names.map(str.upper), st.tuples(st.integers(0, 0xFFFFFFFF), st.binary(max_size=40)), max_size=4))
def test_what_is_exported_is_what_is_imported(values: dict[str, tuple[int, bytes]]) -> None:
    lines = []
    for name, (value_type, data) in values.items():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'"{escaped}"=hex({value_type:x}):{data.hex(",")}\r\n')

    registry = _imported(b"\xff\xfe" + f"{FIVE}{HEADER}{''.join(lines)}".encode("utf-16-le"))

    found = {value.name: (value.type, value.data) for value in _key(registry).values()}
    assert {name: found[name] for name in found} == {name: value for name, value in values.items() if name in found}
    assert len(found) >= len({name.casefold() for name in values})


HEAD = "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_USERS]\r\n"


@pytest.mark.parametrize(
    ("end", "cut"),
    [
        ('"a"=hex:01,02,\\\r\n  03\r\n', False),
        ('"a"="x,"\r\n\r\n', False),
        ("", False),
        ('"a"="x"', True),
        ('"a"=hex:01,02,\\\r\n  0', True),
        ("[HKEY_USERS\\a", True),
    ],
)
def test_export_of_windows_that_does_not_end_its_last_line_was_cut(end: str, *, cut: bool) -> None:
    text = f"{HEAD}{end}"
    assert decode_up_to_the_cut(text.encode("utf-16"), "t") == (text, cut)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_half_a_character_at_the_end_is_left_out_and_said(encoding: str) -> None:
    assert decode_up_to_the_cut(HEAD.encode(encoding) + b"x", "t") == (HEAD, True)


@pytest.mark.parametrize(
    ("end", "cut"),
    [
        ('"a"="x"', False),
        ('"a"="x,"', False),
        ('"a"=hex:01,02', False),
        ('"a"=hex:', True),
        ('"a"=hex:01,02,', True),
        ('"a"=hex:01,02,\\', True),
        ('"a"=hex:01,02,\\\r\n', True),
        ('"a"=hex:01,02,\\\r\n  ', True),
    ],
)
def test_text_that_ends_within_a_value_was_cut(end: str, *, cut: bool) -> None:
    text = f"{HEAD}{end}"
    assert decode_up_to_the_cut(text.encode(), "t") == (text, cut)
