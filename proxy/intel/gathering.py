"""How the list of a feed is got: from a file, a URL, a TAXII collection, or a CrowdSec stream. Part of the collector.

Each source is asked again and again by `gather`, which gives the whole list as it is now, or None: as before.

TAXII is read with aiohttp, and not with taxii2-client: that is synchronous, follows redirects to wherever they lead,
and reads bodies of any size; what is left of it is a loop over pages.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from proxy.intel.formats import FORMATS
from proxy.intel.formats.reading import Limits, NotAList, Parsed, Reading
from proxy.intel.formats.taxii import page_of
from proxy.intel.listing import Listings, joined
from proxy.intel.web import FetchFailed, Web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.settings.intel import FeedConfig

Json = dict[str, Any]
TAXII: Final = "application/taxii+json;version=2.1"
MOST_PAGES: Final = 1000
PAGE_OBJECTS: Final = 1000
WHOLE_SECONDS: Final = 86_400.0  # after so long a source that tells changes is asked for all again
MOST_SECRET_BYTES: Final = 4096
MOST_OBJECTS: Final = 200_000  # in all versions, before all are asked for again


class Gathered(NamedTuple):
    """A list.

    Args:
        parsed: What it says; its listings are all that there are.
        marks: What to ask with after a restart.

    """

    parsed: Parsed
    marks: Mapping[str, str]


class Gatherer(Protocol):
    """The source of one feed."""

    async def gather(self, now_s: float) -> Gathered | None:
        """Return the list as it is now, None if it is as before.

        Raises:
            FetchFailed: It cannot be had.
            NotAList: It is none.

        """

    def accept(self) -> None:
        """Go on from what was gathered last: it was believed. Else the next list is told in full again."""


def gatherer(feed: FeedConfig, marks: Mapping[str, str]) -> Gatherer:
    """Return the source of a feed.

    Args:
        feed: With a URL.
        marks: Of the list that is there; empty: there is none.

    """
    if feed.format == "taxii":
        return Collection(feed)
    if feed.format == "crowdsec" and not feed.local:
        return DecisionStream(feed)
    return Document(feed, marks)


class Document:
    """A list that is one document."""

    def __init__(self, feed: FeedConfig, marks: Mapping[str, str]) -> None:
        """Ask for what is newer than `marks`."""
        self._feed = feed
        self._marks = self._found = marks

    async def gather(self, now_s: float) -> Gathered | None:
        """See `Gatherer`."""
        found = await (self._read() if self._feed.local else self._fetch())
        if found is None:
            return None
        body, marks = found
        parsed = await parsed_of(self._feed, body, now_s)
        self._found = marks
        return Gathered(parsed, marks)

    def accept(self) -> None:
        """See `Gatherer`."""
        self._marks = self._found

    async def _fetch(self) -> tuple[bytes, Mapping[str, str]] | None:
        async with _web(self._feed) as web:
            answer = await web.get({}, marks=self._marks)
        return None if answer.body is None else (answer.body, answer.marks)

    async def _read(self) -> tuple[bytes, Mapping[str, str]] | None:
        return await asyncio.to_thread(self._read_file, Path(self._feed.url or ""))

    def _read_file(self, path: Path) -> tuple[bytes, Mapping[str, str]] | None:
        most = self._feed.most_bytes
        try:
            status = path.stat()
            marks = {"file": f"{status.st_mtime_ns} {status.st_size} {status.st_ino}"}
            if marks == self._marks:
                return None
            if not path.is_file():
                raise FetchFailed("it is no file")
            with path.open("rb") as file:
                body = file.read(most + 1)
        except OSError as error:
            raise FetchFailed(f"it cannot be read: {error.strerror}") from None
        if len(body) > most:
            raise FetchFailed(f"it has more than {most} bytes")
        return body, marks


class Collection:
    """A collection of a TAXII 2.1 server: `<api root>/collections/<id>`.

    What was added since the last time is asked for; what the server has deleted since then it does not say, so once a
    day all is read again. A page names the next one, which is a word of the server, or else the time of its last
    object.
    """

    def __init__(self, feed: FeedConfig) -> None:
        """Know nothing yet."""
        self._feed = feed
        self._known = self._found = _Known([], "", 0.0)

    async def gather(self, now_s: float) -> Gathered | None:
        """See `Gatherer`."""
        known = self._known
        if not known.added or now_s - known.whole_s >= WHOLE_SECONDS or len(known.objects) > MOST_OBJECTS:
            known = _Known([], "", now_s)
        objects, added = await self._read(known.added)
        if not objects and known.added:
            return None
        self._found = known._replace(objects=known.objects + objects, added=added or known.added)
        body = await asyncio.to_thread(lambda: json.dumps({"objects": self._found.objects}).encode())
        return Gathered(await parsed_of(self._feed, body, now_s), {})

    def accept(self) -> None:
        """See `Gatherer`."""
        self._known = self._found

    async def _read(self, added_after: str) -> tuple[list[object], str]:
        """Return all objects that came after a time, and when the last of them did."""
        objects: list[object] = []
        query = {"match[type]": "indicator", "limit": str(PAGE_OBJECTS)}
        query |= {"added_after": added_after} if added_after else {}
        path = "" if _path(self._feed.url or "").rstrip("/").endswith("/objects") else "objects/"
        added, left, limits = "", self._feed.most_bytes, Limits(most_bytes=self._feed.most_bytes)
        async with _web(self._feed) as web:
            for _ in range(MOST_PAGES):
                answer = await web.get({"Accept": TAXII}, below=path, query=query)
                body = answer.body or b""
                left -= len(body)
                if left < 0:
                    raise FetchFailed(f"its pages have more than {self._feed.most_bytes} bytes")
                page = page_of(body, limits)
                objects += page.objects
                last = answer.headers.get("X-TAXII-Date-Added-Last", "")
                added = last or added
                if not page.more or not page.objects:
                    return objects, added
                query = _next_query(query, page.next, last)
        raise FetchFailed(f"it has more than {MOST_PAGES} pages")


class DecisionStream:
    """The decisions of a CrowdSec local API, as a bouncer reads them: all at the start, then what has changed.

    Once a day all are asked for again, so that nothing that got lost stays.
    """

    def __init__(self, feed: FeedConfig) -> None:
        """Know nothing yet."""
        self._feed = feed
        self._listings: Listings | None = None  # that were believed
        self._found: Listings | None = None
        self._whole_s = 0.0

    async def gather(self, now_s: float) -> Gathered | None:
        """See `Gatherer`. What was told and not believed is not told again, so then all is asked for."""
        whole = self._listings is None or now_s - self._whole_s >= WHOLE_SECONDS
        before, self._listings = (None if whole else self._listings), None
        async with _web(self._feed) as web:
            query = {"startup": "true" if before is None else "false", "scopes": "ip,range"}
            path = "" if _path(self._feed.url or "").strip("/") else "v1/decisions/stream"
            answer = await web.get({"Accept": "application/json"}, below=path, query=query)
        parsed = await parsed_of(self._feed, answer.body or b"", now_s)
        if before is None:
            self._whole_s = now_s
        else:
            going = before.chosen(before.until_s > now_s).without(parsed.withdrawn)
            parsed = replace(parsed, listings=joined([going.without(parsed.listings.prefixes), parsed.listings]))
        self._found = parsed.listings
        return Gathered(parsed, {})

    def accept(self) -> None:
        """See `Gatherer`."""
        self._listings = self._found


async def parsed_of(feed: FeedConfig, body: bytes, now_s: float) -> Parsed:
    """Return what a body says; in a thread, because it may take a second.

    Raises:
        NotAList: It is no list.

    """
    limits = Limits(most_bytes=feed.most_bytes, most_rows=max(1, feed.bounds.stop - 1))
    try:
        return await asyncio.to_thread(FORMATS[feed.format].parse, body, Reading(now_s, feed.field or "", limits))
    except MemoryError:  # else the courier would end, and all other feeds with it
        raise NotAList("it takes more memory than there is for it") from None


def secret_of(feed: FeedConfig) -> str:
    """Return what the header of a feed says, from its file; empty if there is none.

    Raises:
        FetchFailed: The file cannot be used; the text does not repeat what is in it.

    """
    if feed.key_file is None:
        return ""
    try:
        with Path(feed.key_file).open("rb") as file:
            text = file.read(MOST_SECRET_BYTES + 1).decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise FetchFailed(f"its KEY_FILE cannot be read: {type(error).__name__}") from None
    if not 0 < len(text) <= MOST_SECRET_BYTES or not text.isprintable():
        raise FetchFailed("its KEY_FILE is not one line of visible ASCII")
    return text


def _web(feed: FeedConfig) -> Web:
    return Web(feed, secret_of(feed))


class _Known(NamedTuple):
    objects: list[object]  # all versions of them
    added: str  # when the last one was added, by the server's clock
    whole_s: float  # when all were read


def _next_query(query: Mapping[str, str], place: str, added_last: str) -> dict[str, str]:
    """Return how the page after one is asked for; FetchFailed if the server does not say."""
    if place:
        return {**query, "next": place}
    if added_last and added_last != query.get("added_after"):
        return {**query, "added_after": added_last}
    raise FetchFailed("there are more pages, and it does not say where")


def _path(url: str) -> str:
    return url.partition("://")[2].partition("/")[2].partition("?")[0]
