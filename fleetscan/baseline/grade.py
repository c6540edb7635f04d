"""How much a change matters: the verdicts of both sides decide, not the fact that something differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.baseline.diff import ChangeKind
from fleetscan.model.finding import Severity, VerdictKind, What

if TYPE_CHECKING:
    from fleetscan.baseline.diff import Change
    from fleetscan.domain.verdicts import Verdict

_UNREMARKABLE = frozenset({"first", "count", "rank"})
"""Attributes that move with other rows; what moved them is its own change."""
_UNJUDGED = {"oid_other": Severity.MEDIUM, "winsock_dormant": Severity.INFO}
"""How much a change of a kind matters of which nothing is known to be normal; the others are low."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """A change with its severity and a sentence why."""

    change: Change
    what: What
    severity: Severity
    why: str


def grade(change: Change, before: Verdict | None, after: Verdict | None, *, new_release: bool = False) -> Graded:
    """Grade one change. ``new_release``: the host runs another release of Windows than at the baseline."""
    if change.entity.kind == "user":
        return _user(change)
    if after is None:
        return _removed(change, before, new_release=new_release)
    if change.kind is ChangeKind.ADDED:
        return _added(change, after)
    return _modified(change, before, after)


def _user(change: Change) -> Graded:
    loaded = change.after is not None and change.after.get("hive") == "loaded"
    what, why = (
        (What.OBSERVED, "the user's hive is loaded now")
        if loaded
        else (What.NOT_OBSERVED, "the user's hive is not loaded now; nothing in it was removed")
    )
    return Graded(change=change, what=what, severity=Severity.INFO, why=why)


def _added(change: Change, verdict: Verdict) -> Graded:
    if verdict.kind is VerdictKind.EXPECTED:
        severity = Severity.INFO
    elif verdict.kind is VerdictKind.LIKELY:
        severity = Severity.LOW
    elif verdict.kind is VerdictKind.NOT_JUDGED:
        severity = _UNJUDGED.get(change.entity.kind, Severity.LOW)
    else:
        severity = verdict.severity
    what = verdict.what if verdict.what in {What.INCOMPLETE, What.SUSPICIOUS, What.HIJACKED} else What.NEW
    return Graded(change=change, what=what, severity=severity, why=f"new since the baseline: {verdict.why}")


def _removed(change: Change, verdict: Verdict | None, *, new_release: bool) -> Graded:
    severity, why = Severity.LOW, "gone since the baseline"
    if verdict is not None and verdict.stock:
        why = "a stock registration is gone since the baseline: sabotage, or another edition"
        severity = Severity.MEDIUM
        if new_release:
            severity, why = Severity.LOW, "gone with the change of the Windows release"
    elif change.entity.kind == "oid_other" and change.entity.get("dll") and not new_release:
        severity, why = _UNJUDGED["oid_other"], "a function of the OID tree is gone since the baseline"
    elif verdict is not None and not verdict.is_fine:
        severity, why = Severity.INFO, f"gone since the baseline; it was: {verdict.why}"
    return Graded(change=change, what=What.REMOVED, severity=severity, why=why)


def _modified(change: Change, before: Verdict | None, after: Verdict) -> Graded:
    what = What.REPLACED if change.kind is ChangeKind.REPLACED else What.CHANGED
    if after.kind is VerdictKind.NOT_JUDGED or _is_other_function(change, before, after):
        severity = _UNJUDGED.get(change.entity.kind, Severity.LOW)
    elif after.is_fine:
        severity = _between_known(change, before)
    else:
        severity = after.severity
        if change.kind is ChangeKind.REPLACED:
            severity = max(severity, Severity.HIGH)
        what = after.what if after.what is not What.NEW else what
    return Graded(change=change, what=what, severity=severity, why=f"{moved(change)}; {after.why}")


def _is_other_function(change: Change, before: Verdict | None, after: Verdict) -> bool:
    """Does a function of the OID tree load something else than before, of which all that is known is that it is usual?

    It does not where a strange one is put right, and where the same DLL is named with its folder or without.
    """
    if change.entity.kind != "oid_other" or not after.is_fine or (before is not None and not before.is_fine):
        return False
    if not any(side is not None and side.get("dll") for side in (change.before, change.after)):
        return False  # nothing is loaded
    return any(one.name != "dll" or not _same_file(one.old, one.new) for one in change.attributes)


def _same_file(old: str | None, new: str | None) -> bool:
    return (old or "").rpartition("\\")[2] == (new or "").rpartition("\\")[2]


def moved(change: Change) -> str:
    """In words, what is another than before."""
    names = ", ".join(f"{one.name} {one.old or '(none)'} -> {one.new or '(none)'}" for one in change.attributes)
    return f"changed since the baseline: {names}"


def _between_known(change: Change, before: Verdict | None) -> Severity:
    if before is not None and not before.is_fine:
        return Severity.INFO  # restored
    moved = {one.name for one in change.attributes} <= _UNREMARKABLE
    return Severity.INFO if moved else Severity.LOW
