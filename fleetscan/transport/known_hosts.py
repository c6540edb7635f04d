"""Pinned keys and authorities of hosts: the ``known_hosts`` format with hashed names, wildcards and revoked keys."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from collections import defaultdict
from dataclasses import dataclass
from enum import Enum
from fnmatch import translate
from typing import TYPE_CHECKING

from fleetscan.errors import Place, SettingsError
from fleetscan.transport.certificate import SUFFIX, CertificateError, key_type, read

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DEFAULT_PORT = 22
_MAX_BYTES = 64 * 1024 * 1024
_HASH_PREFIX = "|1|"
_FIELDS = 3
_REVOKED = "@revoked"
_AUTHORITY = "@cert-authority"


class Trust(Enum):
    """What the pinned keys say about a key that a host showed."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class PinnedKey:
    """One key: its type and its public blob."""

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """SHA-256 as OpenSSH prints it."""
        return fingerprint(self.blob)

    def __str__(self) -> str:
        """Type and fingerprint."""
        return f"{self.type} {self.fingerprint}"


@dataclass(frozen=True, slots=True)
class ShownKey:
    """The key that a server proved to have, and the certificate in which it showed it; empty for none."""

    key: PinnedKey
    certificate: bytes = b""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a shown key is the host's."""

    trust: Trust
    authority: PinnedKey | None = None
    """The key of the @cert-authority line through which it is trusted; None for one that is pinned itself."""
    doubt: str = ""
    """Why its certificate says nothing for it."""
    broken: bool = False
    """Is the certificate wrong in itself? Then no pin makes the server trusted: it has to show another, or none."""


def fingerprint(blob: bytes) -> str:
    """``SHA256:`` and unpadded base64 of the hash of a public key."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def known_name(host: str, port: int) -> str:
    """The name under which a key is pinned: the host, with the port in brackets unless it is 22."""
    host = host.lower()
    return host if port == DEFAULT_PORT else f"[{host}]:{port}"


def bare_name(name: str) -> str:
    """The host in a name of ``known_name``: certificates know no ports."""
    host, behind, _ = name.rpartition("]:")
    return host[1:] if behind and host.startswith("[") else name


@dataclass(frozen=True, slots=True)
class _Hashed:
    salt: bytes
    digest: bytes

    def matches(self, name: str) -> bool:
        return hmac.compare_digest(hmac.new(self.salt, name.encode(), hashlib.sha1).digest(), self.digest)


@dataclass(frozen=True, slots=True)
class _Patterns:
    wanted: tuple[re.Pattern[str], ...]
    excluded: tuple[re.Pattern[str], ...]

    def matches(self, name: str) -> bool:
        return any(p.match(name) for p in self.wanted) and not any(p.match(name) for p in self.excluded)


class KnownHosts:
    """The keys of one or more files; plain names are found at once, hashed ones and patterns by trying."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """Read the texts; lines that are no entry are passed over, so that they can pin nothing."""
        self._plain: dict[str, list[PinnedKey]] = defaultdict(list)
        self._names: dict[PinnedKey, list[str]] = defaultdict(list)
        # Trying thousands of hashed names takes milliseconds; a connection asks twice, a jump host for every host.
        self._asked: dict[str, tuple[PinnedKey, ...]] = {}
        self._tried: list[tuple[_Hashed | _Patterns, PinnedKey]] = []
        self._revoked: list[tuple[_Hashed | _Patterns, PinnedKey]] = []
        self._authorities: list[tuple[_Hashed | _Patterns, PinnedKey]] = []
        for text in texts:
            for line in text.splitlines():
                self._add(line)

    def keys(self, name: str) -> tuple[PinnedKey, ...]:
        """The keys pinned for a name of ``known_name``."""
        if name not in self._asked:
            found = (*self._plain.get(name, ()), *(key for names, key in self._tried if names.matches(name)))
            self._asked[name] = tuple(dict.fromkeys(found))
        return self._asked[name]

    def names(self, key: PinnedKey) -> tuple[str, ...]:
        """The names under which a key is pinned, without patterns; hashed ones are only called so."""
        hashed = any(pinned == key and isinstance(names, _Hashed) for names, pinned in self._tried)
        return (*dict.fromkeys(self._names.get(key, ())), *(["a hashed name"] if hashed else ()))

    def authorities(self, name: str) -> tuple[PinnedKey, ...]:
        """The keys whose certificates vouch for a name of ``known_name``; a line without port speaks of all ports."""
        names = (name, bare_name(name))
        return tuple(dict.fromkeys(key for pattern, key in self._authorities if any(map(pattern.matches, names))))

    def judge(self, name: str, shown: PinnedKey) -> Trust:
        """Is the shown key the host's, by the pinned keys alone?"""
        if self._is_revoked(shown, name):
            return Trust.REVOKED
        pinned = self.keys(name)
        if shown in pinned:
            return Trust.KNOWN
        return Trust.CHANGED if pinned else Trust.UNKNOWN

    def verdict(self, name: str, shown: ShownKey, now: float) -> Verdict:
        """Is it the host's, by its certificate at this time, or else by the pinned keys?"""
        if shown.certificate:
            return self._certified(name, shown, now)
        trust = self.judge(name, shown.key)
        if trust is Trust.KNOWN or not self.authorities(name):
            return Verdict(trust)
        return Verdict(trust, doubt="it shows no certificate, though a @cert-authority line speaks of it")

    def _certified(self, name: str, shown: ShownKey, now: float) -> Verdict:
        try:
            certificate = read(shown.certificate)
            certificate.require_key(shown.key.blob)
        except CertificateError as error:
            return self._distrusted(name, shown.key, f"its certificate {error}")
        authority = PinnedKey(key_type(certificate.authority), certificate.authority)
        for key, doubt in ((shown.key, ""), (authority, f"its certificate is signed by the revoked {authority}")):
            # In doubt revoked: a line without port counts for all ports, as that of an authority does.
            if self._is_revoked(key, name, bare_name(name)):
                return Verdict(Trust.REVOKED, doubt=doubt)
        doubt = certificate.doubt(bare_name(name), now)
        if authority not in self.authorities(name):
            doubt = f"is signed by {authority}, which no @cert-authority line names for it"
        if doubt:
            # As OpenSSH: the key in it may still be pinned itself.
            return Verdict(self.judge(name, shown.key), doubt=f"its certificate {doubt}")
        if not certificate.is_signed():
            return self._distrusted(name, shown.key, f"its certificate is not signed by {authority}, which it names")
        return Verdict(Trust.KNOWN, authority)

    def _distrusted(self, name: str, key: PinnedKey, doubt: str) -> Verdict:
        """Not even by its pinned key: as OpenSSH, nothing is believed that is wrong in itself."""
        trust = self.judge(name, key)
        return Verdict(Trust.UNKNOWN if trust is Trust.KNOWN else trust, doubt=doubt, broken=True)

    def _is_revoked(self, key: PinnedKey, *names: str) -> bool:
        return any(revoked == key and any(map(pattern.matches, names)) for pattern, revoked in self._revoked)

    def _add(self, line: str) -> None:
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            return
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        if marker not in ("", _REVOKED, _AUTHORITY) or len(fields) < _FIELDS:
            return
        try:
            key = PinnedKey(fields[1], base64.b64decode(fields[2], validate=True))
            if marker == _REVOKED and key.type.endswith(SUFFIX):
                # As OpenSSH: whoever revokes a certificate revokes the key in it.
                plain = read(key.blob).key
                key = PinnedKey(key_type(plain), plain)
            self._pin(fields[0].lower() if not fields[0].startswith(_HASH_PREFIX) else fields[0], key, marker)
        except (binascii.Error, ValueError):
            return

    def _pin(self, names: str, key: PinnedKey, marker: str) -> None:
        if names.startswith(_HASH_PREFIX):
            salt, _, digest = names.removeprefix(_HASH_PREFIX).partition("|")
            entry: _Hashed | _Patterns = _Hashed(base64.b64decode(salt), base64.b64decode(digest))
        elif marker or re.search(r"[*?!]", names):
            words = names.split(",")
            entry = _Patterns(
                tuple(_glob(word) for word in words if not word.startswith("!")),
                tuple(_glob(word[1:]) for word in words if word.startswith("!")),
            )
        else:
            for name in names.split(","):
                self._plain[name].append(key)
                self._names[key].append(name)
            return
        if marker == _AUTHORITY:
            # It vouches for certificates: it must not pin a plain key.
            self._authorities.append((entry, key))
        else:
            (self._revoked if marker else self._tried).append((entry, key))


