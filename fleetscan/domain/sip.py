"""SIP registrations: every ``CryptSIPDll*`` function set, by prefix and not by a list of nine names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.domain import guid
from fleetscan.domain.entity import Entity, Flag
from fleetscan.domain.loadable import Names, read_loadable
from fleetscan.model.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetscan.domain.entity import Pairs
    from fleetscan.domain.keys import Node
    from fleetscan.domain.known_good import KnownGood

USUAL_ENCODING = "EncodingType 0"
NAMES = Names("Dll", "FuncName", needs_function=False)


def decode(
    place: tuple[Pairs, str, str], node: Node, known: KnownGood, environment: Mapping[str, str] | None
) -> Entity:
    """The entity of one key below a function set; ``place`` is view, encoding and set."""
    view, encoding, set_name = place
    parsed = guid.parse_braced(node.name)
    function_set = known.canonical_set(set_name)
    read = read_loadable(node, NAMES, environment)
    identity = [*view, ("set", function_set), ("id", parsed or node.name)]
    if encoding.lower() != USUAL_ENCODING.lower():
        identity.append(("encoding", encoding))
    if parsed is None and guid.is_guid(node.name):
        identity.append(("spelling", "without braces"))
    return Entity(
        kind="sip",
        identity=tuple(identity),
        attributes=read.attributes,
        ignored=read.ignored,
        keys=(node.path,),
        rows=(*node.listing[:1], *node.values),
        flags=(*_shape(encoding, function_set, node.name, parsed, known), *read.flags),
        title=known.name_of(parsed) if parsed else "",
        incomplete=read.incomplete,
    )


def _shape(encoding: str, function_set: str, name: str, parsed: str | None, known: KnownGood) -> tuple[Flag, ...]:
    flags = []
    if encoding.lower() != USUAL_ENCODING.lower():
        flags.append(Flag("encoding", f"a SIP set under {encoding}, where Windows has none", Severity.MEDIUM))
    if function_set == "CryptSIPDllIsMyFileType":
        text = "version 1 of the file type question: empty on stock systems, and asked before version 2"
        flags.append(Flag("version 1", text, Severity.HIGH))
    elif function_set not in known.function_sets:
        flags.append(Flag("unknown set", f"{function_set} is no known SIP function set", Severity.MEDIUM))
    if name.upper() == "DEFAULT":
        text = "a DEFAULT list, tried for everything; SIP sets have none on stock systems"
        flags.append(Flag("default list", text, Severity.HIGH))
    elif parsed is None:
        flags.append(Flag("no GUID", "the key name is not a GUID in braces", Severity.MEDIUM))
    return tuple(flags)
