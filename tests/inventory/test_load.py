"""Inventories as people write them: what they resolve to, and what a mistake is answered with."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.errors import InventoryError
from fleetscan.inventory import load_inventory

if TYPE_CHECKING:
    from pathlib import Path

    from fleetscan.inventory import Inventory
    from fleetscan.model.host import Host

NESTED = """
vars: {user: svc, timeout: 60}
hosts:
  dc1.corp: {port: 2222}
groups:
  demo:
    vars: {engine: embedded}
    concurrency: 3
    hosts:
      win10-clean: {hives: demo/win10-clean}
  workstations:
    children: [berlin]
    vars: {site: nowhere, user: "${WS_USER:-bob}"}
  berlin:
    hosts: ["ws-[001:003].corp"]
    vars: {site: berlin}
"""


def write(folder: Path, text: str, name: str = "fleet.yml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def host(inventory: Inventory, name: str) -> Host:
    return next(host for host in inventory if host.id == name)


def names(inventory: Inventory) -> list[str]:
    return [host.id for host in inventory]


def test_settings_come_from_the_host_then_the_nearest_group_then_vars(tmp_path: Path) -> None:
    inventory = load_inventory(write(tmp_path, NESTED), {})
    assert dict(host(inventory, "ws-002.corp").settings) == {"user": "bob", "timeout": 60.0, "site": "berlin"}
    assert dict(host(inventory, "dc1.corp").settings) == {"user": "svc", "timeout": 60.0, "port": 2222}


def test_groups_hold_the_hosts_of_their_children(tmp_path: Path) -> None:
    inventory = load_inventory(write(tmp_path, NESTED), {})
    assert sorted(inventory.groups["workstations"]) == ["ws-001.corp", "ws-002.corp", "ws-003.corp"]
    assert len(inventory.groups["all"]) == 5
    assert dict(inventory.concurrency) == {"demo": 3}


def test_engine_is_inherited_and_paths_are_relative_to_the_inventory(tmp_path: Path) -> None:
    found = host(load_inventory(write(tmp_path, NESTED), {}), "win10-clean")
    assert found.engine == "embedded"
    assert found.settings["hives"] == str(tmp_path / "demo/win10-clean")


def test_the_environment_is_referenced_by_name(tmp_path: Path) -> None:
    inventory = load_inventory(write(tmp_path, NESTED), {"WS_USER": "alice"})
    assert host(inventory, "ws-001.corp").settings["user"] == "alice"


def test_anchors_and_merge_keys_are_understood(tmp_path: Path) -> None:
    text = "groups:\n  a:\n    vars: &base {user: x, port: 22}\n    hosts: [h1]\n"
    text += "  b:\n    vars: {<<: *base, port: 23}\n    hosts: [h2]\n"
    assert dict(host(load_inventory(write(tmp_path, text), {}), "h2").settings) == {"user": "x", "port": 23}


WRONG = {
    "duplicate host in a list": ("hosts: [a, b, a]\n", 1, "stands twice"),
    "duplicate host by a range": ("hosts:\n  ws-[1:3]:\n  ws-2:\n", 3, "'ws-2' stands twice, first on line 2"),
    "duplicate key": ("hosts:\n  a: {}\n  a: {}\n", 3, "stands twice, first on line 2"),
    "one host in two spellings": ("hosts:\n- WS1\n- ws1\n", 3, "are one host"),
    "cycle of groups": (
        "hosts: [h]\ngroups:\n  a: {children: [b]}\n  b: {children: [c]}\n  c: {children: [a]}\n",
        3,
        "its own descendant",
    ),
    "own child": ("hosts: [h]\ngroups:\n  a:\n    children: [a]\n", 4, "its own descendant"),
    "unknown child": ("hosts: [h]\ngroups:\n  berlin: {}\n  b: {children: [berlni]}\n", 4, "try: berlin"),
    "unknown key at the top": ("host: [a]\n", 1, "try: hosts"),
    "unknown key in a group": ("groups:\n  a:\n    host: [x]\n", 3, "unknown key 'host' in group a"),
    "unknown setting": ("hosts:\n  a:\n    prot: 22\n", 3, "try: port"),
    "secret": ("hosts:\n  a:\n    password: hunter2\n", 3, "an inventory holds no secrets"),
    "secret in place of a name": ("hosts:\n  a:\n    password_env: hunter-2!\n", 3, "name of an environment variable"),
    "wrong type": ("hosts:\n  a:\n    port: [22]\n", 3, "port must be a value, not a list"),
    "port out of range": ("hosts:\n  a: {port: 70000}\n", 2, "from 1 to 65535"),
    "port no number": ("hosts:\n  a: {port: ssh}\n", 2, "from 1 to 65535"),
    "time no number": ("vars: {timeout: soon}\n", 1, "number of seconds"),
    "flag": ("vars: {agent: maybe}\n", 1, "true or false"),
    "unknown engine": ("vars: {engine: osquery}\n", 1, "try: osquery"),
    "no hives": ("hosts:\n  a: {engine: embedded}\n", 2, "hives: PATH"),
    "hosts no list": ("hosts: 5\n", 1, "hosts must be a list or a mapping, not a text (try: hosts: [5])"),
    "range in no list": ("hosts: 'ws-[1:5], dc1'\n", 1, "(try: hosts: ['ws-[1:5]', dc1])"),
    "user in a name": ("hosts:\n- root@ws1\n", 2, "is no host name (try: ws1 with the setting user: root)"),
    "port of a name": ("hosts:\n- ws1:ssh\n", 2, "port must be a number"),
    "colons that are no address": ("hosts:\n- a:b:c\n", 2, "is no host name"),
    "no recording": ("hosts:\n  a: {engine: recorded}\n", 2, "(try: recording: PATH)"),
    "empty": ("hosts:\n  a: {user: ''}\n", 2, "user is empty"),
    "empty variable": ("hosts:\n  a: {user: '${X:-}'}\n", 2, "user is empty"),
    "nobody's home": ("hosts:\n  a: {known_hosts: ~nobody-at-all/x}\n", 2, "begins with the home of nobody here"),
    "no variable": ("hosts:\n  a: {user: '${NO NAME}'}\n", 2, "${NAME} or ${NAME:-default}"),
    "one socket, two hosts": ("vars: {engine: osqueryd}\nhosts:\n- a\n- b\n", 4, "a have one socket"),
    "groups no mapping": ("groups: [a]\n", 1, "groups must be a mapping"),
    "nothing in a list": ("hosts: [a, ]\ngroups: {b: {hosts: [~]}}\n", 2, "must be a name, not nothing"),
    "backwards": ("hosts: ['ws-[9:1]']\n", 1, "runs backwards"),
    "letters of two cases": ("hosts: ['ws-[a:F]']\n", 1, "is no range"),
    "endless range": ("hosts: ['w[1:99999999999]']\n", 1, "more than 1000000 hosts"),
    "no step": ("hosts: ['w[1:9:0]']\n", 1, "is no range"),
    "no range of words": ("hosts: ['w[aa:ac]']\n", 1, "is no host name"),
    "control character in a setting": ('hosts:\n  a: {user: "x\\ny"}\n', 2, "none of a name"),
    "too many hosts": ("hosts: ['w[1:9999]x[1:9999]']\n", 1, "more than"),
    "no host name": ("hosts: ['a b']\n", 1, "is no host name"),
    "missing variable": ("vars:\n  user: ${NOT_SET_ANYWHERE}\n", 2, "NOT_SET_ANYWHERE is not set"),
    "two groups disagree": (
        "groups:\n  a: {hosts: [h], vars: {user: x}}\n  b: {hosts: [h], vars: {user: y}}\n",
        3,
        "give it another user",
    ),
    "hosts disagree": ("groups:\n  a: {hosts: {h: {user: x}}}\n  b: {hosts: {h: {user: y}}}\n", 3, "another user"),
    "concurrency": ("groups:\n  a: {concurrency: 0, hosts: [h]}\n", 2, "concurrency must be"),
    "not YAML": ("hosts: [a\ngroups: b: c\n", 2, ""),
    "tab": ("hosts:\n\ta: {}\n", 2, ""),
    "two documents": ("hosts: [a]\n---\nhosts: [b]\n", 2, "second YAML document"),
    "deep": ("hosts: " + "[" * 60 + "]" * 60 + "\n", 1, "levels deep"),
    "unknown alias": ("hosts: *nobody\n", 1, "nobody"),
    "alias to itself": ("hosts: &a [*a]\n", 1, "a"),
    "control character": ("hosts:\n- [a\x01]\n", 2, "U+0001 is a character that YAML does not allow"),
    "empty file": ("", None, "no hosts"),
    "no hosts": ("groups: {a: {}}\n", None, "no hosts"),
}


@pytest.mark.parametrize(("text", "line", "says"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_named_with_file_and_line(tmp_path: Path, text: str, line: int | None, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InventoryError) as caught:
        load_inventory(path, {})
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{path}:{line}: " if line else f"{path}")
    assert "hunter" not in str(caught.value)


def test_an_alias_bomb_is_refused_quickly(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(InventoryError, match="aliases unfolded"):
        load_inventory(write(tmp_path, "\n".join(lines)), {})


def test_a_file_that_is_not_there_or_not_text_is_an_error_of_the_inventory(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="-i user@host,"):
        load_inventory(tmp_path / "none.yml")
    path = tmp_path / "binary.yml"
    path.write_bytes(b"hosts:\n- \xff\xfe\n")
    with pytest.raises(InventoryError, match=r"binary\.yml:2: not UTF-8 \(try: save it as UTF-8\)"):
        load_inventory(path)
    with pytest.raises(InventoryError, match=r"^-i: no inventory is named"):
        load_inventory("")


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass" if text.isascii() else "replace")
    # Any other exception is a failure of this test.
    with suppress(InventoryError):
        assert len(load_inventory(path, {})) > 0


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("alice@h1:2222,", [("h1", {"user": "alice", "port": 2222})]),
        ("h1,h2,", [("h1", {}), ("h2", {})]),
        ("svc@ws-[08:10],", [(f"ws-{n}", {"user": "svc"}) for n in ("08", "09", "10")]),
        ("corp\\bob@h1,", [("h1", {"user": "corp\\bob"})]),
        ("root@[2001:db8::1]:2222,", [("2001:db8::1", {"user": "root", "port": 2222})]),
        ("[fe80::1%eth0],::1,", [("fe80::1%eth0", {}), ("::1", {})]),
        ("[1:3]-x:22,", [("1-x", {"port": 22}), ("2-x", {"port": 22}), ("3-x", {"port": 22})]),
    ],
)
def test_hosts_from_the_command_line(source: str, expected: list[tuple[str, dict[str, object]]]) -> None:
    inventory = load_inventory(source)
    assert [(str(host.id), dict(host.settings)) for host in inventory] == expected
    assert {host.engine for host in inventory} == {"osqueryi"}


@pytest.mark.parametrize(
    "source", ["a:0,", "a@,", ",", "a b,", "h:22:23,", "[::1]:0,", "[::1]:,", "-x,", "..,", "::g,"]
)
def test_a_wrong_host_on_the_command_line_is_an_error(source: str) -> None:
    with pytest.raises(InventoryError, match=r"^-i: "):
        load_inventory(source)


INI = """
# an old friend
bare.corp ansible_port=2200
[web]
www[01:02].corp:2222 ansible_user=deploy ansible_password=s3cret
www3.corp ansible_host=10.0.0.3 ansible_ssh_common_args='-o ProxyJump=jump.corp'  ; comment is a word
[web:vars]
ansible_user=svc
http_port=80
fleetscan_site=berlin
[all_sites:children]
web
"""


def test_an_ansible_ini_inventory_is_imported(tmp_path: Path) -> None:
    path = write(tmp_path, INI.replace("  ; comment is a word", ""), "hosts.ini")
    inventory = load_inventory(path, {})
    assert names(inventory) == ["bare.corp", "www01.corp", "www02.corp", "www3.corp"]
    assert dict(host(inventory, "www01.corp").settings) == {"user": "deploy", "port": 2222, "site": "berlin"}
    assert dict(host(inventory, "www3.corp").settings) == {
        "user": "svc",
        "address": "10.0.0.3",
        "proxy_jump": "jump.corp",
        "site": "berlin",
    }
    assert host(inventory, "www3.corp").groups == ("web", "all_sites")
    assert any("ansible_password not read" in note for note in inventory.notes)
    assert any("http_port" in note for note in inventory.notes)
    assert not any("s3cret" in note for note in inventory.notes)


ANSIBLE_YAML = """
all:
  vars: {ansible_user: svc}
  hosts:
    mail.corp:
  children:
    web:
      hosts:
        www[1:2].corp: {ansible_port: 2222, tags: [a, b]}
    db:
      vars: {fleetscan_site: berlin}
      children:
        pg: {hosts: {pg1.corp: }}
