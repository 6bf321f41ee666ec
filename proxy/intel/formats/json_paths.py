"""JSON and JSON lines: networks that stand at the ends of paths.

A path is names joined by dots; lists are gone through, `*` is every name of an object. `prefixes.ip_prefix` leads to
both networks of `{"prefixes": [{"ip_prefix": "192.0.2.0/24"}, {"ip_prefix": "198.51.100.0/24"}]}`. Several paths are
joined by commas. Without any, what is looked at is a list, or the values of lines: each is a text, or an object in
which the network has one of the usual names.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from proxy.intel.formats.body import json_of, lines_of, text_of
from proxy.intel.formats.collector import Collector
from proxy.intel.formats.reading import NotAList, Parsed, Reading
from proxy.intel.formats.text import whole

Path = tuple[str, ...]

USUAL_NAMES: Final = (
    "ip",
    "ipaddr",
    "ip_address",
    "ipaddress",
    "address",
    "network",
    "cidr",
    "prefix",
    "ip_prefix",
    "range",
    "ip_range",
    "src_ip",
    "dst_ip",
    "value",
)


def parse(data: bytes, reading: Reading) -> Parsed:
    """Read a JSON document; `reading.field` is the path, or the paths."""
    document = json_of(text_of(data, reading.limits), reading.limits)
    if reading.field:
        return at_paths(document, paths_of(reading.field), reading)
    if not isinstance(document, list):
        raise NotAList("no JSON list, and no path to one is set")
    collector = Collector(reading)
    for value in document:
        _take_usual(collector, value)
    return collector.parsed()


def parse_lines(data: bytes, reading: Reading) -> Parsed:
    """Read JSON values, one a line; `reading.field` is the path, or the paths, in each."""
    collector = Collector(reading)
    paths = paths_of(reading.field)
    for line in lines_of(text_of(data, reading.limits), reading.limits):
        if not line:
            continue
        value = json_of(line, reading.limits)
        if not paths:
            _take_usual(collector, value)
        elif not _take_ends(collector, value, paths):
            collector.refuse(line, "has no network")
    return whole(collector.parsed())


def at_paths(document: object, paths: Iterable[Path], reading: Reading) -> Parsed:
    """Return the networks at the ends of these paths.

    Raises:
        NotAList: None of the paths leads to a network, or to an empty list, which is a list: it is another document.

    """
    collector = Collector(reading)
    if not _take_ends(collector, document, paths):
        raise NotAList("JSON without a list of networks where it should be")
    return collector.parsed()


def paths_of(field: str) -> tuple[Path, ...]:
    """Return the paths of a setting."""
    return tuple(tuple(path.strip().split(".")) for path in field.split(",") if path.strip())


def _take_ends(collector: Collector, document: object, paths: Iterable[Path]) -> bool:
    """Take what is at the ends; tell whether there was an end, or an empty list on the way."""
    somewhere = False
    for path in paths:
        values = [document]
        for name in path:
            values = [inner for value in values for inner in _members(value, name)]
            somewhere |= any(value == [] for value in values)
        for end in _leaves(values):
            somewhere = True
            take_text(collector, end)
    return somewhere


def take_text(collector: Collector, value: object) -> None:
    """Take a value that should be a text with a network."""
    if isinstance(value, str):
        collector.take(value)
    else:
        collector.refuse(value, "is no text")


def _take_usual(collector: Collector, value: object) -> None:
    if isinstance(value, dict):
        value = next((value[name] for name in USUAL_NAMES if name in value), value)
    take_text(collector, value)


def _members(value: object, name: str) -> Iterator[object]:
    """Yield what an object has under a name, or each object of a list."""
    for leaf in _leaves([value]):
        if isinstance(leaf, dict):
            yield from leaf.values() if name == "*" else [leaf[name]] if name in leaf else []


def _leaves(values: list[object]) -> Iterator[object]:
    """Yield the values with what is in lists, and in lists of lists, in the place of these."""
    for value in values:
        if isinstance(value, list):
            yield from _leaves(value)
        else:
            yield value
