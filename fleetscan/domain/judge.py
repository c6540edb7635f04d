"""The expected shape of Windows applied to entities: a verdict with severity and a sentence why for each.

A registration is expected only when GUID, DLL path and function all match one fact; a known GUID with another DLL or
function is the hijack pattern. Unconfirmed facts explain, they never suppress.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.domain import verdicts
from fleetscan.domain.known_good import load
from fleetscan.domain.loadables import judge_sip, judge_trust
from fleetscan.domain.providers import judge_namespace, judge_netbios, judge_protocol, stock_tuples
from fleetscan.domain.releases import labels
from fleetscan.domain.settings import judge_appid, judge_flag, judge_helper, judge_scalar
from fleetscan.domain.shape import missing_twins
from fleetscan.domain.verdicts import Judged, Verdict, expected, structural
from fleetscan.model.finding import Severity, VerdictKind, What

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fleetscan.domain.entity import Entity
    from fleetscan.domain.known_good import KnownGood
    from fleetscan.model.snapshot import HostFacts


BITS_32 = "32-bit"
"""The architecture as osquery names it."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a verdict may depend on beyond the entity: the facts, the release, and which rows stock providers serve."""

    known: KnownGood
    releases: frozenset[str]
    stock: frozenset[tuple[str, str, str, str]] = frozenset()
    is_32bit: bool = False
    """On 32-bit Windows the one view is that of 32-bit programs."""

    def bits(self, view: str) -> str:
        """The view as facts about DLLs name it."""
        return "32" if self.is_32bit and view == "native" else view


def judge_all(
    entities: Iterable[Entity], facts: HostFacts | None = None, *, known: KnownGood | None = None
) -> tuple[Judged, ...]:
    """Every entity with its verdict, and what should be there and is not (an entity without rows)."""
    table = tuple(entities)
    facts_of_windows = known or load()
    releases = labels(facts.os_build, facts.os_name) if facts else frozenset()
    is_32bit = facts is not None and facts.arch == BITS_32
    context = Context(facts_of_windows, releases, stock_tuples(table, facts_of_windows), is_32bit)
    judged = tuple(Judged(entity, judge(entity, context)) for entity in table)
    return (*judged, *missing_twins(judged))


def judge(entity: Entity, context: Context) -> Verdict:
    """The verdict on one entity."""
    judge_kind = _JUDGES.get(entity.kind)
    if judge_kind is None:
        return Verdict(
            kind=VerdictKind.NOT_JUDGED, what=What.OBSERVED, severity=Severity.INFO, why="compared, not judged"
        )
    return judge_kind(entity, context)


def _catalog(entity: Entity, _context: Context) -> Verdict:
    if entity.incomplete:
        return verdicts.incomplete(entity)
    return structural(entity) if entity.flags else expected("the counter agrees with the rows")


def _area(entity: Entity, _context: Context) -> Verdict:
    if entity.incomplete:
        minor = any(flag.code == "minor" for flag in entity.flags)
        return verdicts.incomplete(entity, Severity.LOW if minor else Severity.MEDIUM)
    return structural(entity)


def _other_function(entity: Entity, context: Context) -> Verdict:
    if entity.incomplete:
        return verdicts.incomplete(entity, Severity.LOW)
    if entity.get("view") == "user" and entity.get("dll"):
        return verdicts.unknown(verdicts.IN_A_USER_HIVE, Severity.LOW, What.SUSPICIOUS)
    if entity.severity_of_flags >= Severity.MEDIUM:
        return structural(entity)
    if not entity.get("dll"):
        why = "names no DLL: nothing is loaded"
        return Verdict(kind=VerdictKind.LIKELY, what=What.STOCK, severity=Severity.INFO, why=why)
    if names_usual_dlls(entity, context.known):
        why = "names only DLLs that stock functions of the OID tree name; which rows are stock is not confirmed"
        return Verdict(kind=VerdictKind.LIKELY, what=What.STOCK, severity=Severity.INFO, why=why)
    return Verdict(kind=VerdictKind.NOT_JUDGED, what=What.OBSERVED, severity=Severity.INFO, why="compared, not judged")


def names_usual_dlls(entity: Entity, known: KnownGood) -> bool:
    """Does a function outside the SIP sets name only usual DLLs, bare or in the system folders?"""
    return all(
        folder in {"", "{system32}", "{syswow64}"} and base in known.oid_dlls
        for folder, _, base in (dll.rpartition("\\") for dll in entity.get("dll").split(", "))
    )


def _user(entity: Entity, _context: Context) -> Verdict:
    if entity.incomplete:
        return verdicts.incomplete(entity, Severity.LOW)
    if entity.get("hive") == "loaded":
        return Verdict(
            kind=VerdictKind.NOT_JUDGED, what=What.OBSERVED, severity=Severity.INFO, why="the hive is loaded"
        )
    why = "the profile exists, its hive is not loaded: nothing in it was read"
    return Verdict(kind=VerdictKind.NOT_JUDGED, what=What.NOT_OBSERVED, severity=Severity.INFO, why=why)


_JUDGES: Mapping[str, Callable[[Entity, Context], Verdict]] = {
    "sip": judge_sip,
    "trust": judge_trust,
    "oid_other": _other_function,
    "winsock_protocol": judge_protocol,
    "winsock_netbios": judge_netbios,
    "winsock_namespace": judge_namespace,
    "winsock_catalog": _catalog,
    "winsock_scalar": judge_scalar,
    "winsock_appid": judge_appid,
    "winsock_helper": judge_helper,
    "wintrust_flag": judge_flag,
    "user": _user,
    "area": _area,
}
