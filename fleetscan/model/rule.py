"""Detection rules as one AST, whatever language they were written in.

Two readers only: the planner asks what must be fetched, the evaluator asks what it means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetscan.errors import Place
    from fleetscan.model.finding import Severity


class Dialect(StrEnum):
    """The language a rule was written in; names and data have other spellings in each (rule-semantics N2, D1, D2)."""

    SIGMA = "sigma"
    EQL = "eql"


class Subject(StrEnum):
    """What a rule is judged on (rule-semantics section 1)."""

    VALUE = "value"
    KEY = "key"
    REMOVED_VALUE = "removed value"
    REMOVED_KEY = "removed key"


class Field(StrEnum):
    """The closed set of fields an AST may test (rule-semantics section 1)."""

    PATH = "path"
    VALUE_NAME = "value_name"
    KEY = "key"
    HIVE = "hive"
    DATA = "data"
    DATA_TYPE = "data_type"
    DATA_LENGTH = "data_length"
    EVENT_KIND = "event_kind"
    NEW_NAME = "new_name"
    UNOBSERVABLE = "unobservable"


class Wildcard(Enum):
    """Wildcards of a text pattern. No StrEnum: a literal asterisk must not equal the wildcard."""

    ANY = "*"  # any sequence, also empty, also across backslashes
    ONE = "?"  # exactly one character

    def __str__(self) -> str:
        """As rules write it."""
        return self.value


@dataclass(frozen=True, slots=True)
class TextPattern:
    """A whole-text comparison: literal runs and wildcards. Without wildcards it is plain equality."""

    parts: tuple[str | Wildcard, ...]
    cased: bool = False

    @property
    def is_literal(self) -> bool:
        """Is it plain equality?"""
        return not any(isinstance(part, Wildcard) for part in self.parts)

    def __str__(self) -> str:
        """The pattern for people: wildcards as ``*`` and ``?``."""
        return "".join(map(str, self.parts))


@dataclass(frozen=True, slots=True)
class RegexPattern:
    """A regular expression; ``whole`` anchors it at both ends (EQL), else it is searched anywhere (Sigma)."""

    source: str
    ignore_case: bool = False
    multiline: bool = False
    dot_all: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class IsNull:
    """The field is absent."""


@dataclass(frozen=True, slots=True)
class NumberEquals:
    """A bare number in a rule (rule-semantics D7)."""

    value: int


@dataclass(frozen=True, slots=True)
class NumberCompare:
    """``operator`` is one of ``< <= == != > >=``; comparisons with null are FALSE."""

    operator: str
    value: int


@dataclass(frozen=True, slots=True)
class LengthCompare:
    """The number of characters of a name; ``operator`` as in NumberCompare (for data see Field.DATA_LENGTH)."""

    operator: str
    value: int


@dataclass(frozen=True, slots=True)
class Circumstance:
    """Something that no single registry subject shows, in words: the other steps of a sequence, a computed field.

    Only on Field.UNOBSERVABLE.
    """

    text: str


Test = TextPattern | RegexPattern | IsNull | NumberEquals | NumberCompare | LengthCompare | Circumstance


@dataclass(frozen=True, slots=True)
class Match:
    """``field`` satisfies ``test``. ``name`` is the field's name in the rule (Image, process.name, TargetObject...)."""

    field: Field
    test: Test
    name: str


@dataclass(frozen=True, slots=True)
class And:
    """All of; of nothing: TRUE."""

    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of; of nothing: FALSE."""

    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    operand: Expr


Expr = And | Or | Not | Match

ALWAYS: Expr = And(())
NEVER: Expr = Or(())


class Evidence(StrEnum):
    """Does a rule test data in every branch, or only presence of a name? (rule-semantics V5)."""

    CONTENT = "content"
    PRESENCE = "presence"


class MessageLevel(StrEnum):
    """Levels of rule-semantics section 9."""

    ERROR = "error"
    LIMIT = "limit"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Message:
    """What the user is told about a rule: a code of rule-semantics section 9, in words, with its place."""

    code: str
    level: MessageLevel
    text: str
    where: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One detection rule: what it means (``condition`` on ``subjects``) and what reports say about it."""

    id: str
    title: str
    dialect: Dialect
    where: Place
    condition: Expr
    subjects: frozenset[Subject]
    level: Severity
    evidence: Evidence
    description: str = ""
    author: str = ""
    status: str = ""
    license: str = ""
    kind: str = "single"
    """``single``, ``any`` (EQL ``any where``) or ``sequence``."""
    related: tuple[str, ...] = ()
    """Ids of rules that this one names as related."""
    risk_score: int | None = None
    interval: int | None = None
    """Seconds between runs that the rule itself asks for."""
    tags: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    """ATT&CK technique ids, ``T1553.003``."""
    references: tuple[str, ...] = ()
    false_positives: tuple[str, ...] = ()
    note: str = ""
    """Triage and response guidance, Markdown."""
    messages: tuple[Message, ...] = field(default=())
    digest: str = ""
    """SHA-256 of the rule's source text, hex: evidence of what was asked."""

    @property
    def needs_baseline(self) -> bool:
        """Can only the difference of two sweeps answer it (deletions, rule-semantics E7)?"""
        return not self.subjects & {Subject.VALUE, Subject.KEY}

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of its messages, each once, sorted."""
        return tuple(sorted({message.code for message in self.messages}))
