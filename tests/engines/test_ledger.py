"""What is not proven although every statement was answered."""

from __future__ import annotations

import pytest

from fleetscan.engines.ledger import narrow
from fleetscan.model.registry import HKLM, HKU, RegistryRow
from fleetscan.model.scope import SID, SID_CLASSES, Glob, Scope
from fleetscan.model.snapshot import Complete, HostFacts, Partial, Reason, ScopeResult, Status, Unreachable

USER, OTHER = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
FACTS = HostFacts(profiles_known=("S-1-5-18", USER, OTHER), profiles_loaded=("S-1-5-18", USER.lower()))
COMPLETE = Complete()
ALL_LOADED = HostFacts()
EVERY_USER = Scope(HKU, (Glob("*"), "Software", "Run"))


def status(
    scope: Scope,
    *missing: str,
    parts: tuple[str, ...] = (),
    damages: tuple[tuple[str, str], ...] = (),
    facts: HostFacts = FACTS,
    given: Status = COMPLETE,
) -> Status:
    given_result = ScopeResult(scope_id=scope.id, status=given)
    [result] = narrow([scope], [given_result], facts=facts, missing=missing, parts=parts, damages=damages)
    return result.status


def test_a_profile_that_is_not_loaded_is_named() -> None:
    assert status(EVERY_USER) == Partial(Reason.NOT_LOADED, OTHER)
    assert status(Scope(HKU, (Glob("S-1-5-21-*"), "Software"))) == Partial(Reason.NOT_LOADED, OTHER)
    assert status(Scope(HKU, (OTHER, "Software"))) == Partial(Reason.NOT_LOADED, OTHER)
    assert status(Scope(HKU, (SID, "Software"))) == Partial(Reason.NOT_LOADED, OTHER)
    assert status(Scope(HKU, (SID_CLASSES, "CLSID"))) == Partial(Reason.NOT_LOADED, OTHER)


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


@pytest.mark.parametrize("element", [SID, Glob("S-1-5-*"), Glob("*")])
def test_a_missing_user_leaves_what_was_read_of_the_others(element: Glob) -> None:
    scope = Scope(HKU, (element, "Software", "Run"))
    row = RegistryRow(key=f"{HKU}\\{USER}\\Software\\Run", name="x", type="REG_SZ", data="y")
    given = ScopeResult(scope_id=scope.id, status=COMPLETE, rows=(row,))
    [result] = narrow([scope], [given], facts=ALL_LOADED, missing=(f"{HKU}\\{OTHER}",))
    assert result.status == Partial(Reason.NO_HIVE, f"not in the collection: {HKU}\\{OTHER}")
    assert result.rows == (row,)


def test_a_worse_status_is_kept() -> None:
    failed = Unreachable(Reason.TIMEOUT)
    assert status(EVERY_USER, given=failed) == failed


def test_a_scope_without_result_was_not_asked() -> None:
    [result] = narrow([EVERY_USER], [], facts=FACTS)
    assert result.status == Unreachable(Reason.NOT_ASKED)


CATALOGUE = "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\WinSock2"
KIM = "HKEY_USERS\\S-1-5-21-7"
WINSOCK = ("SYSTEM", "CurrentControlSet", "Services", "WinSock2")


@pytest.mark.parametrize(
    "scope",
    [
        Scope(HKLM, WINSOCK, depth=None),
        Scope(HKLM, (*(element.upper() for element in WINSOCK), Glob("Param*"), "x")),
        Scope(HKLM, ("SOFTWARE", "Microsoft")),
        Scope(HKU, ("S-1-5-21-7", Glob("*"), "Run")),
    ],
    ids=["the exported key", "below it", "a hive that was not exported", "below an exported user"],
)
def test_a_scope_inside_the_exported_parts_is_covered(scope: Scope) -> None:
    assert status(scope, parts=(CATALOGUE, KIM), facts=ALL_LOADED) == Complete()


@pytest.mark.parametrize(
    ("scope", "only"),
    [
        (Scope(HKLM, ("SYSTEM", "CurrentControlSet", "Services", "WinTrust"), depth=None), CATALOGUE),
        (Scope(HKLM, WINSOCK[:-1]), CATALOGUE),
        (Scope(HKLM, (*WINSOCK[:-1], "WinSock20")), CATALOGUE),
        (Scope(HKLM, ("SYSTEM", "Setup", Glob("*"))), CATALOGUE),
        (Scope(HKU, ("S-1-5-21-8",), depth=None), KIM),
    ],
    ids=["beside", "above, not down to it", "a name that goes on", "a glob elsewhere", "another user"],
)
def test_a_scope_beside_the_exported_parts_is_not_covered(scope: Scope, only: str) -> None:
    expected = Unreachable(Reason.NO_HIVE, f"not in the export, which holds only {only}")
    assert status(scope, parts=(CATALOGUE, KIM), facts=ALL_LOADED) == expected


