"""Where a host really is: inventory over ssh_config, jumps resolved, nonsense refused."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from fleetscan.errors import SettingsError
from fleetscan.model.host import Host, HostId
from fleetscan.transport.destination import Destination, resolve


def destination(folder: Path, config: str, name: str = "ws1", **settings: object) -> Destination:
    (folder / "config").write_text(config)
    known = {"ssh_config": str(folder / "config"), **settings}
    return resolve(Host(id=HostId(name), engine="osqueryi", settings=MappingProxyType(known)))


CONFIG = """
Host ws1
  HostName 10.0.0.1
  User svc
  Port 2222
  IdentityFile /keys/one
  IdentityFile /keys/two
  UserKnownHostsFile /pins/a /pins/b
  ProxyJump ops@jump:2022
  ConnectTimeout 7
Host jump
  HostName 10.9.9.9
  ProxyJump outer
Host outer
  Port 2200
"""


def test_the_keywords_people_use_are_honoured(tmp_path: Path) -> None:
    found = destination(tmp_path, CONFIG)
    assert (found.host, found.port, found.user, found.connect_seconds) == ("10.0.0.1", 2222, "svc", 7.0)
    assert found.identity_files == (Path("/keys/one"), Path("/keys/two"))
    assert found.known_hosts[:2] == (Path("/pins/a"), Path("/pins/b"))
    assert found.known_as == "[10.0.0.1]:2222"


def test_the_inventory_wins_over_the_configuration(tmp_path: Path) -> None:
    found = destination(
        tmp_path, CONFIG, user="me", port=22, identity_file="/my/key", proxy_jump="none", known_hosts="/my/pins"
    )
    assert (found.host, found.port, found.user) == ("10.0.0.1", 22, "me")
    assert found.identity_files == (Path("/my/key"),)
    assert found.identities_only
    assert found.known_hosts == (Path("/my/pins"),)
    assert found.jumps == ()


def test_a_jump_may_have_a_jump_of_its_own(tmp_path: Path) -> None:
    found = destination(tmp_path, CONFIG)
    assert [(hop.host, hop.port) for hop in found.jumps] == [("outer", 2200), ("10.9.9.9", 2022)]
    assert found.jumps[1].user == "ops"


def test_a_chain_is_followed_in_order(tmp_path: Path) -> None:
    found = destination(tmp_path, "", proxy_jump="a@h1, h2:23 ,[fe80::1]:24")
    assert [(hop.host, hop.port) for hop in found.jumps] == [("h1", 22), ("h2", 23), ("fe80::1", 24)]


WRONG = {
    "jump in a circle": "Host ws1\n  ProxyJump a\nHost a\n  ProxyJump b\nHost b\n  ProxyJump a\n",
    "jump that is none": "Host ws1\n  ProxyJump a@b@c\n",
    "port of a jump": "Host ws1\n  ProxyJump a:99999\n",
    "port": "Host ws1\n  Port ssh\n",
    "proxy command": "Host ws1\n  ProxyCommand nc %h %p\n",
    "not a configuration": "Host\n",
    "no keyword": "Host ws1\n  Whatever\n",
}


@pytest.mark.parametrize("config", WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_is_an_error_with_its_file(tmp_path: Path, config: str) -> None:
    with pytest.raises(SettingsError) as caught:
        destination(tmp_path, config)
    assert str(tmp_path / "config") in str(caught.value)


def test_a_named_configuration_must_exist(tmp_path: Path) -> None:
    host = Host(id=HostId("h"), engine="osqueryi", settings=MappingProxyType({"ssh_config": str(tmp_path / "none")}))
    with pytest.raises(SettingsError):
        resolve(host)
