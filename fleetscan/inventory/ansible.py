"""Ansible inventories, INI and YAML: hosts, groups, ranges and the connection variables; other variables are left."""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from typing import TYPE_CHECKING

from fleetscan.errors import InventoryError, Place
from fleetscan.inventory.document import Mapping, Node, Scalar, Sequence, kind, parse, read_text
from fleetscan.inventory.ranges import expand_range, split_port
from fleetscan.inventory.resolve import Declarations, Group, Setting, Settings
from fleetscan.inventory.vocabulary import check_name, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEYS = frozenset({"hosts", "children", "vars"})
_OURS = frozenset({"hosts", "groups", "vars"})
"""What stands at the top of fleetscan's own inventory."""
_PORT, _CONNECTION = "ansible_port", "ansible_connection"
_NOT_SSH = frozenset({"winrm", "psrp"})
_IS_SSH = frozenset({"ssh", "smart", "paramiko", "paramiko_ssh"})
_VAULT = "$ANSIBLE_VAULT;"
_EXPORT = "ansible-inventory -i FILE --list --yaml --output hosts.yml"
_QUOTED = re.compile(r"""(['"]).*\1\s*(?:#.*)?""")
_FOLDERS = ("group_vars", "host_vars")
_SUFFIXES = frozenset({"", ".yml", ".yaml", ".json"})
_OWN_PREFIX = "fleetscan_"
_VARIABLES = {
    "ansible_host": "address",
    "ansible_ssh_host": "address",
    "ansible_port": _PORT,
    "ansible_ssh_port": _PORT,
    "ansible_connection": _CONNECTION,
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_ssh_private_key_file": "identity_file",
    "ansible_private_key_file": "identity_file",
}
_ARGUMENTS = frozenset({"ansible_ssh_common_args", "ansible_ssh_extra_args"})
_SECRETS = frozenset({"ansible_password", "ansible_ssh_pass", "ansible_ssh_password"})
_CONNECTING = frozenset({*_VARIABLES, *_ARGUMENTS, *_SECRETS})
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
_IN_BRACKETS = re.compile(r"\[(?:[0-9]+:[0-9]|[A-Za-z]:[A-Za-z]\b|[0-9A-Fa-f]*:[0-9A-Fa-f]*:)")
"""How a host begins with a bracket: a range, or an IPv6 address."""
_SPECIAL = re.compile(r"[\"'\\#]")  # what splitting into words is more for than blanks


def is_ansible(tree: Node) -> bool:
    """Does the file have Ansible's shape: at the top groups, of which some hold hosts, children or vars?"""
    if not isinstance(tree, Mapping) or not tree.items:
        return False
    names = {name.text for name, _ in tree}
    return not names & _OURS and ("all" in names or any(_looks_like_group(value) for _, value in tree))


def _looks_like_group(node: Node) -> bool:
    if isinstance(node, Scalar):
        return node.is_null
    return isinstance(node, Mapping) and any(name.text in _KEYS for name, _ in node)


