"""``fleetscan hosts``: the inventory as resolved; whether hosts can be asked; their keys, pinned after a look."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tabulate import tabulate

from fleetscan.cli.options import add_limit_option
from fleetscan.dispatcher import Dispatcher, Limits, stop_on_signals
from fleetscan.engines.named import engine_named
from fleetscan.errors import ExitCode, SettingsError
from fleetscan.inventory import load_inventory, select
from fleetscan.model.registry import HKLM
from fleetscan.model.scope import Scope
from fleetscan.model.snapshot import Complete, jump_of
from fleetscan.planner.plan import make_plan
from fleetscan.progress import show_progress
from fleetscan.report.escape import visible
from fleetscan.transport.credentials import Credentials, terminal_prompt
from fleetscan.transport.destination import resolve
from fleetscan.transport.failure import TransportError
from fleetscan.transport.known_hosts import PinnedKey, Trust, Verdict, pin, read_known_hosts
from fleetscan.transport.ssh import SshTransport

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fleetscan.engines.interface import Engine
    from fleetscan.inventory import Inventory
    from fleetscan.model.host import Host
    from fleetscan.model.snapshot import HostResult
    from fleetscan.transport.destination import Destination

HELP = "the inventory as resolved; check connections; trust host keys"
_SSH_ENGINE = "osqueryi"
_PROBES = 32  # keys fetched at once
_NAMED = 3  # hosts that a line spells out


def configure(parser: ArgumentParser) -> None:
    """``list`` (the default), ``check``, ``trust``."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "check", "trust"),
        default="list",
        help="list what the inventory resolves to (default); check: connect and ask a little; trust: pin host keys",
    )
    parser.add_argument("-i", "--inventory", required=True, metavar="FILE", help="inventory file, or: -i user@host,")
    add_limit_option(parser)
    parser.add_argument("--json", action="store_true", help="list and check: JSON instead of a table")
    parser.add_argument("--concurrency", type=int, default=50, metavar="N", help="check: hosts at once (default: 50)")
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="check and trust: for one host (default: 30)"
    )
    parser.add_argument("--yes", action="store_true", help="trust: pin without asking; look at the fingerprints after")
    parser.add_argument("--hashed", action="store_true", help="trust: hash the names of hosts in known_hosts")


def run(
    args: Namespace,
    *,
    engines: Callable[[str], Engine] = engine_named,
    confirm: Callable[[str], bool] | None = None,
) -> ExitCode:
    """CLEAN if all is well; INCOMPLETE if some host was not reached or is not trusted."""
    if args.concurrency < 1 or args.timeout <= 0:
        raise SettingsError("--concurrency and --timeout must be above 0")
    whole = load_inventory(args.inventory)
    for note in whole.notes:
        print(f"fleetscan: {whole.source}: {visible(note)}", file=sys.stderr)
    inventory = select(whole, args.limit)
    if not inventory.hosts and args.action != "list":
        raise SettingsError("no host is left", where=whole.source, hint="fleetscan hosts -i FILE --limit PATTERN")
    match args.action:
        case "check":
            return _check(args, inventory, engines)
        case "trust":
            return _trust(args, inventory, confirm or _asked)
        case _:
            return _list(args, inventory)


# list


def _list(args: Namespace, inventory: Inventory) -> ExitCode:
    if args.json:
        hosts = [
            {"host": h.id, "engine": h.engine, "groups": h.groups, "settings": dict(h.settings)} for h in inventory
        ]
        print(json.dumps(hosts, indent=2))
        return ExitCode.CLEAN
    rows = [(h.id, h.engine, ", ".join(h.groups), _settings(h)) for h in inventory]
    _print_table(rows, ("host", "engine", "groups", "settings"))
    print("1 host" if len(inventory) == 1 else f"{len(inventory)} hosts")
    return ExitCode.CLEAN


def _settings(host: Host) -> str:
    return " ".join(f"{name}={_text(value)}" for name, value in sorted(host.settings.items()))


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _print_table(rows: Iterable[tuple[object, ...]], headers: tuple[str, ...]) -> None:
    shown = [tuple(visible(str(cell)) for cell in row) for row in rows]
    print(tabulate(shown, headers=headers, tablefmt="simple", disable_numparse=True))


# check


def _check(args: Namespace, inventory: Inventory, engines: Callable[[str], Engine]) -> ExitCode:
    plan = make_plan([], extra_scopes=[Scope(HKLM, ("SOFTWARE", "Microsoft", "Windows NT", "CurrentVersion"))])
    limits = Limits(
        concurrency=args.concurrency,
        group_concurrency=inventory.concurrency,
        host_seconds=args.timeout,
        attempts=1,
    )
    with stop_on_signals() as stop, show_progress(sys.stderr, quiet=not sys.stderr.isatty()) as observer:
        dispatcher = Dispatcher(plan, engines, limits=limits, stop=stop, observer=observer)
        results = {result.host: result for result in dispatcher.run(inventory, total=len(inventory))}
    lines = [_checked(host, results.get(host.id)) for host in inventory]
    if args.json:
        print(json.dumps([line.__dict__ for line in lines], indent=2))
    else:
        columns = ("host", "status", "osquery", "system", "seconds", "why")
        _print_table([tuple(line.__dict__.values()) for line in lines], columns)
        for (jump, status), number in Counter((jump_of(line.why)[0], line.status) for line in lines).items():
            if jump:
                print(visible(f"jump host {jump}: {status}; {number} host{'s' * (number > 1)} behind it"))
        print(f"{sum(line.status == 'ok' for line in lines)} of {len(lines)} hosts can be asked")
    return ExitCode.CLEAN if all(line.status == "ok" for line in lines) else ExitCode.INCOMPLETE


