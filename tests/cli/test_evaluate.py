"""Judging stored sweeps again: same rules say the same, older sweeps leave newer ones alone, approvals only close."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetscan.baseline.approvals import PINS, Approval, load_approvals, to_yaml
from fleetscan.cli import main
from fleetscan.errors import ExitCode
from fleetscan.findings.assemble import assess
from fleetscan.findings.hits import RuleHits
from fleetscan.judging import judge, previous
from fleetscan.queries import load_queries
from fleetscan.rules.load import load_rules
from fleetscan.settings import content
from fleetscan.store.records import JudgedWith
from fleetscan.store.sql import open_store
from tests.domain.rows import OID, PE, POWERSHELL, VERIFY, key, sip
from tests.findings.sweeps import put_sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetscan.findings.model import Assessment, Finding
    from fleetscan.store.interface import Store, SweepId

ROOT = Path(__file__).parents[2]
DEEP = bool(os.environ.get("FLEETSCAN_DEEP"))
NOW = datetime(2026, 11, 22, tzinfo=UTC)
TODAY = NOW.date()
Kept = tuple[object, ...]


def kept(store: Store, sweep: SweepId) -> Kept:
    """Everything that was judged of a sweep, as the store keeps it."""
    return store.findings(sweep), store.changes(sweep), store.entities(sweep)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sweeps of the demo fleet; the second is compared with the first, and has an approval."""
    folder = tmp_path_factory.mktemp("demo")
    sweep = ["sweep", "-i", str(ROOT / "inventory" / "demo.yml"), "--store", str(folder / "s.db"), "-q"]
    assert main(sweep) == 1
    with open_store(folder / "s.db") as store:
        found = [one for one in store.findings(store.sweep().id) if one.severity == "high" and one.is_open]
    options = ["--owner", "me", "--reason", "x", "--expires", "2099-01-01", "--file", str(folder / "approvals.yml")]
    assert main(["approve", found[0].fingerprint, *options, "--store", str(folder / "s.db")]) == 0
    assert main(["baseline", "create", "first", "--store", str(folder / "s.db")]) == 0
    assert main([*sweep, "--baseline", "first", "--approvals", str(folder / "approvals.yml")]) == 1
    return folder


