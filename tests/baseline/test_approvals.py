"""Approvals files: what is accepted, what matches, and the one line for everything that is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from fleetscan.baseline.approvals import Approval, ApprovalIndex, appended, load_approvals, to_yaml, use
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
ATTRIBUTES = GOOD[GOOD.index("{dll:") :].strip()
IDENTITY = GOOD[GOOD.index("{kind:") : GOOD.index("\n  attributes")]
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
    [approval] = load_approvals([write(tmp_path, GOOD, "good.yml")])
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
    text = GOOD.replace("  entity:", f"  sha256: {'AB' * 32}\n  entity:")
    [approval] = load_approvals([write(tmp_path, text)])
    assert approval.matches(entity(), "ab" * 32)
    assert not approval.matches(entity(), "cd" * 32)
    assert not approval.matches(entity())


def test_values_are_the_texts_that_stand_there(tmp_path: Path) -> None:
    """YAML would make 0x10 a number, no a truth and 010 an eight: then nothing would match."""
    text = GOOD.replace("{dll: 'C:\\Windows\\System32\\shim.dll', function: Verify}", "{data: 0x10, type: no}")
    text = text.replace("kind: sip", "kind: registry_value").replace("[clients, vpn-*]", "[010]")
    [approval] = load_approvals([write(tmp_path, text)])
    assert approval.attributes == (("data", "0x10"), ("type", "no"))
    assert approval.groups == ("010",)


def test_attributes_are_those_of_the_entity_and_nothing_else(tmp_path: Path) -> None:
    for attributes in ("dll: 'C:\\Windows\\System32\\shim.dll', nothing: ''", "dll: '', function: ''"):
        text = GOOD.replace(ATTRIBUTES, f"{{{attributes}}}")
        [approval] = load_approvals([write(tmp_path, text)])
        assert not approval.matches(entity())


def test_the_identity_is_whole_and_in_any_order(tmp_path: Path) -> None:
    whole = GOOD.replace("kind: sip, view: native", "view: native, kind: sip")
    assert load_approvals([write(tmp_path, whole)])[0].matches(entity())
    part = GOOD.replace(" view: native,", "")
    assert not load_approvals([write(tmp_path, part)])[0].matches(entity())


def test_a_key_is_nothing_but_its_identity(tmp_path: Path) -> None:
    text = GOOD.replace(IDENTITY, "{kind: registry_key, key: K}").replace(f"  attributes: {ATTRIBUTES}\n", "")
    [approval] = load_approvals([write(tmp_path, text)])
    assert approval.matches(Entity(kind="registry_key", identity=(("key", "k"),)))
    assert not approval.matches(Entity(kind="registry_key", identity=(("key", "K\\L"),)))


@pytest.mark.parametrize(
    "before",
    [
        "",
        "# ours\n",
        "approvals:\n",
        "approvals:  # ours",
        GOOD,
        GOOD.replace("\n  ", "\n      ").replace("\n-", "\n    -"),
        GOOD[GOOD.index("- id") :],
    ],
    ids=["empty", "comment", "waiting", "no line end", "not indented", "indented", "plain list"],
)
def test_one_more_is_written_as_the_others_are(tmp_path: Path, before: str) -> None:
    path = write(tmp_path, before)
    known = load_approvals([path])
    more = replace(good(tmp_path), id="more")
    path.write_text(appended(before, more), encoding="utf-8")
    assert [one.id for one in load_approvals([path])] == [*(one.id for one in known), "more"]
    assert path.read_text(encoding="utf-8").startswith(before)


def test_the_index_finds_what_matching_one_by_one_finds(tmp_path: Path) -> None:
    approval = good(tmp_path)
    index = ApprovalIndex.standing([approval, replace(approval, expires=date(2026, 11, 20))], TODAY)
    assert index.of(entity(), "a", ["clients"]) == (approval,)
    assert index.of(entity(), "a", ["other"]) == ()
    assert index.of(entity(dll="x"), "a", ["clients"]) == ()
    assert ApprovalIndex.standing([], TODAY).of(entity(), "a", ["clients"]) == ()


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


NO_PIN = "would approve whatever is put there"
BAD = {
    "wrong date": (GOOD.replace("2027-03-31", "31.03.2027"), 7, "expires is no date"),
    "impossible date": (GOOD.replace("2027-03-31", "2027-02-31"), 7, "expires is no date"),
    "date with a time": (GOOD.replace("2027-03-31", "2027-03-31T12:00:00"), 7, "expires is no date"),
    "a number as date": (GOOD.replace("2026-11-01", "20261101"), 6, "created is no date"),
    "date in other digits": (GOOD.replace("2027-03-31", "\u0662027-03-31"), 7, "expires is no date"),
    "expires before created": (GOOD.replace("2027-03-31", "2026-01-31"), 7, "before it was created"),
    "unknown key": (GOOD.replace("owner:", "ownr:"), 4, "unknown keys ownr"),
    "a key twice": (GOOD.replace("  scope:", "  expires: 2099-01-01\n  scope:"), 8, "'expires' stands twice"),
    "no owner": (GOOD.replace("it-security", "''"), 3, "missing owner"),
    "a blank owner": (GOOD.replace("it-security", "' '"), 3, "missing owner"),
    "null as reason": (GOOD.replace("VPN client, ticket 4711", "~"), 3, "missing reason"),
    "owners": (GOOD.replace("it-security", "[a, b]"), 4, "owner is a list, not a text"),
    "identity alone": (GOOD[: GOOD.index("  attributes")], 3, NO_PIN),
    "no attributes": (GOOD.replace(ATTRIBUTES, "{}"), 3, NO_PIN),
    "a GUID alone": (GOOD.replace(ATTRIBUTES, "{id: 603BCC1F-4B59-4E08-B724-D2C6297EF351}"), 11, "pins nothing"),
    "a GUID, and its view": (GOOD.replace(ATTRIBUTES, "{view: native}"), 11, "pins nothing"),
    "a GUID and a function": (GOOD.replace(ATTRIBUTES, "{function: Verify}"), 11, NO_PIN),
    "a GUID and a name that means nothing": (GOOD.replace(ATTRIBUTES, "{nothing: ''}"), 11, NO_PIN),
    "a file name alone": (GOOD.replace(IDENTITY, "{kind: file, path: x}").replace(ATTRIBUTES, "{uid: 0}"), 11, NO_PIN),
    "a value's name alone": (
        GOOD.replace(IDENTITY, "{kind: registry_value, key: K, name: N}").replace(ATTRIBUTES, "{type: text}"),
        11,
        NO_PIN,
    ),
    "a hash that is none": (GOOD.replace("  entity:", "  sha256: AB12\n  entity:"), 10, "sha256 is not a SHA-256"),
    "unknown scope": (GOOD.replace("scope: group", "scope: world"), 8, "unknown scope"),
    "scope without names": (GOOD.replace("  groups: [clients, vpn-*]\n", ""), 8, "scope group needs groups"),
    "scope and other names": (GOOD.replace("scope: group", "scope: fleet"), 9, "scope fleet does not go with groups"),
    "hosts that are none": (GOOD.replace("[clients, vpn-*]", "[{a: b}]"), 9, "groups is a list of names"),
    "no entity": (GOOD.replace("{kind: sip, view", "{view"), 10, "entity needs kind"),
    "kind alone": (GOOD.replace(IDENTITY, "{kind: sip}"), 10, "entity needs kind"),
    "deep entity": (GOOD.replace(IDENTITY, "{kind: sip, id: [a]}"), 10, "holds more than texts"),
    "not a mapping": ("approvals: [text]", 1, "an approval is a mapping"),
    "unknown top key": ("aprovals: []", 1, "unknown key 'aprovals'"),
    "a second top key": (GOOD + "more: []", 12, "unknown key 'more'"),
    "two lists": (GOOD + "approvals: []", 12, "'approvals' stands twice"),
    "two documents": (GOOD + "---\napprovals: []", 12, "second YAML document"),
    "a text": ("hello", 1, "is a list of approvals"),
    "broken YAML": ("approvals: [", 1, "not valid YAML"),
    "nested without end": ("approvals: " + "[" * 5000, 1, "nested more than"),
    "an object of Python": ("approvals: [!!python/object/apply:os.system [x]]", 1, "an approval is a mapping"),
    "twice": (GOOD + GOOD[GOOD.index("- id") :], 12, "exists twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, name: str) -> None:
    text, line, words = BAD[name]
    path = write(tmp_path, text)
    with pytest.raises(ApprovalError, match=words) as caught:
        load_approvals([path])
    found = str(caught.value)
    assert found.startswith((f"{path}:{line}:", f"{path}:{line + (name == 'broken YAML')}:")), found
    assert "(try: " in found, "every error says what to try"


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
