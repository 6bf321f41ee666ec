"""Where a request comes from: the peer, or the right-most hop outside of the trusted networks."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import ForwardedHeader
from proxy.http.address import HEADERS, Origin, Source, origin
from proxy.http.head import read_request
from proxy.policy.networks import network_set

PROXY = ip_address("10.0.0.1").packed
STRANGER = ip_address("198.51.100.1").packed
TRUSTED = network_set([ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48")])


def origin_of(*lines: str, header: str = "x-forwarded-for", peer: bytes = PROXY) -> Origin:
    """Return the origin of a request with these header lines that came through `peer`."""
    fields = "".join(f"{line}\r\n" for line in lines)
    head = read_request(f"GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode("latin-1"), 16384, 8192)
    assert head is not None
    return origin(peer, head, TRUSTED, header=header)


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
        ("10.1.1.1, 192.0.2.1", ("192.0.2.1", FOR)),
        ("192.0.2.1, 10.1.1.1, 10.2.2.2", ("192.0.2.1", FOR)),
        ("10.1.1.1, 10.2.2.2", ("10.1.1.1", FOR)),
        (" 192.0.2.1 ", ("192.0.2.1", FOR)),
        ("192.0.2.1\t,\t10.1.1.1", ("192.0.2.1", FOR)),
        ("192.0.2.1:4711", ("192.0.2.1", FOR)),
        ("::ffff:192.0.2.1", ("192.0.2.1", FOR)),
        ("192.0.2.1, ::ffff:10.1.1.1", ("192.0.2.1", FOR)),
        ("::FFFF:192.0.2.1", ("192.0.2.1", FOR)),
        ("0:0:0:0:0:ffff:c000:0201", ("192.0.2.1", FOR)),
        ("192.0.2.66, ::ffff:192.0.2.1, ::ffff:10.1.1.1", ("192.0.2.1", FOR)),
        ("2001:db8::1", ("2001:db8::1", FOR)),
        ("[2001:db8::1]", ("2001:db8::1", FOR)),
        ("[2001:db8::1]:4711", ("2001:db8::1", FOR)),
        ("[::ffff:192.0.2.1]:4711", ("192.0.2.1", FOR)),
        ("fe80::1%eth0", ("fe80::1", FOR)),
        ("[fe80::1%25eth0]:80", ("fe80::1", FOR)),
        ("192.0.2.1%eth0", ITSELF),
        ("[2001:db8::1", ITSELF),
        ("[2001:db8::1]x", ITSELF),
        ("2001:db8::1]", ITSELF),
        ("[]", ITSELF),
        ("[2001:db8::1]:4711, 10.1.1.1:80", ("2001:db8::1", FOR)),
        ('"192.0.2.1"', ITSELF),
        ("192.0.2.1, 2001:db8:ffff::5", ("192.0.2.1", FOR)),
        ("", ITSELF),
        (",", ITSELF),
        ("192.0.2.1,", ITSELF),
        (",192.0.2.1", ("192.0.2.1", FOR)),
        ("192.0.2.66,, 192.0.2.1", ("192.0.2.1", FOR)),
        ("192.0.2.66,, 10.1.1.1", ("10.1.1.1", FOR)),
        ("192.0.2.66, , 10.1.1.1", ("10.1.1.1", FOR)),
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
        (", for=192.0.2.1", ("192.0.2.1", BY)),
        ("for=192.0.2.66,, for=10.1.1.1", ("10.1.1.1", BY)),
        ("for=192.0.2.66, proto=http, for=10.1.1.1", ("10.1.1.1", BY)),
        ('for="192.0.2.1:4711"', ("192.0.2.1", BY)),
        ('for="[2001:db8::1]"', ("2001:db8::1", BY)),
        ('for="[2001:db8::1]:4711"', ("2001:db8::1", BY)),
        ('for="[::ffff:192.0.2.1]"', ("192.0.2.1", BY)),
        ('for="[2001:db8::1]:_port"', ("2001:db8::1", BY)),
        ('for="[fe80::1%25eth0]"', ("fe80::1", BY)),
        ("for=2001:db8::1", ("2001:db8::1", BY)),
        ('for = "192.0.2.1" ; proto=http', ("192.0.2.1", BY)),
        ("for='192.0.2.1'", ITSELF),
        ("xfor=192.0.2.1", ITSELF),
        ("for=192.0.2.66;for=192.0.2.1", ITSELF),
        ('for=192.0.2.66;host="a, for=192.0.2.1"', ("192.0.2.66", BY)),
        ('for=192.0.2.1;by="a,b;c"', ("192.0.2.1", BY)),
        ('host="a, for=192.0.2.9";for=192.0.2.1', ("192.0.2.1", BY)),
        ("for=_hidden", ITSELF),
        ("for=unknown", ITSELF),
        ("for=_hidden, for=10.1.1.1", ("10.1.1.1", BY)),
        ('for="_hidden:80"', ITSELF),
        ("for=192.0.2.66, for=_hidden, for=10.1.1.1", ("10.1.1.1", BY)),
        ("for=192.0.2.66, for=unknown, for=10.1.1.1", ("10.1.1.1", BY)),
        ('for=192.0.2.66, for="unknown:80", for=10.1.1.1', ("10.1.1.1", BY)),
        ("proto=http", ITSELF),
        ("for=", ITSELF),
        ("192.0.2.1", ITSELF),
        ("", ITSELF),
    ],
)
def test_forwarded(chain: str, client: tuple[str, Source]) -> None:
    """RFC 7239 is read the same way, where the operator chose it."""
    assert shown(origin_of(f"Forwarded: {chain}", header="forwarded")) == client


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
    assert shown(origin_of(*chain, header="forwarded")) == ("192.0.2.1", BY)


NAMES = {"cf-connecting-ip": "CF-Connecting-IP", "true-client-ip": "True-Client-IP", "x-real-ip": "X-Real-IP"}
SINGLE = {
    "cf-connecting-ip": Source.CF_CONNECTING_IP,
    "true-client-ip": Source.TRUE_CLIENT_IP,
    "x-real-ip": Source.X_REAL_IP,
}


@pytest.mark.parametrize(("header", "source"), SINGLE.items())
@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("\t192.0.2.1 ", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("10.1.1.1", "10.1.1.1"),  # a trusted proxy that asks for itself
        ("", None),
        ("unknown", None),
        ("192.0.2.1, 192.0.2.2", None),
        ("192.0.2.1,", None),
        ("192.0.2.1 192.0.2.2", None),
        ("192.0.2.1:4711", None),
        ("[2001:db8::1]", None),
        ('"192.0.2.1"', None),
        ("for=192.0.2.1", None),
        ("192.0.2.01", None),
        ("192.0.2.1" + 5000 * "0", None),
    ],
)
def test_header_with_one_address(header: str, source: Source, value: str, client: str | None) -> None:
    """Where the operator chose it, what the trusted proxy says is the client; anything but one address is unusable."""
    expected = ITSELF if client is None else (client, source)
    assert shown(origin_of(f"{NAMES[header]}: {value}", header=header)) == expected


@pytest.mark.parametrize("header", SINGLE)
@pytest.mark.parametrize("second", ["192.0.2.1", "192.0.2.2", ""])
def test_one_address_said_twice_is_unusable(header: str, second: str) -> None:
    """The proxy overwrites the field; where there are two, one of them is the client's, even if they are equal."""
    name = NAMES[header]
    assert shown(origin_of(f"{name}: 192.0.2.1", f"{name.lower()}: {second}", header=header)) == ITSELF
    assert shown(origin_of(f"{name}: {second}", f"{name.upper()}: 192.0.2.1", header=header)) == ITSELF


