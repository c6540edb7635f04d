"""Many rows against many rules: the same verdicts as ``judge``, with each distinct row judged once.

A rule is tried on a row only where the index says that it can match. Names of one shape are decided once for all, so
that for most rows only the data is left to look at, or nothing. Truth is computed without reasons, which the few
findings work out when they are asked for.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fleetscan.evaluate.compiled import compiled
from fleetscan.evaluate.index import Index
from fleetscan.evaluate.judge import Judgement, judge_view
from fleetscan.evaluate.shapes import Shapes, seen_in_shape
from fleetscan.evaluate.subject import NOTHING_KNOWN, Context, View, removed_subject, subjects_of
from fleetscan.model.logic import literals, substitute
from fleetscan.model.registry import SUBKEY
from fleetscan.model.rule import NEVER, Dialect, Field, Subject
from fleetscan.model.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.rule import Expr, Match, Rule

_HIDDEN = frozenset({Field.UNOBSERVABLE})
_MAY_BE_UNKNOWN = frozenset({Field.UNOBSERVABLE, Field.NEW_NAME, Field.EVENT_KIND, Field.DATA_TYPE})
_CASES_REMEMBERED = 4096
_SHAPES_REMEMBERED = 1 << 16
_OFTEN = 3
"""From this question on rules are simplified for a shape: before, that would cost more than it saves."""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule and its truth as a function; ``settled`` for rules in which an unknown stands with both signs (K2)."""

    rule: Rule
    truth: Callable[[View], Truth]
    settled: _Settled | None = None
    constant: Truth | None = None
    """The truth, where no row can change it any more."""
    seen: tuple[tuple[Match, Callable[[View], Truth]], ...] = ()
    """What the shape of a name decides."""
    variants: dict[tuple[Truth, ...], CompiledRule | None] = field(default_factory=dict)
    """The rule for shapes that decide it so."""


Shape = tuple[str, str, Subject, int | None, str | None]
"""Key, last element and kind of a subject, with what else is known that decides what names mean."""


@dataclass(slots=True)
class _Case:
    """What subjects of one shape are asked: the rules that may hold, simplified once the shape returns."""

    rules: Sequence[CompiledRule]
    uses: int = 0


