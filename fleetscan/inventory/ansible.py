"""Ansible inventories, INI and YAML: hosts, groups, ranges and the connection variables; other variables are left."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from fleetscan.errors import InventoryError, Place
from fleetscan.inventory.document import Mapping, Node, Scalar, Sequence, kind
from fleetscan.inventory.ranges import expand_range, split_port
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
_OPTIONS = {"-J": "proxyjump", "-p": "port", "-l": "user", "-i": "identityfile", "-F": "configfile"}
_WITH_VALUE = frozenset("BbcDEeFIiJLlmOoPpQRSWw")
"""Options of ssh that take a value."""
_KEYWORDS = {
    "proxyjump": "proxy_jump",
    "port": "port",
    "user": "user",
    "identityfile": "identity_file",
    "certificatefile": "certificate_file",
    "userknownhostsfile": "known_hosts",
    "configfile": "ssh_config",
    "hostname": "address",
}
"""Keywords of ssh_config, in lower case, that a setting stands for."""
_SECTION = re.compile(r"\[(?P<name>[^\]:]+)(?::(?P<part>hosts|vars|children))?\]\s*(?:[#;].*)?")


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
        self.unused: dict[str, None] = {}

    def place(self, line: int) -> Place:
        return Place(str(self.path), line)

    def group(self, name: str, line: int) -> Group:
        return self.declared.groups.setdefault(name, Group(self.place(line)))

    def host(self, pattern: str, settings: Settings, group: Group, line: int) -> None:
        where = self.place(line)
        pattern, port = split_port(pattern)
        if port is not None:
            settings = {"port": Setting(self.value("port", port, where), where), **settings}
        for name in expand_range(pattern, where):
            self.declared.add_host(name, settings, where)
            group.hosts.setdefault(name, where)

    def value(self, name: str, text: str, where: Place) -> str | int | float | bool:
        return value_of(name, text, where=where, folder=self.path.parent)

    def setting(self, name: str, text: str, into: Settings, line: int) -> None:
        where = self.place(line)
        if name in _ARGUMENTS:
            for ours, value in self.arguments(name, text, where):
                into[ours] = Setting(self.value(ours, value, where), where)
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

    def arguments(self, name: str, text: str, where: Place) -> Iterator[tuple[str, str]]:
        """The settings that arguments of ssh stand for; the others are noted."""
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise InventoryError(f"{name} cannot be split into words: {error}", where=where) from error
        for keyword, value in _ssh_options(words):
            if keyword in _KEYWORDS:
                yield _KEYWORDS[keyword], value
            elif keyword == "proxycommand" and (jump := _jump_of(value)):
                yield "proxy_jump", jump
            else:
                self.unused[keyword] = None

    def done(self) -> Declarations:
        notes = self.declared.notes
        if self.unused:
            notes.append(f"ssh arguments not used: {', '.join(self.unused)}")
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


def _ssh_options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Arguments of ssh as keyword of ssh_config, in lower case, and value; options that have no keyword as they are."""
    rest = iter(words)
    for word in rest:
        option, value = word[:2], word[2:]
        if option[:1] == "-" and option[1:] in _WITH_VALUE:
            value = value or next(rest, "")
        if option == "-o":
            keyword, _, value = re.sub(r"\s*[=\s]\s*", "=", value, count=1).partition("=")
            yield keyword.lower(), value.strip().strip('"')
        else:
            yield _OPTIONS.get(option, word), value


def _jump_of(command: str) -> str:
    """The jump host of a ProxyCommand that only passes through: ``ssh -W %h:%p -q jump@gate``; else nothing."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    if not words or words[0].rpartition("/")[2] != "ssh" or "%h:%p" not in words:
        return ""
    options: dict[str, str] = {}
    target = ""
    rest = iter(words[1:])
    for word in rest:
        if word[:1] != "-":
            target = word
            break
        if word[1:2] in _WITH_VALUE:
            options[word[:2]] = word[2:] or next(rest, "")
    user = f"{options['-l']}@" if "-l" in options and "@" not in target else ""
    port = f":{options['-p']}" if "-p" in options else ""
    return f"{user}{target}{port}" if target else ""


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