SAID = {
    "x-forwarded-for": ("X-Forwarded-For: 192.0.2.1", Source.X_FORWARDED_FOR),
    "forwarded": ("Forwarded: for=192.0.2.2", Source.FORWARDED),
    "cf-connecting-ip": ("CF-Connecting-IP: 192.0.2.3", Source.CF_CONNECTING_IP),
    "true-client-ip": ("True-Client-IP: 192.0.2.4", Source.TRUE_CLIENT_IP),
    "x-real-ip": ("X-Real-IP: 192.0.2.5", Source.X_REAL_IP),
}
EVERY_LINE = [line for line, _ in SAID.values()]


@pytest.mark.parametrize("header", SAID)
def test_only_the_chosen_header_is_read(header: str) -> None:
    """The others are written by whoever likes to: a trusted CDN that sets one of them hands the rest through."""
    line, source = SAID[header]
    address = line.rpartition(" ")[2].removeprefix("for=")
    others = [each for each in EVERY_LINE if each != line]
    assert shown(origin_of(*EVERY_LINE, header=header)) == (address, source)
    assert shown(origin_of(*reversed(EVERY_LINE), header=header)) == (address, source)
    assert shown(origin_of(*others, header=header)) == ITSELF


@pytest.mark.parametrize("header", SAID)
def test_header_of_a_stranger_is_not_read(header: str) -> None:
    """A peer that is not trusted is the client, whatever it says of itself or of others."""
    stranger = ("198.51.100.1", Source.PEER)
    assert shown(origin_of(*EVERY_LINE, header=header, peer=STRANGER)) == stranger
    assert shown(origin_of(header=header, peer=STRANGER)) == stranger


def test_underscores_do_not_make_a_header() -> None:
    """A field whose name only looks like the chosen one after CGI's translation is not it."""
    assert shown(origin_of("CF_Connecting_IP: 192.0.2.66", header="cf-connecting-ip")) == ITSELF
    lines = ("X_Real_IP: 192.0.2.66", "X-Real-IP: 192.0.2.1")
    assert shown(origin_of(*lines, header="x-real-ip")) == ("192.0.2.1", Source.X_REAL_IP)


