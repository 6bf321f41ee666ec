"""The webhook: signed, tried again, bounded."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.plugins.bus import Bus
from proxy.plugins.events import BanLifted, UpstreamUp
from proxy.plugins.webhook import LONGEST_WAIT_SECONDS, NO_STATUS, Webhook, signed
from proxy.settings.events import WebhookConfig

if TYPE_CHECKING:
    from proxy.plugins.events import Posted

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
UP = UpstreamUp(upstream="a:1")


class Receiver:
    """Somebody who gets events, and answers as a test says."""

    def __init__(self, *answers: int, **settings: Any) -> None:
        """`answers`: statuses, the last again and again."""
        self.bus = Bus(wall=lambda: 0.0, boot="boot")
        self.listener = self.bus.subscribe("*")
        self.got: list[tuple[bytes, dict[str, str]]] = []
        self.waits: list[float] = []
        self._answers = list(answers)
        config = WebhookConfig.model_validate({"url": "http://127.0.0.1:9/", "secret": SECRET, **settings})
        self.webhook = Webhook(config, self.bus, wall=lambda: 1_674_087_231.9, sleep=self._sleep)

    async def deliver(self, posted: Posted) -> bool:
        """Let an event be sent."""
        return await self.webhook.deliver(posted, self._post)

    async def event(self, event: Any = UP) -> Posted:
        """Return an event on the bus."""
        self.bus.publish(event)
        return await anext(self.listener)

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def _post(self, body: bytes, headers: dict[str, str]) -> int:
        self.got.append((body, headers))
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def test_signature() -> None:
    """It is the one of Standard Webhooks: HMAC-SHA256 of id, timestamp and body, in base64, with the decoded key."""
    headers = signed("boot-1", 1_674_087_231, b"{}", SECRET)
    wanted = hmac.digest(KEY, b"boot-1.1674087231.{}", hashlib.sha256)
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(wanted).decode()}"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("boot-1", "1674087231")


def test_signature_of_the_specification() -> None:
    """A message whose signature others have published (the specification's own example key and libraries) agrees."""
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_event_is_sent() -> None:
    """The body is the event, and the signature is of that body."""
    receiver = Receiver(204)
    assert await receiver.deliver(await receiver.event())
    ((body, headers),) = receiver.got
    assert json.loads(body)["type"] == "upstream.up"
    assert headers == signed("boot-1", 1_674_087_231, body, SECRET)
    assert receiver.webhook.counts == {"sent": 1}


@pytest.mark.parametrize(("addresses", "there"), [(False, False), (True, True)])
async def test_addresses(*, addresses: bool, there: bool) -> None:
    """Addresses go out only if that is set."""
    receiver = Receiver(200, addresses=addresses)
    await receiver.deliver(await receiver.event(BanLifted(network="192.0.2.7", origin="manual", by="operator")))
    assert (b"192.0.2.7" in receiver.got[0][0]) is there


@pytest.mark.parametrize("status", [NO_STATUS, 302, 404, 429, 500])
async def test_failure_is_tried_again(status: int) -> None:
    """What is no success is tried again with the same id, after waits that grow, and told meanwhile."""
    receiver = Receiver(status, status, 200)
    assert await receiver.deliver(await receiver.event())
    assert [headers["webhook-id"] for _, headers in receiver.got] == ["boot-1"] * 3
    assert 0.5 <= receiver.waits[0] <= 1
    assert 2 <= receiver.waits[1] <= 4
    assert receiver.webhook.counts == {"sent": 1, "retried": 2}
    assert receiver.webhook.degraded == ""


async def test_giving_up() -> None:
    """After so many tries an event is given up and counted; the next one has its turn."""
    receiver = Receiver(500, tries=10)
    assert await receiver.deliver(await receiver.event())
    assert len(receiver.got) == 10
    assert max(receiver.waits) <= LONGEST_WAIT_SECONDS
    assert receiver.webhook.counts["given_up"] == 1
    assert receiver.webhook.degraded == "the webhook fails: status 500"


async def test_gone() -> None:
    """A receiver that says 410 wants no more, and is not asked twice."""
    receiver = Receiver(410)
    assert not await receiver.deliver(await receiver.event())
    assert len(receiver.got) == 1


async def test_queue_is_bounded() -> None:
    """While a receiver is slow so many events wait; then the oldest go, and are counted."""
    receiver = Receiver(200, queue=16)
    for _ in range(20):
        receiver.bus.publish(UP)
    assert receiver.webhook.dropped == 4


async def test_over_http() -> None:
    """It posts JSON in order, follows no redirect, and ends with the bus."""
    got: list[tuple[str, str]] = []

    async def receive(request: web.Request) -> web.Response:
        got.append((request.path, request.headers.get("webhook-id", "")))
        return web.Response(status=302, headers={"Location": "/other"}) if len(got) == 1 else web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path}", receive)
    async with TestServer(app) as server:
        bus = Bus(boot="boot")
        config = WebhookConfig.model_validate({"url": str(server.make_url("/hook")), "secret": SECRET})

        async def at_once(_seconds: float) -> None:
            return

        webhook = Webhook(config, bus, sleep=at_once)
        for _ in range(2):
            bus.publish(UP)
        bus.close()
        await asyncio.wait_for(webhook.run(), 10)
    assert got == [("/hook", "boot-1"), ("/hook", "boot-1"), ("/hook", "boot-2")]


async def test_nobody_there() -> None:
    """A receiver that cannot be reached is a failure like others."""
    bus = Bus()
    config = WebhookConfig.model_validate({"url": "http://127.0.0.1:1/", "secret": SECRET, "tries": 1})
    webhook = Webhook(config, bus)
    bus.publish(UP)
    bus.close()
    await asyncio.wait_for(webhook.run(), 10)
    assert webhook.degraded == "the webhook fails: no answer"
