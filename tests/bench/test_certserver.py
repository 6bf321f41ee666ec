"""The keyserver with an answer for every fingerprint."""

from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bench.certserver import build_app
from bench.targets import BODY_END, armored_body

KNOWN, OTHER = "A" * 40, "B" * 40


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        (f"/pks/lookup?op=get&options=mr&search=0x{KNOWN}", 200, "the certificate"),
        (f"/pks/lookup?op=get&options=mr&search=0x{KNOWN.lower()}", 200, "the certificate"),
        (f"/pks/lookup?op=get&options=mr&search=0x{OTHER}", 200, armored_body()),
        ("/pks/lookup?op=get&search=p@example.org", 404, "Not found\n"),
        (f"/pks/lookup?op=index&search=0x{KNOWN}", 404, "Not found\n"),
        ("/pks/lookup?op=stats", 404, "Not found\n"),
        ("/", 200, "OK\n"),
    ],
)
async def test_answers(target: str, status: int, body: str, tmp_path: Path) -> None:
    """The right certificate if there is one, else some; nothing but certificates by their fingerprint."""
    (tmp_path / f"{KNOWN}.asc").write_text("the certificate")
    async with TestClient(TestServer(build_app(tmp_path, 0))) as client:
        answer = await client.get(target)
        assert (answer.status, await answer.text()) == (status, body)


def test_some_certificate_looks_like_one() -> None:
    """As a scraper would see it."""
    assert armored_body().endswith(BODY_END.decode())
