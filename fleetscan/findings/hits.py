"""Rules applied to blocks: from the evaluator's judgements to the hits that findings are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetscan.evaluate import Context, compile_rules, judge_rows
from fleetscan.findings.model import RuleHit
from fleetscan.model.finding import Certainty
from fleetscan.model.rule import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fleetscan.evaluate import CompiledRules, Judgement
    from fleetscan.model.registry import RegistryRow
    from fleetscan.model.rule import Rule

_REMOVED = frozenset({Subject.REMOVED_VALUE, Subject.REMOVED_KEY})


@dataclass(frozen=True, slots=True)
class RuleHits:
    """The hit finder of a set of rules.

    Every rule is tried on every row, whichever scope brought it: a rule of today finds what a plan of last month
    collected for another rule.
    """

    rules: CompiledRules
    judges_removals: bool
    """Is there a rule about deletion, which only a comparison can answer?"""

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> RuleHits:
        """Prepare rules."""
        table = tuple(rules)
        return cls(compile_rules(table), any(rule.subjects & _REMOVED for rule in table))

    def __call__(
        self, scope_id: str, rows: Iterable[RegistryRow], context: Context | None = None
    ) -> tuple[RuleHit, ...]:
        """All hits on rows that are there; ``context.change`` says that they are new or changed."""
        found = judge_rows(self.rules, rows, context=context or Context())
        return tuple(_hit(judgement, scope_id) for judgement in found)

    def removed(
        self, scope_id: str, rows: Iterable[RegistryRow], context: Context | None = None
    ) -> tuple[RuleHit, ...]:
        """Hits of rules about deletion on rows that are gone."""
        found = judge_rows(self.rules, rows, context=context or Context(), removed=True)
        return tuple(_hit(judgement, scope_id) for judgement in found)


def _hit(judgement: Judgement, scope_id: str) -> RuleHit:
    rule = judgement.rule
    return RuleHit(
        rule_id=rule.id,
        title=rule.title,
        severity=rule.level,
        certainty=judgement.certainty or Certainty.POSSIBLE,
        row=judgement.row,
        excuse=judgement.sentence if judgement.certainty is Certainty.POSSIBLE else "",
        scope_id=scope_id,
        techniques=rule.techniques,
        change=judgement.change or "",
    )
