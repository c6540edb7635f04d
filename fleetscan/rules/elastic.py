"""Elastic detection rules: TOML around EQL, as AST (rule-semantics T5, T7, section 8, Q1 to Q5)."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from fleetscan.errors import Place, RuleError
from fleetscan.model.finding import Severity
from fleetscan.model.logic import evidence_of, literals
from fleetscan.model.rule import Dialect, Field, Message, MessageLevel, Rule, Subject
from fleetscan.rules.eql import parse
from fleetscan.rules.fields import event_truth
from fleetscan.rules.metadata import Metadata
from fleetscan.rules.source import BROKEN
from fleetscan.rules.translate import Translation, translate

if TYPE_CHECKING:
    from fleetscan.model.rule import Expr

_REMOVED = frozenset({Subject.REMOVED_VALUE, Subject.REMOVED_KEY})
_LEVELS = {str(level): level for level in Severity}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TOML_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")


def read_elastic(text: str, name: str, digest: str) -> Rule:
    """The rule of a TOML file; RuleErrors in an ExceptionGroup where it cannot be loaded."""
    return _Reader(text, name).rule(digest)


class _Reader:
    """Reads one TOML rule."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name

    def rule(self, digest: str) -> Rule:
        content = self.toml()
        head = content.get("rule")
        if not isinstance(head, dict):
            raise self.error("no [rule] table: not an Elastic rule")
        metadata = Metadata(head, self.place)
        title, query = metadata.text("name"), self.query(head)
        if not title:
            raise self.error("a rule needs a name", "name")
        translation = translate(parse(query, self.query_place()), self.query_place())
        condition = translation.condition
        techniques = tuple(_techniques(head.get("threat")))
        return Rule(
            id=metadata.text("rule_id") or f"elastic-{digest[:16]}",
            title=title,
            dialect=Dialect.EQL,
            where=self.place("name"),
            condition=condition,
            subjects=_subjects(condition),
            level=_LEVELS.get(metadata.text("severity").lower(), Severity.MEDIUM),
            evidence=evidence_of(condition),
            kind=translation.kind,
            description=metadata.text("description"),
            author=", ".join(metadata.texts("author")),
            status=self.status(content),
            license=metadata.text("license"),
            risk_score=metadata.whole_number("risk_score"),
            interval=_seconds(metadata.text("interval")),
            tags=metadata.texts("tags"),
            techniques=techniques,
            references=metadata.texts("references"),
            false_positives=metadata.texts("false_positives"),
            note=metadata.text("note"),
            messages=(*metadata.notes(), *self.messages(translation)),
            digest=digest,
        )

    def toml(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            place = _TOML_PLACE.search(str(error))
            where = Place(self.name, int(place[1]), int(place[2])) if place else Place(self.name)
            what = _TOML_PLACE.sub("", str(error)).strip()
            raise RuleError(f"not TOML: {what}", where=where, code=BROKEN) from error
        except (RecursionError, ValueError) as error:
            raise self.error("not TOML: nested too deeply or a number too large") from error

    def query(self, head: dict[str, Any]) -> str:
        language, kind = head.get("language", "none"), head.get("type", "none")
        if language != "eql" or kind != "eql":
            what = f"language {language} ({kind}) is not supported"
            raise RuleError(what, where=self.place("language"), hint="fleetscan reads EQL rules", code="P105")
        query = head.get("query")
        if not isinstance(query, str):
            raise self.error("a rule needs a query", "query")
        return query

    def status(self, content: dict[str, Any]) -> str:
        metadata = content.get("metadata")
        return str(metadata.get("maturity", "")) if isinstance(metadata, dict) else ""

    def messages(self, translation: Translation) -> list[Message]:
        where = self.query_place()
        messages = []
        if translation.kind == "sequence":
            text = "sequence: only its registry steps can be looked for; findings are at most possible"
            messages.append(Message("P104", MessageLevel.LIMIT, text, where))
        if translation.other_branches:
            other, total = translation.other_branches
            text = f"{other} of {total} branches are not about the registry"
            messages.append(Message("Q2", MessageLevel.NOTE, text, where))
        return messages

    def query_place(self) -> Place:
        """Where the query's text starts: on its own line in a multi-line string."""
        found = re.search(r"^query\s*=\s*('''|\"\"\")(\r?\n)?", self.text, re.MULTILINE)
        if found is None:
            return self.place("query")
        return Place(self.name, self.text.count("\n", 0, found.end()) + 1)

    def place(self, key: str = "") -> Place:
        """The line of a key, or the file."""
        found = re.search(rf"^{re.escape(key)}\s*=", self.text, re.MULTILINE) if key else None
        return Place(self.name, self.text.count("\n", 0, found.start()) + 1 if found else None)

    def error(self, what: str, key: str = "") -> RuleError:
        return RuleError(what, where=self.place(key), code=BROKEN)


def _seconds(interval: str) -> int | None:
    found = re.fullmatch(r"(\d{1,6})([smhdw])", interval)
    return int(found[1]) * _UNITS[found[2]] if found else None


def _techniques(threat: object) -> list[str]:
    """The most exact ATT&CK ids of the threat section, each once, in its order."""
    ids: dict[str, None] = {}
    for entry in threat if isinstance(threat, list) else ():
        techniques = entry.get("technique", ()) if isinstance(entry, dict) else ()
        for technique in techniques if isinstance(techniques, list) else ():
            ids.update(dict.fromkeys(_technique_ids(technique)))
    return list(ids)


def _technique_ids(technique: object) -> list[str]:
    if not isinstance(technique, dict):
        return []
    below = technique.get("subtechnique")
    inner = (
        [str(sub["id"]) for sub in below if isinstance(sub, dict) and sub.get("id")] if isinstance(below, list) else []
    )
    return inner or ([str(technique["id"])] if technique.get("id") else [])


def _subjects(condition: Expr) -> frozenset[Subject]:
    """Values and keys; removed ones if the rule asks for a deletion (E1)."""
    asks = any(
        leaf.positive
        and leaf.match.name in {"event.type", "event.action"}
        and any(event_truth(leaf.match, subject) == 2 for subject in _REMOVED)  # noqa: PLR2004 - Truth.TRUE
        for leaf in literals(condition)
        if leaf.match.field is Field.EVENT_KIND
    )
    kept = frozenset({Subject.VALUE, Subject.KEY})
    return kept | _REMOVED if asks else kept
