"""Gpg and dirmngr through the guard, in front of the demo keyserver and of onak."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from proxy.demo import demo_fingerprints
from tests.integration.gnupg import UNKNOWN_FINGERPRINT, Gpg, gnupg, make_cert
from tests.integration.guard import Guard, guard
from tests.integration.http_client import Question, ask
from tests.integration.keyserver import Answer, Asked, Onak, keyserver
from tests.integration.programs import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Need, StartGuard, StartKeyserver


MINNA = "Minna Muster <minna@example.net>"


class Site(NamedTuple):
    """A guarded keyserver, a certificate that it has, and what it says of one that it does not have."""

    guard: Guard
    fingerprint: str
    user_id: str
    unknown: str  # what gpg makes of that


@pytest.fixture(scope="module", params=["demo", "onak"])
def site(request: pytest.FixtureRequest, need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run a guard in front of a keyserver that is not ours to script."""
    need("gpg", "dirmngr")
    yield from {"demo": _demo, "onak": _onak}[request.param](need, tmp_path_factory)


def _demo(_need: Need, folders: pytest.TempPathFactory) -> Iterator[Site]:
    with guard(folders.mktemp("guard")) as started:
        yield Site(started, demo_fingerprints()[0], "Alice", "keyserver receive failed: No data")


def _onak(need: Need, folders: pytest.TempPathFactory) -> Iterator[Site]:
    cert = make_cert(MINNA)
    onak = Onak(folders.mktemp("onak"), need("onak"))
    onak.add(bytes(cert))
    with keyserver(onak.respond) as server, guard(folders.mktemp("guard"), server.url) as started:
        # onak says so with 200 and a text, so to gpg it is a key that cannot be read
        yield Site(started, cert.fingerprint.upper(), MINNA, "no valid OpenPGP data found")


@pytest.fixture
def gpg(site: Site) -> Iterator[Gpg]:
    """Give an empty GnuPG home whose keyserver is the guard."""
    with gnupg(site.guard.keyserver) as gpg:
        yield gpg


def test_gpg_receives(site: Site, gpg: Gpg) -> None:
    """A certificate asked for by its fingerprint arrives whole."""
    assert "imported: 1" in gpg.done("--recv-keys", site.fingerprint)
    assert f"fpr:::::::::{site.fingerprint}:" in gpg.done("--list-keys", site.fingerprint)


def test_gpg_sends_and_fetches_back(gpg: Gpg) -> None:
    """What gpg sends can be received again."""
    fingerprint = gpg.make("Zoe <zoe@example.org>")
    gpg.done("--send-keys", fingerprint)
    gpg.done("--yes", "--delete-secret-and-public-key", fingerprint)
    assert "imported: 1" in gpg.done("--recv-keys", fingerprint)


def test_gpg_searches(site: Site, gpg: Gpg) -> None:
    """A search by words lists the certificate."""
    said = gpg.done("--search-keys", site.user_id)
    assert f"pub:{site.fingerprint}:" in said


def test_gpg_is_told_that_a_key_is_unknown(site: Site, gpg: Gpg) -> None:
    """An unknown key ends soon with a clear message, and gpg goes on to use the keyserver."""
    said = gpg("--recv-keys", UNKNOWN_FINGERPRINT, seconds=10)
    assert said.status == 2
    assert site.unknown in said.err
    assert gpg("--recv-keys", site.fingerprint).status == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_gpg_reads_an_answer_of_any_framing(
    need: Need,
    start_guard: StartGuard,
    start_keyserver: StartKeyserver,
    *,
    chunked: bool,
) -> None:
    """An answer in chunks, which gpg cannot read, reaches it as one that the end of the connection ends."""
    need("gpg", "dirmngr")
    cert = make_cert(MINNA)

    async def respond(_asked: Asked) -> Answer:
        return Answer(200, str(cert).encode(), "application/pgp-keys", chunked)

    started = start_guard(start_keyserver(respond).url)
    with gnupg(started.keyserver) as gpg:
        assert "imported: 1" in gpg.done("--recv-keys", cert.fingerprint)
    target = f"/pks/lookup?op=get&options=mr&search=0x{cert.fingerprint}"
    old, new = (ask(started.port, Question(target, version=version)) for version in ("1.0", "1.1"))
    assert "transfer-encoding" not in old.fields
    assert old.body == new.body == str(cert).encode()


def test_gpg_is_not_put_off_by_an_outage(need: Need, start_guard: StartGuard) -> None:
    """While the keyserver is away gpg asks once and gives up; the same dirmngr is served as soon as it is back."""
    need("gpg", "dirmngr")
    cert = make_cert(MINNA)
    port = free_port()

    async def respond(_asked: Asked) -> Answer:
        return Answer(200, str(cert).encode(), "application/pgp-keys")

    with keyserver(respond, port) as server:
        guarded = start_guard(server.url)
    with gnupg(guarded.keyserver) as gpg:
        assert "keyserver receive failed: No data" in gpg("--recv-keys", cert.fingerprint).err
        guarded.await_metric('responses_total{code="500"}', 1)
        with keyserver(respond, port):
            assert "imported: 1" in gpg.done("--recv-keys", cert.fingerprint)


def test_gpg_is_refused_once(need: Need, start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Gpg does not repeat a request that was limited; keys within the limit arrive all the same."""
    need("gpg", "dirmngr")
    cert = make_cert(MINNA)

    async def respond(_asked: Asked) -> Answer:
        return Answer(200, str(cert).encode(), "application/pgp-keys")

    server = start_keyserver(respond)
    limits = {"LIMITS__CERT__BURST": "1", "LIMITS__CERT__PERIOD": "1h", "LIMITS__CERT__MAX_DELAY": "0s"}
    guarded = start_guard(server.url, **limits)
    with gnupg(guarded.keyserver) as gpg:
        assert "imported: 1" in gpg.done("--recv-keys", cert.fingerprint, UNKNOWN_FINGERPRINT)
        assert "keyserver receive failed: No data" in gpg("--recv-keys", cert.fingerprint).err
    guarded.await_metric('responses_total{code="429"}', 2)
    assert len(server.log) == 1
