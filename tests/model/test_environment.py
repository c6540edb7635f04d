"""A machine's variables are completed with the defaults, and expanded once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetscan.model.environment import SYSTEM_ENVIRONMENT, completed
from fleetscan.model.registry import fold


def test_what_a_machine_does_not_say_is_the_default() -> None:
    assert completed({})["SystemRoot"] == r"C:\Windows"
    assert dict(completed({})) == dict(SYSTEM_ENVIRONMENT)


def test_values_are_expanded_with_the_defaults_and_each_other_once() -> None:
    found = completed(
        {"windir": "%SystemRoot%", "TOOLS": r"%HOMEBASE%\tools", "HOMEBASE": r"D:\base", "LOOP": "%LOOP%"}
    )
    assert found["windir"] == r"C:\Windows"
    assert found["TOOLS"] == r"D:\base\tools"
    assert found["LOOP"] == "%LOOP%"


def test_a_machine_says_what_differs_and_its_spelling_does_not_matter() -> None:
    found = completed({"SYSTEMROOT": r"D:\WinNT"})
    assert {fold(name): value for name, value in found.items()}["SYSTEMROOT"] == r"D:\WinNT"
    assert len(found) == len(SYSTEM_ENVIRONMENT)


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), max_size=6))
def test_every_variable_of_the_machine_and_every_default_has_one_value(variables: dict[str, str]) -> None:
    names = {fold(name) for name in completed(variables)}
    assert names == {fold(name) for name in (*variables, *SYSTEM_ENVIRONMENT)}
