"""The coverage ledger of one host: what its answers do not prove although every statement was answered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fleetscan.model.registry import HKLM, HKU, KeyPath, fold
from fleetscan.model.scope import Glob, glob_matches
from fleetscan.model.snapshot import Complete, Partial, Reason, ScopeResult, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fleetscan.model.scope import Element, Scope
    from fleetscan.model.snapshot import HostFacts, Status

_CLASSES = "_CLASSES"
_OWN_CLASSES = "_Classes"
_NAMED = 3  # keys that a reason spells out
_SYSTEM = "S-1-5-18"
_NEVER_EMPTY = frozenset(fold(f"{HKLM}\\{name}") for name in ("SECURITY", "SAM", "SAM\\SAM"))
"""Other silent keys may be empty; these hold something on every Windows, and administrators may not read them."""


def narrow(
    scopes: Sequence[Scope],
    results: Iterable[ScopeResult],
    *,
    facts: HostFacts,
    missing: Sequence[str] = (),
    parts: Sequence[str] = (),
    damages: Sequence[tuple[str, str]] = (),
) -> tuple[ScopeResult, ...]:
    """The results with what is not covered named.

    That is scopes in ``missing`` hives, scopes beside the ``parts`` that are known of their hive, scopes with a key of
    ``damages`` in them (each with its reason), users whose hive is not loaded, what an account may not read that is
    known not to be elevated, and hives that only SYSTEM may read where they were silent. In the order of ``scopes``,
    each exactly once; a scope without result was not asked.
    """
    given = {result.scope_id: result for result in results}
    absent = [KeyPath.parse(key) for key in missing]
    known = _Parts.of(dict.fromkeys(map(KeyPath.parse, parts)))
    damaged = [(KeyPath.parse(key), what) for key, what in dict.fromkeys(damages)]
    away = sorted({fold(sid) for sid in facts.profiles_known} - {fold(sid) for sid in facts.profiles_loaded})
    not_asked = Unreachable(Reason.NOT_ASKED)
    lacks = _Lacks(absent, known, damaged, away, tuple(_barred(facts)) if facts.lacks_elevation else ())
    return tuple(
        _narrowed(scope, given.get(scope.id) or ScopeResult(scope_id=scope.id, status=not_asked), lacks)
        for scope in scopes
    )


@dataclass(frozen=True, slots=True)
class _Lacks:
    """What a host's source does not hold."""

    absent: Sequence[KeyPath]
    known: _Parts
    damaged: Sequence[tuple[KeyPath, str]]
    away: Sequence[str]
    barred: Sequence[KeyPath]

    @property
    def nothing(self) -> bool:
        """Does it hold everything?"""
        return not (self.absent or self.known.of_hive or self.damaged or self.away or self.barred)


def _narrowed(scope: Scope, result: ScopeResult, lacks: _Lacks) -> ScopeResult:
    if isinstance(result.status, Unreachable) or (not result.unproven and lacks.nothing):
        return result
    path = (scope.root, *scope.elements)
    for key in lacks.absent:
        if _lies_in(path, key.elements):
            detail = f"not in the collection: {key}"
            return replace(result, status=Unreachable(Reason.NO_HIVE, detail), rows=(), unproven=())
    if not isinstance(result.status, Complete):
        return result
    if only := lacks.known.beside(path):
        detail = f"not in the export, which holds only {only}"
        if not result.rows and not lacks.known.within(scope, path):
            return replace(result, status=Unreachable(Reason.NO_HIVE, detail), unproven=())
        return replace(result, status=Partial(Reason.NO_HIVE, detail))
    status = _short_of(scope, path, lacks, result.unproven)
    return result if isinstance(status, Complete) else replace(result, status=status)


def _short_of(scope: Scope, path: Sequence[Element], lacks: _Lacks, unproven: Sequence[str]) -> Status:
    """Complete, unless something within the scope was not there or could not be read."""
    if inside := [str(key) for key in lacks.absent if _reaches(scope, path, key)]:
        return Partial(Reason.NO_HIVE, f"not in the collection: {', '.join(inside)}")
    if harms := [what for key, what in lacks.damaged if _reaches(scope, path, key)]:
        more = f" and {len(harms) - 1} more" if len(harms) > 1 else ""
        return Partial(Reason.DAMAGED, f"{harms[0]}{more}")
    users = ", ".join(sid for sid in lacks.away if _concerns(scope, sid))
    barred = (str(key).removesuffix(_OWN_CLASSES) for key in lacks.barred if _reaches(scope, path, key))
    if closed := list(dict.fromkeys(barred)):
        more = f" and {len(closed) - _NAMED} more" if len(closed) > _NAMED else ""
        away = f"; not loaded: {users}" if users else ""
        return Partial(Reason.NOT_ELEVATED, f"cannot read {', '.join(closed[:_NAMED])}{more}{away}")
    if shut := [key for key in unproven if fold(key) in _NEVER_EMPTY]:
        return Partial(Reason.UNPROVEN, f"{', '.join(shut)} gave no row: as a rule only SYSTEM may read it")
    return Partial(Reason.NOT_LOADED, users) if users else Complete()