@pytest.mark.parametrize(
    ("scope", "only"),
    [
        (Scope(HKLM, WINSOCK[:-1], depth=None), CATALOGUE),
        (Scope(HKLM, (*WINSOCK[:-1], Glob("*"), "Parameters")), CATALOGUE),
        (Scope(HKLM, (Glob("*"),), depth=None), CATALOGUE),
        (Scope(HKU, (SID, "Software", "Run")), KIM),
    ],
    ids=["above, down to it", "a glob over it", "every hive", "every user"],
)
def test_a_scope_that_reaches_into_the_exported_parts_is_partial(scope: Scope, only: str) -> None:
    expected = Partial(Reason.NO_HIVE, f"not in the export, which holds only {only}")
    assert status(scope, parts=(CATALOGUE, KIM), facts=ALL_LOADED) == expected


@pytest.mark.parametrize("whole", [HKLM, f"{HKLM}\\SYSTEM"])
def test_an_export_of_a_whole_hive_covers_all_of_it(whole: str) -> None:
    assert status(Scope(HKLM, ("SYSTEM", Glob("*")), depth=None), parts=(whole,), facts=ALL_LOADED) == Complete()


def test_many_parts_are_counted_not_listed() -> None:
    found = status(Scope(HKLM, ("SYSTEM",)), parts=tuple(f"{HKLM}\\SYSTEM\\{name}" for name in "abcde"))
    assert isinstance(found, Unreachable)
    assert found.detail.endswith("SYSTEM\\a, HKEY_LOCAL_MACHINE\\SYSTEM\\b, HKEY_LOCAL_MACHINE\\SYSTEM\\c and 2 more")


def test_rows_beside_the_exported_parts_are_kept() -> None:
    scope = Scope(HKLM, ("SYSTEM",))
    row = RegistryRow(key=f"{HKLM}\\SYSTEM", name="Setup", type="subkey", data="")
    [result] = narrow(
        [scope],
        [ScopeResult(scope_id=scope.id, status=COMPLETE, rows=(row,))],
        facts=ALL_LOADED,
        parts=(f"{HKLM}\\SYSTEM\\Setup",),
    )
    assert isinstance(result.status, Partial)
    assert result.rows == (row,)


@pytest.mark.parametrize(
    "key",
    ["", HKLM, CATALOGUE, f"{CATALOGUE}\\Parameters", f"{CATALOGUE}\\Parameters\\deep\\down"],
    ids=["all", "root", "the key", "below it", "far below"],
)
def test_a_scope_with_a_damaged_key_is_partial(key: str) -> None:
    expected = Partial(Reason.DAMAGED, "a cell is outside the file")
    assert status(Scope(HKLM, WINSOCK, depth=None), damages=((key, "a cell is outside the file"),)) == expected


@pytest.mark.parametrize("key", [f"{HKLM}\\SOFTWARE", f"{CATALOGUE}\\Parameters\\deep\\down", HKU])
def test_damage_elsewhere_leaves_a_scope_complete(key: str) -> None:
    assert status(Scope(HKLM, WINSOCK, depth=1), damages=((key, "x"),)) == Complete()


def test_many_damages_are_counted_not_listed() -> None:
    damages = tuple((CATALOGUE, f"damage {number}") for number in range(40))
    expected = Partial(Reason.DAMAGED, "damage 0 and 39 more")
    assert status(Scope(HKLM, WINSOCK, depth=None), damages=damages) == expected


ME, GUEST = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-501"
PLAIN = HostFacts(
    profiles_known=("S-1-5-18", "S-1-5-19", ME, GUEST, OTHER),
    profiles_loaded=("S-1-5-18", "S-1-5-19", ME, GUEST),
    extra={"elevated": "no", "account_id": "1001"},
)


@pytest.mark.parametrize(
    ("scope", "detail"),
    [
        (Scope(HKLM, ("security", "Policy"), depth=None), f"cannot read {HKLM}\\SECURITY"),
        (Scope(HKLM, ("SAM", "SAM", "Domains")), f"cannot read {HKLM}\\SAM"),
        (Scope(HKLM, (), depth=None), f"cannot read {HKLM}\\SECURITY, {HKLM}\\SAM"),
        (Scope(HKLM, (Glob("S*"), "x")), f"cannot read {HKLM}\\SECURITY, {HKLM}\\SAM"),
        (Scope(HKU, ("S-1-5-19", "Software")), f"cannot read {HKU}\\S-1-5-19"),
        (Scope(HKU, (Glob("S-1-5-21-*-501"), "Software")), f"cannot read {HKU}\\{GUEST}"),
        (Scope(HKU, (SID_CLASSES, "CLSID")), f"cannot read {HKU}\\S-1-5-19, {HKU}\\{GUEST}; not loaded: {OTHER}"),
        (
            EVERY_USER,
            f"cannot read {HKU}\\S-1-5-19, {HKU}\\{GUEST}; not loaded: {OTHER}",
        ),
    ],
    ids=["SECURITY", "SAM", "all of HKLM", "a glob", "a user", "a glob of users", "classes of users", "every user"],
)
def test_what_an_account_without_elevation_may_not_read_is_not_covered(scope: Scope, detail: str) -> None:
    assert status(scope, facts=PLAIN) == Partial(Reason.NOT_ELEVATED, detail)


