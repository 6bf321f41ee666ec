"""A keyserver that others are put in front of: `python -m bench.certserver PORT FOLDER ANSWER_MS SOURCE`.

It has the certificates in FOLDER (`<fingerprint>.asc`). SOURCE says who answers for them:

- `files`: at once, with the right one; for all other fingerprints with some that says nothing, so that a scraper can
  ask for as many as it likes.
- `onak`: a real keyserver, which has them in its database.

Each answer takes ANSWER_MS more, which stands for the way to a server far away: what the proxies see is a client that
asks one thing after the other, and not as fast as loopback lets it.

`/witness` tells what it gave out, so that nobody has to believe gpg or the proxies.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from aiohttp import web
from pysequoia import Cert

from bench.onak import Onak
from bench.targets import armored_body

HEX_DIGITS = 40
WITNESS = "/witness"
BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"

Source = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What a keyserver has to say about its certificates.

    Attributes:
        requests: How often it was asked for one that it has.
        given: How many of them it has given out, once or more.
        longest_pause_s: The longest time between an answer about one of them and the next such request. A client that
            asks for one after the other was held up for this long, by its proxy or by itself.

    """

    requests: int
    given: int
    longest_pause_s: float


class Notebook:
    """Keeps what a witness tells."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self._requests = 0
        self._given: set[str] = set()
        self._longest_pause_s = 0.0
        self._last_s: float | None = None

    def begin(self, now_s: float) -> None:
        """Note a request for a certificate that is there."""
        self._requests += 1
        if self._last_s is not None:
            self._longest_pause_s = max(self._longest_pause_s, now_s - self._last_s)

    def end(self, fingerprint: str, text: str, now_s: float) -> None:
        """Note its answer."""
        self._last_s = now_s
        if BEGIN in text:
            self._given.add(fingerprint)

    def witness(self) -> Witness:
        """Return what is known by now."""
        return Witness(requests=self._requests, given=len(self._given), longest_pause_s=self._longest_pause_s)


def build_app(fingerprints: Container[str], source: Source, answer_s: float) -> web.Application:
    """Return a keyserver that has certificates with these fingerprints and answers from `source`."""
    notebook = Notebook()

    async def lookup(request: web.Request) -> web.Response:
        wanted = fingerprint(request)
        known = wanted in fingerprints and request.query.get("op") == "get"
        if known:
            notebook.begin(time.monotonic())
        await asyncio.sleep(answer_s)
        answer = await source(request)
        if known:
            notebook.end(wanted, answer.text or "", time.monotonic())
        return answer

    async def witness(_request: web.Request) -> web.Response:
        return web.json_response(asdict(notebook.witness()))

    app = web.Application()
    app.router.add_get("/pks/lookup", lookup)
    app.router.add_get(WITNESS, witness)
    app.router.add_get("/{path:.*}", _healthy)
    return app


def fingerprint(request: web.Request) -> str:
    """Return what is searched for, as fingerprints are written."""
    return request.query.get("search", "").removeprefix("0x").upper()


def from_files(certificates: Mapping[str, str]) -> Source:
    """Return a source that has a certificate for every fingerprint."""
    nothing = armored_body()

    async def answer(request: web.Request) -> web.Response:
        wanted = fingerprint(request)
        if len(wanted) != HEX_DIGITS or request.query.get("op") != "get":
            return web.Response(status=404, text="Not found\n")
        return web.Response(text=certificates.get(wanted, nothing), content_type="application/pgp-keys")

    return answer


def from_onak(certificates: Mapping[str, str]) -> Source:
    """Give the certificates to an onak that lives in the working directory, and let it answer."""
    onak = Onak(Path.cwd())
    onak.add(b"".join(bytes(Cert.from_bytes(text.encode())) for text in certificates.values()))

    async def answer(request: web.Request) -> web.Response:
        asked = {"REQUEST_METHOD": "GET", "QUERY_STRING": request.query_string}
        page = await asyncio.to_thread(onak.page, "lookup", asked)
        return web.Response(text=page.body.decode(errors="replace"), content_type=page.kind)

    return answer


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="OK\n")


SOURCES: Mapping[str, Callable[[Mapping[str, str]], Source]] = {"files": from_files, "onak": from_onak}


def main(arguments: Sequence[str]) -> None:
    """Run it as the command line says."""
    port, folder, answer_ms, source = arguments
    certificates = {path.stem: path.read_text() for path in Path(folder).glob("*.asc")}
    web.run_app(
        build_app(certificates, SOURCES[source](certificates), int(answer_ms) / 1000),
        host="127.0.0.1",
        port=int(port),
        print=None,
        access_log=None,
        backlog=1024,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
