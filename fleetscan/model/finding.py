"""Severity, certainty, verdict, state: the words in which findings are graded."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Severity(IntEnum):
    """Ordered; ``INFO`` never needs a person."""

    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    def __str__(self) -> str:
        """The word users see and type."""
        return self.name.lower()


class Certainty(StrEnum):
    """TRUE gives a certain finding, UNKNOWN a possible one (rule-semantics V1)."""

    CERTAIN = "certain"
    POSSIBLE = "possible"


class VerdictKind(StrEnum):
    """What the expected shape of Windows says about one registration (windows-domain 8)."""

    EXPECTED = "expected"
    LIKELY = "likely stock, unconfirmed"
    UNKNOWN = "unknown"
    HIJACK = "hijack pattern"
    STRUCTURAL = "structural"
    NOT_JUDGED = "not judged"  # kinds for which nothing is known to be normal: only their changes count


class What(StrEnum):
    """What is reported about an entity, in one word."""

    HIJACKED = "hijacked"
    REPLACED = "replaced"
    NEW = "new"
    REMOVED = "removed"
    CHANGED = "changed"
    SUSPICIOUS = "suspicious"
    INCOMPLETE = "incomplete"
    OBSERVED = "observed"
    NOT_OBSERVED = "not_observed"
    STOCK = "stock"


class FindingState(StrEnum):
    """Where a finding stands compared with the baseline."""

    NEW = "new"
    STILL_THERE = "still there"
    CHANGED = "changed"
    GONE = "gone"
    APPROVED = "approved"
    NO_BASELINE = "no baseline"
    NOT_COMPARABLE = "not comparable"  # one side did not cover it
