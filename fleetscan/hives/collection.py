r"""Collections: folders that hold the registry of one machine or of many, found by the shape of the folder.

A *volume* is a folder with ``Windows\System32\config`` below it: a mounted disk, or what KAPE, Velociraptor and their
kind copy. It is one machine, whatever lies above it, and only the places where Windows keeps hives are looked at.

Anywhere else the registry files of a folder stand side by side. They are grouped by what their names hold in front of
the hive's name: ``SYSTEM`` and ``NTUSER.DAT`` are one machine, named after the folder; ``host1-SYSTEM`` and
``host2-SYSTEM`` are two; an export without such a word in its name (``lsp.reg``) is a machine of its own. A second hive
of a kind that a machine has once (``SYSTEM-old``, or a second hive of the same user) is a machine of its own as well.
User hives with a name in front (``bob-NTUSER.DAT``) belong to the machine without one, if that is there.

Folders below are searched in the same way. Nothing is left out in silence: a file is part of a machine, the log of a
hive, or listed as not used with the reason. Links to folders are not followed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fleetscan.errors import HiveError
from fleetscan.hives.files import LOG_ENDINGS, Content, content_of, read, stem
from fleetscan.hives.recognise import WORDS, account
from fleetscan.hives.regf import Hive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MOST_DEPTH = 12
_MOST_FOLDERS = 50_000
_CONFIG = ("windows", "system32", "config")
_PROFILES = (("users",), ("documents and settings",), ("windows", "serviceprofiles"))
_CLASSES = (
    ("appdata", "local", "microsoft", "windows"),
    ("local settings", "application data", "microsoft", "windows"),
)
_WRAPPERS = re.compile(
    r"[a-z](:|%3a|_drive)?|%5c%5c.%5c[a-z]%3a|uploads|auto|ntfs|lazy_ntfs|registry|config", re.IGNORECASE
)
_USER_WORDS = frozenset({"NTUSER", "USRCLASS"})
_EXPORT_WORDS = ("HKLM", "HKU", "HKCU", "HKCR", "HKEY_LOCAL_MACHINE", "HKEY_USERS", "HKEY_CURRENT_USER", *WORDS)
_BETWEEN = "-_. "
_UNREAD_ENDINGS = {
    ".sav": "a backup that Windows made at setup",
    ".blf": "a transaction file (TxR), which is not replayed",
    ".regtrans-ms": "a transaction file (TxR), which is not replayed",
}


@dataclass(frozen=True, slots=True)
class Unused:
    """A file that is no part of any machine, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class File:
    """One hive or export with the logs beside it; ``profile`` is the user's folder, if it stands in one."""

    path: Path
    content: Content
    logs: tuple[Path, ...] = ()
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of a collection: its name and its files, in the order in which they are mounted."""

    name: str
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class Collection:
    """The machines found, by name, and the files that none of them uses."""

    machines: tuple[Machine, ...]
    unused: tuple[Unused, ...] = ()


def collection(path: Path) -> Collection:
    """The machines in a folder, or the one in a single hive or export. Raises HiveError if there is nothing to read."""
    search = _Search()
    if path.is_file():
        return Collection((machine(_bare(stem(path)), [path]),))
    if path.is_dir():
        search.folder(path, path.absolute().name, 0)
    else:
        raise HiveError(
            "no such file or folder", where=str(path), hint="name a hive, a .reg export or a folder of them"
        )
    if not search.machines:
        reasons = "; ".join(f"{unused.file}: {unused.reason}" for unused in search.unused[:3])
        hint = reasons or "name a hive, a .reg export or a folder of them"
        raise HiveError("no registry hive or export is here", where=str(path), hint=hint)
    return Collection(tuple(_named_once(search.machines)), tuple(search.unused))


def machine(name: str, paths: Iterable[Path]) -> Machine:
    """One machine made of these hives and exports, in this order; a folder among them must hold one machine.

    Raises HiveError for a path that is neither.
    """
    files: list[File] = []
    for path in paths:
        if path.is_dir():
            machines = collection(path).machines
            if len(machines) > 1:
                names = ", ".join(machine.name for machine in machines[:5])
                raise HiveError(f"{len(machines)} machines are here: {names}", where=str(path), hint="name one of them")
            files += machines[0].files
        else:
            files.append(_file(path))
    return Machine(name, tuple(files))


def _file(path: Path) -> File:
    content = content_of(path)
    if content not in {Content.HIVE, Content.EXPORT}:
        raise HiveError(content.value, where=str(path), hint="name a hive, a .reg export or a folder of them")
    logs = _logs(path, _files(path.parent)) if content is Content.HIVE else ()
    return File(path, content, logs, _profile(path.absolute().parent))


def _profile(folder: Path) -> str:
    """The user's folder, if ``folder`` is one or a place of classes in one."""
    parts = tuple(part.lower() for part in folder.parts)
    for places in ((), *_CLASSES):
        above = parts[: len(parts) - len(places)]
        profiles = any(above[:-1][-len(elements) :] == elements for elements in _PROFILES)
        if parts[len(above) :] == places and profiles:
            return folder.parts[len(above) - 1]
    return ""