@dataclass(frozen=True, slots=True)
class CompiledRules:
    """Rules ready to be judged on many rows. It remembers which of them can match on names of which shape."""

    rules: tuple[CompiledRule, ...]
    index: Index[CompiledRule]
    shapes: Shapes
    _cases: dict[Shape, _Case] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many rules."""
        return len(self.rules)

    def asked(self, row: RegistryRow, kind: Subject, context: Context) -> Sequence[CompiledRule]:
        """The rules that may not be FALSE on a subject."""
        key, name = self.shapes.key(row.key), self.shapes.name(row.name)
        if name is None:
            return self._of_kind(self.rules, kind)  # it ends in elements of its own; too rare to remember
        shape = (key, name, kind, context.current_control_set, context.change)
        case = self._cases.get(shape)
        if case is None:
            if len(self._cases) >= _SHAPES_REMEMBERED:
                self._cases.clear()
            found = self.index.candidates(key, name, context.current_control_set)
            case = self._cases[shape] = _Case(self._of_kind(found, kind))
        case.uses += 1
        if case.uses == _OFTEN and case.rules:
            views = _Views(row, kind, context)
            simple = (_simplified(rule, views.of(rule.rule.dialect)) for rule in case.rules)
            case.rules = tuple(rule for rule in simple if rule is not None)
        return case.rules

    @staticmethod
    def _of_kind(rules: Iterable[CompiledRule], kind: Subject) -> Sequence[CompiledRule]:
        return tuple(rule for rule in rules if kind in rule.rule.subjects)


def compile_rules(rules: Iterable[Rule]) -> CompiledRules:
    """Prepare rules for ``judge_rows``; the result serves many calls."""
    every = tuple(map(_compile, rules))
    matches = {leaf.match: None for rule in every for leaf in literals(rule.rule.condition)}
    return CompiledRules(every, Index((rule, rule.rule.condition) for rule in every), Shapes(matches))


def _compile(rule: Rule) -> CompiledRule:
    signs: dict[Match, set[bool]] = defaultdict(set)
    seen: dict[Match, None] = {}
    for leaf in literals(rule.condition):
        if leaf.match.field in _MAY_BE_UNKNOWN:
            signs[leaf.match].add(leaf.positive)
        if seen_in_shape(leaf.match, rule.dialect):
            seen[leaf.match] = None
    cancels = any(len(found) > 1 for found in signs.values())
    return CompiledRule(
        rule=rule,
        truth=compiled(rule.condition, rule.dialect),
        settled=_Settled(rule, rule.condition) if cancels else None,
        seen=tuple((match, compiled(match, rule.dialect)) for match in seen),
    )


def _simplified(rule: CompiledRule, view: View) -> CompiledRule | None:
    """The rule with everything decided that the shape of a name decides; None if no such subject can match."""
    case = tuple([truth(view) for _, truth in rule.seen])
    if case not in rule.variants:
        if len(rule.variants) >= _CASES_REMEMBERED:
            return rule
        rule.variants[case] = _variant(rule, case, view)
    return rule.variants[case]


def _variant(rule: CompiledRule, case: tuple[Truth, ...], view: View) -> CompiledRule | None:
    decided = {match: truth for (match, _), truth in zip(rule.seen, case, strict=True)}
    condition = substitute(rule.rule.condition, lambda match: decided.get(match, Truth.UNKNOWN))
    if condition == NEVER:
        return None
    truth = compiled(condition, rule.rule.dialect)
    settled = rule.settled and _Settled(rule.rule, condition)
    simple = replace(rule, truth=truth, settled=settled, seen=(), variants={})
    left = (leaf.match for leaf in literals(condition))
    if not all(match in decided or match.field in _HIDDEN for match in left):
        return simple
    constant = _truth(simple, view)
    return None if constant is Truth.FALSE else replace(simple, constant=constant)


class _Settled:
    """The truth of a rule whose unknowns may cancel out: by what is decided of it, each case worked out once."""

    def __init__(self, rule: Rule, open_part: Expr) -> None:
        """``open_part``: the condition without what is decided for all subjects that are asked about."""
        self._rule = rule
        observable = dict.fromkeys(leaf.match for leaf in literals(open_part) if leaf.match.field not in _HIDDEN)
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
            if not removed and row.type != SUBKEY:
                subjects: Iterable[tuple[Subject, RegistryRow]] = ((Subject.VALUE, row),)  # nearly every row
            else:
                subjects = ((removed_subject(row), row),) if removed else subjects_of(row)
            for kind, subject_row in subjects:
                asked = compiled_rules.asked(subject_row, kind, context)
                if asked:
                    yield from _judged(asked, subject_row, kind, context, wanted)


class _Views:
    """One subject through the eyes of the dialects that ask for it."""

    __slots__ = ("_context", "_kind", "_row", "_views")

    def __init__(self, row: RegistryRow, kind: Subject, context: Context) -> None:
        self._row = row
        self._kind = kind
        self._context = context
        self._views: dict[Dialect, View] = {}

    def of(self, dialect: Dialect) -> View:
        """The view of a dialect, made once."""
        view = self._views.get(dialect)
        if view is None:
            view = self._views[dialect] = View(self._row, self._kind, dialect, self._context)
        return view


def _judged(
    rules: Sequence[CompiledRule], row: RegistryRow, kind: Subject, context: Context, wanted: Collection[str] | None
) -> Iterator[Judgement]:
    views = _Views(row, kind, context)
    for candidate in rules:
        rule = candidate.rule
        if wanted is not None and rule.id not in wanted:
            continue
        view = views.of(rule.dialect)
        truth = candidate.constant
        if truth is None:
            truth = _truth(candidate, view)
        if truth is not Truth.FALSE:
            yield Judgement(rule, view, truth)


def _truth(candidate: CompiledRule, view: View) -> Truth:
    truth = candidate.truth(view)
    if truth is Truth.UNKNOWN and candidate.settled is not None:
        return candidate.settled.truth(view)
    return truth
