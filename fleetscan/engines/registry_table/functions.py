"""osquery's SQL functions: those that stand in real packs, as its documentation and source define them.

Two things differ on purpose. Regular expressions run on RE2, in linear time, so no pattern can hang the process: what
RE2 cannot do (back references, look-around) is an error that says so; alternatives are tried in Perl's order, as in
osquery's ECMAScript engine. And a bad argument is an error of that statement, where some osquery versions answer NULL.
SQLite itself brings the mathematics (``sqrt``, ``log``, ``ceil``...); ``cot`` and the version functions are here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import math
import re
import struct
from functools import lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import re2

from fleetscan.engines.registry_table.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

LONGEST_PATTERN = 256
"""Bytes of a regular expression, osquery's own limit."""

SqlValue = str | int | float | bytes | None

_PORTED_PROTOCOLS: Final = frozenset({6, 17, 132})


def register_functions(connection: apsw.Connection) -> None:
    """Add functions and collations to a connection."""
    for name, (function, count) in _FUNCTIONS.items():
        connection.create_scalar_function(name, function, count, deterministic=True)
    for name in ("version", "version_arch", "version_dpkg", "version_rhel"):
        connection.create_collation(name, compare_versions)


def text_of(value: SqlValue) -> str:
    """A value as text; NULL is the empty text."""
    match value:
        case None:
            return ""
        case bytes():
            return value.decode(errors="replace")
        case _:
            return str(value)


def split(text: SqlValue, separators: SqlValue, index: SqlValue) -> str | None:
    """Element ``index`` of what stands between any of the characters ``separators``; empty elements do not count."""
    if text is None or separators is None or index is None:
        return None
    if not text_of(separators):
        raise SqlError("Invalid input to split function")
    pieces = re.split(f"[{re.escape(text_of(separators))}]", text_of(text))
    return _item([piece.strip() for piece in pieces if piece], index)


def regex_split(text: SqlValue, pattern: SqlValue, index: SqlValue) -> str | None:
    """Element ``index`` of what stands between matches of a regular expression."""
    if text is None or pattern is None or index is None:
        return None
    if not text_of(pattern):
        raise SqlError("Invalid input to split function")
    subject, pieces, start = text_of(text), [], 0
    for match in _compiled(text_of(pattern)).finditer(subject):
        if match.end() > match.start():
            pieces.append(subject[start : match.start()])
            start = match.end()
    return _item([*pieces, subject[start:]], index)


def regex_match(text: SqlValue, pattern: SqlValue, index: SqlValue) -> str | None:
    """Group ``index`` of the first match (0 is the whole match), NULL if there is none."""
    if text is None or pattern is None or index is None:
        return None
    match = _compiled(text_of(pattern)).search(text_of(text))
    if match is None:
        return None
    groups: list[str | None] = [match.group(0), *match.groups()]
    return _item([group or "" for group in groups], index)


def _item(items: list[str], index: SqlValue) -> str | None:
    place = _integer(index)
    return items[place] if 0 <= place < len(items) else None


def _integer(value: SqlValue) -> int:
    try:
        return int(float(text_of(value) or 0))
    except (ValueError, OverflowError):
        return 0


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re2._Regexp[str]:
    if len(pattern.encode(errors="replace")) > LONGEST_PATTERN:
        raise SqlError(f"Invalid regex: pattern is longer than {LONGEST_PATTERN} bytes")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise SqlError(f"Invalid regex: {error}", hint="RE2 syntax: no back references, no look-around") from error


def concat(*parts: SqlValue) -> str:
    """All texts after each other; NULL is left out."""
    return "".join(text_of(part) for part in parts)


def concat_ws(separator: SqlValue = None, *parts: SqlValue) -> str:
    """All texts with a separator between them; NULL is left out."""
    return text_of(separator).join(text_of(part) for part in parts if part is not None)


def inet_aton(address: SqlValue) -> int | None:
    """An IPv4 address as a number; NULL for anything else."""
    try:
        return int(ipaddress.IPv4Address(text_of(address)))
    except ValueError:
        return None


