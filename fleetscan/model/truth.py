"""Three-valued truth (Kleene): what is not observable is UNKNOWN and never becomes "no"."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Truth(IntEnum):
    """Ordered FALSE < UNKNOWN < TRUE, so that AND is the minimum, OR the maximum and NOT the mirror."""

    FALSE = 0
    UNKNOWN = 1
    TRUE = 2

    @classmethod
    def of(cls, known: bool) -> Truth:  # noqa: FBT001 - it converts a bool
        """Lift a two-valued truth."""
        return cls.TRUE if known else cls.FALSE

    def negate(self) -> Truth:
        """Kleene NOT."""
        return Truth(2 - self)


def all_of(truths: Iterable[Truth]) -> Truth:
    """Kleene AND; of nothing: TRUE."""
    return min(truths, default=Truth.TRUE)


def any_of(truths: Iterable[Truth]) -> Truth:
    """Kleene OR; of nothing: FALSE."""
    return max(truths, default=Truth.FALSE)
