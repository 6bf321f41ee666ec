"""The keyserver with an answer for every fingerprint."""

from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bench.certserver import BEGIN, WITNESS, Notebook, Witness, build_app, from_files, from_onak
from bench.gpg import make_certificates
from bench.onak import CGI_FOLDER
from bench.targets import BODY_END, armored_body

KNOWN, OTHER = "A" * 40, "B" * 40
CERTIFICATES = {KNOWN: "the certificate"}


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
async def test_answers(target: str, status: int, body: str) -> None:
    """The right certificate if there is one, else some; nothing but certificates by their fingerprint."""
    async with TestClient(TestServer(build_app(CERTIFICATES, from_files(CERTIFICATES), 0))) as client:
        answer = await client.get(target)
        assert (answer.status, await answer.text()) == (status, body)


def test_some_certificate_looks_like_one() -> None:
    """As a scraper would see it."""
    assert armored_body().endswith(BODY_END.decode())


@pytest.mark.skipif(not CGI_FOLDER.exists(), reason="onak is not installed")
async def test_onak_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real keyserver in the working directory gives what it was given, and knows nothing else."""
    monkeypatch.chdir(tmp_path)
    (folder := tmp_path / "certificates").mkdir()
    make_certificates(folder, 2)
    certificates = {path.stem: path.read_text() for path in folder.iterdir()}
    async with TestClient(TestServer(build_app(certificates, from_onak(certificates), 0))) as client:
        for fingerprint in (*certificates, OTHER):
            answer = await client.get(f"/pks/lookup?op=get&options=mr&search=0x{fingerprint}")
            assert (BEGIN in await answer.text()) == (fingerprint in certificates)
        assert (await (await client.get(WITNESS)).json())["given"] == 2


async def test_witness_counts_its_own_certificates() -> None:
    """Each once that it gave out, and each request for one; what it does not have is nobody's business."""
    certificates = {KNOWN: BEGIN, OTHER: "gone"}
    targets = (KNOWN, KNOWN, OTHER, "C" * 40)
    async with TestClient(TestServer(build_app(certificates, from_files(certificates), 0))) as client:
        for target in targets:
            await client.get(f"/pks/lookup?op=get&search=0x{target}")
        seen = await (await client.get(WITNESS)).json()
    assert (seen["requests"], seen["given"]) == (3, 1)


def test_longest_pause() -> None:
    """From an answer to the next request, at its longest; before the first there is none."""
    notebook = Notebook()
    for begun_s, ended_s in ((100.0, 101.0), (103.5, 109.0), (110.0, 111.0)):
        notebook.begin(begun_s)
        notebook.end(KNOWN, BEGIN, ended_s)
    assert notebook.witness() == Witness(requests=3, given=1, longest_pause_s=2.5)
