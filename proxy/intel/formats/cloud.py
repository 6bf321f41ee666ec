"""What providers publish of their own ranges, recognised by where the networks stand in the JSON."""

from typing import Final

from proxy.intel.formats.body import json_of, text_of
from proxy.intel.formats.json_paths import at_paths, paths_of
from proxy.intel.formats.reading import Parsed, Reading

_FIELDS: Final = (
    "prefixes.ip_prefix, ipv6_prefixes.ipv6_prefix",  # AWS, ip-ranges.json
    "prefixes.ipv4Prefix, prefixes.ipv6Prefix",  # Google (cloud.json, goog.json), OpenAI, Bing
    "values.properties.addressPrefixes",  # Azure, ServiceTags_Public
    "regions.cidrs.cidr",  # Oracle
    "result.ipv4_cidrs, result.ipv6_cidrs",  # Cloudflare
    "addresses, ipv6_addresses",  # Fastly
)
_PATHS: Final = [path for field in _FIELDS for path in paths_of(field)]


def parse(data: bytes, reading: Reading) -> Parsed:
    """Read the ranges of a provider."""
    return at_paths(json_of(text_of(data, reading.limits), reading.limits), _PATHS, reading)
