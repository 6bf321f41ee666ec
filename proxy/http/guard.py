"""What the request path of one worker works with: settings, the present policy, shared memory, upstreams, clients."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastpath import client_key
from fastpath.clock import monotonic_ns
from proxy.http.client import ClientConnection
from proxy.http.stream import Stream
from proxy.http.turnstile import Turnstile
from proxy.policy.networks import network_set
from proxy.policy.policy import CLASS_NAMES, Client, Policy

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from fastpath import ClientTable, Leases
    from proxy.config import Config
    from proxy.hkp.operation import Classifier
    from proxy.http.pool import Upstreams
    from proxy.telemetry.recorder import Recorder

VIA = b"hkpguard"
SWEEP_SECONDS = 0.25


class Guard:
    """The state of a worker."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        config: Config,
        *,
        policy: Policy,
        classify: Classifier,
        table: ClientTable,
        leases: Leases,
        upstreams: Upstreams,
        recorder: Recorder,
    ) -> None:
        """Everything is made by the worker; nothing here is shared between processes but through `fastpath`."""
        self.loop = loop
        self.table = table
        self.upstreams = upstreams
        self.recorder = recorder
        self.turnstiles = tuple(Turnstile(loop, leases, bucket) for bucket in range(len(CLASS_NAMES)))
        self.via = tuple(b"Via: 1.%d %b\r\n" % (minor, VIA) for minor in (0, 1))
        self.connections: set[ClientConnection] = set()
        self.parked = 0
        self.draining = False
        self._request_id = int.from_bytes(os.urandom(8))
        self.reload(config, policy, classify)

    def reload(self, config: Config, policy: Policy, classify: Classifier) -> None:
        """Work by a new configuration from the next request on."""
        self.policy = policy
        self.classify = classify
        self.trusted = network_set(config.trusted_proxies)
        self.use_forwarded = config.forwarded_header == "forwarded"
        self.head_bytes = config.http.head_bytes
        self.target_bytes = config.http.target_bytes
        self.body_bytes = config.http.body_bytes
        self.head_ns = config.timeouts.head_ns
        self.body_ns = config.timeouts.body_ns
        self.keepalive_ns = config.timeouts.keepalive_ns
        self.write_ns = config.timeouts.write_ns
        self.most_parked = config.parked
        self.most_connections = config.connections
        self.ratelimit_headers = config.ratelimit_headers

    def admit(self, fd: int, peer: bytes) -> None:
        """Take an accepted connection, or close it where there are more than the operator allows."""
        stream = Stream(self.loop, fd)
        if len(self.connections) >= self.most_connections:
            self.recorder.connection_refused()
            return  # the stream closes its descriptor when it is collected, which is now
        connection = ClientConnection(self, stream, peer)
        stream.protocol = connection
        self.connections.add(connection)
        connection.begin()

    def forget(self, connection: ClientConnection) -> None:
        """Drop a closed connection."""
        self.connections.discard(connection)

    def next_request_id(self) -> int:
        """Return the id of the next request: 64 bits, unique in the node for practical purposes."""
        self._request_id = (self._request_id + 1) & 0xFFFF_FFFF_FFFF_FFFF
        return self._request_id

    def trusts(self, peer: bytes) -> bool:
        """Whether `peer` is a proxy whose headers are believed."""
        return self.trusted.get(peer) is not None

    def client_of(self, address: bytes, source: int) -> Client:
        """Return the client at an address."""
        return Client(address, client_key(address), source, self.policy.profile(address))

    def sweep(self) -> None:
        """End what has passed its deadline, and publish the gauges; runs every SWEEP_SECONDS."""
        now_ns = monotonic_ns()
        for connection in [each for each in self.connections if each.deadline_ns < now_ns]:
            connection.expire()
        self.upstreams.expire(now_ns)
        self.recorder.gauges(connections=len(self.connections), parked=self.parked)

    def drain(self) -> None:
        """Close idle connections, now and whenever one becomes idle."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()
        self.upstreams.close()


