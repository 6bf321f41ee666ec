"""Refusals on the wire: a form that each client can read, and nothing that it should not."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from proxy.policy.actions import Reason
from tests.proxy.http.harness import KEY_TARGET, Message, get, ok

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start
    from tests.proxy.http.harness import Node, Wire

# A get is refused from the second one on, for (nearly) an hour.
ONE_AN_HOUR = {
    "LIMITS__CERT__BURST": "1",
    "LIMITS__CERT__COUNT": "1",
    "LIMITS__CERT__PERIOD": "1h",
    "LIMITS__CERT__MAX_DELAY": "0",
}
FORBIDDEN_WORDS = ("too many", "insufficient", "no keys found")  # OpenKeychain reads them as something else
PROBLEM = "Accept: application/problem+json"


async def limited(node: Node, *lines: str, minor: int = 1, method: str = "GET") -> Message:
    """Return the refusal of a second get."""
    await first_get(node)
    client = await node.connect(get(KEY_TARGET, *lines, minor=minor, method=method))
    return await client.reply(method)


async def first_get(node: Node) -> Wire:
    """Use up the only token; return the connection."""
    client, link = await node.begin(get())
    await link.send(ok(b"key\n", "Connection: close"))
    await client.reply()
    return client


class Item(NamedTuple):
    """An item of a structured field with its parameters."""

    value: str | int
    parameters: dict[str, str | int]


ITEM = re.compile(
    r'"(?P<name>[ !#-\[\]-~]*)"(?P<parameters>(?:; *[a-z*][a-z0-9_.*-]*=(?:"[ !#-\[\]-~]*"|-?[0-9]{1,15}))*)'
)


def structured_list(text: str) -> list[Item]:
    """Parse a list of strings with string and integer parameters (RFC 9651, the part that the draft uses)."""
    items: list[Item] = []
    while text:
        found = ITEM.match(text)
        assert found, text
        pairs = (pair.strip().split("=") for pair in found["parameters"].split(";") if pair)
        parameters = {key: value.strip('"') if value[0] == '"' else int(value) for key, value in pairs}
        items.append(Item(found["name"], parameters))
        text = text[found.end() :]
        assert not text or text.startswith(", "), text
        text = text.removeprefix(", ")
    return items


async def test_plain_refusal(start: Start) -> None:
    """One line of text, for the few who see it, with what to do and what to tell the operator."""
    node = await start(ONE_AN_HOUR)
    reply = await limited(node)
    seconds = int(reply.fields["Retry-After"])
    request_id = reply.fields["X-Request-ID"]
    assert reply.first == "HTTP/1.1 429 Too Many Requests"
    assert reply.fields["Content-Type"] == "text/plain; charset=utf-8"
    assert reply.fields["Cache-Control"] == "no-store"
    assert reply.fields["Access-Control-Allow-Origin"] == "*"
    exposed = reply.fields["Access-Control-Expose-Headers"].split(", ")
    assert {"Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID"} <= set(exposed)
    assert reply.framing == "length"
    assert 3590 < seconds <= 3600
    assert reply.body.decode() == (
        f"Rate limit reached for this address. Retry after {seconds} s. Request-ID {request_id}\n"
    )
    assert re.fullmatch("[0-9a-f]{16}", request_id)
    assert f"{node.records()[-1].request_id:016x}" == request_id


async def test_rate_limit_fields(start: Start) -> None:
    """The draft's fields parse as structured fields and say what the limit is and what is left."""
    node = await start(ONE_AN_HOUR)
    reply = await limited(node)
    (policy,) = structured_list(reply.fields["RateLimit-Policy"])
    (state,) = structured_list(reply.fields["RateLimit"])
    assert policy == Item("cert", {"q": 1, "w": 3600})
    assert state == Item("cert", {"r": 0, "t": int(reply.fields["Retry-After"])})


async def test_rate_limit_window_is_the_time_in_which_the_bucket_fills(start: Start) -> None:
    """Q is the burst, w the time in which it comes back, in whole seconds, rounded up."""
    settings = {**ONE_AN_HOUR, "LIMITS__CERT__COUNT": "7", "LIMITS__CERT__PERIOD": "10s"}
    reply = await limited(await start(settings))
    (policy,) = structured_list(reply.fields["RateLimit-Policy"])
    assert policy == Item("cert", {"q": 1, "w": 2})
    assert int(reply.fields["Retry-After"]) == 2


