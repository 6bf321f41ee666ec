"""Certificates that people and programs have made, beside what pysequoia reads in them.

Debian's keyrings have the keys of a thousand developers, some made in the nineties, with what thirty years have added:
each is within the default bounds. pysequoia makes the newer kinds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pysequoia import Cert as SequoiaCert
from pysequoia import CipherSuite, Profile, Tsk
from pysequoia.packet import Packet, PacketPile, Tag

from proxy.hkp.certs import LISTED_USER_IDS, Cert, UploadBounds
from proxy.hkp.uploads import UploadKind, UploadReader
from tests.certs_for_tests import armored, form
from tests.keyrings_for_tests import CERTS, UNBOUNDED, debian_keyrings, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW_S = 1_800_000_000


def read(kind: UploadKind, body: bytes) -> tuple[Cert, ...]:
    """Return what is in an upload, with the default bounds."""
    reader = UploadReader(kind, UploadBounds(), NOW_S)
    reader.feed(body)
    return reader.finish().certs


def reference(data: bytes) -> Iterator[Cert]:
    """Yield what pysequoia finds in certificates; it knows no size, which is 0."""
    packets: list[Packet] = []
    for packet in PacketPile.from_bytes(data):
        if packet.tag == Tag.PublicKey and packets:
            yield described(packets)
            packets = []
        packets.append(packet)
    yield described(packets)


def described(packets: list[Packet]) -> Cert:
    """Return the facts of one certificate."""
    fingerprint, key_id = packets[0].fingerprint, packets[0].key_id
    assert fingerprint
    signatures = [packet for packet in packets if packet.tag == Tag.Signature]
    # Two of Debian's hold a signature in a signature with a number that pysequoia does not read; both are the owners'.
    named = [{each.issuer_fingerprint, each.issuer_key_id} - {None} for each in signatures if each.signature_version]
    third_party = sum(not names or not names <= {fingerprint, key_id} for names in named)
    user_ids = tuple(packet.body for packet in packets if packet.tag == Tag.UserID)[:LISTED_USER_IDS]
    return Cert(
        fingerprint.upper(), user_ids, len(packets), len(signatures), third_party, size_bytes=0, revocation_only=False
    )


@pytest.fixture(scope="module")
def keyrings() -> list[bytes]:
    """Return Debian's keyrings."""
    return debian_keyrings()


def test_debian_developers(keyrings: list[bytes]) -> None:
    """In each certificate the walk finds what pysequoia does: fingerprint, user ids, packets, signatures and whose."""
    found = [cert for keyring in keyrings for cert in walk(keyring, UNBOUNDED)]
    assert len(found) >= CERTS
    expected = [cert for keyring in keyrings for cert in reference(keyring)]
    assert [cert._replace(size_bytes=0, foreign=()) for cert in found] == expected


def test_debian_developers_may_upload(keyrings: list[bytes]) -> None:
    """Each certificate passes with the default bounds, as it lies there, and in a form as gpg writes it."""
    count = 0
    for keyring in keyrings:
        start = 0
        for cert in walk(keyring, UNBOUNDED):
            data = keyring[start : start + cert.size_bytes]
            assert read(UploadKind.BINARY, data) == (cert,)
            assert read(UploadKind.FORM, form(armored(data, summed=False))) == (cert,)
            start += cert.size_bytes
            count += 1
        assert start == len(keyring)
    assert count >= CERTS


def made(profile: Profile, suite: CipherSuite) -> SequoiaCert:
    """Make a certificate with two user ids."""
    user_ids = ["Alice <alice@example.org>", "Alic\u00e9 <alice@example.com>"]
    return Tsk.generate(user_ids=user_ids, profile=profile, cipher_suite=suite).extract_certificate()


@pytest.mark.parametrize(
    ("profile", "suite"),
    [
        *((profile, suite) for profile in ("RFC4880", "RFC9580") for suite in ("Cv25519", "Cv448", "P256", "P521")),
        ("RFC9580", "MLDSA65_Ed25519"),
        ("RFC9580", "MLDSA87_Ed448"),
    ],
)
def test_newer_kinds(profile: str, suite: str) -> None:
    """Certificates of both profiles, over the curves and with post-quantum algorithms, are found as they are."""
    cert = made(getattr(Profile, profile), getattr(CipherSuite, suite))
    data = bytes(cert)
    (found,) = read(UploadKind.FORM, form(str(cert).encode()))
    assert found == next(reference(data))._replace(size_bytes=len(data))
    assert found.fingerprint == cert.fingerprint.upper()
    assert found.third_party == 0
    assert len(found.fingerprint) == (64 if profile == "RFC9580" else 40)


def test_a_real_revocation() -> None:
    """The bare revocation that pysequoia makes is the revocation of its certificate."""
    secret = Tsk.generate(user_ids=["Alice <alice@example.org>"], profile=Profile.RFC9580)
    cert = secret.extract_certificate()
    data = bytes(cert.revoke(secret.certifier()))
    (found,) = read(UploadKind.BINARY, data)
    assert found == Cert(cert.fingerprint.upper(), (), 1, 1, 0, len(data), revocation_only=True)


def test_a_certification_by_somebody_else() -> None:
    """What another key has signed counts as a third party's."""
    alice = Tsk.generate(user_ids=["Alice <alice@example.org>"])
    bob = Tsk.generate(user_ids=["Bob <bob@example.org>"])
    signed = bytes(alice.extract_certificate().add_user_id("Robert <r@example.org>", bob.certifier()))
    (found,) = walk(signed, UploadBounds())
    assert found._replace(foreign=()) == next(reference(signed))._replace(size_bytes=len(signed))
