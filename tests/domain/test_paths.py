"""DLL paths: every step of normalisation, and that each one that changed something is flagged."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscan.domain.paths import normalise
from fleetscan.model.finding import Severity

CASES = [
    # raw, token, flags
    (r"C:\Windows\System32\wshext.dll", r"{system32}\wshext.dll", ()),
    (r"%SystemRoot%\system32\MSWSOCK.dll", r"{system32}\mswsock.dll", ()),
    (r"%windir%\SysWOW64\x.dll", r"{syswow64}\x.dll", ()),
    ("WINTRUST.DLL", "wintrust.dll", ()),
    (r"%CommonProgramFiles(x86)%\a\b.dll", r"{commonfiles_x86}\a\b.dll", ()),
    (r"C:\Program Files (x86)\Bonjour\mdnsNSP.dll", r"{programfiles_x86}\bonjour\mdnsnsp.dll", ()),
    (r"C:\Program Files\Common Files\x.dll", r"{commonfiles}\x.dll", ()),
    (r"C:\Windows\notepad.dll", r"{windir}\notepad.dll", ()),
    ("wintrust.dll ", "wintrust.dll", ("blanks",)),
    ("\u00a0wintrust.dll\t", "wintrust.dll", ("control", "blanks")),
    ("wintrust.dll.", "wintrust.dll", ("trailing dots",)),
    ("win\u200btrust.dll", "wintrust.dll", ("control",)),
    ('"C:\\Windows\\System32\\x.dll"', r"{system32}\x.dll", ("quotes",)),
    ("C:/Windows/System32/x.dll", r"{system32}\x.dll", ("slashes",)),
    (r"C:\Windows\\System32\x.dll", r"{system32}\x.dll", ("doubled",)),
    (r"C:\Windows\System32\..\Temp\x.dll", r"{windir}\temp\x.dll", ("dots",)),
    (r"C:\..\..\x.dll", r"c:\x.dll", ("dots",)),
    (r"\\?\C:\Windows\System32\x.dll", r"{system32}\x.dll", ("prefix",)),
    (r"\\10.0.0.1\share\x.dll", r"\\10.0.0.1\share\x.dll", ("prefix", "remote")),
    (r"\\?\UNC\host\share\x.dll", r"\\host\share\x.dll", ("prefix", "remote")),
    (r"\\?\GLOBALROOT\Device\x.dll", r"\\?\globalroot\device\x.dll", ("prefix",)),
    (r"%TEMP%\x.dll", r"%temp%\x.dll", ("user variable",)),
    (r"%UPDATER_HOME%\x.dll", r"%updater_home%\x.dll", ("unknown variable",)),
    (r"C:\PROGRA~3\x.dll", r"c:\progra~3\x.dll", ("short name",)),
    (r"C:\Windows\win.ini:x.dll", r"{windir}\win.ini:x.dll", ("stream",)),
    ("C:x.dll", "c:x.dll", ("stream",)),
    (r"C:\Windows \System32\x.dll", r"c:\windows \system32\x.dll", ("mock folder",)),
    (r"C:\Windows.\System32\x.dll", r"{system32}\x.dll", ("trailing dots",)),
    (r".\wintrust.dll", "wintrust.dll", ("dots", "relative")),
    (r"System32\x.dll", r"system32\x.dll", ("relative",)),
    (r"..\x.dll", r"..\x.dll", ("relative",)),
    (r"C:\Windows\System32\nul", r"{system32}\nul", ("device", "no extension")),
    (
        "C:\\Windows\\System32\\W\u0456ndowsPowerShell\\x.dll",
        "{system32}\\w\u0456ndowspowershell\\x.dll",
        ("look-alike",),
    ),
    ("C:\\Programme\\M\u00fcller\\x.dll", "c:\\programme\\m\u00fcller\\x.dll", ("non-ASCII",)),
    ("wintrust", "wintrust", ("no extension",)),
    ("policy.ocx", "policy.ocx", ("extension",)),
]


@pytest.mark.parametrize(("raw", "token", "flags"), CASES, ids=[repr(case[0]) for case in CASES])
def test_each_step_is_taken_and_flagged(raw: str, token: str, flags: tuple[str, ...]) -> None:
    path = normalise(raw)
    assert path.token == token
    assert tuple(flag.code for flag in path.flags) == flags
    assert path.raw == raw


def test_a_host_with_windows_elsewhere_gets_the_same_tokens() -> None:
    environment = {"SystemRoot": r"D:\WINNT", "windir": "%SystemRoot%"}
    assert normalise(r"D:\WINNT\System32\x.dll", environment).token == r"{system32}\x.dll"
    assert normalise(r"C:\Windows\System32\x.dll", environment).token == r"c:\windows\system32\x.dll"


def test_variables_may_name_variables() -> None:
    assert normalise(r"%windir%\System32\x.dll", {"windir": "%SystemRoot%"}).token == r"{system32}\x.dll"


@pytest.mark.parametrize(
    "text",
    [
        r"C:\Users\Public\x.dll",
        r"C:\ProgramData\a\x.dll",
        r"C:\Windows\Temp\x.dll",
        r"%PUBLIC%\x.dll",
        r"C:\Windows\System32\spool\drivers\color\x.dll",
    ],
)
def test_folders_that_users_can_write_are_known(text: str) -> None:
    assert normalise(text).is_user_writable


@pytest.mark.parametrize("text", [r"C:\Windows\System32\x.dll", r"C:\Program Files\x.dll", "x.dll"])
def test_other_folders_are_not_called_writable(text: str) -> None:
    assert not normalise(text).is_user_writable


def test_the_twin_of_a_32_bit_process_is_known() -> None:
    assert normalise(r"%SystemRoot%\System32\mswsock.dll").wow64_twin == r"C:\Windows\SysWOW64\mswsock.dll"
    assert normalise("wintrust.dll").wow64_twin == "wintrust.dll"


@settings(max_examples=200)
@given(st.text(alphabet=st.sampled_from('\\/.: "%~$ab\u0430\u200b\t?{}()'), max_size=40))
def test_no_text_breaks_it_and_a_second_pass_changes_nothing_but_prefixes(text: str) -> None:
    once = normalise(text)
    assert normalise(once.text).token == normalise(normalise(once.text).text).token
    assert all(flag.severity in Severity for flag in once.flags)
