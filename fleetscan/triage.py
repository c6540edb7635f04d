"""All about one finding: the triage queries on its host, and what their answers mean for it.

``authenticode`` is never asked: on a host with a hijacked SIP or trust provider it would load the suspect DLL into
osquery, and its verdict would be the attacker's (windows-domain 6.6).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fleetscan.domain.paths import normalise
from fleetscan.errors import QueryError
from fleetscan.evaluate import judge
from fleetscan.evaluate.matching import text_matcher
from fleetscan.model.logic import substitute
from fleetscan.model.registry import KeyPath, RegistryRow, fold
from fleetscan.model.rule import ALWAYS, NEVER, Field, IsNull, Match, RegexPattern, TextPattern
from fleetscan.model.truth import Truth
from fleetscan.planner.plan import Answered, Failed, Statement
from fleetscan.planner.sql import quote
from fleetscan.queries import fill
from fleetscan.rules.patterns import compile_regex

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fleetscan.engines.interface import Engine
    from fleetscan.evaluate import Context
    from fleetscan.model.host import Host
    from fleetscan.model.rule import Rule
    from fleetscan.planner.plan import Answer
    from fleetscan.queries import Query
    from fleetscan.store.records import FindingRecord

MOST_ROWS = 200
"""Rows kept of one answer; what is more is said."""

FORBIDDEN = frozenset({"authenticode"})
"""Tables that would run the suspect code; a triage query that names one is refused."""

_DEFAULT_DAYS = 30
"""How far back Sysmon is searched when the key's time is not known."""

_AROUND = timedelta(minutes=10)
"""Sysmon is searched this long on either side of the key's last write."""

