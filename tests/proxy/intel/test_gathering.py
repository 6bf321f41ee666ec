"""How lists are got: documents, TAXII collections, CrowdSec streams."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.intel.formats import FORMATS, Format
from proxy.intel.formats.reading import NotAList
from proxy.intel.gathering import WHOLE_SECONDS, Collection, DecisionStream, Document, gatherer, secret_of
from proxy.intel.web import FetchFailed
from proxy.settings.intel import FeedConfig
from tests.proxy.intel.feeds_for_tests import NOW_S, feed_config, texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from proxy.intel.formats.reading import Parsed, Reading
    from proxy.intel.gathering import Gathered, Gatherer


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve one handler for all paths; gives the beginning of a URL."""
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", handler)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")


async def taken(source: Gatherer, now_s: float = NOW_S) -> list[str] | None:
    """Gather once, believe it, and return what is listed."""
    gathered = await source.gather(now_s)
    source.accept()
    return None if gathered is None else listed(gathered)


def listed(gathered: Gathered | None) -> list[str]:
    """Return what is listed."""
    assert gathered is not None
    return [each.removesuffix("/32") for each in texts(gathered.parsed.listings)]


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"format": "taxii"}, Collection),
        ({"format": "crowdsec"}, DecisionStream),
        ({"format": "crowdsec", "url": "/var/lib/decisions.json"}, Document),
        ({"format": "csv"}, Document),
    ],
)
def test_source(settings: dict[str, str], kind: type) -> None:
    """The format of a feed says how it is asked."""
    assert type(gatherer(feed_config(**settings), {})) is kind


# Documents.


async def test_web_page_is_no_list() -> None:
    """A page that says 200 and means an error is no list, and the next one is asked for in full."""
    pages = ["1.2.3.4", "<html>Service unavailable</html>", "1.2.3.5"]
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("If-None-Match"))
        return web.Response(text=pages[len(asked) - 1], headers={"ETag": f'"{len(asked)}"'})

    async with serving(answer) as url:
        source = Document(feed_config(url=f"{url}/list"), {})
        assert await taken(source) == ["1.2.3.4"]
        with pytest.raises(NotAList):
            await source.gather(NOW_S)
        assert await taken(source) == ["1.2.3.5"]
    assert asked == [None, '"1"', '"1"']


async def test_list_that_does_not_fit_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused as others are, and ends nothing but itself."""

    def parse(_data: bytes, _reading: Reading) -> Parsed:
        raise MemoryError

    monkeypatch.setitem(FORMATS, "text", Format(parse))
    path = tmp_path / "list"
    path.write_text("1.2.3.4")
    with pytest.raises(NotAList, match="more memory"):
        await Document(feed_config(url=str(path)), {}).gather(NOW_S)


async def test_what_is_not_believed_is_asked_for_again() -> None:
    """The mark of a list that is held back is not used: "as before" would confirm the wrong one."""
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("If-None-Match"))
        return web.Response(text="1.2.3.4", headers={"ETag": f'"{len(asked)}"'})

    async with serving(answer) as url:
        source = Document(feed_config(url=f"{url}/list"), {"etag": '"0"'})
        await source.gather(NOW_S)
        await source.gather(NOW_S)
    assert asked == ['"0"', '"0"']


async def test_file(tmp_path: Path) -> None:
    """A file is read when it is another one than before."""
    path = tmp_path / "list.txt"
    path.write_text("1.2.3.4\n")
    source = Document(feed_config(url=str(path)), {})
    gathered = await source.gather(NOW_S)
    source.accept()
    assert listed(gathered) == ["1.2.3.4"]
    assert gathered is not None
    assert await taken(source) is None
    assert await taken(Document(feed_config(url=str(path)), gathered.marks)) is None
    path.write_text("1.2.3.4\n1.2.3.5\n")
    assert await taken(source) == ["1.2.3.4", "1.2.3.5"]


@pytest.mark.parametrize(("name", "words"), [("none", "No such file"), (".", "it is no file"), ("large", "1024 bytes")])
async def test_bad_file(tmp_path: Path, name: str, words: str) -> None:
    """A file that is not there, no file, or too large is a failure."""
    (tmp_path / "large").write_bytes(b"1" * 1025)
    with pytest.raises(FetchFailed, match=words):
        await Document(feed_config(url=f"{tmp_path}/{name}", most_bytes="1KiB"), {}).gather(NOW_S)


async def test_field_and_bounds(tmp_path: Path) -> None:
    """The settings of a feed say where the networks stand, and how many may be there."""
    path = tmp_path / "list.csv"
    path.write_text("name,net\nx,1.2.3.4\ny,1.2.3.5\n")
    assert await taken(Document(feed_config(url=str(path), format="csv", field="net"), {})) == ["1.2.3.4", "1.2.3.5"]
    with pytest.raises(NotAList):
        await Document(feed_config(url=str(path), format="csv", field="net", most="1"), {}).gather(NOW_S)


# TAXII.


def indicator(number: int, address: str, *, version: int = 0, revoked: bool = False) -> dict[str, Any]:
    """Return an indicator of an address."""
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--00000000-0000-4000-8000-{number:012d}",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": f"2026-01-01T00:00:{version:02d}.000Z",
        "valid_from": "2026-01-01T00:00:00Z",
        "pattern": f"[ipv4-addr:value = '{address}']",
        "pattern_type": "stix",
        "indicator_types": ["malicious-activity"],
        "revoked": revoked,
    }


class TaxiiServer:
    """A collection, a page of `page` objects at a time."""

    def __init__(self, *objects: dict[str, Any], page: int = 2, names_next: bool = True) -> None:
        """`objects`: in the order in which they were added, a second each."""
        self.objects = [*objects]
        self.page = page
        self.names_next = names_next
        self.asked: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request for objects."""
        assert request.path == "/root/collections/c/objects/"
        assert request.headers["Accept"] == "application/taxii+json;version=2.1"
        self.asked.append(dict(request.query))
        first = 0
        if after := request.query.get("added_after"):
            first = int(after[17:19]) + 1
        first = int(request.query.get("next", first))
        some = self.objects[first : first + self.page]
        last = first + len(some)
        envelope: dict[str, Any] = {"more": last < len(self.objects), "objects": some} if some else {}
        if envelope.get("more") and self.names_next:
            envelope["next"] = str(last)
        headers = {"X-TAXII-Date-Added-Last": f"2026-02-01T00:00:{last - 1:02d}.000000Z"} if some else {}
        return web.json_response(envelope, headers=headers, content_type="application/taxii+json")


