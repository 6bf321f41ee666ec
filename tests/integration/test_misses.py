"""Who guesses addresses pays for it: over two workers, with a keyserver that says what it has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.http_client import Question, ask
from tests.integration.keyserver import Answer

if TYPE_CHECKING:
    from tests.integration.conftest import StartGuard, StartKeyserver
    from tests.integration.keyserver import Asked


HARVESTER, MAIL_PROGRAM, REFRESH = "127.1.0.2", "127.2.0.2", "127.3.0.2"
# No token comes back in the time of a test.
SLOW = {f"LIMITS__{name}__PERIOD": "1h" for name in ("IDENTITY", "CERT")} | {"LIMITS__CERT__BURST": "200"}


async def some_are_there(asked: Asked) -> Answer:
    """Know those whose address begins with `known`, and no certificate."""
    return Answer() if "search=known" in asked.target else Answer(404, b"No results found\n")


def address(name: str) -> Question:
    """Return the search for an address."""
    return Question(f"/pks/lookup?op=get&options=mr&search={name}%40example.org")


def test_harvester_and_honest_people(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Fifty tokens are thirty misses, or fifty searches of which most miss; a refresh pays what it always paid."""
    server = start_keyserver(some_are_there)
    guarded = start_guard(server.url, **SLOW)
    guesses = [ask(guarded.port, address(f"guess{number}"), HARVESTER).status for number in range(40)]
    assert guesses == [404] * 30 + [429] * 10
    names = [f"{'known' if number % 10 < 3 else 'friend'}{number}" for number in range(50)]
    assert {ask(guarded.port, address(name), MAIL_PROGRAM).status for name in names} == {200, 404}
    keys = [Question(f"/pks/lookup?op=get&options=mr&search=0x{number:040X}") for number in range(100)]
    assert {ask(guarded.port, key, REFRESH).status for key in keys} == {404}
    assert guarded.remaining(REFRESH, "cert") == 100
    assert guarded.remaining(HARVESTER, "misses-identity") == 0
    assert len(server.log) == 30 + 50 + 100