async def test_limit_of_all_requests_names_itself(start: Start) -> None:
    """Where the total refused, the fields are those of the total."""
    settings = {"LIMITS__TOTAL__BURST": "1", "LIMITS__TOTAL__COUNT": "1", "LIMITS__TOTAL__PERIOD": "1h"}
    reply = await limited(await start(settings))
    assert [item.value for item in structured_list(reply.fields["RateLimit-Policy"])] == ["total"]


async def test_legacy_fields(start: Start) -> None:
    """The older fields count seconds from now, not from 1970."""
    reply = await limited(await start({**ONE_AN_HOUR, "RATELIMIT_HEADERS": "legacy"}))
    assert reply.fields["X-RateLimit-Limit"] == "1"
    assert reply.fields["X-RateLimit-Remaining"] == "0"
    assert reply.fields["X-RateLimit-Reset"] == reply.fields["Retry-After"]
    assert "RateLimit" not in reply.fields


def limit_fields(reply: Message) -> list[str]:
    """Return the names of the fields that tell of limits."""
    return [name for name, _ in reply.fields.lines if "ratelimit" in name.lower()]


async def test_no_fields(start: Start) -> None:
    """Without them, Retry-After is still there."""
    reply = await limited(await start({**ONE_AN_HOUR, "RATELIMIT_HEADERS": "off"}))
    assert limit_fields(reply) == []
    assert "Retry-After" in reply.fields


async def test_replies_of_the_keyserver_have_no_limit_fields(start: Start) -> None:
    """A client far from its limit is not told of it."""
    node = await start(ONE_AN_HOUR)
    _, reply = await node.ask(get(), ok())
    assert limit_fields(reply) == []


@pytest.mark.parametrize("accept", [PROBLEM, "Accept: application/json, application/problem+json;q=0.9"])
async def test_problem_details(start: Start, accept: str) -> None:
    """Who asks for problem details gets them (RFC 9457), with the type that the draft registers."""
    reply = await limited(await start(ONE_AN_HOUR), accept)
    problem = json.loads(reply.body)
    assert reply.fields["Content-Type"] == "application/problem+json"
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert problem["status"] == 429
    assert problem["violated-policies"] == ["cert"]
    assert problem["instance"] == f"urn:request:{reply.fields['X-Request-ID']}"
    assert problem["title"]
    assert problem["detail"]


async def test_problem_of_a_missing_keyserver(start: Start) -> None:
    """503 has a registered type of its own."""
    node = await start()
    client, link = await node.begin(get(KEY_TARGET, PROBLEM))
    link.close()
    reply = await client.reply()
    assert (
        json.loads(reply.body)["type"] == "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
    )
    assert int(reply.fields["Retry-After"]) > 0


async def test_problem_without_a_type(start: Start) -> None:
    """Other refusals are nothing but their status; RFC 9457 says so by leaving the type out."""
    client = await (await start()).connect(get("/nowhere", PROBLEM))
    problem = json.loads((await client.reply()).body)
    assert "type" not in problem
    assert "violated-policies" not in problem
    assert problem["status"] == 404


