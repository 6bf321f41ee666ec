"""The border to redis-py: makes clients, sends pipelines, listens, and says in our words what went wrong.

Nothing is tried again in here, for nobody knows whether what failed was done, and a script that counts must not run
twice: all retries of redis-py are off. The one exception is what certainly was not done: scripts that a server does not
know, and commands that a node of a Redis Cluster sends elsewhere (MOVED, ASK, TRYAGAIN).

RESP2, because redis-py 8 would negotiate more with RESP3 than a user of least privilege may.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff

from proxy.cluster.circuit import Cause, Trouble
from proxy.cluster.command import Refusal
from proxy.settings.cluster import read_secret

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, MutableMapping, Sequence

    from redis.asyncio.client import PubSub

    from proxy.cluster.command import Answer, Command
    from proxy.config import Config
    from proxy.settings.cluster import ClusterConfig
    from proxy.settings.store_url import StoreUrl

CONNECT_SECONDS: Final = 1.0  # of one socket, its TLS included
USER_TIMEOUT_MS: Final = 2000  # the kernel gives up what was sent and not acknowledged for so long
PING_SECONDS: Final = 1.0
SILENT_PINGS: Final = 3  # a subscription that says nothing for so many is dead
MOST_AT_ONCE: Final = 8  # pipelines, each on a connection of its own
# In a cluster redis-py sends ASKING and what it is for as two commands, which meet on one connection only if there is
# but one for each node; and when a slot moves it closes the connections of all.
MOST_AT_ONCE_IN_CLUSTER: Final = 1
MOST_LISTENERS: Final = 16
MOST_TEXT: Final = 200  # characters of what a server says

_CAUSES: Final[tuple[tuple[type[BaseException], Cause], ...]] = (  # the first that fits
    (exceptions.AuthenticationError, Cause.PASSWORD),
    (exceptions.NoPermissionError, Cause.PERMISSION),
    (exceptions.ReadOnlyError, Cause.READ_ONLY),
    (exceptions.BusyLoadingError, Cause.LOADING),
    (exceptions.MasterDownError, Cause.MASTER_DOWN),
    (exceptions.ClusterDownError, Cause.CLUSTER_DOWN),
    (exceptions.SlotNotCoveredError, Cause.CLUSTER_DOWN),
    (exceptions.OutOfMemoryError, Cause.MEMORY),
    (MasterNotFoundError, Cause.NO_MASTER),
    (ssl.SSLError, Cause.CERTIFICATE),
    (TimeoutError, Cause.SLOW),
    (exceptions.TimeoutError, Cause.SLOW),
    (exceptions.ConnectionError, Cause.LOST),
    (exceptions.InvalidResponse, Cause.LOST),
    (OSError, Cause.LOST),
)
# Errors that redis-py has no type for, by how they begin.
_WORDS: Final[tuple[tuple[str, Cause], ...]] = (
    ("MISCONF ", Cause.NO_WRITES),
    ("NOREPLICAS ", Cause.NO_WRITES),
    ("BUSY ", Cause.BUSY),
    ("UNKILLABLE ", Cause.BUSY),
    ("Cluster mode is not enabled", Cause.SETTINGS),
    ("All slots are not covered", Cause.CLUSTER_DOWN),
    ("DB index is out of range", Cause.SETTINGS),
)


class Link:
    """The connections of one node to its store."""

    def __init__(self, config: Config) -> None:
        """Connect with the first command.

        Raises:
            OSError, ValueError: The file of a password cannot be used.

        """
        url = config.redis_url
        if url is None:
            raise ValueError("there is no store")
        self._form = url.form
        self._options = _options(url, config.cluster)
        self._secrets = [text for text in (self._options["password"], config.cluster.secret) if text]
        self._sentinel: Sentinel | None = None
        self._client: Any = self._make_client(
            url, config.cluster
        )  # Redis | RedisCluster: their types have little in common
        _leave_raw(self._client.response_callbacks)

    @property
    def spread(self) -> bool:
        """Whether shards may be on different servers."""
        return self._form == "cluster"

    @property
    def most_at_once(self) -> int:
        """How many pipelines may be under way."""
        return MOST_AT_ONCE_IN_CLUSTER if self.spread else MOST_AT_ONCE

    async def send(self, commands: Sequence[Command]) -> list[Answer]:
        """Send a pipeline, and return the answers.

        Raises:
            Trouble: Something else came of it.
            ValueError: An argument is of a kind that cannot be sent.

        """
        try:
            answers = await self._exchange([_wire(command) for command in commands])
            unknown = [index for index, answer in enumerate(answers) if isinstance(answer, exceptions.NoScriptError)]
            if unknown:
                again = await self._exchange([*_teaching([commands[index] for index in unknown])])
                for index, answer in zip(unknown, again, strict=True):
                    answers[index] = answer
        except exceptions.DataError as error:
            raise ValueError(str(error)) from error
        except Exception as error:  # redis-py lets errors of many modules through
            raise self._trouble(error) from error
        return [self._answer(answer) for answer in answers]

    async def hear(self, channels: Sequence[bytes]) -> AsyncGenerator[tuple[bytes, bytes] | None]:
        """Subscribe; yield None as soon as that holds, then channel and data of each message.

        Raises:
            Trouble: The subscription is lost, or there is none.

        """
        client = self._listening_client()
        subscription = client.pubsub()
        try:
            async with asyncio.timeout(2 * CONNECT_SECONDS):
                await subscription.subscribe(*channels)
                for _ in channels:
                    await subscription.get_message(timeout=CONNECT_SECONDS)
            yield None
            while True:
                message = await _next_message(subscription)
                if message["type"] == "message":
                    yield message["channel"], message["data"]
                elif message["type"] == "subscribe":
                    yield None  # redis-py has connected anew
        except Exception as error:
            raise self._trouble(error) from error
        finally:
            with contextlib.suppress(Exception):
                await subscription.aclose()
                if client is not self._client:
                    await client.aclose()

    async def drop(self) -> None:
        """Close the connections that nobody uses: the next command makes a new one, and asks where the master is."""
        with contextlib.suppress(Exception):
            if self.spread:
                await self._client.aclose()
            else:
                await self._client.connection_pool.disconnect(inuse_connections=False)
            if self._sentinel:
                await self._sentinel.aclose()

    async def close(self) -> None:
        """Close all connections."""
        with contextlib.suppress(Exception):
            await self._client.aclose()
        if self._sentinel:
            with contextlib.suppress(Exception):
                await self._sentinel.aclose()

    async def _exchange(self, wires: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands as they are; errors that servers answer with stand among the answers."""
        pipeline = self._client.pipeline(transaction=False)
        for wire in wires:
            pipeline.execute_command(*wire)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    def _answer(self, answer: object) -> Answer:
        if not isinstance(answer, Exception):
            return answer
        cause = _cause_of(answer)
        if cause is not None:
            raise self._trouble(answer) from answer
        return Refusal(self._said(answer))

    def _trouble(self, error: Exception) -> Trouble:
        if isinstance(error, Trouble):
            return error
        return Trouble(_cause_of(error) or Cause.LOST, self._said(error))

    def _said(self, error: Exception) -> str:
        """Return what an error says: a line without secrets."""
        text = " ".join("".join(each if each.isprintable() else " " for each in str(error)).split())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:MOST_TEXT]

    def _make_client(self, url: StoreUrl, config: ClusterConfig) -> Redis | RedisCluster:
        retry: Any = Retry(NoBackoff(), 0)
        if url.form == "unix":
            of_tcp = ("socket_keepalive", "socket_keepalive_options")
            options = {name: value for name, value in self._options.items() if name not in of_tcp}
            return Redis(unix_socket_path=url.path, db=url.database, retry=retry, **options)
        if url.form == "cluster":
            nodes = [ClusterNode(host, port) for host, port in url.hosts]
            return RedisCluster(startup_nodes=nodes, retry=retry, **self._options)
        if url.form == "sentinel":
            password = config.sentinel_password_file and read_secret(config.sentinel_password_file)
            own = self._options | {"username": None, "password": password, "retry": retry, "max_connections": None}
            self._sentinel = Sentinel([*url.hosts], sentinel_kwargs=own)  # type: ignore[no-untyped-call]
            master: Redis = self._sentinel.master_for(url.service, db=url.database, retry=retry, **self._options)
            return master
        [address] = url.hosts
        return Redis(host=address.host, port=address.port, db=url.database, retry=retry, **self._options)

    def _listening_client(self) -> Any:  # noqa: ANN401 - see `_client`
        """Return a client that can subscribe: any node of a cluster hears what is published on another one."""
        if not self.spread:
            return self._client
        nodes = self._client.get_primaries()
        if not nodes:
            raise Trouble(Cause.CLUSTER_DOWN, "no node is known", maybe_done=False)
        node = SystemRandom().choice(nodes)
        return Redis(host=node.host, port=node.port, retry=Retry(NoBackoff(), 0), **self._options)


