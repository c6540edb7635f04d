"""What a rule means on registry state: three-valued judgement with its reasons (design: rule semantics)."""

from fleetscan.evaluate.batch import CompiledRules, compile_rules, judge_rows
from fleetscan.evaluate.judge import Explanation, Judgement, Matched, judge
from fleetscan.evaluate.names import place, spellings
from fleetscan.evaluate.subject import ADDED, ADDED_OR_MODIFIED, MODIFIED, Context, removed_subject, subjects_of

__all__ = [
    "ADDED",
    "ADDED_OR_MODIFIED",
    "MODIFIED",
    "CompiledRules",
    "Context",
    "Explanation",
    "Judgement",
    "Matched",
    "compile_rules",
    "judge",
    "judge_rows",
    "place",
    "removed_subject",
    "spellings",
    "subjects_of",
]
