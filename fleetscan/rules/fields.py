"""What the fields of Sigma and EQL mean on a registry subject (rule-semantics sections 5 and 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fleetscan.model.rule import Field, Match, Subject, TextPattern, Wildcard
from fleetscan.model.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGMA_FIELDS: Mapping[str, Field] = {
    "TargetObject": Field.PATH,
    "Details": Field.DATA,
    "NewName": Field.NEW_NAME,
    "EventType": Field.EVENT_KIND,
    "EventID": Field.EVENT_KIND,
    "ObjectName": Field.KEY,
    "ObjectValueName": Field.VALUE_NAME,
    "NewValue": Field.DATA,
}
"""Every other field of a Sigma rule is unobservable, under its own name."""

EQL_FIELDS: Mapping[str, Field] = {
    "registry.path": Field.PATH,
    "registry.value": Field.VALUE_NAME,
    "registry.key": Field.KEY,
    "registry.hive": Field.HIVE,
    "registry.data.strings": Field.DATA,
    "registry.data.type": Field.DATA_TYPE,
    "event.type": Field.EVENT_KIND,
    "event.action": Field.EVENT_KIND,
}
"""Every other field of an EQL rule is unobservable or one of ``EQL_CONSTANTS``."""

EQL_CONSTANTS: Mapping[str, str] = {
    "event.category": "registry",
    "event.kind": "event",
    "host.os.type": "windows",
    "host.os.family": "windows",
}
"""Fields that have one value on every registry subject of a Windows machine (E6)."""

ALWAYS_PRESENT = frozenset(
    {
        "Image",
        "ProcessId",
        "ProcessGuid",
        "User",
        "process.executable",
        "process.name",
        "process.pid",
        "user.id",
        "user.name",
        "user.domain",
    }
)
"""Fields that every registry event carries: a test for their absence guards against broken events (K1)."""

NAME_FIELDS = frozenset({Field.PATH, Field.KEY, Field.VALUE_NAME, Field.HIVE, Field.NEW_NAME})
"""Fields compared without case by every operator, because the registry ignores case (T1)."""


class _Kinds(NamedTuple):
    """The words of one event field that are TRUE and UNKNOWN of a subject; all others are FALSE."""

    true: tuple[str, ...]
    unknown: tuple[str, ...] = ()


_EVENT_TYPE = {
    Subject.VALUE: _Kinds(("SetValue", "CreateValue"), ("RenameValue",)),
    Subject.KEY: _Kinds(("CreateKey",), ("RenameKey",)),
    Subject.REMOVED_VALUE: _Kinds(("DeleteValue",)),
    Subject.REMOVED_KEY: _Kinds(("DeleteKey",)),
}
_EVENT_ID = {
    Subject.VALUE: _Kinds(("13",), ("14",)),
    Subject.KEY: _Kinds(("12",), ("14",)),
    Subject.REMOVED_VALUE: _Kinds(("12",)),
    Subject.REMOVED_KEY: _Kinds(("12",)),
}
_ECS_TYPE = {
    Subject.VALUE: _Kinds(("change",)),
    Subject.KEY: _Kinds(("creation",)),
    Subject.REMOVED_VALUE: _Kinds(("deletion",)),
    Subject.REMOVED_KEY: _Kinds(("deletion",)),
}
_ECS_ACTION = {
    Subject.VALUE: "modification",
    Subject.KEY: "creation",
    Subject.REMOVED_VALUE: "deletion",
    Subject.REMOVED_KEY: "deletion",
}


def event_truth(match: Match, subject: Subject, *, added: bool | None = False) -> Truth:
    """Truth of a Match on the kind of event (E2, E3, E5).

    ``added``: the value appeared since the baseline; None: it did, or only its data changed, and nobody can say which.
    """
    test = match.test
    if not isinstance(test, TextPattern):
        return Truth.FALSE  # an event always has a kind
    if match.name == "event.action":
        return _action_truth(test, _ECS_ACTION[subject])
    table = {"EventID": _EVENT_ID, "event.type": _ECS_TYPE}.get(match.name, _EVENT_TYPE)
    kinds = table[subject]
    true, unknown = kinds.true, kinds.unknown
    if match.name == "event.type" and subject is Subject.VALUE and added is not False:
        true, unknown = ((*true, "creation"), unknown) if added else (true, (*unknown, "creation"))
    if any(matches_word(test, word) for word in true):
        return Truth.TRUE
    return Truth.UNKNOWN if any(matches_word(test, word) for word in unknown) else Truth.FALSE


def _action_truth(test: TextPattern, own: str) -> Truth:
    """Words other than the three of state (``log_on`` of some product) may stand for anything: UNKNOWN."""
    if matches_word(test, own):
        return Truth.TRUE
    known = any(matches_word(test, word) for word in set(_ECS_ACTION.values()))
    return Truth.FALSE if known else Truth.UNKNOWN


def matches_word(pattern: TextPattern, word: str) -> bool:
    """Does the pattern match a word of the event vocabulary? Compared without case (E2)."""
    parts, text = pattern.parts, word.lower()
    if pattern.is_literal:
        return "".join(map(str, parts)).lower() == text
    return _glob([part if isinstance(part, Wildcard) else part.lower() for part in parts], text)


def _glob(parts: list[str | Wildcard], text: str) -> bool:
    if not parts:
        return not text
    head, rest = parts[0], parts[1:]
    if head is Wildcard.ANY:
        return any(_glob(rest, text[start:]) for start in range(len(text) + 1))
    if head is Wildcard.ONE:
        return bool(text) and _glob(rest, text[1:])
    return text.startswith(head) and _glob(rest, text[len(head) :])
