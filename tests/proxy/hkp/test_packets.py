"""The walk over packets: what it finds in certificates, and the bounds, each at its edge."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.hkp.armor import SECRET_TEXT
from proxy.hkp.certs import BadUpload, Cert, UploadBounds
from proxy.hkp.packets import PacketWalk
from tests.certs_for_tests import (
    ATTRIBUTE,
    BINDS_SUBKEY,
    CERTIFIES,
    CERTIFIES_ITSELF,
    CREATED_S,
    MARKER,
    NOW_S,
    PADDING,
    PUBLIC_KEY,
    PUBLIC_SUBKEY,
    REVOKES_KEY,
    SIGNATURE,
    TRUST,
    USER_ID,
    certificate,
    cut,
    fat,
    flooded,
    issued_by,
    key,
    malformed,
    noise,
    packet,
    revocation,
    signature,
    subpacket,
    user_id,
    with_secret,
)

BOUNDS = UploadBounds()
MALFORMED = malformed()
OWNER, STRANGER = key(0), key(99)
PRIMARY = packet(PUBLIC_KEY, OWNER.body)
NAME = user_id("A <a@example.org>")
OWN = signature(CERTIFIES_ITSELF, OWNER)
WHOLE = PRIMARY + NAME + OWN


def walk(*pieces: bytes, bounds: UploadBounds = BOUNDS, now_s: int = NOW_S) -> tuple[Cert, ...]:
    """Return the certificates in one block."""
    walking = PacketWalk(bounds, now_s)
    for piece in pieces:
        walking.feed(piece)
    return walking.finish()


def status(data: bytes, bounds: UploadBounds = BOUNDS) -> int:
    """Return what the walk objects; 0: nothing."""
    try:
        walk(data, bounds=bounds)
    except BadUpload as bad:
        return bad.status
    return 0


@pytest.mark.parametrize("version", [3, 4, 5, 6])
def test_a_certificate_of_each_version(version: int) -> None:
    """Fingerprint, user ids and counts of certificates as RFC 9580, RFC 4880 and LibrePGP make them."""
    data = certificate(7, version=version, user_ids=3, signatures=2)
    (cert,) = walk(data)
    assert cert._replace(foreign=()) == Cert(
        fingerprint=key(7, version=version).name,
        user_ids=tuple(f"Number 7 <7.{each}@example.org>".encode() for each in range(3)),
        packets=9,
        signatures=5,
        third_party=2,
        size_bytes=len(data),
        revocation_only=False,
    )


def test_signatures_of_others_are_known_again() -> None:
    """Each has a word of its own, the same in each upload; the owner's have none."""
    (few,), (many,) = walk(certificate(7, signatures=3)), walk(certificate(7, signatures=9))
    assert len(set(many.foreign)) == many.third_party == 9
    assert set(few.foreign) < set(many.foreign)


@pytest.mark.parametrize("old", [False, True])
def test_both_formats_of_heads(old: bool) -> None:  # noqa: FBT001 - a row of a table
    """Heads of the old and the new format, with lengths of each size, mean the same."""
    sizes = (0, 191, 192, 255, 256, 1023)
    names = [bytes([97 + each]) * size for each, size in enumerate(sizes)]
    data = packet(PUBLIC_KEY, OWNER.body, old=old) + b"".join(packet(USER_ID, name, old=old) for name in names)
    data += packet(SIGNATURE, OWN[2:] + bytes(9000), old=old)
    (cert,) = walk(data)
    assert cert.user_ids == tuple(names)
    assert (cert.packets, cert.signatures, cert.size_bytes) == (8, 1, len(data))


def test_lengths_need_not_be_shortest() -> None:
    """Old programs write more bytes for a length than they need."""
    size = len(OWNER.body)
    for head in (b"\xc6\xff" + size.to_bytes(4), b"\x99" + size.to_bytes(2), b"\x9a" + size.to_bytes(4)):
        assert walk(head + OWNER.body + NAME)[0].fingerprint == OWNER.name


