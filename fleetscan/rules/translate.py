"""EQL syntax tree to AST: what operators and functions mean on a registry subject (rule-semantics T7, section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from lark import Token, Tree

from fleetscan.errors import Place, RuleError
from fleetscan.model.logic import all_of, any_of, fold_constants, nnf
from fleetscan.model.rule import (
    ALWAYS,
    NEVER,
    Circumstance,
    Dialect,
    Expr,
    Field,
    IsNull,
    LengthCompare,
    Match,
    Not,
    NumberCompare,
    NumberEquals,
    RegexPattern,
    Test,
    TextPattern,
    Wildcard,
)
from fleetscan.rules.eql import text_of
from fleetscan.rules.fields import EQL_CONSTANTS, EQL_FIELDS, matches_word
from fleetscan.rules.patterns import compile_regex, pattern, short_root, wildcards

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lark import ParseTree

Node = Any
"""A node of lark's tree; its kind is in ``data``."""
Literal = Any
"""Value of a literal: text, number, true, false, null."""
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}
_ROOTED = frozenset({Field.PATH, Field.NEW_NAME})
_VALUE_FUNCTIONS = frozenset(
    [
        "add",
        "arrayContains",
        "arrayCount",
        "arraySearch",
        "between",
        "cidrMatch",
        "concat",
        "divide",
        "indexOf",
        "length",
        "modulo",
        "multiply",
        "number",
        "string",
        "substring",
        "subtract",
    ]
)
"""Functions of EQL that fleetscan knows by name; of unobservable fields they are one more unknown."""


@dataclass(frozen=True, slots=True)
class Translation:
    """What a query asks. ``other_branches``: how many branches of how many are not about the registry (Q2)."""

    kind: str
    condition: Expr
    other_branches: tuple[int, int] | None = None


def translate(tree: ParseTree, where: Place) -> Translation:
    """The meaning of a query; RuleError where it is not about the registry or not supported."""
    return _Translator(where).query(tree)


@dataclass(frozen=True, slots=True)
class _Operand:
    """A side of a comparison: a field, a literal, or a function of fields (``text``: how the rule writes it)."""

    text: str
    field: str = ""
    literal: Literal = None
    is_literal: bool = False
    length_of: str = ""
    concat: tuple[_Operand, ...] = ()

    def fields(self) -> tuple[str, ...]:
        """All fields in it."""
        own = (self.field,) if self.field else (self.length_of,) if self.length_of else ()
        return own + tuple(name for part in self.concat for name in part.fields())


