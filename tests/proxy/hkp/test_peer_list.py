"""The peers that a keyserver names: hosts are found, and a hostile list gets nobody in who cannot be one."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.hkp import peer_list
from proxy.hkp.peer_list import MOST_BYTES, MOST_HOSTS, MOST_PEERS, BadStats, PeerList, host_of, is_public, read

# As Hockeypuck 2.2 writes it, shortened.
HOCKEYPUCK: dict[str, Any] = {
    "now": "2026-06-01T12:00:00Z",
    "version": "2.2",
    "hostname": "keys.example.org",
    "httpAddr": ":11371",
    "queryConfig": {"selfSignedOnly": False, "keywordSearchDisabled": False},
    "reconAddr": ":11370",
    "software": "Hockeypuck",
    "peers": [
        {
            "Name": "one",
            "httpAddr": "keys.example.net:11371",
            "reconAddr": "keys.example.net:11370",
            "statsPath": "/pks/lookup?op=stats",
            "LastIncomingRecon": "2026-06-01T11:59:00Z",
            "ReconStatus": "OK",
        },
        {"Name": "two", "httpAddr": "www.example.com:443", "reconAddr": "192.0.2.7:11370"},
        {"Name": "three", "httpAddr": "k****1", "reconAddr": "k****0", "masked": True},
    ],
    "pksTargets": [],
    "Total": 20309,
    "Hourly": [{"Inserted": 1, "Time": "2026-06-01T11:00:00Z"}],
}


def stats(*peers: Any) -> bytes:
    """Return statistics with these peers."""
    return json.dumps({"peers": peers}).encode()


def test_hockeypuck() -> None:
    """Hosts of both services, each once, without ports; who is hidden is counted."""
    found = read(json.dumps(HOCKEYPUCK).encode())
    assert found == PeerList(("keys.example.net", "www.example.com", "192.0.2.7"), masked=1)


@pytest.mark.parametrize("nobody", [[], None])
def test_nobody(nobody: Any) -> None:
    """A keyserver without peers says so with an empty list, or with null as Go does."""
    assert read(json.dumps({"peers": nobody}).encode()) == PeerList(())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'"peers"',
        b'{"peers": "keys.example.net"}',
        b'{"peers": {"httpAddr": "keys.example.net"}}',
        b'{"peers": 1}',
        b'{"peers": [',
        b'{"peers": [' + b"1" * 5000 + b"]}",
        b"[" * 500_000,
        b'{"peers":' * 100_000,
        b'{"peers": []}' + b" " * MOST_BYTES,
    ],
)
def test_no_statistics(text: bytes) -> None:
    """What is no JSON object with a list of peers is refused, however deep or long it is."""
    with pytest.raises(BadStats):
        read(text)


@pytest.mark.parametrize(
    ("peer", "refused"),
    [
        ({}, 0),
        ({"httpAddr": "", "reconAddr": ""}, 0),
        ({"httpAddr": ":11371", "reconAddr": ":11370"}, 2),
        ({"httpAddr": None, "reconAddr": 7}, 2),
        ({"httpAddr": ["keys.example.net"]}, 1),
        ("keys.example.net", 1),
        (None, 1),
        ([], 1),
        ({"httpAddr": "192.0.2.0/24"}, 1),
        ({"httpAddr": "0.0.0.0/0", "reconAddr": "::/0"}, 2),
    ],
)
def test_entries_that_are_none(peer: Any, refused: int) -> None:
    """They are left out and counted, and the others are read."""
    found = read(stats({"httpAddr": "a.example"}, peer, {"httpAddr": "b.example"}))
    assert found == PeerList(("a.example", "b.example"), refused=refused)


@pytest.mark.parametrize("peer", [{"httpAddr": "k****1", "reconAddr": "a.example:1"}, {"reconAddr": "******"}])
def test_hidden_peers(peer: dict[str, str]) -> None:
    """A peer of which one address is hidden is hidden."""
    assert read(stats(peer)) == PeerList((), masked=1)


def test_long_lists() -> None:
    """Of peers and of hosts no more than the most are taken, the rest is counted; who is named twice counts once."""
    one_each = [{"httpAddr": f"{number}.example"} for number in range(MOST_PEERS + 5)]
    found = read(stats(*one_each))
    assert (len(found.hosts), found.refused) == (MOST_PEERS, 5)
    assert found.hosts[-1] == f"{MOST_PEERS - 1}.example"
    two_each = [{"httpAddr": f"{number}.a.example", "reconAddr": f"{number}.b.example"} for number in range(MOST_PEERS)]
    found = read(stats(*two_each))
    assert (len(found.hosts), found.refused) == (MOST_HOSTS, 2 * MOST_PEERS - MOST_HOSTS)
    assert read(stats(*[{"httpAddr": "a.example"}] * MOST_PEERS)) == PeerList(("a.example",))


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("keys.example.net", "keys.example.net"),
        ("keys.example.net:11371", "keys.example.net"),
        ("Keys.EXAMPLE.net.:11371", "keys.example.net"),
        ("hockeypuck_2:11371", "hockeypuck_2"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("4.example", "4.example"),
        ("b" * 49 + (".a" + "b" * 49) * 4 + ".:1", "b" * 49 + (".a" + "b" * 49) * 4),
        ("192.0.2.7:11370", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:DB8::7]:11370", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:11370", "192.0.2.7"),
    ],
)
def test_hosts(text: str, host: str) -> None:
    """A name or an address, with or without a port, has one spelling."""
    assert host_of(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":11371",
        ".",
        "..",
        "a..b",
        ".a",
        "-a.example",
        "a-.example",
        "a" * 64 + ".example",
        ".".join(["a" * 50] * 5),
        "1." * 500_000,
        "a" * 1_000_000,
        ":" * 1_000_000,
        "a b",
        " a.example",
        "a.example\n",
        "a.example\x00",
        "a.example:",
        "a.example:x",
        "a.example:123456",
        "a.example:1:2",
        "http://a.example",
        "a.example/x",
        "user@a.example",
        "b\u00fccher.example",
        "a\u3002example",
        "\u0661.example",
        "\ud800",
        "*.example",
        "192.0.2.0/24",
        "192.0.2.300",
        "192.0.2",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0X7F.0x1",
        "0177.0.0.1",
        "a.1",
        "a.0x",
        "[192.0.2.7",
        "192.0.2.7]",
        "[a.example]:1",
        "[]",
        "[]:1",
        "[2001:db8::7]11371",
        "[2001:db8::7]:x",
        "fe80::1%eth0",
        "[fe80::1%eth0]:11371",
        "2001:db8::7%",
        "::g",
        "2001:db8::11371",
    ],
)
def test_no_hosts(text: str) -> None:
    """Networks, short spellings of addresses, zones, patterns and everything that is not plain ASCII are no hosts."""
    assert host_of(text) == ""


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("198.41.0.4", True),
        ("::ffff:198.41.0.4", True),
        ("2001:503:ba3e::2:30", True),
        ("2a00:1450::1", True),
        ("0.0.0.0", False),
        ("0.1.2.3", False),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("192.0.2.1", False),
        ("192.168.0.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("239.1.2.3", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::127.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::7f00:1", False),
        ("100::1", False),
        ("2001::1", False),
        ("2001:db8::1", False),
        ("2002:7f00:1::1", False),
        ("2002:c629:4::1", False),
        ("4000::1", False),
        ("5f00::1", False),
        ("fc00::1", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("ff0e::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:  # noqa: FBT001 - a row
    """An address where nobody on the public net can be is none, in whatever other it is wrapped."""
    assert is_public(ip_address(address).packed) is public


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["peers", "httpAddr", "x"]), inner),
    max_leaves=20,
)


@given(st.binary(max_size=64) | JSON.map(lambda value: json.dumps(value).encode()) | JSON.map(stats))
def test_any_bytes(text: bytes) -> None:
    """Whatever comes, it is refused as a whole, or gives hosts that are hosts."""
    try:
        found = read(text)
    except BadStats:
        return
    assert all(host_of(host) == host != "" for host in found.hosts)


@given(st.text(max_size=40) | st.from_regex(peer_list._NAME, fullmatch=True))
def test_a_host_is_its_own_spelling(text: str) -> None:
    """Reading a host again gives the same host."""
    host = host_of(text)
    assert host_of(host) == host
