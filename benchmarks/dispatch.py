"""How fast, and at what cost, a fleet is asked over SSH: a simulator process, then fleetscan, then others beside it.

``python benchmarks/dispatch.py --quick`` takes less than 50 seconds; without it, the numbers of the issue are used.
Ansible and pyinfra take part where they are on the PATH.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import asyncssh

from fleetscan.dispatcher import Dispatcher, Limits
from fleetscan.engines.framing import CANARY, HELLO, write_script
from fleetscan.engines.osqueryi import OsqueryiEngine
from fleetscan.model.host import Host, HostId
from fleetscan.model.registry import HKLM
from fleetscan.model.scope import Scope
from fleetscan.model.snapshot import Complete
from fleetscan.planner.plan import Plan, make_plan
from fleetscan.rules.load import load_rules
from fleetscan.settings import content
from fleetscan.store.interface import PlanRecord, SweepHost
from fleetscan.store.sql import open_store
from fleetscan.transport.credentials import Credentials
from fleetscan.transport.ssh import SshTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

PAYLOAD_BYTES = 150_000
FLEET = ("SOFTWARE", "Fleet")
KEY = "\\".join((HKLM, *FLEET))
LIMITS = {"cpu per host, ms": 10.0, "wall over ideal": 1.15, "peak MB": 300.0}


# The simulator: one process, any user name is a host.


def payload(host: str, size: int) -> str:
    """Rows of a registry walk, about ``size`` bytes; one value differs from host to host."""
    rows: list[str] = []
    length = 0
    while length < size:
        row = {
            "data": "x" * 60,
            "key": KEY,
            "mtime": "1700000000",
            "name": f"value{len(rows)}",
            "path": "",
            "type": "REG_SZ",
        }
        rows.append("  " + json.dumps(row, sort_keys=True))
        length += len(rows[-1])
    rows.append("  " + json.dumps({**row, "name": "host", "data": host}, sort_keys=True))
    return "[\n" + ",\n".join(rows) + "\n]\n"


def answer(script: str, host: str, body: str) -> bytes:
    """What osqueryi prints for the script: hello and canary as they are, one walk with the payload, the rest empty."""
    out: list[str] = []
    for line in script.splitlines():
        if line.startswith(".print"):
            out.append(line[7:] + "\n")
        elif line == f"{HELLO.sql};":
            out.append('[\n  {"pid":"0","platform":"simulator","version":"5.23.1"}\n]\n')
        elif line == f"{CANARY.sql};":
            sent = re.findall(r"'([^']*)'", line)[0]
            out.append(f'[\n  {{"made":"{sent}","sent":"{sent}"}}\n]\n')
        elif line.startswith("WITH RECURSIVE") and "\\".join(FLEET) in line:
            out.append(body.replace("HOST", host))
        elif line and not line.startswith("."):
            out.append("[\n\n]\n")
    return "".join(out).encode()


async def serve(folder: Path, latency: float, size: int) -> None:
    """Listen until the process is ended."""
    body = payload("HOST", size)

    async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
        command, user = process.command or "", process.get_extra_info("username")
        script = "" if "SELECT" in command else (await process.stdin.read()).decode()
        await asyncio.sleep(latency)
        process.stdout.write(answer(script, user, body) if script else body.replace("HOST", user).encode())
        process.exit(0)

    key = asyncssh.read_private_key(str(folder / "host"))
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[key],
        authorized_client_keys=str(folder / "id.pub"),
        process_factory=handle,
        encoding=None,
        backlog=2000,
        login_timeout=0,
    )
    (folder / "port").write_text(str(server.get_port()))
    await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class Simulator:
    """A running simulator and the files of its clients."""

    folder: Path
    port: int

    def hosts(self, count: int) -> Iterator[Host]:
        """So many hosts, each a user name."""
        for number in range(count):
            settings = {
                "address": "127.0.0.1",
                "port": self.port,
                "user": f"h{number}",
                "osqueryi": "osqueryi",
                "identity_file": str(self.folder / "id"),
                "known_hosts": str(self.folder / "known_hosts"),
                "agent": False,
                "connect_timeout": 60.0,
            }
            yield Host(id=HostId(f"h{number}"), engine="osqueryi", settings=MappingProxyType(settings))


@contextmanager
def simulator(latency: float, size: int) -> Iterator[Simulator]:
    """A simulator in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("host", "id"):
            key = asyncssh.generate_private_key("ssh-ed25519")
            key.write_private_key(str(folder / file))
            key.write_public_key(str(folder / f"{file}.pub"))
            (folder / file).chmod(0o600)
        words = [sys.executable, __file__, "--serve", str(folder), "--latency", str(latency), "--payload", str(size)]
        process = subprocess.Popen(words)
        try:
            while not (folder / "port").exists() or not (folder / "port").read_text():
                time.sleep(0.05)
            port = int((folder / "port").read_text())
            public = " ".join((folder / "host.pub").read_text().split()[:2])
            (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
            yield Simulator(folder, port)
        finally:
            process.terminate()
            process.wait()


# fleetscan


def sweep(plan: Plan, running: Simulator, count: int, concurrency: int) -> tuple[float, float, int]:
    """Ask ``count`` hosts and store their answers: wall seconds, CPU seconds of this process, hosts complete."""
    engine = OsqueryiEngine(SshTransport(Credentials({})))
    now = datetime.now(UTC)
    with open_store(str(running.folder / f"store-{count}.db")) as store:
        record = [SweepHost(id=host.id, engine="osqueryi") for host in running.hosts(count)]
        sweep_id = store.begin_sweep(PlanRecord.of(plan), record, started=now, note="")
        dispatcher = Dispatcher(plan, lambda _: engine, limits=Limits(concurrency=concurrency, host_seconds=300.0))
        wall, cpu = time.monotonic(), time.process_time()
        complete = 0
        for results in dispatcher.bundles(running.hosts(count), total=count):
            store.put(sweep_id, *results)
            complete += sum(all(isinstance(scope.status, Complete) for scope in one.scopes) for one in results)
        return time.monotonic() - wall, time.process_time() - cpu, complete


def children_seconds() -> float:
    """CPU seconds of all processes that were started from here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _load() -> str:
    """How busy the machine is: with more work than processors, every time above is too long."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


def peak_megabytes() -> float:
    """The most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# Others, asked to do the same on the same servers: run osqueryi on every host, keep what it prints. Ansible and pyinfra
# have no standard input to give: the query stands on their command line, which fleetscan never does.

COMMAND = "osqueryi --json 'SELECT * FROM registry'"


def xargs(running: Simulator, script: bytes, count: int, concurrency: int) -> list[str]:
    """OpenSSH's client, many at once with xargs."""
    (running.folder / "script").write_bytes(script)
    options = (
        f"-p {running.port} -i {running.folder}/id -o BatchMode=yes -o UserKnownHostsFile={running.folder}/known_hosts"
        " -o IdentitiesOnly=yes -F none"
    )
    command = f"ssh {options} h{{}}@127.0.0.1 osqueryi --json < {running.folder}/script > {running.folder}/out.{{}}"
    numbers = " ".join(map(str, range(count)))
    return ["sh", "-c", f"echo {numbers} | tr ' ' '\\n' | xargs -P {concurrency} -I{{}} sh -c '{command}'"]


def ansible(running: Simulator, script: bytes, count: int, concurrency: int) -> list[str]:
    """Ansible's ad-hoc command; ``raw`` needs no Python on the host."""
    del script
    lines = [
        f"h{n} ansible_host=127.0.0.1 ansible_port={running.port} ansible_user=h{n}"
        f" ansible_ssh_private_key_file={running.folder}/id"
        f" ansible_ssh_common_args='-o UserKnownHostsFile={running.folder}/known_hosts'"
        for n in range(count)
    ]
    (running.folder / "hosts.ini").write_text("\n".join(lines) + "\n")
    words = [
        "all",
        "-i",
        str(running.folder / "hosts.ini"),
        "-m",
        "raw",
        "-a",
        COMMAND,
        "-f",
        str(concurrency),
    ]
    return ["ansible", *words, "-t", str(running.folder / "tree")]


def pyinfra(running: Simulator, script: bytes, count: int, concurrency: int) -> list[str]:
    """The ad-hoc command of pyinfra."""
    del script
    lines = ",".join(
        f"('h{n}', {{'ssh_hostname': '127.0.0.1', 'ssh_port': {running.port}, 'ssh_user': 'h{n}',"
        f" 'ssh_key': '{running.folder}/id', 'ssh_known_hosts_file': '{running.folder}/known_hosts'}})"
        for n in range(count)
    )
    (running.folder / "fleet.py").write_text(f"fleet = [{lines}]\n")
    words = ["-y", "--parallel", str(concurrency), str(running.folder / "fleet.py"), "exec", "--", COMMAND]
    return ["pyinfra", *words]


OTHERS = {"ssh": ("OpenSSH + xargs", xargs), "ansible": ("Ansible", ansible), "pyinfra": ("pyinfra", pyinfra)}


def compare(running: Simulator, plan: Plan, count: int, concurrency: int) -> None:
    """Wall and CPU time of the others, each in a process whose children are counted."""
    script = write_script(plan.statements).text
    wall, cpu, complete = sweep(plan, running, count, concurrency)
    _row("fleetscan", wall, cpu, count, f"{complete} complete, parsed and stored")
    for program, (name, words) in OTHERS.items():
        if shutil.which(program) is None:
            print(f"  {name:18} not installed")
            continue
        before = children_seconds()
        began = time.monotonic()
        done = subprocess.run(words(running, script, count, concurrency), capture_output=True, check=False, timeout=600)
        wall = time.monotonic() - began
        _row(name, wall, children_seconds() - before, count, f"exit {done.returncode}, raw output kept, nothing parsed")


def _row(name: str, wall: float, cpu: float, count: int, note: str) -> None:
    print(
        f"  {name:18} {wall:6.1f} s  {count / wall:6.1f} hosts/s  {1000 * cpu / count:6.1f} ms CPU per host  ({note})"
    )


def _verdict(name: str, value: float) -> None:
    print(f"  {name}: {value:.2f} (wanted: at most {LIMITS[name]:g}) {'ok' if value <= LIMITS[name] else 'MISSED'}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, less than 50 seconds")
    parser.add_argument("--only", choices=("cost", "overlap", "memory", "others"), help="one of the measurements")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--latency", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--payload", type=int, default=PAYLOAD_BYTES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.serve, args.latency, args.payload))
        return
    # What a sweep with the shipped rules asks, and one key more that holds the payload.
    plan = make_plan(load_rules((content("rules"),)).rules, extra_scopes=[Scope(HKLM, FLEET, None)])
    wanted = (args.only,) if args.only else ("cost", "overlap", "memory", "others")
    if "cost" in wanted:
        count = 200 if args.quick else 1000
        print(f"cost: {count} hosts, {PAYLOAD_BYTES // 1000} KB each, every answer different, parsed and stored")
        with simulator(0.0, PAYLOAD_BYTES) as running:
            wall, cpu, complete = sweep(plan, running, count, 20)
        _row("fleetscan", wall, cpu, count, f"{complete} complete; {_load()}")
        _verdict("cpu per host, ms", 1000 * cpu / count)
    if "overlap" in wanted:
        count, concurrency, latency = (100, 50, 2.0) if args.quick else (1000, 200, 2.0)
        print(f"overlap: {count} hosts that take {latency:g} s, {concurrency} at once")
        before = children_seconds()
        with simulator(latency, 2000) as running:
            wall, cpu, complete = sweep(plan, running, count, concurrency)
        _row("fleetscan", wall, cpu, count, f"{complete} complete")
        used = children_seconds() - before
        print(f"  the simulator took {1000 * used / count:.1f} ms CPU per host; {_load()}")
        _verdict("wall over ideal", wall / (count / concurrency * latency))
    if "memory" in wanted:
        count = 600 if args.quick else 10_000
        print(f"memory: {count} hosts, 10 KB each")
        with simulator(0.0, 10_000) as running:
            wall, cpu, complete = sweep(plan, running, count, 50)
        _row("fleetscan", wall, cpu, count, f"{complete} complete")
        _verdict("peak MB", peak_megabytes())
    if "others" in wanted:
        count = 60 if args.quick else 300
        print(f"others: {count} hosts, 150 KB each, 20 at once, the same servers")
        with simulator(0.0, PAYLOAD_BYTES) as running:
            compare(running, plan, count, 20)


if __name__ == "__main__":
    main()