@pytest.mark.parametrize("head", [*(bytes([0xC6, 224 + each]) for each in range(31)), b"\x9b"])
def test_unknown_lengths(head: bytes) -> None:
    """Lengths that come in parts, or with the end of everything, are for messages."""
    walking = PacketWalk(BOUNDS, NOW_S)
    with pytest.raises(BadUpload) as caught:
        walking.feed(head)
    assert caught.value.status == 422


@pytest.mark.parametrize(
    ("packets", "third_party"),
    [
        ([signature(CERTIFIES_ITSELF, OWNER)], 0),
        ([signature(CERTIFIES, STRANGER)], 1),
        ([signature(CERTIFIES, None)], 1),
        ([signature(CERTIFIES, None, extra=subpacket(16, OWNER.key_id))], 0),
        ([signature(CERTIFIES, None, extra=subpacket(16, STRANGER.key_id))], 1),
        ([signature(CERTIFIES, None, extra=subpacket(33, b"\x04" + OWNER.fingerprint))], 0),
        ([signature(CERTIFIES, None, extra=subpacket(0x80 | 33, b"\x04" + STRANGER.fingerprint))], 1),
        ([signature(CERTIFIES, None, extra=subpacket(33, b"\x06" + bytes(32)))], 1),
        ([signature(CERTIFIES, OWNER, extra=issued_by(STRANGER))], 1),
        ([signature(CERTIFIES, OWNER, extra=subpacket(0x80 | 33, b"\x04" + STRANGER.fingerprint))], 1),
        ([signature(CERTIFIES, OWNER, extra=subpacket(0x80 | 16, STRANGER.key_id))], 1),
        ([signature(CERTIFIES, STRANGER, extra=issued_by(OWNER))], 1),
        ([signature(CERTIFIES, OWNER, extra=b"\xff\0\0\0\x02\x02x" + b"\xc0\x00" + bytes([100]) + bytes(191))], 0),
        ([signature(CERTIFIES, OWNER, extra=subpacket(32, issued_by(STRANGER)))], 0),
        ([signature(CERTIFIES, key(1, version=6)), signature(CERTIFIES, key(1, version=3))], 2),
    ],
)
def test_whose_signature(packets: list[bytes], third_party: int) -> None:
    """A signature is the owner's if it names the primary key and nobody else, in either place, in either way."""
    (cert,) = walk(PRIMARY + NAME + b"".join(packets))
    assert (cert.signatures, cert.third_party) == (len(packets), third_party)


def test_several_certificates() -> None:
    """A primary key begins the next certificate; each has its own counts."""
    first, second = certificate(1, signatures=3), certificate(2, version=6, user_ids=2)
    certs = walk(first + second)
    assert certs == (*walk(first), *walk(second))
    assert [cert.packets for cert in certs] == [6, 5]


@pytest.mark.parametrize("version", [3, 4, 5, 6])
def test_a_bare_revocation(version: int) -> None:
    """One signature that revokes a key may stand alone, or before certificates: its issuer is its subject."""
    data, owner = revocation(5, version=version), key(5, version=version)
    subject = owner.name if version > 3 else owner.key_id.hex().upper()
    expected = Cert(subject, (), 1, 1, 0, len(data), revocation_only=True)
    assert walk(data) == (expected,)
    assert walk(data + data + WHOLE) == (expected, expected, *walk(WHOLE))


def test_a_revocation_of_an_old_program() -> None:
    """Without a fingerprint in it, the key id is the subject."""
    data = signature(REVOKES_KEY, None, extra=subpacket(16, OWNER.key_id))
    assert walk(data)[0].fingerprint == OWNER.key_id.hex().upper()


def test_packets_that_mean_nothing() -> None:
    """Markers, padding and what a keyring says of trust may stand in a certificate; they count."""
    marker, padding, trust = packet(MARKER, b"PGP"), packet(PADDING, noise(0, 99)), packet(TRUST, b"\0\x06")
    (cert,) = walk(marker + padding + PRIMARY + trust + NAME + padding + OWN + marker)
    assert (cert.packets, cert.signatures, cert.size_bytes) == (8, 1, len(WHOLE) + 2 * 5 + 2 * 101 + 4)


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str) -> None:
    """What is wrong in one way is refused for it: 422, or 413 if there is more of it than the bounds allow."""
    case = MALFORMED[name]
    assert status(case.data) == case.status
    with pytest.raises(BadUpload) as whole:
        walk(case.data)
    with pytest.raises(BadUpload) as cut_up:
        walk(*cut(case.data, range(0, len(case.data), 1 if len(case.data) < 10_000 else 1009)))
    assert (whole.value.status, whole.value.text) == (cut_up.value.status, cut_up.value.text)


