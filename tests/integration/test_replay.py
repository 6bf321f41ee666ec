"""A log that is replayed leads to the decisions that were made when it was written."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.http_client import Question, ask_once
from tests.integration.keyserver import Answer, Asked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.integration.conftest import StartGuard, StartKeyserver


PERSON, SCRAPER, HARVESTER, SCANNER = (f"127.0.0.{number}" for number in (2, 3, 4, 5))
SETTINGS = {
    "LOG__ADDRESSES": "on",
    "LOG__SUBJECTS": "on",
    "LIMITS__CERT__BURST": "20",
    "LIMITS__CERT__COUNT": "50",
    "LIMITS__CERT__PERIOD": "1s",
    "LIMITS__CERT__MAX_DELAY": "200ms",
    "LIMITS__IDENTITY__BURST": "20",
    "LIMITS__IDENTITY__COUNT": "1",
    "LIMITS__IDENTITY__PERIOD": "1h",
    "MISSES__MINIMUM": "10",
}
TOLERATED = 2  # of the scraper's 120: those whose token came in the moment between judging and the end of the reply


def _get(number: int) -> Question:
    return Question(f"/pks/lookup?op=get&options=mr&search=0x{number:040X}")


def _search(number: int) -> Question:
    return Question(f"/pks/lookup?op=index&options=mr&search=p{number}@d{number}.example")


async def _respond(asked: Asked) -> Answer:
    return Answer(404 if "%40" in asked.target else 200)


async def _in_turn(port: int, client: str, questions: list[Question]) -> None:
    for question in questions:
        await ask_once(port, question, client)


async def _at_once(port: int, client: str, questions: list[Question]) -> None:
    await asyncio.gather(*(ask_once(port, question, client) for question in questions))


async def _traffic(port: int) -> None:
    await asyncio.gather(
        _in_turn(port, PERSON, [_get(number) for number in range(40)]),
        _at_once(port, SCRAPER, [_get(number) for number in range(1000, 1120)]),
        _in_turn(port, HARVESTER, [_search(number) for number in range(25)]),
        _in_turn(port, SCANNER, [Question("/nothing"), Question("/pks/lookup?search=%"), _get(1), _get(2)]),
    )


def _live(lines: Iterator[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """Return how often each client was told what."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    fates = {"allow": "answered", "delay": "delayed"}
    for line in lines:
        found[line["address"]][fates.get(line["action"], "refused")] += 1
    return found


def _replayed(outcome: Mapping[str, Any]) -> dict[str, Counter[str]]:
    return {
        each["name"]: Counter(
            delayed=each["delayed"],
            refused=each["refused"] + each["banned"],
            answered=each["requests"] - each["delayed"] - each["refused"] - each["banned"],
        )
        for each in outcome["worst"]
    }


async def test_replay_decides_as_the_guard_did(
    start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path
) -> None:
    """The same verdicts for each client.

    Tolerated: the times of a log are rounded to a microsecond, and those of requests that come at once to a limit
    are judged in the order in which the log has them.
    """
    guarded = start_guard(start_keyserver(_respond).url, **SETTINGS)
    await _traffic(guarded.port)
    await asyncio.to_thread(guarded.await_metric, "records_lost_total", 0)
    lines = await _all_lines(guarded, 40 + 120 + 25 + 4)
    log = tmp_path / "access.log"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    status, out, err = guarded.command("replay", str(log), "--addresses", "--json", "-")
    assert status == 0, err
    [outcome] = json.loads(out)["outcomes"]
    live, replayed = _live(iter(lines)), _replayed(outcome)
    assert replayed.keys() == live.keys()
    for client in (PERSON, HARVESTER, SCANNER):
        assert +replayed[client] == live[client], client
    assert replayed[SCRAPER].total() == live[SCRAPER].total() == 120
    assert live[SCRAPER]["refused"] > 60
    for fate, count in live[SCRAPER].items():
        assert abs(replayed[SCRAPER][fate] - count) <= TOLERATED, (live[SCRAPER], replayed[SCRAPER])


async def _all_lines(guarded: Any, count: int) -> list[dict[str, Any]]:
    for _ in range(100):
        lines: list[dict[str, Any]] = [line for line in guarded.access_log() if line["event"] == "request"]
        if len(lines) >= count:
            return lines
        await asyncio.sleep(0.1)
    pytest.fail(f"only {len(lines)} of {count} requests were logged")
