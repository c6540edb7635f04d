"""``fleetscan rules``: what rules there are, what is wrong with rule files, and what one rule comes to."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from fleetscan.errors import ExitCode, SettingsError
from fleetscan.evaluate.tree import condition_lines
from fleetscan.model.rule import MessageLevel
from fleetscan.planner.cost import plan_cost
from fleetscan.planner.plan import make_plan
from fleetscan.planner.scopes import Label
from fleetscan.report.escape import visible
from fleetscan.rules.load import load_rules, rule_files, select
from fleetscan.rules.reach import best_verdict, unknowns
from fleetscan.settings import content

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator, Sequence

    from fleetscan.model.rule import Message, Rule
    from fleetscan.planner.plan import Plan, RulePlan
    from fleetscan.rules.load import LoadReport

HELP = "list, check and explain rules"

_MEANINGS = {
    "P100": "no rule, or a section of it is missing or of the wrong type",
    "P101": "a branch names no registry path",
    "P102": "application hives",
    "P103": "not about the registry of Windows",
    "P104": "sequence: registry steps only",
    "P105": "language or construct not supported",
    "P106": "needs two sweeps",
    "P107": "modifier, function or regular expression not supported",
    "P108": "possible findings only",
    "P109": "cannot be observed on state",
    "P110": "anchored by assumption",
    "P111": "loaded user hives only",
    "P112": "values osquery does not return",
    "P201": "a text that can never match",
    "P202": "wildcards or escapes inside a value",
    "P203": "deprecated",
    "Q2": "branches about other events",
}
_IN_FULL = frozenset({Label.EXACT, Label.COMPLETE, Label.ASSUMED})
_IN_PART_CODES = frozenset({"P104", "P106", "Q2", "P101", "P102"})


def configure(parser: ArgumentParser) -> None:
    """``list``, ``check PATH...``, ``explain RULE``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="id, title, level, ATT&CK, source and how each rule is answered")
    listing.add_argument("--json", action="store_true", help="JSON instead of a table")
    check = actions.add_parser("check", help="validate rule files or folders: summary, and every problem")
    check.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="rule files or folders")
    check.add_argument("--json", action="store_true", help="JSON instead of tables")
    explain = actions.add_parser("explain", help="one rule: detection, condition, scopes, SQL, what is lost, cost")
    explain.add_argument("rule", metavar="RULE", help="id, title or file of a rule")
    for subparser in (listing, explain):
        subparser.add_argument(
            "--rules",
            action="append",
            default=[],
            type=Path,
            metavar="PATH",
            help="rule file or folder (repeatable; default: the shipped rules)",
        )


def run(args: Namespace) -> ExitCode:
    """CLEAN; INCOMPLETE if a rule of a folder was refused; USAGE if a file or rule asked for by name was (R2)."""
    actions: dict[str, Callable[[Namespace], ExitCode]] = {"list": _list, "check": _check, "explain": _explain}
    return actions[args.action](args)


# list


def _list(args: Namespace) -> ExitCode:
    report = load_rules(args.rules or [content("rules")])
    plan = make_plan(report.rules)
    rows = [_listed(entry) for entry in plan.rules]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print(tabulate([{k: visible(v) for k, v in row.items()} for row in rows], headers="keys"))
    _print_problems(report.problems, sys.stderr.write)
    return _exit_code(report, args.rules)


def _listed(entry: RulePlan) -> dict[str, str]:
    rule = entry.rule
    return {
        "id": rule.id,
        "title": rule.title,
        "level": str(rule.level),
        "ATT&CK": ", ".join(rule.techniques),
        "source": f"{rule.dialect}: {rule.where}",
        "answered": _answered(entry),
    }


def _answered(entry: RulePlan) -> str:
    """How a rule is answered, in a few words."""
    parts = [str(entry.label)]
    if entry.needs_baseline:
        parts.append("needs a baseline")
    if entry.expensive:
        parts.append("expensive parts left out")
    return ", ".join(parts)


# check


@dataclass(frozen=True, slots=True)
class _Coverage:
    """How many rules are answered how far (R3)."""

    files: int
    loaded: int
    in_full: int
    in_part: int
    not_at_all: int
    refused: int


def _check(args: Namespace) -> ExitCode:
    files = list(rule_files(args.paths))
    if not files:
        raise SettingsError("no rule file in it", where=str(args.paths[0]), hint="rules are *.yml, *.yaml and *.toml")
    with _progress(len(files)) as advance:
        report = load_rules(args.paths, on_file=lambda _path: advance())
    plan = make_plan(report.rules)
    coverage = _coverage(report, plan)
    messages = _messages(report, plan)
    if args.json:
        print(json.dumps(_as_json(coverage, messages), indent=2))
    else:
        _print_check(coverage, messages)
    return _exit_code(report, args.paths)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415 - nobody sees a bar in a pipe
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rules", total=total)
        yield lambda: progress.advance(task)


