"""Which reader an inventory needs: by its form on the command line, its suffix, its shape."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.errors import InventoryError, Place
from fleetscan.inventory import ansible, table
from fleetscan.inventory.document import parse, read_text
from fleetscan.inventory.native import read_native
from fleetscan.inventory.ranges import expand_range, split_port
from fleetscan.inventory.resolve import Declarations, Inventory, Setting, Settings, resolve
from fleetscan.inventory.vocabulary import value_of

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMAND_LINE = "-i"
_YAML = frozenset({".yml", ".yaml", ".json"})
_LIKE_YAML = re.compile(r"(?:\s*(?:#[^\n]*)?\n)*(?:---|\{|[\w.-]+:(?:\s|$))")
"""How a file begins that is YAML, whatever it is called: a colon after the first word is none of a port."""


def load_inventory(source: str | Path, environment: Mapping[str, str] | None = None) -> Inventory:
    """The inventory of a file, or of ``user@host:port,`` (one or more hosts, told from a file by the comma).

    Files: YAML of fleetscan, YAML or INI of Ansible, CSV. ``environment`` resolves ``${NAME}``; the process's own by
    default. Raises InventoryError with file and line.
    """
    environment = os.environ if environment is None else environment
    if isinstance(source, str) and "," in source and not Path(source).exists():
        return resolve(_hosts_of(source), COMMAND_LINE)
    if not str(source).strip():
        raise InventoryError("no inventory is named", where=COMMAND_LINE, hint="a file, or a host: -i user@host,")
    path = Path(source)
    return resolve(_declarations(path, read_text(path), environment), str(path))


def _declarations(path: Path, text: str, environment: Mapping[str, str]) -> Declarations:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return table.read_csv(text, path, environment)
    if suffix not in _YAML and not _LIKE_YAML.match(text):
        return ansible.read_ini(text, path)
    tree = parse(text, str(path))
    if ansible.is_ansible(tree):
        return ansible.read_yaml(tree, path)
    return read_native(tree, path, environment)


def _hosts_of(text: str) -> Declarations:
    declared = Declarations()
    where = Place(COMMAND_LINE)
    for word in filter(None, (part.strip() for part in text.split(","))):
        user, _, rest = word.rpartition("@")
        settings: Settings = {"user": Setting(user, where)} if user else {}
        name, port = split_port(rest)
        if port is not None:
            settings["port"] = Setting(value_of("port", port, where=where, folder=Path()), where)
        for host in expand_range(name, where):
            declared.add_host(host, settings, where)
    if not declared.hosts:
        raise InventoryError("no host named", where=where, hint="-i user@host,")
    return declared
