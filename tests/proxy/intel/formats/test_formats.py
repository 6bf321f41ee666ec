"""Every format: what good, odd and hostile bodies say; nothing that is read is private, wide, or listed twice."""

from __future__ import annotations

import gzip
import json
import tarfile
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.hkp.peer_list import is_public
from proxy.intel.formats import FORMATS, Limits, NotAList, Parsed, Reading
from proxy.intel.listing import ListingKind

NOW_S = 1_800_000_000.0
BUNDLE = Path(__file__).parents[5] / "shared" / "data" / "dev.tar.xz"


def read(name: str, body: str | bytes, *, field: str = "", **limits: Any) -> Parsed:
    """Read a body."""
    data = body.encode() if isinstance(body, str) else body
    return FORMATS[name].parse(data, Reading(NOW_S, field, Limits(**limits)))


def said(parsed: Parsed) -> list[str]:
    """Return listings as text, without what is usual."""
    return [
        " ".join(
            [
                str(row.network),
                *([f"severity={row.severity:.2f}"] if row.severity != 0.5 else []),
                *([f"for={row.until_s - NOW_S:g}s"] if row.until_s is not None else []),
                *([f"note={row.note}"] if row.note else []),
            ]
        )
        for row in parsed.listings
    ]


AWS = {
    "syncToken": "1",
    "prefixes": [{"ip_prefix": "3.5.140.0/22", "region": "x", "service": "AMAZON"}, {"ip_prefix": "3.5.140.0/22"}],
    "ipv6_prefixes": [{"ipv6_prefix": "2600:1f00::/24"}],
}
GOOGLE = {"creationTime": "2026", "prefixes": [{"ipv4Prefix": "34.1.208.0/20"}, {"ipv6Prefix": "2600:1900::/28"}]}
AZURE = {"values": [{"name": "A", "properties": {"addressPrefixes": ["4.149.0.0/18", "2603:1000::/25"]}}]}
DROP = '{"cidr":"9.9.0.0/16","sblid":"SBL1","rir":"arin"}\n{"type":"metadata","timestamp":1,"size":9,"records":1}\n'
EXITS = (
    "@type tordnsel 1.0\nDownloaded 2026-01-01 00:00:00\nExitNode 63BA28370F543D175173E414D5450590D73E22DC\n"
    "Published 2026-01-01 07:35:55\nLastStatus 2026-01-01 08:10:11\nExitAddress 9.9.9.9 2026-01-01 07:10:30\n"
    "ExitAddress 9.9.9.10 2026-01-01 10:35:30\n"
)
ONIONOO = {
    "relays": [
        {"exit_addresses": ["9.9.9.9"], "or_addresses": ["9.9.9.8:443", "[2620:fe::9]:443"], "flags": ["Exit", "Fast"]},
        {"or_addresses": ["9.9.9.7:443"], "flags": ["Fast"]},
    ]
}
STREAM = {
    "new": [
        {"duration": "1h", "scope": "Ip", "type": "ban", "value": "9.9.9.9", "scenario": "a/ssh-bf", "origin": "CAPI"},
        {"duration": "1m30.5s", "scope": "range", "type": "captcha", "value": "9.9.8.0/24", "scenario": None},
        {"duration": "1h", "scope": "AS", "type": "ban", "value": "64496", "scenario": "x"},
        {"duration": "1h", "scope": "Country", "type": "ban", "value": "AQ", "scenario": "x"},
        {"duration": "1h", "scope": "Ip", "type": "ban", "value": "9.9.9.8", "scenario": "x", "simulated": True},
        {"duration": "1h", "scope": "Ip", "type": "throttle", "value": "9.9.9.7", "scenario": "x"},
        {"duration": "-2s", "scope": "Ip", "type": "ban", "value": "9.9.9.6", "scenario": "x"},
    ],
    "deleted": [{"duration": "-1h", "scope": "Ip", "type": "ban", "value": "9.9.9.1", "scenario": "x"}],
}
WARNING = {"name": "resolvers", "type": "cidr", "version": 1, "list": ["9.9.9.9/32", "2620:fe::/48", "10.0.0.0/8"]}