@pytest.mark.parametrize(
    "accept", ["Accept: */*", "Accept: text/html,application/xml;q=0.9", "Accept: application/json"]
)
async def test_browsers_and_gpg_get_text(start: Start, accept: str) -> None:
    """Only who names problem details gets them."""
    reply = await limited(await start(ONE_AN_HOUR), accept)
    assert reply.fields["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("lines", [(), (PROBLEM,)])
async def test_refused_head_has_no_body(start: Start, lines: tuple[str, ...]) -> None:
    """HEAD gets the fields that GET would get, its length too, and no body: the next reply begins at once."""
    node = await start(ONE_AN_HOUR)
    client = await first_get(node)
    await client.send(get(KEY_TARGET, *lines, method="HEAD") + get("/nowhere", *lines))
    refused = await client.reply("HEAD")
    assert refused.status == 429
    assert int(refused.fields["Content-Length"]) > 0
    assert (await client.reply()).status == 404


async def test_refusal_to_http_1_0(start: Start) -> None:
    """Gpg gets 429 in plain text and the end of the connection, which is what it expects."""
    node = await start(ONE_AN_HOUR)
    reply = await limited(node, minor=0)
    assert (reply.status, reply.fields["Connection"], reply.framing) == (429, "close", "length")


async def everything_refused(start: Start, *lines: str) -> list[Message]:
    """Return a refusal of each kind."""
    node = await start({**ONE_AN_HOUR, "HTTP__BODY_BYTES": "1KiB", "PARKED": "0"})
    requests = [
        get("/nowhere", *lines),
        get("/pks/add", *lines),
        get("/pks/lookup?op=get&search=%zz", *lines),
        get("/pks/lookup?op=get&search=ab", *lines),
        get("/pks/lookup?op=get", *lines),
        get("/pks/hashquery", *lines, method="POST"),
        get("/pks/add", *lines, "Content-Length: 99999", method="POST"),
        get(KEY_TARGET, *lines, "Expect: a"),
        get("/" + "a" * 9000, *lines),
        get(KEY_TARGET, "A: " + "a" * 17000, *lines),
        b"GET / HTTP/3.0\r\n\r\n",
        b"rubbish\r\n\r\n",
    ]
    replies = [await limited(node, *lines)]
    for request in requests:
        client = await node.connect(request)
        replies.append(await client.reply())
    for minor in (0, 1):
        client, link = await node.begin(get("/pks/stats", *lines, minor=minor))
        link.close()
        replies.append(await client.reply())
    return replies


@pytest.mark.parametrize("lines", [(), (PROBLEM,)])
async def test_every_refusal(start: Start, lines: tuple[str, ...]) -> None:
    """Each has its request id, is stored by nobody, is readable by scripts of any origin, and never is 502."""
    replies = await everything_refused(start, *lines)
    statuses = {reply.status for reply in replies}
    assert statuses == {400, 403, 404, 405, 413, 414, 417, 429, 431, 500, 501, 503, 505}
    for reply in replies:
        assert reply.fields["Cache-Control"] == "no-store"
        assert reply.fields["Access-Control-Allow-Origin"] == "*"
        assert reply.fields["X-Request-ID"] in reply.body.decode()
    assert len({reply.fields["X-Request-ID"] for reply in replies}) == len(replies)


@pytest.mark.parametrize("lines", [(), (PROBLEM,)])
async def test_words_that_clients_misread(start: Start, lines: tuple[str, ...]) -> None:
    """OpenKeychain takes some words in a body for an error in the user's search or for an empty answer."""
    for reply in await everything_refused(start, *lines):
        body = reply.body.decode().lower()
        assert not [word for word in FORBIDDEN_WORDS if word in body], body


@pytest.mark.parametrize("lines", [(), (PROBLEM,)])
async def test_no_internal_reason_leaks(start: Start, lines: tuple[str, ...]) -> None:
    """What the guard thinks of a client is for its operator: no reason, score, file or path of ours is told."""
    inside = {reason.name.lower().replace("_", "[ _-]") for reason in Reason} - {
        "none",
        "unknown",
        "method",
        "malformed",
        "limit",
    }
    pattern = re.compile(
        "|".join([*inside, "score", "verdict", "shadow", "bucket", "python", "hkpguard", "127.0.0.1", "Traceback"])
    )
    for reply in await everything_refused(start, *lines):
        # "too large" and "timeout" are words of the status phrases, which HTTP itself defines
        about = reply.body.decode() + reply.head.decode().split("\r\n", 1)[1]
        about = about.replace("Content Too Large", "").replace("Request Header Fields Too Large", "")
        assert not pattern.search(about), about


async def test_request_ids_are_not_guessed(start: Start) -> None:
    """Two workers do not count from the same number."""
    first, second = await start(), await start()
    ids = []
    for node in (first, second):
        client = await node.connect(get("/nowhere"))
        ids.append((await client.reply()).fields["X-Request-ID"])
    assert abs(int(ids[0], 16) - int(ids[1], 16)) > 1000