def _options(url: StoreUrl, config: ClusterConfig) -> dict[str, Any]:
    """Return what all clients have in common."""
    password = url.password if config.password_file is None else read_secret(config.password_file)
    options: dict[str, Any] = {
        "username": url.user or config.user,
        "password": password,
        "protocol": 2,
        "driver_info": None,  # no CLIENT SETINFO
        # With one redis-py sends through asyncio.wait_for, which before Python 3.12 may swallow a cancellation: the
        # deadline of a caller, or the end of a task. The bound behind our deadlines is the kernel's.
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_keepalive": True,
        "socket_keepalive_options": {
            socket.TCP_KEEPIDLE: 1,
            socket.TCP_KEEPINTVL: 1,
            socket.TCP_KEEPCNT: 2,
            socket.TCP_USER_TIMEOUT: USER_TIMEOUT_MS,
        },
        "max_connections": MOST_AT_ONCE + MOST_LISTENERS,
    }
    if url.tls:
        options |= {"ssl": True, "ssl_min_version": ssl.TLSVersion.TLSv1_2, "ssl_ca_certs": config.ca}
        options |= {"ssl_certfile": config.cert, "ssl_keyfile": config.key}
    return options


async def _next_message(subscription: PubSub) -> dict[str, Any]:
    """Return what a subscription says next; while it says nothing, ask for a sign of life."""
    for _ in range(SILENT_PINGS):
        message: dict[str, Any] | None = await subscription.get_message(timeout=PING_SECONDS)
        if message is not None:
            return message
        async with asyncio.timeout(PING_SECONDS):
            await subscription.ping()
    raise Trouble(Cause.SLOW, "nothing is heard of the subscription")


