"""Trust provider registrations: every step of every action, and the usages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.domain import guid
from fleetscan.domain.entity import Entity
from fleetscan.domain.loadable import Names, read_loadable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetscan.domain.entity import Pairs
    from fleetscan.domain.keys import Node
    from fleetscan.domain.known_good import KnownGood

USAGES = "Usages"
_STEP = Names("$DLL", "$Function")
_USAGE = Names(
    "$DLL", "$Function", ("CallbackAllocFunction", "CallbackFreeFunction", "DefaultId"), needs_function=False
)


def decode(view: Pairs, step_name: str, node: Node, known: KnownGood, environment: Mapping[str, str] | None) -> Entity:
    """The entity of one key below a step or below Usages."""
    step = known.canonical_step(step_name)
    read = read_loadable(node, _USAGE if step == USAGES else _STEP, environment)
    key = guid.parse_braced(node.name) or node.name
    facts = known.find("trust", key)
    incomplete = read.incomplete
    if step == USAGES and not node.unread and all(not fact.dll for fact in facts) and facts:
        incomplete = ""  # this usage has a DefaultId and no DLL
    return Entity(
        kind="trust",
        identity=(*view, ("step", step), ("id", key)),
        attributes=read.attributes,
        ignored=read.ignored,
        keys=(node.path,),
        rows=(*node.listing[:1], *node.values),
        flags=read.flags,
        title=facts[0].name if facts else known.name_of(key),
        incomplete=incomplete,
    )