def collection(url: str, **settings: str) -> Collection:
    """Return the source of a collection."""
    return Collection(feed_config(url=f"{url}/root/collections/c/", format="taxii", **settings))


@pytest.mark.parametrize("names_next", [True, False])
async def test_pages(*, names_next: bool) -> None:
    """All pages are read, whether the server names the next one or only the time of the last object."""
    server = TaxiiServer(*(indicator(n, f"1.2.3.{n}") for n in range(5)), names_next=names_next)
    async with serving(server.answer) as url:
        assert await taken(collection(url)) == [f"1.2.3.{n}" for n in range(5)]
    assert len(server.asked) == 3
    assert all(each["match[type]"] == "indicator" for each in server.asked)


async def test_only_what_is_new() -> None:
    """After the first time only what was added is asked for; what is revoked or changed is as the last version says."""
    server = TaxiiServer(indicator(1, "1.2.3.1"), indicator(2, "1.2.3.2"))
    async with serving(server.answer) as url:
        source = collection(url)
        assert await taken(source) == ["1.2.3.1", "1.2.3.2"]
        assert await taken(source) is None
        server.objects += [indicator(1, "1.2.3.1", version=1, revoked=True), indicator(2, "1.2.3.9", version=1)]
        assert await taken(source) == ["1.2.3.9"]
    assert server.asked[-1]["added_after"] == "2026-02-01T00:00:01.000000Z"


async def test_all_again() -> None:
    """Once a day all is read: a server does not tell what it has deleted."""
    server = TaxiiServer(indicator(1, "1.2.3.1"), indicator(2, "1.2.3.2"))
    async with serving(server.answer) as url:
        source = collection(url)
        await taken(source)
        del server.objects[0]
        assert await taken(source, NOW_S + WHOLE_SECONDS - 1) is None
        assert await taken(source, NOW_S + WHOLE_SECONDS) == ["1.2.3.2"]


async def test_changes_that_were_not_believed() -> None:
    """Changes that were held back are asked for again."""
    server = TaxiiServer(indicator(1, "1.2.3.1"))
    async with serving(server.answer) as url:
        source = collection(url)
        await taken(source)
        server.objects.append(indicator(2, "1.2.3.2"))
        await source.gather(NOW_S)
        assert await taken(source) == ["1.2.3.1", "1.2.3.2"]