def _named_once(machines: Iterable[Machine]) -> Iterator[Machine]:
    """Machines by name; a name that is taken gets a number, which depends on the order of folders only."""
    seen: dict[str, int] = {}
    for machine in machines:
        count = seen[machine.name.lower()] = seen.get(machine.name.lower(), 0) + 1
        yield machine if count == 1 else replace(machine, name=f"{machine.name}-{count}")


class _Search:
    """The walk through a folder; every list is sorted, so that the result does not depend on the disk."""

    def __init__(self) -> None:
        self.machines: list[Machine] = []
        self.unused: list[Unused] = []
        self._folders = 0

    def folder(self, folder: Path, name: str, depth: int) -> None:
        if depth > _MOST_DEPTH or self._folders >= _MOST_FOLDERS:
            self.unused.append(Unused(str(folder), "folder not searched: too deep, or too many folders before it"))
            return
        self._folders += 1
        name = name if _WRAPPERS.fullmatch(folder.name) else folder.name
        config = _below(folder, _CONFIG)
        if config is not None:
            self._volume(folder, config, name)
            return
        self._side_by_side(folder, name)
        for below in _folders(folder, self.unused):
            self.folder(below, name, depth + 1)

    def _volume(self, folder: Path, config: Path, name: str) -> None:
        files = self._known(config)
        for elements in _PROFILES:
            profiles = _below(folder, elements)
            for profile in _folders(profiles, self.unused) if profiles else ():
                places = [profile, *filter(None, (_below(profile, classes) for classes in _CLASSES))]
                for place in places:
                    files += [replace(file, profile=profile.name) for file in self._known(place, "ntuser", "usrclass")]
        backup = _below(config, ("regback",))
        for path in _files(backup) if backup else ():
            self.unused.append(Unused(str(path), "a backup that Windows made"))
        previous = _below(folder, ("windows.old",))
        if previous is not None:
            self.unused.append(Unused(str(previous), "a previous installation: name the folder to read it"))
        if files:
            self.machines.append(Machine(name, tuple(files)))

    def _known(self, folder: Path, *starts: str) -> list[File]:
        """Hives of a folder where Windows keeps some; exports are none of its files."""
        paths = [path for path in _files(folder) if not starts or path.name.lower().startswith(starts)]
        return [file for file in self._sources(paths) if file.content is Content.HIVE]

    def _sources(self, paths: list[Path]) -> list[File]:
        """Hives with their logs, and exports; everything else goes to the unused files."""
        found: list[File] = []
        logs: set[Path] = set()
        for path in paths:
            content = None if path in logs else self._content(path)
            if content is Content.HIVE:
                found.append(File(path, content, beside := _logs(path, paths)))
                logs.update(beside)
            elif content is Content.EXPORT:
                found.append(File(path, content))
            elif content is Content.LOG:
                self.unused.append(Unused(str(path), "a log without its hive"))
        self.unused = [unused for unused in self.unused if unused.file not in {str(log) for log in logs}]
        return found

    def _content(self, path: Path) -> Content | None:
        """What a file is; None, and a line among the unused, if it is nothing to read."""
        reason = _UNREAD_ENDINGS.get(path.suffix.lower(), "")
        try:
            content = Content.OTHER if reason else content_of(path)
        except HiveError as error:
            content, reason = Content.OTHER, error.what
        if content in {Content.OTHER, Content.WINDOWS_9X}:
            self.unused.append(Unused(str(path), reason or content.value))
            return None
        return content

    def _side_by_side(self, folder: Path, name: str) -> None:
        groups: dict[str, list[tuple[str, File]]] = {}
        for file in self._sources(_files(folder)):
            front, word = _front_and_word(file)
            groups.setdefault(front, []).append((word, file))
        own = groups.get("", [])
        if any(word not in _USER_WORDS for word, _ in own):
            for front, files in list(groups.items()):
                if front and all(word in _USER_WORDS and file.content is Content.HIVE for word, file in files):
                    own += groups.pop(front)
        for front, files in sorted(groups.items()):
            self._group(front or name, files)

    def _group(self, name: str, files: list[tuple[str, File]]) -> None:
        """One machine; hives that it cannot have twice become machines of their own."""
        kept: dict[str, File] = {}
        spare: list[File] = []
        for word, file in sorted(files, key=lambda named: len(named[1].path.name)):
            if file.content is Content.EXPORT:
                kept[str(file.path)] = file
                continue
            twice = sum(other == word for other, _ in files) > 1
            identity = f"{word}\\{_account(file)}" if word in _USER_WORDS and twice else word or str(file.path)
            if identity in kept:
                spare.append(file)
            else:
                kept[identity] = file
        self.machines.append(Machine(name, tuple(kept.values())))
        self.machines += [Machine(_bare(stem(file.path)), (file,)) for file in spare]


