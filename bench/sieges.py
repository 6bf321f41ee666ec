"""The attacks of `python -m bench attacks`, and what the guard may spend on each.

Bounds of memory. Each open connection may take IDLE_BYTES (the budget of DESIGN.md section 5), and on top of that what
the settings and constants let it buffer, which stands with each scenario. With 10,000 clients comes a part of the
client table to life: it is of fixed size, but memory only where somebody has written, a page for each at worst. All
of it on top of the guard at rest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from bench import scripts
from bench.hoard import Script
from bench.targets import source

KIB, MIB = 1024, 1024 * 1024
IDLE_BYTES = 4 * KIB
TABLE_BYTES = 4 * KIB
SLACK_BYTES = 32 * MIB  # of the whole tree: what allocators keep, and the analyst's bounded books about the offenders
PACE = 2000.0
CONNECTIONS = 10_000
EXCHANGES = 2 * 256  # that can run at once: HKPGUARD_POOL__CONNECTIONS of two workers
HANDSHAKES = 2 * 512  # HKPGUARD_HANDSHAKES of two workers


class Origin(Enum):
    """Where an attack comes from."""

    MANY = "many"  # addresses, each in a /24 of its own, so that no cap turns them away
    ONE = "one"  # address, so that the caps do


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of attack.

    Attributes:
        key: Its name in commands and files.
        title: For the table.
        script: What each connection says; None if slowhttptest runs.
        slowhttptest: Its options for this attack.
        addresses: How many addresses there are if they are many; 0: one for each connection.
        receive_bytes: See `hoard.Orders`.
        tls: The attack goes to a port with TLS; so do the honest requests then.
        banned: The one address that it comes from is banned before.
        each_bytes: What a connection may take beyond IDLE_BYTES and TABLE_BYTES.
        all_bytes: What all together may take beyond that.
        settings: HKPGUARD_* that it needs other than the defaults.

    """

    key: str
    title: str
    script: Callable[[int], Script] | None = None
    slowhttptest: tuple[str, ...] = ()
    addresses: int = 0
    receive_bytes: int = 0
    tls: bool = False
    banned: bool = False
    each_bytes: int = 0
    all_bytes: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where it can come from."""
        return (Origin.ONE,) if self.banned else (Origin.MANY, Origin.ONE)

    @property
    def uncapped(self) -> bool:
        """Whether MANY means that there are no caps, because the attack has only one address."""
        return self.script is None

    def source(self, number: int, origin: Origin) -> str:
        """Return the address of a connection."""
        if origin is Origin.ONE:
            return source(0)
        return source(number % self.addresses if self.addresses else number)

    def bound_bytes(self, connections: int) -> int:
        """Return how much more memory the guard may take than at rest."""
        return connections * (IDLE_BYTES + TABLE_BYTES + self.each_bytes) + self.all_bytes + SLACK_BYTES


_BIG_URL = scripts.BIG
_UPLOAD_URL = "/pks/add"
_GET_URL = "/pks/lookup?op=get&options=mr&search=0x0123456789ABCDEF0123456789ABCDEF01234567"
_ROOMY_TARPIT = {"HKPGUARD_TARPIT__CONNECTIONS": "16384", "HKPGUARD_TARPIT__KERNEL_BYTES": "1024MiB"}

SCENARIOS: Mapping[str, Scenario] = {
    each.key: each
    for each in (
        Scenario(key="slow-head", title="heads that never end", script=scripts.slow_head, each_bytes=KIB),
        Scenario(
            key="slow-body", title="uploads byte by byte", script=scripts.slow_body, each_bytes=4 * KIB
        ),  # a parked exchange
        Scenario(key="bad-body", title="uploads of no certificate", script=scripts.bad_body, each_bytes=4 * KIB),
        Scenario(
            key="slow-reader",
            title="500 KB taken in sips",
            script=scripts.slow_reader,
            receive_bytes=4 * KIB,
            each_bytes=4 * KIB,
            all_bytes=EXCHANGES * 192 * KIB,  # backlog to the mark, and a piece that goes over it
        ),
        Scenario(key="idle", title="idle keep-alive", script=scripts.idle),
        Scenario(
            key="pipelining",
            title="64 requests at a time, no answer read",
            script=scripts.pipelining,
            addresses=250,  # each may have its 60 + 5/s like anybody else; 10,000 of them would be plain overload
            each_bytes=(64 + 64) * KIB,  # MOST_PIPELINED_BYTES of requests, and of replies until writing pauses
        ),
        Scenario(key="huge-head", title="heads just under 16 KiB", script=scripts.huge_head, each_bytes=16 * KIB),
        Scenario(key="over-head", title="heads just over 16 KiB", script=scripts.oversized_head, each_bytes=32 * KIB),
        Scenario(key="chunk-ext", title="endless chunk extensions", script=scripts.chunk_extension, each_bytes=4 * KIB),
        Scenario(key="tls-part", title="parts of a ClientHello", script=scripts.tls_part, tls=True),
        Scenario(
            key="tls-silent",
            title="ClientHello, then silence",
            script=scripts.tls_silent,
            tls=True,
            all_bytes=HANDSHAKES * 64 * KIB,  # OpenSSL's state and buffers
        ),
        Scenario(key="banned", title="flood from a banned address", script=scripts.knocking, banned=True),
        Scenario(key="scanners", title="held in the tarpit", script=scripts.scanner, settings=_ROOMY_TARPIT),
        Scenario(
            key="slowhttptest-head",
            title="slowhttptest -H",
            slowhttptest=("-H", "-x", "24", "-u", _GET_URL),
            each_bytes=KIB,
        ),
        Scenario(
            key="slowhttptest-body",
            title="slowhttptest -B",
            slowhttptest=("-B", "-s", "65536", "-x", "10", "-u", _UPLOAD_URL),
            each_bytes=4 * KIB,
        ),
        Scenario(
            key="slowhttptest-read",
            title="slowhttptest -X",
            slowhttptest=("-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-u", _BIG_URL),
            each_bytes=4 * KIB,
            all_bytes=EXCHANGES * 192 * KIB,
        ),
    )
}
