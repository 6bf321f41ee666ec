"""Words for what is asked for: one for all names of a thing, and nobody outside can tell them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import hash_text
from proxy.hkp.classes import OperationClass as Kind
from proxy.policy.subjects import Subjects

SECRET = bytes(range(16))
SUBJECTS = Subjects(SECRET)
V4, V6, V3 = "0123456789ABCDEF01234567" + "89ABCDEF01234567", "AB" * 8 + "CD" * 24, "EF" * 16


@given(st.text())
def test_word_of_a_text(text: str) -> None:
    """A word is the keyed hash of the text, and never 0, which says that there is none."""
    assert SUBJECTS.word_of(text) == hash_text(text.encode(), SECRET) != 0


@given(st.text(), st.text())
def test_words_are_of_one_secret(one: str, other: str) -> None:
    """Two texts have two words, and on another node other ones."""
    assert (SUBJECTS.word_of(one) == SUBJECTS.word_of(other)) == (one == other)
    assert Subjects(SECRET[::-1]).word_of(one) != SUBJECTS.word_of(one)


# Two subjects, and whether they count as one certificate.
NAMES = {
    "v4 fingerprint and key id": (V4, V4[24:], True),
    "v6 fingerprint and key id": (V6, V6[:16], True),
    "v4 fingerprint and its first digits": (V4, V4[:16], False),
    "v6 fingerprint and its last digits": (V6, V6[48:], False),
    "v3 fingerprint and its last digits": (V3, V3[16:], False),
    "short key id": (V4, V4[32:], False),
    "v4 and v6 of one key id": (V4[:24] + V6[:16], V6, True),
}


@pytest.mark.parametrize(("one", "other", "same"), NAMES.values(), ids=NAMES)
def test_names_of_a_certificate(one: str, other: str, same: bool) -> None:  # noqa: FBT001 - a row
    """A certificate counts once, by fingerprint or by key id; what is not known to be one counts as two."""
    assert (SUBJECTS.counted_as(Kind.CERT, one) == SUBJECTS.counted_as(Kind.CERT, other)) == same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (V4, V4[24:], True),
        (V4, V4[32:], True),
        (V6, V6[:16], True),
        (V6, V6[8:16], True),
        (V4, V4[:16], False),
        (V4, "AA" * 16 + V4[32:], True),  # somebody else's, of the same short id
        (V6, V6[48:], False),
        (V3, V3[24:], False),
    ],
)
def test_all_names_of_a_certificate(one: str, other: str, same: bool) -> None:  # noqa: FBT001 - a row
    """Fingerprint, key id and short id of version 4 and 6 have one word; some certificates share it."""
    assert (SUBJECTS.certificate_of(one) == SUBJECTS.certificate_of(other)) == same


@pytest.mark.parametrize("kind", Kind)
def test_what_is_counted(kind: Kind) -> None:
    """Certificates and identities are counted, an identity as it is; nothing else is."""
    counted = SUBJECTS.counted_as(kind, V4)
    expected = {Kind.CERT: SUBJECTS.word_of(V4[24:]), Kind.IDENTITY: SUBJECTS.word_of(V4)}
    assert counted == expected.get(kind, 0)
    assert bool(SUBJECTS.domain_of(kind, "a@b.org")) == (kind is Kind.IDENTITY)


@pytest.mark.parametrize(
    ("subject", "domain"),
    [("a@b.org", "b.org"), ("a@c@b.org", "b.org"), ("digest@b.org", "b.org"), ("digest", ""), ("", ""), ("a@", "")],
)
def test_domain(subject: str, domain: str) -> None:
    """The domain is what comes behind the last `@`; without one there is none."""
    word = SUBJECTS.domain_of(Kind.IDENTITY, subject)
    assert word == (SUBJECTS.word_of(domain) if "@" in subject else 0)


@pytest.mark.parametrize("size", [0, 15, 17])
def test_secret_of_another_length(size: int) -> None:
    """A secret that is none is the caller's error."""
    with pytest.raises(ValueError, match="secret"):
        Subjects(bytes(size))
