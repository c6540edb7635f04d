"""Approvals: who accepted what, why, where and until when. YAML files, one or many; every use is counted.

An approval matches identity and attributes of an entity, never a GUID or a file name alone. An expired one stops
working and is reported, and so is one that nothing used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import yaml

from fleetscan.domain.paths import normalise
from fleetscan.errors import ApprovalError, Place
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fleetscan.domain.entity import Entity, Pairs

_SCOPES = ("host", "group", "fleet")
_KEYS = frozenset(
    ("id", "owner", "reason", "created", "expires", "scope", "hosts", "groups", "entity", "attributes", "sha256")
)
_NEEDED = ("owner", "reason", "created", "expires", "entity")


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

    def covers_host(self, host: str, groups: Sequence[str]) -> bool:
        """Is the host within its scope?"""
        if self.scope == "fleet":
            return True
        if self.scope == "group":
            return any(fnmatchcase(group.lower(), wanted.lower()) for group in groups for wanted in self.groups)
        return any(fnmatchcase(host.lower(), wanted.lower()) for wanted in self.hosts)

    def matches(self, entity: Entity, sha256: str = "") -> bool:
        """Do kind, every identity field and every attribute agree?"""
        if self.kind != entity.kind or (self.sha256 and self.sha256.lower() != sha256.lower()):
            return False
        if dict(entity.ident[1]) != {name: fold(value) for name, value in self.identity}:
            return False
        return all(_same(name, value, entity) for name, value in self.attributes)


def _same(name: str, value: str, entity: Entity) -> bool:
    found = entity.get(name)
    if name == "dll":
        return value.lower() == found.lower() or normalise(value).token == found
    return value == found


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
        for approval in _load(file):
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


def _load(file: Path) -> Iterator[Approval]:
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ApprovalError("the approvals file cannot be read", where=str(file), hint=str(error)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(str(file), mark.line + 1 if mark else None)
        raise ApprovalError(
            "the approvals file is not valid YAML", where=place, hint="check the indentation"
        ) from error
    if node is None:
        return
    items = _items(node, file)
    problems: list[ApprovalError] = []
    for item in items:
        place = Place(str(file), item.start_mark.line + 1)
        try:
            yield _approval(_value(item, place), place)
        except ApprovalError as problem:
            problems.append(problem)
    if problems:
        others = "; ".join(str(problem) for problem in problems[1:])
        first = problems[0]
        raise ApprovalError(first.what + (f" (and: {others})" if others else ""), where=first.where, hint=first.hint)


def _items(node: yaml.Node, file: Path) -> list[yaml.Node]:
    place = Place(str(file), node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value != "approvals":
                where = Place(str(file), key.start_mark.line + 1)
                raise ApprovalError(f"unknown key {key.value!r}", where=where, hint="approvals: [...]")
            if isinstance(value, yaml.SequenceNode):
                return list(value.value)
            if isinstance(value, yaml.ScalarNode) and not value.value:
                return []  # a file that waits for its first approval
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    raise ApprovalError("an approvals file is a list of approvals", where=place, hint="approvals: [...]")


def _value(node: yaml.Node, place: Place) -> object:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as error:
        raise ApprovalError(f"not valid: {error}", where=place, hint="a date is written 2027-03-31") from error
    finally:
        loader.dispose()


def _approval(item: object, place: Place) -> Approval:
    if not isinstance(item, dict):
        raise ApprovalError("an approval is a mapping", where=place, hint="owner, reason, created, expires, entity")
    unknown = sorted(str(key) for key in item if key not in _KEYS)
    if unknown:
        raise ApprovalError(
            f"unknown keys {', '.join(unknown)}", where=place, hint=f"known: {', '.join(sorted(_KEYS))}"
        )
    missing = [key for key in _NEEDED if not item.get(key)]
    if missing:
        raise ApprovalError(f"missing {', '.join(missing)}", where=place, hint="fleetscan approve writes all of them")
    entity = item["entity"]
    if not isinstance(entity, dict) or not isinstance(entity.get("kind"), str) or len(entity) < 2:  # noqa: PLR2004 - kind and one field
        raise ApprovalError(
            "entity needs kind and identity", where=place, hint="entity: {kind: sip, view: native, ...}"
        )
    attributes = _pairs(item.get("attributes") or {}, "attributes", place)
    sha256 = str(item.get("sha256") or "")
    if not attributes and not sha256:
        raise ApprovalError(
            "an approval by identity alone would approve whatever is put there",
            where=place,
            hint="add attributes (dll, function...) or sha256",
        )
    created, expires = _day(item, "created", place), _day(item, "expires", place)
    if expires < created:
        raise ApprovalError(f"expires {expires} before it was created {created}", where=place, hint="check the dates")
    return _scoped(item, entity, attributes, (created, expires), place)


def _scoped(
    item: Mapping[str, Any], entity: Mapping[str, Any], attributes: Pairs, dates: tuple[date, date], place: Place
) -> Approval:
    scope = str(item.get("scope") or "host")
    if scope not in _SCOPES:
        raise ApprovalError(f"unknown scope {scope!r}", where=place, hint="host, group or fleet")
    hosts, groups = _texts(item.get("hosts")), _texts(item.get("groups"))
    if (scope == "host" and not hosts) or (scope == "group" and not groups):
        raise ApprovalError(f"scope {scope} needs {scope}s", where=place, hint=f"{scope}s: [name, ...]")
    identity = _pairs({key: value for key, value in entity.items() if key != "kind"}, "entity", place)
    return Approval(
        id=str(item.get("id") or f"{place.name}:{place.line}"),
        owner=str(item["owner"]),
        reason=str(item["reason"]),
        created=dates[0],
        expires=dates[1],
        scope=scope,
        kind=entity["kind"],
        identity=identity,
        attributes=attributes,
        hosts=hosts,
        groups=groups,
        sha256=str(item.get("sha256") or ""),
        where=place,
    )


def _pairs(value: object, name: str, place: Place) -> Pairs:
    if not isinstance(value, dict):
        raise ApprovalError(f"{name} is a mapping", where=place, hint=f"{name}: {{name: value}}")
    return tuple((str(key), "" if text is None else str(text)) for key, text in value.items())


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _day(item: Mapping[str, Any], key: str, place: Place) -> date:
    value = item[key]
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise ApprovalError(f"{key} is no date: {value!r}", where=place, hint="a date is written 2027-03-31")


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


def use(approvals: Iterable[Approval], uses: Mapping[str, int], today: date) -> tuple[ApprovalUse, ...]:
    """Every approval with its number of uses, the expired and the unused named as such."""
    found = []
    for approval in approvals:
        count = uses.get(approval.id, 0)
        state = "expired" if approval.is_expired(today) else "active" if count else "never used"
        found.append(ApprovalUse(approval, count, state))
    return tuple(found)
