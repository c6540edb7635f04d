"""The engine of a name: the words after ``engine:`` in an inventory, each imported when it is first needed."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from fleetscan.errors import SettingsError

if TYPE_CHECKING:
    from fleetscan.engines.interface import Engine

ENGINES = {
    "embedded": ("fleetscan.engines.embedded", "EmbeddedEngine"),
    "osqueryd": ("fleetscan.engines.osqueryd", "OsquerydEngine"),
    "osqueryi": ("fleetscan.engines.osqueryi", "OsqueryiEngine"),
    "recorded": ("fleetscan.engines.recorded", "RecordedEngine"),
}


@cache
def engine_named(name: str) -> Engine:
    """One engine for all hosts that name it; engines are safe to call from many threads."""
    if name not in ENGINES:
        raise SettingsError(f"no engine {name!r}", hint=f"one of {', '.join(ENGINES)}")
    module, kind = ENGINES[name]
    return cast("Engine", getattr(import_module(module), kind)())
