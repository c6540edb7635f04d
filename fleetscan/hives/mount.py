r"""A machine's registry as one tree: hives under their live names, links resolved, and what is missing or damaged.

Windows keeps some of its tree in memory only; the mount makes these parts again:

* ``HKLM\SYSTEM\CurrentControlSet`` is a link to ``ControlSet<Select\Current>``; a key of that name in a file stays.
* ``HKU\S-1-5-18`` is a link to ``HKU\.DEFAULT``; ``HKU\<SID>\Software\Classes`` is a link to ``HKU\<SID>_Classes``.
* ``HKEY_CURRENT_USER`` is what a service running as SYSTEM sees: a link to ``HKU\.DEFAULT``.
* ``HKEY_CLASSES_ROOT`` is that account's merged view: ``HKCU\Software\Classes`` over ``HKLM\SOFTWARE\Classes``.
* ``HKEY_CURRENT_CONFIG`` is a link to the current hardware profile.

None of these is stored anywhere: what they show stands under HKEY_LOCAL_MACHINE or HKEY_USERS as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from fleetscan.hives.environment import environment_of
from fleetscan.hives.tree import MemoryKey
from fleetscan.model.environment import SYSTEM_ENVIRONMENT
from fleetscan.model.registry import HKLM, HKU, KeyPath, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fleetscan.hives.tree import Damage, Key, MemoryRegistry, Value

MOST_LINKS = 32
"""Links followed on the way to one key; a loop of links ends here (Windows has a bound as well)."""

MACHINE_HIVES = ("SOFTWARE", "SYSTEM", "SAM", "SECURITY")
"""Hives every Windows has below HKEY_LOCAL_MACHINE."""

_HKCR, _HKCU, _HKCC = "HKEY_CLASSES_ROOT", "HKEY_CURRENT_USER", "HKEY_CURRENT_CONFIG"
_DEFAULT, _SYSTEM_SID = ".DEFAULT", "S-1-5-18"
_NAMESPACE = {"MACHINE": HKLM, "USER": HKU}
_DWORD = 4


def no_damages() -> tuple[Damage, ...]:
    """The damages of contents that cannot be damaged."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    r"""One machine's registry, read lazily.

    ``roots`` are the hive roots by their long name. ``environment`` expands REG_EXPAND_SZ. ``missing`` are the keys
    whose hive the source lacks (``HKEY_LOCAL_MACHINE\SAM``, ``HKEY_USERS\<SID of ProfileList>``): nothing below them is
    known. ``exported`` are the topmost keys of .reg exports: of the hives they stand in, only these and what is below
    is known (for HKEY_USERS that includes which users there are). ``damages()`` is what was found damaged up to now:
    reading more keys may find more.
    """

    roots: Mapping[str, Key]
    environment: Mapping[str, str] = field(default_factory=lambda: SYSTEM_ENVIRONMENT)
    missing: tuple[KeyPath, ...] = ()
    exported: tuple[KeyPath, ...] = ()
    damages: Callable[[], tuple[Damage, ...]] = no_damages
    sources: tuple[str, ...] = ()
    """The files it was made of."""
    unused: tuple[tuple[str, str], ...] = ()
    """Files of the machine that were not used: file, reason."""

    def open(self, elements: Sequence[str]) -> Key | None:
        """The key of these elements, first a root as spelled in ``roots``; links are followed, also the last one.

        None if there is no such key or the links go round in a circle or to nowhere.
        """
        left = MOST_LINKS
        while left:
            found = self._descend(elements)
            if not isinstance(found, _Link):
                return found
            elements = found.elements
            left -= 1
        return None

    def parts(self) -> tuple[KeyPath, ...]:
        """The exported keys under every name by which the tree shows them: as stored, and through the mount's links."""
        found = dict.fromkeys(self.exported)
        for link, target in self._links() if found else ():
            for top in self.exported:
                if target.starts_with(top):
                    found[link] = None
                elif top.starts_with(target):
                    found[KeyPath((*link.elements, *top.elements[len(target.elements) :]))] = None
        return tuple(found)

    def _links(self) -> Iterator[tuple[KeyPath, KeyPath]]:
        users = root.subkeys() if (root := self.roots.get(HKU)) else ()
        places = [(HKLM, "SYSTEM", "CurrentControlSet"), (HKU, _SYSTEM_SID)]
        places += [(HKU, user.name, "Software", "Classes") for user in users if user.link_target is None]
        for place in places:
            if isinstance(found := self._descend(place), _Link):
                yield KeyPath(place), KeyPath(found.elements)

    def _descend(self, elements: Sequence[str]) -> Key | _Link | None:
        if not elements or (key := self.roots.get(elements[0])) is None:
            return None
        for depth in range(len(elements)):
            if depth:
                below = key.subkey(elements[depth])
                if below is None:
                    return None
                key = below
            if (target := key.link_target) is not None:
                return _Link((*link_elements(target), *elements[depth + 1 :]))
        return key


