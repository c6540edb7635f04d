"""osquery's SQL functions, one example a line."""

from __future__ import annotations

import time

import pytest

from fleetscan.engines.registry_table.database import Database
from fleetscan.engines.registry_table.errors import SqlError
from fleetscan.hives.mount import contents
from fleetscan.hives.tree import MemoryRegistry
from tests.patience import LONG


def value(expression: str) -> str | None:
    """What one SQL expression gives."""
    ((cell,),) = Database(contents(MemoryRegistry())).rows(f"SELECT {expression}")
    return cell


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (r"split('HKEY_USERS\S-1-5-18\x', '\', 1)", "S-1-5-18"),
        (r"split('a.b-c', '.-', 2)", "c"),
        (r"split('a..b', '.', 1)", "b"),
        (r"split('a.b', '.', 2)", None),
        (r"split(NULL, '.', 0)", None),
        (r"regex_split('a1b22c', '[0-9]+', 2)", "c"),
        (r"regex_split('abc', 'x', 0)", "abc"),
        (r"regex_match('alpha beta', '(\w+) (\w+)', 2)", "beta"),
        (r"regex_match('alpha beta', 'a$', 0)", "a"),
        (r"regex_match('alpha', 'x', 0)", None),
        (r"regex_match('alpha', '(x)?alpha', 1)", ""),
        (r"regex_match('alpha', 'a', 1)", None),
        (r"regex_match(NULL, 'a', 0)", None),
        ("concat('a', NULL, 1, 'b')", "a1b"),
        ("concat_ws('-', 'a', NULL, 'b')", "a-b"),
        ("inet_aton('1.2.3.4')", "16909060"),
        ("inet_aton('::1')", None),
        ("inet_aton('1.2.3')", None),
        ("in_cidr_block('10.0.0.0/8', '10.1.2.3')", "1"),
        ("in_cidr_block('10.0.0.0/8', '11.1.2.3')", "0"),
        ("in_cidr_block('2001:db8::/32', '2001:db8::1')", "1"),
        ("in_cidr_block('10.0.0.0/8', '::1')", "0"),
        ("md5('')", "d41d8cd98f00b204e9800998ecf8427e"),
        ("sha1('abc')", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha256('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("sha256(NULL)", None),
        ("to_base64('fleet')", "ZmxlZXQ="),
        ("from_base64('ZmxlZXQ=')", "fleet"),
        ("from_base64('no base64!')", None),
        ("conditional_to_base64('plain')", "plain"),
        ("conditional_to_base64('é')", "w6k="),
        ("community_id_v1('128.232.110.120', '66.35.250.204', 34855, 80, 6)", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        ("community_id_v1('66.35.250.204', '128.232.110.120', 80, 34855, 6)", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        ("community_id_v1('nonsense', '1.2.3.4', 1, 2, 6)", None),
        ("version_compare('1.10', '1.9')", "1"),
        ("version_compare('1.0', '1.0.1')", "-1"),
        ("version_compare('2.0rc1', '2.0rc1')", "0"),
        ("'1.9' < '1.10' COLLATE version", "1"),
        ("sqrt(9)", "3.0"),
        ("ceil(1.2)", "2.0"),
        ("log(1)", "0.0"),
        ("power(2, 10)", "1024.0"),
        ("round(cot(1), 3)", "0.642"),
        ("1e20", "1.0e+20"),
        ("x'c3a9'", "é"),
    ],
)
def test_function(expression: str, expected: str | None) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("no_such_function(1)", "no such function: no_such_function"),
        ("regex_match('a', '(', 0)", "Invalid regex"),
        (r"regex_match('aa', '(a)\1', 0)", "Invalid regex"),
        (f"regex_match('a', '{'a' * 257}', 0)", "longer than 256 bytes"),
        ("split('a', '', 0)", "Invalid input to split function"),
        ("in_cidr_block('nonsense', '1.2.3.4')", "Invalid address"),
    ],
)
def test_error_names_its_cause(expression: str, complaint: str) -> None:
    with pytest.raises(SqlError, match=complaint):
        value(expression)


def test_pattern_that_explodes_elsewhere_is_answered_at_once() -> None:
    started = time.monotonic()

    assert value(f"regex_match('{'a' * 5000}!', '^(a+)+$', 0)") is None

    assert time.monotonic() - started < LONG
