"""What planning costs: ``python benchmarks/planner.py [--quick]``, with the corpora beside the project.

Printed, each with its target:

* cold: a fresh process that loads and plans the whole rule corpus;
* calls: registry calls of the merged plan on real hives, against the lower bound (every key that some rule needs, read
  once, with the listings without which it cannot be found or proven absent), and against one LIKE query per scope of
  every rule;
* answer: bytes of JSON of the merged plan's answer.
"""

from __future__ import annotations

import argparse
import lzma
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.engines.registry_table.database import Database
from fleetscan.engines.registry_table.errors import DeadlineError
from fleetscan.engines.registry_table.printer import json_rows
from fleetscan.hives.collection import machine
from fleetscan.hives.load import load
from fleetscan.model.registry import fold
from fleetscan.model.scope import Glob, element_matches
from fleetscan.planner.plan import make_plan
from fleetscan.rules.load import load_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetscan.hives.mount import Registry
    from fleetscan.hives.tree import Key
    from fleetscan.model.scope import Scope
    from fleetscan.planner.plan import Plan

PROJECT = Path(__file__).resolve().parent.parent
MACHINE = (
    "win10-1709-lonewolf-SYSTEM",
    "win10-tony-NTUSER.DAT",
    "win10-admin-UsrClass.dat",
    "reg/wine8-HKLM-SOFTWARE.reg",
)
COLD = (
    "import sys; from fleetscan.rules.load import load_rules; from fleetscan.planner.plan import make_plan;"
    " make_plan(load_rules(sys.argv[1:]).rules)"
)
CELL = 3  # a value costs one listing and two reads


def corpus(name: str) -> Path:
    """The folder of a corpus, as the tests find it."""
    return Path(os.environ.get(f"FLEETSCAN_{name.upper()}") or PROJECT.parent / "shared" / name)


def cold_seconds(rules: Path) -> tuple[float, float]:
    """Wall and CPU time of a process that loads and plans; the best of three."""
    times = []
    for _ in range(3):
        start, before = time.perf_counter(), os.times()
        subprocess.run(
            [sys.executable, "-c", COLD, str(rules / "sigma"), str(rules / "elastic")], check=True, cwd=PROJECT
        )
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        times.append((time.perf_counter() - start, cpu))
    return min(times)


def real_registry(hives: Path, folder: Path) -> Registry:
    """The shared hives as one machine."""
    for name in MACHINE:
        packed = hives / f"{name}.xz"
        (folder / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    return load(machine("machine", sorted(folder.iterdir())))


def spent(database: Database) -> int:
    """Registry calls up to now."""
    calls = database.calls
    return calls.open + calls.list_subkey + calls.list_value + calls.read_value


State = tuple["Scope", int]


def lower_bound(plan: Plan, registry: Registry) -> int:
    """Calls to read each needed key once, on the hives themselves."""
    total = 0
    for root, key in registry.roots.items():
        states = [(scope, 0) for scope in plan.scopes if scope.root == root]
        total += sum(map(cost, needed(registry, (root,), key, states))) if states else 0
    return total


def needed(registry: Registry, path: tuple[str, ...], key: Key, states: list[State]) -> Iterator[Key]:
    """The key and all below it that must be read; a place with two names under one of them."""
    subkeys = list(key.subkeys())
    names = {fold(sub.name) for sub in subkeys}
    if any(must_read(scope, at, names) for scope, at in states):
        yield key
    for sub in subkeys:
        place = (*path, sub.name)
        below = [state for scope, at in states for state in follow(scope, at, sub.name)]
        if not below or is_second_name(registry, place, names):
            continue
        target = registry.open(place) if sub.link_target is not None else sub
        if target is not None:
            yield from needed(registry, place, target, below)


def is_second_name(registry: Registry, place: tuple[str, ...], beside: set[str]) -> bool:
    r""".DEFAULT beside S-1-5-18, and Software\Classes of a user who has a class hive."""
    folded = tuple(map(fold, place))
    if folded == ("HKEY_USERS", ".DEFAULT"):
        return "S-1-5-18" in beside
    classes = folded[:1] == ("HKEY_USERS",) and folded[2:] == ("SOFTWARE", "CLASSES")
    return classes and registry.open((place[0], f"{place[1]}_Classes")) is not None


def must_read(scope: Scope, at: int, names: set[str]) -> bool:
    """Held, to be listed, or the proof that the next key is absent."""
    if at >= len(scope.elements):
        return True
    element = scope.elements[at]
    return isinstance(element, Glob) or fold(element) not in names


def follow(scope: Scope, at: int, name: str) -> Iterator[State]:
    """The states behind a subkey."""
    fixed = len(scope.elements)
    if at < fixed:
        if element_matches(scope.elements[at], name):
            yield scope, at + 1
    elif scope.depth is None:
        yield scope, fixed
    elif at < fixed + scope.depth:
        yield scope, at + 1


def cost(key: Key) -> int:
    """Calls to read one key."""
    return 1 + len(key.subkeys()) + CELL * len(key.values())


def like_calls(plan: Plan, registry: Registry, seconds: float) -> tuple[int, float]:
    """Calls of one LIKE query per scope of every rule, and the share of the rules that were asked in the time given."""
    database = Database(registry)
    end = time.monotonic() + seconds
    by_id = {scope.id: scope for scope in plan.scopes}
    done = 0
    database.deadline = end
    for found in plan.rules:
        try:
            for scope_id in found.scope_ids:
                for _ in database.rows(like_query(by_id[scope_id])):
                    pass
        except DeadlineError:
            break
        done += 1
    return spent(database), done / len(plan.rules)


def like_query(scope: Scope) -> str:
    """The query a person would write."""
    elements = ["%" if isinstance(element, Glob) else element for element in scope.elements]
    pattern = "\\".join([scope.root, *elements, *(["%%"] if scope.depth is None else [])]).replace("'", "''")
    return f"SELECT key, name, type, data FROM registry WHERE key LIKE '{pattern}'"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ask LIKE queries for ten seconds only")
    args = parser.parse_args()
    rules = corpus("corpus")
    wall, cpu = cold_seconds(rules)
    print(f"cold load and plan: {wall:.2f} s, {cpu:.2f} s of them CPU (target 2 s)")
    plan = make_plan(load_rules([rules]).rules)
    size = sum(len(text.sql) for text in plan.statements)
    print(
        f"{len(plan.rules)} rules, {len(plan.scopes)} scopes, {len(plan.statements)} statements, {size:,} bytes of SQL"
    )
    with tempfile.TemporaryDirectory() as folder:
        registry = real_registry(corpus("hives"), Path(folder))
        database = Database(registry)
        start, answer = time.perf_counter(), 0
        for text in plan.statements:
            if text.scope_ids:
                answer += len(json_rows(list(database.texts(text.sql))).encode())
        seconds, calls = time.perf_counter() - start, spent(database)
        bound = lower_bound(plan, registry)
        print(f"asked in {seconds:.1f} s; answer {answer:,} bytes of JSON (target 1,000,000)")
        print(f"registry calls: {calls:,}; lower bound {bound:,}; ratio {calls / bound:.3f} (target 1.05)")
        likes, share = like_calls(plan, registry, 10 if args.quick else 300)
        print(f"one LIKE a scope: {likes:,} calls for {share:.0%} of the rules: {likes / calls:.1f} x (target 10 x)")


if __name__ == "__main__":
    main()
