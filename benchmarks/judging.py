"""What judging costs: ``python benchmarks/judging.py [--quick] [--rules FOLDER]``, with the corpora beside the project.

All figures are processor time of one core, so that a busy machine changes them little. Printed, each with its target:

* fleet: microseconds a row for rows of many hosts, whose keys are the same and whose data differ, all of them distinct;
* distinct: the same for rows of which each key is new (one per user, class or device): nothing is remembered of keys;
* cold: a fresh process that loads and plans the rules, beside one in which pySigma alone parses the Sigma rules.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.evaluate import compile_rules, judge_rows
from fleetscan.model.registry import RegistryRow
from fleetscan.rules.load import load_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleetscan.model.rule import Rule

PROJECT = Path(__file__).resolve().parent.parent
KEYS = (
    r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\svc{}",
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Image File Execution Options\app{}.exe",
    r"HKEY_USERS\S-1-5-21-1-2-3-{}\Software\Microsoft\Windows\CurrentVersion\Run",
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Classes\CLSID\{{{:08}-0000-0000-0000-000000000000}}\InprocServer32",
    r"HKEY_USERS\S-1-5-21-1-2-3-{}_Classes\CLSID\{{A}}\InprocServer32",
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Cryptography\OID\EncodingType 0\CryptSIPDllGetSignedDataMsg\{{{}}}",
    r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Class\{{{}}}\0001",
)
"""Places that rules look at, most of which hold one key per service, user, class or device."""
NAMES = ("ImagePath", "Start", "(Default)", "Dll", "FuncName", "Type", "Shell", "DisplayName")
TYPES = ("REG_SZ", "REG_DWORD", "REG_BINARY", "REG_EXPAND_SZ")
TARGET = 30.0
COLD = (
    "import sys; from fleetscan.rules.load import load_rules; from fleetscan.planner.plan import make_plan;"
    " make_plan(load_rules(sys.argv[1:]).rules)"
)
PYSIGMA = (
    "import sys, pathlib; from sigma.collection import SigmaCollection;"
    "files = list(pathlib.Path(sys.argv[1]).rglob('*.yml'));"
    "SigmaCollection.from_yaml('\\n---\\n'.join(file.read_text('utf-8') for file in files), collect_errors=True)"
)


def rows(keys: int, hosts: int, seed: int = 1) -> Iterator[RegistryRow]:
    """One row a name of every key, for every host; data differ from host to host."""
    draw = random.Random(seed)  # noqa: S311 - figures that repeat
    for host in range(hosts):
        for number in range(keys):
            key = KEYS[number % len(KEYS)].format(number // len(KEYS))
            for name in NAMES:
                kind = draw.choice(TYPES)
                number_text = str(draw.randrange(1 << 30))
                data = number_text if kind == "REG_DWORD" else rf"%SystemRoot%\system32\a{number_text}-{host}.dll"
                yield RegistryRow(key, name, kind, data)


def judging(rules: Sequence[Rule], found: Sequence[RegistryRow]) -> tuple[float, int]:
    """Microseconds a row, rules prepared within the time, and the number of findings."""
    start = time.process_time()
    findings = sum(1 for _ in judge_rows(compile_rules(rules), found))
    return (time.process_time() - start) / len(found) * 1e6, findings


def cold_seconds(program: str, *folders: Path) -> float:
    """Processor time of a process; the best of three."""
    times = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-c", program, *map(str, folders)], check=True, cwd=PROJECT)
        after = os.times()
        times.append(
            after.children_user + after.children_system - before.children_user - before.children_system,
        )
    return min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--rules", type=Path, help="a folder of rules with sigma/ and elastic/; default: the corpus")
    args = parser.parse_args()
    folder = args.rules or Path(os.environ.get("FLEETSCAN_CORPUS") or PROJECT.parent / "shared" / "corpus")
    rules = load_rules([folder / "sigma", folder / "elastic"]).rules
    share = 10 if args.quick else 1
    for name, keys, hosts in (("fleet", 1250, 100 // share), ("distinct", 125_000 // share, 1)):
        found = list(rows(keys, hosts))
        cost, findings = judging(rules, found)
        print(
            f"{name}: {len(found):,} rows, {len(rules)} rules, {findings:,} findings: {cost:.1f} us a row,"
            f" {cost:.1f} s a million (target {TARGET:.0f}), {TARGET / cost * 1e6:,.0f} rows in {TARGET:.0f} s"
        )
    cold = cold_seconds(COLD, folder / "sigma", folder / "elastic")
    alone = cold_seconds(PYSIGMA, folder / "sigma")
    print(f"cold load and plan: {cold:.2f} s (target 2 s); pySigma alone, imported and parsing: {alone:.2f} s")


if __name__ == "__main__":
    main()
