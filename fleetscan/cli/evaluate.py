"""``fleetscan evaluate``: today's rules and known-good facts on a stored sweep; no host is asked."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fleetscan.cli.options import add_rules_option, add_store_option
from fleetscan.cli.output import add_output_options, write_outputs
from fleetscan.cli.remembered import add_afresh_option, with_remembered
from fleetscan.domain.areas import AREAS
from fleetscan.errors import RuleError
from fleetscan.planner.plan import covers, make_plan
from fleetscan.report.escape import visible
from fleetscan.rules.load import load_rules
from fleetscan.settings import content
from fleetscan.store.interface import PlanRecord
from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator

    from fleetscan.errors import ExitCode
    from fleetscan.planner.plan import Plan

HELP = "run today's rules on a stored sweep, without asking a host"


def configure(parser: ArgumentParser) -> None:
    """Which sweep, which rules, and what to do with the outcome."""
    parser.add_argument(
        "sweep", nargs="?", default="latest", metavar="SWEEP", help="id or its beginning (default: the latest)"
    )
    add_rules_option(parser)
    add_store_option(parser)
    add_output_options(parser)
    add_afresh_option(parser)


def run(args: Namespace, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> ExitCode:
    """Judge what is stored; what today's rules need and the sweep did not ask is not covered, and said so."""
    paths = tuple(args.rules) or (content("rules"),)
    loaded = load_rules(paths)
    for problem in loaded.problems:
        print(f"fleetscan: {visible(str(problem))}", file=sys.stderr)
    if not loaded.rules:
        raise RuleError("no rule could be loaded", where=str(paths[0]), hint="fleetscan rules check PATH")
    plan = make_plan(loaded.rules, extra_scopes=AREAS)
    with open_store(args.store, create=False) as store:
        sweep = store.sweep(args.sweep)
        args, told = with_remembered(args, store, sweep)
        for line in _not_asked(plan, store.plan(sweep.id)):
            print(f"fleetscan: {visible(line)}", file=sys.stderr)
        code = write_outputs(args, store, sweep.id, loaded.rules, now=now(), plan=PlanRecord.of(plan))
    if told:
        print(f"fleetscan: {visible(told)}", file=sys.stderr)
    return code


def _not_asked(plan: Plan, asked: PlanRecord) -> Iterator[str]:
    """The rules for which the sweep does not hold everything."""
    known = {scope_id for scope_id, _ in asked.scopes}
    stored = [scope for scope in plan.scopes if scope.id in known]
    for planned in plan.rules:
        if not covers(stored, planned.rule):
            yield f"{planned.rule.title}: the sweep did not ask for all that this rule needs (try: a new sweep)"
