"""A refresh of many keys by gpg, which takes most of a minute: it runs in a thread while other tests run."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tests.integration.gnupg import Gpg, Said, gnupg, make_cert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.guard import Guard
    from tests.integration.keyserver import Keyserver, Onak

KEYS = 300
PATIENCE_SECONDS = 600.0  # other tests run meanwhile, in the process that is the keyserver; alone it takes 48


class Refresh(NamedTuple):
    """What takes part in it."""

    keyserver: Keyserver
    guard: Guard
    fingerprints: frozenset[str]
    outcome: Future[Said]


@contextmanager
def refreshing(onak: Onak, server: Keyserver, guard: Guard) -> Iterator[Refresh]:
    """Give the same keys to onak and to a gpg, and let gpg refresh them through the guard."""
    certs = [make_cert(f"Person {number} <{number}@example.org>") for number in range(KEYS)]
    binary = b"".join(map(bytes, certs))
    onak.add(binary)
    with gnupg(guard.keyserver) as gpg, ThreadPoolExecutor(1) as pool:
        gpg.import_(binary)
        fingerprints = frozenset(cert.fingerprint.upper() for cert in certs)
        yield Refresh(server, guard, fingerprints, pool.submit(_refresh, gpg))


def _refresh(gpg: Gpg) -> Said:
    return gpg("--refresh-keys", seconds=PATIENCE_SECONDS)
