"""STIX and TAXII: which networks indicators list, when, and how badly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.intel.formats import NotAList, Parsed, Reading, stix_pattern, taxii
from proxy.intel.formats.reading import Limits
from proxy.intel.formats.stix import SEEN_SEVERITY, parse
from proxy.intel.formats.stix_pattern import BadPattern, PatternReader, TooCostly
from proxy.intel.listing import Listing, network_of

NOW_S = 1_800_000_000.0  # 2027-01-15T08:00:00Z
ONE = "[ipv4-addr:value = '9.9.9.9']"


def indicator(pattern: str = ONE, **others: Any) -> dict[str, Any]:
    """Return an indicator."""
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": "indicator--33fe3b22-0201-47cf-85d0-97c02164528d",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": "2026-01-01T00:00:00.000Z",
        "pattern": pattern,
        "pattern_type": "stix",
        "valid_from": "2026-01-01T00:00:00Z",
        **others,
    }


def read(*objects: Any) -> Parsed:
    """Read a bundle of these objects; bad ones are borne."""
    body = json.dumps({"type": "bundle", "id": "bundle--1", "objects": objects}).encode()
    return parse(body, Reading(NOW_S, limits=Limits(most_bad=1.0)))


def said(parsed: Parsed) -> list[tuple[str, float, float | None, str]]:
    """Return the listings with the network as text and the severity rounded."""
    return [(str(row.network), round(row.severity, 2), row.until_s, row.note) for row in parsed.listings]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (ONE, ["9.9.9.9"]),
        ("  [ ipv4-addr:value='9.9.9.9' ]  ", ["9.9.9.9"]),
        ("[ipv4-addr:value = '9.9.9.0/24']", ["9.9.9.0/24"]),
        ("[ipv6-addr:value ISSUBSET '2620:fe::/48']", ["2620:fe::/48"]),
        ("[ipv4-addr:value = '9.9.9.9' OR ipv6-addr:value = '2620:fe::9']", ["9.9.9.9", "2620:fe::9"]),
        ("[ipv4-addr:value = '9.9.9.9'] OR [ipv4-addr:value ISSUBSET '9.9.8.0/24']", ["9.9.9.9", "9.9.8.0/24"]),
        # From here on the library reads.
        ("[ipv4-addr:value IN ('9.9.9.9', '9.9.9.8')]", ["9.9.9.9", "9.9.9.8"]),
        ("([ipv4-addr:value = '9.9.9.9'])", ["9.9.9.9"]),
        ("[ipv4-addr:value = '9.9.9.9' OR domain-name:value = 'a.example']", ["9.9.9.9"]),
        ("[domain-name:value = 'ipv4-addr'] OR [ipv4-addr:value = '9.9.9.9']", ["9.9.9.9"]),
        ("[ipv4-addr:value = '9.9.9.9' AND ipv4-addr:belongs_to_refs[0].number = 64496]", []),
        ("[ipv4-addr:value = '9.9.9.9'] AND [file:size > 5]", []),
        ("[ipv4-addr:value = '9.9.9.9'] FOLLOWEDBY [ipv4-addr:value = '9.9.9.8']", []),
        ("[ipv4-addr:value = '9.9.9.9'] REPEATS 5 TIMES", []),
        ("[ipv4-addr:value = '9.9.9.9'] WITHIN 300 SECONDS", []),
        ("[ipv4-addr:value != '9.9.9.9']", []),
        ("[ipv4-addr:value NOT = '9.9.9.9']", []),
        ("[ipv4-addr:value NOT IN ('9.9.9.9')]", []),
        ("[ipv4-addr:value NOT ISSUBSET '9.9.9.0/24']", []),
        ("[ipv4-addr:value <> '9.9.9.9']", []),
        ("[file:name = 'NOT \\' NOT' OR ipv4-addr:value IN ('9.9.9.9')]", ["9.9.9.9"]),
        ("[ipv4-addr:value ISSUPERSET '9.9.9.9']", []),
        ("[ipv4-addr:value LIKE '9.9.%']", []),
        ("[ipv4-addr:value MATCHES '9.9.*']", []),
        ("[EXISTS ipv4-addr:value]", []),
        ("[network-traffic:dst_ref.type = 'ipv4-addr']", []),
        ("[file:name = 'x']", []),
        ("this is not even looked at", []),
    ],
)
def test_patterns(pattern: str, expected: list[str]) -> None:
    """A network is listed if the pattern holds for it whatever else is or is not there."""
    pytest.importorskip("stix2")
    assert PatternReader().networks(pattern) == expected


@pytest.mark.parametrize(
    "pattern",
    [
        "ipv4-addr:value = '9.9.9.9'",
        "[ipv4-addr:value = 9.9.9.9]",
        "[ipv4-addr:value = '9.9.9.9'",
        "[ipv4-addr:value = '9.9.9.9' OR]",
        "[ipv4-addr:value = '9.9.9.9']]",
        "[ipv4-addr:value = __import__('os')]",
        "[" + "(" * 300 + "ipv4-addr:value = '9.9.9.9'" + ")" * 300 + "]",
        "[ipv4-addr:value = '9.9.9.9' AND domain-name:value = 'a.example']",  # no object is both
    ],
)
def test_bad_patterns(pattern: str) -> None:
    """What is no pattern is refused, however it is nested."""
    pytest.importorskip("stix2")
    with pytest.raises(BadPattern):
        PatternReader().networks(pattern)


@given(
    st.text(alphabet="[]()ipv4-addr:value ='9.0/ORANDINISSUBSET", max_size=60).map(
        "[ipv4-addr:value = '9.9.9.9'".__add__
    )
)
@settings(deadline=None)  # the library is imported when it is needed
def test_any_pattern(pattern: str) -> None:
    """Whatever a pattern is, its networks come, or one of the two refusals."""
    pytest.importorskip("stix2")
    try:
        networks = PatternReader().networks(pattern)
    except (BadPattern, TooCostly):
        return
    assert all(isinstance(network, str) for network in networks)


@given(
    st.lists(st.sampled_from(["9.9.9.9", "9.9.9.0/24", "2620:fe::/48"]), min_size=1, max_size=3),
    st.sampled_from([" OR ", "] OR ["]),
)
@settings(deadline=None)  # the library is imported when it is needed
def test_like_the_library(networks: list[str], joint: str) -> None:
    """The quick way reads plain patterns as the library does."""
    pytest.importorskip("stix2")
    tests = [f"ipv{6 if ':' in network else 4}-addr:value = '{network}'" for network in networks]
    pattern = f"[{joint.join(tests)}]"
    assert stix_pattern._PLAIN.fullmatch(pattern)
    assert PatternReader().networks(pattern) == list(stix_pattern._listed(stix_pattern._parsed(pattern)))


def test_costly_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library gets so many characters of a body; plain patterns do not count, and go on being read."""
    pytest.importorskip("stix2")
    monkeypatch.setattr(stix_pattern, "MOST_CHARACTERS", 5000)
    reader = PatternReader()
    costly = "[" + " OR ".join(f"domain-name:value = '{number}.example'" for number in range(50)) + " OR " + ONE[1:]
    for _ in range(2):
        assert reader.networks(costly) == ["9.9.9.9"]
    with pytest.raises(TooCostly):
        reader.networks(costly)
    with pytest.raises(TooCostly):
        PatternReader().networks(f"({ONE})" + " " * 10_000)
    assert reader.networks(ONE) == ["9.9.9.9"]
    assert len(reader.networks(ONE[:-1] + " OR ipv4-addr:value = '9.9.9.9'" * 10_000 + "]")) == 10_001


