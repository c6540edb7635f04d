"""Certificates of hosts: what OpenSSH's format says, read without trusting it, and why one is not to be believed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import paramiko

if TYPE_CHECKING:
    from collections.abc import Mapping

SUFFIX = "-cert-v01@openssh.com"
_HOST, _USER = 2, 1
_MAX_PRINCIPALS = 256  # as OpenSSH has it
_NAMED = 3
_SHOWN = 80
_LAST_DAY = 253402300799  # what a date can say; "forever" is far behind it
_WORD, _LONG = 4, 8

_ECDSA = ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
_FIELDS: Mapping[str, int] = {"ssh-ed25519": 1, "ssh-rsa": 2, **dict.fromkeys(_ECDSA, 2)}
"""How many fields a key of each type has in a certificate."""
_SIGNERS: Mapping[str, type[paramiko.PKey]] = {
    "ssh-ed25519": paramiko.Ed25519Key,
    "ssh-rsa": paramiko.RSAKey,
    **dict.fromkeys(_ECDSA, paramiko.ECDSAKey),
}
# The type ssh-rsa is no algorithm here: its signatures would be SHA-1, which can be forged.
_ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in _SIGNERS},
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}


class CertificateError(ValueError):
    """Bytes that are no certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a certificate says. Nothing of it is true before ``doubt`` is empty and ``is_signed``."""

    key: bytes
    """The plain key that it is for, as a public blob."""
    for_hosts: bool
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical: tuple[str, ...]
    authority: bytes
    """The key that signed it, as a public blob."""
    signed: bytes
    signature: bytes

    def require_key(self, key: bytes) -> None:
        """Raises CertificateError unless it is for this public key."""
        if self.key != key:
            raise CertificateError("is for another key than the one it has")

    def doubt(self, name: str, now: float) -> str:
        """Why it does not vouch for the host ``name`` at this time; empty if only its signature is left to check."""
        if not self.for_hosts:
            return "is one for users"
        if now < self.valid_after:
            return f"is not valid before {_day(self.valid_after)}"
        if now >= self.valid_before:
            return f"expired on {_day(self.valid_before)}"
        # Without any name it is for every host of its authority.
        if self.principals and name not in self.principals:
            more = f" and {len(self.principals) - _NAMED} more" if len(self.principals) > _NAMED else ""
            return f"is for {', '.join(map(_safe, self.principals[:_NAMED]))}{more}, not for {name}"
        if self.critical:
            return f"has the critical option {_safe(self.critical[0])}, which is not known"
        return self._weakness()

    def _weakness(self) -> str:
        signer = key_type(self.authority)
        if signer not in _SIGNERS:
            return f"is signed with a key of type {_safe(signer)}, which cannot be checked"
        algorithm = _Reader(self.signature).text()
        return "" if algorithm in _ALGORITHMS[signer] else f"is signed with {_safe(algorithm)}, which is not allowed"

    def is_signed(self) -> bool:
        """Is the signature that of ``authority``?"""
        try:
            self._require_form()
            signer = _SIGNERS[key_type(self.authority)](paramiko.Message(self.authority))
            return signer.verify_ssh_sig(self.signed, paramiko.Message(self.signature))
        except (paramiko.SSHException, KeyError, ValueError, TypeError, OverflowError):
            # What a key or a signature of a wrong length becomes in the library.
            return False

    def _require_form(self) -> None:
        """Raises CertificateError for a signature with wrong lengths, which the library would fill up or pass over."""
        fields = _Reader(self.signature)
        algorithm, value = fields.text(), _Reader(fields.string())
        fields.finish()
        if algorithm in _ECDSA:
            value.string()
            value.string()
            value.finish()


def read(blob: bytes) -> Certificate:
    """The certificate of a public blob. Raises CertificateError."""
    fields = _Reader(blob)
    full = fields.text()
    kind = full.removesuffix(SUFFIX)
    if kind == full or kind not in _FIELDS:
        raise CertificateError(f"is of the unknown type {_safe(full)}")
    fields.string()  # a nonce
    start = fields.at
    for _ in range(_FIELDS[kind]):
        fields.string()
    key = _packed(kind.encode()) + blob[start : fields.at]
    fields.number(_LONG)  # a serial number
    purpose = fields.number(_WORD)
    if purpose not in (_HOST, _USER):
        raise CertificateError(f"is for the unknown purpose {purpose}")
    fields.string()  # its name, for logs
    principals = _list(fields.string())
    valid_after, valid_before = fields.number(_LONG), fields.number(_LONG)
    critical = _list(fields.string())[::2]
    _list(fields.string())  # extensions, of which none is defined for hosts
    fields.string()  # reserved
    authority = fields.string()
    key_type(authority)
    end = fields.at
    signature = fields.string()
    _Reader(signature).text()
    fields.finish()
    return Certificate(
        key=key,
        for_hosts=purpose == _HOST,
        principals=principals,
        valid_after=valid_after,
        valid_before=valid_before,
        critical=critical,
        authority=authority,
        signed=blob[:end],
        signature=signature,
    )


def key_type(blob: bytes) -> str:
    """The type that a public blob says it has. Raises CertificateError."""
    return _Reader(blob).text()


class _Reader:
    """Reads fields; one that is longer than what is left is an error, and nothing is filled up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self.at:
            raise CertificateError("is cut off")
        self.at += count
        return self._data[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def string(self) -> bytes:
        return self._take(self.number(_WORD))

    def text(self) -> str:
        return _text(self.string())

    def is_over(self) -> bool:
        return self.at == len(self._data)

    def finish(self) -> None:
        if not self.is_over():
            raise CertificateError("goes on behind its end")


def _list(data: bytes) -> tuple[str, ...]:
    fields = _Reader(data)
    found: list[str] = []
    while not fields.is_over():
        found.append(fields.text())
        if len(found) > _MAX_PRINCIPALS:
            raise CertificateError(f"has a list of more than {_MAX_PRINCIPALS} entries")
    return tuple(found)


def _packed(value: bytes) -> bytes:
    return len(value).to_bytes(_WORD, "big") + value


def _text(value: bytes) -> str:
    """Names are compared as they are; what is no UTF-8 stays different from everything that is."""
    return value.decode("utf-8", "surrogateescape")


def _safe(text: str) -> str:
    """Fit for a message: a server wrote it."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:_SHOWN])


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(min(seconds, _LAST_DAY), UTC).strftime("%Y-%m-%d %H:%M UTC")
