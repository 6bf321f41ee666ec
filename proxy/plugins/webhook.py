"""Sends events to an address of the operator, signed, as Standard Webhooks asks for (https://www.standardwebhooks.com).

One POST for each event, in their order; its headers are

    webhook-id          of the event: the same in each attempt, so that a receiver can tell a repetition
    webhook-timestamp   of the attempt, seconds since 1970: so that nobody can send it again later
    webhook-signature   v1, and the base64 of HMAC-SHA256 over `id.timestamp.body`

2xx is a success, and 410 says that nobody wants any more: it ends all. Whatever else is tried again, with waits that
grow; then the event is given up and counted. Meanwhile others wait in a bounded queue, of which the oldest go first.
Redirects are not followed, for the signature is for the address that was named; no proxy of the environment is used.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from base64 import b64encode
from collections import Counter
from hashlib import sha256
from random import SystemRandom
from typing import TYPE_CHECKING, Final

import aiohttp
import structlog

from proxy.settings.events import key_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.plugins.bus import Bus
    from proxy.plugins.events import Posted
    from proxy.settings.events import WebhookConfig

FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 60.0
GONE: Final = 410
SUCCESS: Final = range(200, 300)
NO_STATUS: Final = 0  # there was no answer


def signed(posted_id: str, timestamp: int, body: bytes, secret: str) -> dict[str, str]:
    """Return the headers of an attempt."""
    content = b".".join((posted_id.encode(), str(timestamp).encode(), body))
    signature = b64encode(hmac.new(key_bytes(secret), content, sha256).digest()).decode()
    return {
        "Content-Type": "application/json",
        "webhook-id": posted_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


class Webhook:
    """The one receiver of a node.

    Attributes:
        counts: Events by outcome: `sent`, `given_up`; and `retried` attempts.

    """

    def __init__(
        self,
        config: WebhookConfig,
        bus: Bus,
        *,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Listen from now on.

        Args:
            config: With a URL and a secret.
            bus: Where events come from.
            wall: The clock of the day, seconds since 1970.
            sleep: Waits for so many seconds.

        """
        self.counts: Counter[str] = Counter()
        self._config = config
        self._subscription = bus.subscribe(*config.kinds, most=config.queue)
        self._wall = wall
        self._sleep = sleep
        self._random = SystemRandom().random
        self._log = structlog.get_logger().bind(process="analyst")
        self._failing = ""

    @property
    def dropped(self) -> int:
        """Events that were lost because too many waited."""
        return self._subscription.dropped

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        return f"the webhook fails: {self._failing}" if self._failing else ""

    async def run(self) -> None:
        """Send what comes until the bus is closed, or the receiver wants no more."""
        timeout = aiohttp.ClientTimeout(total=self._config.timeout_ns / 1e9)
        connector = aiohttp.TCPConnector(limit=1)
        with self._subscription:
            async with aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=False) as session:
                async for posted in self._subscription:
                    if not await self.deliver(posted, lambda body, headers: self._post(session, body, headers)):
                        return

    async def deliver(self, posted: Posted, post: Callable[[bytes, dict[str, str]], Awaitable[int]]) -> bool:
        """Send one event; false if the receiver wants no more.

        Args:
            posted: The event.
            post: Makes one attempt and returns the status, NO_STATUS if there was no answer.

        """
        body = json.dumps(posted.wire(addresses=self._config.addresses)).encode()
        for attempt in range(self._config.tries):
            if attempt:
                self.counts["retried"] += 1
                await self._sleep(self._wait(attempt))
            status = await post(body, signed(posted.id, int(self._wall()), body, self._config.secret or ""))
            if status in SUCCESS:
                self._well()
                return True
            if status == GONE:
                self._fail("its receiver has gone (410)")
                return False
            self._fail(f"status {status}" if status else "no answer")
        self.counts["given_up"] += 1
        return True

    def _wait(self, attempt: int) -> float:
        """Return how long to wait before an attempt, 1 for the second; half of it is chance, so that none meet."""
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 4.0 ** (attempt - 1))
        return longest * (1 + self._random()) / 2

    async def _post(self, session: aiohttp.ClientSession, body: bytes, headers: dict[str, str]) -> int:
        try:
            async with session.post(
                self._config.url or "", data=body, headers=headers, allow_redirects=False
            ) as answer:
                return answer.status  # nobody reads what it says
        except (aiohttp.ClientError, TimeoutError, OSError):
            return NO_STATUS

    def _well(self) -> None:
        self.counts["sent"] += 1
        if self._failing:
            self._failing = ""
            self._log.info("webhook works again")

    def _fail(self, reason: str) -> None:
        if not self._failing:
            self._log.warning("webhook fails", reason=reason)
        self._failing = reason
