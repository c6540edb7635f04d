"""The commands diff, approve and evaluate on stored sweeps: output, filters, exit codes, one line for every mistake."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

import pytest

from fleetscan.baseline.approvals import load_approvals
from fleetscan.cli import main
from fleetscan.store.interface import Baseline
from fleetscan.store.sql import open_store
from tests.domain.rows import OID, PE, POWERSHELL, VERIFY, key, sip
from tests.findings.sweeps import START, put_sweep

if TYPE_CHECKING:
    from pathlib import Path

CLEAN = sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData")
HIJACK = sip(POWERSHELL, r"C:\Users\Public\x.dll", "PsVerifyHash")
HIDDEN = key(f"{OID}\\{VERIFY}\\{PE}")


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A store with two sweeps: ``a`` is hijacked in the second, ``b`` hides a row, ``c`` is new."""
    path = tmp_path / "store.db"
    with open_store(path) as store:
        first = put_sweep(store, {"a": CLEAN, "b": CLEAN, "gone": CLEAN}, groups=("clients",))
        put_sweep(store, {"a": [*CLEAN, *HIJACK], "b": HIDDEN, "c": CLEAN}, day=1, groups=("clients",))
        store.put_baseline(Baseline(name="first", sweep=first, created=START))
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and output of one command."""
    code = main(list(arguments))
    return code, capsys.readouterr().out


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that cannot do what it is told."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_diff_tells_what_changed_and_what_could_not_be_compared(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "diff", "first", "--store", place)
    assert code == 1
    assert "hijacked" in out
    assert "not comparable" in out
    assert "seen for the first time: c" in out
    assert "no longer listed: gone" in out


def test_diff_without_base_takes_the_sweep_before(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_store(place) as store:
        put_sweep(store, {"a": [*CLEAN, *HIJACK], "b": HIDDEN, "c": CLEAN}, day=2)
    code, out = run(capsys, "diff", "--store", place)
    assert code == 0
    assert "nothing changed" in out


def test_diff_as_json_and_csv_say_the_same(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = run(capsys, "diff", "first", "--store", place, "--json")
    records = [json.loads(line) for line in lines.splitlines()]
    _, table = run(capsys, "diff", "first", "--store", place, "--csv")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert {(row["host"], row["change"]) for row in rows} == {(one["host"], one["change"]) for one in records}
    hijack = next(one for one in records if one["change"] == "hijacked")
    assert (hijack["host"], hijack["severity"]) == ("a", "high")
    assert {"name": "dll", "old": "", "new": r"c:\users\public\x.dll"} in hijack["attributes"]


def test_diff_filters(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = run(capsys, "diff", "first", "--store", place, "--json", "--entity", "603bcc1f")
    assert len(out.splitlines()) == 1
    _, out = run(capsys, "diff", "first", "--store", place, "--json", "--entity", "nothing like it")
    assert out == ""
    _, out = run(capsys, "diff", "first", "--store", place, "--json", "--first", "0")
    assert out == ""
    rule = "5a2b21ee-6aaa-4234-ac9d-59a59edf90a1"
    _, out = run(capsys, "diff", "first", "--store", place, "--json", "--rule", rule)
    assert [json.loads(line)["change"] for line in out.splitlines()] == ["hijacked"]


@pytest.mark.parametrize(
    ("limit", "hosts"),
    [
        (["a"], {"a"}),
        (["clients,!a"], {"b", "c", "gone"}),
        (["[a:b]", "&b"], {"b"}),
        (["?"], {"a", "b", "c"}),
        (["!clients"], set()),
    ],
)
def test_diff_of_chosen_hosts(
    place: str, limit: list[str], hosts: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [word for pattern in limit for word in ("--limit", pattern)]
    code, out = run(capsys, "diff", "first", "--store", place, "--json", *options)
    assert {json.loads(line)["host"] for line in out.splitlines()} == hosts
    assert code == (1 if "a" in hosts else 3 if hosts else 0)


def test_diff_of_chosen_hosts_names_no_other(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = run(capsys, "diff", "first", "--store", place, "--limit", "a,c")
    assert "seen for the first time: c" in out
    assert "gone" not in out


def test_diff_against_one_host(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = run(capsys, "diff", "latest", "latest", "--store", place, "--against", "c", "--json")
    assert {json.loads(line)["host"] for line in out.splitlines()} == {"a", "b"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("diff", "nothing"), "nothing"),
        (("diff", "first", "--against", "nobody"), "nobody gave no answer"),
        (("diff", "first", "--rule", "nothing"), "nothing"),
        (("diff", "first", "--first", "-1"), "--first"),
        (("diff", "first", "--limit", "nobody"), "no host or group 'nobody'"),
        (("evaluate", "nothing"), "nothing"),
        (("evaluate", "-r", "/nowhere"), "nowhere"),
        (("approve", "zzz", "--owner", "me", "--reason", "x", "--expires", "2027-01-01"), "no finding 'zzz'"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(
    place: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert words in fails(capsys, *arguments, "--store", place)


def fingerprint(place: str, host: str = "a") -> str:
    with open_store(place) as store:
        [found] = {
            one.fingerprint for one in store.findings(store.sweep().id) if one.host == host and one.severity == "high"
        }
    return found


def test_approve_writes_what_the_next_judgement_uses(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "approvals.yml")
    assert run(capsys, "evaluate", "--store", place)[0] == 1
    common = ("--store", place, "--file", file, "--owner", "me", "--reason", "ticket 1", "--expires", "2099-01-01")
    name = fingerprint(place)
    code, out = run(capsys, "approve", name[:8], *common)
    assert code == 0
    assert "approved until 2099-01-01" in out
    code, _ = run(capsys, "evaluate", "--store", place, "--approvals", file)
    assert code == 3, "the hijack is approved; what b hides is still not covered"
    assert "approved already" in fails(capsys, "approve", name, *common)
    assert run(capsys, "approve", name, *common, "--scope", "group")[0] == 0
    assert run(capsys, "approve", name, *common, "--scope", "fleet")[0] == 0


def test_approve_refuses_dates_that_are_none_or_over(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "evaluate", "--store", place)
    common = ("approve", fingerprint(place), "--store", place, "--file", str(tmp_path / "a.yml"), "--owner", "me")
    assert "is no date" in fails(capsys, *common, "--reason", "x", "--expires", "soon")
    assert "is over" in fails(capsys, *common, "--reason", "x", "--expires", "2020-01-01")
    assert not (tmp_path / "a.yml").exists()


GOOD = ("--owner", "me", "--reason", "x", "--expires", "2099-01-01")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*GOOD, "--owner", " "), "--owner is empty"),
        ((*GOOD, "--reason", ""), "--reason is empty"),
        ((*GOOD, "--sha256", "abc"), "--sha256 is not a SHA-256"),
        ((*GOOD, "--group", "clients"), "--group without --scope group"),
        ((*GOOD, "--scope", "group", "--group", "servers"), "host a is not in servers"),
        ((*GOOD, "--expires", "20990101x"), "is no date"),
    ],
    ids=str,
)
def test_approve_refuses_what_would_be_no_approval_or_never_used(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    run(capsys, "evaluate", "--store", place)
    file = tmp_path / "a.yml"
    line = fails(capsys, "approve", fingerprint(place), *arguments, "--file", str(file), "--store", place)
    assert words in line
    assert not file.exists()


@pytest.mark.parametrize("name", ["", " "])
def test_approve_needs_the_name_of_a_finding(place: str, capsys: pytest.CaptureFixture[str], name: str) -> None:
    run(capsys, "evaluate", "--store", place)
    assert "has no finding" in fails(capsys, "approve", name, *GOOD, "--store", place)


def test_approve_of_what_was_not_seen_whole_is_refused(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "evaluate", "--store", place)
    with open_store(place) as store:
        [hidden] = {one.fingerprint for one in store.findings(store.sweep().id) if one.host == "b" and one.fingerprint}
    assert "nothing to approve" in fails(capsys, "approve", hidden, *GOOD, "--store", place)


def test_approve_of_several_groups_wants_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(tmp_path / "other.db")
    with open_store(place) as store:
        put_sweep(store, {"a": HIJACK}, groups=("all", "lab"))
    run(capsys, "evaluate", "--store", place)
    common = ("approve", fingerprint(place), *GOOD, "--file", str(tmp_path / "a.yml"), "--store", place)
    assert "is in several groups: all, lab" in fails(capsys, *common, "--scope", "group")
    code, out = run(capsys, *common, "--scope", "group", "--group", "LAB")
    assert code == 0
    assert "holds on group LAB; pinned: dll=" in out
    assert run(capsys, "evaluate", "--store", place, "--approvals", str(tmp_path / "a.yml"))[0] == 0


@pytest.mark.parametrize("before", ["approvals: []\n", "approvals: [\n", "hello\n", "approvals:\n- id: x\n"])
def test_approve_leaves_a_file_alone_to_which_nothing_can_be_added(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str
) -> None:
    run(capsys, "evaluate", "--store", place)
    file = tmp_path / "a.yml"
    file.write_text(before, encoding="utf-8")
    line = fails(capsys, "approve", fingerprint(place), *GOOD, "--file", str(file), "--store", place)
    assert str(file) in line
    assert file.read_text(encoding="utf-8") == before


def test_approve_renews_what_has_expired(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "evaluate", "--store", place)
    file = tmp_path / "a.yml"
    common = ("approve", fingerprint(place), *GOOD, "--file", str(file), "--store", place)
    assert run(capsys, *common)[0] == 0
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r"(created|expires): .*", r"\1: 2020-01-01", text), encoding="utf-8")
    _, out = run(capsys, "evaluate", "--store", place, "--approvals", str(file))
    assert "expired" in out
    assert run(capsys, *common)[0] == 0
    assert len(load_approvals([file])) == 2
    assert run(capsys, "evaluate", "--store", place, "--approvals", str(file))[0] == 3


def test_an_approval_that_nothing_uses_is_reported(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "evaluate", "--store", place)
    file = tmp_path / "a.yml"
    run(capsys, "approve", fingerprint(place), *GOOD, "--file", str(file), "--store", place)
    file.write_text(file.read_text(encoding="utf-8").replace("- a\n", "- other\n"), encoding="utf-8")
    code, out = run(capsys, "evaluate", "--store", place, "--approvals", str(file))
    assert code == 1
    assert "of me covers nothing in this sweep" in out


def test_approve_appends_to_a_file_written_by_hand(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "evaluate", "--store", place)
    file = tmp_path / "a.yml"
    file.write_text("# ours\napprovals:\n", encoding="utf-8")
    arguments = ("--owner", "me", "--reason", "x", "--expires", "2099-01-01", "--file", str(file), "--store", place)
    assert run(capsys, "approve", fingerprint(place), *arguments)[0] == 0
    assert file.read_text(encoding="utf-8").startswith("# ours\napprovals:\n  - id: ")


def test_evaluate_says_which_rules_the_sweep_cannot_answer(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = tmp_path / "run.yml"
    rule.write_text(
        "title: A run key\nid: 11111111-2222-3333-4444-555555555555\n"
        "logsource: {category: registry_set, product: windows}\n"
        "detection:\n  selection:\n    TargetObject|contains: '\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run\\'\n"
        "  condition: selection\nlevel: high\n",
        encoding="utf-8",
    )
    main(["evaluate", "--store", place, "-r", str(rule)])
    assert "A run key: the sweep did not ask for all that this rule needs" in capsys.readouterr().err