@pytest.mark.parametrize(
    ("field", "value", "within", "beyond"),
    [
        ("certs", 2, certificate(1) + certificate(2), certificate(1) + certificate(2) + certificate(3)),
        ("certs", 2, certificate(1) + certificate(2), revocation(1) + certificate(2) + certificate(3)),
        ("certs", 2, revocation(1) + certificate(2), revocation(1) + revocation(2) + revocation(3)),
        ("packets", 6, certificate(1) + certificate(2), certificate(1) + certificate(2) + packet(PADDING, b"")),
        ("cert_bytes", len(WHOLE), WHOLE, WHOLE + packet(PADDING, b"")),
        ("cert_bytes", len(WHOLE) + 2, packet(PADDING, b"") + WHOLE, packet(PADDING, b"x") + WHOLE),
        ("signature_bytes", 2000, PRIMARY + packet(2, OWN[2:].ljust(2000, b"\0")), PRIMARY + packet(2, bytes(2001))),
        ("packet_bytes", 1200, WHOLE + packet(PADDING, bytes(1200)), WHOLE + packet(PADDING, bytes(1201))),
        ("packet_bytes", len(OWNER.body), WHOLE, packet(PUBLIC_KEY, OWNER.body + b"\0") + NAME),
        ("packet_bytes", 51, WHOLE, WHOLE + packet(PUBLIC_SUBKEY, OWNER.body + b"\0")),
        ("packet_bytes", 51, WHOLE, WHOLE + packet(TRUST, bytes(52))),
        ("user_ids", 3, fat(3), fat(4)),
        ("user_id_bytes", 30, PRIMARY + user_id("a" * 30), PRIMARY + user_id("a" * 31)),
        ("attributes", 0, WHOLE, WHOLE + packet(ATTRIBUTE, b"\1")),
        ("attributes", 1, WHOLE + packet(ATTRIBUTE, b"\1"), WHOLE + packet(ATTRIBUTE, b"\1") * 2),
        ("attribute_bytes", 9, WHOLE + packet(ATTRIBUTE, bytes(9)), WHOLE + packet(ATTRIBUTE, bytes(10))),
        ("third_party", 0, WHOLE, flooded(1)),
        ("third_party", 20, flooded(20), flooded(21)),
    ],
)
def test_each_bound(field: str, value: int, within: bytes, beyond: bytes) -> None:
    """Each bound is a setting; what reaches it passes, and what is beyond is 413, as early as its head."""
    bounds = replace(BOUNDS, **{field: value})
    assert status(within, bounds) == 0
    assert status(beyond, bounds) == 413


def test_what_is_announced_is_enough() -> None:
    """A packet that is too large is refused by its head: no byte of it is waited for."""
    for data in (b"\xc6\xff\xff\xff\xff\xff", b"\x9a\xff\xff\xff\xff", WHOLE + b"\xc2\xff\0\1\0\1"):
        walking = PacketWalk(BOUNDS, NOW_S)
        with pytest.raises(BadUpload) as caught:
            walking.feed(data)
        assert caught.value.status == 413


def test_keys_of_the_future() -> None:
    """A key may be made as far in the future as clocks are wrong, and not a second later."""
    bounds = replace(BOUNDS, ahead_s=100)
    assert walk(WHOLE, bounds=bounds, now_s=CREATED_S - 100)
    with pytest.raises(BadUpload, match="future"):
        walk(WHOLE, bounds=bounds, now_s=CREATED_S - 101)


