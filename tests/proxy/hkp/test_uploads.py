"""Uploads as clients send them: each wrapping, whole and in pieces, and what their users are told."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.hkp.certs import BadUpload, Upload, UploadBounds
from proxy.hkp.uploads import UploadKind, UploadReader, upload_kind
from proxy.settings.uploads import UploadsConfig
from tests.certs_for_tests import (
    NOW_S,
    armored,
    certificate,
    cut,
    fat,
    flooded,
    form,
    json_object,
    malformed,
    noise,
    revocation,
    with_secret,
)

FORM, BINARY, JSON = UploadKind.FORM, UploadKind.BINARY, UploadKind.JSON
BOUNDS = UploadBounds()
HKP = Path(__file__).parents[3] / "proxy" / "hkp"


def read(kind: UploadKind, *pieces: bytes, bounds: UploadBounds = BOUNDS) -> Upload:
    """Return what is in an upload."""
    reader = UploadReader(kind, bounds, NOW_S)
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


class Refused(NamedTuple):
    """How an upload is refused."""

    status: int
    text: str


def outcome(kind: UploadKind, *pieces: bytes) -> Upload | Refused:
    """Return what is in an upload, or how it is refused."""
    try:
        return read(kind, *pieces)
    except BadUpload as bad:
        return Refused(bad.status, bad.text)


def refused(kind: UploadKind, *pieces: bytes) -> Refused:
    """Return how an upload is refused, which it must be."""
    found = outcome(kind, *pieces)
    assert isinstance(found, Refused)
    return found


CERTS = {
    "one": certificate(),
    "version 6": certificate(version=6, user_ids=2),
    "version 3": certificate(version=3),
    "several": certificate(1) + certificate(2, version=6) + certificate(3, signatures=2),
    "flooded within bounds": flooded(1000),
    "fat within bounds": fat(50),
    "revocation": revocation(),
}


@pytest.mark.parametrize("data", CERTS.values(), ids=CERTS)
def test_wrappings(data: bytes) -> None:
    """Binary, armored, in a form or in an object: the same certificates are found."""
    found = read(BINARY, data)
    text = armored(data)
    assert read(BINARY, text) == found
    assert read(FORM, form(text, options="mr")) == found
    assert read(JSON, json_object(text)) == found


def test_several_blocks() -> None:
    """Armored blocks one after the other hold as many certificates; what is empty or goes on in the next is refused."""
    one, two = certificate(1), certificate(2)
    assert read(FORM, form(armored(one) + b"\n" + armored(two))) == read(BINARY, one + two)
    for parts in ((one, b""), (one[:-100], one[-100:])):
        assert refused(FORM, form(b"".join(map(armored, parts)))).status == 422
    assert refused(BINARY, b"".join(armored(certificate(each)) for each in range(11))).status == 413


def test_only_a_body_of_its_own_may_be_binary() -> None:
    """Keyservers find armor only in forms and objects; what they would not see is not found there."""
    assert refused(FORM, form(certificate())).status == 422
    assert refused(BINARY, b"\n" + certificate()).status == 422
    assert refused(BINARY, certificate() + armored(certificate())).status == 422
    assert refused(BINARY, armored(certificate()) + certificate()).status == 422


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        (b"application/x-www-form-urlencoded", FORM),
        (b"Application/X-WWW-Form-Urlencoded ; charset=UTF-8", FORM),
        (b"application/pgp-keys", BINARY),
        (b"application/pgp-keys;armor=no", BINARY),
        (b"application/pgp", BINARY),
        (b"application/octet-stream", BINARY),
        (b"application/json; charset=utf-8", JSON),
        (b"multipart/form-data; boundary=x", None),
        (b"text/plain", None),
        (b"", None),
        (None, None),
    ],
)
def test_content_types(content_type: bytes | None, kind: UploadKind | None) -> None:
    """The content type says how a body is read; its parameters and the case of its letters do not."""
    assert upload_kind(content_type) is kind


MALFORMED = malformed()


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str) -> None:
    """What is no certificate is refused in each wrapping, with the same words."""
    case = MALFORMED[name]
    text = armored(case.data)
    assert refused(BINARY, case.data).status == case.status
    assert refused(FORM, form(text)).status == case.status
    assert refused(FORM, form(text)) == refused(JSON, json_object(text))


@pytest.mark.parametrize("kind", UploadKind)
def test_nothing(kind: UploadKind) -> None:
    """A body without a byte is refused."""
    assert refused(kind).status in {400, 422}
    assert refused(kind, b"").status in {400, 422}


def test_a_secret_key_is_told_before_what_comes_behind_it() -> None:
    """The first thing that is wrong is told: not the end of the form, but the key that nobody may have."""
    text = form(armored(with_secret(), "PRIVATE KEY BLOCK"))
    disguised = form(armored(with_secret()))
    for body in (text, disguised, text + b"%", disguised + b"%", disguised + b"&keytext=a", text[:400]):
        assert "SECRET" in refused(FORM, body).text
        assert refused(FORM, body) == refused(FORM, *cut(body, range(len(body))))


def test_a_plus_that_was_not_escaped() -> None:
    """A key in a form whose + were not escaped is refused, and the user learns why."""
    text = armored(certificate())
    assert b"+" in text
    assert "%2B" in refused(FORM, b"keytext=" + text).text
    assert read(FORM, b"keytext=" + text.replace(b"+", b"%2B")) == read(BINARY, text)


def bodies() -> list[tuple[UploadKind, bytes]]:
    """Return uploads of all kinds, sound and not."""
    data = [*CERTS.values(), *(case.data for case in MALFORMED.values())]
    small = [each for each in data if len(each) < 3000]
    texts = [armored(each) for each in small] + [armored(certificate(1)) + armored(certificate(2)), b"no armor"]
    wrapped = [(FORM, form(text, a="b")) for text in texts] + [(JSON, json_object(text)) for text in texts]
    damaged = [(kind, body[:200] + b"%zz\0" + body[200:]) for kind, body in wrapped[::7]]
    cut_off = [(kind, body[:-9]) for kind, body in wrapped[::5]]
    return [(BINARY, each) for each in small + texts] + wrapped + damaged + cut_off


@given(body=st.sampled_from(bodies()), cuts=st.sets(st.integers(0, 4000), max_size=50))
def test_pieces_make_no_difference(body: tuple[UploadKind, bytes], cuts: set[int]) -> None:
    """Wherever an upload is cut, the same is found in it, or it is refused with the same words."""
    kind, data = body
    assert outcome(kind, *cut(data, cuts)) == outcome(kind, data)


@given(
    data=st.sampled_from([certificate(), certificate(version=6)]), place=st.integers(0, 2000), byte=st.integers(0, 255)
)
def test_damage(data: bytes, place: int, byte: int) -> None:
    """One other byte anywhere: found or refused, and what is found is not larger than what came."""
    found = outcome(BINARY, data[: place % len(data)] + bytes([byte]) + data[place % len(data) + 1 :])
    if isinstance(found, Upload):
        assert sum(cert.size_bytes for cert in found.certs) <= len(data)
    else:
        assert found.status in {413, 422}


def test_noise_is_refused() -> None:
    """Bytes that nobody made a certificate of are none, in any wrapping."""
    for number in range(200):
        assert refused(BINARY, b"\xc6" + noise(number, 200))
        assert refused(FORM, form(noise(number, 200)))


MISUNDERSTOOD = ("too many", "insufficient", "no keys found")  # by OpenKeychain: HKP.md section 3
LITERALS = re.compile(r"""(?:BadUpload|fail)\(\s*\d{3},\s*((?:f?"[^"]*"\s*)+)""")
BEYOND = re.compile(r'beyond\("([^"]*)"')


def texts() -> list[str]:
    """Return all that users are told, from the sources."""
    sources = [(HKP / f"{name}.pyx").read_text() for name in ("form", "json_text", "armor", "packets")]
    literals = ["".join(re.findall(r'"([^"]*)"', found)) for source in sources for found in LITERALS.findall(source)]
    return literals + [f"{found} than this server takes." for source in sources for found in BEYOND.findall(source)]


def test_texts() -> None:
    """What users are told is one plain sentence or two, and has none of the words that clients mistake for others."""
    assert len(texts()) > 25
    for text in texts():
        assert text.isascii()
        assert text.isprintable()
        assert text[-1] in ".?"
        assert len(text) < 120
        assert not any(word in text.lower() for word in MISUNDERSTOOD)


def test_settings() -> None:
    """The settings have the defaults of the bounds, and each of them is a bound."""
    assert UploadsConfig().bounds() == BOUNDS
    changed = UploadsConfig.model_validate(
        {
            "certs": "1",
            "packets": "30",
            "cert_bytes": "2KiB",
            "signature_bytes": "3KiB",
            "packet_bytes": "4KiB",
            "user_ids": "5",
            "user_id_bytes": "100",
            "latin1": "off",
            "attributes": "0",
            "attribute_bytes": "7KiB",
            "third_party": "8",
            "ahead": "9s",
        }
    )
    assert changed.bounds() == UploadBounds(
        certs=1,
        packets=30,
        cert_bytes=2048,
        signature_bytes=3072,
        packet_bytes=4096,
        user_ids=5,
        user_id_bytes=100,
        latin1=False,
        attributes=0,
        attribute_bytes=7168,
        third_party=8,
        ahead_s=9,
    )
