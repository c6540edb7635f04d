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


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict of one rule on one subject. ``residual`` is TRUE, FALSE, or what state leaves open (V2)."""

    rule: Rule
    row: RegistryRow
    subject: Subject
    truth: Truth
    residual: Expr
    explanation: Explanation
    change: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def certainty(self) -> Certainty | None:
        """Certain, possible, or None where there is no finding (V1)."""
        return {Truth.TRUE: Certainty.CERTAIN, Truth.UNKNOWN: Certainty.POSSIBLE, Truth.FALSE: None}[self.truth]

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
        """The Matches that hold and made the finding, in the order of the rule."""
        return tuple(dict.fromkeys(_deciding(self.explanation)))


def judge(
    rule: Rule, row: RegistryRow, *, subject: Subject | None = None, context: Context = NOTHING_KNOWN
) -> Judgement:
    """Judge a rule on a row of the current sweep, or as the ``subject`` named (removed rows are of the older sweep)."""
    kind = subject or (Subject.KEY if row.is_subkey else Subject.VALUE)
    if kind not in rule.subjects:
        reason = Explanation(rule.condition, Truth.FALSE, how=f"not judged on a {kind}")
        return Judgement(rule=rule, row=row, subject=kind, truth=Truth.FALSE, residual=NEVER, explanation=reason)
    return judge_view(rule, View(row, kind, rule.dialect, context))


def judge_view(rule: Rule, view: View) -> Judgement:
    """Judge a rule on a subject it is meant for."""
    outcomes: dict[Match, Outcome] = {}

    def decided(match: Match) -> Truth:
        if match not in outcomes:
            outcomes[match] = outcome(match, view)
        return outcomes[match].truth

    explanation = _explain(rule.condition, decided, outcomes)
    residual = _residual(rule.condition, explanation.truth, decided)
    truth = Truth.TRUE if residual == ALWAYS else Truth.FALSE if residual == NEVER else Truth.UNKNOWN
    return Judgement(
        rule=rule,
        row=view.row,
        subject=view.kind,
        truth=truth,
        residual=residual,
        explanation=explanation,
        change=view.context.change,
        remarks=_remarks(view),
    )


def _residual(condition: Expr, truth: Truth, decided: Callable[[Match], Truth]) -> Expr:
    if truth is Truth.UNKNOWN:
        return settle(substitute(condition, decided))
    return ALWAYS if truth is Truth.TRUE else NEVER


def _explain(expr: Expr, decided: Callable[[Match], Truth], outcomes: dict[Match, Outcome]) -> Explanation:
    match expr:
        case Match():
            truth = decided(expr)
            found = outcomes[expr]
            return Explanation(expr, truth, found.text, found.how)
        case Not():
            child = _explain(expr.operand, decided, outcomes)
            return Explanation(expr, child.truth.negate(), children=(child,))
        case And() | Or():
            children = tuple(_explain(operand, decided, outcomes) for operand in expr.operands)
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


def _remarks(view: View) -> tuple[str, ...]:
    number = other_control_set(view.row, view.context.current_control_set)
    return () if number is None else (f"in ControlSet{number:03d}, which is not the current one",)
