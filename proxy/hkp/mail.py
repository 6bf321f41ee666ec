"""Requests that make the keyserver send mail: to whom, read before it sends anything.

POST /vks/v1/request-verify   {"token": "...", "addresses": ["..."]}
POST /pks/v2/sendtoken        the address, or a form or JSON with it
Hagrid's pages                a form with `address` (request-verify) or `search_term` (manage)

A body is read as its content type says, which is what the keyserver goes by; without one that is known here it is read
in every way, and all that is found counts. A request in which no address is found is refused: it would be counted for
nobody.
"""

import json
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from proxy.hkp.bodies import BadBody
from proxy.hkp.terms import normalised

MOST_BYTES: Final = 16 * 1024
MOST_ADDRESSES: Final = 20
MOST_FIELDS: Final = 32
ADDRESS_FIELDS: Final = frozenset({"addresses", "address", "email", "search_term"})
_JSON: Final = b"application/json"
_FORM: Final = b"application/x-www-form-urlencoded"


class MailRequest(NamedTuple):
    """What such a request asks for."""

    addresses: tuple[str, ...]  # in lower case, without names around them, each once; 1..MOST_ADDRESSES


class MailReader:
    """Reads the body of one such request."""

    def __init__(self, content_type: bytes | None = None) -> None:
        """`content_type`: as sent; its parameters do not count."""
        self._kind = (content_type or b"").partition(b";")[0].strip().lower()
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        """Read on; BadBody if it is longer than any such request."""
        if len(self._body) + len(data) > MOST_BYTES:
            raise BadBody(413, "A request for mail is not so long.")
        self._body += data

    def finish(self) -> MailRequest:
        """Return who is to get mail; BadBody if that is nobody, or if it is more than one person can be."""
        found = dict.fromkeys(filter(None, map(_mailbox, self._texts(self._body.decode("utf-8", "replace")))))
        if not found:
            raise BadBody(422, "There is no mail address in this request.")
        if len(found) > MOST_ADDRESSES:
            raise BadBody(413, f"No more than {MOST_ADDRESSES} addresses at a time.")
        return MailRequest(tuple(found))

    def _texts(self, body: str) -> list[str]:
        if self._kind == _JSON:
            return _in_json(body)
        if self._kind == _FORM:
            return _in_form(body)
        return [*_in_json(body), *_in_form(body)] or [body]


def _mailbox(text: str) -> str:
    """Return the address in `Name <address>`, in lower case; it is always valid Unicode."""
    subject = normalised(text.encode("utf-8", "replace").decode())  # JSON may escape half a character
    return subject.rpartition("<")[2].partition(">")[0].strip() if "<" in subject else subject


def _in_json(body: str) -> list[str]:
    """Return the values of the fields that hold addresses, or the body itself if it is a text or a list of texts.

    Equal names all count, whatever their case: servers disagree which one is meant.
    """
    try:
        given = json.loads(body, object_pairs_hook=tuple)  # an object: pairs
    except (ValueError, RecursionError):
        return []
    if isinstance(given, tuple):
        given = [each for name, value in given if name.lower() in ADDRESS_FIELDS for each in _listed(value)]
    return [each for each in _listed(given) if isinstance(each, str)]


def _in_form(body: str) -> list[str]:
    """Return the values of the fields that hold addresses."""
    try:
        fields = parse_qsl(body, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise BadBody(413, "The form has more fields than this server takes.") from None
    return [value for name, value in fields if _field(name) in ADDRESS_FIELDS]


def _field(name: str) -> str:
    """Return what a name in a form begins with: `address.x` and `address[x]` are `address` to Rocket."""
    return name.replace("[", ".").partition(".")[0].strip().lower()


def _listed(given: object) -> list[object]:
    return given if isinstance(given, list) else [given]
