"""The commands diff, approve and evaluate on stored sweeps: output, filters, exit codes, one line for every mistake."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

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