def _barred(facts: HostFacts) -> Iterator[KeyPath]:
    """What is closed to an account that is not elevated: two hives, and the loaded ones of other users."""
    yield from (KeyPath((HKLM, name)) for name in ("SECURITY", "SAM"))
    # Every user may read the hive of SYSTEM, which is also .DEFAULT. Of its own SID osquery tells only the last number.
    others = [sid for sid in facts.profiles_loaded if sid != _SYSTEM]
    own = [sid for sid in others if sid.endswith(f"-{facts.extra.get('account_id', '')}")]
    for sid in others:
        if own != [sid]:
            yield KeyPath((HKU, sid))
            yield KeyPath((HKU, f"{sid}{_OWN_CLASSES}"))


@dataclass(frozen=True, slots=True)
class _Parts:
    """The known parts of hives that are not known whole, by the hive (or by HKEY_USERS: which users there are)."""

    of_hive: Mapping[tuple[str, ...], Sequence[KeyPath]]
    folded: frozenset[tuple[str, ...]]

    @classmethod
    def of(cls, parts: Iterable[KeyPath]) -> _Parts:
        """Sorted by hive."""
        hives: dict[tuple[str, ...], list[KeyPath]] = {}
        for part in parts:
            hives.setdefault(_hive(part.elements), []).append(part)
        return cls(hives, frozenset(part.folded for paths in hives.values() for part in paths))

    def beside(self, path: Sequence[Element]) -> str:
        """What is known of the hive of ``path``, in words, if that does not hold the path; else empty."""
        parts = self._near(path)
        if not parts or self._hold(path):
            return ""
        more = f" and {len(parts) - _NAMED} more" if len(parts) > _NAMED else ""
        return ", ".join(map(str, parts[:_NAMED])) + more

    def within(self, scope: Scope, path: Sequence[Element]) -> bool:
        """Does the scope, from above, go down as far as a known part?"""
        return any(_reaches(scope, path, part) for part in self._near(path))

    def _near(self, path: Sequence[Element]) -> Sequence[KeyPath]:
        """The parts of the hive of ``path``; of all its hives if the path does not name one."""
        hive = _hive(path)
        return [part for name, parts in self.of_hive.items() if name[: len(hive)] == hive for part in parts]

    def _hold(self, path: Sequence[Element]) -> bool:
        """Is a key on the literal way to ``path``, itself included, a part?"""
        above: tuple[str, ...] = ()
        for element in path:
            if isinstance(element, Glob):
                return False
            above = (*above, fold(element))
            if above in self.folded:
                return True
        return False


def _hive(path: Sequence[Element]) -> tuple[str, ...]:
    """The literal elements that name a hive below HKEY_LOCAL_MACHINE, or another root."""
    literal = [fold(element) for element in path[:2] if isinstance(element, str)]
    return tuple(literal[: 2 if literal[:1] == [HKLM] else 1])


def _reaches(scope: Scope, path: Sequence[Element], key: KeyPath) -> bool:
    """May the scope hold something of the key: from above, as far down as it goes, or through a glob?"""
    levels = len(key.elements) - len(path)
    if levels <= 0:
        return _leads_into(path, key.elements)
    return _leads_into(key.elements, path) and (scope.depth is None or scope.depth >= levels)


def _lies_in(path: Sequence[Element], key: Sequence[str]) -> bool:
    """Does the literal beginning of ``path`` lie in the key?"""
    return len(path) >= len(key) and all(
        isinstance(a, str) and fold(a) == fold(b) for a, b in zip(path, key, strict=False)
    )


def _leads_into(path: Sequence[Element], key: Sequence[Element]) -> bool:
    """Does ``path`` begin with ``key``, element by element, a glob standing for whatever it matches?"""
    return len(path) >= len(key) and all(_meets(a, b) for a, b in zip(path, key, strict=False))


def _meets(one: Element, other: Element) -> bool:
    match one, other:
        case str(), str():
            return fold(one) == fold(other)
        case Glob(), str():
            return glob_matches(one.text, other)
        case str(), Glob():
            return glob_matches(other.text, one)
        case _:
            return True


def _concerns(scope: Scope, sid: str) -> bool:
    """Would the scope have looked into the hive of this user?"""
    if scope.root != HKU:
        return False
    return not scope.elements or _meets(scope.elements[0], sid) or _meets(scope.elements[0], sid + _CLASSES)
