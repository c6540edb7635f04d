"""What to do next: the commands that follow from a report, ready to be typed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.model.finding import FindingState
from fleetscan.model.snapshot import Reason
from fleetscan.report.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetscan.findings.model import Finding
    from fleetscan.report.document import Document, HostReport


@dataclass(frozen=True, slots=True)
class Step:
    """Why, and the exact command."""

    why: str
    command: str


def next_steps(document: Document) -> tuple[Step, ...]:
    """The steps that this report asks for, most urgent first."""
    return tuple(_steps(document))


def _steps(document: Document) -> Iterator[Step]:
    worst = max(document.open_findings, key=lambda finding: finding.severity, default=None)
    if worst is not None:
        yield from _for_finding(worst)
    lost = [host for host in document.hosts if host.unreachable]
    yield from _for_lost_hosts(document, lost)
    sweep = _word(document.sweep.id)
    if not document.sweep.baseline and len(lost) < len(document.hosts):
        yield Step(
            "Remember this state, so that the next sweep tells what is new.",
            f"fleetscan baseline create first --sweep {sweep}",
        )
    if document.assessment.changes or document.states[FindingState.GONE]:
        yield Step("See every difference, attribute by attribute.", f"fleetscan diff {_word(document.sweep.baseline)}")
    yield Step(
        "Hand it on: a page for people, a CSV package for auditors.",
        f"fleetscan report {sweep} --format html --format csv --output reports",
    )


def _for_finding(finding: Finding) -> Iterator[Step]:
    name = _word(finding.fingerprint)
    yield Step(
        f"Look at the worst one: file, signature, processes and events on {visible(finding.host)}.",
        f"fleetscan triage {name}",
    )
    yield Step(
        "If it is meant to be there, say so, for a time.",
        f"fleetscan approve {name} --owner YOU --reason 'WHY' --expires YYYY-MM-DD",
    )


def _for_lost_hosts(document: Document, lost: list[HostReport]) -> Iterator[Step]:
    strangers = [host for host in lost if host.unreachable == Reason.HOST_KEY]
    if strangers:
        yield Step(
            f"{_hosts(strangers)} showed an unknown or changed host key: compare it before you trust it.",
            f"fleetscan hosts trust {_word(strangers[0].name)}",
        )
    others = [host for host in lost if host.unreachable != Reason.HOST_KEY]
    if others:
        inventory = f" -i {_word(document.sweep.inventory)}" if document.sweep.inventory else ""
        yield Step(
            f"{_hosts(others)} gave nothing: find out why.", f"fleetscan hosts check {_word(others[0].name)}{inventory}"
        )


def _hosts(hosts: list[HostReport]) -> str:
    first = visible(hosts[0].name)
    return first if len(hosts) == 1 else f"{first} and {len(hosts) - 1} more"


def _word(text: str) -> str:
    """A text as one word of a shell command."""
    return shlex.quote(visible(text))
