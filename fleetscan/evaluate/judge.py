"""One rule on one subject: truth, why, and what would excuse it (rule-semantics sections 6 and 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.evaluate import words
from fleetscan.evaluate.matching import Outcome, outcome
from fleetscan.evaluate.names import other_control_set
from fleetscan.evaluate.subject import NOTHING_KNOWN, Context, View
from fleetscan.model.finding import Certainty
from fleetscan.model.logic import settle, substitute
from fleetscan.model.rule import ALWAYS, NEVER, And, Match, Not, Or, Subject
from fleetscan.model.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.rule import Expr, Rule


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict on one node of the condition, with those below it.

    For a Match, ``text`` is the spelling or text that matched, ``how`` what it took, or why it is unknown.
    """

    node: Expr
    truth: Truth
    text: str = ""
    how: str = ""
    children: tuple[Explanation, ...] = ()

    def lines(self, indent: int = 0) -> Iterator[str]:
        """The tree for people, one line a node."""
        yield f"{'  ' * indent}{self.truth.name:<8}{self._label()}"
        for child in self.children:
            yield from child.lines(indent + 1)

    def _label(self) -> str:
        match self.node:
            case And():
                return "all of"
            case Or():
                return "any of"
            case Not():
                return "not"
            case Match():
                details = ": ".join(detail for detail in (self.text, self.how) if detail)
                return words.formal(self.node) + (f" <- {details}" if details else "")


@dataclass(frozen=True, slots=True)
class Matched:
    """A Match that holds, with the spelling or text of the subject that satisfied it (V4)."""

    match: Match
    text: str
    how: str = ""


class Judgement:
    """The verdict of one rule on one subject. Its reasons are worked out when they are asked for."""

    __slots__ = ("_explanation", "_residual", "rule", "truth", "view")

    def __init__(self, rule: Rule, view: View, truth: Truth, residual: Expr | None = None) -> None:
        """``truth`` is the verdict; ``residual`` what state leaves open, if it is known already."""
        self.rule = rule
        self.view = view
        self.truth = truth
        self._residual = residual
        self._explanation: Explanation | None = None

    @property
    def row(self) -> RegistryRow:
        """The raw row."""
        return self.view.row

    @property
    def subject(self) -> Subject:
        """What the row stands for."""
        return self.view.kind

    @property
    def change(self) -> str | None:
        """``added`` or ``modified`` since the baseline, if that is known."""
        return self.view.context.change

    @property
    def certainty(self) -> Certainty | None:
        """Certain, possible, or None where there is no finding (V1)."""
        return {Truth.TRUE: Certainty.CERTAIN, Truth.UNKNOWN: Certainty.POSSIBLE, Truth.FALSE: None}[self.truth]

    @property
    def explanation(self) -> Explanation:
        """The tree of verdicts on the parts of the condition."""
        if self._explanation is None:
            self._explanation = _Reasoning(self.view).explain(self.rule.condition)
        return self._explanation

    @property
    def residual(self) -> Expr:
        """TRUE, FALSE, or what is left of the rule when everything decided is taken out (V2)."""
        if self._residual is None:
            self._residual = _residual(self.rule.condition, self.truth, _Reasoning(self.view).truth)
        return self._residual

    @property
    def qualifier(self) -> str | None:
        """``unless`` or ``if`` for possible findings, else None (V3)."""
        return words.qualifier(self.residual) if self.truth is Truth.UNKNOWN else None

    @property
    def residual_text(self) -> str | None:
        """The residual in full, for possible findings."""
        return words.formal(self.residual) if self.truth is Truth.UNKNOWN else None

    @property
    def excuse(self) -> str | None:
        """What would excuse it (unless), or what it takes (if): ``Image is a.exe or b.exe``."""
        return words.excuse(self.residual) if self.truth is Truth.UNKNOWN else None

    @property
    def sentence(self) -> str:
        """``certain``; ``possible, unless written by ...``; ``no finding``."""
        if self.truth is Truth.UNKNOWN:
            return words.sentence(self.residual)
        return "certain" if self.truth is Truth.TRUE else "no finding"

    @property
    def matches(self) -> tuple[Matched, ...]:
        """The Matches that hold and made the finding, in the order of the rule (V4)."""
        return tuple(dict.fromkeys(_deciding(self.explanation)))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader should know besides: a control set that is not the current one (N4)."""
        number = other_control_set(self.row, self.view.context.current_control_set)
        return () if number is None else (f"in ControlSet{number:03d}, which is not the current one",)


def judge(
    rule: Rule, row: RegistryRow, *, subject: Subject | None = None, context: Context = NOTHING_KNOWN
) -> Judgement:
    """Judge a rule on a row of the current sweep, or as the ``subject`` named (removed rows are of the older sweep)."""
    kind = subject or (Subject.KEY if row.is_subkey else Subject.VALUE)
    return judge_view(rule, View(row, kind, rule.dialect, context))


def judge_view(rule: Rule, view: View) -> Judgement:
    """Judge a rule on a subject; FALSE for subjects it is not meant for (E1)."""
    if view.kind not in rule.subjects:
        return Judgement(rule, view, Truth.FALSE, NEVER)
    reasoning = _Reasoning(view)
    residual = _residual(rule.condition, reasoning.explain(rule.condition).truth, reasoning.truth)
    truth = Truth.TRUE if residual == ALWAYS else Truth.FALSE if residual == NEVER else Truth.UNKNOWN
    return Judgement(rule, view, truth, residual)


def _residual(condition: Expr, truth: Truth, decided: Callable[[Match], Truth]) -> Expr:
    if truth is Truth.UNKNOWN:
        return settle(substitute(condition, decided))
    return ALWAYS if truth is Truth.TRUE else NEVER


class _Reasoning:
    """Outcomes of the Matches on one subject, each worked out once."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.outcomes: dict[Match, Outcome] = {}

    def outcome(self, match: Match) -> Outcome:
        found = self.outcomes.get(match)
        if found is None:
            found = self.outcomes[match] = outcome(match, self.view)
        return found

    def truth(self, match: Match) -> Truth:
        return self.outcome(match).truth

    def explain(self, expr: Expr) -> Explanation:
        match expr:
            case Match():
                found = self.outcome(expr)
                return Explanation(expr, found.truth, found.text, found.how)
            case Not():
                child = self.explain(expr.operand)
                return Explanation(expr, child.truth.negate(), children=(child,))
            case And() | Or():
                children = tuple(map(self.explain, expr.operands))
                truths = (child.truth for child in children)
                if isinstance(expr, And):
                    return Explanation(expr, min(truths, default=Truth.TRUE), children=children)
                return Explanation(expr, max(truths, default=Truth.FALSE), children=children)


def _deciding(explanation: Explanation) -> Iterator[Matched]:
    """The Matches that hold in the branches that are not FALSE."""
    if explanation.truth is Truth.FALSE or isinstance(explanation.node, Not):
        return
    if isinstance(explanation.node, Match):
        if explanation.truth is Truth.TRUE:
            yield Matched(explanation.node, explanation.text, explanation.how)
        return
    for child in explanation.children:
        yield from _deciding(child)
