"""From the bytes of a body to its text, its lines or its JSON; what is plainly no list is refused here."""

import io
import json
import zlib
from collections.abc import Iterator
from typing import Final

from proxy.intel.formats.reading import Limits, NotAList

_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31  # zlib's: the largest window, with a head of gzip


def text_of(data: bytes, limits: Limits) -> str:
    """Return a body as text; gzip is unpacked, and what is not UTF-8 becomes U+FFFD, which no address has.

    Raises:
        NotAList: Empty, too large, binary, a gzip file that is cut short, or a page for people.

    """
    data = unpacked(data, limits.most_bytes) if data.startswith(_GZIP) else data
    if len(data) > limits.most_bytes:
        raise NotAList(f"more than {limits.most_bytes} bytes")
    text = data.decode("utf-8-sig", "replace").strip()
    if not text:
        raise NotAList("empty")
    if text.startswith("<"):
        raise NotAList("a page (HTML or XML), not a list")
    if "\0" in text:
        raise NotAList("binary data, not a list")
    return text


def unpacked(data: bytes | bytearray, most_bytes: int) -> bytes:
    """Return what a gzip file holds, and no more of it than that.

    Raises:
        NotAList: It is damaged, cut short, not alone, or holds more.

    """
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        whole = inflater.decompress(data, most_bytes + 1)
    except zlib.error:
        raise NotAList("a damaged gzip file") from None
    if len(whole) > most_bytes:
        raise NotAList(f"more than {most_bytes} bytes once it is unpacked")
    if not inflater.eof:
        raise NotAList("a gzip file that is cut short")
    if inflater.unused_data:
        raise NotAList("a gzip file with something behind it")
    return whole


def lines_of(text: str, limits: Limits) -> Iterator[str]:
    """Yield the lines without the space around them; those that are empty too."""
    for line in io.StringIO(text):
        if len(line) > limits.longest_line:
            raise NotAList(f"a line of more than {limits.longest_line} characters")
        yield line.strip()


def json_of(text: str, limits: Limits) -> object:
    """Return the value of a JSON text.

    Raises:
        NotAList: It is none, is cut short, has something behind it, or is too deep or too much to hold.

    """
    if text.count("[") + text.count("{") > limits.most_containers:
        raise NotAList(f"JSON with more than {limits.most_containers} lists and objects")
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise NotAList("no JSON, or cut short") from None
    _check_nesting(value, limits)
    return value


def _check_nesting(document: object, limits: Limits) -> None:
    """Raise NotAList if a value of JSON is nested too deep for those who go through it."""
    level = [document]
    for _ in range(limits.most_nesting):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise NotAList(f"JSON nested more than {limits.most_nesting} deep")


def _inside(value: object) -> Iterator[object]:
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (inner for inner in values if isinstance(inner, dict | list))


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