def _leave_raw(callbacks: MutableMapping[Any, Any]) -> None:
    """Have answers come as they are, but those of which a cluster client itself makes use."""
    for name in [*callbacks]:
        if not name.upper().startswith(("CLUSTER", "COMMAND")):
            del callbacks[name]


def _wire(command: Command, *, teach: bool = False) -> tuple[Any, ...]:
    """Return a command as it is sent; a script by its SHA1, or to `teach` it, with its source."""
    what, keys, args = command
    if isinstance(what, str):
        return (what, *keys, *args)
    called = ("EVAL", what.source) if teach else ("EVALSHA", what.sha)
    return (*called, len(keys), *keys, *args)


def _teaching(commands: Sequence[Command]) -> Iterator[tuple[Any, ...]]:
    """Yield scripts that a server did not know: the first of each shard brings the source."""
    taught = set()
    for command in commands:
        shard = command.keys[0].partition(b"}")[0] if command.keys else b""
        yield _wire(command, teach=(command.what, shard) not in taught)
        taught.add((command.what, shard))


def _cause_of(error: BaseException) -> Cause | None:
    """Return what an error means for the store; None if it concerns only the command that it answers."""
    chain = [*_chain(error)]
    if found := next((each for each in chain if isinstance(each, ssl.SSLError)), None):
        return Cause.CERTIFICATE if _is_of_certificate(found) else Cause.LOST
    by_kind = (cause for kind, cause in _CAUSES if any(isinstance(each, kind) for each in chain))
    by_words = (cause for words, cause in _WORDS if any(str(each).startswith(words) for each in chain))
    if cause := next(by_kind, None) or next(by_words, None):
        return cause
    return None if isinstance(error, exceptions.ResponseError) else Cause.LOST


def _is_of_certificate(error: ssl.SSLError) -> bool:
    """Whether TLS failed for want of a certificate that the other side accepts, not because a connection broke."""
    return isinstance(error, ssl.SSLCertVerificationError) or "ALERT" in (error.reason or "")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