@pytest.mark.parametrize(
    ("name", "latin1", "found"),
    [
        ("J\u00f8rgen \U0001f511 <j@example.org>".encode(), False, 0),
        ("J\u00f8rgen <j@example.org>".encode("latin-1"), True, 0),
        ("J\u00f8rgen <j@example.org>".encode("latin-1"), False, 422),
        (b"J\x85rgen", True, 422),
        (b"\xff\xfe\xa0", True, 0),
        (b"\xff\xfe\x9f", True, 422),
        (b"a\0", True, 422),
        (b"a\tb", True, 422),
        (b"a\x7f", True, 422),
        (b"\xed\xa0\x80", True, 422),
        (b"\xed\xa0\x80", False, 422),
        (b"\xc1\xbf", False, 422),
        (b"\xe0\x9f\xbf", False, 422),
        (b"\xf0\x8f\xbf\xbf", False, 422),
        (b"\xf4\x8f\xbf\xbf", False, 0),
        (b"\xf4\x90\x80\x80", False, 422),
        (b"\xf5\x80\x80\x80", False, 422),
        (b"\xc3", False, 422),
        (b"", True, 0),
    ],
)
def test_text_of_user_ids(name: bytes, latin1: bool, found: int) -> None:  # noqa: FBT001 - a row of a table
    """A user id is UTF-8, or, if that is allowed, printable Latin-1; it has no control characters."""
    assert status(PRIMARY + packet(USER_ID, name), replace(BOUNDS, latin1=latin1)) == found


@given(
    name=st.one_of(st.binary(max_size=12), st.text(max_size=6).map(lambda text: text.encode(errors="surrogatepass")))
)
def test_utf8_is_what_python_reads(name: bytes) -> None:
    """Text is what Python decodes and what has no control characters of ASCII in it."""
    try:
        name.decode()
    except UnicodeDecodeError:
        sound = False
    else:
        sound = not any(byte < 32 or byte == 127 for byte in name)
    assert (status(PRIMARY + packet(USER_ID, name), replace(BOUNDS, latin1=False)) == 0) == sound


def test_the_first_fifty_user_ids_are_listed() -> None:
    """Whoever lets more pass still gets a bounded list."""
    (cert,) = walk(fat(60), bounds=replace(BOUNDS, user_ids=60))
    assert cert.user_ids == walk(fat(50))[0].user_ids
    assert cert.packets == 121


def test_secret_keys_are_refused_loudly() -> None:
    """The text says what happened and what to do, and that at the first byte that tells."""
    walking = PacketWalk(BOUNDS, NOW_S)
    with pytest.raises(BadUpload) as caught:
        walking.feed(with_secret()[:2])
    assert caught.value.text == SECRET_TEXT
    assert "SECRET" in SECRET_TEXT


def test_blocks() -> None:
    """Each block begins anew: it has a certificate or a revocation, and packets do not go on from one to the next."""
    walking = PacketWalk(BOUNDS, NOW_S)
    for data in (WHOLE, revocation(3), certificate(4)):
        walking.feed(data)
        walking.end_block()
    assert [cert.revocation_only for cert in walking.finish()] == [False, True, False]
    for data in (b"", packet(PADDING, b"x"), WHOLE[:-1], WHOLE[:3], WHOLE + b"\xc2"):
        walking = PacketWalk(BOUNDS, NOW_S)
        walking.feed(data)
        with pytest.raises(BadUpload):
            walking.end_block()
    walking = PacketWalk(BOUNDS, NOW_S)
    walking.feed(WHOLE)
    walking.end_block()
    with pytest.raises(BadUpload):
        walking.feed(NAME)


SUBKEY = packet(PUBLIC_SUBKEY, STRANGER.body) + signature(BINDS_SUBKEY, OWNER)
UPLOADS = (WHOLE, flooded(20), WHOLE + SUBKEY, certificate(1, version=3), revocation(1) + certificate(2, version=6))


@given(data=st.sampled_from(UPLOADS), cuts=st.sets(st.integers(0, 1000)))
def test_pieces_make_no_difference(data: bytes, cuts: set[int]) -> None:
    """Wherever the data is cut, the same is found."""
    assert walk(*cut(data, cuts)) == walk(data)


@given(data=st.sampled_from(UPLOADS), end=st.integers(0, 1000))
def test_what_is_cut_off_is_not_complete(data: bytes, end: int) -> None:
    """A beginning of an upload is refused, unless it ends where a packet does."""
    if status(data[:end]) != 422:
        assert sum(cert.size_bytes for cert in walk(data[:end])) == min(end, len(data))
