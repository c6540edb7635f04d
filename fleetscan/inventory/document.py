"""YAML as a tree of texts with their lines: no types are guessed, no tag is constructed, size and depth are bounded."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from fleetscan.errors import InventoryError, Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BYTES = 32 * 1024 * 1024
MAX_NODES = 2_000_000
MAX_DEPTH = 24
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """One text as it stands in the file; ``quoted`` texts are never null."""

    text: str
    line: int
    quoted: bool = False

    @property
    def is_null(self) -> bool:
        """Is nothing written, or YAML's null?"""
        return not self.quoted and self.text in _NULLS


@dataclass(frozen=True, slots=True)
class Mapping:
    """Names and values in the order of the file; names are unique."""

    items: tuple[tuple[Scalar, Node], ...]
    line: int

    def __iter__(self) -> Iterator[tuple[Scalar, Node]]:
        """The pairs, in order."""
        return iter(self.items)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Values in order."""

    items: tuple[Node, ...]
    line: int


Node = Scalar | Mapping | Sequence


def kind(node: Node) -> str:
    """The word for a node in messages."""
    match node:
        case Scalar():
            return "nothing" if node.is_null else "a text"
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"


class _Open:
    """A collection whose end was not seen yet."""

    def __init__(self, *, mapping: bool, line: int, anchor: str | None) -> None:
        self.mapping = mapping
        self.line = line
        self.anchor = anchor
        self.nodes: list[Node] = []
        self.size = 1


class _Builder:
    """Builds the tree from parser events without recursion, so that no nesting can exhaust the stack."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.root: Node | None = None
        self.documents = 0

    def error(self, what: str, line: int, hint: str = "") -> InventoryError:
        return InventoryError(what, where=Place(self.name, line), hint=hint)

    def feed(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 0
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    raise self.error("a second YAML document", line, "one document per file")
            case yaml.ScalarEvent():
                self.add(Scalar(event.value, line, quoted=event.style in ("'", '"', "|", ">")), 1, event.anchor, line)
            case yaml.AliasEvent():
                if event.anchor not in self.anchors:
                    raise self.error(f"*{event.anchor} has no complete anchor before it", line)
                node, size = self.anchors[event.anchor]
                self.add(node, size, None, line)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                if len(self.stack) >= MAX_DEPTH:
                    raise self.error(f"nested more than {MAX_DEPTH} levels deep", line)
                self.stack.append(
                    _Open(mapping=isinstance(event, yaml.MappingStartEvent), line=line, anchor=event.anchor)
                )
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.close()
            case _:
                pass  # start and end of the stream carry nothing

    def close(self) -> None:
        done = self.stack.pop()
        node: Node = self.mapping(done) if done.mapping else Sequence(tuple(done.nodes), done.line)
        self.add(node, done.size, done.anchor, done.line)

    def add(self, node: Node, size: int, anchor: str | None, line: int) -> None:
        if anchor:
            self.anchors[anchor] = (node, size)
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        top.nodes.append(node)
        # An alias counts as much as what it stands for: a short file cannot unfold into an endless tree.
        top.size += size
        if top.size > MAX_NODES:
            raise self.error(f"more than {MAX_NODES} entries, aliases unfolded", line)

    def mapping(self, done: _Open) -> Mapping:
        own: dict[str, tuple[Scalar, Node]] = {}
        merged: dict[str, tuple[Scalar, Node]] = {}
        for name, value in zip(done.nodes[::2], done.nodes[1::2], strict=True):
            if not isinstance(name, Scalar):
                raise self.error(f"{kind(name)} as a name", name.line)
            if name.text == "<<" and not name.quoted:
                self.merge(value, merged, name.line)
                continue
            if name.text in own:
                first = own[name.text][0].line
                raise self.error(f"{name.text!r} stands twice, first on line {first}", name.line, "keep one of them")
            own[name.text] = (name, value)
        return Mapping(tuple((merged | own).values()), done.line)

    def merge(self, value: Node, into: dict[str, tuple[Scalar, Node]], line: int) -> None:
        for source in value.items if isinstance(value, Sequence) else (value,):
            if not isinstance(source, Mapping):
                raise self.error(f"<< merges {kind(source)}", line, "<< takes a mapping or a list of mappings")
            for name, node in source:
                into.setdefault(name.text, (name, node))


def read_text(path: Path) -> str:
    """A file as text: UTF-8, or UTF-16 where its mark says so, as PowerShell writes it. Raises InventoryError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "a file, or a host with a comma: -i user@host,"
        raise InventoryError(f"cannot be read: {error.strerror or error}", where=str(path), hint=hint) from error
    if len(content) > MAX_BYTES:
        raise InventoryError(f"larger than {MAX_BYTES // 2**20} MB", where=str(path))
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InventoryError("not UTF-8", where=Place(str(path), line), hint="save it as UTF-8") from error


def parse(text: str, name: str) -> Node:
    """The tree of a YAML text; ``name`` is the file in messages. Raises InventoryError with line."""
    builder = _Builder(name)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(filter(None, (error.context, error.problem))) or "not YAML"
        hint = "check brackets, quotes and indentation, also of the line above"
        raise InventoryError(what, where=Place(name, mark.line + 1 if mark else None), hint=hint) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"U+{error.character:04X} is a character that YAML does not allow"
        raise InventoryError(
            what, where=Place(name, line), hint="remove it, or write it as \\xNN in double quotes"
        ) from error
    except yaml.YAMLError as error:
        raise InventoryError(f"not YAML: {' '.join(str(error).split())}", where=name) from error
    return Mapping((), 1) if builder.root is None else builder.root
