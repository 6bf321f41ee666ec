"""A node: the sockets, the shared memory and the processes that a configuration asks for."""

from __future__ import annotations

import functools
import socket
from typing import TYPE_CHECKING

from fastpath import Control, Region
from fastpath.region import SECRET_BYTES
from proxy import analyst, worker
from proxy.cluster.secret import ClusterSecret
from proxy.http.tls import make_context
from proxy.sockets import bind, bind_group, raise_descriptor_limit
from proxy.supervisor import Run, Supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.config import Config


def run(config: Config, environ: Mapping[str, str], beside: Mapping[str, Run] | None = None) -> int:
    """Run a node until it is told to stop; return the exit status.

    Args:
        config: Has an upstream.
        environ: Read again on SIGHUP.
        beside: Further processes by name, stopped last.

    Raises:
        ListenError: An address cannot be bound.

    """
    raise_descriptor_limit()
    groups = [bind_group(listen.address, config.workers) for listen in config.listen]
    admin = bind(config.admin, share=False)
    region = Region.create(
        clients=config.table_clients,
        workers=config.workers,
        upstreams=len(config.upstream),
        reply_bytes=config.cache.bytes,
        prefixes=config.table_prefixes,
        secret=ClusterSecret.of(config.cluster).key("region", SECRET_BYTES) if config.redis_url else None,
    )
    context = make_context(config.tls_cert, config.tls_key) if config.tls_cert and config.tls_key else None
    claims = _pairs(config.workers) if config.redis_url and config.cluster.strict else []
    paired = [sock for pair in claims for sock in pair]
    everything = [sock for group in groups for sock in group]
    supervisor = Supervisor(config, region, environ, sockets=lambda: everything)
    # A process that keeps a listening socket of another keeps it open: each closes what is not its own.
    for name, process in (beside or {}).items():
        supervisor.add(name, functools.partial(_without, [*everything, *paired, admin], process))
    desks = [desk for desk, _ in claims]
    run_analyst = functools.partial(_analyst, supervisor, region, admin, desks)
    analyst_process = functools.partial(_without, [*everything, *(sock for _, sock in claims)], run_analyst)
    supervisor.add("analyst", analyst_process, heartbeat=Control.ANALYST_HEARTBEAT_NS)
    for index in range(config.workers):
        own = [group[index] for group in groups]
        claim = claims[index][1] if claims else None
        others = [sock for sock in (*everything, *paired, admin) if sock not in own and sock is not claim]
        run_worker = functools.partial(_worker, supervisor, region, worker.Place(index, own, context, claim))
        supervisor.add(f"worker-{index}", functools.partial(_without, others, run_worker), worker=index)
    return supervisor.serve()


def _pairs(workers: int) -> list[tuple[socket.socket, socket.socket]]:
    """Return what workers claim over: the end of the analyst and that of each worker. Both outlive these processes."""
    return [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(workers)]


def _without(sockets: list[socket.socket], process: Run, channel: socket.socket) -> int:
    """Be `process`, which has no use for `sockets`."""
    for sock in sockets:
        sock.close()
    return process(channel)


def _analyst(
    supervisor: Supervisor, region: Region, admin: socket.socket, claims: list[socket.socket], channel: socket.socket
) -> int:
    return analyst.run(supervisor.config, region, admin, channel, supervisor.parent, claims=claims)


def _worker(supervisor: Supervisor, region: Region, place: worker.Place, channel: socket.socket) -> int:
    return worker.run(supervisor.config, region, place, channel)
