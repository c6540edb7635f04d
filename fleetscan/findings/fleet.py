"""Changes of the whole fleet at once: an update told from a new thing on one host."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fleetscan.findings.fingerprint import fingerprint
from fleetscan.findings.model import FleetChange, HostChange, Prevalence
from fleetscan.model.finding import Severity, What

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fleetscan.baseline.diff import Change
    from fleetscan.baseline.grade import Graded
    from fleetscan.findings.compare import HostDiff
    from fleetscan.findings.prevalence import Census
    from fleetscan.model.host import HostId

_FEWEST = 3
_HALF = 2


def host_changes(diffs: Iterable[HostDiff]) -> Iterator[HostChange]:
    """Every change of every host, with the name of the finding that it would be."""
    for found in diffs:
        for graded in found.changes:
            ident = graded.change.entity.ident
            yield HostChange(host=found.host, graded=graded, fingerprint=fingerprint(found.host, ident))


def fleet_changes(
    diffs: Iterable[HostDiff], builds: Mapping[HostId, str], counted: Census | None = None
) -> tuple[FleetChange, ...]:
    """Equal changes on at least half of the compared hosts of a build; those of the same hosts are one line.

    ``builds`` names every host that was compared, those without a change too.
    """
    compared = Counter(builds.values())
    alike: dict[tuple[str, object], list[HostId]] = {}
    examples: dict[tuple[str, object], Graded] = {}
    for found in diffs:
        for graded in found.changes:
            if graded.change.entity.kind == "user":
                continue
            key = builds[found.host], signature(graded.change)
            alike.setdefault(key, []).append(found.host)
            examples.setdefault(key, graded)
    lines: dict[tuple[str, tuple[HostId, ...]], list[Graded]] = {}
    for key, hosts in alike.items():
        if len(hosts) >= _FEWEST and len(hosts) * _HALF >= compared[key[0]]:
            lines.setdefault((key[0], tuple(sorted(hosts))), []).append(examples[key])
    return tuple(
        FleetChange(
            changes=tuple(changes),
            hosts=hosts,
            of=compared[build],
            present=_present(changes, counted, build) if counted else Prevalence(len(hosts), compared[build], build),
            build=build,
            severity=max(_severity(graded) for graded in changes),
        )
        for (build, hosts), changes in sorted(lines.items(), key=lambda line: line[0])
    )


def _present(changes: Iterable[Graded], counted: Census, build: str) -> Prevalence:
    """How many hosts are as the changes leave them: with what came or, where all of them are removals, without it."""
    entities = [(one.change.entity, one.change.after is not None) for one in changes]
    entity, stays = next((one for one in entities if one[1]), entities[0])
    found = counted.of(entity, build)
    return found if stays else Prevalence(found.of - found.hosts, found.of, build)


def signature(change: Change) -> object:
    """What makes two hosts' changes the same change."""
    attributes = tuple((one.name, one.old, one.new) for one in change.attributes)
    return change.kind, change.entity.ident, change.entity.get("dll"), change.entity.get("function"), attributes


def _severity(graded: Graded) -> Severity:
    """What everybody got at once is an update, unless it is wrong wherever it stands."""
    if graded.severity >= Severity.HIGH or graded.what in {What.HIJACKED, What.REPLACED}:
        return graded.severity
    return min(graded.severity, Severity.LOW)
