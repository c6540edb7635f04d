"""Reading rule files: bounded in size and shape, with the line of everything, so that messages can name it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from fleetscan.errors import Place, RuleError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Value = Any
    """A value of YAML: text, number, list, map...; checked where it is used."""

MAX_BYTES = 1_000_000
"""Larger files are no rules: the largest public one has 60 KB."""
MAX_DEPTH = 40
"""Nesting of lists and maps; libyaml's own recursion crashes the process far beyond."""
MAX_NODES = 50_000
"""Values of one document, each use of an alias counted in full (a "billion laughs" file stays small on disk)."""

BROKEN = "P100"
"""Code of a file that is no rule: unreadable, too large, not YAML or TOML, a section missing or of the wrong type."""

_STR = "tag:yaml.org,2002:str"
_RESOLVER = yaml.resolver.Resolver()


def read_text(path: Path) -> str:
    """The text of a rule file; RuleError if it cannot be read, is too large or no UTF-8."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RuleError(f"cannot be read: {error.strerror}", where=str(path), code=BROKEN) from error
    if len(content) > MAX_BYTES:
        raise RuleError(f"larger than {MAX_BYTES} bytes, not read", where=str(path), hint="split the file", code=BROKEN)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RuleError("not UTF-8", where=Place(str(path), line), hint="save it as UTF-8", code=BROKEN) from error


@dataclass(slots=True)
class Document:
    """One YAML document: its value, its first line, and the line of every key and item by its path in the value."""

    value: Any
    line: int
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)

    def line_of(self, *path: str | int) -> int:
        """The line of a key or item, or of the nearest thing above it."""
        for end in range(len(path), 0, -1):
            if (line := self.lines.get(path[:end])) is not None:
                return line
        return self.line


def read_documents(text: str, name: str) -> Iterator[Document]:
    """The documents of a YAML text; RuleError with line and column where the text is no YAML or exceeds the limits."""
    try:
        yield from _Builder(name).documents(yaml.parse(text, Loader=yaml.CSafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name)
        raise RuleError(f"not YAML: {error.problem or error}", where=where, code=BROKEN) from error
    except yaml.YAMLError as error:
        raise RuleError(f"not YAML: {' '.join(str(error).split())}", where=name, code=BROKEN) from error


class _Builder:
    """Builds values from parser events: the parser is iterative, so no input can exhaust the stack."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes = 0
        self.lines: dict[tuple[str | int, ...], int] = {}
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.constructor = yaml.constructor.SafeConstructor()

    def documents(self, events: Iterator[yaml.Event]) -> Iterator[Document]:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.lines, self.anchors, self.nodes = {}, {}, 0
                first = next(events)
                value = self.value(first, events, ())
                yield Document(value, _line(first), self.lines)

    def value(self, event: yaml.Event, events: Iterator[yaml.Event], path: tuple[str | int, ...]) -> Value:
        self.lines.setdefault(path, _line(event))
        before = self.nodes
        self.count(1, event, path)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, path)
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = self.scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self.items(events, path)
        else:
            value = self.mapping(events, path)
        if (anchor := getattr(event, "anchor", None)) is not None:
            self.anchors[anchor] = (value, self.nodes - before)
        return value

    def count(self, number: int, event: yaml.Event, path: tuple[str | int, ...]) -> None:
        self.nodes += number
        if self.nodes > MAX_NODES:
            raise self.error(f"more than {MAX_NODES} values (aliases counted in full)", event)
        if len(path) > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH}", event)

    def alias(self, event: yaml.AliasEvent, path: tuple[str | int, ...]) -> Value:
        if event.anchor not in self.anchors:
            raise self.error(f"alias *{event.anchor} stands before or inside its anchor", event)
        value, size = self.anchors[event.anchor]
        self.count(size, event, path)
        return value

    def items(self, events: Iterator[yaml.Event], path: tuple[str | int, ...]) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self.value(event, events, (*path, len(items))))
        return items

    def mapping(self, events: Iterator[yaml.Event], path: tuple[str | int, ...]) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self.error("a key must be plain text", event)
            key = self.scalar(event)
            if key in result:
                raise self.error(f"key {key!r} stands twice", event)
            here = (*path, key)
            self.lines[here] = _line(event)
            result[key] = self.value(next(events), events, here)
        return result

    def scalar(self, event: yaml.ScalarEvent) -> Value:
        tag: str = event.tag or _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
        if tag == _STR:
            return event.value
        node = yaml.ScalarNode(tag, event.value)
        try:
            return self.constructor.construct_object(node)
        except (ValueError, OverflowError) as error:
            raise self.error(f"{event.value[:40]!r} is not a value of its kind", event) from error

    def error(self, what: str, event: yaml.Event) -> RuleError:
        return RuleError(what, where=Place(self.name, _line(event)), code=BROKEN)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
