"""DLL paths as Windows would load them: normalised step by step, every step that changed something flagged.

The order of the steps is that of windows-domain section 3. The raw text is kept beside the result.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from fleetscan.domain.entity import Flag
from fleetscan.model.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "systemroot": r"C:\Windows",
        "windir": r"C:\Windows",
        "systemdrive": "C:",
        "programfiles": r"C:\Program Files",
        "programw6432": r"C:\Program Files",
        "programfiles(x86)": r"C:\Program Files (x86)",
        "commonprogramfiles": r"C:\Program Files\Common Files",
        "commonprogramw6432": r"C:\Program Files\Common Files",
        "commonprogramfiles(x86)": r"C:\Program Files (x86)\Common Files",
        "programdata": r"C:\ProgramData",
        "allusersprofile": r"C:\ProgramData",
        "public": r"C:\Users\Public",
    }
)
"""Variables that mean the same for every user, lower case."""

_USER_VARIABLES = frozenset(
    [
        "temp",
        "tmp",
        "appdata",
        "localappdata",
        "userprofile",
        "homepath",
        "homedrive",
        "homeshare",
        "username",
        "path",
        "logonserver",
    ]
)
_TOKENS = (  # longest first, so that the most specific token wins
    ("commonprogramfiles(x86)", "", "{commonfiles_x86}"),
    ("commonprogramfiles", "", "{commonfiles}"),
    ("programfiles(x86)", "", "{programfiles_x86}"),
    ("programfiles", "", "{programfiles}"),
    ("systemroot", r"\system32", "{system32}"),
    ("systemroot", r"\syswow64", "{syswow64}"),
    ("systemroot", "", "{windir}"),
)
_WRITABLE = re.compile(
    r"""(?x) ^(?:
      [a-z]:\\(?:users|programdata|temp|tmp|perflogs|\$recycle\.bin|recycler)(?:\\|$)
    | [a-z]:\\documents\ and\ settings(?:\\|$)
    | \{windir\}\\(?:temp|tasks|tracing|debug|registration\\crmlog|servicestate|installer\\temp)(?:\\|$)
    | \{system32\}\\(?:spool\\(?:drivers\\color|printers)|tasks|com\\dmp|fxstmp|microsoft\\crypto)(?:\\|$)
    | \{syswow64\}\\(?:tasks|com\\dmp|fxstmp)(?:\\|$) )"""
)
_PREFIX = re.compile(r"\\\\\?\\GLOBALROOT\\|\\\\\?\\UNC\\|\\\\[?.]\\|\\\?\?\\|\\\\", re.IGNORECASE)
_VARIABLE = re.compile(r"%([^%\\/:]+)%")
_SHORT_NAME = re.compile(r"[^.\\]{1,8}~\d")
_DRIVE = re.compile(r"[A-Za-z]:\\")
_DEVICE = re.compile(r"(?i)(?:con|prn|aux|nul|conin\$|conout\$|com\d|lpt\d)(?:\..*)?\Z")
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\u00ad]")
_BLANKS = " \t\u00a0\u2002\u2003\u2009\u202f\u3000"
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһӏԛԝӓабвгΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανικρυχαАВЕКМНОРСТУХІЈЅ",
    "aeopcyxijsdhlqwaa6brABEZHIKMNOPTYXoavikpuxaABEKMHOPCTYXIJS",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DllPath:
    """A path as written (``raw``), as loaded (``text``) and as compared (``token``), and what it took to get there.

    ``token`` is lower case, with ``{system32}`` and the like in place of the host's own folders.
    """

    raw: str
    text: str
    token: str
    flags: tuple[Flag, ...] = ()

    @property
    def base(self) -> str:
        """File name, lower case."""
        return self.token.rpartition("\\")[2]

    @property
    def is_bare(self) -> bool:
        """Only a file name: the loader's search order decides."""
        return bool(self.token) and "\\" not in self.token

    @property
    def is_user_writable(self) -> bool:
        """Does it lie where programs without administrator rights usually can write?"""
        return _WRITABLE.match(self.token) is not None

    @property
    def wow64_twin(self) -> str:
        """Where a 32-bit process on 64-bit Windows really finds it; the text itself elsewhere."""
        if self.token.startswith("{system32}"):
            start = self.text.lower().find("\\system32\\")
            return f"{self.text[:start]}\\SysWOW64\\{self.text[start + 10 :]}" if start >= 0 else self.text
        return self.text


def normalise(raw: str, environment: Mapping[str, str] | None = None) -> DllPath:
    """Normalise one DLL text in the order of windows-domain section 3."""
    return _normalised(raw, tuple(sorted((name.lower(), value) for name, value in (environment or {}).items())))


@lru_cache(maxsize=16384)
def _normalised(raw: str, given: tuple[tuple[str, str], ...]) -> DllPath:
    variables = _resolved(given)
    flags: list[Flag] = []
    text = _clean(raw, flags)
    text = _punctuation(text, flags)
    text, remote = _prefix(text, flags)
    text = _expand(text, variables, flags)
    text = text if remote else _components(text, flags)
    _names(text, remote=remote, flags=flags)
    return DllPath(raw=raw, text=text, token=_tokenise(text, variables), flags=tuple(flags))


