r"""Registry exports (.reg): what regedit and ``reg export`` write, applied as an import would apply it.

Format facts: Microsoft's "How to add, modify, or delete registry subkeys and values by using a .reg file", and the
import code of Wine's regedit for what that page leaves open (comments behind values, ``\n`` and ``\0`` escapes, string
types of version 4 files as ANSI bytes).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fleetscan.errors import HiveError, Place
from fleetscan.model.registry import HIVE_ROOTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetscan.hives.tree import MemoryKey, MemoryRegistry

REG_SZ = 1
REG_BINARY = 3
REG_DWORD = 4
_TEXT_TYPES = frozenset({1, 2, 7})
_ROOTS = {name: name for name in (*HIVE_ROOTS, "HKEY_DYN_DATA")}
_LONGEST_LINE = 200  # that Windows writes in hex
_MAX_DEPTH = 512  # Windows allows no deeper key

_VERSIONS = {"Windows Registry Editor Version 5.00": 5, "REGEDIT4": 4}
_BLANK = re.compile(r"[ \t]*+(?:[;#][^\r\n]*+)?+(?:\r\n|\r|\n)|[ \t]++\Z|[ \t]*+[;#][^\r\n]*+\Z")
_FIRST = re.compile(r"([^\r\n]*+)(?:\r\n|\r|\n|\Z)")
_HEADER = re.compile(r"[ \t]*+\[(-?)([^\r\n]*)\][ \t]*+(?:;[^\r\n]*+)?(?:\r\n|\r|\n|\Z)")
# Possessive quantifiers keep the matching linear. A quoted text may run over line ends: exports write them as they are.
_VALUE = re.compile(
    r"""[ \t]*+ (?: @ | "(?P<name>(?:[^"\\]++|\\.)*+)" ) [ \t]*+=[ \t]*+
        (?: "(?P<text>(?:[^"\\]++|\\.)*+)"
          | dword:[ \t]*+(?P<dword>[0-9a-fA-F]{1,8}+)
          | hex(?:\((?P<type>[0-9a-fA-F]{1,8}+)\))?+:
            (?P<hex>(?:[0-9a-fA-F,\ \t]++|\\[ \t]*+(?:;[^\r\n]*+)?+(?:\r\n|\r|\n|\Z))*+)
          | (?P<remove>-)
        ) [ \t]*+ (?:;[^\r\n]*+)?+ (?:\r\n|\r|\n|\Z)""",
    re.DOTALL | re.VERBOSE,
)
_CONTINUATION = re.compile(r"\\[^\r\n]*+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"\\": "\\", '"': '"', "n": "\n", "r": "\r", "0": "\0"}


def apply_reg(registry: MemoryRegistry, content: str | bytes, name: str) -> None:
    """Import an export into ``registry``, line after line; several exports are applied by several calls.

    Raises HiveError with ``name`` and line at the first line that is not understood; what stands before it is applied.
    """
    text = content if isinstance(content, str) else decode(content, name)
    first = _first_line(text)
    if first is None or (version := _VERSIONS.get(first[0].strip())) is None:
        raise HiveError(
            "no .reg export: the first line names no known version",
            where=Place(name, 1),
            hint="start the file with 'Windows Registry Editor Version 5.00' or 'REGEDIT4'",
        )
    _Import(registry, text, name, ansi=version == 4).run(first[1])  # noqa: PLR2004 - the version is its own name


def is_reg(content: bytes) -> bool:
    """Does ``content`` start as an export does, in any of its encodings?"""
    start = content[:512]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or start[1:2] == b"\0":
        start = start[: len(start) & ~1]
    try:
        first = _first_line(decode(start, ""))
    except HiveError:
        return False
    return first is not None and first[0].strip() in _VERSIONS


def decode(content: bytes, name: str) -> str:
    """The text of an export: UTF-16 or UTF-8 by byte order mark, UTF-16LE by its zero bytes, else ANSI (Windows-1252).

    Lone surrogates survive in UTF-16; bytes that Windows-1252 leaves open become the control character of that number,
    as on Windows.
    """
    encoding, content = _encoding(content)
    if encoding == "ansi":
        return ansi_text(content)
    try:
        return content.decode(encoding, "surrogatepass")
    except UnicodeDecodeError as error:
        raise HiveError(
            f"not valid {encoding}: {error.reason}", where=name, offset=error.start, hint="export it again"
        ) from error


def decode_up_to_the_cut(content: bytes, name: str) -> tuple[str, bool]:
    """The text of an export that may have been cut off, and whether it shows: an import takes what is there.

    Windows writes UTF-16 and ends every line; a text that others wrote may lack the last line's end.
    """
    wide = _encoding(content)[0].startswith("utf-16")
    odd = wide and len(content) % 2 == 1
    text = decode(content[:-1] if odd else content, name)
    unfinished = text[-_LONGEST_LINE:].rstrip().endswith((",", ",\\", "hex:"))
    return text, odd or unfinished or (wide and not text.endswith(("\n", "\r")))


def _encoding(content: bytes) -> tuple[str, bytes]:
    if content.startswith(b"\xff\xfe"):
        return "utf-16-le", content[2:]
    if content.startswith(b"\xfe\xff"):
        return "utf-16-be", content[2:]
    if content.startswith(b"\xef\xbb\xbf"):
        return "utf-8", content[3:]
    return ("utf-16-le" if content[1:2] == b"\0" else "ansi"), content


def ansi_text(content: bytes) -> str:
    """Windows-1252 as Windows decodes it: total, its five open bytes stand for themselves."""
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return "".join(bytes((byte,)).decode("cp1252", "ignore") or chr(byte) for byte in content)


def _first_line(text: str) -> tuple[str, int] | None:
    """The first line that is not blank, and where the next one starts."""
    at = 0
    while match := _BLANK.match(text, at):
        at = match.end()
    first = _FIRST.match(text, at)
    return (first[1], first.end()) if first and first[1] else None


class _Import:
    """One export on its way into a registry."""

    def __init__(self, registry: MemoryRegistry, text: str, name: str, *, ansi: bool) -> None:
        self._registry = registry
        self._text = text
        self._name = name
        self._ansi = ansi
        self._key: MemoryKey | None = None

    def run(self, at: int) -> None:
        text = self._text
        while at < len(text):
            # Most lines are values, so they are tried first.
            if match := _VALUE.match(text, at):
                self._value(match, at)
            elif (match := _BLANK.match(text, at)) is None:
                if match := _HEADER.match(text, at):
                    self._header(match, at)
                else:
                    raise self._error("this line is no key, value or comment of a .reg export", at)
            at = match.end()

    def _header(self, match: re.Match[str], at: int) -> None:
        root, *names = (element for element in match[2].split("\\") if element) if match[2].strip("\\") else ("",)
        known = _ROOTS.get(root.upper())
        if known is None:
            raise self._error(f"unknown hive root '{root[:40]}'", at, hint="write it long, as HKEY_LOCAL_MACHINE")
        if len(names) >= _MAX_DEPTH:
            raise self._error(f"a key {len(names)} levels deep; Windows allows {_MAX_DEPTH}", at)
        if not match[1]:
            self._key = self._registry.key((known, *names))
            self._registry.note_exported((known, *names))
            return
        self._key = None
        if not names:
            raise self._error("a hive root cannot be deleted", at, hint="delete the keys below it")
        parent = self._registry.find((known, *names[:-1]))
        if parent is not None:
            parent.remove(names[-1])

    def _value(self, match: re.Match[str], at: int) -> None:
        key = self._key
        if key is None:
            raise self._error("a value without a key above it", at, hint="write its [key] first")
        name, text, dword, type_number, hexadecimal, remove = match.groups()
        name = _unescape(name or "")
        if text is not None:
            key.set(name, REG_SZ, (_unescape(text) + "\0").encode("utf-16-le", "surrogatepass"))
        elif dword is not None:
            key.set(name, REG_DWORD, int(dword, 16).to_bytes(4, "little"))
        elif remove is not None:
            key.unset(name)
        else:
            value_type = REG_BINARY if type_number is None else int(type_number, 16)
            key.set(name, value_type, self._typed(value_type, self._bytes(hexadecimal, match.start("hex"))))

    def _typed(self, value_type: int, data: bytes) -> bytes:
        """Version 4 exports hold the string types as ANSI bytes; the registry holds UTF-16."""
        if not self._ansi or value_type not in _TEXT_TYPES or not data:
            return data
        return ansi_text(data if data.endswith(b"\0") else data + b"\0").encode("utf-16-le")

    def _bytes(self, text: str, at: int) -> bytes:
        if "\\" in text:
            text = _CONTINUATION.sub(" ", text)
        try:
            data = bytes.fromhex(text.replace(",", " "))
        except ValueError:
            return bytes(self._single_bytes(text, at))
        return data if len(data) == text.count(",") + 1 else bytes(self._single_bytes(text, at))

    def _single_bytes(self, text: str, at: int) -> Iterator[int]:
        """Elements of one digit are allowed; a comma may end the list."""
        elements = [element.strip() for element in text.split(",")]
        if elements and not elements[-1]:
            elements.pop()
        for element in elements:
            if len(element) not in {1, 2} or " " in element or "\t" in element:
                raise self._error(f"'{element[:20]}' is no byte", at, hint="write bytes as two hexadecimal digits")
            yield int(element, 16)

    def _error(self, what: str, at: int, hint: str = "correct or remove the line") -> HiveError:
        """An error at a place; a line ends at CR LF, LF or CR."""
        before = self._text[:at]
        line = before.count("\n") + before.count("\r") - before.count("\r\n") + 1
        return HiveError(what, where=Place(self._name, line), hint=hint)


def _unescape(text: str) -> str:
    """Replace the known escapes; a backslash before anything else is itself."""
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[0]), text) if "\\" in text else text
