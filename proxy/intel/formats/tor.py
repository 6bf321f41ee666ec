"""Lists of Tor's exits, told apart by how they begin.

- A row a line: the bulk exit list of check.torproject.org.
- `ExitAddress 192.0.2.7 2026-01-01 12:00:00` and other words: TorDNSEL's exit-addresses.
- `{"relays": [...]}`: Onionoo's details. Its exit addresses are those that were seen in a day; a relay with the flag
  Exit also counts with the addresses that it is reached at, as most leave by these.
- CSV with a column `ipaddr`, one row for each policy of an exit.
"""

from collections.abc import Iterator
from typing import Final

from proxy.intel.formats import csv_rows, text
from proxy.intel.formats.body import json_of, lines_of, text_of
from proxy.intel.formats.collector import Collector
from proxy.intel.formats.json_paths import take_text
from proxy.intel.formats.reading import NotAList, Parsed, Reading
from proxy.intel.formats.text import whole

_OTHER_WORDS: Final = ("ExitNode", "Published", "LastStatus", "@type", "Downloaded")


def parse(data: bytes, reading: Reading) -> Parsed:
    """Read a list of exits of any form."""
    body = text_of(data, reading.limits)
    if body.startswith("{"):
        return _onionoo(json_of(body, reading.limits), reading)
    if body.startswith((*_OTHER_WORDS, "ExitAddress")):
        return _tordnsel(body, reading)
    if "," in body.partition("\n")[0]:
        return csv_rows.parse(data, reading._replace(field=reading.field or "ipaddr"))
    return text.parse(data, reading)


def _tordnsel(body: str, reading: Reading) -> Parsed:
    collector = Collector(reading)
    for line in lines_of(body, reading.limits):
        match line.split():
            case ["ExitAddress", address, _, _]:
                collector.take(address)
            case [word, *_] if word not in _OTHER_WORDS:
                collector.refuse(line, "is no line of an exit list")
    return whole(collector.parsed())


def _onionoo(document: object, reading: Reading) -> Parsed:
    match document:
        case {"relays": [*relays]}:
            collector = Collector(reading)
            for relay in relays:
                for address in _exits(relay):
                    take_text(collector, address)
            return collector.parsed()
    raise NotAList("JSON without relays")


def _exits(relay: object) -> Iterator[object]:
    match relay:
        case {"exit_addresses": [*addresses]}:
            yield from addresses
    match relay:
        case {"flags": [*flags], "or_addresses": [*services]} if "Exit" in flags:
            yield from (_host(service) for service in services)


def _host(service: object) -> object:
    """Return the address of `address:port`, in brackets if it is of IPv6."""
    return service.rpartition(":")[0].strip("[]") if isinstance(service, str) else service