@pytest.mark.parametrize(
    "scope",
    [
        Scope(HKLM, ("SOFTWARE", "Microsoft"), depth=None),
        Scope(HKLM, (), depth=0),
        Scope(HKLM, ("SYSTEM", Glob("*"))),
        Scope(HKU, (ME, "Software"), depth=None),
        Scope(HKU, (".DEFAULT", "Software")),
        Scope(HKU, ("S-1-5-18", "Software")),
    ],
)
def test_what_every_account_may_read_is_covered(scope: Scope) -> None:
    assert status(scope, facts=PLAIN) == Complete()


@pytest.mark.parametrize("extra", [{}, {"elevated": "yes"}, {"account_id": "1001"}])
def test_where_elevation_is_not_known_to_be_absent_nothing_is_narrowed(extra: dict[str, str]) -> None:
    facts = HostFacts(profiles_known=(ME, GUEST), profiles_loaded=(ME, GUEST), extra=extra)
    for scope in (EVERY_USER, Scope(HKLM, ("SAM",)), Scope(HKLM, ("SECURITY",))):
        assert status(scope, facts=facts) == Complete()


def test_an_account_that_cannot_be_told_from_another_vouches_for_neither() -> None:
    """Of the account's SID the last number is known; a local and a domain account may share it."""
    twin = "S-1-5-21-7-8-9-1001"
    facts = HostFacts(profiles_loaded=(ME, twin), extra={"elevated": "no", "account_id": "1001"})
    assert status(Scope(HKU, (SID, "Run")), facts=facts) == Partial(
        Reason.NOT_ELEVATED, f"cannot read {HKU}\\{ME}, {HKU}\\{twin}"
    )


def test_many_hives_of_others_are_counted_not_listed() -> None:
    facts = HostFacts(profiles_loaded=tuple(f"S-1-5-21-1-2-3-{n}" for n in range(1001, 1008)), extra={"elevated": "no"})
    found = status(EVERY_USER, facts=facts)
    assert isinstance(found, Partial)
    assert found.detail.endswith("-1001, HKEY_USERS\\S-1-5-21-1-2-3-1002, HKEY_USERS\\S-1-5-21-1-2-3-1003 and 4 more")


def test_rows_that_such_an_account_did_get_are_kept() -> None:
    row = RegistryRow(key=f"{HKU}\\{ME}\\Software\\Run", name="x", type="REG_SZ", data="y")
    given = ScopeResult(scope_id=EVERY_USER.id, status=COMPLETE, rows=(row,))
    [result] = narrow([EVERY_USER], [given], facts=PLAIN)
    assert result.rows == (row,)


SECRETS = Scope(HKLM, ("SECURITY", "Policy", "Secrets"), depth=None)
NAMES = Scope(HKLM, ("SAM", "SAM", "Domains", "Account", "Users", "Names"), depth=1)


@pytest.mark.parametrize(
    ("scope", "silent"),
    [(SECRETS, f"{HKLM}\\security"), (NAMES, f"{HKLM}\\SAM"), (NAMES, f"{HKLM}\\SAM\\SAM")],
)
def test_a_hive_that_only_system_may_read_is_not_proven_by_its_silence(scope: Scope, silent: str) -> None:
    """An administrator is elevated and sees no more of these than that they are there; they are never empty."""
    given = ScopeResult(scope_id=scope.id, status=COMPLETE, unproven=(silent,))
    [result] = narrow([scope], [given], facts=HostFacts(extra={"elevated": "yes", "account_id": "500"}))
    assert result.status == Partial(Reason.UNPROVEN, f"{silent} gave no row: as a rule only SYSTEM may read it")
    assert result.unproven == (silent,)


@pytest.mark.parametrize("silent", [f"{HKLM}\\SECURITY\\Policy\\Secrets", f"{HKLM}\\SECURITY\\Policy\\Secrets\\x"])
def test_other_silent_keys_may_be_empty(silent: str) -> None:
    given = ScopeResult(scope_id=SECRETS.id, status=COMPLETE, unproven=(silent,))
    [result] = narrow([SECRETS], [given], facts=ALL_LOADED)
    assert result == given