@pytest.mark.parametrize(
    ("name", "field", "body", "expected"),
    [
        ("text", "", "9.9.9.9", ["9.9.9.9/32"]),
        (
            "text",
            "",
            "# a\r\n\r\n  9.9.9.9  # b\r\n9.9.8.0/24;c\n2620:fe::/48 ; d",
            ["9.9.8.0/24", "9.9.9.9/32", "2620:fe::/48"],
        ),
        ("text", "", "9.9.9.9\t1\n9.9.9.8 3\n", ["9.9.9.8/32 severity=0.88", "9.9.9.9/32"]),
        ("text", "", "9.9.9.0 - 9.9.9.1\n9.9.9.2-9.9.9.3", ["9.9.9.0/31", "9.9.9.2/31"]),
        ("text", "", "\ufeff9.9.9.9\n::ffff:9.9.9.9\n9.9.9.9", ["9.9.9.9/32"]),
        ("text", "", "9.9.9.9/24\n10.0.0.1\n127.0.0.1\n224.0.0.0/4", ["9.9.9.0/24"]),
        (
            "netset",
            "",
            "# Entries         : 2 subnets, 9 unique IPs\n9.9.9.0/24\n9.9.8.9",
            ["9.9.8.9/32", "9.9.9.0/24"],
        ),
        ("netset", "", "# Entries : 1 unique IPs\n#\n9.9.9.9\n", ["9.9.9.9/32"]),
        ("ipset", "", "create a hash:net family inet\nadd a 9.9.9.0/24\nadd a 9.9.8.1\n", ["9.9.8.1/32", "9.9.9.0/24"]),
        ("ipset", "", 'add a 9.9.9.9 timeout 60 comment "timeout 9 why"', ["9.9.9.9/32 for=60s note=timeout 9 why"]),
        ("ipset", "", "add a 9.9.9.9 timeout 0 packets 0 bytes 0\nadd a 9.9.9.0-9.9.9.1", ["9.9.9.0/31", "9.9.9.9/32"]),
        ("csv", "", 'n,ip,x\n1,9.9.9.9,"a,b"\n', ["9.9.9.9/32"]),
        ("csv", "", "9.9.9.9,x\n9.9.9.8,y", ["9.9.9.8/32", "9.9.9.9/32"]),
        ("csv", "2", "a;9.9.9.9\nb;9.9.9.8", ["9.9.9.8/32", "9.9.9.9/32"]),
        (
            "csv",
            "IPaddr",
            "fingerprint, ipaddr, port\nAB, 9.9.9.9, 80\nAB, 2620:fe::9, 81",
            ["9.9.9.9/32", "2620:fe::9/128"],
        ),
        ("csv", "from-to", "from\tto\n9.9.9.0\t9.9.9.1\n", ["9.9.9.0/31"]),
        ("csv", "1-2", "9.9.9.0,9.9.9.1", ["9.9.9.0/31"]),
        ("csv", "my-ip", "my-ip,to\n9.9.9.0,x\n", ["9.9.9.0/32"]),
        ("csv", "", "# comment\n9.9.9.0/24,US,US-CA,x,\n", ["9.9.9.0/24"]),
        ("ipcat", "", '9.9.8.0,9.9.9.255,"A, Inc.",http://a', ["9.9.8.0/23 note=A, Inc."]),
        (
            "json",
            "",
            '["9.9.9.9", {"ip": "9.9.9.8", "value": "x"}, {"cidr": "9.9.8.0/24"}]',
            ["9.9.8.0/24", "9.9.9.8/32", "9.9.9.9/32"],
        ),
        ("json", "", "[]", []),
        ("json", "a.b", '{"a": [{"b": "9.9.9.9"}, {"b": ["9.9.9.8"]}, {"c": 1}]}', ["9.9.9.8/32", "9.9.9.9/32"]),
        ("json", "*.ip, v", '{"x": {"ip": "9.9.9.9"}, "v": ["9.9.9.8"]}', ["9.9.9.8/32", "9.9.9.9/32"]),
        ("json", "a.b", '{"a": []}', []),
        ("jsonl", "", '"9.9.9.9"\n\n{"ip": "9.9.9.8"}\n', ["9.9.9.8/32", "9.9.9.9/32"]),
        ("jsonl", "a.b", '{"a": {"b": "9.9.9.9"}}\n{"a": {"b": "9.9.9.8"}}\n', ["9.9.9.8/32", "9.9.9.9/32"]),
        ("cloud", "", json.dumps(AWS), ["3.5.140.0/22", "2600:1f00::/24"]),
        ("cloud", "", json.dumps(GOOGLE), ["34.1.208.0/20", "2600:1900::/28"]),
        ("cloud", "", json.dumps(AZURE), ["4.149.0.0/18", "2603:1000::/25"]),
        ("cloud", "", '{"result": {"ipv4_cidrs": ["9.9.9.0/24"], "ipv6_cidrs": []}}', ["9.9.9.0/24"]),
        ("spamhaus", "", "; DROP\n9.9.0.0/16 ; SBL1\n", ["9.9.0.0/16 severity=0.95 note=SBL1"]),
        ("spamhaus", "", DROP, ["9.9.0.0/16 severity=0.95 note=SBL1"]),
        ("tor", "", "9.9.9.9\n2620:fe::9\n", ["9.9.9.9/32", "2620:fe::9/128"]),
        ("tor", "", EXITS, ["9.9.9.9/32", "9.9.9.10/32"]),
        ("tor", "", EXITS.partition("Downloaded")[2].partition("\n")[2], ["9.9.9.9/32", "9.9.9.10/32"]),
        ("tor", "", json.dumps(ONIONOO), ["9.9.9.8/32", "9.9.9.9/32", "2620:fe::9/128"]),
        ("tor", "", "fingerprint, ipaddr, port\nAB, 9.9.9.9, 80\nAB, 9.9.9.9, 81\n", ["9.9.9.9/32"]),
        (
            "crowdsec",
            "",
            json.dumps(STREAM),
            ["9.9.8.0/24 for=90.5s", "9.9.9.9/32 severity=0.90 for=3600s note=a/ssh-bf"],
        ),
        ("crowdsec", "", '{"new": null, "deleted": null}', []),
        ("crowdsec", "", "null", []),
        ("crowdsec", "", json.dumps(STREAM["new"][:1]), ["9.9.9.9/32 severity=0.90 for=3600s note=a/ssh-bf"]),
        ("misp", "", json.dumps(WARNING), ["9.9.9.9/32", "2620:fe::/48"]),
    ],
)
def test_read(name: str, field: str, body: str, expected: list[str]) -> None:
    """Each format says what it says, as it is and packed with gzip."""
    assert said(read(name, body, field=field)) == expected
    assert said(read(name, gzip.compress(body.encode()), field=field)) == expected


