"""Sq, curl and a browser through the guard, in front of the demo keyserver."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from pysequoia import Cert

from proxy.demo import demo_fingerprints
from tests.integration.gnupg import UNKNOWN_FINGERPRINT, make_cert
from tests.integration.guard import Guard, guard
from tests.integration.http_client import Question, ask
from tests.integration.programs import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.conftest import Need

    Curl = Callable[..., str]


ALICE = demo_fingerprints()[0]
GET_ALICE = f"/pks/lookup?op=get&options=mr&search=0x{ALICE}"
FIREFOX = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "DNT: 1",
    "Connection: keep-alive",
    "Cookie: theme=dark",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Priority: u=0, i",
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """Run a guard in front of the demo keyserver."""
    with guard(tmp_path_factory.mktemp("guard")) as started:
        yield started


@pytest.fixture
def curl(need: Need) -> Curl:
    """Return curl, which must succeed; what it says on both outputs is returned."""
    program = need("curl")

    def ask_with(*arguments: str | Path) -> str:
        done = run(program, "--silent", "--show-error", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return ask_with


@pytest.fixture
def upload(tmp_path: Path) -> tuple[Path, str]:
    """Return a file with a form that uploads a new certificate, and its fingerprint."""
    cert = make_cert("Yves <yves@example.org>")
    form = tmp_path / "form"
    form.write_text(urlencode({"keytext": str(cert)}))
    return form, cert.fingerprint.upper()


def test_sq_gets(need: Need, demo: Guard) -> None:
    """Sq reads a certificate by its fingerprint."""
    done = run(need("sq"), "keyserver", "-p", "insecure", "-s", demo.keyserver, "get", ALICE)
    assert done.returncode == 0, done.stderr
    assert Cert.from_bytes(done.stdout.encode()).fingerprint.upper() == ALICE


def test_sq_is_told_that_a_key_is_unknown(need: Need, demo: Guard) -> None:
    """Sq says that there is no such certificate."""
    done = run(need("sq"), "keyserver", "-p", "insecure", "-s", demo.keyserver, "get", UNKNOWN_FINGERPRINT)
    assert done.returncode != 0
    assert "not found" in done.stderr.lower()


def test_sq_sends(need: Need, demo: Guard, tmp_path: Path) -> None:
    """What sq sends can be read again."""
    cert = make_cert("Xenia <xenia@example.org>")
    file = tmp_path / "cert.asc"
    file.write_text(str(cert))
    done = run(need("sq"), "keyserver", "-p", "insecure", "-s", demo.keyserver, "send", file)
    assert done.returncode == 0, done.stderr
    target = f"/pks/lookup?op=get&search=0x{cert.fingerprint}"
    assert Cert.from_bytes(ask(demo.port, Question(target)).body).fingerprint == cert.fingerprint


@pytest.mark.parametrize("framing", ["chunks", "length"])
@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
def test_curl_uploads(curl: Curl, demo: Guard, upload: tuple[Path, str], framing: str, expect: str) -> None:
    """An upload arrives however it is framed; who waits for "100 Continue" gets it before the body is read."""
    form, fingerprint = upload
    fields = ["--header", expect]
    if framing == "chunks":
        fields += ["--header", "Transfer-Encoding: chunked"]
    said = curl("--verbose", *fields, "--data-binary", f"@{form}", f"{demo.url}/pks/add")
    assert f"Stored {fingerprint}" in said
    assert ("HTTP/1.1 100 Continue" in said) == (expect == "Expect: 100-continue")


def test_curl_keeps_its_connection(curl: Curl, demo: Guard) -> None:
    """Two requests of one curl share a connection."""
    url = f"{demo.url}{GET_ALICE}"
    said = curl("--write-out", "connects=%{num_connects}\n", url, url)
    assert "connects=1\n" in said
    assert "connects=0\n" in said


def test_curl_offers_http_2(curl: Curl, demo: Guard) -> None:
    """Who offers to speak HTTP/2 is answered in HTTP/1.1."""
    said = curl("--http2", "--write-out", "version=%{http_version}", f"{demo.url}{GET_ALICE}")
    assert "BEGIN PGP PUBLIC KEY BLOCK" in said
    assert said.endswith("version=1.1")


def test_curl_asks_for_the_head(curl: Curl, demo: Guard) -> None:
    """HEAD says how long the answer would be and sends none of it; the connection can be used again."""
    url = f"{demo.url}{GET_ALICE}"
    said = curl("--head", "--write-out", "connects=%{num_connects}\n", url, url)
    length = len(ask(demo.port, Question(GET_ALICE)).body)
    assert said.count(f"Content-Length: {length}\n") == 2
    assert "connects=0\n" in said
    assert "BEGIN PGP" not in said


@pytest.mark.parametrize(("version", "reused"), [("--http1.0", False), ("--http1.1", True)])
def test_curl_speaks_both_versions(curl: Curl, demo: Guard, version: str, *, reused: bool) -> None:
    """HTTP/1.0 clients get their answer, and the end of the connection with it."""
    url = f"{demo.url}{GET_ALICE}"
    said = curl(version, "--write-out", "connects=%{num_connects}\n", url, url)
    assert said.count("BEGIN PGP PUBLIC KEY BLOCK") == 2
    assert ("connects=0\n" in said) == reused


def test_browser_sees_the_pages(demo: Guard) -> None:
    """A browser gets the home page and a list of certificates as HTML."""
    pages = ("/", "/pks/lookup?op=index&search=alice")
    home, found = (ask(demo.port, Question(page, FIREFOX)) for page in pages)
    assert (home.status, found.status) == (200, 200)
    assert home.fields["content-type"] == found.fields["content-type"] == "text/html; charset=utf-8"
    assert ALICE.encode() in found.body
    assert home.fields["server"] == "hkpguard-demo"  # of the keyserver, and it stays
    assert home.fields["via"] == "1.1 hkpguard"


def test_browser_is_told_about_unknown_pages(demo: Guard) -> None:
    """What no keyserver has is answered by the guard: 404, readable, not to be stored, open to scripts."""
    reply = ask(demo.port, Question("/nowhere.php", FIREFOX))
    assert reply.status == 404
    assert reply.fields["content-type"] == "text/plain; charset=utf-8"
    assert reply.fields["cache-control"] == "no-store"
    assert reply.fields["access-control-allow-origin"] == "*"
    assert reply.fields["x-request-id"].encode() in reply.body
    assert "server" not in reply.fields


def test_upload_that_is_too_large_is_refused(curl: Curl, demo: Guard, tmp_path: Path) -> None:
    """An upload beyond the limit is answered 413, announced or not, although its sender is still sending."""
    large = tmp_path / "large"
    large.write_bytes(b"other=" + b"a" * (3 << 20))
    write = ("--output", "/dev/null", "--write-out", "%{http_code}", "--data-binary", f"@{large}")
    chunked = ("--header", "Transfer-Encoding: chunked", "--header", "Expect:")
    assert curl(*write, f"{demo.url}/pks/add") == "413"
    assert curl(*write, *chunked, f"{demo.url}/pks/add") == "413"
