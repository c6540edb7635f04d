"""The assessment of a sweep: verdicts, rule hits and changes of every host become one finding for each matter."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fleetscan.baseline.approvals import ApprovalIndex, use
from fleetscan.baseline.diff import ChangeKind
from fleetscan.domain.detections import KINDS
from fleetscan.domain.known_good import load
from fleetscan.domain.verdicts import Judged, expected
from fleetscan.findings.appearances import Appearances
from fleetscan.findings.compare import Comparer
from fleetscan.findings.fingerprint import fingerprint
from fleetscan.findings.fleet import fleet_changes, host_changes
from fleetscan.findings.hashes import FileHashes
from fleetscan.findings.hits import RuleHits
from fleetscan.findings.model import (
    Assessment,
    Finding,
    Gap,
    HostCoverage,
    StockGroup,
)
from fleetscan.findings.prevalence import Census, census, shape
from fleetscan.findings.reading import Judge
from fleetscan.findings.refused import refusals, refused_host, refused_jump
from fleetscan.findings.removals import Removals, cell_gap, filtered_by_data
from fleetscan.model.detection import is_detection
from fleetscan.model.finding import Certainty, FindingState, Severity, VerdictKind, What
from fleetscan.model.host import HostId
from fleetscan.model.registry import fold
from fleetscan.model.snapshot import is_gap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from fleetscan.baseline.approvals import Approval
    from fleetscan.baseline.grade import Graded
    from fleetscan.domain.entity import Entity, Ident
    from fleetscan.domain.known_good import KnownGood
    from fleetscan.domain.verdicts import Verdict
    from fleetscan.findings.compare import HostDiff
    from fleetscan.findings.model import FleetChange, RuleHit
    from fleetscan.findings.reading import HitFinder, HostGroup
    from fleetscan.findings.refused import Jump, Refusal, Refusals
    from fleetscan.queries import Query
    from fleetscan.store.interface import Baseline, Store, Sweep


_BY_HITS = frozenset({"registry_value", "registry_key"}) | KINDS
"""Kinds that no decoder compares: the scopes of their hits say whether they were covered."""


@dataclass(frozen=True, slots=True)
class Matter:
    """An entity of a host that is worth a line, with the hits on its rows; not yet a finding."""

    judged: Judged
    hits: tuple[RuleHit, ...] = ()

    @property
    def is_stock(self) -> bool:
        """Nothing speaks against it but rules that match every stock row."""
        return self.judged.verdict.kind in {VerdictKind.EXPECTED, VerdictKind.LIKELY}

    @property
    def counts(self) -> bool:
        """Is it a finding of its own, without a comparison?"""
        if self.is_stock:
            return False
        return not self.judged.verdict.is_fine or bool(self.hits)


def no_hits(_scope_id: str, _rows: object) -> tuple[RuleHit, ...]:
    """The hit finder of an assessment without rules."""
    return ()


def assess(
    store: Store,
    sweep: Sweep,
    *,
    today: date,
    baseline: Baseline | None = None,
    find_hits: HitFinder = no_hits,
    approvals: Sequence[Approval] = (),
    known: KnownGood | None = None,
    detections: Iterable[Query] = (),
) -> Assessment:
    """Judge a stored sweep, compare it with a baseline if there is one, and bring everything together.

    Each distinct block is decoded and judged once. ``baseline`` with a host compares every host with that one.
    """
    judge = Judge(store, known or load(), find_hits, {query.scope_id: query for query in detections})
    groups = tuple(judge.groups(sweep.id))
    counted = census(group for group in groups if _is_reached(group))
    inventory = {host.id: host.groups for host in store.hosts(sweep.id)}
    past = _Past.read(judge, baseline, inventory) if baseline else None
    scopes = store.plan(sweep.id).scopes
    by_data = filtered_by_data(scopes) | {scope_id for scope_id, _ in scopes if is_detection(scope_id)}
    work = _Work(judge, groups, counted, past, inventory, by_data)
    return work.assessment(sweep, baseline, approvals, today)


def _is_reached(group: HostGroup) -> bool:
    return any(cell.block is not None for cell in group.cells)


@dataclass(frozen=True, slots=True)
class _Past:
    """The baseline by host; a golden host stands for every host, or for those of its build."""

    hosts: Mapping[HostId, HostGroup]
    golden: tuple[HostGroup, ...]
    own_past: bool
    listed: frozenset[HostId]
    refused: Refusals
    """Hosts and jump hosts whose key was refused then."""

    @classmethod
    def read(cls, judge: Judge, baseline: Baseline, wanted: Iterable[HostId]) -> _Past:
        """Read and judge the baseline's sweep, and earlier ones for the wanted hosts that it did not reach."""
        own_past = baseline.own_past or not baseline.golden
        groups = tuple(judge.groups(baseline.sweep, None if own_past else frozenset(baseline.golden)))
        hosts = {host: group for group in groups if _is_reached(group) for host in group.hosts}
        listed = frozenset(host.id for host in judge.store.hosts(baseline.sweep))
        golden = tuple(hosts[name] for name in baseline.golden if name in hosts)
        missing = {host for host in wanted if host not in hosts}
        for sweep in baseline.earlier:
            if not missing:
                break
            reached = {host for host, covered in judge.store.reached(sweep).items() if covered and host in missing}
            hosts |= {host: group for group in judge.groups(sweep, reached) for host in group.hosts} if reached else {}
            missing -= reached
        return cls(hosts, golden, own_past, listed, refusals(groups))

    def own(self, host: HostId) -> HostGroup | None:
        """The host's own past, if that is what it is compared with."""
        return self.hosts.get(host) if self.own_past else None

    def of(self, host: HostId, build: str) -> HostGroup | None:
        """What the host is compared with; one golden host alone stands for every build."""
        if (own := self.own(host)) is not None:
            return own
        if len(self.golden) == 1 and not self.own_past:
            return self.golden[0]
        return next((group for group in self.golden if group.outlook.build == build), None)

    def missing(self, host: HostId, build: str) -> str:
        """Why the host cannot be compared; empty if it can, or if it is merely new."""
        if not self.golden or self.of(host, build) is not None:
            return ""
        return f"no golden host of build {build}" if build else "no golden host: the host's build is not known"


