"""A sweep killed at any moment and resumed ends as if nothing had happened, and asks no complete host again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleetscan.errors import StoreError
from fleetscan.model.snapshot import Complete
from fleetscan.store.sql import open_store
from tests.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
HOSTS = 24
DEEP = bool(os.environ.get("FLEETSCAN_DEEP"))
KILLS = 50 if DEEP else 6
KILLS_OF_ONE = 6  # of one sweep; then it may end, and another one begins
MAX_SECONDS = 300

RULE = """
title: A provider of a service
id: 5f3f3d0e-8d0b-4d8e-9b57-0a3b0f6b9f01
status: experimental
description: Enough of a rule to have something to ask.
author: fleetscan
logsource: {category: registry_set, product: windows}
detection:
  selection: {TargetObject|contains: '\\\\CurrentVersion\\\\Run\\\\'}
  condition: selection
level: low
"""


def inventory(folder: Path) -> None:
    """Many hosts over the demo exports; one is broken, and so is never complete."""
    demo = ROOT / "inventory" / "demo"
    exports = sorted(demo.glob("base-*.reg"))
    lines = [f"  h{n:02d}: {{engine: embedded, hives: '{exports[n % len(exports)]}'}}" for n in range(HOSTS)]
    lines.append(f"  broken: {{engine: embedded, hives: '{demo / 'broken-SOFTWARE'}'}}")
    (folder / "fleet.yml").write_text("hosts:\n" + "\n".join(lines) + "\n")
    (folder / "rules").mkdir()
    (folder / "rules" / "rule.yml").write_text(RULE)


def command(store: str, *more: str) -> list[str]:
    words = ["sweep", "-i", "fleet.yml", "-r", "rules", "--store", store, "--concurrency", "2", "--log-format", "json"]
    return [sys.executable, "-m", "fleetscan", *words, *more]


def run(folder: Path, words: Sequence[str], kill_after: float | None, log: Path) -> bool:
    """Run a command; kill it ``kill_after`` seconds after its first host was asked. Did it end by itself?"""
    with log.open("wb") as errors:
        process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
    try:
        if kill_after is not None:
            eventually(lambda: process.poll() is not None or b"HostStarted" in log.read_bytes(), seconds=MAX_SECONDS)
        process.wait(MAX_SECONDS if kill_after is None else kill_after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True


def asked(log: Path) -> set[str]:
    found = set()
    for line in log.read_text().splitlines():
        if line.startswith('{"time"') and line.endswith("}"):
            record = json.loads(line)
            if record["event"] == "HostStarted":
                found.add(record["host"])
    return found


def complete(folder: Path, store: str) -> set[str] | None:
    """Hosts of the latest sweep with every scope covered; None if no sweep was begun."""
    try:
        with open_store(str(folder / store)) as opened:
            sweep = opened.sweep()
            return {host.id for host in opened.hosts(sweep.id) if host.complete}
    except StoreError:
        return None


def snapshot(folder: Path, store: str) -> dict[tuple[str, str], tuple[object, ...]]:
    """Everything a sweep knows, by host and scope, with the content of its blocks."""
    with open_store(str(folder / store)) as opened:
        sweep = opened.sweep()
        return {
            (host.id, scope): (cell.status, cell.unproven, cell.block and opened.block_digest(cell.block))
            for host in opened.hosts(sweep.id)
            for scope, cell in opened.tree(sweep.id, host.id).items()
        }


def test_a_killed_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    inventory(tmp_path)
    log = tmp_path / "log"
    assert run(tmp_path, command("calm.db"), None, log), log.read_text()
    calm = snapshot(tmp_path, "calm.db")
    assert len({host for host, _ in calm}) == HOSTS + 1
    assert sum(isinstance(cell[0], Complete) for cell in calm.values()) > HOSTS

    dice = random.Random(5)  # noqa: S311 - moments, not secrets
    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        kills += killed_until_it_ends(tmp_path, f"chaos-{rounds}.db", dice, log)
        assert snapshot(tmp_path, f"chaos-{rounds}.db") == calm


def killed_until_it_ends(folder: Path, store: str, dice: random.Random, log: Path) -> int:
    """Start, kill, resume, kill... the last time without killing; the number of kills."""
    for kills in range(KILLS_OF_ONE + 1):
        before = complete(folder, store)
        words = command(store) if before is None else command(store, "--resume")
        ended = run(folder, words, dice.uniform(0.0, 0.5) if kills < KILLS_OF_ONE else None, log)
        assert not asked(log) & (before or set()), "complete hosts were asked again"
        if ended:
            return kills
    pytest.fail("the last run was not killed and did not end")
