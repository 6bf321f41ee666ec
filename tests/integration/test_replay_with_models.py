"""A log that is replayed with the models on leads to the accusations that were made when it was written.

What may differ is when: the analyst looks twice a second, a replay by the thousand requests (proxy.replay.suspicion).

- In shadow mode nobody is moved, so nothing depends on when. What the scraper's last look found is the same, word by
  word, but for what is estimated: how many different things it asked for, which goes by words keyed with a secret of
  the node (proxy.policy.subjects), and so the log-odds in their last digit, and which features weigh most behind them.
- In enforce mode a verdict changes what follows: who waits for the guard is seen to ask for several things at once. So
  what is compared is who was moved, who was not, why, to which standing, and by which evidence; not how many of its
  requests were over when that was found, and the figures that go with it.

Limits are so wide that they touch nobody: whoever is moved, is by the models.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.http_client import Question, ask_once
from tests.integration.keyserver import Answer, Asked
from tests.integration.programs import until
from tests.models.traffic_for_tests import fingerprints

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.integration.conftest import StartGuard, StartKeyserver
    from tests.integration.guard import Guard

pytest.importorskip("onnxruntime")

SETTINGS = {
    "WORKERS": "1",  # so that the analyst gets the records in the order of the log
    "LOG__ADDRESSES": "on",
    "LOG__SUBJECTS": "on",
    "TRUSTED_PROXIES": "127.0.0.1/32",
    "LIMITS__TOTAL__MODE": "off",
    "LIMITS__CERT__MODE": "off",
}
SCRAPER = "203.0.113.7"
LAST_LOOK = 120  # after so many requests there is a look (models.windows), and none before 240
ENOUGH = 100  # of them are enough to be accused
KEYS = 90  # of a person; the requests of 24 are more than a replay looks at together
SCRAPER_PAUSE_S = 0.01
SETTLE_S = 10.0
FEATURE = re.compile(r"(\w+) (\S+) \(usually \S+\)")


async def _respond(asked: Asked) -> Answer:
    """Know two certificates of three."""
    return Answer(404 if int(asked.target[-1], 16) % 3 == 0 else 200)


def _get(digits: str, client: str, version: str = "1.1") -> Question:
    return Question(
        f"/pks/lookup?op=get&options=mr&search=0x{digits}", (f"X-Forwarded-For: {client}",), version=version
    )


async def _scrape(port: int, dump: Sequence[str]) -> None:
    """Ask for what stands in a dump, in its order, and never wait for answers."""
    asked = []
    for digits in dump:
        asked.append(asyncio.create_task(ask_once(port, _get(digits, SCRAPER))))
        await asyncio.sleep(SCRAPER_PAUSE_S)
    await asyncio.gather(*asked)


async def _refresh(port: int, number: int) -> None:
    """Ask as gpg does: for keys in no order, one after the other, in HTTP/1.0."""
    for digits in fingerprints(KEYS, seed=number):
        await ask_once(port, _get(digits, f"198.51.{number}.7", "1.0"))


async def _repeat(port: int, client: str) -> None:
    """Ask as builds do: for the same key again and again."""
    for _ in range(20):
        await ask_once(port, _get("0" * 40, client))
        await asyncio.sleep(0.05)


async def _traffic(guarded: Guard, people: int) -> None:
    """Have the scraper accused while others come, and go on then."""
    port, dump = guarded.port, sorted(fingerprints(LAST_LOOK))
    honest = [_repeat(port, "192.0.2.1"), _repeat(port, "192.0.2.2"), *(_refresh(port, each) for each in range(people))]
    await asyncio.gather(_scrape(port, dump[:ENOUGH]), *honest)
    accused = lambda: _verdict(guarded, SCRAPER)["without_shadow_mode"] != "welcome"  # noqa: E731 - a condition
    await asyncio.to_thread(until, accused, "the scraper is accused", SETTLE_S)
    await _scrape(port, dump[ENOUGH:])


def _verdict(guarded: Guard, client: str) -> dict[str, Any]:
    found: dict[str, Any] = guarded.client(client)["verdict"]
    return found


def _last_reason(guarded: Guard) -> str:
    """Return what was found at the last look, once there was one."""
    [evidence] = _verdict(guarded, SCRAPER)["evidence"]
    return str(evidence["reason"]) if f"last {LAST_LOOK} requests" in evidence["reason"] else ""


def _requests(guarded: Guard, count: int) -> list[dict[str, Any]]:
    lines = [line for line in guarded.access_log() if line["event"] == "request"]
    return lines if len(lines) == count else []


def _replayed(guarded: Guard, log: Path) -> dict[str, Any]:
    status, out, err = guarded.command("replay", str(log), "--addresses", "--json", "-")
    assert status == 0, err
    [outcome] = json.loads(out)["outcomes"]
    found: dict[str, Any] = outcome
    return found


@pytest.mark.parametrize(("mode", "people"), [("shadow", 3), ("enforce", 24)])
def test_replay_accuses_as_the_guard_did(
    start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path, mode: str, people: int
) -> None:
    """The same client and no other, for the same reason; and the same is done to it."""
    guarded = start_guard(start_keyserver(_respond).url, **SETTINGS, PLUGINS__ML_ABUSE_DETECTOR__MODE=mode)
    asyncio.run(_traffic(guarded, people))
    reason = until(lambda: _last_reason(guarded), "the last look", SETTLE_S)
    count = LAST_LOOK + 2 * 20 + people * KEYS
    lines = until(lambda: _requests(guarded, count), f"{count} requests are in the log", SETTLE_S)
    log = tmp_path / "access.log"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    replayed = _replayed(guarded, log)

    clients = {str(line["address"]) for line in lines}
    standings = {client: str(_verdict(guarded, client)["without_shadow_mode"]) for client in clients}
    accused = {client: standing for client, standing in standings.items() if standing != "welcome"}
    assert accused.keys() == {SCRAPER}
    assert {each["name"]: each["standing"] for each in replayed["suspects"]} == accused
    [[told]] = [each["reasons"] for each in replayed["suspects"]]
    assert _by_whom(told) == _by_whom(reason)

    moved = [(line["address"], line["action"], line["reason"]) for line in lines if line["reason"] != "none"]
    done = {(each["action"], each["reason"]) for each in replayed["verdicts"] if each["reason"] != "none"}
    assert done == {(action, why) for _, action, why in moved}
    if mode == "shadow":
        assert not moved
        assert _in_detail(told, reason)
    else:
        assert {client for client, _, _ in moved} == {each["name"] for each in replayed["worst"]} == {SCRAPER}
        assert min(len(moved), replayed["worst"][0]["delayed"]) >= LAST_LOOK - ENOUGH


def _by_whom(reason: str) -> tuple[str, str]:
    """Return what is said of a client, without figures, and by which model."""
    said, *_, model = reason.split("; ")
    return said.partition(" in its last ")[0], model


def _in_detail(told: str, reason: str) -> bool:
    """Tell whether two reasons come of the same look: the figures of the features that both name are the same."""
    replayed, live = dict(FEATURE.findall(told)), dict(FEATURE.findall(reason))
    both = replayed.keys() & live.keys() - {"distinct_share"}
    same_look = told.partition(";")[0] == reason.partition(";")[0]
    return same_look and bool(both) and all(replayed[name] == live[name] for name in both)
