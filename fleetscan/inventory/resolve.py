"""Declarations of any inventory format, resolved: which hosts there are, in which groups, with which settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from fleetscan.errors import InventoryError, Place
from fleetscan.inventory.ranges import MAX_HOSTS
from fleetscan.inventory.vocabulary import DEFAULT_ENGINE, Value, suggestion
from fleetscan.model.host import Host, HostId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ALL = "all"
"""The group of every host."""

_NEEDED = {"embedded": ("hives", "the folder of hives"), "recorded": ("recording", "the folder of a recording")}
"""The setting without which an engine has nothing to read."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and the place where it was written."""

    value: Value
    where: Place


Settings = dict[str, Setting]


@dataclass(slots=True)
class Group:
    """A group as written."""

    where: Place
    hosts: dict[str, Place] = field(default_factory=dict)
    children: dict[str, Place] = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    overrides: Settings = field(default_factory=dict)
    """Settings that win over those of every group, nearer ones too: Ansible's group_vars."""
    concurrency: int | None = None


@dataclass(slots=True)
class Declarations:
    """What a reader found: hosts with their own settings, groups, and notes for the user.

    ``lenient`` follows Ansible where two groups disagree (the last in alphabet wins); else that is an error. ``settle``
    has the last word on the settings of each host.
    """

    hosts: dict[str, Settings] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    lenient: bool = False
    settle: Callable[[Settings], Settings] = lambda settings: settings
    spelling: dict[str, tuple[str, Place]] = field(default_factory=dict)

    def add_host(self, name: str, settings: Settings, where: Place) -> None:
        """Declare a host, or add settings to one; two different values for one setting are an error."""
        first, place = self.spelling.setdefault(name.lower(), (name, where))
        if first != name:
            raise InventoryError(f"{name} and {first} are one host ({place})", where=where, hint=f"write {first}")
        if len(self.hosts) >= MAX_HOSTS:
            raise InventoryError(f"more than {MAX_HOSTS} hosts", where=where)
        own = self.hosts.setdefault(name, {})
        for key, setting in settings.items():
            before = own.setdefault(key, setting)
            if before.value != setting.value and not self.lenient:
                raise InventoryError(f"{name} has another {key} at {before.where}", where=setting.where)
            own[key] = setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Hosts in the order of the file, groups with all their hosts (children's too), and limits of groups."""

    source: str
    hosts: tuple[Host, ...]
    groups: Mapping[str, frozenset[HostId]]
    concurrency: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Host]:
        """The hosts."""
        return iter(self.hosts)

    def __len__(self) -> int:
        """How many hosts."""
        return len(self.hosts)


def resolve(declared: Declarations, source: str) -> Inventory:
    """The inventory that was declared; unknown children, cycles and contradictions are errors with their line."""
    _check_children(declared)
    ancestors = _ancestors(declared)
    memberships: dict[str, dict[str, None]] = {name: {} for name in declared.hosts}
    for name, group in declared.groups.items():
        for host in group.hosts:
            memberships[host].update(dict.fromkeys((name, *ancestors[name])))
    hosts = tuple(_host(declared, name, tuple(groups), ancestors) for name, groups in memberships.items())
    _check_sockets(declared, hosts)
    members: dict[str, set[HostId]] = {name: set() for name in (*declared.groups, ALL)}
    for host_ in hosts:
        for name in (*host_.groups, ALL):
            members[name].add(host_.id)
    return Inventory(
        source=source,
        hosts=hosts,
        groups=MappingProxyType({name: frozenset(ids) for name, ids in members.items()}),
        concurrency=MappingProxyType({n: g.concurrency for n, g in declared.groups.items() if g.concurrency}),
        notes=tuple(declared.notes),
    )


def _check_children(declared: Declarations) -> None:
    for group in declared.groups.values():
        for child, where in group.children.items():
            if child not in declared.groups:
                hint = suggestion(child, declared.groups)
                raise InventoryError(f"the child group {child!r} is not defined", where=where, hint=hint)


def _ancestors(declared: Declarations) -> dict[str, tuple[str, ...]]:
    """For every group its ancestors, nearest first."""
    parents: dict[str, list[str]] = {name: [] for name in declared.groups}
    for name, group in declared.groups.items():
        for child in group.children:
            parents[child].append(name)
    return {name: _above(name, parents, declared) for name in declared.groups}


def _above(name: str, parents: Mapping[str, list[str]], declared: Declarations) -> tuple[str, ...]:
    distance = {name: 0}
    level = [name]
    while level:
        following = []
        for group in level:
            for parent in parents[group]:
                if parent == name:
                    where = declared.groups[parent].children[group]
                    raise InventoryError(f"the group {name!r} is its own descendant", where=where)
                if distance.get(parent, -1) < distance[group] + 1 <= len(parents):
                    distance[parent] = distance[group] + 1
                    following.append(parent)
        level = list(dict.fromkeys(following))
    del distance[name]
    return tuple(sorted(distance, key=lambda group: distance[group]))


def _check_sockets(declared: Declarations, hosts: tuple[Host, ...]) -> None:
    """A socket of osqueryd leads to one machine: a second host would be covered by the first one's answers."""
    first: dict[tuple[Value, Value], HostId] = {}
    for host in hosts:
        if host.engine != "osqueryd":
            continue
        settings = host.settings  # each site has a worker of its own, which is another machine
        if (other := first.setdefault((settings.get("socket", ""), settings.get("site", "")), host.id)) != host.id:
            where = next((g.hosts[host.id] for g in declared.groups.values() if host.id in g.hosts), None)
            what = f"{host.id} and {other} have one socket, but osqueryd answers for its own machine only"
            hint = "one host with engine osqueryd; others with engine osqueryi, over SSH"
            raise InventoryError(what, where=where, hint=hint)


def _host(declared: Declarations, name: str, groups: tuple[str, ...], ancestors: Mapping[str, tuple[str, ...]]) -> Host:
    merged: Settings = {}
    if ALL in declared.groups and ALL not in groups:
        groups = (*groups, ALL)
    givers: dict[str, str] = {}
    # From far to near, so that the nearer group overwrites; the alphabet decides between unrelated ones (Ansible).
    for group in sorted(groups, key=lambda group: (group != ALL, len(ancestors[group]), group)):
        for key, setting in declared.groups[group].settings.items():
            giver = givers.get(key)
            related = giver is None or giver == ALL or giver in ancestors[group]
            if (
                not related
                and merged[key].value != setting.value
                and not declared.lenient
                and not _own(declared, name, key)
            ):
                raise InventoryError(
                    f"{name}: the groups {giver} ({merged[key].where}) and {group} give it another {key}",
                    where=setting.where,
                    hint=f"set {key} on the host, or make one group a child of the other",
                )
            merged[key] = setting
            givers[key] = group
    for group in sorted(groups, key=lambda group: (group != ALL, len(ancestors[group]), group)):
        merged |= declared.groups[group].overrides
    merged |= declared.hosts[name]
    merged = declared.settle(merged)
    values = {key: setting.value for key, setting in merged.items()}
    engine = str(values.pop("engine", DEFAULT_ENGINE))
    needed, what = _NEEDED.get(engine, ("", ""))
    if needed and needed not in values:
        where = merged["engine"].where
        raise InventoryError(f"{name}: the engine {engine} needs {what}", where=where, hint=f"{needed}: PATH")
    return Host(
        id=HostId(name),
        engine=engine,
        groups=tuple(group for group in groups if group != ALL),
        settings=MappingProxyType(values),
    )


def _own(declared: Declarations, name: str, key: str) -> bool:
    return key in declared.hosts[name]