class _Work:
    """One assessment under way: the parts that every host needs."""

    def __init__(
        self,
        judge: Judge,
        groups: tuple[HostGroup, ...],
        counted: Census,
        past: _Past | None,
        inventory: Mapping[HostId, tuple[str, ...]],
        by_data: frozenset[str],
    ) -> None:
        self._groups = groups
        self._census = counted
        self._past = past
        self._inventory = inventory
        self._builds = {host: group.outlook.build for group in groups for host in group.hosts}
        self._comparer = Comparer(judge)
        rules = judge.find_hits if isinstance(judge.find_hits, RuleHits) else None
        self._removals = Removals(judge, rules, by_data) if rules else None
        self._appearances = Appearances(judge, rules, by_data) if rules else None
        self._refused = refusals(groups)
        self._triages = judge.store.triages()
        self._matters: dict[int, dict[Ident, Matter]] = {}
        self._diffs: dict[tuple[int, int], HostDiff] = {}
        self._raised: dict[tuple[int, int, int], tuple[Finding, ...]] = {}

    def assessment(
        self, sweep: Sweep, baseline: Baseline | None, approvals: Sequence[Approval], today: date
    ) -> Assessment:
        """Everything, in the order of the report."""
        reached = {host: group for group in self._groups if _is_reached(group) for host in group.hosts}
        diffs = {host: found for host in reached if (found := self._diff(host, reached[host])) is not None}
        fleet = fleet_changes(diffs.values(), {host: self._builds[host] for host in diffs}, self._census)
        at_once = _at_once(fleet)
        findings: list[Finding] = []
        uses: Counter[str] = Counter()
        standing = ApprovalIndex.standing(approvals, today)
        hashes = FileHashes(self._triages, sweep.started)
        for host in sorted({*self._inventory, *reached}):
            raised = self._shared(host, reached.get(host), diffs.get(host), at_once)
            findings.extend(self._approved(host, raised, standing, hashes, uses))
        for finding in self._jumps(reached):
            findings.extend(self._approved(finding.host, (finding,), standing, hashes, uses))
        return Assessment(
            sweep=sweep.id,
            baseline=baseline.name if baseline else "",
            findings=tuple(sorted(findings, key=_order)),
            stock=tuple(self._stock()),
            changes=tuple(host_changes(diffs.values())),
            fleet_changes=fleet,
            gaps=tuple(self._gaps(diffs.values(), reached)),
            first_seen=tuple(sorted(set(reached) - set(self._past.hosts)))
            if self._past and self._past.own_past
            else (),
            no_longer_listed=tuple(sorted(self._past.listed - set(self._inventory))) if self._past else (),
            coverage=tuple(self._coverage()),
            prevalence=self._census.lines(_new_on(diffs.values())),
            approvals=use(approvals, uses, today),
            hosts=len(self._inventory),
            reached=len(reached),
        )

    def _past_of(self, host: HostId) -> HostGroup | None:
        return self._past.of(host, self._builds.get(host, "")) if self._past else None

    def _diff(self, host: HostId, group: HostGroup) -> HostDiff | None:
        before = self._past_of(host)
        if before is None:
            return None
        pair = id(before), id(group)
        if pair not in self._diffs:
            self._diffs[pair] = self._comparer.compare(host, before, group)
        return replace(self._diffs[pair], host=host)

    def _matters_of(self, group: HostGroup) -> dict[Ident, Matter]:
        if id(group) not in self._matters:
            self._matters[id(group)] = matters(group)
        return self._matters[id(group)]

    def _shared(
        self, host: HostId, group: HostGroup | None, found: HostDiff | None, at_once: Mapping[object, str]
    ) -> Iterator[Finding]:
        """The findings of a host: hosts with the same answers, now and in the past, have the same but for the names."""
        past = self._past
        if host in self._refused.hosts or (past is not None and host in past.refused.hosts):
            yield from self._host(host, group, found, at_once)
            return
        # Groups live as long as this assessment, so that their ids stay their own.
        case = id(group), id(self._past_of(host)), id(past.own(host) if past else None)
        if case not in self._raised:
            self._raised[case] = tuple(self._host(host, group, found, at_once))
        for one in self._raised[case]:
            yield one if one.host == host else replace(one, host=host, fingerprint=fingerprint(host, one.entity.ident))

    def _host(
        self, host: HostId, group: HostGroup | None, found: HostDiff | None, at_once: Mapping[object, str]
    ) -> Iterator[Finding]:
        before_group = self._past_of(host)
        now = self._now(host, group)
        before = self._before(host, before_group)
        changes = {one.change.entity.ident: one for one in found.changes} if found else {}
        for ident, matter in now.items():
            change = changes.pop(ident, None)
            if matter.counts or (change is not None and change.severity > Severity.INFO):
                state = self._state(host, ident, matter, before, change)
                yield self._finding(host, group, matter, change, state, at_once)
        removed = self._removed(group, before_group, now)
        for ident, change in changes.items():
            if change.severity > Severity.INFO and not (ident in before and before[ident].counts):
                yield self._gone(host, ident, change, removed.pop(ident, None))
        for ident, matter in removed.items():
            yield self._gone(host, ident, None, matter, before.get(ident))
        left = {ident: matter for ident, matter in before.items() if ident not in removed}
        yield from self._closed(host, group, left, now)

    def _jumps(self, reached: Mapping[HostId, HostGroup]) -> Iterator[Finding]:
        """Jump hosts whose key was refused: a finding for each, told of the first host behind it."""
        past = self._past.refused.jumps if self._past is not None and self._past.own_past else {}
        before = {ident: matter for jump in past.values() for ident, matter in _of_jump(jump).items()}
        for jump in self._refused.jumps.values():
            for ident, matter in _of_jump(jump).items():
                state = self._state(jump.hosts[0], ident, matter, before, None)
                yield _named_by(jump, self._finding(jump.hosts[0], None, matter, None, state, {}))
        for jump in past.values():
            hosts = [host for host in jump.hosts if host in self._inventory]
            if hosts and jump.name not in self._refused.jumps:
                gap = "" if any(host in reached for host in hosts) else "no host behind it was reached"
                for matter in _of_jump(jump).values():
                    yield _named_by(jump, self._past_finding(hosts[0], matter, gap))

    def _now(self, host: HostId, group: HostGroup | None) -> Mapping[Ident, Matter]:
        """The host's matters; rows that its past, or the golden host in its place, does not show are judged as new."""
        if host in self._refused.hosts:
            return _refusal(host, self._refused.hosts[host])
        if group is None:
            return {}
        known = self._matters_of(group)
        past = self._past_of(host)
        if past is None or self._appearances is None:
            return known
        return _with_hits(known, group, self._appearances.hits(past, group))

    def _before(self, host: HostId, group: HostGroup | None) -> Mapping[Ident, Matter]:
        known = self._matters_of(group) if group else {}
        if self._past is not None and self._past.own_past and host in self._past.refused.hosts:
            return {**known, **_refusal(host, self._past.refused.hosts[host])}
        return known

    def _removed(
        self, group: HostGroup | None, before: HostGroup | None, now: Mapping[Ident, Matter]
    ) -> dict[Ident, Matter]:
        """What rules about deletion say of rows that are gone, by the entity that they belonged to."""
        if group is None or before is None or self._removals is None:
            return {}
        hits: dict[Ident, list[RuleHit]] = {}
        judged: dict[Ident, Judged] = {}
        for hit in self._removals.hits(before, group):
            one = before.index.of_row(hit.row)
            judged[one.entity.ident] = one
            hits.setdefault(one.entity.ident, []).append(hit)
        return {
            ident: Matter(judged[ident], _once(found))
            for ident, found in hits.items()
            if not (ident in now and now[ident].counts)
        }

    def _state(
        self, host: HostId, ident: Ident, matter: Matter, before: Mapping[Ident, Matter], change: Graded | None
    ) -> FindingState:
        if self._past is None or not (ident in before or self._past_of(host)):
            return FindingState.NO_BASELINE
        if ident in before and before[ident].counts:
            same = before[ident].judged.entity.attributes == matter.judged.entity.attributes
            return FindingState.STILL_THERE if same and change is None else FindingState.CHANGED
        if change is None and not self._was_asked(host, matter):
            return FindingState.NO_BASELINE
        if change is None and not matter.judged.entity.keys:
            return FindingState.STILL_THERE if ident in before else FindingState.NEW
        return FindingState.NEW

    def _was_asked(self, host: HostId, matter: Matter) -> bool:
        """Did the baseline cover what was found now? What nobody could see then is not a new thing on the host."""
        before = self._past_of(host)
        if before is None:
            return True
        if not matter.hits or not matter.judged.verdict.is_fine:
            return not matter.judged.entity.keys or not _closing_gap(before, matter)
        cells = {cell.scope_id: cell for cell in before.cells}
        return any(not cell_gap(cells.get(hit.scope_id), hit.row.key) for hit in matter.hits)

    def _finding(
        self,
        host: HostId,
        group: HostGroup | None,
        matter: Matter,
        change: Graded | None,
        state: FindingState,
        at_once: Mapping[object, str],
    ) -> Finding:
        entity, verdict = matter.judged.entity, matter.judged.verdict
        build = group.outlook.build if group else ""
        evidence = [(verdict.severity, verdict.why)] if not verdict.is_fine else []
        evidence += [(change.severity, _apart_from(verdict, change))] if change else []
        if not matter.is_stock:
            evidence += [(hit.severity, hit.told) for hit in matter.hits]
        severity = max((one for one, _ in evidence), default=Severity.INFO)
        capped = self._cap(entity, matter, build, severity, at_once)
        what = verdict.what if not verdict.is_fine or change is None else change.what
        return Finding(
            fingerprint=fingerprint(host, entity.ident),
            host=host,
            entity=entity,
            verdict=verdict,
            severity=Severity.LOW if capped else severity,
            certainty=_certainty(matter, change),
            what=What.NEW if what in {What.STOCK, What.OBSERVED} and matter.hits and not matter.is_stock else what,
            why=tuple(dict.fromkeys(text for _, text in sorted(evidence, key=lambda one: -one[0]))),
            state=state,
            hits=matter.hits,
            change=change,
            prevalence=self._census.of(entity, build) if group else None,
            capped=capped,
        )

    def _cap(
        self, entity: Entity, matter: Matter, build: str, severity: Severity, at_once: Mapping[object, str]
    ) -> str:
        """An unknown thing, not a wrong one, that is all over the fleet is the fleet's, not an incident."""
        kind = matter.judged.verdict.kind
        if severity is not Severity.MEDIUM or kind not in {VerdictKind.UNKNOWN, VerdictKind.NOT_JUDGED}:
            return ""
        if matter.judged.verdict.what is What.INCOMPLETE:
            return ""
        if update := at_once.get((build, shape(entity))):
            return update
        if self._census.is_common(entity, build):
            return f"common: on {self._census.of(entity, build)} hosts"
        return ""

    def _gone(
        self, host: HostId, ident: Ident, change: Graded | None, matter: Matter | None, was: Matter | None = None
    ) -> Finding:
        """Something that should be there was removed, or was changed into something else that is known.

        ``was`` is a finding of the baseline whose removal is a matter for a rule: one line, which stays open.
        """
        was = was if was is not None and was.counts else None
        hits = matter.hits if matter else ()
        evidence = [(change.severity, change.why)] if change else []
        evidence += [(hit.severity, f"removed: {hit.title} ({hit.certainty})") for hit in hits]
        entity = change.change.entity if change else matter.judged.entity if matter else None
        if entity is None:
            raise ValueError("neither a change nor a rule speaks of it")
        certain = change is not None or any(hit.certainty is Certainty.CERTAIN for hit in hits)
        return Finding(
            fingerprint=fingerprint(host, ident),
            host=host,
            entity=entity,
            verdict=expected("what was there was stock"),
            severity=max(severity for severity, _ in evidence),
            certainty=Certainty.CERTAIN if certain else Certainty.POSSIBLE,
            what=change.what if change else What.REMOVED,
            why=(
                *dict.fromkeys(text for _, text in sorted(evidence, key=lambda one: -one[0])),
                *((f"it was: {was.judged.verdict.why}",) if was else ()),
            ),
            state=FindingState.CHANGED if was else FindingState.NEW,
            hits=hits,
            change=change,
        )

    def _closed(
        self, host: HostId, group: HostGroup | None, before: Mapping[Ident, Matter], now: Mapping[Ident, Matter]
    ) -> Iterator[Finding]:
        """Findings of the baseline that are gone, or that nobody could look at this time."""
        if self._past is None or not (
            self._past.own(host) or (self._past.own_past and host in self._past.refused.hosts)
        ):
            return
        for ident, matter in before.items():
            if not matter.counts or (ident in now and now[ident].counts):
                continue
            if _severity(matter) > Severity.INFO:
                yield self._past_finding(host, matter, _closing_gap(group, matter))

    def _past_finding(self, host: HostId, matter: Matter, gap: str) -> Finding:
        """A finding of the baseline that is gone, or of which ``gap`` says why nobody knows."""
        entity, verdict = matter.judged.entity, matter.judged.verdict
        past = self._past.hosts.get(host) if self._past else None
        severity = _severity(matter)
        capped = self._cap(entity, matter, past.outlook.build if past else "", severity, {})
        return Finding(
            fingerprint=fingerprint(host, entity.ident),
            host=host,
            entity=entity,
            verdict=verdict,
            severity=(Severity.LOW if capped else severity) if gap else Severity.INFO,
            certainty=_certainty(matter, None),
            what=verdict.what,
            why=(gap or "no longer there", f"it was: {verdict.why}"),
            state=FindingState.NOT_COMPARABLE if gap else FindingState.GONE,
            hits=matter.hits,
            capped=capped,
        )

    def _approved(
        self, host: HostId, found: Iterable[Finding], approvals: ApprovalIndex, hashes: FileHashes, uses: Counter[str]
    ) -> Iterator[Finding]:
        groups = self._inventory.get(host, ())
        for finding in found:
            if finding.is_coverage or finding.state is FindingState.GONE:
                yield finding
                continue
            named = approvals.of(finding.entity, host, groups)
            sha256 = hashes.of(finding.fingerprint, finding.entity) if named else ""
            holding = [one for one in named if one.matches(finding.entity, sha256)]
            if holding:
                uses.update(one.id for one in holding)
                yield replace(finding, state=FindingState.APPROVED, approval=holding[0])
            elif named:
                yield replace(finding, why=(*finding.why, _not_that_file(named[0], sha256, finding.fingerprint)))
            else:
                yield finding

    def _stock(self) -> Iterator[StockGroup]:
        for group in self._groups:
            found = [one for one in self._matters_of(group).values() if one.is_stock and one.hits]
            if found:
                host = group.hosts[0]
                empty: Mapping[object, str] = {}
                state = FindingState.NO_BASELINE
                yield StockGroup(
                    hosts=group.hosts,
                    findings=tuple(self._finding(host, group, one, None, state, empty) for one in found),
                )

    def _gaps(self, diffs: Iterable[HostDiff], reached: Mapping[HostId, HostGroup]) -> Iterator[Gap]:
        for found in diffs:
            for entity, reason in found.gaps:
                yield Gap(host=found.host, reason=reason, entity=entity)
        if self._past is not None:
            for host in sorted(self._inventory):
                if host in reached:
                    why = self._past.missing(host, self._builds[host])
                else:
                    why = "the host was not reached" if self._past_of(host) or self._past.golden else ""
                if why:
                    yield Gap(host=host, reason=why)

    def _coverage(self) -> Iterator[HostCoverage]:
        for group in self._groups:
            scopes = tuple((cell.scope_id, cell.status) for cell in group.cells)
            open_scopes = [f"{scope}: {status.reason}" for scope, status in scopes if is_gap(status)]
            unseen = [
                f"{one.entity.label}: {one.verdict.why}"
                for one in group.index.judged
                if one.verdict.what is What.INCOMPLETE
            ]
            for host in group.hosts:
                yield HostCoverage(host, scopes, (*unseen, *open_scopes))


