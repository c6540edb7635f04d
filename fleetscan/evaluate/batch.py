"""Many rows against many rules: the same verdicts as ``judge``, with each distinct row judged once.

A rule is tried on a row only if one of the literal runs that it needs can stand in the row's name; which rules those
are is decided per key. Truth is computed without explanation; the few rows that are no FALSE are judged in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fleetscan.evaluate.judge import judge_view
from fleetscan.evaluate.matching import outcome
from fleetscan.evaluate.names import key_spellings
from fleetscan.evaluate.subject import NOTHING_KNOWN, Context, View, removed_subject, subjects_of
from fleetscan.model.logic import nnf
from fleetscan.model.registry import fold
from fleetscan.model.rule import And, Dialect, Field, Match, Not, Or, TextPattern, Wildcard
from fleetscan.model.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from fleetscan.evaluate.judge import Judgement
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.rule import Expr, Rule

_FALSE, _UNKNOWN, _TRUE = Truth.FALSE, Truth.UNKNOWN, Truth.TRUE
_MAX_RUNS = 64
"""A rule whose necessary runs are more than this is tried on every row."""

_KEY_CACHE = 1 << 18


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule, its truth as a function, and the folded runs of which a matching name holds at least one."""

    rule: Rule
    truth: Callable[[View], Truth]
    runs: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class CompiledRules:
    """Rules ready to be judged on many rows; a value that can be shared between threads."""

    rules: tuple[CompiledRule, ...]

    def __len__(self) -> int:
        """How many rules."""
        return len(self.rules)


def compile_rules(rules: Iterable[Rule]) -> CompiledRules:
    """Prepare rules for ``judge_rows``."""
    return CompiledRules(
        tuple(CompiledRule(rule, _compiled(rule.condition), _runs(nnf(rule.condition))) for rule in rules)
    )


def judge_rows(
    compiled: CompiledRules,
    rows: Iterable[RegistryRow],
    *,
    context: Context = NOTHING_KNOWN,
    candidates: Collection[str] | None = None,
    removed: bool = False,
) -> Iterator[Judgement]:
    """The findings on rows, in the order of the rows; each distinct row once.

    ``candidates``: ids of the rules to judge (those that planned the rows' scope), None for all. ``removed``: the rows
    are of the older sweep and gone from the newer.
    """
    judging = _Judging(compiled, context, candidates)
    seen: set[tuple[str, str, str, str]] = set()
    for row in rows:
        identity = (row.key, row.name, row.type, row.data)
        if identity in seen:
            continue
        seen.add(identity)
        yield from judging.judge(row, removed=removed)


class _Judging:
    """One pass over rows: remembers which rules can match below which key."""

    def __init__(self, compiled: CompiledRules, context: Context, candidates: Collection[str] | None) -> None:
        wanted = None if candidates is None else frozenset(candidates)
        self.rules = [rule for rule in compiled.rules if wanted is None or rule.rule.id in wanted]
        self.context = context
        self.by_key: dict[str, list[CompiledRule]] = {}

    def judge(self, row: RegistryRow, *, removed: bool) -> Iterator[Judgement]:
        subjects = ((removed_subject(row), row),) if removed else subjects_of(row)
        for kind, subject_row in subjects:
            views: dict[Dialect, View] = {}
            for compiled in self.candidates(subject_row):
                rule = compiled.rule
                if kind not in rule.subjects:
                    continue
                view = views.get(rule.dialect)
                if view is None:
                    view = views[rule.dialect] = View(subject_row, kind, rule.dialect, self.context)
                if compiled.truth(view) is _FALSE:
                    continue
                judgement = judge_view(rule, view)
                if judgement.truth is not _FALSE:
                    yield judgement

    def candidates(self, row: RegistryRow) -> Sequence[CompiledRule]:
        """The rules that could match some name in the row's key."""
        if "\\" in row.name:
            return self.rules  # such a name ends in elements of its own; too rare to be clever about
        found = self.by_key.get(row.key)
        if found is None:
            if len(self.by_key) >= _KEY_CACHE:
                self.by_key.clear()
            found = self.by_key[row.key] = self.below(row.key)
        return found

    def below(self, key: str) -> list[CompiledRule]:
        keys = [f"{fold(spelling)}\\" for spelling in key_spellings(key, self.context.current_control_set)]
        return [rule for rule in self.rules if rule.runs is None or any(_can_stand(run, keys) for run in rule.runs)]


def _can_stand(run: str, keys: Sequence[str]) -> bool:
    """Can the run stand in the name of something in the key? Either before the last element, or up to its start."""
    head, separator, tail = run.rpartition("\\")
    if not separator:
        return True
    if not tail and not head:
        return True
    ending = f"{head}\\"
    # A run that ends in a backslash may be the end of an EQL key name: there it is cut within the last element.
    inner, _, _ = head.rpartition("\\") if not tail else ("", "", "")
    for key in keys:
        if run in key or key.endswith(ending):
            return True
        if not tail and (key.endswith(f"{inner}\\") or not inner):
            return True
    return False


def _compiled(expr: Expr) -> Callable[[View], Truth]:
    """The truth of an expression as nested functions, decided as early as possible."""
    match expr:
        case Match():
            return partial(_leaf, expr)
        case Not():
            inner = _compiled(expr.operand)
            return lambda view: inner(view).negate()
        case And():
            return partial(_all, _cheapest_first(expr.operands))
        case Or():
            return partial(_any, _cheapest_first(expr.operands))


def _leaf(match: Match, view: View) -> Truth:
    return outcome(match, view).truth


def _all(operands: Sequence[Callable[[View], Truth]], view: View) -> Truth:
    result = _TRUE
    for operand in operands:
        truth = operand(view)
        if truth is _FALSE:
            return _FALSE
        if truth is _UNKNOWN:
            result = _UNKNOWN
    return result


def _any(operands: Sequence[Callable[[View], Truth]], view: View) -> Truth:
    result = _FALSE
    for operand in operands:
        truth = operand(view)
        if truth is _TRUE:
            return _TRUE
        if truth is _UNKNOWN:
            result = _UNKNOWN
    return result


def _cheapest_first(operands: Sequence[Expr]) -> tuple[Callable[[View], Truth], ...]:
    return tuple(map(_compiled, sorted(operands, key=_weight)))


def _weight(expr: Expr) -> int:
    match expr:
        case Match(field=field):
            return 3 if field is Field.DATA else 1
        case Not():
            return 1 + _weight(expr.operand)
        case And() | Or():
            return sum(map(_weight, expr.operands)) + 1


def _runs(expr: Expr) -> tuple[str, ...] | None:
    """Folded literal runs of which one stands in every name that is not FALSE; None if there is no such set."""
    match expr:
        case Match(field=Field.PATH, test=TextPattern() as test):
            longest = max((part for part in test.parts if not isinstance(part, Wildcard)), key=len, default="")
            return (fold(longest),) if longest else None
        case Or():
            every = [_runs(operand) for operand in expr.operands]
            if any(runs is None for runs in every):
                return None
            joined = tuple(dict.fromkeys(run for runs in every for run in runs or ()))
            return joined if len(joined) <= _MAX_RUNS else None
        case And():
            known = [runs for operand in expr.operands if (runs := _runs(operand)) is not None]
            return max(known, key=_selectivity, default=None)
        case Match() | Not():
            return None


def _selectivity(runs: tuple[str, ...]) -> float:
    """Long runs that end inside the key are best, few are better than many."""
    return min((len(run) * (2 if "\\" in run.strip("\\") else 1) for run in runs), default=0) - len(runs) / 8
