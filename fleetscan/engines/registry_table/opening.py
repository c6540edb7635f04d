"""Opening keys: from names to keys of the mounted registry, links followed, absent hives noted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.engines.registry_table.calls import FILE_NOT_FOUND, TOO_MANY_LINKS, CallFailedError
from fleetscan.hives.mount import link_elements
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fleetscan.engines.registry_table.blind_spots import Witness
    from fleetscan.hives.mount import Registry
    from fleetscan.hives.tree import Key
    from fleetscan.model.registry import KeyPath

MAX_LINKS = 64
"""Links followed while one key is opened."""
MAX_OPEN_KEYS = 16_384
"""Keys kept open, so that a walk finds the parent of the next key without starting at the hive."""
MAX_LISTED_KEYS = 65_536
"""Keys kept from listings until they are opened: a walk opens next what it has just listed."""

Folded = tuple[str, ...]


class Opener:
    """Opens keys of one registry."""

    def __init__(self, registry: Registry, witness: Witness | None = None) -> None:
        """``witness`` is told of links."""
        self._roots = registry.roots
        self._witness = witness
        self._open: dict[Folded, Key] = {}
        self._listed: dict[str, Key] = {}
        self._missing = {path.folded: str(path) for path in registry.missing}
        self._missing_asked: dict[str, None] = {}
        self._hives_asked: set[Folded] = set()

    def listed(self, path: str) -> Key | None:
        """The key of that path, if it is known from the listing of its parent; each listing serves one opening."""
        key = self._listed.pop(path, None)
        # A link is left to ``open``.
        return key if key is None or key.link_target is None else None

    def learn(self, paths: Iterable[str], keys: Iterable[Key]) -> None:
        """Keep keys that were listed. The names are plain and distinct, so that path and key belong together."""
        if len(self._listed) < MAX_LISTED_KEYS:
            self._listed.update(zip(paths, keys, strict=True))

    def open(self, elements: Sequence[str], *, needed: bool = True) -> Key:
        """The key of these elements, first the hive's root; raises CallFailedError.

        ``needed``: a hive that the source lacks counts as asked for.
        """
        folded = tuple(map(fold, elements))
        if self._missing and needed:
            self._ask_for_missing(folded)
        return self._find(folded, elements, MAX_LINKS)

    def take_missing(self) -> tuple[str, ...]:
        """The hives that were asked for since the last call, but that the source lacks."""
        asked = tuple(self._missing_asked)
        self._missing_asked.clear()
        return asked

    def asked_for(self, key: KeyPath) -> bool:
        """Was any key opened in the hive in which ``key`` lies?"""
        folded = key.folded[:2]
        return folded in self._hives_asked or any(asked[: len(folded)] == folded for asked in self._hives_asked)

    def _ask_for_missing(self, folded: Folded) -> None:
        # A key below a missing hive cannot be found; a key above it is listed without it.
        for depth in (1, 2):
            if key := self._missing.get(folded[:depth]):
                self._missing_asked[key] = None
        if len(folded) == 1:
            self._missing_asked |= {key: None for missing, key in self._missing.items() if missing[:-1] == folded}

    def _find(self, folded: Folded, elements: Sequence[str], links_left: int) -> Key:
        self._hives_asked.add(folded[:2])
        known = len(folded)
        while known and folded[:known] not in self._open:
            known -= 1
        key = self._open[folded[:known]] if known else None
        for depth in range(known, len(folded)):
            key = self._roots.get(folded[0]) if key is None else key.subkey(folded[depth])
            if key is None:
                raise CallFailedError(FILE_NOT_FOUND)
            if (target := key.link_target) is not None:
                if self._witness is not None:
                    self._witness.followed("\\".join(elements[: depth + 1]), target)
                key = self._follow(target, links_left)
            self._remember(folded[: depth + 1], key)
        if key is None:
            raise CallFailedError(FILE_NOT_FOUND)
        return key

    def _follow(self, target: str, links_left: int) -> Key:
        if links_left == 0:
            raise CallFailedError(TOO_MANY_LINKS)
        elements = link_elements(target)
        return self._find(tuple(map(fold, elements)), elements, links_left - 1)

    def _remember(self, folded: Folded, key: Key) -> None:
        if len(self._open) >= MAX_OPEN_KEYS:
            self._open.pop(next(iter(self._open)))
        self._open[folded] = key
