"""CrowdSec's decisions, as its local API gives them to bouncers.

`/v1/decisions/stream` is `{"new": [...], "deleted": [...]}`, either of which may be null: with `startup=true` all that
holds, else what has changed since it was asked the last time. `/v1/decisions` is a list of them, or null. A decision:

    {"duration": "3h59m50.5s", "origin": "CAPI", "scenario": "crowdsecurity/ssh-bf", "scope": "Ip", "type": "ban",
     "value": "192.0.2.7"}

Scopes other than Ip and Range name a country, an AS or a session: nothing that a prefix is. What is deleted may be in
the new ones too, and then holds: it is to be taken out first.
"""

import re
from typing import Final

from proxy.intel.formats.body import json_of, text_of
from proxy.intel.formats.collector import Collector
from proxy.intel.formats.reading import NotAList, Parsed, Reading

_SEVERITIES: Final = {"ban": 0.9, "captcha": 0.5}  # somebody decided; a captcha is for those who may be people
_SCOPES: Final = {"ip", "range"}
_DURATION: Final = re.compile(r"-?(?:[0-9]{1,12}(?:\.[0-9]{1,12})?(?:h|ms|m|s|us|µs|ns))+", re.ASCII)  # Go's
_PART: Final = re.compile(r"([0-9.]+)([a-zµ]+)")
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def parse(data: bytes, reading: Reading) -> Parsed:
    """Read a stream, or a list of decisions."""
    collector = Collector(reading)
    new, deleted = _decisions(json_of(text_of(data, reading.limits), reading.limits))
    for decision in deleted:
        _withdraw(collector, decision)
    for decision in new:
        _take(collector, decision)
    return collector.parsed()


def _decisions(document: object) -> tuple[list[object], list[object]]:
    """Return the new and the deleted ones."""
    match document:
        case None:
            return [], []
        case [*new]:
            return new, []
        case {"new": [*_] | None as new, "deleted": [*_] | None as deleted}:
            return new or [], deleted or []
    raise NotAList("no decisions of CrowdSec")


def _take(collector: Collector, decision: object) -> None:
    match decision:
        case {"scope": str(scope)} if scope.lower() not in _SCOPES:
            collector.leave("of another scope")
        case {"simulated": True}:
            collector.leave("simulated")
        case {"type": str(action)} if action.lower() not in _SEVERITIES:
            collector.leave("of another type")
        case {"value": str(value), "type": str(action), "duration": str(duration), "scope": str(), **others}:
            if (lasts_s := seconds_of(duration)) is None:
                collector.refuse(duration, "is no duration")
                return
            note = others.get("scenario")
            collector.take(
                value,
                severity=_SEVERITIES[action.lower()],
                until_s=collector.now_s + lasts_s,
                note=note if isinstance(note, str) else "",
            )
        case _:
            collector.refuse(decision, "is no decision")


def _withdraw(collector: Collector, decision: object) -> None:
    match decision:
        case {"scope": str(scope)} if scope.lower() not in _SCOPES:
            collector.leave("of another scope")
        case {"scope": str(), "value": str(value)}:
            collector.withdraw(value)
        case _:
            collector.refuse(decision, "is no decision")


def seconds_of(duration: str) -> float | None:
    """Return a duration as Go writes it, `-1h2m3.5s`; None if it is none."""
    if not _DURATION.fullmatch(duration):
        return None
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(duration))
    return -seconds if duration.startswith("-") else seconds
