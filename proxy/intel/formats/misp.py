"""MISP's warning lists: networks whose listing elsewhere is a mistake, such as resolvers and search engines.

Those of type `cidr` are read; the others list names, patterns and the like.
"""

from proxy.intel.formats.body import json_of, text_of
from proxy.intel.formats.collector import Collector
from proxy.intel.formats.json_paths import take_text
from proxy.intel.formats.reading import NotAList, Parsed, Reading


def parse(data: bytes, reading: Reading) -> Parsed:
    """Read a warning list."""
    match json_of(text_of(data, reading.limits), reading.limits):
        case {"type": "cidr", "list": [*networks]}:
            collector = Collector(reading)
            for network in networks:
                take_text(collector, network)
            return collector.parsed()
        case {"type": str(), "list": [*_]}:
            raise NotAList("a warning list, but not of networks (type cidr)")
    raise NotAList("no warning list of MISP")
