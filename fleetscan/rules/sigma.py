"""Sigma rules of the registry categories, parsed by pySigma, as AST (rule-semantics T4, T6, K4, section 8)."""

from __future__ import annotations

import re
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NoReturn

from sigma import conditions, types
from sigma.exceptions import SigmaError, SigmaModifierError, SigmaRegularExpressionError
from sigma.rule import SigmaDetectionItem

from fleetscan.errors import Place, RuleError
from fleetscan.model.finding import Severity
from fleetscan.model.logic import all_of, any_of, evidence_of, literals
from fleetscan.model.rule import (
    Circumstance,
    Dialect,
    Expr,
    Field,
    IsNull,
    Match,
    Not,
    NumberCompare,
    NumberEquals,
    RegexPattern,
    Rule,
    Subject,
    Test,
    TextPattern,
    Wildcard,
)
from fleetscan.rules.fields import SIGMA_FIELDS, event_truth
from fleetscan.rules.metadata import Metadata
from fleetscan.rules.patterns import compile_regex, pattern, short_root
from fleetscan.rules.source import BROKEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fleetscan.rules.source import Document, Value

CATEGORIES: Mapping[str, frozenset[Subject]] = {
    "registry_set": frozenset({Subject.VALUE}),
    "registry_add": frozenset({Subject.KEY}),
    "registry_event": frozenset({Subject.VALUE, Subject.KEY}),
    "registry_delete": frozenset({Subject.REMOVED_VALUE, Subject.REMOVED_KEY}),
}
"""Log source categories and the subjects they are judged on (E1)."""

MAX_CONDITION = 5000
"""Characters of one condition: pySigma's parser needs time beyond all measure for nested parentheses."""
MAX_PARENTHESES = 12

_REMOVED = frozenset({Subject.REMOVED_VALUE, Subject.REMOVED_KEY})
_LEVELS = {str(level): level for level in Severity} | {"informational": Severity.INFO}
_OPERATORS = {
    types.CompareOperators.LT: "<",
    types.CompareOperators.LTE: "<=",
    types.CompareOperators.GT: ">",
    types.CompareOperators.GTE: ">=",
    types.CompareOperators.NEQ: "!=",
}
_NUMERIC_FIELDS = frozenset({Field.DATA, Field.UNOBSERVABLE})
_ANYWHERE = ((Field.PATH, "TargetObject"), (Field.DATA, "Details"))
_LITERAL_FIELDS = frozenset({Field.PATH, Field.KEY, Field.VALUE_NAME, Field.NEW_NAME, Field.EVENT_KIND})


def is_sigma(value: Value) -> bool:
    """Does a YAML document look like anything of Sigma?"""
    return isinstance(value, dict) and bool({"detection", "logsource", "correlation", "filter", "title"} & value.keys())


def read_sigma(document: Document, name: str, digest: str) -> Rule:
    """The rule of one document; RuleErrors, all of them in an ExceptionGroup, where it cannot be loaded."""
    return _Reader(document, name).rule(digest)