"""


def test_an_ansible_yaml_inventory_is_told_from_ours_by_its_shape(tmp_path: Path) -> None:
    inventory = load_inventory(write(tmp_path, ANSIBLE_YAML), {})
    assert sorted(names(inventory)) == ["mail.corp", "pg1.corp", "www1.corp", "www2.corp"]
    assert dict(host(inventory, "pg1.corp").settings) == {"user": "svc", "site": "berlin"}
    assert host(inventory, "pg1.corp").groups == ("pg", "db")
    assert dict(host(inventory, "www2.corp").settings) == {"user": "svc", "port": 2222}


def test_a_csv_export_is_imported(tmp_path: Path) -> None:
    text = "Hostname;Address;Groups;Owner;user\nws1;10.0.0.1;web, berlin;Ann;svc\n\nws2;;;Bob;\n"
    inventory = load_inventory(write(tmp_path, text.replace("web, berlin", "web|berlin"), "cmdb.csv"), {})
    assert dict(host(inventory, "ws1").settings) == {"address": "10.0.0.1", "user": "svc"}
    assert inventory.groups["berlin"] == {"ws1"}
    assert dict(host(inventory, "ws2").settings) == {}
    assert inventory.notes == ("columns not used: owner",)


RANGES = {
    "ws-[1:3]": "ws-1 ws-2 ws-3",
    "ws-[08:10].corp": "ws-08.corp ws-09.corp ws-10.corp",
    "ws-[001:1000:333]": "ws-001 ws-334 ws-667 ws-1000",
    "[a:e:2]x": "ax cx ex",
    "r[1:2]c[A:B]": "r1cA r1cB r2cA r2cB",
    "b[5:5]": "b5",
    "2001:db8::1": "2001:db8::1",
}


@pytest.mark.parametrize(("pattern", "expected"), RANGES.items())
def test_ranges_have_steps_letters_and_leading_zeros(tmp_path: Path, pattern: str, expected: str) -> None:
    assert names(load_inventory(write(tmp_path, f"hosts: ['{pattern}']\n"), {})) == expected.split()


SSH_ARGUMENTS = {
    "-J jump.corp": {"proxy_jump": "jump.corp"},
    "-o ProxyJump=a@j1:22,b@j2": {"proxy_jump": "a@j1:22,b@j2"},
    "-oProxyJump=j -p 2222 -l svc": {"proxy_jump": "j", "port": 2222, "user": "svc"},
    "-o 'ProxyJump j'": {"proxy_jump": "j"},
    "-o ProxyCommand='ssh -W %h:%p -q bob@gate.corp'": {"proxy_jump": "bob@gate.corp"},
    "-o ProxyCommand='/usr/bin/ssh -p 2022 -l bob -o X=y -W %h:%p gate'": {"proxy_jump": "bob@gate:2022"},
    "-C -q": {},
    "": {},
}


@pytest.mark.parametrize(("arguments", "expected"), SSH_ARGUMENTS.items())
@pytest.mark.parametrize("form", ["ini", "yml"])
def test_arguments_of_ssh_become_settings(
    tmp_path: Path, arguments: str, expected: dict[str, object], form: str
) -> None:
    if form == "ini":
        path = write(tmp_path, f'h1 ansible_ssh_common_args="{arguments}"\n', "hosts")
    else:
        path = write(tmp_path, f'all:\n  hosts:\n    h1: {{ansible_ssh_common_args: "{arguments}"}}\n')
    assert dict(host(load_inventory(path, {}), "h1").settings) == expected


def test_arguments_of_ssh_that_have_no_setting_are_named(tmp_path: Path) -> None:
    text = "h1 ansible_ssh_common_args='-C -o StrictHostKeyChecking=no -o ProxyCommand=\"nc %h %p\"'\n"
    inventory = load_inventory(write(tmp_path, text, "hosts"), {})
    assert inventory.notes == ("ssh arguments not used: -C, stricthostkeychecking, proxycommand",)


def test_an_ansible_inventory_may_hold_ipv6_addresses(tmp_path: Path) -> None:
    path = write(tmp_path, "[2001:db8::1]:2222\n2001:db8::2\n[web]\nfe80::3%eth0\n", "hosts")
    inventory = load_inventory(path, {})
    assert names(inventory) == ["2001:db8::1", "2001:db8::2", "fe80::3%eth0"]
    assert host(inventory, "2001:db8::1").settings["port"] == 2222


WINDOWS_BY_ANSIBLE = """
win1 ansible_host=10.0.0.1
[windows]
win[1:2]
win3:5986
win4 ansible_connection=ssh ansible_port=2222
[windows:vars]
ansible_connection=winrm
ansible_port=5986
ansible_user="CORP\\\\svc"   # a literal of Python, as Ansible reads it
ansible_winrm_transport=kerberos
"""


def test_a_port_of_winrm_is_not_taken_for_one_of_ssh(tmp_path: Path) -> None:
    inventory = load_inventory(write(tmp_path, WINDOWS_BY_ANSIBLE, "hosts.ini"), {})
    assert {host.id: dict(host.settings) for host in inventory} == {
        "win1": {"address": "10.0.0.1", "user": "CORP\\svc"},
        "win2": {"user": "CORP\\svc"},
        "win3": {"user": "CORP\\svc"},
        "win4": {"user": "CORP\\svc", "port": 2222},
    }
    assert "ansible_connection=winrm: these hosts are asked over SSH, and not at their ansible_port" in inventory.notes
    assert host(inventory, "win1").groups == ("windows",)


FOLDERS = {
    "hosts.ini": "h1 ansible_user=line\nh2\n[web]\nh1\nh3\n[web:vars]\nansible_user=section\n[eu:children]\nweb\n",
    "group_vars/all.yml": "ansible_port: 2200\nansible_user: everybody\nntp_server: x\nusers: [{name: a}]\n",
    "group_vars/web/connection.yml": "ansible_user: folder\n",
    "group_vars/web/secrets.yml": "$ANSIBLE_VAULT;1.1;AES256\n6231\n",
    "group_vars/eu": "ansible_ssh_private_key_file: keys/eu\nansible_host: '{{ inventory_hostname }}.eu'\n",
    "group_vars/nobody.yml": "ansible_user: nobody\n",
    "group_vars/README.md": "no variables: {",
    "host_vars/h3.yml": "---\nansible_port: 22\nansible_password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6231\n",
}


def with_folders(folder: Path) -> Path:
    for name, text in FOLDERS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder, text, name)
    return folder / "hosts.ini"


def test_group_vars_and_host_vars_win_as_they_do_in_ansible(tmp_path: Path) -> None:
    inventory = load_inventory(with_folders(tmp_path), {})
    key = str(tmp_path / "group_vars" / ".." / "keys" / "eu").replace("group_vars/../", "")
    assert {host.id: dict(host.settings) for host in inventory} == {
        "h1": {"user": "line", "port": 2200, "identity_file": key},
        "h2": {"user": "everybody", "port": 2200},
        "h3": {"user": "folder", "port": 22, "identity_file": key},
    }


def test_what_of_the_folders_cannot_be_read_is_said(tmp_path: Path) -> None:
    inventory = load_inventory(with_folders(tmp_path), {})
    assert inventory.notes == (
        "encrypted by ansible-vault, not read: group_vars/web/secrets.yml, ansible_password",
        f"templates are not evaluated, not read: ansible_host ({tmp_path / 'group_vars' / 'eu'}:2)",
    )
    write(tmp_path, "ansible_port: ssh\n", "host_vars/h2.yml")
    with pytest.raises(InventoryError, match=r"host_vars/h2\.yml:1: port must be"):
        load_inventory(tmp_path / "hosts.ini", {})
    write(tmp_path, "- a list\n", "host_vars/h2.yml")
    with pytest.raises(InventoryError, match=r"host_vars/h2\.yml:1: a mapping is expected"):
        load_inventory(tmp_path / "hosts.ini", {})


@pytest.mark.parametrize("name", ["hosts", "hosts.txt", "fleet.yml", "fleet.json"])
@pytest.mark.parametrize(
    "text",
    ["---\nhosts: [a]\n", "# ours\n\nhosts:\n- a\n", '{"hosts": ["a"]}\n', "all:\n  hosts:\n    a:\n"],
    ids=["marked", "ours", "JSON", "Ansible's"],
)
def test_yaml_is_known_by_how_it_begins(tmp_path: Path, name: str, text: str) -> None:
    assert names(load_inventory(write(tmp_path, text, name), {})) == ["a"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("hosts", "[web:hosst]\nh1\n", ":1: '[web:hosst]' is no section (try: [NAME], [NAME:vars] or [NAME:children])"),
        ("hosts", "[web\nh1\n", ":1: '[web' is no section"),
        ("hosts", "h1 ansible_user = x\n", ":1: 'ansible_user' is no NAME=VALUE (try: no blanks around ="),
        ("hosts", "$ANSIBLE_VAULT;1.1;AES256\n6231\n", "encrypted by ansible-vault (try: ansible-inventory -i FILE"),
        (
            "h.yml",
            "all:\n  hosts: {a: }\n  childern: {}\n",
            ":3: unknown key 'childern' (try: hosts, children or vars)",
        ),
        ("h.json", '{"_meta": {}, "web": {"hosts": ["a"]}}', ":1: this is what scripts give to Ansible"),
    ],
)
def test_a_mistake_in_an_inventory_of_ansible_says_what_to_try(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(InventoryError) as caught:
        load_inventory(write(tmp_path, text, name), {})
    assert says in str(caught.value)


def test_a_text_of_powershell_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "ad.csv").write_bytes('#TYPE X\r\n\r\n"DNSHostName";"user"\r\n"büro-1";"Jürgen"\r\n'.encode("utf-16"))
    inventory = load_inventory(tmp_path / "ad.csv", {})
    assert dict(host(inventory, "büro-1").settings) == {"user": "Jürgen"}


def test_lines_before_the_header_of_a_csv_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "#TYPE X\n\nHost Name,port\nws1:2222,\nws2,ssh\n", "a.csv")
    with pytest.raises(InventoryError, match=r"a\.csv:5: port must be"):
        load_inventory(path, {})
    inventory = load_inventory(write(tmp_path, "Host Name,port\nws1:2222,\nws2:2222,22\n", "a.csv"), {})
    assert [dict(host.settings) for host in inventory] == [{"port": 2222}, {"port": 22}]


CSVS = {
    "byte order mark": "\ufeffhost;user\r\nws1;x\r\n",
    "semicolon": "host;user\nws1;x\n",
    "tab": "host\tuser\nws1\tx\n",
    "quotes": '"host","user"\n"ws1","x"\n',
    "Excel's line": "sep=;\nhost;user\nws1;x\n",
    "other case, another order": " User ,Computer\nx, ws1 \n",
}


@pytest.mark.parametrize("text", CSVS.values(), ids=CSVS)
def test_csv_as_programs_write_it(tmp_path: Path, text: str) -> None:
    inventory = load_inventory(write(tmp_path, text, "cmdb.csv"), {})
    assert dict(host(inventory, "ws1").settings) == {"user": "x"}


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.csv", "computer,port\nh1,22\nh1,23\n", 3),
        ("a.csv", "address\n10.0.0.1\n", 1),
        ("a.csv", "host,password\nh,x\n", 1),
        ("a.csv", "host,port\nh,1,2\n", 2),
        ("a.csv", 'host\n"h\n', 2),
        ("a.csv", "host,port,host\na,1,b\n", 1),
        ("a.csv", "user,host\nx,\n", 2),
        ("a.csv", "sep=;\nhost;port\nh;ssh\n", 3),
        ("hosts", 'h1 ansible_ssh_common_args="-o \'x"\n', 1),
        ("hosts", "h1:ssh\n", 1),
        ("hosts", "[web\nh1\n", 1),
        ("hosts", "[web:vars]\nnothing\n", 2),
        ("hosts", "h1 'x\n", 1),
        ("hosts", "h1 word\n", 1),
        ("hosts", "h1 ansible_user={{ x }}\n", 1),
        ("hosts", "h1 fleetscan_password=x\n", 1),
        ("hosts.yml", "all:\n  hosts: [a]\n", 2),
    ],
)
def test_mistakes_in_foreign_formats_have_a_line(tmp_path: Path, name: str, text: str, line: int) -> None:
    path = write(tmp_path, text, name)
    with pytest.raises(InventoryError) as caught:
        load_inventory(path, {})
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_ten_thousand_hosts_resolve_in_order(tmp_path: Path) -> None:
    inventory = load_inventory(write(tmp_path, "groups: {ws: {hosts: ['ws-[00001:10000]']}}"), {})
    assert len(inventory) == 10_000
    assert inventory.hosts[9_999].id == "ws-10000"


def test_hives_may_be_a_list_of_exports_in_their_order(tmp_path: Path) -> None:
    text = "hosts:\n  a: {engine: embedded, hives: [base.reg, change.reg]}\n"
    inventory = load_inventory(write(tmp_path, text), {})
    assert host(inventory, "a").settings["hives"] == (str(tmp_path / "base.reg"), str(tmp_path / "change.reg"))


@pytest.mark.parametrize("value", ["[]", "[[a]]", "{a: b}"])
def test_hives_that_are_no_list_of_texts_are_refused_with_their_line(value: str, tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="hives") as refused:
        load_inventory(write(tmp_path, f"hosts:\n  a: {{engine: embedded, hives: {value}}}\n"), {})
    assert refused.value.where is not None
    assert refused.value.where.line == 2
