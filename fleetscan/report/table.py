"""The console report: findings by host, coverage, counts, and what to do next, within the width of the terminal."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING

from tabulate import tabulate

from fleetscan.model.finding import FindingState, Severity, VerdictKind
from fleetscan.model.snapshot import at_jump, jump_of
from fleetscan.report.document import Covered, attribute_changes, excuses, is_listed, rule_ids
from fleetscan.report.escape import visible
from fleetscan.report.steps import next_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fleetscan.findings.model import Finding, Prevalence
    from fleetscan.report.document import Document, HostReport, ScopeCoverage

DEFAULT_WIDTH = 100
"""Where the output is no terminal."""

NARROWEST = 60
LONGEST_TEXT = 400
"""A terminal is no place for more; every other format holds the whole text."""

LISTED_SPOTS = 10
LISTED_NAMES = 5
LISTED_REASONS = 3
LONGEST_DETAIL = 120
MANY_HOSTS = 25
"""From here on hosts with nothing to say share one line."""

_OWN_NAME = re.compile(r"\A\S+: (?=(?:connecting|logging in|starting the command|no key exchange in time)\b)")
_HEADERS = ("severity", "certainty", "state", "rules", "what")
_FIXED = _HEADERS[:3]
_STATUSES = (Covered.COMPLETE, Covered.PARTIAL, Covered.UNREACHABLE)
_COLOURS = {
    Severity.CRITICAL: "1;35",
    Severity.HIGH: "1;31",
    Severity.MEDIUM: "33",
    Severity.LOW: "36",
    Severity.INFO: "2",
}


def render(document: Document, *, width: int = DEFAULT_WIDTH, colour: bool = False, everything: bool = False) -> str:
    """The report as text that ends with a line break; ``everything`` lists stock and approved rows as well.

    No line is wider than ``width`` (at least ``NARROWEST``). Colours are used only when asked for: the caller knows
    whether it writes to a terminal and whether NO_COLOR is set.
    """
    width = max(width, NARROWEST)
    lines = [
        *_heading(document, width),
        *_findings(document, width, colour=colour, everything=everything),
        *_coverage(document, width),
        *_blind_spots(document, width),
        *_summary(document, width, colour=colour),
        *_next(document, width),
    ]
    return "\n".join(lines) + "\n"


def _heading(document: Document, width: int) -> Iterator[str]:
    sweep = document.sweep
    reached = sum(not host.unreachable for host in document.hosts)
    facts = (
        f"{count(len(document.hosts), 'host')}, {reached} reached",
        count(len(document.rules), "rule"),
        f"baseline {sweep.baseline}" if sweep.baseline else "no baseline",
    )
    yield from wrap(f"Sweep {sweep.id}, {sweep.started:%Y-%m-%d %H:%M} UTC: {', '.join(facts)}", width)
    for note in document.notes:
        yield from wrap(f"Note: {note}", width)


def _findings(document: Document, width: int, *, colour: bool, everything: bool) -> Iterator[str]:
    titles = {rule.id: rule.title for rule in document.rules}
    stock = document.stock
    of_host: Mapping[str, list[Finding]] = defaultdict(list)
    for finding in document.assessment.all_findings() if everything else document.assessment.findings:
        of_host[finding.host].append(finding)
    quiet: list[HostReport] = []
    for host in document.hosts:
        shown = [finding for finding in of_host[host.name] if everything or is_listed(finding)]
        if not shown:
            quiet.append(host)
            continue
        yield ""
        yield from wrap(_host_line(host), width)
        yield _table(shown, titles, width, colour=colour)
        folded = "" if everything else _folded(stock[host.name], of_host[host.name])
        yield from wrap(folded, width, indent="  ")
    yield from _quiet_hosts([host for host in quiet if not host.unreachable], stock, of_host, width)


def _host_line(host: HostReport) -> str:
    facts = dict(host.facts)
    words = [facts.get("os", ""), f"build {facts['build']}" if "build" in facts else ""]
    return f"{host.name}  {', '.join(word for word in words if word)}".rstrip()


def _table(findings: Iterable[Finding], titles: Mapping[str, str], width: int, *, colour: bool) -> str:
    rows = sorted(findings, key=lambda finding: (-finding.severity, finding.certainty, finding.entity.ident))
    words = [(str(finding.severity), str(finding.certainty), str(finding.state)) for finding in rows]
    fixed = sum(_column_width(header, column) for header, column in zip(_FIXED, zip(*words, strict=True), strict=True))
    rest = width - fixed - 2 * (len(_HEADERS) - 1)
    rules_width = min(max(8, rest // 3), 30)
    cells = [
        (
            _paint(severity, finding.severity) if colour else severity,
            certainty,
            state,
            _lines((titles.get(rule, rule) for rule in rule_ids(finding)), rules_width),
            _lines(_what(finding), rest - rules_width),
        )
        for finding, (severity, certainty, state) in zip(rows, words, strict=True)
    ]
    return grid(cells, _HEADERS)


def _what(finding: Finding) -> Iterator[str]:
    entity = finding.entity
    changes = attribute_changes(finding)
    yield finding.title
    changed = {change.name for change in changes}
    for name, value in entity.attributes:
        if name in {"dll", "function"} and value and name not in changed:
            yield f"{name} {value}"
    for change in changes:
        yield f"{change.name}: {_side(change.old)} -> {_side(change.new)}"
    said = {hit.title for hit in finding.hits}
    yield from [why for why in finding.why if why.rpartition(" (")[0] not in said][:2]
    yield from excuses(finding)
    if finding.capped:
        yield finding.capped
    if finding.prevalence:
        yield prevalence_words(finding.prevalence)
    if finding.approval:
        yield f"approved by {finding.approval.owner} until {finding.approval.expires}: {finding.approval.reason}"
    yield f"finding {finding.fingerprint}"


def prevalence_words(prevalence: Prevalence) -> str:
    """``on 1 of 3 hosts of build 19045``."""
    build = f" of build {prevalence.build}" if prevalence.build else ""
    return f"on {prevalence.hosts} of {count(prevalence.of, 'host')}{build}"


def _side(value: str | None) -> str:
    return "(absent)" if value is None else value


def _folded(stock: Counter[VerdictKind], findings: Iterable[Finding]) -> str:
    """The one line for what is not listed."""
    rest = [finding for finding in findings if not is_listed(finding) and not finding.is_stock]
    approved = sum(finding.state is FindingState.APPROVED for finding in rest)
    parts = (
        (stock[VerdictKind.EXPECTED], "known good"),
        (stock[VerdictKind.LIKELY], "likely stock, unconfirmed"),
        (approved, "approved"),
        (len(rest) - approved, "of severity info"),
    )
    text = "; ".join(f"{number} {word}" for number, word in parts if number)
    return f"not listed: {text} (--all lists them)" if text else ""


def _quiet_hosts(
    hosts: Sequence[HostReport],
    stock: Mapping[str, Counter[VerdictKind]],
    of_host: Mapping[str, list[Finding]],
    width: int,
) -> Iterator[str]:
    if not hosts:
        return
    yield ""
    if len(hosts) >= MANY_HOSTS:
        total = sum((stock[host.name] for host in hosts), Counter[VerdictKind]())
        folded = _folded(total, (finding for host in hosts for finding in of_host[host.name]))
        yield from wrap(f"{len(hosts)} hosts without findings. {folded}", width)
        return
    for host in hosts:
        folded = _folded(stock[host.name], of_host[host.name])
        yield from wrap(f"{host.name}: no findings{'; ' if folded else ''}{folded}", width)


def _coverage(document: Document, width: int) -> Iterator[str]:
    complete = [host for host in document.hosts if host.is_complete]
    listed = document.hosts if len(document.hosts) < MANY_HOSTS else _worth_a_line(document.hosts)
    yield ""
    yield from wrap(f"Coverage: {len(complete)} of {count(len(document.hosts), 'host')} complete", width)
    if not listed:
        return
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for host in listed:
        numbers = Counter(scope.status for scope in host.scopes)
        reasons = tuple(_reasons(host))
        # Hosts that fail in the same way share a line; a host that is complete keeps its own.
        alike[("" if reasons else host.name, *(str(numbers[status]) for status in _STATUSES), *reasons)].append(
            host.name
        )
    names = {cells: _names(hosts) for cells, hosts in alike.items()}
    name_width = min(max(len("host"), *(columns(visible(text)) for text in names.values())), width // 4)
    why_width = width - max(name_width, len("host") + 2) - sum(len(word) + 2 for word in _STATUSES) - 2 * 4
    rows = [(_lines((names[cells],), name_width), *cells[1:4], _lines(cells[4:], why_width)) for cells in alike]
    yield grid(rows, ("host", *_STATUSES, "why"))


def _worth_a_line(hosts: Iterable[HostReport]) -> list[HostReport]:
    """The hosts that are not wholly covered, or that were not asked with all rights."""
    return [host for host in hosts if not host.is_complete or host.limits]


def _names(hosts: Sequence[str]) -> str:
    shown = ", ".join(hosts[:LISTED_NAMES])
    return shown if len(hosts) <= LISTED_NAMES else f"{shown} and {len(hosts) - LISTED_NAMES} more"


def _reasons(host: HostReport) -> Iterator[str]:
    if host.limits:
        yield host.limits
    reasons = Counter(
        f"{scope.reason}: {_detail(scope)[:LONGEST_DETAIL]}" if scope.detail else scope.reason
        for scope in host.scopes
        if scope.reason and scope.status is not Covered.NOT_ANSWERABLE
    )
    for reason, number in reasons.most_common(LISTED_REASONS):
        yield f"{reason} ({count(number, 'scope')})"
    if len(reasons) > LISTED_REASONS:
        yield f"and {len(reasons) - LISTED_REASONS} more (--format html lists them)"
    if host.incomplete:
        yield f"not seen whole: {count(len(host.incomplete), 'registration')}"


def _detail(scope: ScopeCoverage) -> str:
    """Why, without the host's own name: hosts that fail in the same way, or at one jump host, share a line."""
    jump, what = jump_of(scope.detail)
    return at_jump(jump, what) if jump else _OWN_NAME.sub("", scope.detail, count=1)