class _Translator:
    """Translates one query; remembers branches about other things than the registry."""

    def __init__(self, where: Place) -> None:
        self.where = where
        self.other_branches: tuple[int, int] | None = None

    def query(self, tree: ParseTree) -> Translation:
        statement, *pipes = _trees(tree)
        if pipes:
            self.fail("pipes are not supported", pipes[0], "P105")
        if statement.data == "join":
            self.fail("samples and joins are not supported", statement, "P105")
        if statement.data == "sequence":
            return Translation("sequence", self.sequence(statement))
        category, condition = self.event(statement)
        if category not in {"registry", "any"}:
            self.fail(f"category {category} is not a registry category", statement, "P103")
        if fold_constants(nnf(condition)) == NEVER and category == "any":
            self.fail("no branch is about the registry", statement, "P103")
        return Translation("any" if category == "any" else "single", condition, self.other_branches)

    def sequence(self, tree: ParseTree) -> Expr:
        """Its registry steps, each at most possible (Q3)."""
        spans = [node for node in _trees(tree) if node.data == "span"]
        span = f", within {''.join(_tokens(spans[0])[1:])}" if spans else ""
        others = Match(Field.UNOBSERVABLE, Circumstance(f"the other steps of the sequence{span}"), "sequence")
        steps = []
        for step in (node for node in _trees(tree) if node.data == "step"):
            category, condition = self.event(next(node for node in _trees(step) if node.data == "event"))
            if category in {"registry", "any"} and not any(token.type == "MISSING" for token in _tokens(step)):
                steps.append(all_of((condition, others)))
        if not steps:
            self.fail("no step of the sequence is about the registry", tree, "P103")
        return any_of(steps)

    def event(self, tree: ParseTree) -> tuple[str, Expr]:
        name, condition = tree.children
        category = text_of(name) if isinstance(name, Token) and name.type == "STRING" else str(name)
        if category not in {"registry", "any"}:
            return category, NEVER  # its condition speaks of other events; nothing to translate
        return category, self.condition(condition)

    # Conditions

    def condition(self, node: Node) -> Expr:
        handler: Callable[[ParseTree], Expr] | None = getattr(self, f"on_{node.data}", None)
        return handler(node) if handler else self.bare(node)

    def on_or_expr(self, tree: ParseTree) -> Expr:
        branches = [self.condition(child) for child in _trees(tree)]
        other = sum(
            fold_constants(nnf(branch)) == NEVER and _mentions_category(child)
            for branch, child in zip(branches, _trees(tree), strict=True)
        )
        if other:
            self.other_branches = (other, len(branches))
        return any_of(branches)

    def on_and_expr(self, tree: ParseTree) -> Expr:
        return all_of([self.condition(child) for child in _trees(tree)])

    def on_negation(self, tree: ParseTree) -> Expr:
        return Not(self.condition(_trees(tree)[0]))

    def on_true(self, _tree: ParseTree) -> Expr:
        return ALWAYS

    def on_false(self, _tree: ParseTree) -> Expr:
        return NEVER

    def on_subquery(self, tree: ParseTree) -> Expr:
        return self.fail("subqueries (child of, descendant of) are not supported", tree, "P105")

    def on_colon(self, tree: ParseTree) -> Expr:
        return self.any_pattern(tree, lambda value: self.glob(value, cased=False))

    def on_text_operator(self, tree: ParseTree) -> Expr:
        operator = str(tree.children[1])
        cased = not operator.endswith("~")
        if operator.startswith("like"):
            return self.any_pattern(tree, lambda value: self.glob(value, cased=cased))
        return self.any_pattern(tree, lambda value: self.regex(value, tree, cased=cased))

    def on_member(self, tree: ParseTree) -> Expr:
        cased = not str(tree.children[1]).endswith("~")
        return self.any_pattern(tree, lambda value: self.equal(value, cased=cased))

    def on_not_member(self, tree: ParseTree) -> Expr:
        return Not(self.on_member(tree))

    def any_pattern(self, tree: ParseTree, test: Callable[[Any], Test]) -> Expr:
        """``field operator literal`` or ``field operator (literal, ...)``: a list is OR."""
        left, right = self.operand(tree.children[0]), tree.children[-1]
        nodes = _trees(right) if isinstance(right, Tree) and right.data == "list" else [right]
        operands = [self.operand(node) for node in nodes]
        if not all(operand.is_literal for operand in operands):
            return self.unknown((left, *operands), tree)
        return any_of([self.match(left, test(operand.literal), tree) for operand in operands])

    def on_comparison(self, tree: ParseTree) -> Expr:
        left_node, operator, right_node = tree.children
        left, right, sign = self.operand(left_node), self.operand(right_node), str(operator)
        if left.is_literal and not right.is_literal:
            left, right, sign = right, left, _FLIPPED[sign]
        if left.is_literal or not right.is_literal:
            return self.unknown((left, right), tree)
        if isinstance(right.literal, int) and (left.length_of or sign not in {"==", "!="}):
            return self.numeric(left, sign, right.literal, tree)
        if sign in {"==", "!="}:
            equal = self.match(left, self.equal(right.literal, cased=True), tree)
            return equal if sign == "==" else Not(equal)
        return self.unknown((left, right), tree)

    def numeric(self, left: _Operand, sign: str, number: int, tree: ParseTree) -> Expr:
        """``length(field) > n`` and ``field > n``; comparisons with null are FALSE (D9)."""
        name = left.length_of or left.field
        field = EQL_FIELDS.get(name, Field.UNOBSERVABLE)
        if not name or field is Field.UNOBSERVABLE:
            if left.length_of:
                return self.unknown((left,), tree)
            return self.match(left, NumberCompare(sign, number), tree)
        if not left.length_of:
            if field is Field.DATA:
                return Match(field, NumberCompare(sign, number), name)
            self.fail(f"{name} {sign} {number} is not meaningful", tree)
        if field is Field.DATA:
            return Match(Field.DATA_LENGTH, NumberCompare(sign, number), name)
        if field in {Field.PATH, Field.KEY, Field.VALUE_NAME}:
            return Match(field, LengthCompare(sign, number), name)
        return self.fail(f"length({name}) is not supported", tree)

    def on_function(self, tree: ParseTree) -> Expr:
        """Functions that are conditions by themselves."""
        name, cased, arguments = self.call(tree)
        makers: dict[str, Callable[[Any], Test]] = {
            "startsWith": lambda value: self.affix(value, tree, cased=cased, after=True),
            "endsWith": lambda value: self.affix(value, tree, cased=cased, before=True),
            "stringContains": lambda value: self.affix(value, tree, cased=cased, before=True, after=True),
            "wildcard": lambda value: self.glob(value, cased=cased),
            "match": lambda value: self.regex(value, tree, cased=cased),
        }
        if name not in makers:
            return self.unknown((self.operand(tree),), tree)
        if len(arguments) < 2:  # noqa: PLR2004 - a text and at least one pattern
            self.fail(f"{name}() needs a field and a text", tree)
        subject, *patterns = arguments
        if not all(operand.is_literal for operand in patterns):
            return self.unknown(tuple(arguments), tree)
        return any_of([self.match(subject, makers[name](operand.literal), tree) for operand in patterns])

    def bare(self, tree: ParseTree) -> Expr:
        """A field by itself is a test for true."""
        operand = self.operand(tree)
        if operand.field and EQL_FIELDS.get(operand.field) is None and operand.field not in EQL_CONSTANTS:
            return self.match(operand, TextPattern(("true",)), tree)
        return self.unknown((operand,), tree)

    # Operands

    def operand(self, node: Node) -> _Operand:
        text = _source(node)
        if node.data in _WORDS:
            return _Operand(text, literal=_WORDS[node.data], is_literal=True)
        match node.data, node.children:
            case ("raw_string" | "string", [Token() as token]):
                operand = _Operand(text, literal=text_of(token), is_literal=True)
            case ("number", [Token() as token]):
                operand = _Operand(text, literal=self.number(token, node), is_literal=True)
            case ("minus", [Tree(data="number", children=[Token() as token])]):
                operand = _Operand(text, literal=-self.number(token, node), is_literal=True)
            case ("field", [Token() as token]):
                operand = _Operand(text, field=str(token).strip("`"))
            case ("function", _):
                operand = self.function(node, text)
            case _:
                operand = _Operand(text, concat=tuple(self.operand(child) for child in _trees(node)))
        return operand

    def number(self, token: Token, node: ParseTree) -> int | float:
        if len(token) > 40:  # noqa: PLR2004 - longer than any number a registry event holds
            self.fail("the number is too long", node)
        return int(token) if token.isdigit() else float(token)

    def function(self, tree: ParseTree, text: str) -> _Operand:
        """A function that gives a value."""
        name, _, arguments = self.call(tree)
        if name == "length" and len(arguments) == 1 and arguments[0].field:
            return _Operand(text, length_of=arguments[0].field)
        if name == "string" and len(arguments) == 1:
            return arguments[0]
        if name not in _VALUE_FUNCTIONS | {"startsWith", "endsWith", "stringContains", "wildcard", "match"}:
            self.fail(f"function {name} is not known", tree)
        return _Operand(text, concat=tuple(arguments))

    def call(self, tree: ParseTree) -> tuple[str, bool, list[_Operand]]:
        tokens = _tokens(tree)
        return str(tokens[0]), len(tokens) == 1, [self.operand(child) for child in _trees(tree)]

    # Tests

    def equal(self, value: Literal, *, cased: bool) -> Test:
        match value:
            case None:
                return IsNull()
            case bool():
                return TextPattern((str(value).lower(),))
            case int():
                return NumberEquals(value)
            case float():
                return TextPattern((str(value),))
            case _:
                return TextPattern((value,) if value else (), cased)

    def glob(self, value: Literal, *, cased: bool) -> Test:
        return wildcards(value, cased=cased) if isinstance(value, str) else self.equal(value, cased=cased)

    def affix(
        self,
        value: Literal,
        tree: ParseTree,
        *,
        cased: bool,
        before: bool = False,
        after: bool = False,
    ) -> Test:
        if not isinstance(value, str):
            self.fail("a text is needed here", tree)
        return pattern(([Wildcard.ANY] * before) + [value] + ([Wildcard.ANY] * after), cased=cased)

    def regex(self, value: Literal, tree: ParseTree, *, cased: bool) -> Test:
        if not isinstance(value, str):
            self.fail("a regular expression is needed here", tree)
        regex = RegexPattern(value, ignore_case=not cased, dot_all=True, whole=True)
        try:
            compile_regex(regex, ignore_case=True)
        except RuleError as error:
            raise RuleError(error.what, where=self.place(tree), hint=error.hint, code=error.code) from error
        return regex

    def match(self, left: _Operand, test: Test, tree: ParseTree) -> Expr:
        """The Match of a field, a constant where the field has one value on every subject."""
        if not left.field:
            return self.unknown((left,), tree)
        if left.field in EQL_CONSTANTS:
            return ALWAYS if _holds(test, EQL_CONSTANTS[left.field]) else NEVER
        field = EQL_FIELDS.get(left.field, Field.UNOBSERVABLE)
        if isinstance(test, NumberEquals) and field not in {Field.DATA, Field.UNOBSERVABLE}:
            test = TextPattern((str(test.value),))
        if field in _ROOTED and isinstance(test, TextPattern):
            test = short_root(test, Dialect.EQL)
        return Match(field, test, left.field)

    def unknown(self, operands: Sequence[_Operand], tree: ParseTree) -> Expr:
        """A condition on computed values: one more unknown, unless it can be computed from registry fields alone."""
        names = [name for operand in operands for name in operand.fields()]
        observable = [name for name in names if name in EQL_FIELDS or name in EQL_CONSTANTS]
        if not names or len(observable) == len(names):
            self.fail(f"{_source(tree)} is not supported", tree)
        return Match(Field.UNOBSERVABLE, Circumstance(_source(tree)), ", ".join(dict.fromkeys(names)))

    # Errors

    def place(self, tree: ParseTree) -> Place:
        if tree.meta.empty:
            return self.where
        line = tree.meta.line
        return Place(self.where.name, (self.where.line or 1) + line - 1, tree.meta.column if line > 1 else None)

    def fail(self, what: str, tree: ParseTree, code: str = "P107") -> NoReturn:
        raise RuleError(what, where=self.place(tree), code=code)