def _account(file: File) -> str:
    """Whose hive it is; its file if it does not tell."""
    try:
        hive = Hive(read(file.path), str(file.path))
    except HiveError:
        return str(file.path)
    return account(hive) or str(file.path)


def _front_and_word(file: File) -> tuple[str, str]:
    """What a file's name holds in front of the hive's name, and the hive's name; the whole stem if there is none."""
    name = stem(file.path)
    # "default-NTUSER.DAT" is a user's hive, so these words come first.
    for words in (_USER_WORDS, _EXPORT_WORDS if file.content is Content.EXPORT else WORDS):
        match = re.search(rf"(?:^|(?<=[{_BETWEEN}]))({'|'.join(words)})(?![A-Za-z0-9])", name, re.IGNORECASE)
        if match:
            return name[: match.start()].strip(_BETWEEN), match[1].upper()
    return (_bare(name), "") if file.content is Content.EXPORT else ("", "")


def _bare(name: str) -> str:
    """A file's name without the ending of a registry file."""
    return re.sub(r"\.(reg|hiv|hive|dat)$", "", name, flags=re.IGNORECASE) or name


def _logs(hive: Path, beside: Iterable[Path]) -> tuple[Path, ...]:
    """The logs of a hive, in the order LOG, LOG1, LOG2."""
    name = stem(hive).lower()
    by_name = {stem(path).lower(): path for path in beside}
    return tuple(by_name[name + ending] for ending in LOG_ENDINGS if name + ending in by_name)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return []


def _folders(folder: Path, unused: list[Unused]) -> list[Path]:
    try:
        folders = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        unused.append(Unused(str(folder), f"folder cannot be read: {error.strerror}"))
        return []
    unused += [Unused(str(path), "a link to a folder: not followed") for path in folders if path.is_symlink()]
    return [path for path in folders if not path.is_symlink()]


def _below(folder: Path, elements: tuple[str, ...]) -> Path | None:
    """The folder of these names, without case, as Windows would find it."""
    here: Path | None = folder
    for element in elements:
        if here is None:
            return None
        here = next((path for path in _folders(here, []) if path.name.lower() == element), None)
    return here
