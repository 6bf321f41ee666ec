"""Requests that make the keyserver send mail: to whom, read before it sends anything.

POST /vks/v1/request-verify   {"token": "...", "addresses": ["..."]}
POST /pks/v2/sendtoken        the address, or a form or JSON with it
Hagrid's pages                a form with `address`

"""

import json
from typing import Final, NamedTuple
from urllib.parse import parse_qs

from proxy.hkp.bodies import BadBody
from proxy.hkp.terms import normalised

MOST_BYTES: Final = 16 * 1024
MOST_ADDRESSES: Final = 20
_FIELDS: Final = ("addresses", "address", "email")


class MailRequest(NamedTuple):
    """What such a request asks for."""

    addresses: tuple[str, ...]  # in lower case, each once; at most MOST_ADDRESSES


class MailReader:
    """Reads the body of one such request."""

    def __init__(self) -> None:
        """Begin."""
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        """Read on; BadBody if it is longer than any such request."""
        if len(self._body) + len(data) > MOST_BYTES:
            raise BadBody(413, "A request for mail is not so long.")
        self._body += data

    def finish(self) -> MailRequest:
        """Return who is to get mail; BadBody if that are more than one person can be."""
        text = self._body.decode("utf-8", "replace")
        found = dict.fromkeys(filter(None, (normalised(each) for each in _addresses(text))))
        if len(found) > MOST_ADDRESSES:
            raise BadBody(413, f"No more than {MOST_ADDRESSES} addresses at a time.")
        return MailRequest(tuple(found))


def _addresses(text: str) -> list[str]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = parse_qs(text, max_num_fields=MOST_ADDRESSES) if "=" in text else text
    if isinstance(given, dict):
        given = [value for field in _FIELDS for value in _listed(given.get(field))]
    return [value for value in _listed(given) if isinstance(value, str)]


def _listed(given: object) -> list[object]:
    return given if isinstance(given, list) else [given]
