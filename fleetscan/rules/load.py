"""Rule files and folders to rules: every problem of every file in one report (rule-semantics R2)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.errors import Place, RuleError, SettingsError
from fleetscan.model.rule import Message, MessageLevel
from fleetscan.rules.remarks import with_remarks
from fleetscan.rules.source import BROKEN, read_documents, read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from fleetscan.model.rule import Rule

SIGMA_SUFFIXES = frozenset({".yml", ".yaml"})
ELASTIC_SUFFIXES = frozenset({".toml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a load gave: the rules, in the order of the files, and why others were refused.

    ``problems`` say why something was not loaded (level error) or skipped (level note); what is said about loaded
    rules is in their ``messages``. ``refused`` counts rules, of which one may have several problems.
    """

    rules: tuple[Rule, ...]
    problems: tuple[Message, ...]
    refused: int
    files: int

    @property
    def messages(self) -> tuple[Message, ...]:
        """Everything there is to say, by place."""
        every = (*self.problems, *(message for rule in self.rules for message in rule.messages))
        return tuple(sorted(every, key=lambda message: (message.where.name, message.where.line or 0, message.code)))


def rule_files(paths: Iterable[Path | str]) -> Iterator[Path]:
    """The rule files named, and those in the folders named, sorted; SettingsError for a path that does not exist."""
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if _is_rule_file(file))
        elif path.exists():
            yield path
        else:
            raise SettingsError("no such rule file or folder", where=str(path), hint="check the path")


def _is_rule_file(path: Path) -> bool:
    return path.suffix.lower() in SIGMA_SUFFIXES | ELASTIC_SUFFIXES and path.is_file()


def load_rules(paths: Iterable[Path | str], *, on_file: Callable[[Path], None] = lambda _path: None) -> LoadReport:
    """Load files and folders; one broken rule never stops the others. ``on_file`` observes progress."""
    load = _Load()
    for file in rule_files(paths):
        on_file(file)
        load.file(file)
    return load.report()


def load_text(text: str, name: str) -> LoadReport:
    """Load rules from text; ``name`` ends as its file would (``.yml``, ``.toml``)."""
    load = _Load()
    load.text(text, name)
    return load.report()


class _Load:
    """One load: collects rules and problems."""

    def __init__(self) -> None:
        self.rules: dict[str, Rule] = {}
        self.problems: list[Message] = []
        self.refused = 0
        self.files = 0

    def report(self) -> LoadReport:
        return LoadReport(
            rules=tuple(self.rules.values()), problems=tuple(self.problems), refused=self.refused, files=self.files
        )

    def file(self, path: Path) -> None:
        try:
            text = read_text(path)
        except RuleError as error:
            self.files += 1
            self.refuse([error])
            return
        self.text(text, str(path))

    def text(self, text: str, name: str) -> None:
        self.files += 1
        if Path(name).suffix.lower() in ELASTIC_SUFFIXES:
            self.elastic(text, name)
        else:
            self.sigma(text, name)

    def elastic(self, text: str, name: str) -> None:
        from fleetscan.rules.elastic import read_elastic  # noqa: PLC0415 - lark is loaded only for EQL

        self.guarded(lambda: read_elastic(text, name, _digest(text)))

    def sigma(self, text: str, name: str) -> None:
        from fleetscan.rules.sigma import is_sigma, read_sigma  # noqa: PLC0415 - pySigma is loaded only for Sigma

        try:
            documents = list(read_documents(text, name))
        except RuleError as error:
            self.refuse([error])
            return
        digest = _digest(text)
        for number, document in enumerate(documents):
            if document.value is None:
                continue  # an empty document between two ---
            if not is_sigma(document.value):
                place = Place(name, document.line)
                self.problems.append(Message(BROKEN, MessageLevel.NOTE, "no Sigma rule; skipped", place))
                continue
            own = digest if len(documents) == 1 else _digest(f"{digest} {number}")
            self.guarded(lambda document=document, own=own: read_sigma(document, name, own))  # type: ignore[misc]

    def guarded(self, read: Callable[[], Rule]) -> None:
        """Read one rule; its errors become problems."""
        try:
            rule = with_remarks(read())
        except* RuleError as group:
            self.refuse([error for error in _flat(group) if isinstance(error, RuleError)])
        else:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        first = self.rules.get(rule.id)
        if first is None:
            self.rules[rule.id] = rule
        elif first.digest != rule.digest:
            error = RuleError(f"id {rule.id} is already used by {first.where}", where=rule.where, code=BROKEN)
            self.refuse([error])

    def refuse(self, errors: Sequence[RuleError]) -> None:
        self.refused += 1
        for error in errors:
            hint = f" (try: {error.hint})" if error.hint else ""
            where = error.where or Place("rule")
            self.problems.append(Message(error.code or BROKEN, MessageLevel.ERROR, f"{error.what}{hint}", where))


def _flat(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _flat(error)
        else:
            yield error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def select(report: LoadReport, names: Sequence[str]) -> tuple[Rule, ...]:
    """The rules of these ids or titles (all, if none is named); RuleError for a name that no rule has."""
    if not names:
        return report.rules
    found = []
    for name in names:
        wanted = name.lower()
        rules = [rule for rule in report.rules if wanted in {rule.id.lower(), rule.title.lower()}]
        if not rules:
            raise RuleError(f"no rule has the id or title {name!r}", hint="fleetscan rules list")
        found.extend(rules)
    return tuple(dict.fromkeys(found))
