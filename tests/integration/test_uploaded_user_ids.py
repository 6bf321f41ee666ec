"""User IDs in uploads: a flood whose names a machine drew is remarked on, and what it wrote is nowhere to be read."""

from __future__ import annotations

import json
import random
import re
import string
from typing import TYPE_CHECKING, Any

from tests.certs_for_tests import CERTIFIES_ITSELF, PUBLIC_KEY, armored, form, key, packet, signature, user_id
from tests.integration.http_client import Question, ask
from tests.integration.keyserver import Answer
from tests.integration.programs import until

if TYPE_CHECKING:
    from tests.integration.conftest import StartGuard, StartKeyserver
    from tests.integration.guard import Guard
    from tests.integration.keyserver import Asked


VANDAL, PARTY = "127.66.0.1", "127.66.1.1"
WRITING = "ml-abuse-detector.writing"
PEOPLE = ("anna berger", "bruno costa", "carla novak", "david olsen", "elena petit", "felix rossi")
DOMAINS = ("mushroom.example", "teapot.example")
DETECTOR = "/api/v1/plugins/ml-abuse-detector"
TOLD = (DETECTOR, f"{DETECTOR}/routes/models", "/api/v1/top", "/metrics", "/readyz")
COMMANDS = (("explain", VANDAL), ("explain", PARTY), ("top", "--once"), ("plugins", "list"))
# All that can be logged: events are, with what plugins write.
TALKATIVE = {"LOG__ADDRESSES": "on", "LOG__SUBJECTS": "on", "LOG__LEVEL": "debug", "EVENTS__LOG": "*"}


def drawn(dice: random.Random) -> str:
    """Draw words of a name and an address as a machine does."""
    return " ".join("".join(dice.choices(string.ascii_lowercase, k=10)) for _ in range(2))


def user_ids(name: str) -> list[str]:
    """Return the user IDs of somebody, with a name of two words."""
    return [f"{name.title()} <{name.replace(' ', '.')}@{domain}>" for domain in DOMAINS]


def upload(number: int, name: str) -> Question:
    """Return what gpg sends for somebody's certificate."""
    owner = key(number)
    parts = [packet(PUBLIC_KEY, owner.body)]
    for text in user_ids(name):
        parts += [user_id(text), signature(CERTIFIES_ITSELF, owner)]
    fields = ("Content-Type: application/x-www-form-urlencoded",)
    return Question("/pks/add", fields, "POST", body=form(armored(b"".join(parts), summed=False)))


async def stored(_asked: Asked) -> Answer:
    """Take everything."""
    return Answer()


def explained(started: Guard, client: str) -> dict[str, Any]:
    """Return the verdict on a client, as `hkpguard explain` tells it."""
    status, out, err = started.command("explain", client, "--json")
    assert status == 0, err
    verdict: dict[str, Any] = json.loads(out)["verdict"]
    return verdict


def test_flood_of_drawn_names(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """`hkpguard explain` tells how many of its user IDs look machine-made, which moves nobody; of a key signing party
    it tells nothing; and neither command, API nor log has a word of what either of them wrote.
    """
    mode = {"PLUGINS__ML_ABUSE_DETECTOR__MODE": "enforce"}
    started = start_guard(start_keyserver(stored).url, **mode, **TALKATIVE)
    until(lambda: json.loads(started.admin(DETECTOR)[1]).get("state") == "running", "the detector is running")
    dice = random.Random(1)  # noqa: S311 - the same names each time
    names = [drawn(dice) for _ in PEOPLE]
    for number, (vandals, guests) in enumerate(zip(names, PEOPLE, strict=True)):
        assert ask(started.port, upload(2 * number, vandals), VANDAL).status == 200
        assert ask(started.port, upload(2 * number + 1, guests), PARTY).status == 200
    all_of_them = f"of {len(PEOPLE) * len(DOMAINS)} uploaded user IDs look machine-made"
    until(lambda: all_of_them in str(started.client(VANDAL)), "all of the user IDs were looked at")
    verdict = explained(started, VANDAL)
    [evidence] = verdict["evidence"]
    assert re.fullmatch(rf"\d+ {all_of_them}; search-text [\w.-]+", evidence["reason"])
    assert (evidence["kind"], evidence["weight"], verdict["standing"]) == (WRITING, 0.2, "welcome")
    assert explained(started, PARTY)["evidence"] == []
    answers = [started.admin(path)[1] for path in TOLD]
    answers += [text for command in COMMANDS for text in started.command(*command)[1:]]
    told = "\n".join([*answers, started.program.out(), started.program.err()]).lower()
    assert all(each in told for each in (VANDAL, WRITING, key(0).name.lower()))  # all that may be told, is
    words = [word for name in (*names, *PEOPLE, *DOMAINS) for word in re.split(r"[ .]", name)]
    assert [word for word in words if word != "example" and word in told] == []
