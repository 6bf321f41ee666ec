"""Spamhaus DROP and its kin, as text or as JSON lines.

    192.0.2.0/24 ; SBL123456

    {"cidr":"192.0.2.0/24","sblid":"SBL123456","rir":"ripencc"}
    {"type":"metadata","timestamp":1700000000,"size":96024,"records":1363,...}

The last line of the JSON says how many there are, so one that was cut short is found. Who is on DROP was put there by
people who looked: it is severe.
"""

from typing import Final

from proxy.intel.formats.body import json_of, lines_of, text_of
from proxy.intel.formats.collector import Collector
from proxy.intel.formats.reading import NotAList, Parsed, Reading
from proxy.intel.formats.text import whole

SEVERITY: Final = 0.95


def parse(data: bytes, reading: Reading) -> Parsed:
    """Read a DROP list of either form."""
    text = text_of(data, reading.limits)
    return _json(text, reading) if text.startswith("{") else _text(text, reading)


def _text(text: str, reading: Reading) -> Parsed:
    collector = Collector(reading)
    for line in lines_of(text, reading.limits):
        network, _, name = line.partition(";")
        if network and not network.startswith("#"):
            collector.take(network.strip(), severity=SEVERITY, note=name.strip())
    return whole(collector.parsed())


def _json(text: str, reading: Reading) -> Parsed:
    collector = Collector(reading)
    records: object = None
    for line in filter(None, lines_of(text, reading.limits)):
        match json_of(line, reading.limits):
            case {"cidr": str(network), **others}:
                collector.take(network, severity=SEVERITY, note=str(others.get("sblid", "")))
            case {"type": "metadata", "records": records}:
                pass
            case other:
                collector.refuse(other, "is no row of DROP")
    parsed = whole(collector.parsed())
    if records != parsed.rows:
        raise NotAList(f"cut short: {parsed.rows} rows, and {records!r} are said to be in it")
    return parsed
