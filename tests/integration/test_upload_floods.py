"""Floods and vandals' certificates before onak: what got past the guard is what the keyserver has counted itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from itertools import count, cycle
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.certs_for_tests import armored, certificate, fat, flooded, form, malformed
from tests.integration.gnupg import Gpg, gnupg, make_cert
from tests.integration.http_client import Question, ask, ask_once
from tests.integration.keyserver import Keyserver, Onak
from tests.integration.programs import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from tests.integration.conftest import Need, StartGuard, StartKeyserver
    from tests.integration.guard import Guard


VANDAL = "127.66.0.1"
AT_A_TIME = 32
LEAST = 200  # uploads of a flood
# What waits for its tokens would only take the test's time.
WAITING = ("LIMITS__UPLOAD", "BUDGETS__NETWORK_UPLOADS", "BUDGETS__NEW_CERTS", "BUDGETS__EXIT_UPLOADS")
HURRIED = {f"{name}__MAX_DELAY": "0s" for name in WAITING}
TWO_MEGABYTES = 15_000  # signatures of 119 bytes, in base64


class Site(NamedTuple):
    """A guard before onak, the log of onak's web server, and somebody honest."""

    guard: Guard
    keyserver: Keyserver
    gpg: Gpg

    @property
    def uploads(self) -> int:
        """How many have reached onak."""
        return sum(each.asked.method == "POST" for each in self.keyserver.log)


@pytest.fixture
def start_site(
    need: Need, start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path, stack: ExitStack
) -> Callable[..., Site]:
    """Return a starter of guarded onaks: `start_site(**settings)`."""
    need("gpg", "dirmngr")

    def start(**settings: str) -> Site:
        server = start_keyserver(Onak(tmp_path, need("onak")).respond)
        guarded = start_guard(server.url, **settings)
        return Site(guarded, server, stack.enter_context(gnupg(guarded.keyserver)))

    return start


def upload(data: bytes) -> Question:
    """Return what gpg sends for a certificate (binary)."""
    fields = ("Content-Type: application/x-www-form-urlencoded",)
    return Question("/pks/add", method="POST", fields=fields, body=form(armored(data, summed=False)))


class Flood:
    """Uploads of new certificates that onak would keep, from one address after the other, without a pause."""

    def __init__(self, site: Site, addresses: Sequence[str]) -> None:
        """Nothing is sent yet."""
        self._port = site.guard.port
        self._uploads = zip(count(), cycle(addresses))
        self._over = False
        self.statuses = Counter[int]()
        self.seconds = 0.0

    async def _go_on(self) -> None:
        while not self._over or self.statuses.total() < LEAST:
            number, address = next(self._uploads)
            vandal = make_cert(f"Vandal {number} <{number}@example.org>")
            reply = await ask_once(self._port, upload(bytes(vandal)), address)
            self.statuses[reply.status] += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Go on as long as the block does, and until there were enough."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(self._go_on())
            yield
            self._over = True
        self.seconds = time.monotonic() - begun


def addresses(pattern: str, numbers: range) -> list[str]:
    """Return addresses of loopback; `{}` stands for a number."""
    return [pattern.format(number) for number in numbers]


def stored(gpg: Gpg, fingerprint: str) -> str:
    """Return a certificate as gpg has it."""
    return gpg.done("--armor", "--export", fingerprint)


