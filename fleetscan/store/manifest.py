"""Checking a report package against the store: hashes of its files, and that its sweep, plan and rules are ours."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from fleetscan.errors import StoreError
from fleetscan.store.interface import Problem, Verification

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleetscan.store.interface import Store

_LARGEST = 16 * 1024 * 1024
_CHUNK = 1024 * 1024


def check_manifest(store: Store, path: Path) -> Verification:
    """Every file of the package by its SHA-256, then sweep, plan, rules and the seal before, as far as it names them.

    StoreError if the manifest itself cannot be used.
    """
    manifest = _load(path)
    files: dict[str, str] = manifest["files"]
    problems = [problem for name, digest in files.items() for problem in _check_file(path.parent, name, digest)]
    problems += _check_sweep(store, manifest)
    return Verification(checked={"files of the report": len(files)}, problems=tuple(problems))


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise StoreError("the manifest is too large", where=str(path))
        manifest = json.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise StoreError(
            f"the manifest cannot be read: {error.strerror}", where=str(path), hint="name its manifest.json"
        ) from error
    except (ValueError, RecursionError) as error:
        raise StoreError("the manifest is not JSON", where=str(path), hint="name its manifest.json") from error
    if not isinstance(manifest, dict) or not _texts(manifest.get("files")):
        raise StoreError('the manifest has no "files" with hashes', where=str(path), hint="name its manifest.json")
    return manifest


def _texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _check_file(folder: Path, name: str, digest: str) -> Iterator[Problem]:
    # A manifest from elsewhere must not make us read (and so confirm) files outside of the package.
    if "\0" in name or not (folder / name).resolve().is_relative_to(folder.resolve()):
        yield Problem(name, "it lies outside of the report's folder")
        return
    total = hashlib.sha256()
    try:
        with (folder / name).open("rb") as stream:
            while part := stream.read(_CHUNK):
                total.update(part)
    except OSError as error:
        yield Problem(name, f"the file cannot be read: {error.strerror}")
        return
    if total.hexdigest() != digest.lower():
        yield Problem(name, "the file does not match its hash: it was altered after the report")


def _check_sweep(store: Store, manifest: dict[str, Any]) -> Iterator[Problem]:
    name = manifest.get("sweep")
    found = next((sweep for sweep in store.sweeps() if sweep.id == name), None)
    if found is None:
        yield Problem("sweep", f"the store has no sweep {name}")
        return
    stored = {"plan": found.plan_digest, "rules": found.rules_digest, "previous": found.previous, "seal": found.seal}
    for field, value in stored.items():
        stated = manifest.get(field)
        if isinstance(stated, str) and stated and stated != value:
            yield Problem(field, f"it is not that of sweep {found.id} in the store")