def _coverage(report: LoadReport, plan: Plan) -> _Coverage:
    counts = Counter(_extent(entry) for entry in plan.rules)
    return _Coverage(
        files=report.files,
        loaded=len(report.rules),
        in_full=counts["in full"],
        in_part=counts["in part"],
        not_at_all=counts["not at all"],
        refused=report.refused,
    )


def _extent(entry: RulePlan) -> str:
    codes = set(entry.rule.codes) | {message.code for message in entry.messages}
    if entry.label == Label.UNPLANNABLE or "P109" in codes:
        return "not at all"
    in_full = entry.label in _IN_FULL and not entry.expensive and not codes & _IN_PART_CODES
    return "in full" if in_full else "in part"


def _messages(report: LoadReport, plan: Plan) -> tuple[Message, ...]:
    """What load and plan have to say, each once, by place."""
    every = dict.fromkeys((*report.messages, *(message for entry in plan.rules for message in entry.messages)))
    return tuple(sorted(every, key=lambda message: (message.where.name, message.where.line or 0, message.code)))


def _print_check(coverage: _Coverage, messages: Sequence[Message]) -> None:
    summary = [
        ("files", coverage.files),
        ("rules loaded", coverage.loaded),
        ("  answerable in full", coverage.in_full),
        ("  answerable in part", coverage.in_part),
        ("  not answerable", coverage.not_at_all),
        ("rules refused", coverage.refused),
    ]
    print(tabulate(summary, tablefmt="plain"))
    counts = Counter((message.code, message.level) for message in messages)
    if counts:
        table = [(code, level, count, _MEANINGS.get(code, "")) for (code, level), count in sorted(counts.items())]
        print()
        print(tabulate(table, headers=("code", "level", "count", "meaning")))
        print()
    _print_problems(messages, sys.stdout.write)


def _print_problems(messages: Sequence[Message], write: Callable[[str], object]) -> None:
    for message in messages:
        write(f"{visible(str(message.where))}: {message.level} {message.code}: {visible(message.text)}\n")


def _as_json(coverage: _Coverage, messages: Sequence[Message]) -> dict[str, object]:
    return {
        "files": coverage.files,
        "loaded": coverage.loaded,
        "answerable": {
            "in full": coverage.in_full,
            "in part": coverage.in_part,
            "not at all": coverage.not_at_all,
        },
        "refused": coverage.refused,
        "messages": [
            {
                "file": message.where.name,
                "line": message.where.line,
                "column": message.where.column,
                "code": message.code,
                "level": message.level,
                "text": message.text,
            }
            for message in messages
        ],
    }


def _exit_code(report: LoadReport, paths: Sequence[Path]) -> ExitCode:
    errors = [problem for problem in report.problems if problem.level is MessageLevel.ERROR]
    named = {str(path) for path in paths if not path.is_dir()}
    if any(error.where.name in named for error in errors):
        return ExitCode.USAGE
    return ExitCode.INCOMPLETE if errors else ExitCode.CLEAN


# explain


def _explain(args: Namespace) -> ExitCode:
    named = Path(args.rule)
    paths = [named] if named.is_file() else args.rules or [content("rules")]
    report = load_rules(paths)
    rules = report.rules if named.is_file() else select(report, [args.rule])
    for rule in rules:
        print("\n".join(map(visible, _explained(rule))))
    _print_problems(report.problems if named.is_file() else (), sys.stderr.write)
    return _exit_code(report, paths)


def _explained(rule: Rule) -> Iterator[str]:
    plan = make_plan([rule])
    entry = plan.rules[0]
    yield rule.title
    yield f"  id         {rule.id}"
    yield f"  source     {rule.where} ({rule.dialect}, {rule.kind})"
    yield f"  author     {rule.author or 'unknown'}"
    yield f"  level      {rule.level}"
    yield f"  ATT&CK     {', '.join(rule.techniques) or 'none named'}"
    yield f"  judged on  {', '.join(sorted(rule.subjects))}"
    yield f"  at best    {best_verdict(rule)}, evidence: {rule.evidence}"
    yield ""
    yield "Condition"
    yield from (f"  {line}" for line in condition_lines(rule.condition))
    yield ""
    yield f"Scopes ({_answered(entry)})"
    yield from (f"  {scope.pattern}" for scope in plan.scopes)
    yield from (f"  left out, expensive: {pattern}" for pattern in entry.expensive)
    yield ""
    yield "SQL"
    yield from (f"  {statement.sql}" for statement in plan.statements if statement.scope_ids)
    yield ""
    yield "What is lost"
    yield from _lost(rule, entry)
    yield from _cost(plan)


def _lost(rule: Rule, entry: RulePlan) -> Iterator[str]:
    hidden = unknowns(rule)
    if hidden:
        yield f"  not visible in state: {', '.join(hidden)}; findings that depend on it are possible, never certain"
    yield from (f"  could match anywhere: {branch}" for branch in entry.unanchored)
    for message in dict.fromkeys((*rule.messages, *entry.messages)):
        yield f"  {message.code} {message.level}: {message.text}"
    yield "  when and by whom the value was written"


def _cost(plan: Plan) -> Iterator[str]:
    yield ""
    yield "Cost on one host"
    yield f"  {plan_cost(plan)}"