@pytest.mark.parametrize(
    ("settings", "flooders", "burst", "per_second"),
    [
        ({}, [VANDAL], 10, 1 / 10),
        ({}, addresses("127.66.0.{}", range(1, 255)), 60, 1 / 60),
        ({"BUDGETS__NEW_CERTS__BURST": "100"}, addresses("127.66.0.{}", range(1, 255)), 25, 1 / 24),  # a quarter
        ({"SHARED_EXITS": "127.66.0.0/16"}, addresses("127.66.{}.7", range(1, 101)), 4, 1 / 10),  # one is for updates
    ],
    ids=["one client", "a network", "new ones of a network", "all exits"],
)
async def test_flood_is_held_to_its_budget(
    start_site: Callable[..., Site],
    settings: dict[str, str],
    flooders: list[str],
    burst: int,
    per_second: float,
) -> None:
    """Onak gets what the budget has; meanwhile somebody else's gpg sends a key, and it comes back whole."""
    site = start_site(**HURRIED, **settings)
    fingerprint = site.gpg.make("Zoe <zoe@example.org>")
    before = stored(site.gpg, fingerprint)
    flood = Flood(site, flooders)
    async with flood.running():
        await asyncio.to_thread(until, lambda: flood.statuses[429] > 0, "the flood is refused")
        await asyncio.to_thread(site.gpg.done, "--send-keys", fingerprint)
    assert set(flood.statuses) == {200, 429}
    assert site.uploads == flood.statuses[200] + 1
    assert burst <= flood.statuses[200] <= burst + 1 + flood.seconds * per_second
    site.gpg.done("--yes", "--delete-secret-and-public-key", fingerprint)
    site.gpg.done("--recv-keys", fingerprint)
    assert stored(site.gpg, fingerprint) == before


async def test_owner_updates_a_key_in_a_flood_of_new_ones(start_site: Callable[..., Site]) -> None:
    """A flood from many networks takes what there is for new certificates, but who uploads a known one is served."""
    site = start_site(**HURRIED, BUDGETS__NEW_CERTS__BURST="40")
    fingerprint = site.gpg.make("Zoe <zoe@example.org>")
    site.gpg.done("--send-keys", fingerprint)
    site.gpg.done("--quick-add-uid", fingerprint, "Zoe <zoe@example.com>")
    before = stored(site.gpg, fingerprint)
    flood = Flood(site, addresses("127.66.{}.7", range(1, 201)))
    async with flood.running():
        await asyncio.to_thread(until, lambda: flood.statuses[429] > 0, "the flood is refused")
        await asyncio.to_thread(site.gpg.done, "--send-keys", fingerprint)
    assert set(flood.statuses) == {200, 429}
    assert site.uploads == flood.statuses[200] + 2
    assert 39 <= flood.statuses[200] <= 40 + flood.seconds / 6
    site.gpg.done("--yes", "--delete-secret-and-public-key", fingerprint)
    site.gpg.done("--recv-keys", fingerprint)
    assert stored(site.gpg, fingerprint) == before


def test_certificates_of_vandals(start_site: Callable[..., Site]) -> None:
    """Flooded, fat, malformed and secret ones are refused, each with its status, and an honest one passes."""
    site = start_site()
    site.gpg.make("Zoe <zoe@example.org>")
    secret = site.gpg.done("--armor", "--export-secret-keys", "zoe@example.org").encode()
    bad = {name: each for name, each in malformed().items() if "future" not in name}  # as seen in the past
    vandals = {name: (upload(each.data), each.status) for name, each in bad.items()} | {
        "1001 signatures of others": (upload(flooded(1001)), 413),
        "51 user IDs": (upload(fat(51)), 413),
        "two megabytes": (upload(flooded(TWO_MEGABYTES)), 413),
        "a secret key of gpg's": (upload(b"")._replace(body=form(secret)), 422),
    }
    statuses = {
        name: ask(site.guard.port, question, address).status
        for (name, (question, _)), address in zip(vandals.items(), cycle(addresses("127.66.{}.7", range(10))))
    }
    assert statuses == {name: status for name, (_, status) in vandals.items()}
    assert site.uploads == 0
    assert ask(site.guard.port, upload(certificate()), VANDAL).status == 200
    assert site.uploads == 1


def test_gpg_says_that_a_key_is_too_large(start_site: Callable[..., Site]) -> None:
    """Its user is told why: 413 is the one refusal that gpg has a sentence for."""
    site = start_site(UPLOADS__USER_IDS="2")
    fingerprint = site.gpg.make("Zoe <zoe@example.org>")
    for number in range(2):
        site.gpg.done("--quick-add-uid", fingerprint, f"Zoe <{number}@example.org>")
    assert "Provided object is too large" in site.gpg("--send-keys", fingerprint).err
    assert site.uploads == 0
