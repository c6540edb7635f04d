"""What to do next: the commands that follow from a report, ready to be typed."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.model.finding import FindingState
from fleetscan.model.snapshot import KEY_REFUSALS, Reason
from fleetscan.report.escape import visible
from fleetscan.settings import DEFAULT_STORE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetscan.findings.model import Finding
    from fleetscan.report.document import Document, HostReport


@dataclass(frozen=True, slots=True)
class Step:
    """Why, and the exact command."""

    why: str
    command: str


ROLLING = "auto"
"""The rolling baseline has no stored name: ``fleetscan diff`` compares with the sweep before by itself."""

_KEYS = frozenset({"host_key", "jump_key"})
_PASSWORD = re.compile(r"(://[^/@:]*):[^@]*@")


def next_steps(document: Document) -> tuple[Step, ...]:
    """The steps that this report asks for, most urgent first."""
    return tuple(_steps(document))


def _steps(document: Document) -> Iterator[Step]:
    sweep, store = _word(document.sweep.id), store_option(document)
    # Nothing can be asked of who is not trusted; the steps for lost hosts are about them.
    asked = (finding for finding in document.open_findings if finding.entity.kind not in _KEYS)
    worst = max(asked, key=lambda finding: finding.severity, default=None)
    if worst is not None:
        yield from _for_finding(document, worst)
    lost = [host for host in document.hosts if host.unreachable]
    yield from _for_lost_hosts(document, lost)
    if not document.sweep.baseline and len(lost) < len(document.hosts):
        yield Step(
            "Remember this state, so that the next sweep tells what is new.",
            f"fleetscan baseline create first --sweep {sweep}{store}",
        )
    if document.assessment.changes or document.states[FindingState.GONE]:
        base = "" if document.sweep.baseline == ROLLING else f" {_word(document.sweep.baseline)} {sweep}"
        yield Step("See every difference, attribute by attribute.", f"fleetscan diff{base}{store}")
    compared = f" --baseline {_word(document.sweep.baseline)}" if document.sweep.baseline else ""
    yield Step(
        "Hand it on: a page for people, a CSV package for auditors.",
        f"fleetscan report {sweep}{compared} --format html,csv --output reports{store}",
    )


def _for_finding(document: Document, finding: Finding) -> Iterator[Step]:
    name, store = _word(finding.fingerprint), store_option(document)
    yield Step(
        f"Look at the worst one: file, signature, processes and events on {visible(finding.host)}.",
        f"fleetscan triage {name}{reach_option(document)}{store}",
    )
    yield Step(
        "If it is meant to be there, say so, for a time.",
        f"fleetscan approve {name} --owner YOU --reason 'WHY' --expires YYYY-MM-DD{store}",
    )


def _for_lost_hosts(document: Document, lost: list[HostReport]) -> Iterator[Step]:
    reach = reach_option(document)
    behind: dict[tuple[str, str], list[HostReport]] = defaultdict(list)
    for host in lost:
        if host.jump:
            behind[host.jump, host.unreachable].append(host)
    for (jump, reason), hosts in behind.items():
        yield _for_jump(jump, reason, hosts, reach)
    lost = [host for host in lost if not host.jump]
    changed = [host for host in lost if host.unreachable in KEY_REFUSALS - {Reason.HOST_KEY_UNKNOWN}]
    if changed:
        yield Step(
            f"{_hosts(changed)} showed another host key than before: find out why; this shows what to compare.",
            f"fleetscan hosts trust{reach} --limit {_word(changed[0].name)}",
        )
    new = [host for host in lost if host.unreachable == Reason.HOST_KEY_UNKNOWN]
    if new:
        yield Step(
            f"{_hosts(new)} showed a host key that nobody has pinned yet: compare it before you trust it.",
            f"fleetscan hosts trust{reach} --limit {_word(new[0].name)}",
        )
    others = [host for host in lost if host.unreachable not in KEY_REFUSALS]
    if others and reach.startswith(" --hives"):
        yield Step(f"{_hosts(others)} gave nothing: collect its hives again, then sweep.", f"fleetscan sweep{reach}")
    elif others:
        yield Step(
            f"{_hosts(others)} gave nothing: find out why.",
            f"fleetscan hosts check{reach} --limit {_word(others[0].name)}",
        )


def _for_jump(jump: str, reason: str, hosts: list[HostReport], reach: str) -> Step:
    noun = "1 host lies" if len(hosts) == 1 else f"{len(hosts)} hosts lie"
    limit = f"--limit {_word(hosts[0].name)}"
    if reason not in KEY_REFUSALS:
        why = f"The jump host {visible(jump)} let nobody through ({reason}), and {noun} behind it: find out why."
        return Step(why, f"fleetscan hosts check{reach} {limit}")
    if reason == Reason.HOST_KEY_UNKNOWN:
        said, then = "a host key that nobody has pinned yet", "compare it before you trust it"
    else:
        said, then = "another host key than before", "find out why; this shows what to compare"
    why = f"The jump host {visible(jump)} showed {said}, and {noun} behind it: {then}."
    return Step(why, f"fleetscan hosts trust{reach} {limit}")


def _hosts(hosts: list[HostReport]) -> str:
    first = visible(hosts[0].name)
    return first if len(hosts) == 1 else f"{first} and {len(hosts) - 1} more"


def reach_option(document: Document) -> str:
    """The option that says how hosts are reached, as the sweep was given it: ``-i FILE`` or ``--hives DIR``."""
    option, _, value = document.sweep.inventory.partition(" ")
    return f" {option} {_word(value)}" if option in {"-i", "--hives"} and value else " -i INVENTORY"


def store_option(document: Document) -> str:
    """The option that names the store, unless it is the usual one; a password in it is left out."""
    place = _PASSWORD.sub(r"\1@", document.sweep.store)
    return f" --store {_word(place)}" if place and place != DEFAULT_STORE else ""


def _word(text: str) -> str:
    """A text as one word of a shell command."""
    return shlex.quote(visible(text))
