"""ssh_config as OpenSSH reads it: included files, blocks, comments, and whose commands may be run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import MappingProxyType

import pytest

from fleetscan.errors import SettingsError
from fleetscan.model.host import Host, HostId
from fleetscan.transport.destination import Destination, resolve

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions and commands as on Unix")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of this test's own."""
    (tmp_path / ".ssh").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(home: Path, text: str, name: str = "config") -> Path:
    path = home / ".ssh" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def found(name: str = "ws1", **settings: object) -> Destination:
    return resolve(Host(id=HostId(name), engine="osqueryi", settings=MappingProxyType(settings)))


INCLUDES = {
    "at the top": ("Include extra\nHost *\n  Port 9\n", "Host ws1\n  Port 7\n"),
    "its blocks end with it": ("Include extra\nPort 7\n", "Host other\n  Port 9\n"),
    "in a block, without blocks": ("Host ws1\n  Include extra\nHost *\n  Port 9\n", "Port 7\n"),
    "the block goes on behind it": ("Host ws2\n  Include extra\n  Port 9\nHost *\n  Port 7\n", "User x\n"),
    "in the block of everyone": ("Host *\n  Include extra\n  Port 9\n", "Host ws1\n  Port 7\n"),
    "several, by pattern": ("Include none/* ext*\nPort 9\n", "Host ws?\n  Port 7\n"),
    "with quotes and a tilde": ('Include "~/.ssh/extra"\n', "Port 7\n"),
    "with an equals sign": ("Include=extra\n", "Port=7\n"),
    "that is not there": ("Include nothing\nPort 7\n", ""),
}


@pytest.mark.parametrize(("config", "extra"), INCLUDES.values(), ids=INCLUDES)
def test_included_files_stand_where_they_are_included(home: Path, config: str, extra: str) -> None:
    write(home, extra, "extra")
    write(home, config)
    assert found().port == 7


def test_a_change_of_any_file_is_seen(home: Path) -> None:
    write(home, "Include config.d/*\nPort 9\n")
    write(home, "Host x\n", "config.d/a")
    assert found().port == 9
    write(home, "Host ws1\n  Port 7\n", "config.d/b")
    assert found().port == 7
    write(home, "Host ws1\n  Port 17\n", "config.d/b")
    assert found().port == 17
    (home / ".ssh" / "config").unlink()
    assert found().port == 22


WRONG = {
    "files in a circle": ("Include config\n", "", "files that include each other"),
    "blocks in a block": ("Host ws1\n  Include extra\n", "Host a\n", "has blocks of its own"),
    "no value, with its line": ("\n\nPort\n", "", "config:3"),
    "no value, in an included file": ("Include extra\n", "Port\n", "extra:1"),
    "an open quote": ('Include "extra\n', "", "Include"),
    "a file without end": ("Include /dev/zero\n", "", "not a file"),
    "a file that is too large": ("Include extra\n", "# x\n" * 300_000, "too large"),
    "a match that would be run": ("Match exec true\n  Port 7\n", "", "Match exec is not judged here"),
    "a match of this host that would be run": ("Match host ws1 exec true\n  Port 7\n", "", "Match exec"),
    "an unknown match": ("Match tagged x\n  Port 7\n", "", "Match tagged is not judged here"),
    "an included file of nobody": ("Include ~nobody-here/x\n", "", "~nobody-here/x: nobody has this home"),
    "pins of nobody": ("UserKnownHostsFile ~nobody-here/known_hosts\n", "", "nobody has this home"),
    "a timeout that is none": ("ConnectTimeout soon\n", "", "ConnectTimeout 'soon'"),
}


