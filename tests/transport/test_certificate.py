"""Certificates of hosts as bytes: another library writes them, and nobody who changes a bit of one is believed."""

from __future__ import annotations

import base64
from functools import cache
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.ssh import SSHCertificateBuilder, SSHCertificateType
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.transport.certificate import CertificateError, read
from fleetscan.transport.known_hosts import KnownHosts, PinnedKey, ShownKey, Trust, Verdict, bare_name, entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

NOW = 1_800_000_000
FOREVER = 2**64 - 1
KINDS = ("ed25519", "p256", "p384", "p521", "rsa")


@cache
def private(kind: str) -> Private:
    """The key of a kind; of "host" and "other" there is one each, too."""
    curves: Mapping[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(curves[kind]) if kind in curves else ed25519.Ed25519PrivateKey.generate()


def public(kind: str) -> PinnedKey:
    name, blob = private(kind).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()
    return PinnedKey(name.decode(), base64.b64decode(blob))


def certificate(
    key: str = "host",
    authority: str = "ed25519",
    *,
    principals: Sequence[bytes] = (b"ws1",),
    valid: tuple[int, int] = (0, FOREVER),
    critical: Sequence[bytes] = (),
    kind: SSHCertificateType = SSHCertificateType.HOST,
) -> bytes:
    """The blob of a certificate."""
    builder = SSHCertificateBuilder().public_key(private(key).public_key()).type(kind).key_id(b"tests").serial(7)
    builder = builder.valid_after(valid[0]).valid_before(valid[1])
    builder = builder.valid_principals(list(principals)) if principals else builder.valid_for_all_principals()  # type: ignore[no-untyped-call]  # as published
    for name in critical:
        builder = builder.add_critical_option(name, b"value")
    return base64.b64decode(builder.sign(private(authority)).public_bytes().split()[1])


def verdict(blob: bytes, *, known: str = "", key: str = "host", authority: str = "ed25519", now: int = NOW) -> Verdict:
    """Of a server called ws1 that shows this, where ``authority`` is trusted."""
    pins = KnownHosts([entry("@cert-authority *", public(authority), hashed=False), known])
    return pins.verdict("ws1", ShownKey(public(key), blob), now)


@pytest.mark.parametrize("authority", KINDS)
@pytest.mark.parametrize("key", KINDS)
def test_every_kind_of_key_signs_and_is_signed(key: str, authority: str) -> None:
    found = verdict(certificate(key, authority), key=key, authority=authority)
    assert found == Verdict(Trust.KNOWN, public(authority))


@given(
    key=st.sampled_from(KINDS),
    principals=st.lists(st.binary(max_size=20), max_size=9),
    valid=st.tuples(st.integers(0, FOREVER), st.integers(0, FOREVER)).map(lambda pair: (min(pair), max(pair))),
    critical=st.sets(st.binary(min_size=1, max_size=9), max_size=3).map(sorted),
    kind=st.sampled_from(SSHCertificateType),
)
def test_what_another_library_writes_is_read(
    key: str,
    principals: list[bytes],
    valid: tuple[int, int],
    critical: list[bytes],
    kind: SSHCertificateType,
) -> None:
    found = read(certificate(key, principals=principals, valid=valid, critical=critical, kind=kind))
    assert (found.key, found.authority) == (public(key).blob, public("ed25519").blob)
    assert [name.encode("utf-8", "surrogateescape") for name in found.principals] == principals
    assert (found.valid_after, found.valid_before) == valid
    assert [name.encode("utf-8", "surrogateescape") for name in found.critical] == critical
    assert found.for_hosts == (kind is SSHCertificateType.HOST)
    assert found.is_signed()


@given(authority=st.sampled_from(KINDS), place=st.integers(0, 2**16), bit=st.integers(0, 7))
def test_a_changed_bit_is_never_believed(authority: str, place: int, bit: int) -> None:
    blob = bytearray(certificate(authority=authority))
    blob[place % len(blob)] ^= 1 << bit
    found = verdict(bytes(blob), authority=authority)
    assert found.trust is Trust.UNKNOWN
    assert found.doubt.startswith("its certificate ")


@given(blob=st.binary(max_size=400), cut=st.integers(0, 400))
def test_bytes_that_are_no_certificate_are_called_so(blob: bytes, cut: int) -> None:
    whole = certificate()
    for text in (blob, whole[:cut] + blob + whole[cut:] + b"x", whole + blob + b"x"):
        with pytest.raises(CertificateError):
            read(text)
    with pytest.raises(CertificateError, match="is cut off"):
        read(whole[: min(cut, len(whole) - 1)])


def packed(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def resigned(blob: bytes, authority: bytes, signature: bytes) -> bytes:
    """A certificate with another signature, and the key that shall have made it."""
    found = read(blob)
    body = found.signed[: -len(packed(found.authority))]
    return body + packed(authority) + packed(signature)


def test_a_signature_with_sha_1_is_none() -> None:
    signer = private("rsa")
    assert isinstance(signer, rsa.RSAPrivateKey)
    made = signer.sign(read(certificate(authority="rsa")).signed, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - refused below
    blob = resigned(certificate(authority="rsa"), public("rsa").blob, packed(b"ssh-rsa") + packed(made))
    assert verdict(blob, authority="rsa").doubt == "its certificate is signed with ssh-rsa, which is not allowed"


def test_an_authority_in_a_security_token_is_not_checked_and_it_is_said() -> None:
    kind = "sk-ssh-ed25519@openssh.com"
    token = PinnedKey(kind, packed(kind.encode()) + packed(b"k" * 32) + packed(b"ssh:"))
    blob = resigned(certificate(), token.blob, packed(kind.encode()) + packed(b"s" * 64) + b"\x01\x00\x00\x00\x01")
    line = entry("@cert-authority *", token, hashed=False)
    found = verdict(blob, known=f"{line}\n")
    assert found.doubt == f"its certificate is signed with a key of type {kind}, which cannot be checked"
    assert found.trust is Trust.UNKNOWN
    assert verdict(blob, known=f"{line}\n{entry('ws1', public('host'), hashed=False)}").trust is Trust.KNOWN


def test_a_forged_certificate_takes_its_pinned_key_with_it() -> None:
    forged = resigned(certificate(), public("ed25519").blob, read(certificate(authority="other")).signature)
    pinned = entry("ws1", public("host"), hashed=False)
    for known in ("", pinned):
        found = verdict(forged, known=known)
        assert found.trust is Trust.UNKNOWN
        assert found.doubt == f"its certificate is not signed by {public('ed25519')}, which it names"
        assert found.broken
    assert verdict(certificate(key="other"), known=pinned).doubt == (
        "its certificate is for another key than the one it has"
    )
    assert verdict(forged, known=entry("ws1", public("other"), hashed=False)).trust is Trust.CHANGED


def bent(signature: bytes, what: str) -> bytes:
    """An ECDSA signature whose numbers are the same, but not its lengths."""
    value = signature[len(packed(b"ecdsa-sha2-nistp256")) + 4 :]
    first = 4 + int.from_bytes(value[:4], "big")
    second = value[first + 4 :]
    return {
        "behind it": signature + b"x",
        "a field behind it": signature + packed(b""),
        "behind its numbers": packed(b"ecdsa-sha2-nistp256") + packed(value + b"x"),
        "a length beyond the end": packed(b"ecdsa-sha2-nistp256")
        + packed(value[:first] + b"\x7f\xff\xff\xff" + second),
    }[what]


@pytest.mark.parametrize("what", ["behind it", "a field behind it", "behind its numbers", "a length beyond the end"])
def test_a_signature_has_one_form(what: str) -> None:
    blob = certificate(authority="p256")
    found = read(blob)
    assert found.is_signed()
    assert not read(resigned(blob, found.authority, bent(found.signature, what))).is_signed()


TIMES = {
    "its first second": ((NOW, NOW + 1), ""),
    "before it": ((NOW + 1, FOREVER), "its certificate is not valid before 2027-01-15 08:00 UTC"),
    "its end": ((0, NOW), "its certificate expired on 2027-01-15 08:00 UTC"),
    "a day no calendar has": ((2**63, FOREVER), "its certificate is not valid before 9999-12-31 23:59 UTC"),
}


@pytest.mark.parametrize(("valid", "doubt"), TIMES.values(), ids=TIMES)
def test_a_certificate_has_its_time(valid: tuple[int, int], doubt: str) -> None:
    found = verdict(certificate(valid=valid))
    assert found.doubt == doubt
    assert (found.trust is Trust.KNOWN) == (not doubt)


NAMES = {
    "its own": ((b"ws1",), ""),
    "one of several": ((b"a", b"ws1"), ""),
    "another": ((b"ws2",), "is for ws2, not for ws1"),
    "in other letters": ((b"WS1",), "is for WS1, not for ws1"),
    "a pattern": ((b"ws*",), "is for ws*, not for ws1"),
    "an empty one": ((b"",), "is for , not for ws1"),
    "one that paints": ((b"\x1b[2J\n\xff", b"b"), "is for ?[2J??, b, not for ws1"),
    "a long one": ((b"x" * 999,), f"is for {'x' * 80}, not for ws1"),
    "many": ((b"a", b"b", b"c", b"d", b"e"), "is for a, b, c and 2 more, not for ws1"),
}


@pytest.mark.parametrize(("principals", "doubt"), NAMES.values(), ids=NAMES)
def test_a_certificate_is_for_the_names_in_it(principals: tuple[bytes, ...], doubt: str) -> None:
    assert verdict(certificate(principals=principals)).doubt.removeprefix("its certificate ") == doubt


def test_a_certificate_without_names_is_for_all() -> None:
    assert verdict(certificate(principals=())).trust is Trust.KNOWN


def test_a_certificate_of_a_user_or_with_an_unknown_condition_is_none_for_a_host() -> None:
    assert verdict(certificate(kind=SSHCertificateType.USER)).doubt == "its certificate is one for users"
    strict = certificate(critical=[b"only-on-mondays"])
    assert verdict(strict).doubt == "its certificate has the critical option only-on-mondays, which is not known"


@pytest.mark.parametrize("purpose", [0, 3, 2**32 - 1])
def test_a_certificate_for_something_else_is_none(purpose: int) -> None:
    serial, host = (7).to_bytes(8, "big"), (2).to_bytes(4, "big")
    blob = certificate().replace(serial + host, serial + purpose.to_bytes(4, "big"))
    with pytest.raises(CertificateError, match=f"unknown purpose {purpose}"):
        read(blob)


def test_only_an_authority_of_this_name_vouches_for_it() -> None:
    found = verdict(certificate(authority="other"))
    words = f"is signed by {public('other')}, which no @cert-authority line names for it"
    assert found == Verdict(Trust.UNKNOWN, doubt=f"its certificate {words}")
    elsewhere = entry("@cert-authority ws2", public("other"), hashed=False)
    assert verdict(certificate(authority="other"), known=elsewhere) == found
    assert not found.broken


def test_a_port_is_no_part_of_the_name_in_a_certificate() -> None:
    for pattern in ("ws1", "[ws1]:2222", "*"):
        pins = KnownHosts([f"@cert-authority {pattern} {text(public('ed25519'))}"])
        found = pins.verdict("[ws1]:2222", ShownKey(public("host"), certificate()), NOW)
        assert found == Verdict(Trust.KNOWN, public("ed25519"))


def test_a_list_without_end_is_not_read() -> None:
    whole = certificate(principals=[b"ws1"] * 256)
    assert verdict(whole).trust is Trust.KNOWN
    with pytest.raises(CertificateError, match="a list of more than 256 entries"):
        read(certificate(principals=[b"a"]).replace(packed(packed(b"a")), packed(packed(b"a") * 257)))


def test_whoever_revokes_a_certificate_revokes_the_key_in_it() -> None:
    blob = certificate()
    kind = f"{public('host').type}-cert-v01@openssh.com"
    revoked = (
        f"@revoked * {kind} {base64.b64encode(blob).decode()}\n@revoked * {kind} {base64.b64encode(b'x').decode()}"
    )
    assert verdict(blob, known=revoked) == Verdict(Trust.REVOKED)
    assert KnownHosts([revoked]).judge("ws1", public("host")) is Trust.REVOKED
    assert verdict(certificate(), known=f"@cert-authority * {kind} AAAA").trust is Trust.KNOWN


def test_what_is_revoked_without_port_is_revoked_on_all_ports_of_an_authority() -> None:
    authority, host = public("ed25519"), public("host")
    for revoked in (authority, host):
        lines = f"@cert-authority ws1 {text(authority)}\n@revoked ws1 {text(revoked)}"
        assert KnownHosts([lines]).verdict("[ws1]:2222", ShownKey(host, certificate()), NOW).trust is Trust.REVOKED


def text(key: PinnedKey) -> str:
    return f"{key.type} {base64.b64encode(key.blob).decode()}"


def test_a_name_loses_its_port() -> None:
    names = ("ws1", "[ws1]:2222", "::1", "[::1]:22", "[fe80::1%eth0]:7", "]:", "[a]:")
    assert [bare_name(name) for name in names] == ["ws1", "ws1", "::1", "::1", "fe80::1%eth0", "]:", "a"]
