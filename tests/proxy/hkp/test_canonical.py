"""Decoding and encoding of request targets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.hkp.canonical import (
    MAX_PARAMETERS,
    MAX_TARGET_BYTES,
    ORDER,
    BadTarget,
    decode_path,
    decode_query,
    encode_target,
    percent_decode,
)

DATA = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/", "/"),
        ("/pks/lookup", "/pks/lookup"),
        ("/pks/%6cookup", "/pks/lookup"),
        ("/pks%2Flookup", "/pks/lookup"),
        ("/pks%2flookup", "/pks/lookup"),
        ("//pks", "/pks"),
        ("/pks//lookup", "/pks/lookup"),
        ("/./pks/./lookup", "/pks/lookup"),
        ("/x/../pks", "/pks"),
        ("/x/%2e%2E/pks", "/pks"),
        ("/../../pks", "/pks"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/a//", "/a/"),
        ("/a/..", "/"),
        ("//", "/"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/...", "/a/..."),
        ("/%2541", "/%41"),
        ("/a+b", "/a+b"),
        ("/%C3%A9", "/\u00e9"),
        ("/%FF", "/\udcff"),
        ("/%41%4a%4B", "/AJK"),
    ],
)
def test_decode_path(raw: str, path: str) -> None:
    """A path is decoded once and resolved, whatever its spelling."""
    assert decode_path(raw) == path


@pytest.mark.parametrize(
    "raw",
    [
        "/%",
        "/%4",
        "/%zz",
        "/%%41",
        "/%4%31",
        "/%\\",
        "/%0x41",
        "/%u0041",
        "/%+1",
        "/% 1",
        "/%00",
        "/%0a",
        "/%7f",
        "/%1F",
        "/a\\b",
        "/a%5cb",
    ],
)
def test_decode_path_refuses(raw: str) -> None:
    """A path with a bad escape, a control character or a backslash has no canonical form."""
    with pytest.raises(BadTarget):
        decode_path(raw)


@pytest.mark.parametrize(
    ("raw", "parameters"),
    [
        ("", {}),
        ("&&", {}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("=b", {"": "b"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=1&a=2", {"a": "1"}),
        ("%61=1&a=2", {"a": "1"}),
        ("a=x+y", {"a": "x y"}),
        ("a=x%2By", {"a": "x+y"}),
        ("a=x%20y", {"a": "x y"}),
        ("a+b=1", {"a b": "1"}),
        ("a=1;b=2", {"a": "1;b=2"}),
        ("a=1%26b=2", {"a": "1&b=2"}),
        ("OP=get&op=index", {"op": "get"}),
        ("X-Y=1&x-y=2", {"X-Y": "1", "x-y": "2"}),
        ("a=%2541", {"a": "%41"}),
        (r"a=\x41\n%5c%5Cu0041\N{DASH}\\", {"a": r"\x41\n\\u0041\N{DASH}" + "\\\\"}),
        ("a=%ff%C3%A9", {"a": "\udcff\u00e9"}),
        ("a=%0a", {"a": "\n"}),
    ],
)
def test_decode_query(raw: str, parameters: dict[str, str]) -> None:
    """A query is split at `&` only, decoded once, and the first of equal names wins."""
    assert decode_query(raw) == parameters


@pytest.mark.parametrize("raw", ["a=%", "a=%4", "%g1=1", "a=%00", "%00", "a=0xAB%00CD"])
def test_decode_query_refuses(raw: str) -> None:
    """A query with a bad escape or a NUL has no canonical form."""
    with pytest.raises(BadTarget):
        decode_query(raw)


def test_parameters_are_bounded() -> None:
    """The last parameter allowed is read, one more is refused, empty and equal ones count."""
    assert len(decode_query("&".join(f"p{n}=1" for n in range(MAX_PARAMETERS)))) == MAX_PARAMETERS
    with pytest.raises(BadTarget, match="too many parameters"):
        decode_query("&" * MAX_PARAMETERS)


@pytest.mark.parametrize(
    ("path", "parameters", "target"),
    [
        ("/", {}, b"/"),
        ("/a b", {}, b"/a%20b"),
        ("/a?b#c;d", {}, b"/a%3Fb%23c%3Bd"),
        ("/~a_b-c.d", {}, b"/~a_b-c.d"),
        ("/\u00e9\udcff", {}, b"/%C3%A9%FF"),
        ("/", {"a": ""}, b"/?a="),
        ("/", {"a": "x y+z"}, b"/?a=x%20y%2Bz"),
        ("/", {"a": "\u00e9\udcff"}, b"/?a=%C3%A9%FF"),
        ("/", {"x&y": "=/"}, b"/?x%26y=%3D%2F"),
        (
            "/p",
            {
                "b": "1",
                "hash": "on",
                "fingerprint": "on",
                "exact": "on",
                "a": "2",
                "search": "s",
                "op": "get",
            },
            b"/p?op=get&search=s&exact=on&fingerprint=on&hash=on&b=1&a=2",
        ),
    ],
)
def test_encode_target(path: str, parameters: dict[str, str], target: bytes) -> None:
    """A target is written in one order with everything escaped but unreserved characters."""
    assert encode_target(path, parameters) == target


def test_target_is_bounded_as_it_goes_upstream() -> None:
    """The bound counts what escaping adds."""
    assert len(encode_target("/", {"a": "b" * (MAX_TARGET_BYTES - 4)})) == MAX_TARGET_BYTES
    with pytest.raises(BadTarget, match="too long"):
        encode_target("/", {"a": "b" * (MAX_TARGET_BYTES - 3)})
    with pytest.raises(BadTarget, match="too long"):
        encode_target("/", {"a": "@" * (MAX_TARGET_BYTES // 3)})


def test_a_message_repeats_nothing_of_the_request() -> None:
    """The text of a refusal can be sent and logged: it holds nothing that the client wrote."""
    with pytest.raises(BadTarget) as caught:
        decode_query("search=alice%zz")
    assert str(caught.value) == "bad percent escape"


@given(st.binary())
def test_no_octet_is_lost(octets: bytes) -> None:
    """Every sequence of octets without NUL comes back as it was."""
    escaped = "".join(f"%{octet:02x}" for octet in octets if octet)
    text = percent_decode(escaped)
    assert text.encode("utf-8", "surrogateescape") == octets.replace(b"\0", b"")


@given(st.dictionaries(st.sampled_from(ORDER) | DATA.map("x-".__add__), DATA, max_size=10))
def test_a_written_query_is_read_back(parameters: dict[str, str]) -> None:
    """What is written is what the upstream reads: the same names, values and first winners."""
    assert decode_query(encode_target("/", parameters).decode()[2:]) == parameters
