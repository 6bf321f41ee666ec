"""What the request path of one worker works with: settings, the present policy, shared memory, upstreams, clients."""

from asyncio import AbstractEventLoop

from fastpath import ClientTable, CostMemory, Leases, Tarpit
from proxy.config import Config
from proxy.hkp.operation import Classifier
from proxy.hkp.readers import Readers
from proxy.http.admission import Admission
from proxy.http.claims import Claims
from proxy.http.client import ClientConnection
from proxy.http.entrance import Arrival, Entrance
from proxy.http.intake import BodyStore
from proxy.http.micro_cache import MicroCache
from proxy.http.pool import Upstreams
from proxy.http.tls import Tls
from proxy.policy.contents import Contents
from proxy.policy.judge import Client
from proxy.policy.policy import Policy
from proxy.policy.subjects import Subjects
from proxy.telemetry.recorder import Recorder

SWEEP_SECONDS: float

class Guard:
    """The state of a worker; nothing in it is shared between processes but through `fastpath`.

    Attributes:
        connections: Open client connections.
        arrivals: Connections whose PROXY header or first byte is still to come; who came first is first.
        parked: Requests that wait for their time.
        draining: No further request is taken from a connection.

    """

    loop: AbstractEventLoop
    connections: set[ClientConnection]
    arrivals: dict[Arrival, None]
    parked: int
    draining: bool
    policy: Policy
    bodies: BodyStore
    table: ClientTable
    upstreams: Upstreams
    tarpit: Tarpit
    tls: Tls | None
    def __init__(
        self,
        loop: AbstractEventLoop,
        config: Config,
        *,
        policy: Policy,
        classify: Classifier,
        readers: Readers,
        contents: Contents,
        cache: MicroCache,
        costs: CostMemory,
        table: ClientTable,
        leases: Leases,
        upstreams: Upstreams,
        subjects: Subjects,
        recorder: Recorder,
        admission: Admission,
        tarpit: Tarpit,
        tls: Tls | None = None,
        claims: Claims | None = None,
    ) -> None: ...
    def reload(self, config: Config, policy: Policy, classify: Classifier, readers: Readers) -> None:
        """Work by a new configuration from the next request on."""

    def admit(self, fd: int, peer: bytes, entrance: Entrance) -> None:
        """Take an accepted connection, or turn it away (see `admission.pyx`); owns the descriptor from now on.

        `peer` is the address of the other side, network order.
        """

    def client_of(self, address: bytes, source: int) -> Client:
        """Return the client at an address (network order)."""

    def usual_time_us(self, kind: int) -> int:
        """Return what the keyserver needs at most for nine of ten requests of a class, by what it needed lately."""

    def sweep(self) -> None:
        """End what has passed its deadline, and publish the gauges; to be called every SWEEP_SECONDS."""

    def say_goodbye(self) -> None:
        """Tell each connection with its next reply that it is the last one; new ones are still taken."""

    def drain(self) -> None:
        """Close idle connections, now and whenever one becomes idle."""
