"""What this node tells others of its bans: as a list, as STIX 2.1, and as decisions of CrowdSec. Pure.

Only bans that refuse somebody are told: none in shadow mode. What is told of one is whom it hits and how long; the
reasons stay here, for they may name what somebody has searched for. Lists of others are not passed on: whoever wants
them can have them where they come from, and with their licence.
"""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID, uuid5

from fastpath import key_text, parents
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from models.steps import Steps
    from proxy.policy.offender import Ban

Json = dict[str, Any]
PRODUCER: Final = "hkpguard"
FORMATS: Final = ("plain", "timed", "stix")
STEP: Final = 32  # bans: a tenth of a millisecond
_NAMESPACE: Final = UUID("b6f5e5f4-0c1c-5b0f-9f53-3b1f3f1c7a11")  # of ids that are the same each time
_ID_BYTES: Final = 6  # JSON numbers are exact up to 53 bits


class Exported(NamedTuple):
    """A ban, as others hear of it."""

    value: str  # address or network
    since_s: float  # seconds since 1970
    until_s: float
    origin: str  # ladder, widened or manual


def exported(bans: Iterable[Ban], offset_ns: int) -> Steps[dict[str, Exported]]:
    """Return bans by whom they hit; one within another one is left out.

    Args:
        bans: In force.
        offset_ns: What the clock of the day is ahead of theirs.

    """
    by_key: dict[int, Ban] = {}
    for number, ban in enumerate(bans):
        known = by_key.get(ban.key)
        if known is None or known.until_ns < ban.until_ns:
            by_key[ban.key] = ban
        if number % STEP == 0:
            yield
    told: dict[str, Exported] = {}
    for number, (key, ban) in enumerate(by_key.items()):
        if not any(by_key[each].until_ns >= ban.until_ns for each in parents(key) if each in by_key):
            since_s, until_s = ((time_ns + offset_ns) / SECOND for time_ns in (ban.since_ns, ban.until_ns))
            told[key_text(key)] = Exported(key_text(key), since_s, until_s, ban.origin.value)
        if number % STEP == 0:
            yield
    return told


def plain(bans: Iterable[Exported]) -> str:
    """Return one address or network a line."""
    return "".join(f"{ban.value}\n" for ban in bans)


def timed(bans: Iterable[Exported], now_s: float) -> str:
    """Return the same with the seconds that are left behind it: a map of HAProxy, too."""
    return "".join(f"{ban.value} {_seconds(ban, now_s)}\n" for ban in bans)


def bundle(bans: Iterable[Exported], now_s: float) -> Json:
    """Return a bundle of STIX 2.1: an indicator for each ban, with the same id as long as it is the same ban."""
    objects = [_indicator(ban) for ban in bans]
    empty = {"type": "bundle", "id": f"bundle--{uuid5(_NAMESPACE, str(now_s))}"}
    return empty | ({"objects": objects} if objects else {})  # a list of none is no list in STIX


def _indicator(ban: Exported) -> Json:
    kind = "ipv6-addr" if ":" in ban.value else "ipv4-addr"
    since = utc(ban.since_s)
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{uuid5(_NAMESPACE, f'{ban.value} {since}')}",
        "created": since,
        "modified": since,
        "name": f"Banned by {PRODUCER}",
        "indicator_types": ["malicious-activity"],
        "pattern": f"[{kind}:value = '{ban.value}']",
        "pattern_type": "stix",
        "valid_from": since,
        "valid_until": utc(max(ban.until_s, ban.since_s + 0.001)),
    }


def decision(ban: Exported, now_s: float) -> Json:
    """Return a decision, as a bouncer of CrowdSec reads it; of one that is over the duration is below zero."""
    return {
        "id": int.from_bytes(blake2b(ban.value.encode(), digest_size=_ID_BYTES).digest()),
        "origin": PRODUCER,
        "type": "ban",
        "scope": "Range" if "/" in ban.value else "Ip",
        "value": ban.value,
        "duration": duration(ban.until_s - now_s),
        "scenario": f"{PRODUCER}/{ban.origin}",
    }


def duration(seconds: float) -> str:
    """Return a time as Go writes it: `1h2m3s`."""
    whole = round(abs(seconds))
    sign = "-" if seconds < 0 and whole else ""
    return f"{sign}{whole // 3600}h{whole % 3600 // 60}m{whole % 60}s"


def utc(day_s: float) -> str:
    """Return a time as STIX writes it."""
    milliseconds = round(day_s * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(milliseconds // 1000))}.{milliseconds % 1000:03d}Z"


def _seconds(ban: Exported, now_s: float) -> int:
    return max(1, round(ban.until_s - now_s))
