"""Tests of the demo keyserver: over HTTP as clients see it, and with gpg itself."""

import io
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pysequoia import Cert, Profile, Tsk

from proxy import demo
from proxy.demo_certs import BadUploadError, FullError, Keyring, demo_certs, demo_fingerprints

ALICE = "8275F7C6C2EC77A99DCD64FB03ABB900BF91A610"
ALICES_SUBKEY = "E5975C6DC03783577A6BC650D72A832CE3F6AE04"
RELEASES = "B28FFE16394E8DFF864C8295D6EAE2927D78C21C"
REVOKED = "794BB8FB1C7A0FEAB9E1A4BBC0861138F6E13C6C"
EXPIRED = "C66AC4ADD66279139AF105DF7E93F93CBC4D6C6C"
NOWHERE = "0" * 40

Client = TestClient[web.Request, web.Application]


def new_cert(name: str = "Zoe <zoe@example.org>", profile: Profile = Profile.RFC4880) -> Cert:
    """Make a certificate that the server does not have."""
    return Tsk.generate(user_ids=[name], profile=profile).extract_certificate()


def keyring(most_certs: int = 100, most_cert_bytes: int = 65_536) -> Keyring:
    """Make a keyring with the made-up certificates."""
    return Keyring(demo_certs(), most_certs=most_certs, most_cert_bytes=most_cert_bytes)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Talk to a keyserver of one's own."""
    async with TestClient(TestServer(demo.build_app())) as client:
        yield client


async def get(client: Client, **query: str) -> tuple[int, str]:
    """Ask /pks/lookup; return status and text."""
    async with client.get("/pks/lookup", params=query) as response:
        return response.status, await response.text()


async def fingerprints(client: Client, search: str) -> list[str]:
    """Get certificates by a search; return their fingerprints."""
    status, text = await get(client, op="get", options="mr", search=search)
    assert status in {200, 404}
    return [cert.fingerprint.upper() for cert in Cert.split_bytes(text.encode())] if status == 200 else []


def test_made_up_certificates_are_always_the_same() -> None:
    """There are twenty, and hints may name them by fingerprint."""
    assert len(demo_fingerprints()) == len(set(demo_fingerprints())) == 20
    assert {ALICE, RELEASES, REVOKED, EXPIRED} <= set(demo_fingerprints())


def test_made_up_addresses_belong_to_nobody() -> None:
    """Every user id has an address in a domain that is reserved for examples."""
    mails = [user_id.mail for entry in keyring() for user_id in entry.user_ids]
    assert {mail.rpartition("@")[2] for mail in mails} == {"example.org", "example.com", "example.net"}


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        (f"0x{ALICE}", [ALICE]),
        (f"0x{ALICE.lower()}", [ALICE]),
        (f"0x{ALICE[-16:]}", [ALICE]),
        (f"0x{ALICE[-8:]}", [ALICE]),
        (f"0x{ALICES_SUBKEY}", [ALICE]),
        (f"0x{ALICES_SUBKEY[-16:]}", [ALICE]),
        ("alice@example.org", [ALICE]),
        (" <ALICE@example.org> ", [ALICE]),
        ("Alice <alice@example.com>", [ALICE]),
        ("work alice", [ALICE]),
        ("müller", ["673D07B5CB3F43BC78C22A7D427E83D69450B3B5"]),
        (f"0x{NOWHERE}", []),
        ("lice@example.org", []),
        ("alic", []),
        ("alice bob", []),
        ("", []),
        ("0x12", []),
    ],
)
async def test_search(client: Client, search: str, expected: list[str]) -> None:
    """Certificates are found by fingerprint, key id, address and whole words, and not by parts of these."""
    assert await fingerprints(client, search) == expected


async def test_several_matches_come_as_one_block(client: Client) -> None:
    """All certificates with the word come in one armored block that ends with a newline."""
    status, text = await get(client, op="get", search="placeholder")
    assert (status, text.count("BEGIN PGP"), text[-1]) == (200, 1, "\n")
    assert len(Cert.split_bytes(text.encode())) == 3


@pytest.mark.parametrize("operation", ["index", "vindex"])
async def test_machine_readable_index(client: Client, operation: str) -> None:
    """An index for programs has info, pub and uid lines, with user ids escaped."""
    status, text = await get(client, op=operation, options="mr", search=f"0x{RELEASES}")
    assert (status, text.splitlines()) == (
        200,
        [
            "info:1:1",
            f"pub:{RELEASES}:1:3072:1704164645::",
            "uid:Example Project%3A releases%2C 100%25 signed <releases@example.org>:1704164645::",
        ],
    )


