r"""One machine's files become one registry: each hive is opened, recognised and mounted; what is not is said.

A user's hive is mounted under the SID that ProfileList gives its folder, else under the one it names itself, else under
the name of its folder or file (the hive of new users has no SID: ``HKEY_USERS\Default``). A hive of no known place is
mounted below HKEY_LOCAL_MACHINE under its file's name, as ``reg load`` would; an export of HKEY_CURRENT_USER stands
under ``HKEY_USERS\CURRENT_USER`` as well.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from fleetscan.errors import HiveError
from fleetscan.hives.collection import Unused
from fleetscan.hives.environment import text_of
from fleetscan.hives.files import Content, read, stem
from fleetscan.hives.mount import MACHINE_HIVES, Hives, Registry, hives_of, mount
from fleetscan.hives.recognise import Kind, account, profile_folder, recognise
from fleetscan.hives.regf import Hive
from fleetscan.hives.regfile import apply_reg, decode_up_to_the_cut
from fleetscan.hives.tree import Damage, MemoryRegistry
from fleetscan.model.registry import HKLM, HKU, KeyPath, fold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetscan.hives.collection import File, Machine
    from fleetscan.hives.tree import Key

_PROFILE_LIST = ("Microsoft", "Windows NT", "CurrentVersion", "ProfileList")
_ACCOUNT = re.compile(r"S-1-(5-21|12-1)-[0-9-]+")
_SYSTEM_SID = "S-1-5-18"
_CURRENT_USER = "HKEY_CURRENT_USER"
_OWN_USER = "CURRENT_USER"


def load(machine: Machine, *, environment: Mapping[str, str] | None = None) -> Registry:
    """The registry of a machine. ``environment`` None: what the registry itself tells.

    Raises HiveError if none of its files can be read; if some can, the others are damages.
    """
    return _Loading(machine).registry(environment)


class _Loading:
    """The state while a machine's files are read one by one."""

    def __init__(self, machine: Machine) -> None:
        self._name = machine.name
        self._files = machine.files
        self._machine: dict[str, Key] = {}
        self._users: dict[str, Key] = {}
        self._roots: dict[str, Key] = {}
        self._hives: list[tuple[Hive, str]] = []
        self._damages: list[Damage] = []
        self._unused: list[Unused] = []
        self._sources: list[str] = []
        self._errors: list[HiveError] = []
        self._exported: tuple[KeyPath, ...] = ()
        self._profiles: dict[str, str] | None = None

    def registry(self, environment: Mapping[str, str] | None) -> Registry:
        later: list[tuple[File, Hive, Kind]] = []
        for file in self._files:
            hive = self._opened(file) if file.content is Content.HIVE else None
            if hive is None:
                continue
            known = recognise(hive, stem(file.path))
            if known is None:
                # As "reg load" would: below HKEY_LOCAL_MACHINE, under the file's name.
                self._mount(file, hive, HKLM, stem(file.path))
            elif known.kind is Kind.MACHINE:
                self._mount(file, hive, HKLM, known.name)
            elif known.name:
                self._mount(file, hive, HKU, known.name)
            else:
                later.append((file, hive, known.kind))
        self._exports()
        for file, hive, kind in later:
            sid = self._sid(file, hive, kind)
            self._mount(file, hive, HKU, f"{sid}_Classes" if kind is Kind.CLASSES else sid)
        if not self._sources:
            raise self._errors[0] if self._errors else HiveError("no file of this machine is used", where=self._name)
        self._users_without_list()
        return mount(
            Hives(
                machine=MappingProxyType(self._machine),
                users=MappingProxyType(self._users),
                roots=MappingProxyType(self._roots),
            ),
            environment=environment,
            missing=tuple(self._missing()) if self._hives else (),
            # What a hive holds is known whole, whatever the exports beside it wrote.
            exported=(*self._exported, *(KeyPath.parse(place) for _, place in self._hives)) if self._exported else (),
            damages=self._all_damages,
            sources=tuple(self._sources),
            unused=tuple((unused.file, unused.reason) for unused in self._unused),
        )

    def _opened(self, file: File) -> Hive | None:
        try:
            logs = [(log.name, read(log)) for log in file.logs]
            return Hive(read(file.path), str(file.path), logs)
        except HiveError as error:
            self._unreadable(file, error)
            return None

    def _unreadable(self, file: File, error: HiveError) -> None:
        self._errors.append(error)
        self._damages.append(Damage(file=str(file.path), what=error.what, key=_place_by_name(file)))
        self._unused.append(Unused(str(file.path), error.what))

    def _mount(self, file: File, hive: Hive, root: str, name: str) -> None:
        place = self._machine if root == HKLM else self._users
        taken = {fold(other) for other in place}
        if fold(name) in taken:
            reason = f"a second hive for {root}\\{name}"
            self._unused.append(Unused(str(file.path), reason))
            self._damages.append(Damage(file=str(file.path), what=f"not used: {reason}", key=f"{root}\\{name}"))
            return
        place[name] = hive.root
        self._sources += [str(file.path), *(str(log) for log in file.logs)]
        self._hives.append((hive, f"{root}\\{name}"))

    def _exports(self) -> None:
        """All exports are imported one after the other; what a hive holds already is not taken from them."""
        memory = MemoryRegistry()
        for file in self._files:
            if file.content is not Content.EXPORT:
                continue
            try:
                self._import(memory, read(file.path), str(file.path))
            except HiveError as error:
                self._errors.append(error)
                self._damages.append(Damage(file=str(file.path), what=f"{error.what}; the rest is not imported"))
            self._sources.append(str(file.path))
        exported = hives_of(memory)
        for root, place, keys in ((HKLM, self._machine, exported.machine), (HKU, self._users, exported.users)):
            for name, key in keys.items():
                if fold(name) in {fold(other) for other in place}:
                    reason = f"exports of {root}\\{name}: not used, because its hive is here"
                    self._damages.append(Damage(file=self._name, what=reason, key=f"{root}\\{name}"))
                else:
                    place[name] = key
        self._roots = dict(exported.roots)
        self._exported = memory.exported
        own = self._roots.get(_CURRENT_USER)
        if own is not None and _OWN_USER not in self._users:
            # The export does not say whose it is; without a place below HKEY_USERS no rule would look at it.
            self._users[_OWN_USER] = own
            below = [top.elements[1:] for top in self._exported if top.elements[0] == _CURRENT_USER]
            self._exported += tuple(KeyPath((HKU, _OWN_USER, *elements)) for elements in below)

    def _import(self, memory: MemoryRegistry, content: bytes, name: str) -> None:
        text, cut = decode_up_to_the_cut(content, name)
        if cut:
            self._damages.append(Damage(file=name, what="the export breaks off: what should follow is missing"))
        apply_reg(memory, text, name)

    def _known_profiles(self) -> dict[str, str]:
        """SID to the path of the profile, from ProfileList; empty if there is no SOFTWARE."""
        if self._profiles is None:
            key = next((key for name, key in self._machine.items() if fold(name) == "SOFTWARE"), None)
            for name in _PROFILE_LIST:
                key = key.subkey(name) if key is not None else None
            self._profiles = {}
            for profile in key.subkeys() if key is not None else ():
                paths = [text_of(value) for value in profile.values() if fold(value.name) == "PROFILEIMAGEPATH"]
                self._profiles[profile.name] = paths[0] if paths else ""
        return self._profiles

    def _sid(self, file: File, hive: Hive, kind: Kind) -> str:
        """From ProfileList by the profile's folder, else from the hive, else the folder's or the file's name."""
        folder = file.profile or profile_folder(hive)
        matches = [
            sid
            for sid, path in self._known_profiles().items()
            if folder and fold(path.rstrip("\\").rpartition("\\")[2]) == fold(folder)
        ]
        own = account(hive)
        listed = len(matches) == 1 and own not in matches
        name = matches[0] if listed else own or folder or stem(file.path)
        # A hive without an owner, like that of new profiles: its name must not end like the classes of another.
        return name if kind is Kind.CLASSES or not fold(name).endswith("_CLASSES") else f"{name}_user"

    def _missing(self) -> list[KeyPath]:
        """The hives of users that ProfileList names, and the classes of users: absent ones."""
        present = {fold(name) for name in self._users}
        profiles = [sid for sid in self._known_profiles() if fold(sid) != _SYSTEM_SID]
        missing = [KeyPath((HKU, sid)) for sid in profiles if fold(sid) not in present]
        if ".DEFAULT" not in present:
            missing += [KeyPath((HKU, ".DEFAULT")), KeyPath((HKU, _SYSTEM_SID))]
        accounts = {sid.upper() for sid in (*self._known_profiles(), *self._users) if _ACCOUNT.fullmatch(sid.upper())}
        missing += [KeyPath((HKU, f"{sid}_Classes")) for sid in sorted(accounts) if f"{sid}_CLASSES" not in present]
        return missing

    def _users_without_list(self) -> None:
        if self._hives and not self._known_profiles():
            what = "no ProfileList: whether this machine has more users is not known"
            self._damages.append(Damage(file=self._name, what=what, key=HKU))

    def _all_damages(self) -> tuple[Damage, ...]:
        found = [damage for hive, mounted in self._hives for damage in hive.damages(mounted)]
        return (*self._damages, *found)


def _place_by_name(file: File) -> str:
    """Where the hive of an unreadable file would have stood, going by its name."""
    name = fold(stem(file.path))
    return next((f"{HKLM}\\{hive}" for hive in MACHINE_HIVES if name.endswith(hive)), HKU)