class _Reader:
    """Reads one document and collects what is wrong with it."""

    def __init__(self, document: Document, name: str) -> None:
        self.document = document
        self.name = name
        self.errors: list[RuleError] = []

    def rule(self, digest: str) -> Rule:
        value = self.document.value
        self.refuse_other_kinds(value)
        subjects = self.subjects(value.get("logsource"))
        metadata = Metadata(value, self.place)
        title = metadata.text("title")
        condition = self.condition(value.get("detection"))
        if not title:
            self.error("a rule needs a title", "title")
        if self.errors or condition is None or subjects is None:
            raise ExceptionGroup("rule", self.errors)
        if CATEGORIES["registry_event"] == subjects and _asks_for_removal(condition):
            subjects |= _REMOVED
        tags = metadata.texts("tags")
        return Rule(
            id=metadata.text("id") or f"sigma-{digest[:16]}",
            title=title,
            dialect=Dialect.SIGMA,
            where=Place(self.name, self.document.line),
            condition=condition,
            subjects=subjects,
            level=_LEVELS.get(metadata.text("level").lower(), Severity.MEDIUM),
            evidence=evidence_of(condition),
            description=metadata.text("description"),
            author=metadata.text("author"),
            status=metadata.text("status"),
            license=metadata.text("license"),
            tags=tags,
            techniques=tuple(
                tag.upper().removeprefix("ATTACK.") for tag in tags if re.fullmatch(r"(?i)attack\.t\d+(\.\d+)?", tag)
            ),
            related=metadata.related(),
            references=metadata.texts("references"),
            false_positives=metadata.texts("falsepositives"),
            note=metadata.text("note"),
            messages=metadata.notes(),
            digest=digest,
        )

    def refuse_other_kinds(self, value: Value) -> None:
        if not isinstance(value, dict):
            self.fail("a rule must be a map", code=BROKEN)
        for key, kind in (("correlation", "correlation rules"), ("filter", "filters")):
            if key in value and "detection" not in value:
                self.fail(f"Sigma {kind} are not supported", key, code="P105")
        if value.get("action") is not None:
            self.fail(f"action {value['action']!r} is not supported", "action", code="P105")

    def subjects(self, logsource: Value) -> frozenset[Subject] | None:
        if not isinstance(logsource, dict):
            self.error("a rule needs a logsource", "logsource")
            return None
        category, product = logsource.get("category"), logsource.get("product", "windows")
        if not isinstance(category, str) or category not in CATEGORIES:
            named = f"category {category}" if category else f"a log source without category ({logsource})"
            self.error(f"{named} is not a registry category", "logsource", "category", code="P103")
            return None
        if str(product).lower() != "windows":
            self.error(f"product {product} is not windows", "logsource", "product", code="P103")
        return CATEGORIES[category]

    # Detection

    def condition(self, detection: Value) -> Expr | None:
        if not isinstance(detection, dict):
            self.error("a rule needs a detection section", "detection")
            return None
        selections = {
            str(name): self.guarded(definition, "detection", name)
            for name, definition in detection.items()
            if name not in {"condition", "timeframe"}
        }
        texts = detection.get("condition")
        if not texts:
            self.error("a detection needs a condition", "detection")
            return None
        parsed = [self.parsed_condition(text, selections) for text in (texts if isinstance(texts, list) else [texts])]
        return any_of(expr for expr in parsed if expr is not None)

    def parsed_condition(self, text: Value, selections: Mapping[str, Expr | None]) -> Expr | None:
        here = ("detection", "condition")
        if not isinstance(text, str):
            self.error("a condition must be text", *here)
            return None
        if "|" in text:
            self.error("aggregations in conditions are not supported", *here, code="P105")
            return None
        if len(text) > MAX_CONDITION or _depth(text) > MAX_PARENTHESES:
            self.error("the condition is too long or too deeply nested", *here)
            return None
        try:
            # Not postprocessed: pySigma would link selections by mutation; ours are values already.
            tree = conditions.SigmaCondition(text, None).parse(postprocess=False)  # type: ignore[arg-type]
            return self.linked(tree, selections)
        except (SigmaError, RecursionError) as error:
            self.error(f"condition {text[:60]!r}: {error}", *here)
        except RuleError as error:
            self.errors.append(error)
        return None

    def linked(self, item: Value, selections: Mapping[str, Expr | None]) -> Expr:
        """The condition with its selections in place (K4)."""
        match item:
            case conditions.ConditionIdentifier(identifier=name):
                return self.selected([name] if name in selections else [], name, selections)[0]
            case conditions.ConditionSelector(pattern=names, cond_class=kind):
                wanted = "*" if names == "them" else names
                found = [n for n in selections if fnmatchcase(n, wanted) and (names[0] == "_" or n[0] != "_")]
                link = all_of if kind is conditions.ConditionAND else any_of
                return link(self.selected(found, names, selections))
            case conditions.ConditionNOT(args=[operand]):
                return Not(self.linked(operand, selections))
            case conditions.ConditionAND(args=operands):
                return all_of([self.linked(operand, selections) for operand in operands])
            case conditions.ConditionOR(args=operands):
                return any_of([self.linked(operand, selections) for operand in operands])
            case _:
                pass
        return self.fail("the condition is not understood", "detection", "condition")

    def selected(self, found: list[str], name: str, selections: Mapping[str, Expr | None]) -> list[Expr]:
        if not found:
            self.fail(f"no selection is named {name!r}", "detection", "condition", hint="check the spelling")
        # A selection with an error of its own is reported there; the rule is not loaded anyway.
        return [expr for n in found if (expr := selections[n]) is not None] or [any_of([])]

    def guarded(self, definition: Value, *path: str | int) -> Expr | None:
        """The selection, or None after its error is noted."""
        try:
            return self.selection(definition, path)
        except RuleError as error:
            self.errors.append(error)
            return None

    def selection(self, definition: Value, path: tuple[str | int, ...]) -> Expr:
        if isinstance(definition, dict):
            if not definition:
                self.fail("the selection is empty", *path)
            return all_of([self.item(str(key), value, (*path, key)) for key, value in definition.items()])
        if isinstance(definition, list):
            if not definition:
                self.fail("the selection is empty", *path)
            if not any(isinstance(entry, dict | list) for entry in definition):
                return self.item(None, definition, path)
            return any_of([self.selection(entry, (*path, at)) for at, entry in enumerate(definition)])
        return self.item(None, definition, path)

    def item(self, key: str | None, value: Value, path: tuple[str | int, ...]) -> Expr:
        """One ``field|modifier: value`` line, or keywords."""
        values = value if isinstance(value, list) else [value]
        if any(not isinstance(entry, str | int | float | bool | None) for entry in values):
            self.fail(f"{key or 'a keyword'}: values must be text, numbers or null", *path)
        modifiers = (key or "").split("|")[1:]
        if {"re", "i", "m", "s"} & set(modifiers):
            values = [str(entry) for entry in values]
        with self.mapped_errors(key, path):
            item = SigmaDetectionItem.from_mapping(key, values)
        field = item.field
        terms = [self.value(field, entry, modifiers, path) for entry in item.value] or [
            self.value(field, types.SigmaNull(), modifiers, path)
        ]
        linked = all_of(terms) if item.value_linking is conditions.ConditionAND else any_of(terms)
        return Not(linked) if item.negated else linked

    def value(self, name: str | None, value: Value, modifiers: list[str], path: tuple[str | int, ...]) -> Expr:
        if isinstance(value, types.SigmaExpansion):
            return any_of([self.value(name, entry, modifiers, path) for entry in value.values])
        if name is None:
            return self.keyword(value, path)
        field = SIGMA_FIELDS.get(name, Field.UNOBSERVABLE)
        if isinstance(value, types.SigmaExists):
            absent = Match(field, IsNull(), name)
            return Not(absent) if value.exists else absent
        return Match(field, self.test(field, name, value, modifiers, path), name)

    def keyword(self, value: Value, path: tuple[str | int, ...]) -> Expr:
        """A keyword stands anywhere in the event: in the name, in the data, or in a field that state cannot show."""
        if not isinstance(value, types.SigmaString | types.SigmaNumber):
            self.fail("keywords must be text", *path)
        text = value if isinstance(value, types.SigmaString) else types.SigmaString(str(value))
        test = pattern((Wildcard.ANY, *self.parts(text, "keyword", path), Wildcard.ANY), cased=_cased(text))
        observable = [Match(field, test, name) for field, name in _ANYWHERE]
        return any_of([*observable, Match(Field.UNOBSERVABLE, test, "another field of the event")])

    def test(self, field: Field, name: str, value: Value, modifiers: list[str], path: tuple[str | int, ...]) -> Test:
        """One value as test of its field."""
        test: Test | None = None
        match value:
            case types.SigmaString():
                text = pattern(self.parts(value, name, path), cased=_cased(value))
                test = short_root(text, Dialect.SIGMA) if field in _LITERAL_FIELDS else text
            case types.SigmaNull():
                test = IsNull()
            case types.SigmaNumber() if not isinstance(value, types.SigmaTimestampPart):
                test = _number(field, value.number)
            case types.SigmaBool():
                test = TextPattern((str(value.boolean).lower(),))
            case types.SigmaRegularExpression():
                test = self.regex(value, path)
            case types.SigmaCompareExpression() if field in _NUMERIC_FIELDS and isinstance(value.number.number, int):
                test = NumberCompare(_OPERATORS[value.op], value.number.number)
            case _ if field is Field.UNOBSERVABLE:
                test = Circumstance(f"{name}|{'|'.join(modifiers)} {_words(value)}".strip())
            case _:
                pass
        if test is None:
            self.fail(f"modifier {'|'.join(modifiers)} on {name} is not supported", *path, code="P107")
        return test

    def parts(self, text: types.SigmaString, name: str, path: tuple[str | int, ...]) -> Iterator[str | Wildcard]:
        for part in text.s:
            if isinstance(part, str):
                yield part
            elif isinstance(part, types.SpecialChars):
                yield Wildcard.ANY if part is types.SpecialChars.WILDCARD_MULTI else Wildcard.ONE
            else:
                self.fail(f"modifier expand on {name} is not supported", *path, code="P107")

    def regex(self, value: types.SigmaRegularExpression, path: tuple[str | int, ...]) -> RegexPattern:
        flags = types.SigmaRegularExpressionFlag
        regex = RegexPattern(
            value.regexp.to_plain(regex=True),
            ignore_case=flags.IGNORECASE in value.flags,
            multiline=flags.MULTILINE in value.flags,
            dot_all=flags.DOTALL in value.flags,
        )
        try:
            compile_regex(regex, ignore_case=True)
        except RuleError as error:
            raise RuleError(error.what, where=self.place(*path), hint=error.hint, code=error.code) from error
        return regex

    # Errors

    @contextmanager
    def mapped_errors(self, key: str | None, path: tuple[str | int, ...]) -> Iterator[None]:
        """Everything that pySigma raises on a detection item, as RuleError."""
        try:
            yield
        except SigmaModifierError as error:
            self.fail(f"{key}: {error}", *path, code="P107")
        except SigmaRegularExpressionError as error:
            self.fail(f"{key}: {error}", *path, code="P107")
        except (SigmaError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
            self.fail(f"{key or 'keywords'}: {error}", *path, code="P107" if "|" in (key or "") else BROKEN)

    def place(self, *path: str | int) -> Place:
        """Where a part of the document stands."""
        return Place(self.name, self.document.line_of(*path))

    def error(self, what: str, *path: str | int, code: str = BROKEN) -> None:
        """Note an error and go on, so that one load reports them all (R2)."""
        self.errors.append(RuleError(what, where=self.place(*path), code=code))

    def fail(self, what: str, *path: str | int, code: str = BROKEN, hint: str = "") -> NoReturn:
        raise RuleError(what, where=self.place(*path), code=code, hint=hint)


def _number(field: Field, number: float) -> Test:
    if isinstance(number, int) and field in {Field.DATA, Field.UNOBSERVABLE}:
        return NumberEquals(number)
    return TextPattern((str(number),))


def _cased(text: types.SigmaString) -> bool:
    return isinstance(text, types.SigmaCasedString)


def _words(value: Value) -> str:
    match value:
        case types.SigmaCIDRExpression(cidr=text):
            return str(text)
        case types.SigmaFieldReference(field=field):
            return str(field)
        case types.SigmaTimestampPart(number=number):
            return str(number)
        case _:
            return ""


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char == "(") - (char == ")")
        deepest = max(deepest, depth)
    return deepest


def _asks_for_removal(condition: Expr) -> bool:
    """Does a rule name a Delete event type (E1)?"""
    return any(
        leaf.positive
        and leaf.match.name == "EventType"
        and any(event_truth(leaf.match, subject) for subject in _REMOVED)
        for leaf in literals(condition)
        if leaf.match.field is Field.EVENT_KIND
    )
