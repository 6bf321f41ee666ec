"""Lists with a row a line: an address, a CIDR or a range.

    # a comment, to the end of the line, as with ;
    192.0.2.7
    192.0.2.0/24        ; and here
    192.0.2.0 - 192.0.2.9
    192.0.2.7    5      (ipsum: on how many lists it is)

A line with more in it is bad. A body that has nothing but comments is no list: a download that was cut short may be it.
"""

from typing import Final

from proxy.intel.formats.body import lines_of, text_of
from proxy.intel.formats.collector import Collector
from proxy.intel.formats.reading import NotAList, Parsed, Reading
from proxy.intel.listing import USUAL_SEVERITY

# Of what stands on so many lists: each leaves half of the doubt that was there before it.
_SEVERITIES: Final = {str(lists): 1 - (1 - USUAL_SEVERITY) ** lists for lists in range(1000)}


def parse(data: bytes, reading: Reading) -> Parsed:
    """Read a list with a row a line."""
    collector = Collector(reading)
    for line in lines_of(text_of(data, reading.limits), reading.limits):
        if words := line.partition("#")[0].partition(";")[0].split():
            _take(collector, words)
    return whole(collector.parsed())


def _take(collector: Collector, words: list[str]) -> None:
    """Take the words of a row."""
    match words:
        case [text]:
            collector.take(text)
        case [text, lists] if lists in _SEVERITIES:
            collector.take(text, severity=_SEVERITIES[lists])
        case [first, "-", last]:
            collector.take(f"{first}-{last}")
        case _:
            collector.refuse(" ".join(words), "has more than an address in it")


def whole(parsed: Parsed) -> Parsed:
    """Return what was found in a format whose end cannot be seen; NotAList if there was no row at all."""
    if not parsed.rows:
        raise NotAList("no row in it, only comments")
    return parsed
