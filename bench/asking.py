"""A limiter that asks Redis about every request, as most do that hold across nodes: GCRA in a script."""

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

BURST: Final = 1_000_000
TOKEN_US: Final = 1  # a limit that is never reached
TIMEOUT_S: Final = 0.1  # then the request is let through, as is usual

_GCRA: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + ARGV[2]
if tat - now > ARGV[1] * ARGV[2] then return 0 end
redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000))
return 1
"""


class Asking:
    """One bucket for each client, all of them in Redis."""

    def __init__(self, port: int) -> None:
        """Ask the Redis on a port of loopback."""
        never = Retry(NoBackoff(), 0)
        self._redis = Redis(port=port, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=never)
        self._script = self._redis.register_script(_GCRA)

    async def allows(self, client: str) -> bool:
        """Take a token of a client; yes if Redis does not answer in time."""
        try:
            return bool(await self._script(keys=[f"limit:{client}"], args=[BURST, TOKEN_US]))
        except RedisError:
            return True

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