@pytest.fixture
def copy(demo: Path, tmp_path: Path) -> Path:
    """A copy of the demo's store, to be judged again."""
    shutil.copytree(demo, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_same_rules_say_the_same_of_a_stored_sweep(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_store(copy / "s.db") as store:
        first, second = (one.id for one in store.sweeps())
        before = kept(store, first), kept(store, second)
        assert any(one.state == "approved" for one in store.findings(second))
    anew = ["--afresh", "--approvals", str(copy / "approvals.yml")]
    assert main(["evaluate", second, "--store", str(copy / "s.db"), *anew]) == 1
    with open_store(copy / "s.db") as store:
        assert kept(store, second) != before[1], "without its baseline it is told as without one"
    again = ["evaluate", second, "--baseline", "first", "--approvals", str(copy / "approvals.yml")]
    assert main([*again, "--store", str(copy / "s.db")]) == 1
    assert main(["evaluate", first, "--store", str(copy / "s.db")]) == 1
    with open_store(copy / "s.db") as store:
        assert (kept(store, first), kept(store, second)) == before
        assert store.verify().problems == ()
    assert "the sweep did not ask" not in capsys.readouterr().err


def refused(arguments: list[str]) -> bool:
    """Does the command end as wrong use?"""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code == ExitCode.USAGE


def test_a_sweep_is_judged_again_with_the_baseline_and_the_approvals_of_before(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--store", str(copy / "s.db")]
    approvals = copy / "approvals.yml"
    with open_store(copy / "s.db") as store:
        second = store.sweep().id
    assert main(["evaluate", *place, "--baseline", "first", "--approvals", str(approvals)]) == 1
    with open_store(copy / "s.db") as store:
        before = kept(store, second)
        assert store.judged_with(second) == JudgedWith("first", (str(approvals.resolve()),))
    capsys.readouterr()
    for verb in ("evaluate", "report"):
        assert main([verb, *place]) == 1
        assert f"is judged as before: baseline first, approvals {approvals}" in capsys.readouterr().err
        with open_store(copy / "s.db") as store:
            assert kept(store, second) == before
    approvals.rename(copy / "elsewhere.yml")
    assert refused(["evaluate", *place])
    assert "was judged with approvals, which are gone" in capsys.readouterr().err
    with open_store(copy / "s.db") as store:
        assert kept(store, second) == before
    assert main(["baseline", "delete", "first", *place]) == 0
    assert refused(["evaluate", "--approvals", str(copy / "elsewhere.yml"), *place])
    assert "was judged with baseline first, which is gone" in capsys.readouterr().err
    assert main(["evaluate", "--afresh", *place]) == 1
    with open_store(copy / "s.db") as store:
        assert {one.state for one in store.findings(second)} == {"no baseline"}
        assert store.judged_with(second) == JudgedWith()
    assert main(["evaluate", *place]) == 1
    assert "is judged as before" not in capsys.readouterr().err


def test_a_sweep_whose_predecessor_was_pruned_is_not_judged_without_it(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--store", str(copy / "s.db")]
    assert main(["evaluate", "--afresh", "--baseline", "auto", *place]) == 1
    assert main(["evaluate", *place]) == 1
    assert "judged as before: baseline auto" in capsys.readouterr().err
    with open_store(copy / "s.db") as store:
        first = store.sweeps()[0]
        with store.database.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE sweep SET pruned = 7 WHERE id = 1")
        assert store.sweeps()[0] == replace(first, pruned=store.sweeps()[0].pruned)
    assert refused(["evaluate", *place])
    assert "was judged with the one before it, which was pruned" in capsys.readouterr().err


def test_an_older_sweep_leaves_newer_ones_alone(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = copy / "none.yml"
    rule.write_text(
        "title: Nothing\nid: 11111111-2222-3333-4444-555555555555\nlevel: high\n"
        "logsource: {category: registry_set, product: windows}\n"
        "detection:\n  selection:\n    TargetObject: HKLM\\SOFTWARE\\Nothing\\Here\n  condition: selection\n",
        encoding="utf-8",
    )
    with open_store(copy / "s.db") as store:
        first, second = (one.id for one in store.sweeps())
        seals = [one.seal for one in store.sweeps()]
        before = kept(store, second)
    main(["evaluate", first, "-r", str(rule), "--store", str(copy / "s.db")])
    assert "Nothing: the sweep did not ask for all that this rule needs" in capsys.readouterr().err
    with open_store(copy / "s.db") as store:
        assert kept(store, second) == before
        assert [one.seal for one in store.sweeps()] == seals
        assert store.verify().problems == ()


def test_offline_hives_say_the_same_when_judged_again(
    hives_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(tmp_path / "s.db")
    code = main(["sweep", "--hives", str(hives_folder / "reg"), "--store", place, "-q"])
    with open_store(place) as store:
        before = kept(store, store.sweep().id)
    assert main(["evaluate", "--store", place]) == code
    with open_store(place) as store:
        assert kept(store, store.sweep().id) == before
    assert capsys.readouterr().out


CLEAN = sip(PE, "WINTRUST.DLL", "CryptSIPVerifyIndirectData")
ANSWERS = st.sampled_from(
    [
        CLEAN,
        [*CLEAN, *sip(POWERSHELL, r"C:\Users\Public\x.dll", "PsVerifyHash")],
        sip(POWERSHELL, r"C:\Users\Public\y.dll", "PsVerifyHash"),
        key(f"{OID}\\{VERIFY}\\{PE}"),
        [],
        None,
    ]
)
FLEETS = st.lists(st.dictionaries(st.sampled_from("abc"), ANSWERS, min_size=1), min_size=2, max_size=4)


@settings(max_examples=100 if DEEP else 8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fleets=FLEETS, data=st.data())
def test_any_sweep_says_the_same_when_judged_again_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, fleets: list[dict[str, object]], data: st.DataObject
) -> None:
    rules = load_rules((content("rules"),)).rules
    with open_store(tmp_path_factory.mktemp("random") / "s.db") as store:
        sweeps = []
        for day, hosts in enumerate(fleets):
            sweep = store.sweep(put_sweep(store, hosts, day=day))  # type: ignore[arg-type] # drawn from a union
            judge(store, sweep, rules, now=NOW, baseline=previous(store, sweep))
            sweeps.append(sweep)
        before = [kept(store, sweep.id) for sweep in sweeps]
        for sweep in data.draw(st.permutations(sweeps)):
            judge(store, sweep, rules, now=NOW, baseline=previous(store, sweep))
        assert [kept(store, sweep.id) for sweep in sweeps] == before
        assert store.verify().problems == ()


@pytest.fixture(scope="module")
def judged(demo: Path) -> Iterator[tuple[Store, RuleHits, Assessment]]:
    """The demo's second sweep under the shipped rules and detections, without any approval."""
    with open_store(demo / "s.db") as store:
        hits = RuleHits.of(load_rules((content("rules"),)).rules)
        yield store, hits, assessed(store, hits, ())


def assessed(store: Store, hits: RuleHits, approvals: tuple[Approval, ...]) -> Assessment:
    sweep = store.sweep()
    return assess(
        store,
        sweep,
        today=TODAY,
        baseline=store.baseline("first"),
        find_hits=hits,
        approvals=approvals,
        detections=load_queries(content("queries") / "detections"),
    )


@st.composite
def approvals_of(draw: st.DrawFn, findings: tuple[Finding, ...]) -> tuple[Approval, ...]:
    """Approvals of real findings, as people write them: right, half right and wrong, wide and narrow, old and new."""
    chosen = draw(st.lists(st.sampled_from(findings), max_size=6))
    return tuple(draw(_approval(finding, number)) for number, finding in enumerate(chosen))


@st.composite
def _approval(draw: st.DrawFn, finding: Finding, number: int) -> Approval:
    attributes = (
        draw(st.lists(st.sampled_from(finding.entity.attributes), unique=True)) if finding.entity.attributes else []
    )
    scope = draw(st.sampled_from(["host", "group", "fleet"]))
    return Approval(
        id=str(number),
        owner="me",
        reason="x",
        created=date(2020, 1, 1),
        expires=draw(st.sampled_from([date(2026, 11, 21), TODAY, date(2099, 1, 1)])),
        scope=scope,
        kind=finding.entity.kind,
        identity=draw(st.permutations(finding.entity.identity).map(tuple)),
        attributes=tuple(attributes),
        hosts=(draw(st.sampled_from([finding.host, "ws-*", "nobody"])),) if scope == "host" else (),
        groups=(draw(st.sampled_from(["*", "clients", "nobody"])),) if scope == "group" else (),
        sha256=draw(st.sampled_from(["", "", "ab" * 32])),
    )


@settings(max_examples=100 if DEEP else 5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_adding_an_approval_never_creates_a_finding_and_removing_one_never_hides_one(
    judged: tuple[Store, RuleHits, Assessment], data: st.DataObject
) -> None:
    store, hits, bare = judged
    more = data.draw(approvals_of(bare.findings))
    fewer = more[: data.draw(st.integers(0, len(more)))]
    found = [bare, *(assessed(store, hits, some) for some in (fewer, more))]
    names = [[(one.fingerprint, one.host, one.severity) for one in every.findings] for every in found]
    assert names[0] == names[1] == names[2]
    assert [one.stock for one in found] == [bare.stock] * 3
    assert [one.coverage for one in found] == [bare.coverage] * 3
    opened = [{one.fingerprint for one in every.findings if one.is_open} for every in found]
    assert opened[2] <= opened[1] <= opened[0]
    for every, some in zip(found[1:], (fewer, more), strict=True):
        closed = [one for one in every.findings if one.approval]
        assert all(one.approval in some and not one.approval.is_expired(TODAY) for one in closed if one.approval)
        assert {use.approval.id for use in every.approvals if use.uses} >= {
            one.approval.id for one in closed if one.approval
        }
        assert all(not use.uses for use in every.approvals if use.state == "expired")


def test_every_open_finding_of_the_demo_can_be_approved_or_is_a_gap(
    judged: tuple[Store, RuleHits, Assessment], demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, hits, bare = judged
    file = tmp_path / "all.yml"
    options = [
        "--owner",
        "me",
        "--reason",
        "x",
        "--expires",
        "2099-01-01",
        "--file",
        str(file),
        "--store",
        str(demo / "s.db"),
    ]
    wanted = [one for one in bare.findings if one.is_open and not one.is_coverage]
    assert wanted
    for finding in wanted:
        assert main(["approve", finding.fingerprint, *options]) == 0, finding.title
    approvals = load_approvals([file])
    after = assessed(store, hits, approvals)
    assert [one.title for one in after.findings if one.is_open and not one.is_coverage] == []
    assert all(use.state == "active" for use in after.approvals)
    assert capsys.readouterr().out.count("approved until") == len(wanted)


def test_what_an_approval_pins_decides_whether_it_may_be_written(
    judged: tuple[Store, RuleHits, Assessment], tmp_path: Path
) -> None:
    """No attribute that may be left out leaves an approval that holds whatever is put there."""
    _, _, bare = judged
    for finding in bare.findings:
        wanted = set(PINS.get(finding.entity.kind, ()))
        pinned = tuple(pair for pair in finding.entity.attributes if pair[0] not in wanted | {"sha256"})
        if not wanted or finding.is_coverage:
            continue
        loose = Approval(
            id="loose", owner="me", reason="x", created=TODAY, expires=TODAY, scope="fleet",
            kind=finding.entity.kind, identity=finding.entity.identity, attributes=pinned,
        )  # fmt: skip
        file = tmp_path / "loose.yml"
        file.write_text(to_yaml(loose), encoding="utf-8")
        with pytest.raises(Exception, match="would approve whatever is put there"):
            load_approvals([file])
        file.write_text(to_yaml(replace(loose, attributes=finding.entity.attributes)), encoding="utf-8")
        [tight] = load_approvals([file])
        assert tight.matches(finding.entity)