def matters(group: HostGroup) -> dict[Ident, Matter]:
    """Every entity of a group, once, with the hits on its rows."""
    found = {one.entity.ident: one for one in group.index.judged}
    hits: dict[Ident, list[RuleHit]] = {}
    for hit in group.hits:
        judged = group.index.of_row(hit.row)
        found.setdefault(judged.entity.ident, judged)
        hits.setdefault(judged.entity.ident, []).append(hit)
    return {ident: Matter(one, _once(hits.get(ident, ()))) for ident, one in found.items()}


def _with_hits(known: Mapping[Ident, Matter], group: HostGroup, hits: Iterable[RuleHit]) -> Mapping[Ident, Matter]:
    """The matters with these hits in place of what the same rules said of the same rows."""
    found: dict[Ident, list[RuleHit]] = {}
    judged: dict[Ident, Judged] = {}
    for hit in hits:
        one = group.index.of_row(hit.row)
        judged[one.entity.ident] = one
        found.setdefault(one.entity.ident, []).append(hit)
    changed = {
        ident: Matter(judged[ident], _once((*new, *(known[ident].hits if ident in known else ()))))
        for ident, new in found.items()
    }
    return {**known, **changed} if changed else known


def _refusal(host: HostId, refused: Refusal) -> Mapping[Ident, Matter]:
    judged = refused_host(host, refused)
    return {judged.entity.ident: Matter(judged)}


