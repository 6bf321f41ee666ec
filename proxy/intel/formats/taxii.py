"""TAXII 2.1: the envelopes in which a server gives the objects of a collection.

    {"more": true, "next": "opaque", "objects": [...]}

A collection comes in pages, and versions of an object may stand in different ones: who fetches them reads each with
`page_of`, and has all objects parsed together, as one envelope.
"""

from typing import Final, NamedTuple

from proxy.intel.formats import stix
from proxy.intel.formats.body import json_of, text_of
from proxy.intel.formats.reading import Limits, NotAList, Parsed, Reading

_LONGEST_NEXT: Final = 1024


class Page(NamedTuple):
    """An envelope.

    Args:
        objects: Anything.
        more: There are more pages.
        next: What to ask for the next one with; empty: the server does not say.

    """

    objects: list[object]
    more: bool
    next: str


def parse(data: bytes, reading: Reading) -> Parsed:
    """Read an envelope."""
    return stix.of_objects(page_of(data, reading.limits).objects, reading)


def page_of(data: bytes, limits: Limits) -> Page:
    """Return what an envelope holds; one without objects may lack their list.

    Raises:
        NotAList: It is none. Messages of errors are JSON objects too, and have other members.

    """
    match json_of(text_of(data, limits), limits):
        case dict(envelope) if "objects" in envelope or envelope.keys() <= {"more", "next"}:
            objects, place = envelope.get("objects", []), envelope.get("next")
            if isinstance(objects, list):
                known = place if isinstance(place, str) and len(place) <= _LONGEST_NEXT else ""
                return Page(objects, envelope.get("more") is True, known)
    raise NotAList("no envelope of TAXII")
