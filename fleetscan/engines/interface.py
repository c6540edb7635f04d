"""What an engine promises. The contract suite in ``tests/engines`` runs on every implementation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscan.model.host import Host
    from fleetscan.model.snapshot import BlindSpot, RawAnswer
    from fleetscan.planner.plan import Answer, Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a host gave for a list of statements, in their order; every statement has exactly one answer.

    ``raw`` holds the bytes of each answered statement. ``blind_spots`` is filled by engines that can see what the table
    hides. ``missing`` are the keys of hives that the source lacks and that were asked for: what lies below them is not
    covered, whatever the answers say. ``parts`` are the keys that .reg exports of the source wrote: of the hives in
    which they stand, only these and what is below is known. ``damages`` are keys (empty: all of them) of which a part
    cannot be read, and why. ``notes`` are facts that only the transport knows (remote
    user, shell, elevation): name, text.
    """

    answers: dict[str, Answer]
    raw: tuple[RawAnswer, ...] = ()
    blind_spots: tuple[BlindSpot, ...] = ()
    missing: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    damages: tuple[tuple[str, str], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()


class Engine(Protocol):
    """Answers statements for one host.

    ``ask`` never raises for what a host does: a host that cannot be reached gives ``Failed`` for every statement, a
    statement that fails leaves the others. It is bounded in time and in bytes, and can be called from many threads.
    """

    def ask(self, host: Host, statements: Sequence[Statement], *, deadline: float | None = None) -> Answers:
        """Ask; ``deadline`` is a point of ``time.monotonic()`` after which what is missing is Failed(DEADLINE)."""
        ...


@runtime_checkable
class Stoppable(Protocol):
    """An engine that can be told to give up what it is doing, so that no remote process is left behind."""

    def stop(self) -> None:
        """Give up all hosts that are being asked now: each gives what it has, and Failed(CANCELLED)."""
        ...