def _of_jump(jump: Jump) -> Mapping[Ident, Matter]:
    judged = refused_jump(jump)
    return {judged.entity.ident: Matter(judged)}


def _named_by(jump: Jump, finding: Finding) -> Finding:
    """The finding under a name of the jump host's own: which host is the first behind it may change."""
    return replace(finding, fingerprint=fingerprint(HostId(jump.name), finding.entity.ident))


def _severity(matter: Matter) -> Severity:
    return max((matter.judged.verdict.severity, *(hit.severity for hit in matter.hits)))


def _closing_gap(group: HostGroup | None, matter: Matter) -> str:
    """Why nobody can say that a finding of the baseline is gone; empty if it is."""
    if group is None:
        return "the host was not reached"
    entity = matter.judged.entity
    if entity.kind not in _BY_HITS or not matter.hits:
        return group.coverage.gap(entity)
    cells = {cell.scope_id: cell for cell in group.cells}
    gaps = [
        group.coverage.hidden_gap(hit.row.key) or cell_gap(cells.get(hit.scope_id), hit.row.key) for hit in matter.hits
    ]
    return "" if "" in gaps else gaps[0]


def _apart_from(verdict: Verdict, change: Graded) -> str:
    """Why the change matters, without what the verdict beside it says already."""
    if verdict.is_fine:
        return change.why
    return change.why.removesuffix(verdict.why).rstrip(":; ")


