"""From the paths a user or an inventory names to the machine that is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.errors import SettingsError
from fleetscan.hives.collection import Machine, collection
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES_SHOWN = 8


def machines_in(paths: Sequence[str]) -> tuple[Machine, ...]:
    """The machines of a folder; several paths together are one machine. Raises HiveError, SettingsError."""
    if not paths:
        raise SettingsError("no hives are named", hint="name a folder, hives or .reg exports")
    found = [machine for path in paths for machine in collection(Path(path)).machines]
    if len(paths) == 1:
        return tuple(found)
    files = tuple(file for machine in found for file in machine.files)
    return (Machine(found[0].name, files),)


def machine_in(paths: Sequence[str], name: str = "") -> Machine:
    """The one machine that is asked: of this name, or the only one. Raises HiveError, SettingsError."""
    found = machines_in(paths)
    chosen = [machine for machine in found if not name or fold(machine.name) == fold(name)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(machine.name for machine in found[:NAMES_SHOWN]) + (", ..." if len(found) > NAMES_SHOWN else "")
    what = f"no machine '{name}' in the collection" if name else f"the collection holds {len(found)} machines"
    raise SettingsError(what, where=str(paths[0]), hint=f"choose one of: {names}")
