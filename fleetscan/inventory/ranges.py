"""Host ranges: ``ws-[001:250].corp`` stands for 250 names."""

from __future__ import annotations

import re
import string
from ipaddress import IPv6Address
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from fleetscan.errors import InventoryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleetscan.errors import Place

MAX_HOSTS = 1_000_000
_MAX_DIGITS = 12
_RANGE = re.compile(r"\[([0-9]+|[A-Za-z]):([0-9]+|[A-Za-z])(?::([0-9]+))?\]")
_NAME = re.compile(r"[\w][\w.+-]*")
_BRACKETS = re.compile(r"\[(?P<address>[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?)\](?::(?P<port>[^:\[\]]*))?")
_HOST_PORT = re.compile(r"(?P<host>(?:[^:\[\]]|\[[^\[\]]*\])+):(?P<port>[^:\[\]]*)")


def split_port(text: str) -> tuple[str, str | None]:
    """A host as written and its port, if there is one: ``name:22``, ``[2001:db8::1]:22``; a bare address has none."""
    if (match := _BRACKETS.fullmatch(text)) and not _RANGE.fullmatch(f"[{match['address']}]"):
        return match["address"], match["port"]
    if match := _HOST_PORT.fullmatch(text):
        return match["host"], match["port"]
    return text, None


def expand_range(pattern: str, where: Place | None = None) -> Iterator[str]:
    """Every name that ``pattern`` stands for, in order; a pattern without range stands for itself.

    Raises InventoryError for a range that runs backwards, mixes digits and letters, or is too large, and for a name
    that no host can have.
    """
    if _NAME.fullmatch(pattern):
        yield pattern
        return
    parts = _RANGE.split(pattern)
    literals = parts[::4]
    choices = [_choices(parts[at], parts[at + 1], parts[at + 2], where) for at in range(1, len(parts), 4)]
    if not _is_name("0".join(literals)):
        user, at, host = pattern.rpartition("@")
        hint = f"{host} with the setting user: {user}" if at else "letters, digits and . - _ ; ranges as [001:250]"
        raise InventoryError(f"{pattern!r} is no host name", where=where, hint=hint)
    if prod(map(len, choices)) > MAX_HOSTS:
        raise InventoryError(f"{pattern!r} stands for more than {MAX_HOSTS} hosts", where=where)
    for combination in product(*choices):
        yield literals[0] + "".join(a + b for a, b in zip(combination, literals[1:], strict=True))


def _is_name(text: str) -> bool:
    """A name, or an IPv6 address."""
    if ":" not in text:
        return bool(_NAME.fullmatch(text))
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _choices(first: str, last: str, step: str | None, where: Place | None) -> Sequence[str]:
    stride = int(step[:_MAX_DIGITS]) if step else 1
    kinds = {"0" if end.isdigit() else "a" if end.islower() else "A" for end in (first, last)}
    if len(kinds) > 1 or stride < 1 or max(len(first), len(last)) > _MAX_DIGITS:
        raise InventoryError(f"[{first}:{last}] is no range", where=where, hint="[001:250] or [a:f]")
    if first.isdigit():
        numbers = range(int(first), int(last) + 1, stride)
        if len(numbers) > MAX_HOSTS:
            raise InventoryError(f"[{first}:{last}] stands for more than {MAX_HOSTS} hosts", where=where)
        width = len(first) if first.startswith("0") else 0
        names = [f"{number:0{width}d}" for number in numbers]
    else:
        letters = string.ascii_lowercase if first.islower() else string.ascii_uppercase
        names = list(letters[letters.find(first) : letters.find(last) + 1 : stride])
    if not names:
        raise InventoryError(f"[{first}:{last}] runs backwards", where=where, hint=f"[{last}:{first}]")
    return names
