"""An assessment as the records that the store keeps for reports and for SQL tools."""

from __future__ import annotations

from dataclasses import fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from fleetscan.findings.model import Finding
from fleetscan.store.records import ChangeRecord, EntityRecord, FindingRecord, Shared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fleetscan.domain.entity import Entity
    from fleetscan.findings.model import Assessment, HostChange


_PARTS = attrgetter(
    *(item.name for item in fields(Finding) if item.name not in {"host", "fingerprint", "prevalence", "capped"}),
    "is_capped",
)
"""What the record of a finding is made of, but for the names."""


def identity_text(entity: Entity) -> str:
    """The identity in one line: ``view=native set=... id=...``."""
    return " ".join(f"{name}={value}" for name, value in entity.identity)


def own_finding_records(assessment: Assessment) -> Iterator[FindingRecord]:
    """One record for every finding of a single host."""
    known: dict[tuple[int, ...], FindingRecord] = {}
    for finding in assessment.findings:
        # Equal hosts have findings of the same parts, which live as long as the assessment: one record for them.
        parts = tuple(map(id, _PARTS(finding)))
        if parts not in known:
            known[parts] = _finding(finding)
        yield replace(known[parts], host=finding.host, fingerprint=finding.fingerprint)


def shared_finding_records(assessment: Assessment) -> Iterator[Shared[FindingRecord]]:
    """The known-good rows that a rule matched, once for all hosts that have the same."""
    for group in assessment.stock:
        yield Shared(group.hosts, tuple(map(_finding, group.findings)))


def _finding(finding: Finding) -> FindingRecord:
    first = max(finding.hits, key=lambda hit: hit.severity, default=None)
    row = first.row if first else next(iter(finding.entity.rows), None)
    return FindingRecord(
        host=finding.host,
        fingerprint=finding.fingerprint,
        rule_id=first.rule_id if first else "",
        rule_title=first.title if first else "",
        severity=str(finding.severity),
        certainty=finding.certainty,
        state=finding.state,
        verdict=finding.verdict.kind,
        entity_kind=finding.entity.kind,
        entity=identity_text(finding.entity),
        key=row.key if row else next(iter(finding.entity.keys), ""),
        summary="; ".join(finding.why),
        techniques=tuple(dict.fromkeys(technique for hit in finding.hits for technique in hit.techniques)),
        details=_details(finding),
    )


def _details(finding: Finding) -> Mapping[str, object]:
    return {
        "title": finding.entity.title,
        "what": finding.what,
        "identity": dict(finding.entity.identity),
        "attributes": dict(finding.entity.attributes),
        "shown": dict(finding.entity.ignored),
        "fact": finding.verdict.fact,
        # How many other hosts have it is no part of a host's record: it would be a new one whenever the fleet changes.
        "capped": finding.is_capped,
        "approval": finding.approval.id if finding.approval else "",
        "rules": [
            {
                "id": hit.rule_id,
                "severity": str(hit.severity),
                "certainty": hit.certainty,
                "excuse": hit.excuse,
                "key": hit.row.key,
                "name": hit.row.name,
                "type": hit.row.type,
                "data": hit.row.data,
                "scope": hit.scope_id,
                "change": hit.change,
            }
            for hit in finding.hits
        ],
    }


def change_records(assessment: Assessment, base: str) -> Iterator[ChangeRecord]:
    """One record for every attribute that changed, or for the entity where it appeared or vanished."""
    for change in assessment.changes:
        yield from _changes(change, base)
    for gap in assessment.gaps:
        yield ChangeRecord(
            host=gap.host,
            kind="not comparable",
            entity_kind=gap.entity.kind if gap.entity else "",
            entity=identity_text(gap.entity) if gap.entity else "",
            base=base,
            summary=gap.reason,
        )


def _changes(one: HostChange, base: str) -> Iterator[ChangeRecord]:
    graded = one.graded
    details = {"severity": str(graded.severity), "what": graded.what}  # nothing of one host: equal ones are kept once
    entity = graded.change.entity
    attributes = [(attribute.name, attribute.old, attribute.new) for attribute in graded.change.attributes]
    for name, old, new in attributes or [("", None, None)]:
        yield ChangeRecord(
            host=one.host,
            kind=graded.change.kind,
            entity_kind=entity.kind,
            entity=identity_text(entity),
            base=base,
            attribute=name,
            before=old or "",
            after=new or "",
            summary=graded.why,
            details=details,
        )


def own_entity_records(assessment: Assessment) -> Iterator[EntityRecord]:
    """The entities of the findings of single hosts, once for each host."""
    return _entities(assessment.findings)


def shared_entity_records(assessment: Assessment) -> Iterator[Shared[EntityRecord]]:
    """The entities of known-good rows, once for all hosts that have the same."""
    for group in assessment.stock:
        yield Shared(group.hosts, tuple(_entities(group.findings)))


def _entities(findings: Iterable[Finding]) -> Iterator[EntityRecord]:
    seen = set()
    known: dict[int, EntityRecord] = {}
    for finding in findings:
        entity = finding.entity
        key = finding.host, entity.ident
        if key not in seen:
            seen.add(key)
            if id(entity) not in known:
                known[id(entity)] = EntityRecord(
                    host=finding.host,
                    kind=entity.kind,
                    identity=identity_text(entity),
                    attributes=dict(entity.attributes),
                )
            yield replace(known[id(entity)], host=finding.host)