def _blind_spots(document: Document, width: int) -> Iterator[str]:
    hosts_of: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for host in document.hosts:
        for spot in host.blind_spots:
            hosts_of[spot].append(host.name)
    if not hosts_of:
        return
    yield ""
    yield from wrap(f"Blind spots: {count(len(hosts_of), 'place')} that the registry table does not show", width)
    for (kind, key, detail), hosts in list(hosts_of.items())[:LISTED_SPOTS]:
        where = hosts[0] if len(hosts) == 1 else f"{len(hosts)} hosts"
        yield from wrap(f"{where}: {kind}: {key}: {detail}", width, indent="  ")
    if len(hosts_of) > LISTED_SPOTS:
        yield f"  and {len(hosts_of) - LISTED_SPOTS} more (--format html lists them)"


def _summary(document: Document, width: int, *, colour: bool) -> Iterator[str]:
    severities = document.severities
    parts = [
        f"{severities[severity]} {_paint(str(severity), severity) if colour else severity}"
        for severity in sorted(Severity, reverse=True)
        if severities[severity]
    ]
    states = [f"{number} {state}" for state, number in document.states.items() if state is not FindingState.NO_BASELINE]
    yield ""
    yield f"Findings: {', '.join(parts) or 'none'}"
    if states:
        yield from wrap(f"Against the baseline: {', '.join(states)}", width)


