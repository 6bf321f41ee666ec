"""What `ipset save` writes.

    create banned hash:net family inet hashsize 1024 maxelem 65536 timeout 0
    add banned 192.0.2.0/24 timeout 3600 comment "why"

A timeout counts from now; 0 is none. A set with exceptions (`nomatch`) is refused: without them it would list too much.
"""

import re
from typing import Final

from proxy.intel.formats.body import lines_of, text_of
from proxy.intel.formats.collector import Collector
from proxy.intel.formats.reading import NotAList, Parsed, Reading
from proxy.intel.formats.text import whole
from proxy.intel.listing import NEVER

_COMMENT: Final = re.compile(r' comment "([^"]*)"')
_TIMEOUT: Final = re.compile(r" timeout ([1-9][0-9]{0,9})\b", re.ASCII)


def parse(data: bytes, reading: Reading) -> Parsed:
    """Read sets as `ipset save` writes them."""
    collector = Collector(reading)
    for line in lines_of(text_of(data, reading.limits), reading.limits):
        if line and not line.startswith(("#", "create ", "flush ")):
            _take(collector, line)
    return whole(collector.parsed())


def _take(collector: Collector, line: str) -> None:
    words = line.split(" ", 3)
    if words[0] != "add" or len(words) < len(("add", "set", "element")):
        collector.refuse(line, "is no line of ipset")
        return
    options = line.removeprefix(" ".join(words[:3]))
    comment = _COMMENT.search(options)
    options = _COMMENT.sub("", options)
    if " nomatch" in options:
        raise NotAList("a set with exceptions (nomatch)")
    timeout = _TIMEOUT.search(options)
    until_s = collector.now_s + int(timeout[1]) if timeout else NEVER
    collector.take(words[2], until_s=until_s, note=comment[1] if comment else "")
