"""The next steps are commands of this program, for what the report found."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fleetscan.cli.main import VERBS, build_parser
from fleetscan.model.snapshot import KEY_REFUSALS
from fleetscan.report.steps import next_steps

if TYPE_CHECKING:
    from fleetscan.report.document import Document, HostReport


def test_every_command_starts_with_a_verb_of_this_program(document: Document) -> None:
    words = [shlex.split(step.command)[:2] for step in next_steps(document)]
    assert all(program == "fleetscan" and verb in VERBS for program, verb in words)


def test_the_worst_finding_is_named_first(document: Document) -> None:
    assert next_steps(document)[0].command == "fleetscan triage 3a91c07be2d4 -i inventory/demo.yml"


def test_a_sweep_without_baseline_is_told_how_to_make_one(silent: Document) -> None:
    without = replace(silent, sweep=replace(silent.sweep, baseline=""))
    commands = [step.command for step in next_steps(without)]
    assert "fleetscan baseline create first --sweep 20261121-2000-7f3a" in commands
    assert not any("baseline create" in step.command for step in next_steps(silent))


def refused(host: HostReport, name: str, reason: str) -> HostReport:
    return replace(host, name=name, scopes=tuple(replace(scope, reason=reason) for scope in host.scopes))


@pytest.mark.parametrize("reason", sorted(KEY_REFUSALS))
def test_a_refused_host_key_is_to_be_compared_not_trusted_blindly(document: Document, reason: str) -> None:
    stranger = refused(document.hosts[-1], "srv-03", reason)
    step = next(step for step in next_steps(replace(document, hosts=(stranger,))) if "trust" in step.command)
    assert step.command == "fleetscan hosts trust -i inventory/demo.yml --limit srv-03"
    assert "compare" in step.why


def test_a_changed_host_key_comes_before_one_that_was_never_pinned(document: Document) -> None:
    lost = document.hosts[-1]
    hosts = (refused(lost, "new", "host key unknown"), refused(lost, "other", "host key changed"))
    told = [step for step in next_steps(replace(document, hosts=hosts)) if "trust" in step.command]
    assert [step.command.split()[-1] for step in told] == ["other", "new"]
    assert ["find out why" in step.why for step in told] == [True, False]


@pytest.mark.parametrize(
    ("reason", "words", "command"),
    [
        ("host key unknown", "showed a host key that nobody has pinned yet, and 3 hosts lie behind it", "trust"),
        ("host key changed", "showed another host key than before, and 3 hosts lie behind it: find out why", "trust"),
        ("timeout", "let nobody through (timeout), and 3 hosts lie behind it", "check"),
    ],
)
def test_hosts_behind_a_jump_host_that_is_not_passed_share_one_step(
    document: Document, reason: str, words: str, command: str
) -> None:
    lost = document.hosts[-1]
    behind = tuple(
        replace(
            lost,
            name=name,
            scopes=tuple(
                replace(scope, reason=reason, detail=f"{name}.corp: jump host [gate]:22: says no")
                for scope in lost.scopes
            ),
        )
        for name in ("a", "b", "c")
    )
    steps = [step for step in next_steps(replace(document, hosts=behind)) if "hosts" in step.command]
    assert [step.command for step in steps] == [f"fleetscan hosts {command} -i inventory/demo.yml --limit a"]
    assert steps[0].why.startswith(f"The jump host [gate]:22 {words}")


def test_a_hostile_host_name_stays_one_word_of_the_command(document: Document) -> None:
    name = "x; rm -rf ~ \x1b[2J'"
    lost = replace(document.hosts[-1], name=name)
    step = next(step for step in next_steps(replace(document, hosts=(lost,))) if "check" in step.command)
    assert shlex.split(step.command)[-1] == "x; rm -rf ~ <U+001B>[2J'"


@pytest.mark.parametrize(
    ("place", "option"),
    [
        ("", ""),
        ("fleetscan.db", ""),
        ("other.db", " --store other.db"),
        ("postgresql://scan:secret@db/fleet", " --store postgresql://scan@db/fleet"),
        ("postgresql+psycopg://scan:p:w@db:5432/fleet", " --store postgresql+psycopg://scan@db:5432/fleet"),
    ],
)
def test_commands_name_the_store_but_never_its_password(document: Document, place: str, option: str) -> None:
    here = replace(document, sweep=replace(document.sweep, store=place))
    assert next_steps(here)[0].command == f"fleetscan triage 3a91c07be2d4 -i inventory/demo.yml{option}"
    assert not any("secret" in step.command or "p:w" in step.command for step in next_steps(here))


@pytest.mark.parametrize(
    ("source", "option"),
    [
        ("", "-i INVENTORY"),
        ("-i a b.yaml", "-i 'a b.yaml'"),
        ("-i scan@ws-1,", "-i scan@ws-1,"),
        ("--hives triage/ws 1", "--hives 'triage/ws 1'"),
        ("; rm -rf /", "-i INVENTORY"),
    ],
)
def test_triage_names_how_the_host_is_reached(document: Document, source: str, option: str) -> None:
    there = replace(document, sweep=replace(document.sweep, inventory=source))
    assert next_steps(there)[0].command == f"fleetscan triage 3a91c07be2d4 {option}"


def test_every_command_is_one_the_command_line_takes(document: Document) -> None:
    """A command that is offered must be one that can be typed."""
    for source in ("-i fleet.yml", "--hives folder"):
        there = replace(document, sweep=replace(document.sweep, inventory=source, store="other.db"))
        for step in next_steps(there):
            words = shlex.split(step.command)
            assert words[0] == "fleetscan"
            build_parser(words[1]).parse_args(words[1:])