def _next(document: Document, width: int) -> Iterator[str]:
    yield ""
    yield "What to do next"
    for step in next_steps(document):
        yield from wrap(step.why, width, indent="  ")
        # A command is never broken: it is there to be copied.
        yield f"    {step.command}"


def grid(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """The rows as tabulate's simple table; cells must be ``visible`` already, lines carry no trailing blanks."""
    table = tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True)
    return "\n".join(line.rstrip() for line in table.splitlines())


def _column_width(header: str, cells: Iterable[str]) -> int:
    """Tabulate keeps two columns free beside a header."""
    return max(len(header) + 2, *map(len, cells))


def _lines(texts: Iterable[str], width: int) -> str:
    return "\n".join(line for text in texts for line in wrap(text, width))


def count(number: int, noun: str) -> str:
    """``1 host``, ``2 hosts``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def columns(text: str) -> int:
    """How many columns of a terminal the text takes: wide characters take two, combining ones none."""
    return sum(_char_columns(char) for char in text)


def _char_columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def wrap(text: str, width: int, *, indent: str = "") -> Iterator[str]:
    """The ``visible`` text in lines of at most ``width`` columns; no text gives no line, a very long one is cut."""
    room = width - len(indent)
    rest = visible(text[:LONGEST_TEXT]).strip(" ")
    if len(text) > LONGEST_TEXT:
        rest += f"... ({len(text)} characters)"
    while (cut := _break(rest, room)) < len(rest):
        yield indent + rest[:cut].rstrip(" ")
        rest = rest[cut:].lstrip(" ")
    if rest:
        yield indent + rest


def _break(text: str, room: int) -> int:
    """Where to break: the last blank that fits, else after a sign of the second half, else where the room ends."""
    head = text[: room + 1]
    longest = sum(used <= room for used in accumulate(map(_char_columns, head)))
    if longest == len(text):
        return longest
    blank = head.rfind(" ", 1, longest + 1)
    sign = max(text.rfind(char, room // 2, longest) for char in "\\,-")
    return (blank if blank > 0 else sign + 1) or max(longest, 1)


def _paint(text: str, severity: Severity) -> str:
    return f"\x1b[{_COLOURS[severity]}m{text}\x1b[0m"