async def test_empty_collection() -> None:
    """A collection without objects is an empty list."""
    async with serving(TaxiiServer().answer) as url:
        assert await taken(collection(url)) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "a page"),
        (b"[]", "no envelope"),
        (b"", "empty"),
        (b'{"title": "busy", "http_status": "200"}', "no envelope"),
        (json.dumps({"more": True, "objects": [indicator(1, "1.2.3.1")]}).encode(), "does not say where"),
        (
            b'{"more": true, "next": "1", "objects": [' + b'{"type": "x"},' * 100 + b'{"type": "x"}]}',
            "its pages have more",
        ),
    ],
    ids=["html", "list", "nothing", "error", "no next", "without end"],
)
async def test_bad_pages(body: bytes, words: str) -> None:
    """A server that does not make sense, or does not come to an end, is a failure."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body)

    async with serving(answer) as url:
        with pytest.raises((FetchFailed, NotAList), match=words):
            await collection(url, most_bytes="8KiB").gather(NOW_S)


# CrowdSec.


def decision(value: str, duration: str = "4h") -> dict[str, Any]:
    """Return a ban."""
    return {"duration": duration, "origin": "crowdsec", "scenario": "s", "scope": "Ip", "type": "ban", "value": value}


class Lapi:
    """The local API of CrowdSec, with answers that a test gives."""

    def __init__(self, *answers: dict[str, Any] | int) -> None:
        """`answers`: documents or statuses, in their order."""
        self.answers = [*answers]
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a bouncer."""
        assert request.path == "/v1/decisions/stream"
        assert request.headers["X-Api-Key"] == "hush"
        self.asked.append(request.query["startup"])
        answer = self.answers.pop(0)
        return web.Response(status=answer) if isinstance(answer, int) else web.json_response(answer)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    """Return the path of a key."""
    path = tmp_path / "key"
    path.write_text("hush\n")
    return str(path)


async def test_stream(key_file: str) -> None:
    """All at the start, then what is new and what is deleted; what has ended goes by itself."""
    lapi = Lapi(
        {"new": [decision("1.2.3.4"), decision("1.2.3.5", "1m")], "deleted": []},
        {"new": None, "deleted": None},
        {"new": [decision("1.2.3.6")], "deleted": [decision("1.2.3.4", "-1s")]},
    )
    async with serving(lapi.answer) as url:
        source = DecisionStream(feed_config(url=url, format="crowdsec", key_file=key_file))
        assert await taken(source) == ["1.2.3.4", "1.2.3.5"]
        assert await taken(source, NOW_S + 10) == ["1.2.3.4", "1.2.3.5"]
        assert await taken(source, NOW_S + 61) == ["1.2.3.6"]
    assert lapi.asked == ["true", "false", "false"]


async def test_stream_after_a_failure(key_file: str) -> None:
    """Changes that got lost with a failure are not told again, so all is asked for; and once a day anyway."""
    all_of_it = {"new": [decision("1.2.3.4", "100h")], "deleted": None}
    lapi = Lapi(all_of_it, 500, all_of_it, all_of_it)
    async with serving(lapi.answer) as url:
        source = DecisionStream(feed_config(url=f"{url}/", format="crowdsec", key_file=key_file))
        await taken(source)
        with pytest.raises(FetchFailed):
            await source.gather(NOW_S)
        assert await taken(source) == ["1.2.3.4"]
        assert await taken(source, NOW_S + WHOLE_SECONDS) == ["1.2.3.4"]
    assert lapi.asked == ["true", "false", "true", "true"]


async def test_stream_that_grows(key_file: str) -> None:
    """Changes are not believed without end."""
    lapi = Lapi(*({"new": [decision(each)], "deleted": None} for each in ("1.2.3.4", "1.2.3.5")))
    async with serving(lapi.answer) as url:
        source = DecisionStream(feed_config(url=url, format="crowdsec", key_file=key_file, most="1"))
        await taken(source)
        assert await taken(source) == ["1.2.3.4", "1.2.3.5"]  # which the feed holds back: see `Feed`


# Keys.


@pytest.mark.parametrize("content", [b"", b"a\nb", b"\xff", b"x" * 5000, b"a\tb"])
def test_bad_key_file(tmp_path: Path, content: bytes) -> None:
    """A key is one line; what is in the file is not repeated."""
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(FetchFailed, match=r"KEY_FILE (cannot be read|is not one line)"):
        secret_of(FeedConfig(key_file=str(path)))


def test_missing_key_file() -> None:
    """A feed whose key is not there is not asked without it."""
    with pytest.raises(FetchFailed, match="cannot be read"):
        secret_of(FeedConfig(key_file="/nope"))
