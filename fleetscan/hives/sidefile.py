"""Side files: registry contents in JSON that a .reg export cannot hold (odd names, links, write times, environment)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fleetscan.errors import HiveError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fleetscan.hives.tree import MemoryRegistry


def apply_extra(registry: MemoryRegistry, content: bytes, name: str) -> Mapping[str, str]:
    r"""Add ``keys``, ``values``, ``links`` and ``mtimes`` of a side file; the result is its ``env`` (empty if none).

    ``values``: list of ``{key, name, type, data_hex}``; ``links``: list of ``{key, target}``; ``mtimes``: key to
    seconds since 1970; ``keys``: list of keys. Keys start with a root in long form. Raises HiveError with ``name``.
    """
    try:
        return _apply(registry, json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HiveError(f"no side file of registry contents: {error}", where=name, hint="see its format") from error


def _apply(registry: MemoryRegistry, content: Mapping[str, Any]) -> Mapping[str, str]:
    for key in content.get("keys", ()):
        registry.key(_elements(key))
    for value in content.get("values", ()):
        data = bytes.fromhex(value["data_hex"])
        registry.key(_elements(value["key"])).set(str(value["name"]), int(value["type"]), data)
    for link in content.get("links", ()):
        registry.key(_elements(link["key"])).link_target = str(link["target"])
    for key, mtime in content.get("mtimes", {}).items():
        registry.key(_elements(key)).mtime = int(mtime)
    return dict(_texts(content.get("env", {})))


def _texts(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, text in environment.items():
        yield str(name), str(text)


def _elements(key: str) -> tuple[str, ...]:
    elements = tuple(element for element in key.split("\\") if element)
    if not elements:
        raise ValueError("a key without a name")
    return elements
