"""What onak is asked and what is made of its answers, with an onak that a test scripts."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bench.onak import Page
from bench.recording import keyserver
from bench.recording.keyserver import PROGRAMS_AT_A_TIME, WKD_FILE, Server, application, wkd_digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

CERTIFICATE = Page("text/plain", b"<pre>\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
MISSING = "0x" + "AB" * 20


class FakeOnak:
    """Has everything but MISSING, and takes what is no rubbish."""

    def __init__(self, _folder: Path) -> None:
        """Note what is asked."""
        self.asked: list[str] = []

    def page(self, name: str, request: Mapping[str, str], body: bytes = b"") -> Page:
        """Answer as onak does: always with 200."""
        self.asked.append(f"{name} {request['QUERY_STRING']}".strip())
        if name == "add":
            return Page("text/html", b"No OpenPGP packets found in input." if b"rubbish" in body else b"added: 1")
        return Page("text/plain", b"Key not found\n") if MISSING in request["QUERY_STRING"] else CERTIFICATE


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    """Return a client of a keyserver that knows one address of a web key directory."""
    monkeypatch.setattr(keyserver, "Onak", FakeOnak)
    (tmp_path / WKD_FILE).write_text(json.dumps({wkd_digest("Joe.Doe"): "joe.doe@example.org"}))
    async with TestClient(TestServer(application(tmp_path))) as client:
        yield client


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/pks/lookup?op=get&search=0x12", 200),
        (f"/pks/lookup?op=get&search={MISSING}", 404),
        ("/pks/lookup?op=stats&options=mr", 200),
        ("/pks/lookup?op=other&search=x", 501),
        ("/vks/v1/by-fingerprint/12", 200),
        (f"/vks/v1/by-fingerprint/{MISSING[2:]}", 404),
        ("/vks/v1/by-email/joe%40example.org", 200),
        (f"/.well-known/openpgpkey/example.org/hu/{wkd_digest('joe.doe')}?l=joe.doe", 200),
        (f"/.well-known/openpgpkey/example.org/hu/{wkd_digest('nobody')}?l=nobody", 404),
        ("/.well-known/openpgpkey/example.org/policy", 200),
        ("/", 200),
        ("/robots.txt", 200),
        ("/admin/", 401),
        ("/.env", 404),
    ],
)
async def test_status(client: TestClient, target: str, status: int) -> None:  # type: ignore[type-arg]
    """As of any other keyserver."""
    async with client.get(target) as reply:
        assert reply.status == status


@pytest.mark.parametrize(("body", "status"), [("keytext=rubbish", 422), ("keytext=certificate", 200)])
async def test_upload(client: TestClient, body: str, status: int) -> None:  # type: ignore[type-arg]
    """What has no certificate in it is no success."""
    async with client.post("/pks/add", data=body) as reply:
        assert reply.status == status


async def test_an_upload_runs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the look-ups before it, which run beside each other, and those after it wait for it."""
    monkeypatch.setattr(keyserver, "Onak", FakeOnak)
    server, begun = Server(tmp_path), []

    async def run(name: str, places: int) -> None:
        async with server.places(places):
            begun.append(name)
            await ended[name].wait()

    ended = {name: asyncio.Event() for name in ("look", "look again", "upload", "look later")}
    places = {"upload": PROGRAMS_AT_A_TIME}
    async with asyncio.TaskGroup() as group:
        for name in ended:
            group.create_task(run(name, places.get(name, 1)))
        for ending, expected in (("", 2), ("look", 2), ("look again", 3), ("upload", 4), ("look later", 4)):
            if ending:
                ended[ending].set()
            for _ in range(20):
                await asyncio.sleep(0)  # lets the others go on
            assert begun == list(ended)[:expected]


def test_wkd_digest() -> None:
    """The example of the draft (draft-koch-openpgp-webkey-service, section 3.1)."""
    assert wkd_digest("Joe.Doe") == "iy9q119eutrkn8s1mk4r39qejnbu3n5q"