def _glob(pattern: str) -> re.Pattern[str]:
    """Only ``*`` and ``?`` are wildcards: brackets hold ports."""
    return re.compile(translate(pattern.replace("[", "[[]")))


def read_known_hosts(paths: Iterable[Path]) -> KnownHosts:
    """The keys of all files that exist; a file that cannot be read is an error, for it may hold a revocation."""
    return KnownHosts(text for path in paths if (text := _read(path)) is not None)


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"host keys cannot be read: {error.strerror}", where=Place(str(path))) from error
    if len(content) > _MAX_BYTES:
        raise SettingsError("too large for a known_hosts file", where=Place(str(path)))
    return content.decode("utf-8", "replace")


def entry(name: str, key: PinnedKey, *, hashed: bool) -> str:
    """The line that pins a key."""
    if hashed:
        salt = secrets.token_bytes(20)
        digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
        name = f"{_HASH_PREFIX}{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
    return f"{name} {key.type} {base64.b64encode(key.blob).decode()}"


def pin(path: Path, entries: Iterable[tuple[str, PinnedKey]], *, hashed: bool = False) -> None:
    """Append keys to a file, created for its owner only; nothing that is there is changed."""
    lines = [entry(name, key, hashed=hashed) for name, key in entries]
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = _read(path) or ""
        start = "" if not before or before.endswith("\n") else "\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with open(descriptor, "a", encoding="utf-8", newline="\n") as file:  # noqa: PTH123 - mode is set above
            # One write: two commands that pin at once do not tear each other's lines.
            file.write(start + "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise SettingsError(f"host keys cannot be written: {error.strerror}", where=Place(str(path))) from error
