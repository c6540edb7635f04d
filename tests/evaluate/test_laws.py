"""Laws of judgement (rule-semantics section 11): Kleene, residual, spellings, the fast path against the slow one."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fleetscan.errors import Place
from fleetscan.evaluate import compile_rules, judge, judge_rows, place, spellings
from fleetscan.evaluate.names import closure, elements_of
from fleetscan.model.finding import Severity
from fleetscan.model.logic import fold_constants, literals, nnf, settle, substitute
from fleetscan.model.registry import SUBKEY, RegistryRow, fold
from fleetscan.model.rule import (
    ALWAYS,
    NEVER,
    And,
    Dialect,
    Evidence,
    Field,
    Match,
    Not,
    Or,
    Rule,
    Subject,
    TextPattern,
    Wildcard,
)
from fleetscan.model.truth import Truth, all_of, any_of
from fleetscan.rules.patterns import pattern as pattern_of
from fleetscan.rules.patterns import short_root
from tests import strategies

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetscan.model.rule import Expr

TRUTHS = tuple(Truth)
FEW = settings(max_examples=200, deadline=None)


def rule_of(condition: Expr, dialect: Dialect = Dialect.SIGMA) -> Rule:
    return Rule(
        id="r",
        title="r",
        dialect=dialect,
        where=Place("r.yml", 1),
        condition=condition,
        subjects=frozenset(Subject),
        level=Severity.LOW,
        evidence=Evidence.PRESENCE,
    )


def kleene(expr: Expr, value: Callable[[Match], Truth]) -> Truth:
    match expr:
        case Match():
            return value(expr)
        case Not():
            return kleene(expr.operand, value).negate()
        case And():
            return all_of(kleene(operand, value) for operand in expr.operands)
        case Or():
            return any_of(kleene(operand, value) for operand in expr.operands)


def test_truth_tables_are_those_of_kleene() -> None:
    t, u, f = Truth.TRUE, Truth.UNKNOWN, Truth.FALSE
    table = [(t, t, t, t), (t, u, u, t), (t, f, f, t), (u, u, u, u), (u, f, f, u), (f, f, f, f)]
    for a, b, both, either in table:
        assert (all_of((a, b)), all_of((b, a)), any_of((a, b)), any_of((b, a))) == (both, both, either, either)
    assert [truth.negate() for truth in (t, u, f)] == [f, u, t]


@FEW
@given(strategies.conditions(), st.data())
def test_replacing_unknowns_never_contradicts_a_decided_result(condition: Expr, data: st.DataObject) -> None:
    """K3."""
    names = list(dict.fromkeys(leaf.match for leaf in literals(condition)))
    first = {match: data.draw(st.sampled_from(TRUTHS)) for match in names}
    second = {m: t if t is not Truth.UNKNOWN else data.draw(st.sampled_from(TRUTHS)) for m, t in first.items()}
    before, after = kleene(condition, first.__getitem__), kleene(condition, second.__getitem__)
    assert before is Truth.UNKNOWN or before is after


@FEW
@given(strategies.conditions(), st.data())
def test_residual_equals_the_rule_under_every_assignment_of_the_unknowns(condition: Expr, data: st.DataObject) -> None:
    """V2, K2."""
    names = list(dict.fromkeys(leaf.match for leaf in literals(condition)))
    decided = {match: data.draw(st.sampled_from(TRUTHS)) for match in names}
    unknown = [match for match in names if decided[match] is Truth.UNKNOWN]
    assume(len(unknown) <= 5)
    residual = settle(substitute(condition, decided.__getitem__))
    values = set()
    for truths in product((Truth.FALSE, Truth.TRUE), repeat=len(unknown)):
        assigned = decided | dict(zip(unknown, truths, strict=True))
        value = kleene(condition, assigned.__getitem__)
        assert kleene(residual, assigned.__getitem__) is value
        values.add(value)
    assert (residual in (ALWAYS, NEVER)) is (len(values) == 1)


@FEW
@given(strategies.conditions())
def test_normal_form_and_folding_keep_the_meaning(condition: Expr) -> None:
    names = list(dict.fromkeys(leaf.match for leaf in literals(condition)))[:4]
    for truths in product(TRUTHS, repeat=len(names)):
        value = dict(zip(names, truths, strict=True))
        meaning = kleene(condition, lambda m, v=value: v.get(m, Truth.FALSE))  # type: ignore[misc]
        folded = kleene(fold_constants(nnf(condition)), lambda m, v=value: v.get(m, Truth.FALSE))  # type: ignore[misc]
        assert folded is meaning


@FEW
@given(strategies.conditions(), strategies.rows(), st.sampled_from(tuple(Dialect)))
def test_fast_path_gives_the_verdict_of_the_full_judgement(condition: Expr, row: RegistryRow, dialect: Dialect) -> None:
    rule = rule_of(condition, dialect)
    full = judge(rule, row)
    fast = list(judge_rows(compile_rules([rule]), [row, row]))
    assert [found.truth for found in fast] == [full.truth] * (full.truth is not Truth.FALSE)
    assert [found.residual for found in fast] == [full.residual] * len(fast)


@settings(max_examples=60, deadline=None)
@given(strategies.conditions(), st.sampled_from(strategies.KEYS), st.sampled_from(tuple(Dialect)))
def test_fast_path_stays_right_when_a_key_returns_often(condition: Expr, key: str, dialect: Dialect) -> None:
    """From some question on, rules are simplified for the key."""
    rule = rule_of(condition, dialect)
    names = [*strategies.NAMES, "Run", "shell\\x", "(default)"]
    found = [RegistryRow(key, name, kind, "x") for name in names for kind in ("REG_SZ", "REG_BINARY", "subkey")]
    expected = [(row, truth) for row in found if (truth := judge(rule, row).truth) is not Truth.FALSE]
    compiled = compile_rules([rule])
    for _ in range(2):
        assert [(judgement.row, judgement.truth) for judgement in judge_rows(compiled, found)] == expected


PIECES = ("Run", "shell", "un_Classes")


@st.composite
def touching_patterns(draw: st.DrawFn) -> TextPattern:
    """Patterns on a whole element, the end of one and the beginning of the next, or a part of one."""
    none: list[str | Wildcard] = []
    gap: list[str | Wildcard] = [Wildcard.ANY]
    end = draw(st.sampled_from((none, gap)))
    start = draw(st.sampled_from((none, gap, gap)))
    run = "\\".join(draw(st.lists(st.sampled_from(("", *PIECES)), min_size=1, max_size=3)))
    return pattern_of([*start, run, *draw(st.sampled_from((none, gap, [*gap, "shell"]))), *end])


@st.composite
def touched_elements(draw: st.DrawFn) -> str:
    """Elements around such a piece."""
    beside = st.sampled_from(("", "q", "_Classes"))
    return draw(beside) + draw(st.sampled_from(PIECES)) + draw(beside)


@FEW
@given(
    st.lists(st.tuples(st.sampled_from((Field.PATH, Field.VALUE_NAME)), touching_patterns()), min_size=1, max_size=4),
    st.sampled_from(("HKEY_USERS", r"HKEY_LOCAL_MACHINE\SOFTWARE", r"HKEY_LOCAL_MACHINE\SYSTEM")),
    st.lists(touched_elements(), min_size=3, max_size=5, unique=True),
    st.sampled_from(tuple(Dialect)),
)
def test_names_of_one_shape_are_judged_as_each_alone(
    asked: list[tuple[Field, TextPattern]], root: str, elements: list[str], dialect: Dialect
) -> None:
    """Every key and name of these elements three times, so that what is remembered of a shape is used for others."""
    rules = [replace(rule_of(Match(*one, "f"), dialect), id=str(number)) for number, one in enumerate(asked)]
    compiled = compile_rules(rules)
    names = sorted(
        product([*elements, "q", *(rf"{one}\Software\Classes" for one in ("q", *elements))], [*elements, "q"])
    )
    for kind in ("REG_SZ", "REG_BINARY", "REG_LINK", SUBKEY):
        for key, name in names:
            found = RegistryRow(f"{root}\\{key}", name, kind, "")
            expected = {rule.id for rule in rules if judge(rule, found).truth is Truth.TRUE}
            assert {one.rule.id for one in judge_rows(compiled, [found])} == expected


@FEW
@given(strategies.conditions(), strategies.rows())
def test_removed_subjects_are_judged_alike_on_both_paths(condition: Expr, row: RegistryRow) -> None:
    rule = rule_of(condition)
    kind = Subject.REMOVED_KEY if row.is_subkey else Subject.REMOVED_VALUE
    full = judge(rule, row, subject=kind)
    fast = [found.truth for found in judge_rows(compile_rules([rule]), [row], removed=True)]
    assert fast == [full.truth] * (full.truth is not Truth.FALSE)


@FEW
@given(strategies.conditions(), strategies.rows())
def test_residual_of_a_decided_verdict_is_the_constant_and_a_possible_one_has_a_qualifier(
    condition: Expr, row: RegistryRow
) -> None:
    judgement = judge(rule_of(condition), row)
    constants = {Truth.TRUE: ALWAYS, Truth.FALSE: NEVER}
    if judgement.truth is Truth.UNKNOWN:
        assert judgement.qualifier in {"if", "unless"}
        assert judgement.excuse
    else:
        assert judgement.residual == constants[judgement.truth]
        assert (judgement.qualifier, judgement.excuse) == (None, None)


@FEW
@given(strategies.rows(), st.sampled_from((None, 1, 2)))
def test_closure_of_spellings_is_finite_and_each_spelling_leads_to_the_others(
    row: RegistryRow, current: int | None
) -> None:
    """N4; ``HKCU`` and ``HKCR`` have forgotten where they came from and lead nowhere."""
    names = closure(elements_of(row.key), current)
    folded = {tuple(map(fold, name)) for name in names}
    assert len(folded) == len(names) <= 12
    for name in names:
        again = {tuple(map(fold, other)) for other in closure(name, current)}
        assert again <= folded or fold(name[2]) == f"CONTROLSET{current or 1:03d}"


@FEW
@given(strategies.rows(), strategies.text_patterns())
def test_any_writable_spelling_of_a_name_gives_the_same_verdict(row: RegistryRow, pattern: object) -> None:
    """Rows of two spellings of one object (both views of a class key) are the same place and match alike."""
    twins = [
        type(row)(
            "\\".join(("HKEY_USERS" if name[0] == "HKU" else "HKEY_LOCAL_MACHINE", *name[1:])),
            row.name,
            row.type,
            row.data,
        )
        for name in closure(elements_of(row.key))
        if name[0] in {"HKLM", "HKU"} and "Hardware Profiles" not in name  # N8 keeps the profile's number
    ]
    rule = rule_of(Match(Field.PATH, pattern, "TargetObject"))  # type: ignore[arg-type]
    for twin in twins:
        assert place(twin) == place(row)
        if set(spellings(twin, Subject.VALUE, Dialect.SIGMA)) == set(spellings(row, Subject.VALUE, Dialect.SIGMA)):
            assert judge(rule, twin).truth is judge(rule, row).truth


@FEW
@given(strategies.text_patterns(), st.sampled_from(tuple(Dialect)))
def test_short_roots_are_rewritten_once_and_leave_other_patterns_alone(pattern: object, dialect: Dialect) -> None:
    """N6."""
    once = short_root(pattern, dialect)  # type: ignore[arg-type]
    assert short_root(once, dialect) == once


@given(st.text())
def test_folding_is_idempotent_and_keeps_the_length(text: str) -> None:
    """T2."""
    assert fold(fold(text)) == fold(text)
    assert len(fold(text)) == len(text)


@FEW
@given(st.lists(strategies.rows(), max_size=6), strategies.conditions())
def test_verdicts_do_not_depend_on_the_order_of_rows(found: list[RegistryRow], condition: Expr) -> None:
    compiled = compile_rules([rule_of(condition)])
    forward = {(j.row, j.truth) for j in judge_rows(compiled, found)}
    backward = {(j.row, j.truth) for j in judge_rows(compiled, reversed(found))}
    assert forward == backward