@pytest.mark.parametrize(
    ("fingerprint", "end"),
    [(ALICE, "1704164645::"), (REVOKED, "1704164645::r"), (EXPIRED, "1704164645:1735689600:")],
)
async def test_index_tells_expiry_and_revocation(client: Client, fingerprint: str, end: str) -> None:
    """The pub line ends with the times of creation and expiry and the flags."""
    _, text = await get(client, op="index", options="mr", search=f"0x{fingerprint}")
    assert text.splitlines()[1] == f"pub:{fingerprint}:22:256:{end}"


async def test_index_for_people_is_escaped_html(client: Client) -> None:
    """Without options=mr the index is a page, in which user ids are text."""
    status, text = await get(client, op="index", search="alice")
    assert (status, "&lt;alice@example.org&gt;" in text, "<alice@" in text) == (200, True, False)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"op": "get", "search": f"0x{NOWHERE}"}, 404),
        ({"op": "index", "options": "mr", "search": "nobody@example.org"}, 404),
        ({"op": "get"}, 400),
        ({"op": "x-unknown", "search": "a"}, 501),
        ({"op": "hget", "search": "a"}, 501),
        ({}, 501),
    ],
)
async def test_refusal(client: Client, query: dict[str, str], status: int) -> None:
    """What is not there is 404, what is not known 501, what is incomplete 400."""
    assert (await get(client, **query))[0] == status


async def test_statistics(client: Client) -> None:
    """Statistics are JSON for programs and a page for people."""
    async with client.get("/pks/lookup", params={"op": "stats", "options": "mr"}) as response:
        assert await response.json() == {"software": "hkpguard-demo", "total": 20}
    async with client.get("/pks/stats") as response:
        assert response.content_type == "text/html"


@pytest.mark.parametrize("path", ["/", "/pks/health", "/pks/lookup?op=get&search=nobody", "/nowhere"])
async def test_every_answer_names_the_server(client: Client, path: str) -> None:
    """Good answers and errors carry our Server header and may be read by scripts of other sites."""
    async with client.get(path) as response:
        assert response.headers["Server"] == "hkpguard-demo"
        assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_home_lists_the_certificates(client: Client) -> None:
    """The home page links every certificate."""
    async with client.get("/") as response:
        text = await response.text()
    assert all(f"search=0x{fingerprint}" in text for fingerprint in demo_fingerprints())


@pytest.mark.parametrize("form", ["armored form", "multipart", "binary body", "armored body"])
async def test_upload(client: Client, form: str) -> None:
    """Two certificates in one upload can be fetched afterwards, in whichever way they came."""
    certs = [new_cert(), new_cert("Yves <yves@example.org>")]
    text = "".join(str(cert) for cert in certs)
    binary = b"".join(bytes(cert) for cert in certs)
    multipart = aiohttp.FormData()
    multipart.add_field("keytext", binary, filename="keys.pgp")
    bodies = {
        "armored form": {"keytext": text},
        "multipart": multipart,
        "binary body": binary,
        "armored body": text,
    }
    async with client.post("/pks/add", data=bodies[form]) as response:
        assert (response.status, len((await response.text()).splitlines())) == (200, 2)
    for cert in certs:
        assert await fingerprints(client, f"0x{cert.fingerprint}") == [cert.fingerprint.upper()]


async def test_upload_without_an_end_is_cut_off(client: Client) -> None:
    """A body above the bound is refused before it is read to its end."""
    async with client.post("/pks/add", data=io.BytesIO(bytes(demo.MOST_BODY_BYTES + 1))) as response:
        assert response.status == 413


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"keytext=nonsense", "application/x-www-form-urlencoded"),
        (b"other=1", "application/x-www-form-urlencoded"),
        (b"keytext=\xff", "application/x-www-form-urlencoded"),
        (b"keytext=a", "application/x-www-form-urlencoded; charset=nowhere"),
        (b"--a", "multipart/form-data; boundary=b"),
        (b"nonsense", "application/pgp-keys"),
        (b"", "application/pgp-keys"),
    ],
)
async def test_bad_upload_is_the_clients_fault(client: Client, body: bytes, content_type: str) -> None:
    """What holds no certificate is refused in one line of text, and is no error of the server."""
    async with client.post("/pks/add", data=body, headers={"Content-Type": content_type}) as response:
        assert response.status == 422
        assert (await response.text()).count("\n") == 1


async def test_upload_to_a_full_server() -> None:
    """A full server says so; that is neither the client's fault nor an error."""
    server = TestServer(demo.build_app(keyring(most_certs=20)))
    async with TestClient(server) as client, client.post("/pks/add", data=bytes(new_cert())) as response:
        assert response.status == 507


