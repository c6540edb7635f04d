"""Files of the hives corpus, unpacked once, and the canonical form in which its truths are written."""

from __future__ import annotations

import hashlib
import json
import lzma
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import corpus_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleetscan.hives.tree import Key


@lru_cache(maxsize=4)
def unpacked(path: Path) -> bytes:
    """The content of a corpus file."""
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()


def read_json(path: Path) -> dict[str, Any]:
    """A truth file, which may be packed."""
    loaded = json.loads(unpacked(path))
    assert isinstance(loaded, dict)
    return loaded


@dataclass(frozen=True)
class Canonical:
    """What a truth says of a tree: how many keys and values, and the hashes of their sorted lines."""

    keys: int
    values: int
    values_hash: str
    paths_hash: str

    @classmethod
    def of(cls, root: Key) -> Canonical:
        """Walk a tree; see "about" in the manifest of the corpus."""
        keys, values, paths = 0, [], set()
        for path, key in walk(root):
            keys += 1
            paths.add(f"{path}\n".encode("utf-8", "surrogatepass"))
            for value in key.values():
                line = f"{path}\x1f{_escaped(value.name)}\x1f{value.type}\x1f{value.data.hex()}\n"
                values.append(line.encode("utf-8", "surrogatepass"))
        return cls(keys, len(values), _hash(sorted(values)), _hash(sorted(paths)))


def walk(root: Key) -> Iterator[tuple[str, Key]]:
    """Every key with its path below ``root``."""
    waiting = [("", root)]
    while waiting:
        path, key = waiting.pop()
        yield path, key
        waiting += [(f"{path}\\{name}" if path else name, subkey) for name, subkey in _named(key)]


def _named(key: Key) -> list[tuple[str, Key]]:
    return [(_escaped(subkey.name), subkey) for subkey in key.subkeys()]


def _escaped(name: str) -> str:
    return name.replace("\r", "\\r").replace("\n", "\\n")


def _hash(lines: list[bytes]) -> str:
    return hashlib.sha256(b"".join(lines)).hexdigest()


@dataclass(frozen=True)
class Case:
    """A hive of the corpus with what its truth says."""

    name: str
    path: Path
    logs: tuple[tuple[str, Path], ...]
    truth: dict[str, Any]


def main_cases() -> list[Case]:
    """Hives with a truth file of their own, by the manifest."""
    folder = corpus_folder("hives")
    if folder is None or not (folder / "MANIFEST.json").is_file():
        return []
    cases = []
    for file in read_json(folder / "MANIFEST.json")["files"]:
        truth = str(file.get("truth", ""))
        path = folder / file["name"]
        if path.is_file() and ".json" in truth and (folder / truth).is_file():
            cases.append(Case(file["name"], path, logs_beside(path), read_json(folder / truth)))
    return cases


def edge_cases() -> list[Case]:
    """Odd and damaged hives, by ``truth/edge.json``; a hive with logs stands in files ``case__file``."""
    folder = corpus_folder("hives")
    if folder is None or not (folder / "truth" / "edge.json").is_file():
        return []
    cases = []
    for name, truth in read_json(folder / "truth" / "edge.json").items():
        files = [path for path in sorted((folder / "edge").iterdir()) if path.name.split("__")[0] == name]
        files += [path for path in (folder / "edge").iterdir() if path.name in {name, f"{name}.xz"}]
        primary = next(path for path in files if ".LOG" not in path.name and "Recovered" not in path.name)
        cases.append(Case(name, primary, logs_beside(primary), truth))
    return cases


def logs_beside(hive: Path) -> tuple[tuple[str, Path], ...]:
    """The logs of a corpus hive."""
    stem, packed = hive.name.removesuffix(".xz"), hive.suffix == ".xz"
    names = [f"{stem}.{ending}" for ending in ("LOG", "LOG1", "LOG2")]
    paths = [(name, hive.with_name(f"{name}.xz" if packed else name)) for name in names]
    return tuple((name, path) for name, path in paths if path.is_file())


def cases_or_skip(cases: list[Case]) -> list[Any]:
    """Parameters for a test; one skipped test where the corpus is absent."""
    if cases:
        return [pytest.param(case, id=case.name) for case in cases]
    reason = "corpus 'hives' is absent: set FLEETSCAN_HIVES to its folder"
    return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]
