"""Hypothesis strategies for rules and rows: near misses of what rules look for, in the spellings the registry has."""

from __future__ import annotations

from hypothesis import strategies as st

from fleetscan.model.registry import DEFAULT_VALUE, SUBKEY, RegistryRow
from fleetscan.model.rule import And, Expr, Field, IsNull, Match, Not, Or, TextPattern, Wildcard

USER = r"HKEY_USERS\S-1-5-21-1-2-3-1001"
KEYS = (
    r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\X",
    r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Services\X",
    r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet002\Services\X",
    r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Hardware Profiles\Current\System",
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Run",
    r"HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Run",
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Classes\x\shell\open\command",
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Wow6432Node\Classes\x",
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Classes\Wow6432Node\x",
    rf"{USER}\Software\Microsoft\Windows\CurrentVersion\Run",
    rf"{USER}\Software\Classes\x",
    rf"{USER}_Classes\x\shell\open\command",
    r"HKEY_USERS\.DEFAULT\Environment",
    r"HKEY_USERS\S-1-5-18\Environment",
    r"HKEY_CURRENT_CONFIG\System",
)
NAMES = (DEFAULT_VALUE, "Shell", "shell", "*", "a?b", "ImagePath", "ß", "SS", "i", "\u0130", r"with\backslash", " ")
DATA = (
    "",
    "x",
    "X",
    "0",
    "1",
    "-1",
    "evil.dll",
    "C:\\Windows\\a.exe",
    "%SystemRoot%\\a.exe",
    "%%TEMP%%",
    "a,b",
    "*",
    "\n",
)
VALUE_TYPES = ("REG_SZ", "REG_EXPAND_SZ", "REG_MULTI_SZ", "REG_BINARY", "REG_LINK", "UNKNOWN")
FRAGMENTS = (
    "HKLM\\",
    "HKCR\\",
    "HKU\\",
    "HKCU\\",
    "SYSTEM\\",
    "CurrentControlSet\\",
    "ControlSet001\\",
    "Software\\",
    "Classes\\",
    "\\Run",
    "Run\\",
    "shell",
    "\\Shell",
    "x",
    "\\",
    "(Default)",
    "Services",
    "evil.dll",
    "%SystemRoot%",
    "%%",
    "*",
    "?",
)


def values() -> st.SearchStrategy[RegistryRow]:
    """Value rows; numbers where the type is a number."""
    texts = st.builds(RegistryRow, st.sampled_from(KEYS), st.sampled_from(NAMES), st.sampled_from(VALUE_TYPES), _data())
    numbers = st.builds(
        RegistryRow,
        st.sampled_from(KEYS),
        st.sampled_from(NAMES),
        st.sampled_from(("REG_DWORD", "REG_QWORD")),
        st.integers(-(2**31), 2**31 - 1).map(str),
    )
    return texts | numbers


def keys() -> st.SearchStrategy[RegistryRow]:
    """Subkey rows."""
    return st.builds(RegistryRow, st.sampled_from(KEYS), st.sampled_from(NAMES[1:]), st.just(SUBKEY), st.just(""))


def rows() -> st.SearchStrategy[RegistryRow]:
    """Rows of any kind."""
    return values() | keys()


def _data() -> st.SearchStrategy[str]:
    return st.sampled_from(DATA) | st.text(st.sampled_from("abX.,\\%*?é\U0001f600"), max_size=8)


def text_patterns() -> st.SearchStrategy[TextPattern]:
    """Patterns of fragments and wildcards."""
    part = st.sampled_from(FRAGMENTS) | st.sampled_from(tuple(Wildcard))
    return st.lists(part, max_size=5).map(_merged)


def _merged(parts: list[str | Wildcard]) -> TextPattern:
    from fleetscan.rules.patterns import pattern  # noqa: PLC0415 - the one place that joins parts

    return pattern(parts)


def matches() -> st.SearchStrategy[Match]:
    """Matches as Sigma has them, half of them on fields that state shows."""
    shown = st.builds(
        Match, st.sampled_from((Field.PATH, Field.DATA)), text_patterns() | st.just(IsNull()), st.just("Details")
    )
    hidden = st.builds(
        Match,
        st.just(Field.UNOBSERVABLE),
        st.sampled_from((TextPattern(("a.exe",)), TextPattern((Wildcard.ANY, "b.exe")))),
        st.sampled_from(("Image", "User")),
    )
    kind = st.builds(
        Match,
        st.just(Field.EVENT_KIND),
        st.sampled_from([TextPattern((word,)) for word in ("SetValue", "CreateKey", "RenameKey", "DeleteValue")]),
        st.just("EventType"),
    )
    return shown | shown | hidden | kind


def conditions(leaves: st.SearchStrategy[Match] | None = None) -> st.SearchStrategy[Expr]:
    """Conditions of a few nested And, Or and Not."""
    base: st.SearchStrategy[Expr] = leaves or matches()
    return st.recursive(
        base,
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts)))
            | st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts)))
            | inner.map(Not)
        ),
        max_leaves=8,
    )
