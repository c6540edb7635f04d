"""What the embedded engine costs, against one full walk of the same hives with libregf, in one run on one core.

    python benchmarks/engine.py [--rounds 5] [--hives FOLDER] [--corpus FOLDER]

Measured are the plan of the three seed rules over a machine made of a SYSTEM hive, a user's hive and a SOFTWARE hive
(opening and mounting included, imports not), and a recursion over every key of each hive in SQL. The walk reads
every key's name and time and every value's name, type and data. Times are the best of some rounds, in CPU seconds.
"""

from __future__ import annotations

import argparse
import lzma
import multiprocessing
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyregf
from tabulate import tabulate

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from fleetscan.engines.embedded import EmbeddedEngine
from fleetscan.engines.registry_table.blind_spots import Witness
from fleetscan.engines.registry_table.database import Database
from fleetscan.hives.mount import Registry
from fleetscan.hives.regf import Hive
from fleetscan.hives.regfile import apply_reg
from fleetscan.hives.tree import MemoryRegistry
from fleetscan.model.host import Host, HostId
from fleetscan.planner.plan import Answered, make_plan
from fleetscan.rules.load import load_rules
from tests.doubles.hive_writer import write

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM, USER, SOFTWARE = "win10-1709-lonewolf-SYSTEM", "win10-admin-NTUSER.DAT", "reg/wine8-HKLM-SOFTWARE.reg"
REAL = ("SYSTEM", "NTUSER")
"""Hives that Windows wrote. libregf needs seconds for the SOFTWARE hive, whose single bin is not as Windows cuts them;
so it is left out of the walk, which makes both goals harder."""
SEEDS = (
    "sigma/rules/windows/registry/registry_set/registry_set_sip_persistence.yml",
    "sigma/rules/windows/registry/registry_set/registry_set_asep_reg_keys_modification_winsock2.yml",
    "elastic/rules/windows/defense_evasion_sip_provider_mod.toml",
)
WALK = """WITH RECURSIVE walk(key, path, name, type, data) AS (
  SELECT key, path, name, type, data FROM registry WHERE key = 'HKEY_LOCAL_MACHINE'
  UNION ALL
  SELECT r.key, r.path, r.name, r.type, r.data
  FROM walk w CROSS JOIN registry r WHERE w.type = 'subkey' AND r.key = w.path)
SELECT key, name, type, data FROM walk"""
ROOT = "HKEY_LOCAL_MACHINE"
PLAN_GOAL, WALK_GOAL = 0.1, 3.0
MEGABYTE = 1 << 20


def main() -> int:
    """Prepare, measure, print; 0 if both goals are reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="best of so many (%(default)s)")
    parser.add_argument("--hives", type=Path, default=PROJECT.parent / "shared" / "hives")
    parser.add_argument("--corpus", type=Path, default=PROJECT.parent / "shared" / "corpus")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = prepare(args.hives, Path(folder))
        walks = {name: best(args.rounds, partial(walk, path)) for name, path in files.items() if name in REAL}
        plan_ratio = measure_plan(args.corpus, Path(folder), sum(walks.values()), args.rounds)
        worst = measure_recursion(files, walks, args.rounds)
    print(f"\nplan: {plan_ratio:.3f} of the walk (goal: at most {PLAN_GOAL})")
    print(f"recursion: at most {worst:.2f} x the walk (goal: at most {WALK_GOAL})")
    return int(plan_ratio > PLAN_GOAL or worst > WALK_GOAL)


def prepare(hives: Path, folder: Path) -> dict[str, Path]:
    """The three hives as plain files; SOFTWARE is written from an export."""
    files = {"SYSTEM": folder / "SYSTEM", "NTUSER": folder / "NTUSER.DAT", "SOFTWARE": folder / "SOFTWARE"}
    files["SYSTEM"].write_bytes(unpacked(hives / f"{SYSTEM}.xz"))
    files["NTUSER"].write_bytes(unpacked(hives / f"{USER}.xz"))
    memory = MemoryRegistry()
    apply_reg(memory, unpacked(hives / f"{SOFTWARE}.xz"), SOFTWARE)
    root = memory.find(("HKEY_LOCAL_MACHINE", "SOFTWARE"))
    if root is None:
        raise SystemExit(f"{SOFTWARE} holds no HKEY_LOCAL_MACHINE\\SOFTWARE")
    files["SOFTWARE"].write_bytes(write(root, name="SOFTWARE"))
    return files


def unpacked(file: Path) -> bytes:
    """The content of an xz file."""
    return lzma.decompress(file.read_bytes())


def best(rounds: int, run: Callable[[], object]) -> float:
    """Least CPU seconds of some runs."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return min(times)


def walk(path: Path) -> tuple[int, int]:
    """Read all of a hive with libregf: the number of keys and values."""
    file = pyregf.file()
    file.open(str(path))
    keys = values = 0
    stack = [file.get_root_key()]
    while stack:
        key = stack.pop()
        keys += 1
        _ = key.name, key.get_last_written_time_as_integer()
        for index in range(key.number_of_values):
            value = key.get_value(index)
            _ = value.name, value.type, value.data
            values += 1
        stack.extend(key.get_sub_key(index) for index in range(key.number_of_sub_keys))
    file.close()
    return keys, values


def measure_plan(corpus: Path, folder: Path, walked: float, rounds: int) -> float:
    """The plan of the seed rules over the machine, as a part of the walk."""
    seeds = [path for seed in SEEDS if (path := corpus / seed).is_file()] or [PROJECT / "rules"]
    plan = make_plan(load_rules(seeds).rules)
    host = Host(id=HostId("bench"), engine="embedded", settings={"hives": str(folder)})
    engine = EmbeddedEngine()
    answers = engine.ask(host, plan.statements).answers.values()
    rows = sum(len(answer.rows) for answer in answers if isinstance(answer, Answered))
    seconds = best(rounds, lambda: engine.ask(host, plan.statements))
    print(
        f"plan of {len(plan.rules)} rules: {len(plan.statements)} statements, {rows} rows,"
        f" {seconds * 1000:.1f} ms; walk of its SYSTEM and NTUSER: {walked * 1000:.1f} ms"
    )
    return seconds / walked


def measure_recursion(files: dict[str, Path], walks: dict[str, float], rounds: int) -> float:
    """A recursion over every hive in SQL; the worst ratio."""
    lines = []
    for name, walked in walks.items():
        path = files[name]
        seconds = best(rounds, partial(recurse, path))
        keys, values = walk(path)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            memory = pool.apply(memory_of_recursion, (path,))
        lines.append(
            (
                name,
                keys,
                values,
                f"{walked * 1000:.0f} ms",
                f"{seconds * 1000:.0f} ms",
                f"{seconds / walked:.2f}",
                f"{path.stat().st_size / MEGABYTE:.1f} MB",
                f"{memory / MEGABYTE:.1f} MB",
            )
        )
    print(tabulate(lines, headers=("hive", "keys", "values", "walk", "recursion", "ratio", "file", "memory")))
    return max(float(line[5]) for line in lines)


def recurse(path: Path) -> int:
    """Every row of a hive by SQL; the number of rows. The hive stands alone: no link that would list keys twice."""
    hive = Hive(path.read_bytes(), path.name)
    database = Database(Registry(roots={ROOT: hive.root}), witness=Witness())
    count = sum(1 for _ in database.rows(WALK))
    database.close()
    return count


def memory_of_recursion(path: Path) -> int:
    """Bytes by which a recursion lets this process grow at most (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak starts anew
    before = resident("VmRSS")
    recurse(path)
    return resident("VmHWM") - before


def resident(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    sys.exit(main())