@lru_cache(maxsize=256)
def _resolved(given: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """The variables that mean the same for every user, as this host sets them; values may name each other."""
    own = dict(given)

    def value(match: re.Match[str]) -> str:
        return DEFAULT_ENVIRONMENT.get(match.group(1).lower(), match.group())

    return {name: _VARIABLE.sub(value, own.get(name, default)) for name, default in DEFAULT_ENVIRONMENT.items()}


def _clean(raw: str, flags: list[Flag]) -> str:
    text = _INVISIBLE.sub("", raw)
    if text != raw:
        flags.append(Flag("control", "invisible or control characters in the path", Severity.MEDIUM))
    stripped = text.strip(_BLANKS)
    if stripped != text:
        flags.append(Flag("blanks", "blanks around the path, which Windows drops and filters do not", Severity.MEDIUM))
    return stripped


def _punctuation(text: str, flags: list[Flag]) -> str:
    if '"' in text:
        text = text.replace('"', "").strip(_BLANKS)
        flags.append(Flag("quotes", "quotes around the path", Severity.MEDIUM))
    if "/" in text:
        text = text.replace("/", "\\")
        flags.append(Flag("slashes", "forward slashes, which filters on paths do not see", Severity.MEDIUM))
    return text


def _prefix(text: str, flags: list[Flag]) -> tuple[str, bool]:
    match = _PREFIX.match(text)
    if match is None:
        return text, False
    prefix, rest = match.group(), text[match.end() :]
    flags.append(Flag("prefix", f"the path begins with {prefix}: not a plain drive letter", Severity.HIGH))
    if prefix == "\\\\" or prefix.upper().endswith("UNC\\"):
        flags.append(Flag("remote", "the DLL lies on another host", Severity.HIGH))
        return "\\\\" + rest, True
    return (rest, False) if _DRIVE.match(rest) else (text, True)


def _expand(text: str, variables: Mapping[str, str], flags: list[Flag]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        known = variables.get(name.lower())
        if known is not None:
            return known
        if name.lower() in _USER_VARIABLES:
            flags.append(Flag("user variable", f"%{name}% is controlled by the user", Severity.HIGH))
        else:
            flags.append(Flag("unknown variable", f"%{name}% is no variable of Windows", Severity.HIGH))
        return match.group()

    return _VARIABLE.sub(value, text)


def _components(text: str, flags: list[Flag]) -> str:
    parts = text.split("\\")
    solid = [part for index, part in enumerate(parts) if part or index == 0]
    if len(solid) != len(parts):
        flags.append(Flag("doubled", "doubled backslashes", Severity.LOW))
    kept: list[str] = []
    for part in solid:
        if part == ".":
            continue
        if part == ".." and kept and kept[-1] != "..":
            if len(kept) > 1 or ":" not in kept[0]:
                kept.pop()
            continue
        kept.append(part)
    if len(kept) != len(solid):
        flags.append(Flag("dots", "the path moves through . or ..", Severity.MEDIUM))
    if len(kept) == 1 and solid[0] == ".":
        flags.append(Flag("relative", "a relative path: the current directory decides", Severity.HIGH))
    trimmed = [*map(_folder, kept[:-1]), *(part if part == ".." else part.rstrip(". ") for part in kept[-1:])]
    if trimmed != kept:
        flags.append(Flag("trailing dots", "a component ends in dots or blanks, which Windows drops", Severity.MEDIUM))
    if any(part.endswith(" ") for part in trimmed):
        flags.append(
            Flag("mock folder", "a folder whose name ends in a blank, beside the one it mimics", Severity.HIGH)
        )
    return "\\".join(trimmed)


def _folder(part: str) -> str:
    """A folder as Windows finds it: one dot at the end is dropped, blanks there are part of the name."""
    return part[:-1] if part.endswith(".") and not part.endswith("..") else part


def _names(text: str, *, remote: bool, flags: list[Flag]) -> None:
    base = text.rpartition("\\")[2]
    if _SHORT_NAME.search(text):
        flags.append(Flag("short name", "an 8.3 name, which only the host can resolve", Severity.MEDIUM))
    if ":" in (text[2:] if _DRIVE.match(text) else text):
        flags.append(Flag("stream", "an alternate data stream or drive-relative path", Severity.HIGH))
    if _DEVICE.match(base):
        flags.append(Flag("device", "a device name", Severity.HIGH))
    if not remote and "\\" in text and not _DRIVE.match(text) and "%" not in text:
        flags.append(Flag("relative", "a relative path: the current directory decides", Severity.HIGH))
    _letters(text, flags)
    extension = base.rpartition(".")[2].lower() if "." in base else ""
    if base and not extension:
        flags.append(Flag("no extension", "no extension; the loader appends .dll", Severity.LOW))
    elif base and extension != "dll":
        flags.append(Flag("extension", f"extension .{extension}: loads like any DLL", Severity.LOW))


def _letters(text: str, flags: list[Flag]) -> None:
    if text.isascii():
        return
    skeleton = unicodedata.normalize("NFKC", text).translate(_LOOKALIKES)
    if skeleton.isascii():
        flags.append(Flag("look-alike", f"letters that look like others: reads as {skeleton}", Severity.HIGH))
    else:
        flags.append(Flag("non-ASCII", "letters outside ASCII", Severity.INFO))


def _tokenise(text: str, variables: Mapping[str, str]) -> str:
    lowered = text.lower()
    for variable, folder, token in _TOKENS:
        prefix = variables[variable].lower() + folder
        if lowered == prefix or lowered.startswith(prefix + "\\"):
            return token + lowered[len(prefix) :]
    return lowered
