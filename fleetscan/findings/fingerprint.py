"""The name of a matter: stable over sweeps, because it is made of host, kind and identity and nothing else."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetscan.domain.entity import Ident
    from fleetscan.model.host import HostId

_DIGITS = 12


def fingerprint(host: HostId, ident: Ident) -> str:
    """Twelve hex digits of the SHA-256 over host, kind and folded identity."""
    kind, pairs = ident
    parts = [host, kind, *(f"{name}={value}" for name, value in pairs)]
    return sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