@dataclass(frozen=True)
class _Line:
    """One host as checked."""

    host: str
    status: str
    osquery: str = ""
    system: str = ""
    seconds: str = ""
    why: str = ""


def _checked(host: Host, result: HostResult | None) -> _Line:
    if result is None:
        return _Line(host.id, "not asked")
    facts = result.facts
    [scope] = result.scopes
    seconds = f"{(result.finished - result.started).total_seconds():.1f}"
    system = " ".join(filter(None, (facts.os_name, facts.os_build)))
    if isinstance(scope.status, Complete):
        return _Line(host.id, "ok", facts.osquery_version, system, seconds, facts.limits)
    return _Line(host.id, scope.status.reason, facts.osquery_version, system, seconds, scope.status.detail)


# trust


@dataclass(frozen=True, slots=True)
class _Shown:
    """A server and the key that it showed, or why it showed none."""

    destination: Destination
    key: PinnedKey | None
    verdict: Verdict | None
    problem: str = ""

    @property
    def trust(self) -> Trust | None:
        """Whether it is the server's; None without a key."""
        return self.verdict.trust if self.verdict else None

    @property
    def may_be_pinned(self) -> bool:
        """Is it a key that nobody vouches for yet, and that a pin would make trusted?"""
        return self.verdict is not None and self.verdict.trust is Trust.UNKNOWN and not self.verdict.broken


def _trust(args: Namespace, inventory: Inventory, confirm: Callable[[str], bool]) -> ExitCode:
    """Server by server, jump hosts first: behind one that is not trusted nothing can be seen."""
    if not args.yes and confirm is _asked and not sys.stdin.isatty():
        raise SettingsError("nobody can be asked here", hint="fleetscan hosts trust --yes")
    levels: dict[int, dict[str, Destination]] = {}
    names: dict[str, list[str]] = {}
    for host in inventory:
        if host.engine == _SSH_ENGINE:
            destination = resolve(host)
            chain = (*destination.jumps, destination)
            for number, hop in enumerate(chain):
                levels.setdefault(number, {})[hop.known_as] = replace(hop, jumps=chain[:number])
            names.setdefault(destination.known_as, []).append(host.id)
    if not levels:
        raise SettingsError("no host of this inventory is reached over SSH", where=inventory.source)
    outcome = ExitCode.CLEAN
    for number in sorted(levels):
        if not _trust_level(args, tuple(levels[number].values()), names, confirm):
            outcome = ExitCode.INCOMPLETE
    return outcome


def _trust_level(
    args: Namespace,
    destinations: tuple[Destination, ...],
    names: Mapping[str, Sequence[str]],
    confirm: Callable[[str], bool],
) -> bool:
    # A transport of its own for each level: it reads the pins that the level above wrote.
    transport = SshTransport(Credentials(ask=terminal_prompt()))
    with ThreadPoolExecutor(_PROBES) as pool:
        shown = list(pool.map(lambda destination: _show(transport, destination, args.timeout), destinations))
    rows = [
        (
            _some(names.get(s.destination.known_as, ("(jump host)",))),
            s.destination,
            s.key.type if s.key else "",
            s.key.fingerprint if s.key else "",
            _word(s),
        )
        for s in shown
    ]
    _print_table(rows, ("host", "server", "type", "fingerprint", "status"))
    new = [s for s in shown if s.may_be_pinned]
    fine = all(s.trust is Trust.KNOWN or s.may_be_pinned for s in shown)
    if not new:
        return fine
    if not args.yes and not confirm(f"Pin {len(new)} new keys? [y/N] "):
        return False
    for file in dict.fromkeys(s.destination.pin_file for s in new):
        entries = [(s.destination.known_as, s.key) for s in new if s.key and s.destination.pin_file == file]
        pin(file, entries, hashed=args.hashed)
        print(f"pinned {len(entries)} keys in {file}")
    return fine


def _some(names: Sequence[str]) -> str:
    """The hosts of the inventory that are one server."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _show(transport: SshTransport, destination: Destination, seconds: float) -> _Shown:
    try:
        shown = transport.shown_key(destination, deadline=time.monotonic() + seconds)
    except TransportError as error:
        return _Shown(destination, None, None, f"{error.reason}: {error.what}")
    verdict = read_known_hosts(destination.known_hosts).verdict(destination.known_as, shown, time.time())
    return _Shown(destination, shown.key, verdict)


def _word(shown: _Shown) -> str:
    if shown.verdict is None:
        return shown.problem
    beside = f"; {shown.verdict.doubt}" if shown.verdict.doubt else ""
    match shown.verdict.trust:
        case Trust.KNOWN if shown.verdict.authority:
            return f"trusted through its authority {shown.verdict.authority}"
        case Trust.KNOWN:
            return f"pinned{beside}"
        case Trust.UNKNOWN:
            return f"{'NOT PINNED' if shown.verdict.broken else 'new'}{beside}"
        case Trust.CHANGED:
            return f"CHANGED{beside}: find out why, then remove the old key from {shown.destination.pin_file}"
        case Trust.REVOKED:
            return f"REVOKED{beside}"


def _asked(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D: no answer is not yes
        print()
        return False
