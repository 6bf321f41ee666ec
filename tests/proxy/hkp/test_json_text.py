"""The key in a JSON object."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.hkp.certs import BadUpload
from proxy.hkp.json_text import JsonReader
from tests.certs_for_tests import cut


def read(*pieces: bytes) -> bytes:
    """Return the key text of an object, or raise what is wrong with it."""
    reader = JsonReader()
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
        (b'{"keytext":"abc"}', b"abc"),
        (b' {\r\n\t"keytext" : "abc" } \n', b"abc"),
        (b'{"keytext":""}', b""),
        (b'{"a":1,"keytext":"abc","b":true , "c":null,"d":-1.5e+3,"e":"\\"x"}', b"abc"),
        (b'{"keytext":"\\n\\r\\t\\b\\f\\"\\\\\\/\\u0041\\u00e9"}', b'\n\r\t\b\f"\\/A?'),
        ('{"keytext":"\u00e9"}'.encode(), b"??"),
        (b'{"\\u006bey\\u0054ext":"abc"}', b"abc"),
        (b'{"x":"keytext","keytext":"abc"}', b"abc"),
    ],
)
def test_objects(body: bytes, text: bytes) -> None:
    """The member `keytext` is unescaped, wherever it stands."""
    assert read(body) == text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"null", 400),
        (b'["keytext"]', 400),
        (b"{", 400),
        (b'{"keytext":"abc"', 400),
        (b'{"keytext":"abc', 400),
        (b'{"keytext":"abc"}}', 400),
        (b'{"keytext":"abc"} x', 400),
        (b'{"keytext":"abc",}', 400),
        (b'{,"keytext":"abc"}', 400),
        (b'{"keytext" "abc"}', 400),
        (b'{"keytext":abc}', 400),
        (b'{"keytext":1}', 400),
        (b'{"keytext":["abc"]}', 400),
        (b'{"a":{},"keytext":"abc"}', 400),
        (b'{"a":' + b"[" * 1000, 400),
        (b'{"a":1 2,"keytext":"abc"}', 400),
        (b'{"a":' + b"1" * 65 + b',"keytext":"abc"}', 0),
        (b'{"a":' + b"1" * 66 + b',"keytext":"abc"}', 400),
        (b'{"keytext":"a\nb"}', 400),
        (b'{"keytext":"\\x41"}', 400),
        (b'{"keytext":"\\u00g0"}', 400),
        (b"{}", 422),
        (b'{"key":"abc"}', 422),
        (b'{"keytext":"abc","keytext":"abc"}', 422),
        (b'{"keytext":"abc","KEYTEXT":"abc"}', 422),
        (b'{"' + b"a" * 65 + b'":1,"keytext":"abc"}', 413),
        (b'{"a":"' + b"b" * 4096 + b'","keytext":"abc"}', 0),
        (b'{"a":"' + b"b" * 4097 + b'","keytext":"abc"}', 413),
        (b"{" + b'"a":1,' * 31 + b'"keytext":"abc"}', 0),
        (b"{" + b'"a":1,' * 32 + b'"keytext":"abc"}', 413),
    ],
)
def test_bounds_and_faults(body: bytes, status: int) -> None:
    """What is no flat object with one key in it is refused, and so are members beyond their bounds."""
    assert status_of(body) == status


@given(
    text=st.text(st.characters(max_codepoint=127), max_size=200),
    escaped=st.sets(st.integers(0, 199)),
    cuts=st.sets(st.integers(0, 900)),
)
def test_any_subset_may_be_escaped(text: str, escaped: set[int], cuts: set[int]) -> None:
    """Which characters are escaped, and where the object is cut, makes no difference."""
    value = "".join(
        f"\\u{ord(each):04X}" if place in escaped else json.dumps(each)[1:-1] for place, each in enumerate(text)
    )
    body = f'{{"keytext": "{value}"}}'.encode()
    assert read(*cut(body, cuts)) == text.encode()


def test_what_came_before_a_fault_is_returned() -> None:
    """The first thing that is wrong is told, so what comes before a fault is to be looked at first."""
    reader = JsonReader()
    assert reader.feed(b'{"keytext":"abc\\x') == b"abc"
    assert reader.fault
    assert reader.feed(b"def") == b""
