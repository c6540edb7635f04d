"""Pinned keys: what OpenSSH's own tool writes is understood, and nothing vague pins anything."""

from __future__ import annotations

import base64
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.errors import SettingsError
from fleetscan.transport.known_hosts import (
    KnownHosts,
    PinnedKey,
    ShownKey,
    Trust,
    Verdict,
    entry,
    known_name,
    pin,
    read_known_hosts,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY = PinnedKey("ssh-ed25519", b"one")
OTHER = PinnedKey("ssh-ed25519", b"two")
RSA = PinnedKey("ssh-rsa", b"three")


def text(key: PinnedKey) -> str:
    return f"{key.type} {base64.b64encode(key.blob).decode()}"


CASES = {
    "plain": (f"ws1 {text(KEY)}", "ws1", Trust.KNOWN),
    "without case": (f"WS1.Corp {text(KEY)}", "ws1.corp", Trust.KNOWN),
    "several names": (f"a,ws1,b {text(KEY)} comment", "ws1", Trust.KNOWN),
    "another host": (f"ws2 {text(KEY)}", "ws1", Trust.UNKNOWN),
    "another port": (f"[ws1]:2222 {text(KEY)}", "ws1", Trust.UNKNOWN),
    "that port": (f"[ws1]:2222 {text(KEY)}", "[ws1]:2222", Trust.KNOWN),
    "wildcard": (f"*.corp {text(KEY)}", "ws1.corp", Trust.KNOWN),
    "wildcard that excludes": (f"*.corp,!ws1.corp {text(KEY)}", "ws1.corp", Trust.UNKNOWN),
    "wildcard with port": (f"[*.corp]:22?? {text(KEY)}", "[ws1.corp]:2222", Trust.KNOWN),
    "changed": (f"ws1 {text(OTHER)}", "ws1", Trust.CHANGED),
    "one of several keys": (f"ws1 {text(OTHER)}\nws1 {text(KEY)}", "ws1", Trust.KNOWN),
    "another type of key": (f"ws1 {text(RSA)}", "ws1", Trust.CHANGED),
    "revoked": (f"ws1 {text(KEY)}\n@revoked * {text(KEY)}", "ws1", Trust.REVOKED),
    "another one revoked": (f"ws1 {text(KEY)}\n@revoked * {text(OTHER)}", "ws1", Trust.KNOWN),
    "an authority is no key": (f"@cert-authority ws1 {text(KEY)}", "ws1", Trust.UNKNOWN),
    "comment": (f"# ws1 {text(KEY)}", "ws1", Trust.UNKNOWN),
    "torn line": ("ws1 ssh-ed25519", "ws1", Trust.UNKNOWN),
    "not base64": ("ws1 ssh-ed25519 $$$", "ws1", Trust.UNKNOWN),
    "torn hash": (f"|1|x {text(KEY)}", "ws1", Trust.UNKNOWN),
}


@pytest.mark.parametrize(("lines", "name", "trust"), CASES.values(), ids=CASES)
def test_a_shown_key_is_judged_by_what_is_pinned(lines: str, name: str, trust: Trust) -> None:
    assert KnownHosts([lines]).judge(name, KEY) is trust


def test_lines_of_authorities_pin_no_key() -> None:
    hashed = entry("[ws9]:22", OTHER, hashed=True)
    known = KnownHosts([f"@cert-authority *.corp,!dc.corp {text(KEY)}\nws2 {text(KEY)}\n@cert-authority {hashed}"])
    names = ("ws1.corp", "dc.corp", "ws2", "[ws9]:22", "[ws1.corp]:2222", "[dc.corp]:2222")
    assert [known.authorities(name) for name in names] == [(KEY,), (), (), (OTHER,), (KEY,), ()]
    assert known.names(KEY) == ("ws2",)
    assert known.judge("ws1.corp", KEY) is Trust.UNKNOWN


def test_an_authority_that_is_missed_is_told_where_the_key_is_not_pinned() -> None:
    known = KnownHosts([f"@cert-authority *.corp {text(OTHER)}\nws1.corp,ws1 {text(KEY)}"])
    missed = "it shows no certificate, though a @cert-authority line speaks of it"
    assert known.verdict("ws1.corp", ShownKey(KEY), 0) == Verdict(Trust.KNOWN)
    assert known.verdict("ws1.corp", ShownKey(OTHER), 0) == Verdict(Trust.CHANGED, doubt=missed)
    assert known.verdict("ws2.corp", ShownKey(OTHER), 0) == Verdict(Trust.UNKNOWN, doubt=missed)
    assert known.verdict("ws1", ShownKey(OTHER), 0) == Verdict(Trust.CHANGED)


def test_a_key_is_known_by_every_name_that_can_be_read() -> None:
    lines = (
        f"ws1,[ws1]:2222 {text(KEY)}\n*.corp {text(KEY)}\nws1 {text(KEY)}\nws2 {text(OTHER)}\n@revoked ws3 {text(KEY)}"
    )
    assert KnownHosts([lines]).names(KEY) == ("ws1", "[ws1]:2222")
    assert KnownHosts([lines]).names(RSA) == ()
    hashed = "".join(entry(name, KEY, hashed=True) + "\n" for name in ("ws4", "ws5"))
    assert KnownHosts([hashed]).names(KEY) == ("a hashed name",)


@given(st.text(max_size=120))
def test_no_line_breaks_the_reader_or_pins_by_accident(line: str) -> None:
    assert KnownHosts([line]).judge("ws1", KEY) is Trust.UNKNOWN


@given(
    st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
    st.integers(1, 65535),
    st.binary(min_size=1),
    st.sampled_from(["plain", "hashed"]),
)
def test_what_was_pinned_is_known_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, host: str, port: int, blob: bytes, form: str
) -> None:
    path = tmp_path_factory.mktemp("pins") / "deep" / "known_hosts"
    key = PinnedKey("ssh-ed25519", blob)
    pin(path, [(known_name(host, port), key)], hashed=form == "hashed")
    pins = read_known_hosts([path])
    assert pins.judge(known_name(host.upper(), port), key) is Trust.KNOWN
    assert pins.judge(known_name(host, port % 65535 + 1), key) is Trust.UNKNOWN
    assert pins.judge(known_name(host, port), PinnedKey("ssh-ed25519", blob + b"x")) is Trust.CHANGED


def test_pinning_appends_and_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"ws1 {text(KEY)}")
    pin(path, [("ws2", OTHER)])
    assert path.read_text() == f"ws1 {text(KEY)}\nws2 {text(OTHER)}\n"


def test_a_new_file_belongs_to_its_owner_only(tmp_path: Path) -> None:
    pin(tmp_path / "known_hosts", [("ws1", KEY)])
    assert stat.S_IMODE((tmp_path / "known_hosts").stat().st_mode) == 0o600


def test_a_file_that_cannot_be_read_is_an_error_not_an_empty_list(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        read_known_hosts([tmp_path])


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is missing")
def test_openssh_finds_what_was_pinned(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], check=True)
    kind, blob, *_ = (tmp_path / "id.pub").read_text().split()
    key = PinnedKey(kind, base64.b64decode(blob))
    pin(tmp_path / "known_hosts", [("[ws1]:2222", key)], hashed=True)
    words = ["ssh-keygen", "-l", "-F", "[ws1]:2222", "-f", str(tmp_path / "known_hosts")]
    found = subprocess.run(words, check=True, capture_output=True, text=True)
    assert key.fingerprint in found.stdout