_KEY_TIME = "key-time"
_SYSMON = "sysmon-writes"
_UNTRUSTED = ("sip", "trust", "oid_other")
_TABLE = re.compile(r"(?i)\b(?:from|join)\s+([a-z_]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one query gave: rows, or why there are none."""

    query: str
    title: str
    meaning: str = ""
    rows: tuple[Mapping[str, str], ...] = ()
    left_out: int = 0
    reason: str = ""
    """Why it was not answered; empty if it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Who wrote the value, as Sysmon saw it, and what that makes of a possible finding."""

    image: str
    user: str
    time: str
    event: str
    outcome: str
    """``certain``, ``excused``, or ``possible`` where the rule asks for more than the event tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Triage:
    """Everything that was asked and answered, and what follows."""

    fingerprint: str
    host: str
    taken: datetime
    replies: tuple[Reply, ...]
    attributions: tuple[Attribution, ...] = ()
    remarks: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = field(default=())
    """Other hosts of the sweep with the same entity and attributes."""


def literal(text: str) -> str:
    """A value from a host as a SQL literal on one line.

    A line break would end the statement for the shell, which reads line by line; a NUL would end it for SQLite.
    """
    return quote("".join(char if char.isprintable() else "?" for char in text))


def values_of(finding: FindingRecord, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The values that fill the queries of a finding; a name is missing where the finding cannot tell it."""
    values: dict[str, str] = {}
    places = (("shown", "raw"), ("attributes", "dll"), ("identity", "path"))
    raw = next((text for place in places if (text := _detail(finding, *place))), "")
    if raw:
        dll = normalise(raw, environment)
        values |= {"dll": dll.text, "twin": dll.wow64_twin, "name": dll.base}
        folder = dll.text.rpartition("\\")[0]
        if folder:
            values["folder"] = folder
    if finding.key.startswith("HKEY_"):
        key = KeyPath.parse(finding.key)
        values |= {"parent": str(key.parent), "leaf": key.name}
        values["target_end"] = "\\" + "\\".join(key.elements[-2:] + _value_name(finding))
    return values


def _value_name(finding: FindingRecord) -> tuple[str, ...]:
    rules = finding.details.get("rules")
    names = [rule.get("name") for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    return (str(names[0]),) if names and names[0] else ()


def _detail(finding: FindingRecord, part: str, name: str) -> str:
    pairs = finding.details.get(part)
    return str(pairs.get(name, "")) if isinstance(pairs, dict) else ""


def times_of(mtime: int, now: datetime) -> dict[str, str]:
    """The values that depend on when the key was last written; without that, the last days."""
    written = datetime.fromtimestamp(mtime, UTC) if mtime > 0 else None
    first, last = (written - _AROUND, written + _AROUND) if written else (now - timedelta(days=_DEFAULT_DAYS), now)
    day = written or now
    return {
        "time_range": f"{first:%Y-%m-%dT%H:%M:%S.000Z};{last:%Y-%m-%dT%H:%M:%S.000Z}",
        "day_before": f"{day - timedelta(days=1):%Y%m%d}",
        "day_after": f"{day + timedelta(days=1):%Y%m%d}",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A finding with what is known around it: how its host expands variables, the rules that may have hit it."""

    finding: FindingRecord
    host: Host
    context: Context
    rules: tuple[Rule, ...] = ()
    elsewhere: tuple[str, ...] = ()


def take(case: Case, engine: Engine, queries: Sequence[Query], *, now: datetime, deadline: float) -> Triage:
    """Ask the host; the key's time first, because others are searched around it. Never raises for what a host does."""
    for query in queries:
        _refuse_dangerous(query)
    finding = case.finding
    values = values_of(finding, case.context.environment)
    first = [query for query in queries if query.name == _KEY_TIME]
    rest = [query for query in queries if query.name != _KEY_TIME]
    replies = list(_ask(case.host, engine, first, values, deadline))
    mtime = next((_number(row.get("mtime", "")) for reply in replies for row in reply.rows), 0)
    replies += _ask(case.host, engine, rest, values | times_of(mtime, now), deadline)
    writes = next((reply.rows for reply in replies if reply.query == _SYSMON), ())
    return Triage(
        fingerprint=finding.fingerprint,
        host=case.host.id,
        taken=now,
        replies=tuple(replies),
        attributions=tuple(attributions(case, writes)),
        remarks=tuple(_remarks(finding)),
        elsewhere=case.elsewhere,
    )


def _refuse_dangerous(query: Query) -> None:
    named = FORBIDDEN & {name.lower() for name in _TABLE.findall(query.sql)}
    if named:
        raise QueryError(
            f"a triage query may not ask {min(named)}: it would load the suspect DLL into osquery",
            where=query.where,
            hint="hash and file do not run it",
        )


def _ask(
    host: Host, engine: Engine, queries: Sequence[Query], values: Mapping[str, str], deadline: float
) -> Iterator[Reply]:
    statements: dict[str, Statement] = {}
    for query in queries:
        if all(name in values for name in query.parameters):
            literals = {name: literal(values[name]) for name in query.parameters}
            statements[query.name] = Statement(id=f"triage-{query.name}", sql=fill(query, literals))
    answers = engine.ask(host, tuple(statements.values()), deadline=deadline).answers if statements else {}
    for query in queries:
        statement = statements.get(query.name)
        if statement is None:
            missing = [name for name in query.parameters if name not in values]
            yield Reply(query=query.name, title=query.title, reason=f"this finding has no {' and no '.join(missing)}")
        else:
            yield _reply(query, answers.get(statement.id))


def _reply(query: Query, answer: Answer | None) -> Reply:
    match answer:
        case Answered(rows):
            kept = tuple(dict(row) for row in rows[:MOST_ROWS])
            left_out = max(0, len(rows) - MOST_ROWS)
            return Reply(query=query.name, title=query.title, meaning=query.answers, rows=kept, left_out=left_out)
        case Failed(reason, detail):
            return Reply(query=query.name, title=query.title, reason=f"{reason}: {detail}" if detail else str(reason))
        case None:
            return Reply(query=query.name, title=query.title, reason="not asked")


def _remarks(finding: FindingRecord) -> Iterator[str]:
    if finding.entity_kind in _UNTRUSTED:
        yield (
            "signature verdicts of this host are not evidence: while the finding stands, its own signature checks may "
            "run the suspect code; compare hashes elsewhere"
        )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


# Who wrote it


def attributions(case: Case, writes: Iterable[Mapping[str, str]]) -> Iterator[Attribution]:
    """What Sysmon saw, newest first, and what each writer makes of the finding's possible rules."""
    for row in writes:
        image = row.get("image", "")
        if image:
            yield Attribution(
                image=image,
                user=row.get("user", ""),
                time=row.get("datetime", ""),
                event=f"{row.get('eventid', '')} {row.get('event_type', '')}".strip(),
                outcome=_outcome(case, process_fields(image, row.get("user", ""))),
            )


def process_fields(image: str, user: str) -> dict[str, str]:
    """The rule fields that a Sysmon event decides, by name in lower case."""
    name = image.rpartition("\\")[2]
    fields = {"image": image, "process.executable": image, "process.name": name}
    if user:
        fields |= {"user": user, "user.name": user.rpartition("\\")[2], "user.domain": user.rpartition("\\")[0]}
    return fields


def _outcome(case: Case, process: Mapping[str, str]) -> str:
    outcomes = set()
    for rule, row in _hits(case.finding, case.rules):
        residual = judge(rule, row, context=case.context).residual
        decided = substitute(residual, lambda match: decide(match, process))
        outcomes.add("certain" if decided == ALWAYS else "excused" if decided == NEVER else "possible")
    # One rule that holds is enough; it is excused only where every rule is.
    return next((word for word in ("certain", "possible", "excused") if word in outcomes), "possible")


def _hits(finding: FindingRecord, rules: Sequence[Rule]) -> Iterator[tuple[Rule, RegistryRow]]:
    by_id = {rule.id: rule for rule in rules}
    hits = finding.details.get("rules")
    for hit in hits if isinstance(hits, list) else ():
        rule = by_id.get(str(hit.get("id", "")))
        if rule is not None:
            yield rule, RegistryRow(str(hit["key"]), str(hit["name"]), str(hit["type"]), str(hit["data"]))


def decide(match: Match, process: Mapping[str, str]) -> Truth:
    """What the event says about one open part of a rule; UNKNOWN where it does not tell that field."""
    text = process.get(match.name.lower())
    if match.field is not Field.UNOBSERVABLE or text is None:
        return Truth.UNKNOWN
    match match.test:
        case TextPattern() as test:
            matcher = text_matcher(test, match.field)
            return Truth.of(matcher.first((text if matcher.cased else fold(text),)) is not None)
        case RegexPattern() as test:
            found = compile_regex(test, ignore_case=test.ignore_case)
            return Truth.of(bool(found.fullmatch(text) if test.whole else found.search(text)))
        case IsNull():
            return Truth.FALSE
        case _:
            return Truth.UNKNOWN


def to_json(triage: Triage) -> dict[str, Any]:
    """The triage as plain JSON, as the store keeps it."""
    return {
        "fingerprint": triage.fingerprint,
        "host": triage.host,
        "taken": triage.taken.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "remarks": list(triage.remarks),
        "elsewhere": list(triage.elsewhere),
        "attributions": [
            {"image": one.image, "user": one.user, "time": one.time, "event": one.event, "outcome": one.outcome}
            for one in triage.attributions
        ],
        "replies": [
            {
                "query": reply.query,
                "title": reply.title,
                "meaning": reply.meaning,
                "reason": reply.reason,
                "left_out": reply.left_out,
                "rows": [dict(row) for row in reply.rows],
            }
            for reply in triage.replies
        ],
    }


def pairs(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """A kept triage as names and texts for reports, one line an answer."""
    lines = [("taken", str(record.get("taken", "")))]
    lines += [("remark", str(remark)) for remark in record.get("remarks", ())]
    for one in record.get("attributions", ()):
        lines.append(("written by", f"{one['image']} as {one['user']} at {one['time']}: {one['outcome']}"))
    if record.get("elsewhere"):
        lines.append(("also on", ", ".join(map(str, record["elsewhere"]))))
    for reply in record.get("replies", ()):
        rows = reply.get("rows", [])
        text = reply.get("reason") or "; ".join(json.dumps(row, ensure_ascii=False) for row in rows) or "no row"
        lines.append((str(reply.get("title", "")), text))
    return tuple(lines)
