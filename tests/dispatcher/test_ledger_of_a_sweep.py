"""One sweep over hosts that fail in every way: each host and scope has exactly one status, with the right reason."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from fleetscan.dispatcher import Dispatcher, Limits
from fleetscan.engines.named import engine_named
from fleetscan.engines.osqueryi import OsqueryiEngine
from fleetscan.engines.recorded import Recorder
from fleetscan.model.host import Host, HostId
from fleetscan.model.registry import HKLM, HKU
from fleetscan.model.scope import Glob, Scope
from fleetscan.model.snapshot import Complete, Partial, Reason, Unreachable
from fleetscan.planner.plan import make_plan
from fleetscan.store.interface import PlanRecord, SweepHost
from fleetscan.store.sql import open_store
from fleetscan.transport.credentials import Credentials
from fleetscan.transport.ssh import SshTransport
from tests.doubles.fault_server import raw_server
from tests.doubles.osqueryd import manager
from tests.doubles.shell import AWAY, RefusalError, answer_rows
from tests.engines.conftest import faults  # noqa: F401 - a fixture
from tests.patience import LONG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fleetscan.engines.interface import Engine
    from fleetscan.model.snapshot import Status
    from tests.engines.conftest import Faults

MACHINE = Scope(HKLM, ("SOFTWARE", "A"))
USERS = Scope(HKU, (Glob("S-1-5-21-*"), "Software"))
PLAN = make_plan([], extra_scopes=[MACHINE, USERS])

OVER_SSH = {
    "refused": Reason.AUTH,
    "no_osquery": Reason.NO_OSQUERY,
    "hostile": Reason.NO_OSQUERY,
    "cut": Reason.TRUNCATED,
    "dies": Reason.TRUNCATED,
    "silent": Reason.DEADLINE,
    "endless": Reason.TOO_LARGE,
    "other_nonce": Reason.PROTOCOL,
    "not_json": Reason.PROTOCOL,
    "not_utf8": Reason.PROTOCOL,
    "mangled": Reason.PROTOCOL,
    "dns": Reason.DNS,
    "nobody": Reason.REFUSED,
    "no_banner": Reason.TIMEOUT,
    "unknown_key": Reason.HOST_KEY_UNKNOWN,
    "changed_key": Reason.HOST_KEY_CHANGED,
}
ELSEWHERE = {
    "denied": Reason.DENYLISTED,
    "broken_daemon": Reason.OSQUERY_ERROR,
    "no_daemon": Reason.NO_OSQUERY,
    "unreadable": Reason.UNREADABLE,
    "no_hive": Reason.NO_HIVE,
    "not_recorded": Reason.NOT_ASKED,
    "bug": Reason.INTERNAL,
}
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBvKJLaNSmiWFHRrOYDLd8dHcPYzq5lVqTQcGhuBgpf2"


def over_ssh(faults: Faults, folder: Path, silent_port: int) -> Iterator[Host]:  # noqa: F811 - the fixture
    server = faults.server
    pins = [f"[127.0.0.1]:{port} {server.host_key}" for port in (server.port, silent_port, 1)]
    (folder / "pins").write_text("\n".join([*pins, f"no-such-host.invalid {server.host_key}"]) + "\n")
    (folder / "changed").write_text(f"[127.0.0.1]:{server.port} {OTHER_KEY}\n")
    special: dict[str, dict[str, str | float]] = {
        "silent": {"timeout": 2.0},
        "dns": {"address": "no-such-host.invalid", "port": 22},
        "nobody": {"port": 1},
        "no_banner": {"port": silent_port, "connect_timeout": 1.0},
        "unknown_key": {"known_hosts": str(folder / "nothing")},
        "changed_key": {"known_hosts": str(folder / "changed")},
    }
    for name in ("good", "noisy", *OVER_SSH):
        found = faults.host(name, **{"known_hosts": str(folder / "pins"), **special.get(name, {})})
        yield Host(id=HostId(name), engine=found.engine, settings=found.settings)


def export(folder: Path, *keys: str) -> str:
    path = folder / f"{len(list(folder.glob('*.reg')))}.reg"
    path.write_text(
        "Windows Registry Editor Version 5.00\n\n" + "\n".join(f'[{key}]\n"x"="y"\n' for key in keys), "utf-16"
    )
    return str(path)


def elsewhere(folder: Path, denied: Path, broken: Path) -> Iterator[Host]:
    (folder / "damaged").write_bytes(b"regf" + b"\0" * 5000)
    settings: Mapping[str, tuple[str, str, str]] = {
        "denied": ("osqueryd", "socket", str(denied)),
        "broken_daemon": ("osqueryd", "socket", str(broken)),
        "no_daemon": ("osqueryd", "socket", str(folder / "none")),
        "unreadable": ("embedded", "hives", str(folder / "damaged")),
        "no_hive": ("embedded", "hives", export(folder, r"HKEY_LOCAL_MACHINE\SYSTEM\Select")),
        "not_recorded": ("recorded", "recording", str(folder / "tape")),
        "bug": ("bug", "x", "y"),
    }
    for name, (engine, key, value) in settings.items():
        yield Host(id=HostId(name), engine=engine, settings=MappingProxyType({key: value}))


def refusing(message: str) -> Sequence[Mapping[str, str]]:
    raise RefusalError(message)


@pytest.fixture
def statuses(faults: Faults, tmp_path: Path) -> Iterator[dict[str, dict[str, Status]]]:  # noqa: F811 - the fixture
    """Every cell of the ledger, as stored: host, scope, status."""
    ssh = OsqueryiEngine(SshTransport(Credentials({})), max_bytes=4 * 1024 * 1024)

    def engines(name: str) -> Engine:
        if name == "bug":
            raise ZeroDivisionError
        return ssh if name == "osqueryi" else engine_named(name)

    # A recording of another plan: what is asked now is not in it.
    other = Host(id=HostId("not_recorded"), engine="embedded", settings={"hives": export(tmp_path, "HKEY_USERS")})
    tape = Recorder(tmp_path / "tape", engine_named)
    tape("embedded").ask(other, make_plan([], extra_scopes=[Scope(HKLM, ("SYSTEM", "Select"))]).statements[-1:])

    def denying(sql: str) -> Sequence[Mapping[str, str]]:
        return refusing("distributed query is denylisted") if "registry" in sql else answer_rows(sql)

    def breaking(sql: str) -> Sequence[Mapping[str, str]]:
        return refusing("no such table: registry") if "registry" in sql else answer_rows(sql)

    with (
        raw_server(b"") as silent_port,
        manager(tmp_path / "denied", denying) as denied,
        manager(tmp_path / "broken", breaking) as broken,
        open_store(str(tmp_path / "s.db")) as store,
    ):
        hosts = [*over_ssh(faults, tmp_path, silent_port), *elsewhere(tmp_path, denied, broken)]
        now = datetime.now(UTC)
        listed = [SweepHost(id=host.id, engine=host.engine, groups=()) for host in hosts]
        sweep = store.begin_sweep(PlanRecord.of(PLAN), listed, started=now, note="")
        limits = Limits(concurrency=30, host_seconds=3 * LONG, attempts=2, backoff_seconds=0.1)
        for result in Dispatcher(PLAN, engines, limits=limits, stop=threading.Event()).run(hosts):
            store.put(sweep, result)
        cells = list(store.coverage(sweep))
        # Exactly one for every host and scope.
        assert Counter((cell.host, cell.scope_id) for cell in cells) == {
            (host.id, scope.id): 1 for host in hosts for scope in PLAN.scopes
        }
        found: dict[str, dict[str, Status]] = {}
        for cell in cells:
            found.setdefault(cell.host, {})[cell.scope_id] = cell.status
        yield found


def test_every_host_and_scope_has_one_status_with_its_reason(statuses: dict[str, dict[str, Status]]) -> None:
    said = {host: {_word(status) for status in scopes.values()} for host, scopes in statuses.items()}
    expected = {host: {word} for host, word in (OVER_SSH | ELSEWHERE).items()}
    assert {host: words for host, words in said.items() if host in expected} == expected


def test_what_was_proven_beside_what_was_not_is_kept(statuses: dict[str, dict[str, Status]]) -> None:
    # A user of the machine who is not logged on: named for the scope that would have looked, and for no other.
    for host in ("good", "noisy"):
        assert statuses[host] == {MACHINE.id: Complete(), USERS.id: Partial(Reason.NOT_LOADED, AWAY)}
    # What shows which users there are was no UTF-8: that none of them had anything is then not said either.
    status = statuses["not_utf8"][USERS.id]
    assert isinstance(status, Partial)
    assert status.detail.startswith("which users there are is not known")


def _word(status: Status) -> Reason | type[Complete]:
    return Complete if isinstance(status, Complete) else status.reason


def test_what_a_host_complained_about_is_kept_for_people(statuses: dict[str, dict[str, Status]]) -> None:
    status = statuses["hostile"][MACHINE.id]
    assert isinstance(status, Unreachable)
    assert "not found" in status.detail