@pytest.mark.parametrize(("config", "extra", "words"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_is_said_with_its_file(home: Path, config: str, extra: str, words: str) -> None:
    write(home, extra, "extra")
    write(home, config)
    with pytest.raises(SettingsError) as caught:
        found()
    assert words in str(caught.value)
    assert str(home / ".ssh") in str(caught.value) or "/dev/zero" in str(caught.value)


def test_a_match_of_other_hosts_is_never_run(home: Path) -> None:
    ran = home / "ran"
    write(home, f"Match host other exec 'touch {ran}'\n  Port 9\nMatch originalhost ws1\n  Port 7\n")
    assert found().port == 7
    assert not ran.exists()


def test_a_comment_behind_a_value_is_no_part_of_it(home: Path) -> None:
    write(home, 'Host ws1 # ours\n  Port 7 # was 22\n  User svc#1\n  HostKeyAlias "a # b"\n')
    assert (found().port, found().user, found().known_as) == (7, "svc#1", "[a # b]:7")


def test_files_of_pins_may_be_none_and_those_of_everybody_too(home: Path) -> None:
    write(home, "GlobalKnownHostsFile /pins/all\nHost none\n  UserKnownHostsFile none\n")
    assert found().known_hosts == (home / ".ssh" / "known_hosts", Path("/pins/all"))
    assert found("none").known_hosts == (Path("/pins/all"),)


COMMANDS = {
    "tokens": ("nc -x gate %h %p", "exec nc -x gate 10.0.0.1 2222"),
    "name and user": ("relay %n %r@%h", "exec relay ws1 svc@10.0.0.1"),
    "percent": ("sh -c 'date +%%s; nc %h %p'", "exec sh -c 'date +%s; nc 10.0.0.1 2222'"),
    "tilde and quotes are the shell's": ('"~/my bin/x" ~/y "%h"', 'exec "~/my bin/x" ~/y "10.0.0.1"'),
    "exec already": ("exec nc %h %p", "exec nc 10.0.0.1 2222"),
    "a hash": ("nc %h %p # note", "exec nc 10.0.0.1 2222 # note"),
    "none": ("none", ""),
}


@pytest.mark.parametrize(("command", "expected"), COMMANDS.values(), ids=COMMANDS)
def test_the_command_as_the_shell_gets_it(home: Path, command: str, expected: str) -> None:
    write(home, f"Host ws1\n  HostName 10.0.0.1\n  Port 2222\n  User svc\n  ProxyCommand {command}\n")
    assert found().proxy == expected


FIRST = {
    "a jump before a command": ("Host ws1\n  ProxyJump gate\n  ProxyCommand x\n", ["gate"], ""),
    "a command before a jump": ("ProxyCommand x\nProxyJump gate\n", [], "exec x"),
    "no jump before a command": ("ProxyJump none\nProxyCommand x\n", [], ""),
    "no command before a jump": ("ProxyCommand none\nProxyJump gate\n", [], ""),
    "in blocks": ("Host ws*\n  ProxyCommand none\nHost *\n  ProxyJump gate\n", [], ""),
}


@pytest.mark.parametrize(("config", "jumps", "proxy"), FIRST.values(), ids=FIRST)
def test_of_jump_and_command_the_first_counts(home: Path, config: str, jumps: list[str], proxy: str) -> None:
    write(home, config)
    assert ([hop.host for hop in found().jumps], found().proxy) == (jumps, proxy)


def test_a_jump_of_the_inventory_wins_over_a_command(home: Path) -> None:
    write(home, "Host ws1\n  ProxyCommand x\nHost gate\n  ProxyCommand y %h\n")
    assert (found(proxy_jump="none").proxy, found(proxy_jump="none").jumps) == ("", ())
    behind = found(proxy_jump="gate,inner")
    assert (behind.proxy, [hop.proxy for hop in behind.jumps]) == ("", ["exec y gate", ""])


HOSTILE = [
    "a;reboot",
    "a`id`",
    "$(id)",
    "a b",
    "-oProxyCommand=x",
    "a|b",
    "a\nb",
    "a'b",
    "a>b",
    "*",
    "~root",
    "a\\b",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_means_something_to_a_shell_is_refused(home: Path, name: str) -> None:
    write(home, "ProxyCommand nc %h %p\n")
    for settings in ({"address": name}, {"address": "10.0.0.1", "user": name or " "}):
        write(home, f"ProxyCommand nc {'%r' if 'user' in settings else '%h'} %p\n")
        with pytest.raises(SettingsError, match="cannot be put into a ProxyCommand"):
            found(**settings)


@pytest.mark.parametrize("name", ["ws-1.corp", "10.0.0.1", "fe80::1%eth0", "2001:db8::1", "ws_1", "büro.corp.", "ws1."])
def test_names_and_addresses_as_they_are(home: Path, name: str) -> None:
    write(home, "ProxyCommand nc %h %p\n")
    assert found(address=name).proxy == f"exec nc {name} 22"


def test_an_unknown_token_is_an_error(home: Path) -> None:
    write(home, "ProxyCommand nc %h %z\n")
    with pytest.raises(SettingsError, match="no such token %z"):
        found()


def test_a_command_of_a_file_that_an_inventory_names_is_not_run(home: Path, tmp_path: Path) -> None:
    """Inventory and file may come from the same somebody else."""
    other = tmp_path / "config"
    other.write_text("ProxyCommand nc %h %p\n")
    with pytest.raises(SettingsError, match="not run from a file that an inventory names"):
        found(ssh_config=str(other))
    own = write(home, f"Include {other}\n")
    other.chmod(0o600)
    assert found(ssh_config=str(own)).proxy == "exec nc ws1 22"
    assert found().proxy == "exec nc ws1 22"


@pytest.mark.parametrize("included", [False, True])
def test_a_command_that_others_may_have_written_is_not_run(home: Path, *, included: bool) -> None:
    path = write(home, "Host ws1\n  ProxyCommand nc %h %p\n", "extra" if included else "config")
    if included:
        write(home, "Include extra\n")
    path.chmod(0o666)
    with pytest.raises(SettingsError) as caught:
        found()
    assert f"{path}: ProxyCommand of ws1: not run from a file that others may write" in str(caught.value)
    assert f"chmod 600 {path}" in str(caught.value)
    assert found("ws2").proxy == ""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives a file to another user")
def test_a_command_of_another_users_file_is_not_run(home: Path) -> None:
    path = write(home, "ProxyCommand nc %h %p\n")
    os.chown(path, 12345, 12345)
    with pytest.raises(SettingsError, match="others may write"):
        found()