def test_without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library is not installed plain patterns are read, and the others counted."""
    monkeypatch.setitem(__import__("sys").modules, "stix2.pattern_visitor", None)
    parsed = read(indicator(), indicator(f"({ONE})", id="indicator--2"))
    assert len(parsed.listings) == 1
    assert parsed.left == {"a pattern that needs stix2, which is not installed": 1}


@pytest.mark.parametrize(
    ("others", "expected", "left"),
    [
        ({}, [("9.9.9.9/32", 0.5, None, "")], {}),
        ({"confidence": 85, "name": "C2"}, [("9.9.9.9/32", 0.85, None, "C2")], {}),
        ({"confidence": 0}, [("9.9.9.9/32", 0.0, None, "")], {}),
        ({"valid_until": "2027-01-15T08:00:01.5Z"}, [("9.9.9.9/32", 0.5, NOW_S + 1.5, "")], {}),
        ({"valid_until": "2027-01-15T08:00:00Z"}, [], {"expired": 1}),
        ({"valid_from": "2027-01-15T08:00:01Z"}, [], {"not valid yet": 1}),
        ({"indicator_types": ["benign"]}, [], {"benign": 1}),
        ({"indicator_types": ["malicious-activity"]}, [("9.9.9.9/32", 0.5, None, "")], {}),
        ({"pattern_type": "snort"}, [], {"not of an address alone": 1}),
        ({"pattern": "[ipv4-addr:value = '10.0.0.1']"}, [], {"not public": 1}),
        ({"name": "\x1b[31m" + "x" * 100}, [("9.9.9.9/32", 0.5, None, "\\x1b[31m" + "x" * 56)], {}),
    ],
)
def test_indicator(others: dict[str, Any], expected: list[Any], left: dict[str, int]) -> None:
    """An indicator is a listing while it is valid, as severe as its source is confident."""
    parsed = read(indicator(**others))
    assert said(parsed) == expected
    assert parsed.left == left
    assert parsed.bad == 0


@pytest.mark.parametrize(
    ("thing", "reason"),
    [
        (indicator(pattern=7), "has no pattern"),  # type: ignore[arg-type] # on purpose
        (indicator("[ipv4-addr:value = 'x']"), "is no address"),
        (indicator("[ipv4-addr:value = "), "is no pattern"),
        (indicator(pattern_type=None), "has no pattern"),
        (indicator(confidence=101), "confidence"),
        (indicator(confidence=-1), "confidence"),
        (indicator(confidence="high"), "confidence"),
        (indicator(confidence=0.5), "confidence"),
        (indicator(confidence=True), "confidence"),
        (indicator(valid_until="tomorrow"), "valid_until"),
        (indicator(valid_until=7), "valid_until"),
        (indicator(valid_until="2027-13-45T08:00:00Z"), "valid_until"),
        (indicator(valid_until="2027-01-15T08:00:00+01:00"), "valid_until"),
        (indicator(modified="9"), "modified"),
        ({"type": "indicator"}, ""),
        ({}, "is no object"),
        ("indicator", "is no object"),
        ({"type": "ipv4-addr", "value": "x"}, "is no address"),
    ],
)
def test_bad_objects(thing: Any, reason: str) -> None:
    """What is wrong is counted and lists nothing, and others are still read."""
    pytest.importorskip("stix2")
    parsed = read(thing, indicator("[ipv4-addr:value = '9.9.9.8']", id="indicator--2"))
    assert said(parsed) == [("9.9.9.8/32", 0.5, None, "")]
    assert parsed.bad == bool(reason)
    assert all(reason in text for text in parsed.reasons)


def test_versions() -> None:
    """The last version of an indicator counts, wherever it stands; the moment is compared, not the text."""
    old = indicator("[ipv4-addr:value = '9.9.9.1']", modified="2026-01-02T00:00:00Z")
    new = indicator("[ipv4-addr:value = '9.9.9.2']", modified="2026-01-02T00:00:00.500Z")
    for objects in ((old, new), (new, old)):
        parsed = read(*objects)
        assert said(parsed) == [("9.9.9.2/32", 0.5, None, "")]
        assert parsed.left == {"an older version": 1}


def test_revoked() -> None:
    """What is revoked is withdrawn."""
    parsed = read(indicator(modified="2026-01-03T00:00:00Z", revoked=True), indicator())
    assert len(parsed.listings) == 0
    packed, length = parsed.withdrawn.networks.tobytes(), int(parsed.withdrawn.lengths[0])
    assert str(network_of(packed, length)) == "9.9.9.9/32"


def test_seen_addresses() -> None:
    """An address that is only an object weighs less than an indicator, and does not lessen one."""
    seen = [{"type": "ipv4-addr", "id": f"ipv4-addr--{value}", "value": value} for value in ("9.9.9.9", "9.9.9.8")]
    assert said(read(*seen, indicator())) == [("9.9.9.8/32", SEEN_SEVERITY, None, ""), ("9.9.9.9/32", 0.5, None, "")]


def test_stix_2_0() -> None:
    """Indicators of STIX 2.0 have no pattern type, and their types are labels."""
    one = indicator(labels=["malicious-activity"])
    other = indicator("[ipv4-addr:value = '9.9.9.8']", id="indicator--2", labels=["benign"])
    for each in (one, other):
        del each["pattern_type"]
    assert said(read(one, other)) == [("9.9.9.9/32", 0.5, None, "")]


def test_made_by_the_library() -> None:
    """A bundle that the standard's library has made is read."""
    stix2 = pytest.importorskip("stix2")
    made = stix2.v21.Indicator(
        pattern="[ipv6-addr:value = '2620:fe::9']",
        pattern_type="stix",
        valid_from="2026-01-01T00:00:00Z",
        valid_until="2027-02-01T00:00:00Z",
        confidence=70,
        name="made",
    )
    bundle = stix2.v21.Bundle(made, stix2.v21.IPv4Address(value="9.9.9.9"))
    parsed = parse(bundle.serialize().encode(), Reading(NOW_S))
    assert said(parsed) == [("9.9.9.9/32", 0.25, None, ""), ("2620:fe::9/128", 0.7, 1_801_440_000.0, "made")]