def in_cidr_block(block: SqlValue, address: SqlValue) -> int | None:
    """Is the address in the block? Address and block of different families: no."""
    if block is None or address is None:
        return None
    try:
        network = ipaddress.ip_network(text_of(block), strict=False)
        return int(ipaddress.ip_address(text_of(address)) in network)
    except ValueError as error:
        raise SqlError(f"Invalid address or CIDR block: {error}") from error


def _hash(algorithm: str) -> Callable[[SqlValue], str | None]:
    def digest(value: SqlValue) -> str | None:
        if value is None:
            return None
        content = value if isinstance(value, bytes) else text_of(value).encode()
        return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()

    return digest


def to_base64(value: SqlValue) -> str | None:
    """The text in base64."""
    if value is None:
        return None
    return base64.b64encode(value if isinstance(value, bytes) else text_of(value).encode()).decode()


def from_base64(value: SqlValue) -> str | None:
    """The text behind base64; NULL if it is none."""
    if value is None:
        return None
    try:
        return base64.b64decode(text_of(value), validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return None


def conditional_to_base64(value: SqlValue) -> str | None:
    """The text itself if it is ASCII, else base64 of it."""
    if value is None:
        return None
    return text_of(value) if text_of(value).isascii() else to_base64(value)


def cot(value: SqlValue) -> float | None:
    """The cotangent."""
    if not isinstance(value, int | float) or not math.tan(value):
        return None
    return 1 / math.tan(value)


def community_id_v1(
    source: SqlValue,
    target: SqlValue,
    source_port: SqlValue,
    target_port: SqlValue,
    protocol: SqlValue,
    *seed: SqlValue,
) -> str | None:
    """The Community ID of a connection (corelight/community-id-spec, version 1); NULL if an address is none."""
    try:
        ends = [
            (ipaddress.ip_address(text_of(address)).packed, _integer(port))
            for address, port in ((source, source_port), (target, target_port))
        ]
        number = _integer(protocol)
        first, second = sorted(ends)
        content = struct.pack("!H", _integer(seed[0]) if seed else 0)
        content += first[0] + second[0] + struct.pack("!BB", number, 0)
        if number in _PORTED_PROTOCOLS:
            content += struct.pack("!HH", first[1], second[1])
    except (ValueError, struct.error):
        return None
    return "1:" + base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()


def version_compare(left: SqlValue, right: SqlValue, *_: SqlValue) -> int | None:
    """-1, 0 or 1 as the left version is older, equal or newer."""
    if left is None or right is None:
        return None
    return compare_versions(text_of(left), text_of(right))


def compare_versions(left: str, right: str) -> int:
    """Compare runs of digits as numbers and runs of letters as texts; a longer version is newer."""
    for one, other in zip_longest(_version_parts(left), _version_parts(right)):
        if one != other:
            if one is None or other is None:
                return -1 if one is None else 1
            return -1 if one < other else 1
    return 0


def _version_parts(version: str) -> list[tuple[int, int, str]]:
    # A number is newer than letters at its place: 1.0 is newer than 1.rc.
    return [
        (1, int(part), "") if part.isdecimal() else (0, 0, part)
        for part in re.findall(r"[0-9]{1,18}|[A-Za-z]+", version[:1024])
    ]


_ANY = -1
_FUNCTIONS: Final[dict[str, tuple[Callable[..., SqlValue], int]]] = {
    "split": (split, 3),
    "regex_split": (regex_split, 3),
    "regex_match": (regex_match, 3),
    "concat": (concat, _ANY),
    "concat_ws": (concat_ws, _ANY),
    "inet_aton": (inet_aton, 1),
    "in_cidr_block": (in_cidr_block, 2),
    "md5": (_hash("md5"), 1),
    "sha1": (_hash("sha1"), 1),
    "sha256": (_hash("sha256"), 1),
    "to_base64": (to_base64, 1),
    "from_base64": (from_base64, 1),
    "conditional_to_base64": (conditional_to_base64, 1),
    "cot": (cot, 1),
    "community_id_v1": (community_id_v1, _ANY),
    "version_compare": (version_compare, _ANY),
}
