"""Who looks legitimate: by plain rules, from the log alone. It is the same whatever the settings are.

A client looks legitimate if, in all of the log,

- it never asked for a trap, and sent nothing that is no HTTP;
- no more than one in RARE of its requests was for what no keyserver has, or was answered with an error. 404 is none:
  that is the usual answer for keys that were never uploaded. Neither is 429 or 503, which say nothing about it;
- on no day it asked for more than CERTIFICATES different certificates, or for more than SEARCHES different searches,
  or uploaded more than UPLOADS times.

It is a guess, made so that few people are missed: a scraper who is patient enough looks legitimate, and a network of
scrapers with a few requests each does. A client of which too little can be remembered does not look so.
"""

from typing import Final

from proxy.hkp.classes import OperationClass
from proxy.hkp.operation import Operation
from proxy.replay.line import Line

RARE: Final = 20
CERTIFICATES: Final = 3000  # the largest keyrings that are refreshed
SEARCHES: Final = 60
UPLOADS: Final = 20
MOST_CLIENTS: Final = 262_144
MOST_SUBJECTS: Final = 4_000_000  # remembered of all clients together
DAY_NS: Final = 86_400 * 1_000_000_000
_ERROR: Final = 400
_NO_ERRORS: Final = frozenset({404, 429, 503})
_CERT, _UPLOAD, _UNKNOWN = OperationClass.CERT, OperationClass.UPLOAD, OperationClass.UNKNOWN
_LOOKED_UP: Final = (_CERT, OperationClass.IDENTITY, OperationClass.WORDS)  # no set: enums take long to hash


class Look:
    """What one client did."""

    __slots__ = ("bad", "certificates", "midnight_ns", "much", "odd", "requests", "searches", "uploads")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.requests = self.odd = self.uploads = 0
        self.midnight_ns = 0  # when the day ends to which the next three belong
        self.bad = self.much = False
        self.certificates: set[int] | None = None  # of a day
        self.searches: set[int] | None = None

    @property
    def legitimate(self) -> bool:
        """Whether it looks so."""
        return not self.bad and not self.much and self.odd * RARE <= self.requests


class Looks:
    """All clients of a log."""

    def __init__(self) -> None:
        """Nobody came yet."""
        self._clients: dict[int, Look] = {}
        self._remembered = 0

    def note(self, client: int, line: Line, operation: Operation) -> None:
        """Take note of a request, in the order of time."""
        look = self._clients.get(client)
        if look is None:
            if len(self._clients) >= MOST_CLIENTS:
                return
            look = self._clients[client] = Look()
        look.requests += 1
        kind, subject, _, target, _, _, trap = operation
        if kind in _LOOKED_UP:
            if not look.much:
                self._remember(look, line, kind, subject)
        elif kind == _UPLOAD:
            if line.start_ns >= look.midnight_ns:
                self._begin_day(look, line)
            look.uploads += 1
            look.much |= look.uploads > UPLOADS
        if trap or not target:
            look.bad = True
        status = line.status
        if kind == _UNKNOWN or (status >= _ERROR and status not in _NO_ERRORS):
            look.odd += 1

    def legitimate(self, client: int) -> bool:
        """Tell whether a client looks legitimate."""
        look = self._clients.get(client)
        return look is not None and look.legitimate

    def _begin_day(self, look: Look, line: Line) -> None:
        self._remembered -= len(look.certificates or ()) + len(look.searches or ())
        look.uploads, look.certificates, look.searches = 0, None, None
        look.midnight_ns = (line.start_ns // DAY_NS + 1) * DAY_NS

    def _remember(self, look: Look, line: Line, kind: OperationClass, subject: str) -> None:
        """Take note of what was asked for."""
        if line.start_ns >= look.midnight_ns:
            self._begin_day(look, line)
        if kind == _CERT:
            seen, most = look.certificates, CERTIFICATES
            if seen is None:
                seen = look.certificates = set()
        else:
            seen, most = look.searches, SEARCHES
            if seen is None:
                seen = look.searches = set()
        before = len(seen)
        seen.add(hash(subject))
        if len(seen) == before:
            return
        self._remembered += 1
        if before >= most or self._remembered > MOST_SUBJECTS:
            look.much = True
            self._remembered -= len(look.certificates or ()) + len(look.searches or ())
            look.certificates = look.searches = None
