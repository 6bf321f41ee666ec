"""FireHOL's .netset and .ipset: a row a line, and how many there are in a comment above them.

    # Entries         : 2700 subnets, 5269985 unique IPs

A download that was cut short is found by it.
"""

import re
from typing import Final

from proxy.intel.formats import text
from proxy.intel.formats.body import text_of
from proxy.intel.formats.reading import NotAList, Parsed, Reading

_ENTRIES: Final = re.compile(r"^# Entries\s*: ([0-9]{1,9}) ", re.MULTILINE | re.ASCII)


def parse(data: bytes, reading: Reading) -> Parsed:
    """Read a list of FireHOL."""
    parsed = text.parse(data, reading)
    entries = _ENTRIES.search(text_of(data, reading.limits))
    if entries and parsed.rows < int(entries[1]):
        raise NotAList(f"cut short: {parsed.rows} of {entries[1]} entries")
    return parsed
