"""STIX 2.1 and 2.0 bundles: indicators whose pattern lists addresses, and addresses themselves.

Of several versions of an indicator the last one counts. One that is revoked is withdrawn; one that is not valid yet,
is no longer valid, or is benign is left out. `confidence` (0..100) is its severity. An address that is an object of its
own (`ipv4-addr`) was only seen, and the object does not say as what, so it weighs less.

The objects are read here and not by `stix2.parse`, which takes a millisecond for each, most of it to check again what
is not used; its grammar of patterns is used (`stix_pattern.py`).
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from proxy.intel.formats.body import json_of, text_of
from proxy.intel.formats.collector import Collector
from proxy.intel.formats.reading import NotAList, Parsed, Reading
from proxy.intel.formats.stix_pattern import BadPattern, PatternReader, TooCostly
from proxy.intel.listing import NEVER, USUAL_SEVERITY

SEEN_SEVERITY: Final = USUAL_SEVERITY / 2
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z", re.ASCII)
_MOST_CONFIDENCE: Final = 100

Json = dict[Any, Any]


class _BadIndicator(ValueError):
    """A property of an indicator is not what it should be; the text begins with a verb."""


def parse(data: bytes, reading: Reading) -> Parsed:
    """Read a bundle."""
    match json_of(text_of(data, reading.limits), reading.limits):
        case {"type": "bundle", "objects": [*objects]}:
            return of_objects(objects, reading)
        case {"type": "bundle", **others} if "objects" not in others:
            return of_objects([], reading)
    raise NotAList("no bundle of STIX")


def of_objects(objects: Iterable[object], reading: Reading) -> Parsed:
    """Read the objects of a bundle, or of a collection of TAXII."""
    collector, patterns = Collector(reading), PatternReader()
    newest: dict[str, tuple[float, Json]] = {}
    for thing in objects:
        match thing:
            case {"type": "indicator", "id": str(name), **properties}:
                _keep_newest(collector, newest, name, properties)
            case {"type": "ipv4-addr" | "ipv6-addr", "value": str(value)}:
                collector.take(value, severity=SEEN_SEVERITY)
            case {"type": str()}:
                collector.leave("of another type")
            case _:
                collector.refuse(thing, "is no object of STIX")
    for name, (_, indicator) in newest.items():
        _take(collector, name, indicator, patterns)
    return collector.parsed()


def _keep_newest(collector: Collector, newest: dict[str, tuple[float, Json]], name: str, indicator: Json) -> None:
    try:
        modified_s = _seconds(indicator, "modified", NEVER)
    except _BadIndicator as fault:
        collector.refuse(name, str(fault))
        return
    if name in newest:
        collector.leave("an older version")
    if name not in newest or modified_s >= newest[name][0]:
        newest[name] = modified_s, indicator


def _take(collector: Collector, name: str, indicator: Json, patterns: PatternReader) -> None:
    try:
        networks = _networks(indicator, patterns)
        severity = _severity(indicator)
        from_s, until_s = _seconds(indicator, "valid_from", 0.0), _seconds(indicator, "valid_until", NEVER)
    except TooCostly as reason:
        collector.leave(str(reason))
        return
    except (BadPattern, _BadIndicator) as fault:
        collector.refuse(name, str(fault))
        return
    if not networks:
        collector.leave("not of an address alone")
    elif indicator.get("revoked") is True:
        for network in networks:
            collector.withdraw(network)
    elif _is_benign(indicator):
        collector.leave("benign")
    elif from_s > collector.now_s:
        collector.leave("not valid yet")
    else:
        for network in networks:
            collector.take(network, severity=severity, until_s=until_s, note=_name(indicator))


def _networks(indicator: Json, patterns: PatternReader) -> list[str]:
    match indicator:
        case {"pattern": str(pattern), "pattern_type": "stix"}:
            return patterns.networks(pattern)
        case {"pattern": str(pattern)} if "pattern_type" not in indicator:  # STIX 2.0
            return patterns.networks(pattern)
        case {"pattern": str(), "pattern_type": str()}:
            return []
    raise _BadIndicator("has no pattern")


def _severity(indicator: Json) -> float:
    match indicator.get("confidence"):
        case None:
            return USUAL_SEVERITY
        case bool():
            pass
        case int(confidence) if 0 <= confidence <= _MOST_CONFIDENCE:
            return confidence / _MOST_CONFIDENCE
    raise _BadIndicator("has a wrong confidence")


def _is_benign(indicator: Json) -> bool:
    """Tell whether it is of something harmless; STIX 2.0 says so in the labels."""
    types = indicator.get("indicator_types", indicator.get("labels"))
    return isinstance(types, list) and "benign" in types


def _name(indicator: Json) -> str:
    name = indicator.get("name")
    return name if isinstance(name, str) else ""


def _seconds(indicator: Json, name: str, absent: float) -> float:
    """Return a time as seconds since 1970."""
    text = indicator.get(name)
    if text is None:
        return absent
    if isinstance(text, str) and _TIME.fullmatch(text):
        try:
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            pass
    raise _BadIndicator(f"has a wrong time in {name}")
