"""``fleetscan plan``: what would be asked, what state cannot decide, what it costs; and a check of other packs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.errors import ExitCode, SettingsError
from fleetscan.planner.cost import plan_cost, scopes_cost
from fleetscan.planner.lint import lint_file
from fleetscan.planner.pack import pack_text
from fleetscan.planner.plan import make_plan
from fleetscan.planner.scopes import Options
from fleetscan.report.escape import visible
from fleetscan.rules.load import load_rules, select
from fleetscan.rules.reach import unknowns
from fleetscan.settings import content

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator

    from fleetscan.model.scope import Scope
    from fleetscan.planner.plan import Plan, RulePlan

HELP = "what would be asked: scopes, SQL, cost; lint existing packs"

SCOPES_SHOWN = 40
FILTER_SHOWN = 100
"""Characters of a row filter in the text form."""


def configure(parser: ArgumentParser) -> None:
    """Rules, options of the plan, and the form of the output."""
    parser.add_argument("rules", nargs="*", metavar="RULE", help="id or title of a rule (default: all)")
    parser.add_argument(
        "-r",
        "--rules",
        dest="paths",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="rule file or folder (repeatable; default: the shipped rules)",
    )
    parser.add_argument("--format", choices=tuple(FORMATS), default="text", help="default: text")
    parser.add_argument(
        "--include-expensive", action="store_true", help="take in rules that need a walk of whole hives"
    )
    parser.add_argument("--deep", action="store_true", help="assume nothing about places: walk whole hives instead")
    parser.add_argument(
        "--lint", type=Path, metavar="FILE", help="check an osquery pack or .sql file for unsafe queries instead"
    )


def run(args: Namespace) -> ExitCode:
    """CLEAN; FINDINGS if --lint found an unsafe query."""
    if args.lint:
        return _lint(args.lint)
    options = Options(include_expensive=args.include_expensive, deep=args.deep)
    report = load_rules(args.paths or [content("rules")])
    rules = select(report, args.rules)
    if not rules:
        problems = [problem.text for problem in report.problems[:1]]
        raise SettingsError(
            problems[0] if problems else "no rule is here",
            where=str((args.paths or [content("rules")])[0]),
            hint="fleetscan rules check PATH",
        )
    if args.format == "pack":
        print(pack_text(rules, options), end="")
        return ExitCode.CLEAN
    FORMATS[args.format](make_plan(rules, options=options))
    return ExitCode.CLEAN


def _text(plan: Plan) -> None:
    for entry in plan.rules:
        print("\n".join(map(visible, _rule_lines(plan, entry))))
        print()
    print(f"{len(plan.rules)} rules, {len(plan.scopes)} scopes, {len(plan.statements)} statements: {plan_cost(plan)}")
    left_out = [entry.rule.title for entry in plan.rules if entry.expensive]
    if left_out:
        print(f"expensive, not in the plan (--include-expensive): {visible('; '.join(left_out))}")
    print()
    _sql(plan)


def _rule_lines(plan: Plan, entry: RulePlan) -> Iterator[str]:
    rule = entry.rule
    scopes = [scope for scope in plan.scopes if scope.id in entry.scope_ids]
    yield f"{rule.title} ({rule.id})"
    needs = ", needs a baseline" if entry.needs_baseline else ""
    yield f"  answered: {entry.label}{needs}"
    hidden = unknowns(rule)
    if hidden:
        yield f"  state cannot decide: {', '.join(hidden)}; findings that depend on it are possible, not certain"
    for message in dict.fromkeys((*rule.messages, *entry.messages)):
        yield f"  {message.code} {message.level}: {message.text}"
    yield f"  cost: {scopes_cost(scopes)}"
    for scope in scopes[:SCOPES_SHOWN]:
        yield f"  {scope.id}  {_clipped(scope)}"
    if len(scopes) > SCOPES_SHOWN:
        yield f"  and {len(scopes) - SCOPES_SHOWN} scopes more (--format json)"
    for pattern in entry.expensive:
        yield f"  expensive, left out: {pattern}"


def _clipped(scope: Scope) -> str:
    """The pattern whole; of a long filter the beginning, because filters hold every variant of every pattern."""
    if scope.row_filter is None or len(scope.text) <= len(scope.pattern) + FILTER_SHOWN:
        return scope.text
    shown = scope.text[: len(scope.pattern) + FILTER_SHOWN]
    return f"{shown}... ({len(scope.row_filter.clauses)} clauses; whole with --format json)"


def _sql(plan: Plan) -> None:
    for text in plan.statements:
        print(f"-- {text.id}")
        print(f"{text.sql};")


def _json(plan: Plan) -> None:
    cost = plan_cost(plan)
    document = {
        "digest": plan.digest,
        "estimate": {"keys": cost.keys, "calls": cost.calls},
        "rules": [_rule_json(entry) for entry in plan.rules],
        "scopes": [{"id": scope.id, "text": scope.text} for scope in plan.scopes],
        "statements": [{"id": text.id, "sql": text.sql, "scopes": list(text.scope_ids)} for text in plan.statements],
    }
    print(json.dumps(document, indent=2))


def _rule_json(entry: RulePlan) -> dict[str, object]:
    return {
        "id": entry.rule.id,
        "title": entry.rule.title,
        "label": str(entry.label),
        "level": entry.level,
        "needs_baseline": entry.needs_baseline,
        "undecided": list(unknowns(entry.rule)),
        "expensive": list(entry.expensive),
        "unanchored": list(entry.unanchored),
        "messages": [
            {"code": message.code, "level": str(message.level), "text": message.text} for message in entry.messages
        ],
        "scopes": list(entry.scope_ids),
    }


FORMATS: dict[str, Callable[[Plan], None]] = {"text": _text, "sql": _sql, "pack": _sql, "json": _json}
"""Words of ``--format``; a pack is made from the rules, by interval."""


def _lint(path: Path) -> ExitCode:
    faults = lint_file(path)
    for fault in faults:
        print(visible(str(fault)))
    counts = Counter(str(fault.weight) for fault in faults)
    print(", ".join(f"{count} {weight}" for weight, count in sorted(counts.items())) or "no unsafe query found")
    return ExitCode.FINDINGS if faults else ExitCode.CLEAN
