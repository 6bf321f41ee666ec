"""What happens to a server of Redis, one way each; what a function returns mends it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import redis

from tests.integration.programs import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.integration.redis_servers import Relay, Server


def kill_and_restart_empty(one: Server) -> Callable[[], object]:
    """Kill it; it comes back without data and without scripts."""
    one.kill()
    return one.start


def hang(one: Server) -> Callable[[], object]:
    """Stop it: the kernel takes connections and bytes, and nothing answers."""
    one.program.send(signal.SIGSTOP)
    return lambda: one.program.send(signal.SIGCONT)


def fill(one: Server) -> Callable[[], object]:
    """Have no memory left."""
    one.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    one.ask("CONFIG", "SET", "maxmemory", 1)
    return lambda: one.ask("CONFIG", "SET", "maxmemory", 0)


def demote(one: Server) -> Callable[[], object]:
    """Make it a replica, which takes no writes."""
    one.ask("REPLICAOF", LOOPBACK, free_port())
    return lambda: one.ask("REPLICAOF", "NO", "ONE")


def take_the_user(one: Server) -> Callable[[], object]:
    """Take away the user, who is thrown out."""
    one.ask("ACL", "DELUSER", "hkpguard")
    return lambda: one.ask("ACL", "LOAD")


def take_a_permission(one: Server) -> Callable[[], object]:
    """Let the user write no more."""
    one.ask("ACL", "SETUSER", "hkpguard", "-set")
    return lambda: one.ask("ACL", "SETUSER", "hkpguard", "+set")


def want_replicas(one: Server) -> Callable[[], object]:
    """Refuse writes for want of replicas."""
    one.ask("CONFIG", "SET", "min-replicas-to-write", 1)
    return lambda: one.ask("CONFIG", "SET", "min-replicas-to-write", 0)


def slow_down(way: Relay, seconds: float = 0.2) -> Callable[[], object]:
    """Have it answer after so long."""
    way.delay_seconds = seconds
    return lambda: setattr(way, "delay_seconds", 0.0)


def lose_slots(masters: Sequence[Server]) -> Callable[[], object]:
    """Have nobody in a cluster any more who has the slots of its first master."""
    owner = masters[0]
    own = [(first, last) for first, last, (_, port, *_) in owner.ask("CLUSTER", "SLOTS") if port == owner.port]
    edges = [edge for each in own for edge in each]
    for each in masters:
        each.ask("CLUSTER", "DELSLOTSRANGE", *edges)
    return lambda: owner.ask("CLUSTER", "ADDSLOTSRANGE", *edges)


def lose_majority(masters: Sequence[Server]) -> Callable[[], object]:
    """Stop all masters of a cluster but the first one, which then serves nobody."""
    mends = [hang(each) for each in masters[1:]]
    return lambda: [mend() for mend in mends]


def flush(one: Server) -> None:
    """Have somebody delete all keys; nobody is disconnected."""
    one.ask("FLUSHALL")


def evict(one: Server) -> None:
    """Have it throw away all keys for want of memory, between two commands of others, and go on."""
    with (
        redis.Redis(port=one.port, protocol=2, socket_timeout=10) as client,
        client.pipeline(transaction=False) as line,
    ):
        line.config_set("maxmemory-policy", "allkeys-random")
        line.config_set("maxmemory", 1)
        line.dbsize()  # what is too much goes before the next command
        line.config_set("maxmemory", 0)
        *_, left, _ = line.execute()
    assert left == 0
