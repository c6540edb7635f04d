"""What is not proven although every statement was answered."""

from __future__ import annotations

import pytest

from fleetscan.engines.ledger import narrow
from fleetscan.model.registry import HKLM, HKU
from fleetscan.model.scope import Glob, Scope
from fleetscan.model.snapshot import Complete, HostFacts, Partial, Reason, ScopeResult, Status, Unreachable

USER, OTHER = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
FACTS = HostFacts(profiles_known=("S-1-5-18", USER, OTHER), profiles_loaded=("S-1-5-18", USER.lower()))
COMPLETE = Complete()
EVERY_USER = Scope(HKU, (Glob("*"), "Software", "Run"))


def status(scope: Scope, *missing: str, facts: HostFacts = FACTS, given: Status = COMPLETE) -> Status:
    [result] = narrow([scope], [ScopeResult(scope_id=scope.id, status=given)], facts=facts, missing=missing)
    return result.status


def test_a_profile_that_is_not_loaded_is_named() -> None:
    assert status(EVERY_USER) == Partial(Reason.NOT_LOADED, OTHER)
    assert status(Scope(HKU, (Glob("S-1-5-21-*"), "Software"))) == Partial(Reason.NOT_LOADED, OTHER)
    assert status(Scope(HKU, (OTHER, "Software"))) == Partial(Reason.NOT_LOADED, OTHER)


@pytest.mark.parametrize("scope", [Scope(HKU, (USER, "Software")), Scope(HKU, (".DEFAULT",)), Scope(HKLM, ("A",))])
def test_other_scopes_do_not_care(scope: Scope) -> None:
    assert status(scope) == Complete()


def test_where_all_are_loaded_nothing_is_missing() -> None:
    facts = HostFacts(profiles_known=(USER,), profiles_loaded=(USER,))
    assert status(EVERY_USER, facts=facts) == Complete()


def test_a_scope_inside_a_missing_hive_is_not_covered() -> None:
    scope = Scope(HKLM, ("SOFTWARE", "Microsoft"))
    expected = Unreachable(Reason.NO_HIVE, "not in the collection: HKEY_LOCAL_MACHINE\\software")
    assert status(scope, "HKEY_LOCAL_MACHINE\\software") == expected
    assert status(scope, "HKEY_LOCAL_MACHINE\\SYSTEM") == Complete()


def test_a_scope_around_a_missing_hive_is_partial() -> None:
    expected = Partial(Reason.NO_HIVE, "not in the collection: HKEY_LOCAL_MACHINE\\SAM")
    assert status(Scope(HKLM, (), depth=None), "HKEY_LOCAL_MACHINE\\SAM") == expected
    assert status(Scope(HKLM, (), depth=0), "HKEY_LOCAL_MACHINE\\SAM") == Complete()


def test_a_worse_status_is_kept() -> None:
    failed = Unreachable(Reason.TIMEOUT)
    assert status(EVERY_USER, given=failed) == failed


def test_a_scope_without_result_was_not_asked() -> None:
    [result] = narrow([EVERY_USER], [], facts=FACTS)
    assert result.status == Unreachable(Reason.NOT_ASKED)
