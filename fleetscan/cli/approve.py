"""``fleetscan approve``: accept a finding for a while, with owner, reason and expiry, in an approvals file."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.baseline.approvals import Approval, load_approvals, to_yaml
from fleetscan.errors import ApprovalError, ExitCode, SettingsError
from fleetscan.report.escape import visible
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Mapping

    from fleetscan.store.interface import Store, Sweep
    from fleetscan.store.records import FindingRecord

HELP = "approve a finding: owner, reason, expiry"
DEFAULT_FILE = Path("approvals.yml")
_COMPARED = (
    "dll",
    "function",
    "data",
    "state",
    "categories",
    "arguments",
    "path",
    "enabled",
    "sha256",
    "uid",
    "process",
)
"""Attributes that an approval pins, as far as the entity has them: what is loaded and how."""


def configure(parser: ArgumentParser) -> None:
    """The finding and everything that an approval must say."""
    parser.add_argument("finding", metavar="FINDING", help="fingerprint of the finding, or its beginning")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why it is accepted")
    parser.add_argument("--owner", required=True, metavar="WHO", help="who answers for it")
    parser.add_argument("--expires", required=True, metavar="DATE", help="last day, 2027-03-31")
    parser.add_argument(
        "--scope", choices=("host", "group", "fleet"), default="host", help="where it holds (default: this host)"
    )
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="group, with --scope group")
    parser.add_argument("--sha256", default="", metavar="HEX", help="only for this file (triage shows the hash)")
    parser.add_argument("--sweep", default="latest", metavar="SWEEP", help="sweep of the finding (default: the latest)")
    parser.add_argument(
        "--file", type=Path, default=DEFAULT_FILE, metavar="FILE", help="approvals file (default: approvals.yml)"
    )
    parser.add_argument(
        "--store", default="fleetscan.db", metavar="PLACE", help="file or postgresql://... (default: fleetscan.db)"
    )


def run(args: Namespace, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> ExitCode:
    """Append one approval; a file that is not valid is not touched."""
    today = now().date()
    with open_store(args.store, create=False) as store:
        sweep = store.sweep(args.sweep)
        finding = _finding(store, sweep, args.finding)
        groups = {host.id: host.groups for host in store.hosts(sweep.id)}
    approval = _approval(args, finding, groups.get(finding.host, ()), today)
    present = load_approvals([args.file]) if args.file.exists() else ()
    if any(one.id == approval.id and not one.is_expired(today) for one in present):
        raise ApprovalError(
            f"{approval.id} is approved already", where=str(args.file), hint="edit the file to change it"
        )
    _append(args.file, approval)
    load_approvals([args.file])
    print(f"approved until {approval.expires}: {visible(finding.entity_kind)} {visible(finding.entity)}")
    print(f"written to {visible(str(args.file))} (use it: fleetscan sweep ... --approvals {visible(str(args.file))})")
    return ExitCode.CLEAN


def _finding(store: Store, sweep: Sweep, name: str) -> FindingRecord:
    found = {one.fingerprint: one for one in store.findings(sweep.id) if one.fingerprint.startswith(name.lower())}
    if not found:
        raise SettingsError(
            f"sweep {sweep.id} has no finding {name!r}", hint="fleetscan report --format csv lists fingerprints"
        )
    if len(found) > 1:
        raise SettingsError(
            f"{name!r} begins {len(found)} fingerprints: {', '.join(sorted(found)[:5])}", hint="type more"
        )
    return next(iter(found.values()))


def _approval(args: Namespace, finding: FindingRecord, groups: tuple[str, ...], today: date) -> Approval:
    identity, attributes = _mapping(finding, "identity"), _mapping(finding, "attributes")
    pinned = tuple((name, attributes[name]) for name in _COMPARED if attributes.get(name))
    if not identity or not (pinned or args.sha256):
        raise ApprovalError(
            f"{finding.entity_kind} {finding.entity} has nothing that an approval could pin",
            hint="what is not covered cannot be approved; repair it or exclude the host",
        )
    wanted = tuple(args.group) or groups
    if args.scope == "group" and not wanted:
        raise ApprovalError(f"host {finding.host} is in no group", hint="--group NAME")
    return Approval(
        id=f"{finding.fingerprint}-{args.scope}",
        owner=args.owner,
        reason=args.reason,
        created=today,
        expires=_expiry(args.expires, today),
        scope=args.scope,
        kind=finding.entity_kind,
        identity=tuple(identity.items()),
        attributes=pinned,
        hosts=(finding.host,) if args.scope == "host" else (),
        groups=wanted if args.scope == "group" else (),
        sha256=args.sha256,
    )


def _mapping(finding: FindingRecord, name: str) -> Mapping[str, str]:
    value = finding.details.get(name)
    return {str(key): str(text) for key, text in value.items()} if isinstance(value, dict) else {}


def _expiry(text: str, today: date) -> date:
    try:
        expires = date.fromisoformat(text)
    except ValueError as error:
        raise ApprovalError(f"--expires is no date: {text!r}", hint="a date is written 2027-03-31") from error
    if expires < today:
        raise ApprovalError(f"--expires {expires} is over", hint="name a day to come")
    return expires


def _append(file: Path, approval: Approval) -> None:
    text = to_yaml(approval)
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        if before.rstrip().startswith("approvals:") or "\napprovals:" in before:
            text = "".join(f"  {line}\n" for line in text.splitlines())
        separator = "" if not before or before.endswith("\n") else "\n"
        with file.open("a", encoding="utf-8") as stream:
            stream.write(separator + text)
    except OSError as error:
        raise ApprovalError("the approvals file cannot be written", where=str(file), hint=str(error)) from error
