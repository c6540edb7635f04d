"""Approvals: who accepted what, why, where and until when. YAML files, one or many; every use is counted.

An approval matches identity and attributes of an entity, never a GUID or a file name alone. An expired one stops
working and is reported, and so is one that nothing used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

import yaml

from fleetscan.domain.paths import normalise
from fleetscan.errors import ApprovalError, InventoryError, Place
from fleetscan.inventory.document import MAX_BYTES, Mapping, Node, Scalar, Sequence, kind, parse
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Mapping as Lookup
    from pathlib import Path

    from fleetscan.domain.entity import Entity, Ident, Pairs

_SCOPES = ("host", "group", "fleet")
_KEYS = frozenset(
    ("id", "owner", "reason", "created", "expires", "scope", "hosts", "groups", "entity", "attributes", "sha256")
)
_NEEDED = ("owner", "reason", "created", "expires", "entity")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")

PINS: Final[Lookup[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("sip", "trust", "oid_other", "winsock_protocol", "winsock_netbios", "winsock_namespace", "winsock_helper"),
        ("dll",),
    ),
    "winsock_scalar": ("dll", "data"),
    "winsock_appid": ("path",),
    "registry_value": ("data",),
    "file": (),
    "module": ("process",),
}
"""By kind of entity, the attributes of which one must be named: what is loaded, or what it says. A hash always does.

Without that an approval would hold whatever is put under the same GUID or file name tomorrow.
"""

_BARE = frozenset({"registry_key"})
"""Kinds that are nothing but their identity: the values of an approved key are matters of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One approval. ``hosts`` and ``groups`` are patterns (``*`` and ``?``); scope fleet needs neither."""

    id: str
    owner: str
    reason: str
    created: date
    expires: date
    scope: str
    kind: str
    identity: Pairs
    attributes: Pairs
    hosts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    sha256: str = ""
    where: Place | None = None

    def is_expired(self, today: date) -> bool:
        """Valid through the day of expiry."""
        return today > self.expires

    def covers_host(self, host: str, groups: Iterable[str]) -> bool:
        """Is the host within its scope?"""
        if self.scope == "fleet":
            return True
        if self.scope == "group":
            return any(fnmatchcase(group.lower(), wanted.lower()) for group in groups for wanted in self.groups)
        return any(fnmatchcase(host.lower(), wanted.lower()) for wanted in self.hosts)

    @property
    def ident(self) -> Ident:
        """What it speaks of, to be found by; in the order of names, because people write them in any."""
        return self.kind, tuple(sorted((name, fold(value)) for name, value in self.identity))

    def names(self, entity: Entity) -> bool:
        """Do kind, every identity field and every attribute agree?"""
        if self.ident != ident_of(entity):
            return False
        found = dict(entity.attributes)
        return all(name in found and _same(name, value, found[name]) for name, value in self.attributes)

    def matches(self, entity: Entity, sha256: str = "") -> bool:
        """Does it name the entity, and is the file the one that was approved?"""
        return self.names(entity) and (not self.sha256 or self.sha256.lower() == sha256.lower())


def ident_of(entity: Entity) -> Ident:
    """The entity's identity as ``Approval.ident`` spells it."""
    return entity.kind, tuple(sorted(entity.ident[1]))


def _same(name: str, value: str, found: str) -> bool:
    if name == "dll":
        return value.lower() == found.lower() or normalise(value).token == found
    return value == found


@dataclass(frozen=True, slots=True)
class ApprovalIndex:
    """The approvals that stand today, by what they speak of: many of them cost a sweep nothing."""

    by_ident: Lookup[Ident, tuple[Approval, ...]]

    @classmethod
    def standing(cls, approvals: Iterable[Approval], today: date) -> ApprovalIndex:
        """Without those that have expired."""
        found: dict[Ident, list[Approval]] = {}
        for approval in approvals:
            if not approval.is_expired(today):
                found.setdefault(approval.ident, []).append(approval)
        return cls({ident: tuple(items) for ident, items in found.items()})

    def of(self, entity: Entity, host: str, groups: Iterable[str]) -> tuple[Approval, ...]:
        """Those that name an entity of that host; whether the file is the right one is not looked at."""
        there = tuple(groups)
        found = self.by_ident.get(ident_of(entity), ()) if self.by_ident else ()
        return tuple(one for one in found if one.covers_host(host, there) and one.names(entity))


@dataclass(frozen=True, slots=True)
class ApprovalUse:
    """An approval with the number of findings it approved in a sweep; ``state`` active, expired or never used."""

    approval: Approval
    uses: int
    state: str