def _not_that_file(approval: Approval, sha256: str, fingerprint: str) -> str:
    """Why an approval that names the finding does not hold."""
    if sha256:
        return f"approval {approval.id} is for another file: the hash of this one differs"
    return (
        f"approval {approval.id} is for one file, and no triage of these days hashed it: fleetscan triage {fingerprint}"
    )


def _once(hits: Iterable[RuleHit]) -> tuple[RuleHit, ...]:
    """Hits without those that another scope, or another spelling of the key, brought again."""
    found: dict[object, RuleHit] = {}
    for hit in hits:
        found.setdefault((hit.rule_id, fold(hit.row.key), fold(hit.row.name), hit.row.data), hit)
    return tuple(found.values())


def _certainty(matter: Matter, change: Graded | None) -> Certainty:
    if not matter.judged.verdict.is_fine or change is not None:
        return Certainty.CERTAIN
    certain = any(hit.certainty is Certainty.CERTAIN for hit in matter.hits)
    return Certainty.CERTAIN if certain else Certainty.POSSIBLE


def _order(finding: Finding) -> tuple[object, ...]:
    rarity = finding.prevalence.hosts if finding.prevalence else 0
    return -finding.severity, rarity, finding.host, finding.entity.ident


def _new_on(diffs: Iterable[HostDiff]) -> Mapping[tuple[Ident, str, str], int]:
    return Counter(
        shape(one.change.entity) for found in diffs for one in found.changes if one.change.kind is ChangeKind.ADDED
    )


def _at_once(fleet: Iterable[FleetChange]) -> Mapping[object, str]:
    """Build and shape of what an update brought to the whole build, with the reason in words."""
    return {
        (
            one.build,
            shape(graded.change.entity),
        ): f"new on {len(one.hosts)} of {one.of} hosts of build {one.build} at once"
        for one in fleet
        for graded in one.changes
    }
