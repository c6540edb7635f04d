"""The user's ``ssh_config``: included files put in their places, and who may have written what it would run."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko

from fleetscan.errors import Place, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAX_DEPTH = 16  # of files that include files, as in OpenSSH
_MAX_FILES = 1000
_MAX_BYTES = 1024 * 1024
_LINE = re.compile(r"(\w+)(?:\s*=\s*|\s+)(.+)")
_COMMENT = re.compile(r"""((?:[^"#]|"[^"]*"|(?<=\S)\#)*?)\s+\#.*""")
_BLOCKS = ("host", "match")
_COMMANDS = ("proxycommand", "localcommand", "remotecommand", "knownhostscommand")
_EVERYONE = ("", "host *", "match all")
_KNOWN_MATCHES = frozenset({"all", "canonical", "final", "host", "originalhost", "user", "localuser"})
_WRITABLE_BY_OTHERS = 0o022


class _Parser(paramiko.SSHConfig):
    """The library's reader, with commands left as they were written, and without what it would take for granted."""

    # It replaces every tilde of a command, and knows neither %% nor %n.
    TOKENS_BY_CONFIG_KEY = {  # noqa: RUF012 - the library's own attribute
        name: tokens for name, tokens in paramiko.SSHConfig.TOKENS_BY_CONFIG_KEY.items() if name != "proxycommand"
    }

    def _does_match(self, match_list: list[dict[str, Any]], *context: object) -> object:
        """As the library has it, for the criteria that it can judge; the others it would run, or take as fulfilled."""
        judged = [one for one in match_list if one["type"] in _KNOWN_MATCHES]
        matched: object = super()._does_match(judged, *context)  # type: ignore[misc]  # not in the stubs
        if len(judged) < len(match_list) and (matched or not judged):
            unknown = next(one["type"] for one in match_list if one not in judged)
            raise SettingsError(
                f"Match {unknown} is not judged here", hint="Match host, originalhost, user or localuser"
            )
        return matched


@dataclass(frozen=True, slots=True)
class SshConfig:
    """One configuration with everything it includes."""

    path: Path
    unsafe: str
    """Which file somebody else may have written, so that nothing of it is run; empty if none."""
    _parser: _Parser
    _read: tuple[tuple[Path, tuple[int, int]], ...]

    @property
    def is_current(self) -> bool:
        """Is every file still what was read?"""
        return all(_version(path) == seen for path, seen in self._read)

    def lookup(self, name: str) -> Mapping[str, Any]:
        """The keywords for a host, first the one that was set first. Raises SettingsError."""
        try:
            return dict(self._parser.lookup(name))
        except (paramiko.SSHException, KeyError, ImportError, ValueError, OSError) as error:
            raise SettingsError(f"ssh_config cannot be used for {name}: {error}", where=str(self.path)) from error
        except SettingsError as error:
            what = f"ssh_config cannot be used for {name}: {error.what}"
            raise SettingsError(what, where=str(self.path), hint=error.hint) from error


def ssh_config(path: Path) -> SshConfig | None:
    """The configuration, read again only when one of its files changed; None without any. Raises SettingsError."""
    config = _loaded(path)
    if not config.is_current:
        _loaded.cache_clear()
        config = _loaded(path)
    return config if config._read[0][1] != _ABSENT else None  # noqa: SLF001 - of this module


@lru_cache(maxsize=64)
def _loaded(path: Path) -> SshConfig:
    reader = _Reader()
    text = "\n".join(reader.lines(path))
    try:
        return SshConfig(path, reader.unsafe, _Parser.from_text(text), tuple(reader.read.items()))
    except (paramiko.SSHException, ValueError) as error:
        raise SettingsError(f"ssh_config cannot be used: {error}", where=str(path)) from error


def expanded(text: str, where: str | Place) -> Path:
    """A path of a configuration with its tilde filled in. Raises SettingsError for the home of nobody."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{text}: nobody has this home", where=where) from error


_ABSENT = (0, -1)


def _version(path: Path) -> tuple[int, int]:
    """What changes when a file does, or the list of files in a folder."""
    try:
        found = path.stat()
    except OSError:
        return _ABSENT
    return (found.st_mtime_ns, found.st_size)


class _Reader:
    """Reads a configuration and what it includes as one text."""

    def __init__(self) -> None:
        self.read: dict[Path, tuple[int, int]] = {}
        self.unsafe = ""

    def lines(self, path: Path, depth: int = 0) -> Iterator[str]:
        """The lines of a file, those that it includes in the place of the line that says so."""
        if depth > _MAX_DEPTH:
            raise SettingsError("files that include each other", where=str(path))
        self.read[path] = _version(path)
        if len(self.read) > _MAX_FILES:
            raise SettingsError(f"ssh_config includes more than {_MAX_FILES} files", where=str(path))
        self._judge(path)
        block = ""
        for number, line in enumerate(_text(path).splitlines(), 1):
            keyword, value = _split(line, Place(str(path), number))
            if keyword == "include":
                yield from self._included(value, block, Place(str(path), number), depth)
                continue
            if keyword in _BLOCKS:
                block = line.strip()
            if keyword == "proxycommand" and value != "none" and not value.startswith("exec "):
                # As OpenSSH runs it. Besides, the library would take quotes away that belong to two words.
                value = f"exec {value}"
            if keyword:
                yield f"{keyword} {value}"

    def _included(self, patterns: str, block: str, place: Place, depth: int) -> Iterator[str]:
        everyone = " ".join(block.lower().split()) in _EVERYONE
        for path in self._found(patterns, place):
            for line in self.lines(path, depth + 1):
                if not everyone and line.startswith(tuple(f"{name} " for name in _BLOCKS)):
                    raise SettingsError(
                        f"{path} has blocks of its own and is included in the block {block!r}",
                        where=place,
                        hint="Include it above the first Host",
                    )
                yield line
            yield block or "host *"

    def _found(self, patterns: str, place: Place) -> Iterator[Path]:
        try:
            words = shlex.split(patterns)
        except ValueError as error:
            raise SettingsError(f"Include {patterns}: {error}", where=place) from error
        for word in words:
            pattern = Path.home() / ".ssh" / expanded(word, place)
            # A file that comes later changes its folder.
            self.read.setdefault(pattern.parent, _version(pattern.parent))
            yield from (Path(found) for found in sorted(glob(str(pattern))))  # noqa: PTH207 - a whole path as pattern

    def _judge(self, path: Path) -> None:
        try:
            found = path.stat()
        except OSError:
            return
        if hasattr(os, "getuid") and (found.st_uid not in (0, os.getuid()) or found.st_mode & _WRITABLE_BY_OTHERS):
            self.unsafe = self.unsafe or str(path)


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise SettingsError("ssh_config cannot be used: not a file", where=str(path))
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise SettingsError("ssh_config cannot be used: too large", where=str(path))
        return content.decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"ssh_config cannot be used: {said}", where=str(path)) from error


def _split(line: str, place: Place) -> tuple[str, str]:
    """Keyword and value without a comment behind it; both empty where there is nothing to read."""
    line = line.strip()
    if not line or line.startswith("#"):
        return "", ""
    match = _LINE.fullmatch(line)
    if match is None:
        raise SettingsError(f"ssh_config cannot be used: {line[:80]!r} has no value", where=place)
    keyword, value = match[1].lower(), match[2]
    if keyword not in _COMMANDS and (comment := _COMMENT.fullmatch(value)):
        value = comment[1]
    return keyword, value
