"""Ansible inventories, INI and YAML: hosts, groups, ranges and the connection variables; other variables are left."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from fleetscan.errors import InventoryError, Place
from fleetscan.inventory.document import Mapping, Node, Scalar, Sequence, kind
from fleetscan.inventory.ranges import expand_range
from fleetscan.inventory.resolve import Declarations, Group, Setting, Settings
from fleetscan.inventory.vocabulary import check_name, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEYS = frozenset({"hosts", "children", "vars"})
_OWN_PREFIX = "fleetscan_"
_VARIABLES = {
    "ansible_host": "address",
    "ansible_ssh_host": "address",
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_ssh_private_key_file": "identity_file",
    "ansible_private_key_file": "identity_file",
}
_ARGUMENTS = frozenset({"ansible_ssh_common_args", "ansible_ssh_extra_args"})
_SECRETS = frozenset({"ansible_password", "ansible_ssh_pass", "ansible_ssh_password"})
_JUMP = re.compile(r"(?:-J\s*|-o\s*ProxyJump[=\s])\s*(?P<jump>[^\s'\"]+)")
_SECTION = re.compile(r"\[(?P<name>[^\]:]+)(?::(?P<part>hosts|vars|children))?\]\s*(?:[#;].*)?")
_HOST_PORT = re.compile(r"(?P<host>(?:[^:\[\]]|\[[^\[\]]*\])+):(?P<port>[0-9]+)")


def is_ansible(tree: Node) -> bool:
    """Does the file have Ansible's shape: groups at the top that hold hosts, children and vars?"""
    if not isinstance(tree, Mapping) or not tree.items:
        return False
    return all(_looks_like_group(value) for _, value in tree)


def _looks_like_group(node: Node) -> bool:
    if isinstance(node, Scalar):
        return node.is_null
    return isinstance(node, Mapping) and bool(node.items) and all(name.text in _KEYS for name, _ in node)


class _Importer:
    """Gathers declarations; both formats feed it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.declared = Declarations(lenient=True)
        self.ignored: dict[str, None] = {}

    def place(self, line: int) -> Place:
        return Place(str(self.path), line)

    def group(self, name: str, line: int) -> Group:
        return self.declared.groups.setdefault(name, Group(self.place(line)))

    def host(self, pattern: str, settings: Settings, group: Group, line: int) -> None:
        where = self.place(line)
        if port := _HOST_PORT.fullmatch(pattern):
            pattern = port["host"]
            settings = {"port": Setting(self.value("port", port["port"], where), where), **settings}
        for name in expand_range(pattern, where):
            self.declared.add_host(name, settings, where)
            group.hosts.setdefault(name, where)

    def value(self, name: str, text: str, where: Place) -> str | int | float | bool:
        return value_of(name, text, where=where, folder=self.path.parent)

    def setting(self, name: str, text: str, into: Settings, line: int) -> None:
        where = self.place(line)
        if name in _ARGUMENTS:
            if jump := _JUMP.search(text):
                into["proxy_jump"] = Setting(jump["jump"], where)
            return
        if name.startswith(_OWN_PREFIX):
            ours = name.removeprefix(_OWN_PREFIX)
            check_name(ours, where)
        elif name in _VARIABLES:
            ours = _VARIABLES[name]
        else:
            self.ignored[name] = None
            return
        if "{{" in text:
            raise InventoryError(f"{name}: templates are not evaluated", where=where, hint="write the value itself")
        into[ours] = Setting(self.value(ours, text, where), where)

    def done(self) -> Declarations:
        notes = self.declared.notes
        if secrets := sorted(_SECRETS & set(self.ignored)):
            notes.append(f"{', '.join(secrets)} not read: use a key, an agent, or fleetscan_password_env=NAME")
        if rest := sorted(set(self.ignored) - _SECRETS):
            notes.append(f"Ansible variables not used: {', '.join(rest[:20])}{', ...' if rest[20:] else ''}")
        notes.extend(
            f"{folder} is not read: give connection variables in the inventory itself"
            for folder in ("group_vars", "host_vars")
            if (self.path.parent / folder).is_dir()
        )
        if not self.declared.hosts:
            raise InventoryError("no hosts", where=str(self.path))
        return self.declared


def read_ini(text: str, path: Path) -> Declarations:
    """The declarations of an INI inventory."""
    importer = _Importer(path)
    name, part = "ungrouped", "hosts"
    for line, raw in enumerate(text.splitlines(), 1):
        content = raw.strip()
        if not content or content[0] in "#;":
            continue
        if content.startswith("[") and (section := _SECTION.fullmatch(content)):
            name, part = section["name"].strip(), section["part"] or "hosts"
            importer.group(name, line)
            continue
        _ini_line(importer, content, importer.group(name, line), part, line)
    return importer.done()


def _ini_line(importer: _Importer, content: str, group: Group, part: str, line: int) -> None:
    if part == "vars":
        name, equals, value = content.partition("=")
        if not equals:
            raise InventoryError("a variable is written NAME=VALUE", where=importer.place(line))
        importer.setting(name.strip(), value.strip().strip("'\""), group.settings, line)
        return
    try:
        words = shlex.split(content, comments=True)
    except ValueError as error:
        raise InventoryError(f"cannot be split into words: {error}", where=importer.place(line)) from error
    if not words:
        return
    if part == "children":
        importer.group(words[0], line)
        group.children.setdefault(words[0], importer.place(line))
        return
    settings: Settings = {}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals:
            raise InventoryError(f"{word!r} is no NAME=VALUE", where=importer.place(line))
        importer.setting(name, value, settings, line)
    importer.host(words[0], settings, group, line)


def read_yaml(tree: Node, path: Path) -> Declarations:
    """The declarations of a YAML inventory."""
    importer = _Importer(path)
    # A list of work instead of recursion; nesting is bounded by the reader, aliases by their unfolded size.
    pending = [(name, node) for name, node in _pairs(importer, tree)]
    while pending:
        name, node = pending.pop(0)
        group = importer.group(name.text, name.line)
        for key, value in _pairs(importer, node):
            match key.text:
                case "hosts":
                    for host, variables in _pairs(importer, value):
                        importer.host(host.text, _yaml_settings(importer, variables), group, host.line)
                case "vars":
                    group.settings |= _yaml_settings(importer, value)
                case "children":
                    for child, content in _pairs(importer, value):
                        group.children.setdefault(child.text, importer.place(child.line))
                        pending.append((child, content))
                case _:
                    hint = "hosts, children or vars"
                    raise InventoryError(f"unknown key {key.text!r}", where=importer.place(key.line), hint=hint)
    return importer.done()


def _pairs(importer: _Importer, node: Node) -> Iterator[tuple[Scalar, Node]]:
    match node:
        case Mapping():
            yield from node
        case Scalar() if node.is_null:
            return
        case _:
            raise InventoryError(f"a mapping is expected, not {kind(node)}", where=importer.place(node.line))


def _yaml_settings(importer: _Importer, node: Node) -> Settings:
    settings: Settings = {}
    for name, value in _pairs(importer, node):
        if isinstance(value, (Mapping, Sequence)):
            importer.ignored[name.text] = None
            continue
        importer.setting(name.text, value.text, settings, name.line)
    return settings
