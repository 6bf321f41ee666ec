"""What a search asks for: a certificate, an identity or words.

| written | is |
| --- | --- |
| `0x` + 8, 16, 32, 40 or 64 hex | certificate |
| 16, 32, 40 or 64 hex, also in groups of four | certificate, `0x` is added |
| one `@`, something on both sides, no space | identity |
| anything else, also `0x` + any other text | words |

Bare digits get their `0x` because Hockeypuck would search them as words, sixty times as dear. Not 8 of them:
`deadbeef` is a word. `0x` and a wrong number of digits is 404 on Hockeypuck and 400 on Hagrid at once, but
others search it: the dear price is the safe one, and no client sends it.
"""

import re
from typing import NamedTuple

from proxy.hkp.classes import OperationClass

FINGERPRINT_DIGITS = frozenset({32, 40, 64})  # versions 3, 4 and 6
KEY_ID_DIGITS = frozenset({16})

_BARE_DIGITS = FINGERPRINT_DIGITS | KEY_ID_DIGITS
_PREFIXED_DIGITS = _BARE_DIGITS | {8}
_GROUP_DIGITS = 4
_HEX_DIGITS = "0123456789abcdefABCDEF"
_WORD = re.compile(r"\w+")


class Term(NamedTuple):
    """What is searched for: `text` is its canonical spelling, `subject` one for all spellings of a thing."""

    kind: OperationClass
    subject: str
    text: str


def read_term(text: str) -> Term:
    """Classify a decoded search term; surrounding spaces and `<...>` around all of it do not count."""
    term = _unwrapped(text)
    digits = _certificate_digits(term)
    if digits:
        return Term(OperationClass.CERT, digits, "0x" + digits)
    if _is_identity(term):
        return Term(OperationClass.IDENTITY, normalised(term), term)
    return Term(OperationClass.WORDS, normalised(term), term)


def hex_digits(text: str, lengths: frozenset[int]) -> str:
    """Return `text` in upper case if it is hexadecimal and of one of the lengths, else an empty string."""
    return text.upper() if len(text) in lengths and not text.strip(_HEX_DIGITS) else ""


def without_prefix(text: str) -> str:
    """Return `text` without a leading `0x` or `0X`."""
    return text[2:] if text.startswith(("0x", "0X")) else text


def normalised(text: str) -> str:
    r"""Return the subject of an identity or of words: lower case, single spaces, no `<...>` around it.

    It is always valid Unicode, also when the request was not: octets that are no UTF-8 are shown as `\xNN`.
    """
    subject = " ".join(_unwrapped(text).lower().split())
    if subject.isascii():
        return subject
    return subject.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def longest_word_bytes(text: str) -> int:
    """Return the length of the longest word, in bytes of UTF-8, 0 if there is none.

    The longest word decides how many keys a search can touch, for servers join words with "and". Bytes and
    not characters: a Chinese name has two or three.
    """
    return max((len(word.encode()) for word in _WORD.findall(text)), default=0)


def _unwrapped(text: str) -> str:
    """Strip spaces, and one pair of angle brackets if it is the only one: `<a@b>`, but not `<a@b> <c@d>`."""
    text = text.strip()
    inner = text[1:-1]
    if text[:1] == "<" and text[-1:] == ">" and "<" not in inner and ">" not in inner:
        return inner.strip()
    return text


def _certificate_digits(term: str) -> str:
    if term.startswith(("0x", "0X")):
        return hex_digits(term[2:], _PREFIXED_DIGITS)
    if " " in term:
        groups = term.split()
        term = "".join(groups) if all(len(group) == _GROUP_DIGITS for group in groups) else ""
    return hex_digits(term, _BARE_DIGITS)


def _is_identity(term: str) -> bool:
    name, at, domain = term.partition("@")
    return bool(name and at and domain) and "@" not in domain and len(term.split(maxsplit=1)) == 1