def test_keyring_refuses_secret_keys() -> None:
    """A secret key is refused loudly, not stored without its secret part."""
    with pytest.raises(BadUploadError, match="secret key"):
        keyring().add(str(Tsk.generate(user_ids=["Zoe <zoe@example.org>"])).encode())


def test_keyring_is_bounded() -> None:
    """Beyond the bound nothing of an upload is stored; what is there can still be updated."""
    ring = keyring(most_certs=21)
    with pytest.raises(FullError):
        ring.add(bytes(new_cert()) + bytes(new_cert()))
    assert len(ring) == 20
    ring.add(bytes(new_cert()))
    assert [entry.fingerprint for entry in ring.add(bytes(demo_certs()[0]))] == [ALICE]


def test_keyring_bounds_each_certificate() -> None:
    """A certificate above the bound is refused."""
    with pytest.raises(BadUploadError, match="800 bytes"):
        keyring(most_cert_bytes=800).add(bytes(new_cert()))


def test_upload_is_merged() -> None:
    """A revocation reaches the certificate that is there, and stays when the old form comes again."""
    secret = Tsk.generate(user_ids=["Zoe <zoe@example.org>"], profile=Profile.RFC4880)
    cert = secret.extract_certificate()
    revoked = Cert.from_bytes(bytes(cert) + bytes(cert.revoke(secret.certifier())))
    ring = keyring()
    for version in (cert, revoked, cert):
        (entry,) = ring.add(bytes(version))
    assert entry.cert.is_revoked


def test_version_6_certificates_are_found_by_the_beginning() -> None:
    """The key id of a version 6 certificate is the first half of its fingerprint's first 32 digits."""
    cert = new_cert(profile=Profile.RFC9580)
    ring = keyring()
    ring.add(bytes(cert))
    assert [entry.ids[0] for entry in ring.find(f"0x{cert.fingerprint[:16]}")] == [cert.fingerprint]
    assert ring.find(f"0x{cert.fingerprint[-16:]}") == []


@pytest.fixture(scope="module")
def keyserver() -> Iterator[str]:
    """Run a keyserver in a process of its own, ask it to stop in the end, and see that it does."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        process = multiprocessing.get_context("spawn").Process(target=demo.run, args=(sock,))
        process.start()
        yield f"hkp://127.0.0.1:{sock.getsockname()[1]}"
        os.kill(process.pid or 0, signal.SIGTERM)
        process.join(timeout=10)
        assert process.exitcode == 0


@pytest.fixture
def gpg(tmp_path_factory: pytest.TempPathFactory, keyserver: str) -> Iterator["Gpg"]:
    """Give an empty GnuPG home, and stop what GnuPG started for it."""
    if shutil.which("gpg") is None or shutil.which("dirmngr") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("gpg and dirmngr are needed under CI=true")
        pytest.skip("needs gpg and dirmngr")
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    yield Gpg(home, keyserver)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


class Gpg:
    """gpg with a home and a keyserver."""

    def __init__(self, home: Path, keyserver: str) -> None:
        """Remember both."""
        self._options = ["--homedir", str(home), "--batch", "--passphrase", "", "--keyserver", keyserver]

    def __call__(self, *arguments: str) -> str:
        """Run it, expect success, and return what it says on both of its outputs."""
        command = ["gpg", *self._options, "--with-colons", *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.mark.integration
def test_gpg_receives_and_refreshes(gpg: Gpg) -> None:
    """Gpg imports all made-up certificates with their user ids, and refreshes them."""
    assert "imported: 20" in gpg("--recv-keys", *demo_fingerprints())
    assert gpg("--list-keys").count("\nuid:") == 23
    assert "unchanged: 20" in gpg("--refresh-keys")


@pytest.mark.integration
def test_gpg_searches(gpg: Gpg) -> None:
    """Gpg shows what it finds by address and by words."""
    assert f"pub:{ALICE}:22:256:" in gpg("--search-keys", "alice@example.org")
    assert "info:1:2" in gpg("--search-keys", "Example Project")


@pytest.mark.integration
def test_gpg_sends(gpg: Gpg) -> None:
    """What gpg sends can be received again."""
    gpg("--quick-generate-key", "Zoe <zoe@example.org>", "future-default")
    listing = gpg("--list-keys").splitlines()
    fingerprint = next(line.split(":")[9] for line in listing if line.startswith("fpr:"))
    gpg("--send-keys", fingerprint)
    gpg("--yes", "--delete-secret-and-public-key", fingerprint)
    assert "imported: 1" in gpg("--recv-keys", fingerprint)
