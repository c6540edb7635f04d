"""Rows to entities: every decoder over one tree of keys, and what remains as generic values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.domain.cryptography import decode_cryptography
from fleetscan.domain.entity import Entity, merge_duplicates
from fleetscan.domain.generic import decode_generic
from fleetscan.domain.keys import grow
from fleetscan.domain.known_good import KnownGood, load
from fleetscan.domain.silent import silent_areas
from fleetscan.domain.users import decode_users
from fleetscan.domain.winsock import decode_winsock
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.snapshot import HostFacts

_STRAY = (  # below these keys a value that no decoder took is shown and compared as it is
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\MICROSOFT\\CRYPTOGRAPHY\\",
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\WOW6432NODE\\MICROSOFT\\CRYPTOGRAPHY\\",
    "HKEY_LOCAL_MACHINE\\SYSTEM\\CURRENTCONTROLSET\\SERVICES\\WINSOCK\\PARAMETERS",
)


def decode(
    rows: Iterable[RegistryRow],
    facts: HostFacts | None = None,
    *,
    unproven: Sequence[str] = (),
    known: KnownGood | None = None,
) -> tuple[Entity, ...]:
    """All entities of the rows of one host, one for every identity.

    ``unproven`` are keys that a parent listed but that gave no row. Rows of the domain areas that no decoder
    understands become ``registry_value`` entities; other rows are left to ``generic.value_entity``.
    """
    table = tuple(rows)
    facts_of_windows = known or load()
    environment = facts.environment if facts else None
    tree = grow(table)
    entities = [
        *decode_cryptography(tree, facts_of_windows, environment),
        *decode_winsock(tree, facts_of_windows, environment),
        *decode_users(tree, unproven),
    ]
    entities += silent_areas(unproven, entities)
    taken = {fold(key) for entity in entities for key in entity.keys}
    return merge_duplicates((*entities, *decode_generic(_stray(table, taken), environment)))


def _stray(rows: Iterable[RegistryRow], taken: set[str]) -> Iterator[RegistryRow]:
    for row in rows:
        key = fold(row.key)
        if not row.is_subkey and key not in taken and key.startswith(_STRAY):
            yield row