def load_approvals(paths: Iterable[Path]) -> tuple[Approval, ...]:
    """The approvals of all files; a folder stands for its ``*.yml`` and ``*.yaml``.

    Raises ApprovalError that lists every problem of the first file that has any.
    """
    found: list[Approval] = []
    seen: dict[str, Place | None] = {}
    for file in _files(paths):
        for approval in parse_approvals(_read(file), str(file)):
            if approval.id in seen:
                raise ApprovalError(
                    f"the approval {approval.id} exists twice",
                    where=approval.where,
                    hint=f"the other: {seen[approval.id]}",
                )
            seen[approval.id] = approval.where
            found.append(approval)
    return tuple(found)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.suffix in {".yml", ".yaml"})
        else:
            yield path


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ApprovalError("the approvals file is too large", where=str(file), hint="split it into a folder")
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ApprovalError(f"the approvals file cannot be read: {reason}", where=str(file)) from error


def parse_approvals(text: str, name: str) -> tuple[Approval, ...]:
    """The approvals of one text; ``name`` is the file in messages. ApprovalError lists every problem."""
    try:
        items = _items(parse(text, name), name)
    except InventoryError as error:  # of the reader of YAML, which has no other
        raise ApprovalError(f"not valid YAML: {error.what}", where=error.where, hint=error.hint) from error
    found: list[Approval] = []
    problems: list[ApprovalError] = []
    for item in items:
        try:
            found.append(_Item.of(item, name).approval())
        except ApprovalError as problem:
            problems.append(problem)
    if problems:
        others = "; ".join(str(problem) for problem in problems[1:])
        first = problems[0]
        raise ApprovalError(first.what + (f" (and: {others})" if others else ""), where=first.where, hint=first.hint)
    return tuple(found)


def _items(root: Node, name: str) -> tuple[Node, ...]:
    match root:
        case Sequence(items):
            return items
        case Mapping(items):
            for key, _ in items:
                if key.text != "approvals":
                    raise ApprovalError(
                        f"unknown key {key.text!r}", where=Place(name, key.line), hint="approvals: [...]"
                    )
            match [value for _, value in items]:
                case [] | [Scalar(text="", quoted=False)]:
                    return ()  # a file that waits for its first approval
                case [Sequence(approvals)]:
                    return approvals
                case _:
                    pass
        case Scalar():
            pass
    raise ApprovalError(
        "an approvals file is a list of approvals", where=Place(name, root.line), hint="approvals: [...]"
    )


