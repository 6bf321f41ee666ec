"""What a search asks for."""

import pytest

from proxy.hkp.classes import OperationClass as Kind
from proxy.hkp.terms import hex_digits, longest_word_bytes, normalised, read_term, without_prefix

FPR = "740D7FE2AB3143E86C8FD12300186602339240CB"
SPACED = "740D 7FE2 AB31 43E8 6C8F  D123 0018 6602 3392 40CB"


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        (f"0x{FPR}", FPR),
        (f"0X{FPR.lower()}", FPR),
        (f" \t0x{FPR}\n", FPR),
        (f"<0x{FPR}>", FPR),
        (f" < {FPR} > ", FPR),
        (FPR, FPR),
        (SPACED, FPR),
        ("0xabcdef01", "ABCDEF01"),
        ("0x" + "a" * 16, "A" * 16),
        ("0x" + "a" * 32, "A" * 32),
        ("0x" + "a" * 64, "A" * 64),
        ("a" * 16, "A" * 16),
        ("a" * 32, "A" * 32),
        ("a" * 64, "A" * 64),
    ],
)
def test_a_certificate_has_one_spelling(text: str, digits: str) -> None:
    """Every way to write a fingerprint or key id is `0x` and upper-case digits."""
    assert read_term(text) == (Kind.CERT, digits, "0x" + digits)


@pytest.mark.parametrize(
    ("text", "subject", "term"),
    [
        ("Alice@Example.org", "alice@example.org", "Alice@Example.org"),
        ("<alice@example.org>", "alice@example.org", "alice@example.org"),
        (" < alice@example.org > ", "alice@example.org", "alice@example.org"),
        ("<alice@example.org", "<alice@example.org", "<alice@example.org"),
        ("<<a@b>>", "<<a@b>>", "<<a@b>>"),
        ("0xab@example.org", "0xab@example.org", "0xab@example.org"),
        ("\u00c4@example.org", "\u00e4@example.org", "\u00c4@example.org"),
        ("\udcff@example.org", "\\xff@example.org", "\udcff@example.org"),
    ],
)
def test_an_identity(text: str, subject: str, term: str) -> None:
    """One `@` with something on both sides and no space is an identity, its subject lower case."""
    assert read_term(text) == (Kind.IDENTITY, subject, term)


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("", ""),
        ("<>", ""),
        ("alice", "alice"),
        ("Alice  Liddell", "alice liddell"),
        ("deadbeef", "deadbeef"),
        ("0x", "0x"),
        ("0xabcdef0", "0xabcdef0"),
        ("0x" + "a" * 20, "0x" + "a" * 20),
        ("0x" + "g" * 40, "0x" + "g" * 40),
        ("g" * 40, "g" * 40),
        ("a" * 39, "a" * 39),
        ("740D 7FE2 AB31", "740d 7fe2 ab31"),
        ("740D7 FE2A B314 3E86", "740d7 fe2a b314 3e86"),
        ("@example.org", "@example.org"),
        ("alice@", "alice@"),
        ("a@b@c", "a@b@c"),
        ("Alice <alice@example.org>", "alice <alice@example.org>"),
        ("alice @example.org", "alice @example.org"),
        ("<a@b> <c@d>", "<a@b> <c@d>"),
    ],
)
def test_words(text: str, subject: str) -> None:
    """Whatever is neither certificate nor identity is words, the dearest class, and goes on as it is."""
    assert read_term(text)[:2] == (Kind.WORDS, subject)


@pytest.mark.parametrize(
    ("text", "length"),
    [("", 0), ("@.-", 0), ("ab", 2), ("a b c", 1), ("a.b.cde", 3), ("\u674e\u660e", 6), ("\udcff", 0)],
)
def test_longest_word(text: str, length: int) -> None:
    """The longest word counts, in bytes, so that a Chinese name of two characters is long enough."""
    assert longest_word_bytes(text) == length


def test_hex_digits() -> None:
    """Digits must be hexadecimal, ASCII and of one of the lengths."""
    four = frozenset({4})
    assert hex_digits("aB1f", four) == "AB1F"
    assert [hex_digits(text, four) for text in ("ab1", "ab1g", "\u0661\u0662\u0663\u0664", "")] == [""] * 4


def test_without_prefix() -> None:
    """Only one leading `0x` is removed."""
    assert [without_prefix(text) for text in ("0xab", "0Xab", "ab", "0x0xab")] == ["ab", "ab", "ab", "0xab"]


def test_a_subject_is_valid_unicode() -> None:
    """A subject can be written to a ring or a log also when the request was no UTF-8."""
    assert normalised("A \udcff\u00c9").encode() == b"a \\xff\xc3\xa9"
