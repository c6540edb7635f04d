"""The verdict: what the expected shape says about one entity, and the short forms in which judges say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.model.finding import Severity, VerdictKind, What

if TYPE_CHECKING:
    from fleetscan.domain.entity import Entity
    from fleetscan.domain.known_good import Fact


IN_A_USER_HIVE = "registered in a user hive: Windows does not read it there, and nothing legitimate writes it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``why`` is a sentence for people; ``fact`` names the known-good entry that was compared, if there is one."""

    kind: VerdictKind
    what: What
    severity: Severity
    why: str
    fact: str = ""
    stock: bool = False
    """The fact is confirmed and part of every host of its release: when the entity vanishes, that means something."""

    @property
    def is_fine(self) -> bool:
        """Expected, or explained by an unconfirmed fact, or nothing to judge."""
        return self.kind in {VerdictKind.EXPECTED, VerdictKind.LIKELY, VerdictKind.NOT_JUDGED}


@dataclass(frozen=True, slots=True)
class Judged:
    """An entity with its verdict."""

    entity: Entity
    verdict: Verdict


def expected(why: str, fact: Fact | None = None) -> Verdict:
    """Confirmed: not worth a line."""
    return Verdict(
        kind=VerdictKind.EXPECTED,
        what=What.STOCK,
        severity=Severity.INFO,
        why=why,
        fact=fact.name if fact else "",
        stock=fact is not None and fact.is_stock,
    )


def likely(fact: Fact, why: str = "") -> Verdict:
    """Matches a fact that no real hive confirmed yet."""
    text = why or f"matches {fact.name}, which is not confirmed by a real hive"
    return Verdict(kind=VerdictKind.LIKELY, what=What.STOCK, severity=Severity.INFO, why=text, fact=fact.name)


def unknown(why: str, severity: Severity = Severity.MEDIUM, what: What = What.NEW) -> Verdict:
    """Nobody knows it."""
    return Verdict(kind=VerdictKind.UNKNOWN, what=what, severity=severity, why=why)


def hijack(fact: Fact, why: str, severity: Severity, what: What = What.HIJACKED) -> Verdict:
    """A known identity with another DLL, function or value."""
    return Verdict(kind=VerdictKind.HIJACK, what=what, severity=severity, why=why, fact=fact.name)


def structural(entity: Entity, at_least: Severity = Severity.INFO) -> Verdict:
    """The shape itself is wrong, whatever it points to."""
    why = "; ".join(flag.text for flag in sorted(entity.flags, key=lambda flag: -flag.severity))
    severity = max(entity.severity_of_flags, at_least)
    return Verdict(kind=VerdictKind.STRUCTURAL, what=What.SUSPICIOUS, severity=severity, why=why)


def incomplete(entity: Entity, severity: Severity = Severity.MEDIUM) -> Verdict:
    """What was seen is not everything: never clean."""
    return Verdict(
        kind=VerdictKind.STRUCTURAL, what=What.INCOMPLETE, severity=severity, why=entity.incomplete, stock=False
    )