@dataclass(frozen=True, slots=True)
class _Item:
    """One approval as it stands in a file: its fields by name, and where each stands."""

    fields: Lookup[str, Node]
    file: str
    line: int

    @classmethod
    def of(cls, node: Node, file: str) -> _Item:
        if not isinstance(node, Mapping):
            raise ApprovalError(
                "an approval is a mapping", where=Place(file, node.line), hint="owner, reason, created, expires, entity"
            )
        unknown = [key for key, _ in node if key.text not in _KEYS]
        if unknown:
            names = ", ".join(sorted(key.text for key in unknown))
            known = f"known: {', '.join(sorted(_KEYS))}"
            raise ApprovalError(f"unknown keys {names}", where=Place(file, unknown[0].line), hint=known)
        return cls({key.text: value for key, value in node if not _is_empty(value)}, file, node.line)

    def place(self, name: str = "") -> Place:
        """Where a field stands, or the approval."""
        node = self.fields.get(name)
        return Place(self.file, node.line if node else self.line)

    def error(self, what: str, name: str, hint: str) -> ApprovalError:
        return ApprovalError(what, where=self.place(name), hint=hint)

    def text(self, name: str, default: str = "") -> str:
        node = self.fields.get(name)
        if node is None:
            return default
        if not isinstance(node, Scalar):
            raise self.error(f"{name} is {kind(node)}, not a text", name, f"{name}: text")
        return node.text.strip()

    def texts(self, name: str) -> tuple[str, ...]:
        node = self.fields.get(name)
        nodes = () if node is None else node.items if isinstance(node, Sequence) else (node,)
        found = tuple(one.text.strip() for one in nodes if isinstance(one, Scalar))
        if len(found) < len(nodes) or not all(found):
            raise self.error(f"{name} is a list of names", name, f"{name}: [name, ...]")
        return found

    def pairs(self, name: str) -> Pairs:
        node = self.fields.get(name)
        if node is None:
            return ()
        if not isinstance(node, Mapping):
            raise self.error(f"{name} is a mapping", name, f"{name}: {{name: value}}")
        found = tuple((key.text, value.text) for key, value in node if isinstance(value, Scalar))
        if len(found) < len(node.items):
            raise self.error(f"{name} holds more than texts", name, f"{name}: {{name: value}}")
        return found

    def day(self, name: str) -> date:
        text = self.text(name)
        try:
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
                return date.fromisoformat(text)
        except ValueError:
            pass
        raise self.error(f"{name} is no date: {text!r}", name, "a date is written 2027-03-31")

    def approval(self) -> Approval:
        """The approval; ApprovalError for the first thing that is wrong with it."""
        missing = [name for name in _NEEDED if name not in self.fields]
        if missing:
            raise self.error(f"missing {', '.join(missing)}", "", "fleetscan approve writes all of them")
        created, expires = self.day("created"), self.day("expires")
        if expires < created:
            raise self.error(f"expires {expires} before it was created {created}", "expires", "check the dates")
        entity = dict(self.pairs("entity"))
        kind_of = entity.pop("kind", "")
        if not kind_of or not entity:
            raise self.error("entity needs kind and identity", "entity", "entity: {kind: sip, view: native, ...}")
        scope, hosts, groups = self.scope()
        return Approval(
            id=self.text("id") or str(self.place()),
            owner=self.text("owner"),
            reason=self.text("reason"),
            created=created,
            expires=expires,
            scope=scope,
            kind=kind_of,
            identity=tuple(entity.items()),
            attributes=self.attributes(kind_of, entity),
            hosts=hosts,
            groups=groups,
            sha256=self.text("sha256"),
            where=self.place(),
        )

    def attributes(self, kind_of: str, identity: Lookup[str, str]) -> Pairs:
        """What is pinned; ApprovalError where it would hold whatever stands under the same name."""
        found = self.pairs("attributes")
        sha256 = self.text("sha256")
        if sha256 and not _SHA256.fullmatch(sha256):
            raise self.error("sha256 is not a SHA-256", "sha256", "64 hexadecimal digits, as triage shows them")
        if twice := [name for name, _ in found if name in identity]:
            raise self.error(f"{', '.join(twice)} is identity, it pins nothing", "attributes", "name what is there")
        if why := unpinned(kind_of, [name for name, _ in found], sha256):
            raise self.error(why, "attributes", "add attributes (dll, function...) or sha256")
        return found

    def scope(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """Scope, hosts and groups; what the scope does not use is a contradiction and not silently left out."""
        scope = self.text("scope", "host")
        if scope not in _SCOPES:
            raise self.error(f"unknown scope {scope!r}", "scope", "host, group or fleet")
        named = {"host": self.texts("hosts"), "group": self.texts("groups")}
        for word, names in named.items():
            if scope == word and not names:
                raise self.error(f"scope {scope} needs {scope}s", "scope", f"{scope}s: [name, ...]")
            if scope != word and names:
                raise self.error(f"scope {scope} does not go with {word}s", f"{word}s", f"scope: {word}")
        return scope, named["host"], named["group"]


def unpinned(kind_of: str, attributes: Iterable[str], sha256: str) -> str:
    """Why an approval would hold for more than was looked at; empty if it would not."""
    named = set(attributes)
    if sha256 or "sha256" in named or kind_of in _BARE:
        return ""
    if not named:
        return "an approval by identity alone would approve whatever is put there"
    wanted = PINS.get(kind_of)
    if wanted is None or named & set(wanted):
        return ""
    which = " or ".join((*wanted, "sha256"))
    return f"an approval of {kind_of} without {which} would approve whatever is put there"


def _is_empty(node: Node) -> bool:
    match node:
        case Scalar():
            return node.is_null or not node.text.strip()
        case Mapping(items) | Sequence(items):
            return not items


def to_yaml(approval: Approval) -> str:
    """One list item, as ``fleetscan approve`` appends it."""
    document: dict[str, Any] = {
        "id": approval.id,
        "owner": approval.owner,
        "reason": approval.reason,
        "created": approval.created,
        "expires": approval.expires,
        "scope": approval.scope,
    }
    if approval.hosts:
        document["hosts"] = list(approval.hosts)
    if approval.groups:
        document["groups"] = list(approval.groups)
    document["entity"] = {"kind": approval.kind, **dict(approval.identity)}
    document["attributes"] = dict(approval.attributes)
    if approval.sha256:
        document["sha256"] = approval.sha256
    return yaml.safe_dump([document], sort_keys=False, allow_unicode=False, width=110)


def appended(text: str, approval: Approval) -> str:
    """The text of an approvals file with one more, indented as those that stand there."""
    item = to_yaml(approval)
    indent = _ITEM.findall(text)
    if indent or _LIST.search(text):
        space = indent[-1] if indent else "  "
        item = "".join(f"{space}{line}\n" for line in item.splitlines())
    return text + ("" if not text or text.endswith("\n") else "\n") + item


_ITEM = re.compile(r"^( *)- +(?=\S+:)", re.MULTILINE)
_LIST = re.compile(r"^approvals:\s*(?:#.*)?$", re.MULTILINE)


def use(approvals: Iterable[Approval], uses: Lookup[str, int], today: date) -> tuple[ApprovalUse, ...]:
    """Every approval with its number of uses, the expired and the unused named as such."""
    found = []
    for approval in approvals:
        count = uses.get(approval.id, 0)
        state = "expired" if approval.is_expired(today) else "active" if count else "never used"
        found.append(ApprovalUse(approval, count, state))
    return tuple(found)