def test_every_word_of_the_setting_is_known() -> None:
    """What an operator may write can be read, and each word has a source of its own."""
    assert set(HEADERS) == set(get_args(ForwardedHeader)) == set(SAID)
    assert {header.source for header in HEADERS.values()} | {
        Source.PEER,
        Source.TRUSTED_PEER,
        Source.PROXY_PROTOCOL,
    } == (set(Source))


def test_numbers_stand() -> None:
    """They are in records and in what is kept of them: they are added to, never changed."""
    names = "PEER X_FORWARDED_FOR FORWARDED TRUSTED_PEER CF_CONNECTING_IP TRUE_CLIENT_IP X_REAL_IP PROXY_PROTOCOL"
    assert [source.name for source in sorted(Source)] == names.split()
    assert [source.value for source in sorted(Source)] == list(range(8))


def test_lines_are_one_chain() -> None:
    """A proxy may add its hop in a line of its own."""
    assert shown(origin_of("X-Forwarded-For: 192.0.2.1, 10.1.1.1", "X-Forwarded-For: 10.2.2.2")) == ("192.0.2.1", FOR)


FORMS = {"x-forwarded-for": "X-Forwarded-For: {}", "forwarded": "Forwarded: {}"}


def chain_of(header: str, addresses: list[str]) -> str:
    """Return a chain of these hops, as `header` has it."""
    return ", ".join(addresses if header == "x-forwarded-for" else [f"for={each}" for each in addresses])


@pytest.mark.parametrize("header", FORMS)
def test_walk_is_bounded(header: str) -> None:
    """Of a hundred hops that are all trusted the last 32 are followed."""
    trusted = [f"10.1.1.{number}" for number in range(100)]
    line = FORMS[header].format(chain_of(header, ["192.0.2.1", *trusted]))
    assert shown(origin_of(line, header=header)) == ("10.1.1.68", SAID[header][1])


@pytest.mark.parametrize("header", FORMS)
def test_hundred_hops_of_strangers(header: str) -> None:
    """However many a client puts in front, the one that our proxy saw counts."""
    spoofed = [f"203.0.113.{number}" for number in range(100)]
    line = FORMS[header].format(chain_of(header, [*spoofed, "192.0.2.1", "10.1.1.1"]))
    assert shown(origin_of(line, header=header)) == ("192.0.2.1", SAID[header][1])


PAD = {"x-forwarded-for": " " * 4000, "forwarded": f'by="{4000 * "x"}";'}


@pytest.mark.parametrize("header", FORMS)
@pytest.mark.parametrize(("spoofed", "expected"), [("192.0.2.7", "192.0.2.7"), ("192.0.2.7" + 200 * " ", "10.1.1.1")])
def test_right_end_of_a_long_chain_is_read(header: str, spoofed: str, expected: str) -> None:
    """What stands more than 4 KiB from the right is not looked at: no part of a hop that was cut is taken for one."""
    node = spoofed if header == "x-forwarded-for" else f"for={spoofed}"
    near = "10.1.1.1" if header == "x-forwarded-for" else "for=10.1.1.1"
    line = FORMS[header].format(f"{node}, {PAD[header]}{near}")
    assert shown(origin_of(line, header=header)) == (expected, SAID[header][1])


@pytest.mark.parametrize("header", FORMS)
def test_cut_through_an_address_leaves_none(header: str) -> None:
    """Wherever the cut goes through a hop, what is left of it is not read as another address."""
    prefix, near = ("", "10.1.1.1") if header == "x-forwarded-for" else ("for=", "for=10.1.1.1")
    for kept in range(20):  # bytes in front of the comma that precedes the last hop
        space = 4096 - kept - len(",") - len(near)
        line = FORMS[header].format(f"{prefix}198.51.100.1,{prefix}192.0.2.77,{' ' * space}{near}")
        expected = "192.0.2.77" if kept > len(f"{prefix}192.0.2.77") else "10.1.1.1"
        assert shown(origin_of(line, header=header)) == (expected, SAID[header][1])


@pytest.mark.parametrize("header", FORMS)
def test_quotes_and_commas_without_end(header: str) -> None:
    """A head full of separators or open quotes neither names anybody nor hides what the proxy wrote."""
    near = "192.0.2.1" if header == "x-forwarded-for" else "for=192.0.2.1"
    for rubbish in (",", '"', ";", "=", "[", ":", 'for="', ",;"):
        line = FORMS[header].format(f"{rubbish * (15000 // len(rubbish))}, {near}")
        assert shown(origin_of(line, header=header)) == ("192.0.2.1", SAID[header][1])


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
    lines = [f"{name}: {chain}" for name in ("X-Forwarded-For", "Forwarded", *NAMES.values())]
    for header in HEADERS:
        found = origin_of(*lines, header=header)
        assert len(found.address) in {4, 16}
        assert found.source in {HEADERS[header].source, Source.TRUSTED_PEER}


def _packed(text: str) -> bytes:
    address = ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).packed
