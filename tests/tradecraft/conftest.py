"""The benchmark as fixtures and as parameters: one test for every case of whatever set the folder holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleetscan.domain.areas import AREAS
from fleetscan.planner.plan import make_plan
from fleetscan.rules.load import load_rules
from fleetscan.settings import content
from tests.conftest import corpus_folder
from tests.tradecraft.pipeline import Bench, load_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.model.rule import Rule


@pytest.fixture(scope="session")
def rules(tradecraft_folder: Path) -> dict[str, Rule]:
    """The shipped copies of the seed rules by the benchmark's short names; they are found by source id."""
    ids = load_yaml(tradecraft_folder / "cases.yml")["seed_rule_ids"]
    loaded = {rule.id: rule for rule in load_rules((content("rules"),)).rules}
    return {name: loaded[rule_id] for name, rule_id in ids.items()}


@pytest.fixture(scope="session")
def ruled_bench(tradecraft_folder: Path, rules: dict[str, Rule]) -> Bench:
    """The benchmark asked with the plan of the seed rules."""
    return Bench(tradecraft_folder, make_plan(tuple(rules.values()), extra_scopes=AREAS))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``case`` runs over all cases of ``cases.yml``, the others over those with one more list of what is expected."""
    lists = {"case": "id", "hidden_case": "expected_offline", "filed_case": "expected_with_files"}
    name = next((name for name in lists if name in metafunc.fixturenames), None)
    if name is None:
        return
    folder = corpus_folder("tradecraft")
    if folder is None:
        skip = pytest.mark.skip(reason="corpus 'tradecraft' is absent: set FLEETSCAN_TRADECRAFT to its folder")
        metafunc.parametrize(name, [pytest.param({}, marks=skip, id="absent")])
        return
    cases = [case for case in load_yaml(folder / "cases.yml")["cases"] if lists[name] in case]
    metafunc.parametrize(name, cases, ids=[case["id"] for case in cases])
