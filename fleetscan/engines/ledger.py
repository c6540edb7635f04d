"""The coverage ledger of one host: what its answers do not prove although every statement was answered."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import translate
from typing import TYPE_CHECKING

from fleetscan.model.registry import HKU, KeyPath, fold
from fleetscan.model.scope import Glob
from fleetscan.model.snapshot import Complete, Partial, Reason, ScopeResult, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fleetscan.model.scope import Element, Scope
    from fleetscan.model.snapshot import HostFacts

_CLASSES = "_CLASSES"


def narrow(
    scopes: Sequence[Scope], results: Iterable[ScopeResult], *, facts: HostFacts, missing: Sequence[str] = ()
) -> tuple[ScopeResult, ...]:
    """The results with what is not covered named: scopes in ``missing`` hives, and users whose hive is not loaded.

    In the order of ``scopes``, each exactly once; a scope without result was not asked.
    """
    given = {result.scope_id: result for result in results}
    absent = [KeyPath.parse(key) for key in missing]
    away = sorted({fold(sid) for sid in facts.profiles_known} - {fold(sid) for sid in facts.profiles_loaded})
    not_asked = Unreachable(Reason.NOT_ASKED)
    return tuple(
        _narrowed(scope, given.get(scope.id) or ScopeResult(scope_id=scope.id, status=not_asked), absent, away)
        for scope in scopes
    )


def _narrowed(scope: Scope, result: ScopeResult, absent: Sequence[KeyPath], away: Sequence[str]) -> ScopeResult:
    path = (scope.root, *scope.elements)
    if isinstance(result.status, Unreachable):
        return result
    for key in absent:
        if _leads_into(path, key.elements):
            detail = f"not in the collection: {key}"
            return replace(result, status=Unreachable(Reason.NO_HIVE, detail), rows=(), unproven=())
    if not isinstance(result.status, Complete):
        return result
    if inside := [str(key) for key in absent if _reaches(scope, path, key)]:
        return replace(result, status=Partial(Reason.NO_HIVE, f"not in the collection: {', '.join(inside)}"))
    if users := [sid for sid in away if _concerns(scope, sid)]:
        return replace(result, status=Partial(Reason.NOT_LOADED, ", ".join(users)))
    return result


def _reaches(scope: Scope, path: Sequence[Element], key: KeyPath) -> bool:
    """Does the scope, from above, go down as far as the key?"""
    levels = len(key.elements) - len(path)
    return _leads_into(key.elements, path) and (scope.depth is None or scope.depth >= levels)


def _leads_into(path: Sequence[Element], key: Sequence[Element]) -> bool:
    """Does ``path`` begin with ``key``, element by element, a glob standing for whatever it matches?"""
    return len(path) >= len(key) and all(_meets(a, b) for a, b in zip(path, key, strict=False))


def _meets(one: Element, other: Element) -> bool:
    match one, other:
        case str(), str():
            return fold(one) == fold(other)
        case Glob(), str():
            return _matches(one, other)
        case str(), Glob():
            return _matches(other, one)
        case _:
            return True


def _matches(glob: Glob, name: str) -> bool:
    pattern = translate(fold(glob.text).replace("[", "[[]"))
    return re.match(pattern, fold(name)) is not None


def _concerns(scope: Scope, sid: str) -> bool:
    """Would the scope have looked into the hive of this user?"""
    if scope.root != HKU:
        return False
    return not scope.elements or _meets(scope.elements[0], sid) or _meets(scope.elements[0], sid + _CLASSES)