PAGE = "<!DOCTYPE html>\n<html><body>Please log in. 9.9.9.9</body></html>"
HOSTILE = {
    "nothing": b"",
    "blanks": b" \r\n\t ",
    "a page": PAGE.encode(),
    "a page after blanks": b"\n  \xef\xbb\xbf" + PAGE.encode(),
    "XML": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "a packed page": gzip.compress(PAGE.encode()),
    "prose": b"Rate limit exceeded. Please try again later.\n",
    "gzip cut short": gzip.compress(b"9.9.9.9\n" * 1000)[:-9],
    "gzip damaged": gzip.compress(b"9.9.9.9\n" * 1000)[:20] + bytes(20),
    "gzip and more": gzip.compress(b"9.9.9.9\n") + gzip.compress(b"9.9.9.8\n"),
    "a bomb": gzip.compress(b"9.9.9.9\n" * 1024 * 1024),
    "zip": b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
    "binary": bytes(range(256)),
    "an error in JSON": b'{"error": "unauthorized"}',
    "an error as text": b'{"title": "Unauthorized", "http_status": "401"}',
    "a text in JSON": b'"9.9.9.9"x',
    "a number": b"7",
    "JSON cut short": b'{"new": [], "prefixes": [{"ip_prefix": "9.9.9.0/24"}',
    "JSON too deep": b"[" * 40 + b"]" * 40,
    "JSON very deep": b"[" * 100_000,
    "objects too deep": b'{"objects":' * 40 + b"[]" + b"}" * 40,
    "no number": b'{"new": [{"value": NaN}], "deleted": []}',
    "a long number": b"[" + b"9" * 5000 + b"]",
    "a long line": b"9" * 20_000,
    "a wide world": b"0.0.0.0/0\n::/0\n",
    "an open quote": b'"9.9.9.9,x\n9.9.9.8,y\n',
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("what", HOSTILE)
def test_no_list(name: str, what: str) -> None:
    """What is plainly no list is none in any format, and the text that says so is short and printable."""
    with pytest.raises(NotAList) as refused:
        read(name, HOSTILE[what], most_bytes=1024 * 1024)
    text = str(refused.value)
    assert 0 < len(text) < 600
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize(
    ("name", "field", "body", "text"),
    [
        ("text", "", "# only\n; comments\n", "only comments"),
        ("text", "", "9.9.9.9 evil\n", "more than an address"),
        ("text", "", "0.0.0.0/0\n", "'0.0.0.0/0' is too wide"),
        ("text", "", "010.9.9.9\n", "'010.9.9.9' is no address"),
        ("text", "", "9.9.9.9\n" * 18 + "x\n", "1 of 19 rows are bad: 'x' is no address"),
        ("text", "", "\x1b[31m\n", r"\\x1b"),
        ("netset", "", "# Entries         : 3 subnets, 9 unique IPs\n9.9.9.0/24\n9.9.8.9", "cut short: 2 of 3"),
        ("ipset", "", "create a hash:net\nadd a 9.0.0.0/8\nadd a 9.9.9.0/24 nomatch\n", "exceptions"),
        ("ipset", "", "add a 9.9.9.9,tcp:80\n", "no address"),
        ("ipset", "", "create a hash:net\n", "only comments"),
        ("ipset", "", "add a\n", "no line of ipset"),
        ("csv", "nope", "ip,x\n9.9.9.9,1\n", "no column 'nope'"),
        ("csv", "ip-nope", "ip,x\n9.9.9.9,1\n", "no column 'ip-nope'"),
        ("csv", "7", "ip,x\n9.9.9.9,1\n", "too few columns"),
        ("csv", "", "ip,x\n", "only comments"),
        ("ipcat", "", "9.9.9.9,9.9.9.0,A,b\n9.9.9.9,9.9.9.0,A,b\n", "ends before it begins"),
        ("json", "", '{"a": ["9.9.9.9"]}', "no path"),
        ("json", "a.b", '{"a": "gone"}', "where it should be"),
        ("json", "a.b", '{"a": null}', "where it should be"),
        ("json", "a", '{"a": [7]}', "'7' is no text"),
        ("jsonl", "a", '{"b": "9.9.9.9"}', "no network"),
        ("cloud", "", '{"prefixes": [{"other": 1}]}', "where it should be"),
        ("spamhaus", "", DROP.partition("\n")[0], "cut short"),
        ("spamhaus", "", DROP.replace(":1}", ":2}"), "cut short: 1 rows, and 2 are said"),
        ("spamhaus", "", '{"cidr": 7}', "is no row of DROP"),
        ("tor", "", "ExitNode A\nExitAddress 9.9.9.9\n", "no line of an exit list"),
        ("tor", "", '{"relays": 7}', "without relays"),
        ("crowdsec", "", '{"new": 7, "deleted": []}', "no decisions"),
        ("crowdsec", "", '{"message": "access forbidden"}', "no decisions"),
        ("crowdsec", "", json.dumps([{**STREAM["new"][0], "duration": "soon"}]), "'soon' is no duration"),
        ("crowdsec", "", json.dumps([{**STREAM["new"][0], "value": 7}]), "is no decision"),
        ("misp", "", '{"type": "hostname", "list": ["a.example"]}', "not of networks"),
        ("misp", "", '{"type": "cidr", "list": ["a.example"]}', "'a.example' is no address"),
    ],
)
def test_refused(name: str, field: str, body: str, text: str) -> None:
    """A list that is not whole, or has too much in it that is wrong, is refused and says why."""
    with pytest.raises(NotAList, match=text):
        read(name, body, field=field)


@pytest.mark.parametrize(
    ("name", "body", "bound", "at", "beyond", "text"),
    [
        ("text", "9.9.9.9\n9.9.9.8\n9.9.9.7", "most_rows", 3, 2, "more than 2 rows"),
        ("text", "9.9.9.9-9.9.9.18", "most_rows", 5, 4, "more than 4 prefixes"),
        ("text", "9.9.9.9", "most_bytes", 7, 6, "more than 6 bytes"),
        ("text", "9.9.9.9 # comment", "longest_line", 17, 16, "more than 16 characters"),
        ("text", "9.9.0.0/16", "widest4", 16, 17, "too wide"),
        ("text", "9.9.0.0-9.9.255.255", "widest4", 16, 17, "too wide"),
        ("text", "2620:fe::/48", "widest6", 48, 49, "too wide"),
        ("json", '[{"ip": "9.9.9.9"}]', "most_nesting", 2, 1, "more than 1 deep"),
        ("json", '[{"ip": "9.9.9.9"}]', "most_containers", 2, 1, "more than 1 lists and objects"),
        ("crowdsec", json.dumps({"new": None, "deleted": [STREAM["new"][1]]}), "most_rows", 1, 0, "more than 0"),
    ],
)
def test_limits(name: str, body: str, bound: str, at: int, beyond: int, text: str) -> None:
    """What is beyond a bound refuses the list; what is at it does not."""
    read(name, body, **{bound: at})
    with pytest.raises(NotAList, match=text):
        read(name, body, **{bound: beyond})


def test_some_bad_rows() -> None:
    """One bad row in twenty is borne, counted and named; what is left out, or changed, is counted by reason."""
    parsed = read("text", "9.9.9.1\n9.9.9.1\n10.0.0.1\n9.9.8.9/24\n" + "9.9.7.7\n" * 15 + "9.9.9.9%eth0\n")
    assert said(parsed) == ["9.9.7.7/32", "9.9.8.0/24", "9.9.9.1/32"]
    assert (parsed.rows, parsed.bad) == (20, 1)
    assert parsed.reasons == ("'9.9.9.9%eth0' is no address",)
    assert parsed.left == {"not public": 1, "with bits beyond the prefix": 1, "double": 15}


def test_first_reasons() -> None:
    """All bad rows are counted, the first five named."""
    parsed = read("text", "x\n" + "9.0.0.0/7\n" * 8 + "9.9.9.9\n", most_bad=1.0)
    assert parsed.bad == 9
    assert parsed.reasons == ("'x' is no address", *["'8.0.0.0/7' is too wide"] * 4)
    assert said(parsed) == ["9.9.9.9/32"]


def test_decisions_left_out() -> None:
    """Scopes that are no prefix, simulations, other remedies and what is over are counted, the deleted withdrawn."""
    parsed = read("crowdsec", json.dumps(STREAM))
    assert parsed.left == {"of another scope": 2, "simulated": 1, "of another type": 1, "expired": 1}
    assert parsed.withdrawn.networks.tobytes()[-4:] == bytes([9, 9, 9, 1])
    assert parsed.withdrawn.lengths.tolist() == [128]


def test_kinds() -> None:
    """A warning list must never be taken for one of abusers."""
    assert FORMATS["misp"].kind is ListingKind.WARNING
    assert FORMATS["tor"].kind is ListingKind.TOR


networks = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda bits: str(ip_network(bits).network_address)),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda pair: str(ip_network(pair, strict=False))),
    st.tuples(st.integers(2**125, 2**126 - 1), st.integers(0, 128)).map(
        lambda pair: str(ip_network(pair, strict=False))
    ),
    st.sampled_from(["10.0.0.1", "::1", "x", "9.9.9.9", "9.9.9.0-9.9.9.9"]),
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | networks,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
WORDS = [
    *("type", "objects", "id", "pattern", "pattern_type", "valid_until", "modified", "confidence", "revoked", "name"),
    *("indicator_types", "list", "new", "deleted", "scope", "duration", "value", "simulated", "cidr", "prefixes"),
    *("ip_prefix", "relays", "exit_addresses", "or_addresses", "flags", "records", "more", "next"),
]
documents = st.recursive(
    networks
    | junk
    | st.sampled_from(["indicator", "bundle", "ipv4-addr", "cidr", "metadata", "Ip", "ban", "1h", "Exit"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=12,
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(networks, max_size=30).map(lambda rows: "\n".join(rows).encode()),
    st.lists(networks, max_size=8).map(lambda rows: ",".join(rows).encode()),
    documents.map(lambda document: json.dumps(document).encode()),
    st.lists(documents, max_size=4).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
    st.lists(documents, max_size=4).map(lambda rows: json.dumps({"type": "bundle", "objects": rows}).encode()),
    st.lists(documents, max_size=4).map(lambda rows: json.dumps({"new": rows, "deleted": rows}).encode()),
    st.binary(max_size=200).map(gzip.compress),
)


@pytest.mark.parametrize("name", FORMATS)
@given(
    body=bodies,
    field=st.sampled_from(["", "ip", "1", "1-2", "objects.value", "*.*", ".", ","]),
    bad=st.sampled_from([0.0, 1.0]),
)
@settings(deadline=None)  # the library is imported when it is needed
def test_anything(name: str, body: bytes, field: str, bad: float) -> None:
    """Whatever comes in, a list of public networks within the limits comes out, or NotAList."""
    try:
        parsed = read(name, body, field=field, most_bad=bad, most_rows=50)
    except NotAList:
        return
    assert 0 <= parsed.bad <= parsed.rows <= 50
    assert len(parsed.listings) <= 50
    found = list(parsed.listings)
    assert len({row.network for row in found}) == len(found)
    for row in found:
        assert row.network.prefixlen >= (8 if row.network.version == 4 else 19)
        assert is_public(row.network[0].packed)
        assert is_public(row.network[-1].packed)
        assert 0 <= row.severity <= 1
        assert row.until_s is None or row.until_s > NOW_S
        assert len(row.note) <= 64
        assert row.note.isascii()
        assert row.note == "" or row.note.isprintable()


@cache
def samples() -> dict[str, bytes]:
    """Return the lists of the bundle by their paths."""
    found: dict[str, bytes] = {}
    with tarfile.open(BUNDLE) as archive:
        for member in archive:
            if member.name.startswith("./ti/") and (file := archive.extractfile(member)) is not None:
                found[member.name.removeprefix("./ti/")] = file.read()
    return found


@pytest.mark.skipif(not BUNDLE.is_file(), reason="the lists (../shared/data/dev.tar.xz) are not here")
@pytest.mark.parametrize(
    ("format_name", "file", "rows", "listings"),
    [
        ("text", "ipsum/ipsum.txt", 120_430, 120_430),
        ("ipcat", "ipcat/datacenters.csv", 3429, 4405),
        ("tor", "tor/latest.exits.csv", 5933, 2277),
        ("text", "x4bnet/output/datacenter/ipv4.txt", 42_566, 42_566),
        ("text", "x4bnet/output/datacenter/ipv6.txt", 8752, 8752),
        ("text", "x4bnet/output/vpn/ipv4.txt", 10_862, 10_862),
        ("text", "x4bnet/output/vpn/ipv6.txt", 498, 498),
        ("text", "ipranges/amazon/ipv4.txt", 7904, 7904),
        ("text", "ipranges/amazon/ipv4_merged.txt", 1752, 1752),
        ("text", "ipranges/amazon/ipv6.txt", 3108, 3108),
        ("text", "ipranges/amazon/ipv6_merged.txt", 2107, 2107),
        ("text", "ipranges/google/ipv4.txt", 1109, 1109),
        ("text", "ipranges/google/ipv4_merged.txt", 97, 97),
        ("text", "ipranges/google/ipv6.txt", 257, 257),
        ("text", "ipranges/google/ipv6_merged.txt", 15, 15),
        ("text", "ipranges/openai/ipv4.txt", 254, 254),
        ("text", "ipranges/openai/ipv4_merged.txt", 233, 233),
        ("stix", "stix2-json-schemas/examples/threat-reports/apt1.json", 76, 4),
        ("stix", "stix2-json-schemas/examples/threat-reports/poisonivy.json", 175, 18),
        ("stix", "stix2-json-schemas/examples/indicator-for-c2-ip-address.json", 1, 0),  # 10.0.0.0
        ("stix", "stix2-json-schemas/examples/infrastructure.json", 10, 0),
        ("stix", "stix2-json-schemas/examples/malicious-email-indicator-with-attachment.json", 6, 0),
    ],
)
def test_samples(format_name: str, file: str, rows: int, listings: int) -> None:
    """Real lists are read whole, with no bad row."""
    parsed = read(format_name, samples()[file])
    assert (parsed.rows, len(parsed.listings), parsed.bad) == (rows, listings, 0)


@pytest.mark.skipif(not BUNDLE.is_file(), reason="the lists (../shared/data/dev.tar.xz) are not here")
@pytest.mark.parametrize(
    ("format_name", "file"),
    [
        ("text", "ipranges/google/downloader.sh"),
        ("text", "stix2-json-schemas/examples/README.md"),
        ("tor", "ipcat/datacenters.csv"),
        ("cloud", "stix2-json-schemas/examples/infrastructure.json"),
        ("stix", "stix2-json-schemas/examples/interop-objectmarking-test.json"),
        ("taxii", "medallion/medallion/test/data/config.json"),
        ("taxii", "medallion/medallion/test/data/default_data.json"),
    ],
)
def test_other_files(format_name: str, file: str) -> None:
    """Files that are something else are no lists."""
    with pytest.raises(NotAList):
        read(format_name, samples()[file])