def _trees(tree: ParseTree) -> list[ParseTree]:
    return [child for child in tree.children if isinstance(child, Tree)]


def _tokens(tree: ParseTree) -> list[Token]:
    return [child for child in tree.children if isinstance(child, Token)]


def _mentions_category(tree: ParseTree) -> bool:
    return any(
        node.children and str(node.children[0]) in {"event.category", "event.kind"} for node in tree.find_data("field")
    )


def _holds(test: Test, word: str) -> bool:
    match test:
        case TextPattern():
            return matches_word(test, word)
        case RegexPattern():
            return compile_regex(test, ignore_case=True).search(word) is not None
        case _:
            return False


def _source(node: Node) -> str:
    """The condition roughly as the rule writes it, for messages."""
    if isinstance(node, Token):
        return str(node)
    parts = [_source(child) for child in node.children]
    if node.data == "function":
        tilde = parts[1:2] == ["~"]
        return f"{parts[0]}{'~' * tilde}({', '.join(parts[1 + tilde :])})"
    if node.data in {"and_expr", "or_expr"}:
        return f"({f' {node.data[:-5]} '.join(parts)})"
    form = {"list": f"({', '.join(parts)})", "colon": " : ".join(parts), "negation": "not " + " ".join(parts)}
    words = {word: word for word in ("true", "false", "null")}
    return (form | words | {"minus": "-" + "".join(parts)}).get(node.data, " ".join(parts))
