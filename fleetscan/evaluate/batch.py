"""Many rows against many rules: the same verdicts as ``judge``, with each distinct row judged once.

A rule is tried on a row only where the index says that it can match; truth is computed without reasons, which the few
findings work out when they are asked for.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fleetscan.evaluate.compiled import compiled
from fleetscan.evaluate.index import Index, reaches
from fleetscan.evaluate.judge import Judgement, judge_view
from fleetscan.evaluate.subject import NOTHING_KNOWN, Context, View, removed_subject, subjects_of
from fleetscan.model.logic import literals, substitute
from fleetscan.model.registry import fold
from fleetscan.model.rule import NEVER, Dialect, Field, TextPattern, Wildcard
from fleetscan.model.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.rule import Match, Rule, Subject

_HIDDEN = frozenset({Field.UNOBSERVABLE})
_MAY_BE_UNKNOWN = frozenset({Field.UNOBSERVABLE, Field.NEW_NAME, Field.EVENT_KIND, Field.DATA_TYPE})
_CASES_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule and its truth as a function; ``settled`` for rules in which an unknown stands with both signs (K2)."""

    rule: Rule
    truth: Callable[[View], Truth]
    settled: _Settled | None = None
    paths: tuple[tuple[Match, tuple[str | Wildcard, ...]], ...] = ()
    """The patterns on the full name, with their parts folded."""
    variants: dict[tuple[Truth, ...], CompiledRule | None] = field(default_factory=dict)
    """The rule for keys that decide those patterns so."""


@dataclass(frozen=True, slots=True)
class CompiledRules:
    """Rules ready to be judged on many rows. The index remembers which of them can match below which key."""

    rules: tuple[CompiledRule, ...]
    index: Index[CompiledRule]

    def __len__(self) -> int:
        """How many rules."""
        return len(self.rules)


def compile_rules(rules: Iterable[Rule]) -> CompiledRules:
    """Prepare rules for ``judge_rows``; the result serves many calls."""
    every = tuple(map(_compile, rules))
    return CompiledRules(every, Index(((rule, rule.rule.condition) for rule in every), _for_key))


def _compile(rule: Rule) -> CompiledRule:
    signs: dict[Match, set[bool]] = defaultdict(set)
    for leaf in literals(rule.condition):
        if leaf.match.field in _MAY_BE_UNKNOWN:
            signs[leaf.match].add(leaf.positive)
    cancels = any(len(seen) > 1 for seen in signs.values())
    return CompiledRule(
        rule=rule,
        truth=compiled(rule.condition, rule.dialect),
        settled=_Settled(rule) if cancels else None,
        paths=tuple((match, _folded_parts(match)) for match in _path_matches(rule)),
    )


def _path_matches(rule: Rule) -> Iterable[Match]:
    every = (leaf.match for leaf in literals(rule.condition))
    return dict.fromkeys(match for match in every if match.field is Field.PATH and isinstance(match.test, TextPattern))


def _folded_parts(match: Match) -> tuple[str | Wildcard, ...]:
    parts = match.test.parts if isinstance(match.test, TextPattern) else ()
    return tuple(part if isinstance(part, Wildcard) else fold(part) for part in parts)


def _for_key(rule: CompiledRule, keys: Sequence[str]) -> CompiledRule | None:
    """The rule with everything decided that the key alone decides; None if nothing in the key can match."""
    case = tuple([_in_key(parts, keys) for _, parts in rule.paths])
    if case not in rule.variants:
        if len(rule.variants) >= _CASES_REMEMBERED:
            return rule
        decided = {match: truth for (match, _), truth in zip(rule.paths, case, strict=True)}
        condition = substitute(rule.rule.condition, lambda match: decided.get(match, Truth.UNKNOWN))
        truth = compiled(condition, rule.rule.dialect)
        rule.variants[case] = None if condition == NEVER else replace(rule, truth=truth, paths=(), variants={})
    return rule.variants[case]


def _in_key(parts: tuple[str | Wildcard, ...], keys: Sequence[str]) -> Truth:
    """What a key says of a pattern on the names in it: all match, none does, or it depends on the last element."""
    if any(not isinstance(part, Wildcard) and not reaches(part, keys) for part in parts):
        return Truth.FALSE
    match parts:
        case (Wildcard.ANY, str(run), Wildcard.ANY):
            return Truth.TRUE if any(run in key for key in keys) else Truth.UNKNOWN
        case (str(start), Wildcard.ANY):
            return Truth.TRUE if any(key.startswith(start) for key in keys) else Truth.UNKNOWN
        case _:
            return Truth.UNKNOWN


class _Settled:
    """The truth of a rule whose unknowns may cancel out: by what is decided of it, each case worked out once."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        observable = dict.fromkeys(leaf.match for leaf in literals(rule.condition) if leaf.match.field not in _HIDDEN)
        self._decide = [compiled(match, rule.dialect) for match in observable]
        self._known: dict[tuple[Truth, ...], Truth] = {}

    def truth(self, view: View) -> Truth:
        """The truth after K2."""
        case = tuple([decide(view) for decide in self._decide])
        truth = self._known.get(case)
        if truth is None:
            truth = judge_view(self._rule, view).truth
            if len(self._known) < _CASES_REMEMBERED:
                self._known[case] = truth
        return truth


def judge_rows(
    compiled_rules: CompiledRules,
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
    wanted = None if candidates is None else frozenset(candidates)
    seen: set[tuple[str, str, str, str]] = set()
    for row in rows:
        identity = (row.key, row.name, row.type, row.data)
        if identity not in seen:
            seen.add(identity)
            for kind, subject_row in ((removed_subject(row), row),) if removed else subjects_of(row):
                yield from _judge_subject(compiled_rules, subject_row, kind, context, wanted)


def _judge_subject(
    compiled_rules: CompiledRules, row: RegistryRow, kind: Subject, context: Context, wanted: Collection[str] | None
) -> Iterator[Judgement]:
    views: dict[Dialect, View] = {}
    for candidate in compiled_rules.index.candidates(row.key, row.name, context.current_control_set):
        rule = candidate.rule
        if kind not in rule.subjects or (wanted is not None and rule.id not in wanted):
            continue
        view = views.get(rule.dialect)
        if view is None:
            view = views[rule.dialect] = View(row, kind, rule.dialect, context)
        judgement = _judged(candidate, view)
        if judgement is not None:
            yield judgement


def _judged(candidate: CompiledRule, view: View) -> Judgement | None:
    truth = candidate.truth(view)
    if truth is Truth.FALSE:
        return None
    if truth is Truth.UNKNOWN and candidate.settled is not None:
        truth = candidate.settled.truth(view)
    return None if truth is Truth.FALSE else Judgement(candidate.rule, view, truth)
