"""``--limit``: the hosts of an inventory that patterns choose."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import translate
from typing import TYPE_CHECKING

from fleetscan.errors import InventoryError, Place
from fleetscan.inventory.ranges import expand_range, split_port
from fleetscan.inventory.vocabulary import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fleetscan.inventory.resolve import Inventory

_GLOB = re.compile(r"[*?]")
_COLON = re.compile(r":(?![^\[\]]*\])")  # none that stands in brackets
_ADDRESS = re.compile(r"[0-9A-Fa-f:.*?]*::[0-9A-Fa-f:.*?]*|[0-9A-Fa-f]*(?::[0-9A-Fa-f]*){7}")
_MAX_SUGGESTED = 1000


def select(inventory: Inventory, limit: Iterable[str] | str = ()) -> Inventory:
    """The inventory of the chosen hosts only, in the same order.

    Patterns are host names, groups, globs over both, and ranges, separated by commas, or by colons as in Ansible: what
    is named is taken together, ``&pattern`` keeps only hosts that are also there, ``!pattern`` takes away. Without a
    plain pattern all hosts are the start. Case does not matter. A pattern that names nothing is an error, a glob that
    finds nothing not.
    """
    texts = (limit,) if isinstance(limit, str) else limit
    names = _Names(inventory)
    words = [word for text in texts for part in text.split(",") for word in names.split(part.strip())]
    if not words:
        return inventory
    plain = [word for word in words if word[0] not in "&!"]
    taken: set[str] = set()
    for word in plain:
        taken |= names.matching(word)
    if not plain:
        taken.update(host.id for host in inventory)
    for word in words:
        if word.startswith("&"):
            taken &= names.matching(word[1:])
    for word in words:
        if word.startswith("!"):
            taken -= names.matching(word[1:])
    return replace(inventory, hosts=tuple(host for host in inventory if host.id in taken))


class _Names:
    """Hosts and groups of an inventory by lower-case name."""

    def __init__(self, inventory: Inventory) -> None:
        self.source = inventory.source
        self.known: dict[str, frozenset[str]] = {host.id.lower(): frozenset((host.id,)) for host in inventory}
        # A group wins over a host of the same name: it holds more.
        self.known |= {name.lower(): frozenset[str](ids) for name, ids in inventory.groups.items()}
        self.groups = tuple(inventory.groups)

    def split(self, text: str) -> list[str]:
        """The patterns between colons, except those of a range and of an IPv6 address."""
        bare = text.lstrip("&!")
        name, port = split_port(bare)
        if (port is None and name.lower() in self.known) or _ADDRESS.fullmatch(bare):
            return [text[: len(text) - len(bare)] + name]
        return [word.strip() for word in _COLON.split(text) if word.strip()]

    def matching(self, pattern: str) -> set[str]:
        """The hosts that one pattern names."""
        if _GLOB.search(pattern) and pattern[0] != "~":
            matches = re.compile(translate(pattern.lower())).match
            return {host for name, ids in self.known.items() if matches(name) for host in ids}
        chosen: set[str] = set()
        if not pattern or pattern[0] in "~@" or " " in pattern:
            hint = "names, groups, globs and ranges with commas between them; &pattern keeps, !pattern takes away"
            raise InventoryError(f"--limit: {pattern!r} is no pattern", where=self.source, hint=hint)
        for name in expand_range(pattern, Place("--limit")):
            if name.lower() not in self.known:
                hint = suggestion(name.lower(), [*self.groups, *self.known][:_MAX_SUGGESTED])
                raise InventoryError(f"--limit: no host or group {name!r}", where=self.source, hint=hint)
            chosen |= self.known[name.lower()]
        return chosen