class _Importer:
    """Gathers declarations; both formats feed it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.declared = Declarations(lenient=True, settle=_settled)
        self.ignored: dict[str, None] = {}
        self.unused: dict[str, None] = {}
        self.closed: dict[str, None] = {}
        """What is encrypted, and therefore not read."""
        self.connections: set[str] = set()
        self.templates: dict[str, None] = {}

    def place(self, line: int) -> Place:
        return Place(str(self.path), line)

    def group(self, name: str, line: int) -> Group:
        return self.declared.groups.setdefault(name, Group(self.place(line)))

    def host(self, pattern: str, settings: Settings, group: Group, line: int) -> None:
        where = self.place(line)
        pattern, port = split_port(pattern)
        if port is not None:
            settings = {_PORT: Setting(self.value("port", port, where), where), **settings}
        for name in expand_range(pattern, where):
            self.declared.add_host(name, settings, where)
            group.hosts.setdefault(name, where)

    def value(self, name: str, text: str, where: Place) -> str | int | float | bool:
        return value_of(name, text, where=where, folder=self.path.parent)

    def setting(self, name: str, text: str, into: Settings, where: Place) -> None:
        if text.startswith(_VAULT):
            self.closed[name] = None
            return
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
        if ours == _CONNECTION:
            self.connections.add(text)
            into[ours] = Setting(text, where)
        elif text:
            into[ours] = Setting(self.value("port" if ours == _PORT else ours, text, where), where)

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
        for folder in _FOLDERS:
            _Folder(self, folder).read()
        _leave_ungrouped(self.declared)
        self.declared.notes.extend(self.notes())
        if not self.declared.hosts:
            raise InventoryError("no hosts", where=str(self.path))
        return self.declared

    def notes(self) -> Iterator[str]:
        """What of the inventory is not used, in words."""
        if self.closed:
            yield f"encrypted by ansible-vault, not read: {', '.join(self.closed)}"
        if self.templates:
            yield f"templates are not evaluated, not read: {', '.join(self.templates)}"
        if odd := sorted(self.connections & _NOT_SSH):
            yield f"ansible_connection={odd[0]}: these hosts are asked over SSH, and not at their ansible_port"
        if odd := sorted(self.connections - _NOT_SSH - _IS_SSH):
            yield f"ansible_connection={odd[0]} is not used: these hosts are asked over SSH"
        if self.unused:
            yield f"ssh arguments not used: {', '.join(self.unused)}"
        if secrets := sorted(_SECRETS & set(self.ignored)):
            yield f"{', '.join(secrets)} not read: use a key, an agent, or fleetscan_password_env=NAME"
        if rest := sorted(set(self.ignored) - _SECRETS):
            yield f"Ansible variables not used: {', '.join(rest[:20])}{', ...' if rest[20:] else ''}"


def _settled(settings: Settings) -> Settings:
    """The port that Ansible connects to is ours as long as it is one of SSH."""
    found = dict(settings)
    connection, port = found.pop(_CONNECTION, None), found.pop(_PORT, None)
    if port is not None and (connection is None or connection.value not in _NOT_SSH):
        found.setdefault("port", port)
    return found


def _leave_ungrouped(declared: Declarations) -> None:
    """A host of ``ungrouped`` that stands in another group, too, is grouped."""
    ungrouped = declared.groups.get("ungrouped")
    if ungrouped is not None:
        others = [g for name, g in declared.groups.items() if name not in ("ungrouped", "all")]
        grouped = {host for group in others for host in group.hosts}
        ungrouped.hosts = {host: where for host, where in ungrouped.hosts.items() if host not in grouped}


class _Folder:
    """``group_vars`` or ``host_vars`` beside an inventory: of what they hold, how to connect."""

    def __init__(self, importer: _Importer, name: str) -> None:
        self.importer = importer
        self.name = name
        self.folder = importer.path.parent / name

    def read(self) -> None:
        try:
            entries = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
            for entry in entries:
                files = sorted(entry.iterdir()) if entry.is_dir() else [entry]
                into = self.into(entry.name if entry.is_dir() else entry.stem)
                for file in files:
                    if into is not None and file.suffix in _SUFFIXES and file.is_file():
                        self.file(file, into)
        except OSError as error:
            raise InventoryError(f"cannot be read: {error.strerror}", where=str(self.folder)) from error

    def into(self, name: str) -> Settings | None:
        """The settings that a file of that name adds to; None if it is for nobody here."""
        declared = self.importer.declared
        if self.name == "host_vars":
            return declared.hosts.get(name)
        if name == "all" and name not in declared.groups:
            self.importer.group(name, 1)
        group = declared.groups.get(name)
        return None if group is None else group.overrides

    def file(self, path: Path, into: Settings) -> None:
        text = read_text(path)
        if text.startswith(_VAULT):
            self.importer.closed[f"{self.name}/{path.relative_to(self.folder)}"] = None
            return
        for name, node in _pairs(path, parse(text, str(path))):
            where = Place(str(path), name.line)
            known = name.text in _CONNECTING or name.text.startswith(_OWN_PREFIX)
            if not known or not isinstance(node, Scalar):
                continue
            if "{{" in node.text:
                self.importer.templates[f"{name.text} ({where})"] = None
            else:
                self.importer.setting(name.text, node.text, into, where)


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
    if text.startswith(_VAULT):
        raise InventoryError("this inventory is encrypted by ansible-vault", where=str(path), hint=_EXPORT)
    for line, raw in enumerate(text.splitlines(), 1):
        content = raw.strip()
        if not content or content[0] in "#;":
            continue
        if content.startswith("[") and (section := _SECTION.fullmatch(content)):
            name, part = section["name"].strip(), section["part"] or "hosts"
            importer.group(name, line)
            continue
        if content[0] == "[" and not _IN_BRACKETS.match(content):
            hint = "[NAME], [NAME:vars] or [NAME:children]"
            raise InventoryError(f"{content!r} is no section", where=importer.place(line), hint=hint)
        _ini_line(importer, content, importer.group(name, line), part, line)
    return importer.done()


def _ini_line(importer: _Importer, content: str, group: Group, part: str, line: int) -> None:
    if part == "vars":
        name, equals, value = content.partition("=")
        if not equals:
            raise InventoryError("a variable is written NAME=VALUE", where=importer.place(line))
        importer.setting(name.strip(), _literal(value.strip()), group.settings, importer.place(line))
        return
    try:
        words = shlex.split(content, comments=True) if _SPECIAL.search(content) else content.split()
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
            hint = "no blanks around =, and quotes around a value with blanks"
            raise InventoryError(f"{word!r} is no NAME=VALUE", where=importer.place(line), hint=hint)
        importer.setting(name, value, settings, importer.place(line))
    importer.host(words[0], settings, group, line)


def _literal(text: str) -> str:
    """A value of a vars section: Python's literals are what they stand for, as in Ansible; other texts themselves."""
    if not _QUOTED.fullmatch(text):
        bare = text.partition(" #")[0].strip()
        return bare if bare.isdigit() else text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # backslashes that stand for themselves: DOMAIN\\user
            return str(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def read_yaml(tree: Node, path: Path) -> Declarations:
    """The declarations of a YAML inventory."""
    importer = _Importer(path)
    if isinstance(tree, Mapping) and any(name.text == "_meta" for name, _ in tree):
        what = "this is what scripts give to Ansible, and no inventory"
        raise InventoryError(what, where=importer.place(tree.line), hint=_EXPORT)
    # A list of work instead of recursion; nesting is bounded by the reader, aliases by their unfolded size.
    pending = [(name, node) for name, node in _pairs(path, tree)]
    while pending:
        name, node = pending.pop(0)
        group = importer.group(name.text, name.line)
        for key, value in _pairs(path, node):
            match key.text:
                case "hosts":
                    for host, variables in _pairs(path, value):
                        importer.host(host.text, _yaml_settings(importer, variables), group, host.line)
                case "vars":
                    group.settings |= _yaml_settings(importer, value)
                case "children":
                    for child, content in _pairs(path, value):
                        group.children.setdefault(child.text, importer.place(child.line))
                        pending.append((child, content))
                case _:
                    hint = "hosts, children or vars"
                    raise InventoryError(f"unknown key {key.text!r}", where=importer.place(key.line), hint=hint)
    return importer.done()


def _pairs(path: Path, node: Node) -> Iterator[tuple[Scalar, Node]]:
    match node:
        case Mapping():
            yield from node
        case Scalar() if node.is_null:
            return
        case _:
            raise InventoryError(f"a mapping is expected, not {kind(node)}", where=Place(str(path), node.line))


def _yaml_settings(importer: _Importer, node: Node) -> Settings:
    settings: Settings = {}
    for name, value in _pairs(importer.path, node):
        if isinstance(value, (Mapping, Sequence)):
            importer.ignored[name.text] = None
            continue
        importer.setting(name.text, value.text, settings, importer.place(name.line))
    return settings
