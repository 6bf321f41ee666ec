"""The refresh of a keyring: what a guard must let through without anybody noticing (HKP.md, finding 2)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.integration.refresh import KEYS, PATIENCE_SECONDS, Refresh

if TYPE_CHECKING:
    from tests.integration.keyserver import Asked


def _fingerprint(asked: Asked) -> str:
    return parse_qs(urlsplit(asked.target).query)["search"][0].removeprefix("0x").upper()


def test_refresh_loses_no_key(refresh: Refresh) -> None:
    """Each of 300 keys is asked for once and answered, and gpg reads all."""
    said = refresh.outcome.result(PATIENCE_SECONDS)
    assert said.status == 0, said.err
    assert f"Total number processed: {KEYS}" in said.err
    assert f"unchanged: {KEYS}" in said.err
    log = list(refresh.keyserver.log)
    assert Counter(_fingerprint(each.asked) for each in log) == dict.fromkeys(refresh.fingerprints, 1)
    assert all(b"BEGIN PGP PUBLIC KEY BLOCK" in each.answer.body for each in log)


def test_refresh_is_delayed_and_never_refused(refresh: Refresh) -> None:
    """The guard's own figures say the same: requests waited, none was limited or denied."""
    refresh.outcome.result(PATIENCE_SECONDS)
    refresh.guard.await_metric('responses_total{code="200"}', KEYS)
    metrics = refresh.guard.metrics()
    actions = {name: count for name, count in metrics.items() if name.startswith("hkpguard_requests_total")}
    delayed = actions.pop('hkpguard_requests_total{action="delay",operation="cert"}')
    allowed = actions.pop('hkpguard_requests_total{action="allow",operation="cert"}')
    assert delayed + allowed == KEYS
    assert delayed > 0
    assert actions == {}
