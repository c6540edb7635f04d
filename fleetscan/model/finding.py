"""Severity and certainty: the words in which findings are graded."""

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
