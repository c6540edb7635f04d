"""Approvals files: what is accepted, what matches, and the one line for everything that is wrong."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from fleetscan.baseline.approvals import Approval, load_approvals, to_yaml, use
from fleetscan.domain.entity import Entity
from fleetscan.errors import ApprovalError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = r"""
approvals:
- id: vpn-shim
  owner: it-security
  reason: VPN client, ticket 4711
  created: 2026-11-01
  expires: 2027-03-31
  scope: group
  groups: [clients, vpn-*]
  entity: {kind: sip, view: native, set: CryptSIPDllVerifyIndirectData, id: 603BCC1F-4B59-4E08-B724-D2C6297EF351}
  attributes: {dll: 'C:\Windows\System32\shim.dll', function: Verify}
"""
TODAY = date(2026, 11, 21)


def write(folder: Path, text: str, name: str = "approvals.yml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def entity(**changed: str) -> Entity:
    identity = {"view": "native", "set": "CryptSIPDllVerifyIndirectData", "id": "603bcc1f-4b59-4e08-b724-d2c6297ef351"}
    attributes = {"dll": r"{system32}\shim.dll", "function": "Verify"}
    return Entity(
        kind=changed.pop("kind", "sip"),
        identity=tuple((name, changed.get(name, value)) for name, value in identity.items()),
        attributes=tuple((name, changed.get(name, value)) for name, value in attributes.items()),
    )


def good(tmp_path: Path) -> Approval:
    [approval] = load_approvals([write(tmp_path, GOOD)])
    return approval


def test_an_approval_matches_identity_and_attributes(tmp_path: Path) -> None:
    assert good(tmp_path).matches(entity())


@pytest.mark.parametrize(
    "changed",
    [{"dll": r"c:\x\shim.dll"}, {"function": "Other"}, {"view": "wow64"}, {"id": "other"}, {"kind": "trust"}],
    ids=str,
)
def test_anything_else_is_not_approved(tmp_path: Path, changed: dict[str, str]) -> None:
    assert not good(tmp_path).matches(entity(**changed))


def test_a_hash_must_agree_when_one_is_given(tmp_path: Path) -> None:
    text = GOOD.replace("  entity:", "  sha256: AB12\n  entity:")
    [approval] = load_approvals([write(tmp_path, text)])
    assert approval.matches(entity(), "ab12")
    assert not approval.matches(entity(), "cd34")
    assert not approval.matches(entity())


def test_groups_hosts_and_the_fleet(tmp_path: Path) -> None:
    approval = good(tmp_path)
    assert approval.covers_host("a", ("VPN-berlin",))
    assert not approval.covers_host("a", ("servers",))
    text = GOOD.replace("scope: group", "scope: host").replace("groups: [clients, vpn-*]", "hosts: [WS-*]")
    [by_host] = load_approvals([write(tmp_path, text)])
    assert by_host.covers_host("ws-01", ())
    assert not by_host.covers_host("srv-01", ())


def test_it_holds_through_its_last_day(tmp_path: Path) -> None:
    approval = good(tmp_path)
    assert not approval.is_expired(date(2027, 3, 31))
    assert approval.is_expired(date(2027, 4, 1))


def test_expired_and_unused_ones_are_named(tmp_path: Path) -> None:
    approval = good(tmp_path)
    assert [one.state for one in use([approval], {approval.id: 3}, TODAY)] == ["active"]
    assert [one.state for one in use([approval], {}, TODAY)] == ["never used"]
    assert [one.state for one in use([approval], {approval.id: 3}, date(2028, 1, 1))] == ["expired"]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    approval = good(tmp_path)
    [again] = load_approvals([write(tmp_path, to_yaml(approval), "b.yml")])
    assert (again.identity, again.attributes, again.expires) == (
        approval.identity,
        approval.attributes,
        approval.expires,
    )


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "a.yml")
    write(tmp_path, GOOD.replace("vpn-shim", "other"), "b.yaml")
    write(tmp_path, "not yaml: [", "c.txt")
    assert [one.id for one in load_approvals([tmp_path])] == ["vpn-shim", "other"]


BAD = {
    "wrong date": (GOOD.replace("2027-03-31", "31.03.2027"), 3, "expires is no date"),
    "impossible date": (GOOD.replace("2027-03-31", "2027-02-31"), 3, "not valid"),
    "expires before created": (GOOD.replace("2027-03-31", "2026-01-31"), 3, "before it was created"),
    "unknown key": (GOOD.replace("owner:", "ownr:"), 3, "unknown keys ownr"),
    "no owner": (GOOD.replace("it-security", "''"), 3, "missing owner"),
    "identity alone": (GOOD[: GOOD.index("  attributes")], 3, "whatever is put there"),
    "unknown scope": (GOOD.replace("scope: group", "scope: world"), 3, "unknown scope"),
    "scope without names": (GOOD.replace("  groups: [clients, vpn-*]\n", ""), 3, "scope group needs groups"),
    "no entity": (GOOD.replace("{kind: sip, view", "{view"), 3, "entity needs kind"),
    "not a mapping": ("approvals: [text]", 1, "an approval is a mapping"),
    "unknown top key": ("aprovals: []", 1, "unknown key 'aprovals'"),
    "a text": ("hello", 1, "is a list of approvals"),
    "broken YAML": ("approvals: [", 1, "not valid YAML"),
    "twice": (GOOD + GOOD[GOOD.index("- id") :], 12, "exists twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, name: str) -> None:
    text, line, words = BAD[name]
    path = write(tmp_path, text)
    with pytest.raises(ApprovalError, match=words) as caught:
        load_approvals([path])
    assert str(caught.value).startswith(f"{path}:{line}")


def test_a_missing_or_binary_file_is_an_approval_error(tmp_path: Path) -> None:
    with pytest.raises(ApprovalError, match="cannot be read"):
        load_approvals([tmp_path / "none.yml"])
    (tmp_path / "x.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ApprovalError, match="cannot be read"):
        load_approvals([tmp_path / "x.yml"])


def test_all_problems_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    second = GOOD[GOOD.index("- id") :].replace("vpn-shim", "two").replace("scope: group", "scope: world")
    text = GOOD.replace("owner:", "ownr:") + second
    with pytest.raises(ApprovalError) as caught:
        load_approvals([write(tmp_path, text)])
    assert "unknown keys ownr" in str(caught.value)
    assert "unknown scope" in str(caught.value)
