"""Registry values and keys that no decoder knows: compared as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.domain.entity import Entity
from fleetscan.domain.paths import normalise
from fleetscan.model.registry import KeyPath

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fleetscan.model.registry import RegistryRow


def decode_generic(rows: Iterable[RegistryRow], environment: Mapping[str, str] | None = None) -> Iterator[Entity]:
    """One entity for every row; rows of one value name are merged by the caller."""
    for row in rows:
        yield value_entity(row, environment)


def value_entity(row: RegistryRow, environment: Mapping[str, str] | None = None) -> Entity:
    """The entity of one row: a value with type and data, or a key that exists."""
    key = str(KeyPath.parse(row.key))
    if row.is_subkey:
        return Entity(
            kind="registry_key", identity=(("key", f"{key}\\{row.name}"),), keys=(f"{key}\\{row.name}",), rows=(row,)
        )
    # Before 5.14 agents return REG_EXPAND_SZ as it is, later ones expanded and typed REG_SZ: the same value.
    is_text = row.type in {"REG_SZ", "REG_EXPAND_SZ"}
    data = _expanded(row.data, environment) if is_text else row.data
    return Entity(
        kind="registry_value",
        identity=(("key", key), ("name", row.name)),
        attributes=(("data", data), ("type", "text" if is_text else row.type)),
        ignored=(("raw", row.data), ("value type", row.type)),
        keys=(row.key,),
        rows=(row,),
    )


def _expanded(text: str, environment: Mapping[str, str] | None) -> str:
    return normalise(text, environment).text if "%" in text else text