@dataclass(frozen=True, slots=True)
class _Link:
    """A link on the way: the elements to go on with."""

    elements: tuple[str, ...]


def link_elements(target: str) -> tuple[str, ...]:
    r"""The elements of a link's target, ``\Registry\Machine\...``, ``\Registry\User\...`` or in long form."""
    elements = tuple(element for element in target.split("\\") if element)
    if len(elements) > 1 and elements[0].upper() == "REGISTRY" and elements[1].upper() in _NAMESPACE:
        return (_NAMESPACE[elements[1].upper()], *elements[2:])
    return elements


def contents(memory: MemoryRegistry, *, environment: Mapping[str, str] | None = None) -> Registry:
    """Exactly these contents: no link, view or hive is added, nothing counts as missing."""
    return Registry(roots=MappingProxyType(dict(memory.roots)), environment=environment or SYSTEM_ENVIRONMENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hives:
    """The root keys of a machine's hives by the name they are mounted under.

    ``machine`` below HKEY_LOCAL_MACHINE, ``users`` below HKEY_USERS; ``roots`` are further hive roots, which then stand
    instead of the views.
    """

    machine: Mapping[str, Key] = field(default_factory=lambda: MappingProxyType({}))
    users: Mapping[str, Key] = field(default_factory=lambda: MappingProxyType({}))
    roots: Mapping[str, Key] = field(default_factory=lambda: MappingProxyType({}))


def hives_of(memory: MemoryRegistry) -> Hives:
    """The keys that stand where hives are mounted, as exports show them."""
    return Hives(
        machine={key.name: key for key in memory.roots[HKLM].subkeys()},
        users={key.name: key for key in memory.roots[HKU].subkeys()},
        roots={name: key for name, key in memory.roots.items() if name not in {HKLM, HKU}},
    )


def mount(
    hives: Hives,
    *,
    environment: Mapping[str, str] | None = None,
    missing: tuple[KeyPath, ...] = (),
    exported: tuple[KeyPath, ...] = (),
    damages: Callable[[], tuple[Damage, ...]] = no_damages,
    sources: tuple[str, ...] = (),
    unused: tuple[tuple[str, str], ...] = (),
) -> Registry:
    """The machine's tree with the parts that Windows keeps in memory; see the module.

    ``environment`` None: what the registry itself tells. Hives of MACHINE_HIVES that are absent are missing, and
    HKEY_USERS is if it has no hive at all; ``missing`` names more. ``exported`` as in Registry.
    """
    machine = [_machine_hive(name, key) for name, key in hives.machine.items()]
    users = [_user_hive(name, key, hives.users) for name, key in hives.users.items()]
    folded = {fold(user.name) for user in users}
    if _DEFAULT in folded and _SYSTEM_SID not in folded:
        users.append(MemoryKey(_SYSTEM_SID, link_target=f"{HKU}\\{_DEFAULT}"))
    roots: dict[str, Key] = {HKLM: MountKey(HKLM, None, machine), HKU: MountKey(HKU, None, users)}
    plain = Registry(roots=roots)
    roots |= {**_views(plain), **hives.roots}
    return Registry(
        roots=MappingProxyType(roots),
        environment=environment_of(plain.open) if environment is None else environment,
        missing=(*_absent(hives), *missing),
        exported=exported,
        damages=damages,
        sources=sources,
        unused=unused,
    )


def _absent(hives: Hives) -> tuple[KeyPath, ...]:
    present = {fold(name) for name in hives.machine}
    absent = tuple(KeyPath((HKLM, name)) for name in MACHINE_HIVES if name not in present)
    return absent if hives.users else (*absent, KeyPath((HKU,)))


def _machine_hive(name: str, key: Key) -> Key:
    if fold(name) != "SYSTEM":
        return MountKey(name, key)
    if key.subkey("CurrentControlSet") is not None or (current := current_control_set(key)) is None:
        return MountKey(name, key)
    target = f"{HKLM}\\{name}\\ControlSet{current:03}"
    return MountKey(name, key, [MemoryKey("CurrentControlSet", link_target=target)])


def current_control_set(system: Key) -> int | None:
    r"""``Select\Current`` of a SYSTEM hive, if it is there and a number."""
    select = system.subkey("Select")
    for value in select.values() if select else ():
        if fold(value.name) == "CURRENT" and value.type == _DWORD and len(value.data) == _DWORD:
            return int.from_bytes(value.data, "little")
    return None


def _user_hive(name: str, key: Key, users: Mapping[str, Key]) -> Key:
    classes = fold(f"{name}_Classes")
    software = key.subkey("Software")
    if software is None or all(fold(other) != classes for other in users) or software.subkey("Classes") is not None:
        return MountKey(name, key)
    link = MemoryKey("Classes", link_target=f"{HKU}\\{name}_Classes")
    return MountKey(name, key, [MountKey(software.name, software, [link])])


def _views(registry: Registry) -> Mapping[str, Key]:
    """The roots that are views of the other two, as the SYSTEM account sees them."""
    views: dict[str, Key] = {}
    default = registry.open((HKU, _DEFAULT))
    if default is not None:
        views[_HKCU] = MemoryKey(_HKCU, link_target=f"{HKU}\\{_DEFAULT}")
    user = registry.open((HKU, _DEFAULT, "Software", "Classes"))
    machine = registry.open((HKLM, "SOFTWARE", "Classes"))
    if machine is not None or user is not None:
        views[_HKCR] = merged(_HKCR, user, machine)
    profiles = (HKLM, "SYSTEM", "CurrentControlSet", "Hardware Profiles")
    for profile in ("Current", "0001"):
        if registry.open((*profiles, profile)) is not None:
            views[_HKCC] = MemoryKey(_HKCC, link_target="\\".join((*profiles, profile)))
            break
    return views


class MountKey:
    """A key under another name and with keys added: the place where a hive hangs in the tree."""

    def __init__(self, name: str, below: Key | None, added: Sequence[Key] = ()) -> None:
        """``added`` keys stand before keys of the same name in ``below``; the order is by name."""
        self.name = name
        self._below = below
        self._added = {fold(key.name): key for key in added}

    @property
    def mtime(self) -> int:
        """See Key."""
        return self._below.mtime if self._below else 0

    @property
    def link_target(self) -> str | None:
        """See Key."""
        return self._below.link_target if self._below else None

    def subkeys(self) -> Sequence[Key]:
        """See Key."""
        stored = self._below.subkeys() if self._below else ()
        if not self._added:
            return stored
        kept = [key for key in stored if fold(key.name) not in self._added]
        return sorted([*kept, *self._added.values()], key=lambda key: fold(key.name))

    def subkey(self, name: str) -> Key | None:
        """See Key."""
        added = self._added.get(fold(name))
        return added if added is not None or self._below is None else self._below.subkey(name)

    def values(self) -> Sequence[Value]:
        """See Key."""
        return self._below.values() if self._below else ()


def merged(name: str, upper: Key | None, lower: Key | None) -> Key:
    """One key over another: subkeys of both, and a value of the upper one hides that of the same name below."""
    if upper is None or lower is None:
        return MountKey(name, upper or lower)
    return _MergedKey(name, upper, lower)


class _MergedKey:
    """Two keys seen as one."""

    link_target: str | None = None

    def __init__(self, name: str, upper: Key, lower: Key) -> None:
        self.name = name
        self._upper = upper
        self._lower = lower

    @property
    def mtime(self) -> int:
        """The upper key's, which is the one that is opened."""
        return self._upper.mtime

    def subkeys(self) -> Sequence[Key]:
        """See Key."""
        lower = {fold(key.name): key for key in self._lower.subkeys()}
        both: list[Key] = []
        for upper in self._upper.subkeys():
            below = lower.pop(fold(upper.name), None)
            both.append(upper if below is None else _MergedKey(upper.name, upper, below))
        return sorted([*both, *lower.values()], key=lambda key: fold(key.name))

    def subkey(self, name: str) -> Key | None:
        """See Key."""
        upper, lower = self._upper.subkey(name), self._lower.subkey(name)
        if upper is None or lower is None:
            return upper or lower
        return _MergedKey(upper.name, upper, lower)

    def values(self) -> Sequence[Value]:
        """See Key."""
        upper = self._upper.values()
        names = {fold(value.name) for value in upper}
        return [*upper, *(value for value in self._lower.values() if fold(value.name) not in names)]