@pytest.mark.parametrize("body", ['{"type": "bundle", "id": "bundle--1"}', '{"type": "bundle", "objects": []}'])
def test_empty_bundle(body: str) -> None:
    """A bundle without objects is a list of nothing."""
    assert len(parse(body.encode(), Reading(NOW_S)).listings) == 0


@pytest.mark.parametrize(
    ("envelope", "expected"),
    [
        ({}, taxii.Page([], more=False, next="")),
        ({"objects": []}, taxii.Page([], more=False, next="")),
        ({"more": False, "objects": [1]}, taxii.Page([1], more=False, next="")),
        ({"more": True, "next": "a/b?c", "objects": [1]}, taxii.Page([1], more=True, next="a/b?c")),
        ({"more": True, "objects": []}, taxii.Page([], more=True, next="")),
        ({"more": "yes", "next": 7, "objects": []}, taxii.Page([], more=False, next="")),
        ({"more": True, "next": "x" * 1025}, taxii.Page([], more=True, next="")),
        ({"x_trace": 1, "objects": []}, taxii.Page([], more=False, next="")),
    ],
)
def test_pages(envelope: dict[str, Any], expected: taxii.Page) -> None:
    """An envelope says what is in it and where it goes on."""
    assert taxii.page_of(json.dumps(envelope).encode(), Limits()) == expected


@pytest.mark.parametrize(
    "body",
    [
        '{"title": "Unauthorized", "http_status": "401"}',
        '{"api_roots": ["https://taxii.example/"]}',
        '{"collections": []}',
        '{"objects": {}}',
        "[]",
        "null",
        '{"objects": [] ',
    ],
)
def test_no_envelope(body: str) -> None:
    """Errors and other resources of TAXII are no envelopes."""
    with pytest.raises(NotAList):
        taxii.page_of(body.encode(), Limits())


def test_envelope() -> None:
    """An envelope is read as its objects are."""
    body = json.dumps({"more": False, "objects": [indicator()]}).encode()
    (listing,) = taxii.parse(body, Reading(NOW_S)).listings
    assert isinstance(listing, Listing)
    assert str(listing.network) == "9.9.9.9/32"
