"""The key in a form: what servers agree about is read, the rest refused."""

from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.hkp.certs import BadUpload
from proxy.hkp.form import FormReader
from tests.certs_for_tests import cut


def read(*pieces: bytes) -> bytes:
    """Return the key text of a form, or raise what is wrong with it."""
    reader = FormReader()
    text = b"".join(reader.feed(piece) for piece in pieces)
    if reader.fault:
        raise reader.fault
    reader.finish()
    return text


def status_of(body: bytes) -> int:
    """Return with which status a body is refused; 0: not at all."""
    try:
        read(body)
    except BadUpload as bad:
        return bad.status
    return 0


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"keytext=abc", b"abc"),
        (b"keytext=", b""),
        (b"keytext=a+b%2Bc%2bd%0A%00", b"a b+c+d\n\0"),
        (b"keytext=a=b==", b"a=b=="),
        (b"keytext=\xff\0\r\n", b"\xff\0\r\n"),
        (b"options=mr&keytext=a&submit=Send+it%21", b"a"),
        (b"&&keytext=a&&", b"a"),
        (b"keytext&keytext=a", b"a"),
        (b"%6bey%74ext=a", b"a"),
        (b"KeyText=a", b"a"),
        (b"xkeytext=b&keytext=a&keytextx=c&text=keytext", b"a"),
    ],
)
def test_forms(body: bytes, text: bytes) -> None:
    """The value of `keytext` is decoded as forms are, wherever it stands."""
    assert read(body) == text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"keytext", 422),
        (b"text=a", 422),
        (b"keytext=a&keytext=b", 422),
        (b"keytext=a&KEYTEXT=b", 422),
        (b"keytext=a&k%65ytext=b", 422),
        (b"keytext=%", 400),
        (b"keytext=%4", 400),
        (b"keytext=%4g", 400),
        (b"keytext=%g4", 400),
        (b"keytext=%%41", 400),
        (b"a=%zz&keytext=a", 400),
        (b"keytext=a;b=c", 400),
        (b"a;keytext=a", 400),
        (b"a" * 64 + b"=&keytext=a", 0),
        (b"a" * 65 + b"=&keytext=a", 413),
        (b"keytext=a&b=" + b"c" * 4096, 0),
        (b"keytext=a&b=" + b"c" * 4097, 413),
        (b"&" * 32 + b"keytext=a", 0),
        (b"&" * 33 + b"keytext=a", 413),
    ],
)
def test_bounds_and_faults(body: bytes, status: int) -> None:
    """A second key, a field name or value beyond its bound, a bare semicolon and half an escape are refused."""
    assert status_of(body) == status


@given(text=st.binary(max_size=300), escaped=st.sets(st.integers(0, 299)), cuts=st.sets(st.integers(0, 900)))
def test_any_subset_may_be_escaped(text: bytes, escaped: set[int], cuts: set[int]) -> None:
    """Which bytes of the key are escaped, and where the form is cut, makes no difference."""
    body = b"keytext=" + b"".join(
        b"%%%02x" % byte if place in escaped or byte in b"%&+;" else bytes([byte]) for place, byte in enumerate(text)
    )
    assert read(*cut(body, cuts)) == text
    assert read(b"keytext=" + quote_from_bytes(text).encode()) == text


def test_what_came_before_a_fault_is_returned() -> None:
    """The first thing that is wrong is told, so what comes before a fault is to be looked at first."""
    reader = FormReader()
    assert reader.feed(b"keytext=abc%zzdef") == b"abc"
    assert reader.fault
    assert reader.feed(b"def") == b""
