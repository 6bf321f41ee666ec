"""Where a request comes from: the peer, or the right-most hop outside of the trusted networks."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.address import Origin, Source, origin
from proxy.http.head import read_request
from proxy.policy.networks import network_set

PROXY = ip_address("10.0.0.1").packed
TRUSTED = network_set([ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48")])


def origin_of(*lines: str, use_forwarded: bool = False) -> Origin:
    """Return the origin of a request with these header lines that came through PROXY."""
    fields = "".join(f"{line}\r\n" for line in lines)
    head = read_request(f"GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode("latin-1"), 16384, 8192)
    assert head is not None
    return origin(PROXY, head, TRUSTED, use_forwarded=use_forwarded)


def shown(found: Origin) -> tuple[str, Source]:
    """Return it with the address as text."""
    return str(ip_address(found.address)), found.source


ITSELF = ("10.0.0.1", Source.TRUSTED_PEER)
FOR = Source.X_FORWARDED_FOR


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("192.0.2.1", ("192.0.2.1", FOR)),
        ("192.0.2.66, 192.0.2.1", ("192.0.2.1", FOR)),
        ("192.0.2.66,192.0.2.1,10.1.1.1", ("192.0.2.1", FOR)),
        ("192.0.2.1, 10.1.1.1, 10.2.2.2", ("192.0.2.1", FOR)),
        ("10.1.1.1, 10.2.2.2", ("10.1.1.1", FOR)),
        (" 192.0.2.1 ", ("192.0.2.1", FOR)),
        ("192.0.2.1\t,\t10.1.1.1", ("192.0.2.1", FOR)),
        ("192.0.2.1:4711", ("192.0.2.1", FOR)),
        ("::ffff:192.0.2.1", ("192.0.2.1", FOR)),
        ("192.0.2.1, ::ffff:10.1.1.1", ("192.0.2.1", FOR)),
        ("2001:db8::1", ("2001:db8::1", FOR)),
        ("[2001:db8::1]", ("2001:db8::1", FOR)),
        ("[2001:db8::1]:4711", ("2001:db8::1", FOR)),
        ("[::ffff:192.0.2.1]:4711", ("192.0.2.1", FOR)),
        ("fe80::1%eth0", ("fe80::1", FOR)),
        ("192.0.2.1, 2001:db8:ffff::5", ("192.0.2.1", FOR)),
        ("", ITSELF),
        (",", ITSELF),
        ("192.0.2.1,", ITSELF),
        ("unknown", ITSELF),
        ("192.0.2.1, unknown", ITSELF),
        ("192.0.2.1, unknown, 10.1.1.1", ("10.1.1.1", FOR)),
        ("keys.example", ITSELF),
        ("192.0.2.256", ITSELF),
        ("192.0.2.01", ITSELF),
        ("192.0.2", ITSELF),
        ("3221225985", ITSELF),
        ("0xc0000201", ITSELF),
        ("192.0.2.1 192.0.2.2", ITSELF),
        ("192.0.2.1;", ITSELF),
        ("'192.0.2.1'", ITSELF),
        ("2001:db8::1::2", ITSELF),
        ("\xb9\xb2.0.2.1", ITSELF),
    ],
)
def test_x_forwarded_for(chain: str, client: tuple[str, Source]) -> None:
    """The walk goes from the right over trusted hops; rubbish ends it at the last hop that was believed."""
    assert shown(origin_of(f"X-Forwarded-For: {chain}")) == client


BY = Source.FORWARDED


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("for=192.0.2.1", ("192.0.2.1", BY)),
        ("For=192.0.2.1;proto=http", ("192.0.2.1", BY)),
        ("proto=http; for=192.0.2.1; by=10.0.0.1", ("192.0.2.1", BY)),
        ("for=192.0.2.66, for=192.0.2.1", ("192.0.2.1", BY)),
        ("for=192.0.2.1, for=10.1.1.1", ("192.0.2.1", BY)),
        ("for=10.1.1.1, for=10.2.2.2", ("10.1.1.1", BY)),
        ('for="192.0.2.1:4711"', ("192.0.2.1", BY)),
        ('for="[2001:db8::1]"', ("2001:db8::1", BY)),
        ('for="[2001:db8::1]:4711"', ("2001:db8::1", BY)),
        ('for="[::ffff:192.0.2.1]"', ("192.0.2.1", BY)),
        ('for=192.0.2.1;by="a,b;c"', ("192.0.2.1", BY)),
        ('host="a, for=192.0.2.9";for=192.0.2.1', ("192.0.2.1", BY)),
        ("for=_hidden", ITSELF),
        ("for=unknown", ITSELF),
        ("for=_hidden, for=10.1.1.1", ("10.1.1.1", BY)),
        ("proto=http", ITSELF),
        ("for=", ITSELF),
        ("192.0.2.1", ITSELF),
        ("", ITSELF),
    ],
)
def test_forwarded(chain: str, client: tuple[str, Source]) -> None:
    """RFC 7239 is read the same way, where the operator chose it."""
    assert shown(origin_of(f"Forwarded: {chain}", use_forwarded=True)) == client


FORGED = [
    'for="',
    'for=192.0.2.66;x="',
    'for=192.0.2.66;x="\\"',
    'for=192.0.2.66;x="a\\", b"',
    "for=192.0.2.66;x=\\",
    'for=192.0.2.66, for="192.0.2.67',
]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("honest", ["for=192.0.2.1", 'for="192.0.2.1"', 'for="192.0.2.1:80";by="[2001:db8:ffff::1]"'])
@pytest.mark.parametrize("lines", [1, 2])
def test_open_quote_of_the_client_does_not_swallow_what_the_proxy_wrote(forged: str, honest: str, lines: int) -> None:
    """A quote that the client leaves open must not make the proxy's own element part of the client's.

    The proxy adds its element on the right of what it got, in the same line or in one more.
    """
    chain = [f"Forwarded: {forged}, {honest}"] if lines == 1 else [f"Forwarded: {forged}", f"Forwarded: {honest}"]
    assert shown(origin_of(*chain, use_forwarded=True)) == ("192.0.2.1", BY)


def test_only_the_chosen_header_is_read() -> None:
    """The other header is written by whoever likes to."""
    lines = ("X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.2")
    assert shown(origin_of(*lines)) == ("192.0.2.1", FOR)
    assert shown(origin_of(*lines, use_forwarded=True)) == ("192.0.2.2", BY)
    assert shown(origin_of(lines[1])) == ITSELF


def test_lines_are_one_chain() -> None:
    """A proxy may add its hop in a line of its own."""
    assert shown(origin_of("X-Forwarded-For: 192.0.2.1, 10.1.1.1", "X-Forwarded-For: 10.2.2.2")) == ("192.0.2.1", FOR)


def test_walk_is_bounded() -> None:
    """A chain of trusted hops without end is not followed to its end."""
    chain = ["192.0.2.1", *(f"10.1.1.{number}" for number in range(40))]
    address, _ = origin_of(f"X-Forwarded-For: {', '.join(chain)}")
    assert address == ip_address("10.1.1.8").packed


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(st.lists(ADDRESSES, min_size=1, max_size=8))
def test_client_is_the_right_most_untrusted_hop(hops: list[object]) -> None:
    """Whatever the chain, no hop to the left of the right-most untrusted one is ever taken."""
    expected = hops[0]
    for hop in reversed(hops):
        packed = _packed(str(hop))
        if TRUSTED.get(packed) is None:
            expected = hop
            break
    found, _ = origin_of(f"X-Forwarded-For: {', '.join(map(str, hops))}")
    assert found == _packed(str(expected))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60))
def test_any_chain(chain: str) -> None:
    """No text raises, and nothing but an address comes out."""
    for use_forwarded in (False, True):
        found = origin_of(f"X-Forwarded-For: {chain}", f"Forwarded: {chain}", use_forwarded=use_forwarded)
        assert len(found.address) in {4, 16}


def _packed(text: str) -> bytes:
    address = ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).packed
