"""``fleetscan approve``: accept a finding for a while, with owner, reason and expiry, in an approvals file."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from itertools import count
from os import SEEK_END
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.baseline.approvals import Approval, appended, load_approvals, parse_approvals, unpinned
from fleetscan.cli.options import add_store_option
from fleetscan.errors import ApprovalError, ExitCode, SettingsError
from fleetscan.model.finding import FindingState, What
from fleetscan.report.escape import visible
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Collection, Mapping

    from fleetscan.store.interface import Store, Sweep
    from fleetscan.store.records import FindingRecord

_COVERAGE = frozenset({What.INCOMPLETE, What.NOT_OBSERVED, What.OBSERVED})
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
    add_store_option(parser)


def run(args: Namespace, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> ExitCode:
    """Append one approval; a file that is not valid is not touched."""
    today = now().date()
    with open_store(args.store, create=False) as store:
        sweep = store.sweep(args.sweep)
        finding = _finding(store, sweep, args.finding)
        groups = {host.id: host.groups for host in store.hosts(sweep.id)}
    approval = _approval(args, finding, groups.get(finding.host, ()), today)
    present = load_approvals([args.file]) if args.file.exists() else ()
    taken = {one.id: one for one in present}
    if approval.id in taken and not taken[approval.id].is_expired(today):
        raise ApprovalError(
            f"{approval.id} is approved already", where=taken[approval.id].where, hint="edit the file to change it"
        )
    approval = replace(approval, id=_free(approval.id, taken))
    _append(args.file, approval)
    print(f"approved until {approval.expires}: {visible(finding.entity_kind)} {visible(finding.entity)}")
    print(f"holds {visible(_where(approval))}; pinned: {visible(_pinned(approval))}")
    print(f"written to {visible(str(args.file))} (use it: fleetscan sweep ... --approvals {visible(str(args.file))})")
    return ExitCode.CLEAN


def _finding(store: Store, sweep: Sweep, name: str) -> FindingRecord:
    wanted = name.strip().lower()
    # What many hosts share (known-good rows) is kept without a fingerprint: it is nobody's finding.
    named = (one for one in store.findings(sweep.id) if one.fingerprint)
    found = {one.fingerprint: one for one in named if wanted and one.fingerprint.startswith(wanted)}
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
    _check(args, finding)
    identity, attributes = _mapping(finding, "identity"), _mapping(finding, "attributes")
    pinned = tuple((name, attributes[name]) for name in _COMPARED if attributes.get(name))
    if why := unpinned(finding.entity_kind, [name for name, _ in pinned], args.sha256):
        raise ApprovalError(
            f"{finding.entity_kind} {finding.entity} cannot be approved: {why}",
            hint="--sha256, if it is a file; what is not covered must be repaired, or its host excluded",
        )
    return Approval(
        id=f"{finding.fingerprint}-{args.scope}",
        owner=args.owner.strip(),
        reason=args.reason.strip(),
        created=today,
        expires=_expiry(args.expires, today),
        scope=args.scope,
        kind=finding.entity_kind,
        identity=tuple(identity.items()),
        attributes=pinned,
        hosts=(finding.host,) if args.scope == "host" else (),
        groups=_groups(args, finding, groups),
        sha256=args.sha256,
    )


def _check(args: Namespace, finding: FindingRecord) -> None:
    """Refuse what would be written and never be used, or would be no approval."""
    for name in ("owner", "reason"):
        if not getattr(args, name).strip():
            raise ApprovalError(f"--{name} is empty", hint="say who answers for it, and why it is accepted")
    if args.sha256 and not re.fullmatch("[0-9a-fA-F]{64}", args.sha256):
        raise ApprovalError("--sha256 is not a SHA-256", hint="64 hexadecimal digits: fleetscan triage shows them")
    if finding.state == FindingState.GONE or finding.details.get("what") in _COVERAGE:
        what = "gone" if finding.state == FindingState.GONE else "a place that was not seen whole"
        raise ApprovalError(
            f"finding {finding.fingerprint} is {what}: there is nothing to approve",
            hint="what is not covered must be repaired, or its host excluded",
        )


def _groups(args: Namespace, finding: FindingRecord, groups: tuple[str, ...]) -> tuple[str, ...]:
    """The groups that were named: the host must be in one, else the approval would never be used."""
    named = tuple(dict.fromkeys(args.group))
    if args.scope != "group":
        if named:
            raise ApprovalError("--group without --scope group", hint="--scope group")
        return ()
    if not groups:
        raise ApprovalError(f"host {finding.host} is in no group", hint="--scope host or fleet")
    shown = ", ".join(groups)
    if not named and len(groups) > 1:
        raise ApprovalError(f"host {finding.host} is in several groups: {shown}", hint="--group NAME says in which")
    if named and not any(fnmatchcase(group.lower(), one.lower()) for group in groups for one in named):
        raise ApprovalError(f"host {finding.host} is not in {', '.join(named)}", hint=f"its groups: {shown}")
    return named or groups


def _where(approval: Approval) -> str:
    if approval.scope == "fleet":
        return "on every host"
    return f"on {approval.scope} {', '.join(approval.hosts or approval.groups)}"


def _pinned(approval: Approval) -> str:
    pairs = [*approval.attributes, *((("sha256", approval.sha256),) if approval.sha256 else ())]
    return " ".join(f"{name}={value}" for name, value in pairs) or "the key itself"


def _free(name: str, taken: Collection[str]) -> str:
    """The name, with a number if an expired approval has it."""
    numbered = (f"{name}-{number}" for number in count(2))
    return name if name not in taken else next(one for one in numbered if one not in taken)


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
    """Add the approval at the end of the file, if a valid file comes of it."""
    try:
        before = file.read_bytes().decode("utf-8") if file.exists() else ""
        text = appended(before, approval)
        try:
            parse_approvals(text, str(file))
        except ApprovalError as error:
            raise ApprovalError(
                f"nothing can be added to this file: {error.what}",
                where=str(file),
                hint="write its list as blocks: - id",
            ) from error
        # A link stays a link, owner and mode stay as they are: bytes are added, and taken back if the disk is full.
        with file.open("ab") as stream:
            start = stream.seek(0, SEEK_END)
            try:
                stream.write(text[len(before) :].encode())
                stream.flush()
            except OSError:
                stream.truncate(start)
                raise
    except (OSError, UnicodeDecodeError) as error:
        raise ApprovalError("the approvals file cannot be written", where=str(file), hint=str(error)) from error
