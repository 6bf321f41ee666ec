"""A node: the sockets, the shared memory and the processes that a configuration asks for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from fastpath import Region
from proxy import analyst, worker
from proxy.supervisor import Run, Supervisor, bind, bind_group, raise_descriptor_limit

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from proxy.config import Config


def run(config: Config, environ: Mapping[str, str], beside: Mapping[str, Run] | None = None) -> int:
    """Run a node until it is told to stop; return the exit status.

    Args:
        config: Has an upstream.
        environ: Read again on SIGHUP.
        beside: Further processes by name, stopped last.

    Raises:
        SupervisorError: An address cannot be bound.

    """
    raise_descriptor_limit()
    groups = [bind_group(address, config.workers) for address in config.listen]
    admin = bind(config.admin, share=False)
    region = Region.create(clients=config.table_clients, workers=config.workers, upstreams=len(config.upstream))
    supervisor = Supervisor(config, region, environ, sockets=lambda: [sock for group in groups for sock in group])
    for name, process in (beside or {}).items():
        supervisor.add(name, process)
    supervisor.add("analyst", lambda channel: analyst.run(supervisor.config, region, admin, channel))
    for index in range(config.workers):
        life = functools.partial(_worker, supervisor, region, groups, index)
        supervisor.add(f"worker-{index}", life, worker=index)
    return supervisor.serve()


def _worker(
    supervisor: Supervisor,
    region: Region,
    groups: list[list[socket.socket]],
    index: int,
    channel: socket.socket,
) -> int:
    """Be a worker; the sockets of the other workers are theirs alone."""
    for group in groups:
        for other, sock in enumerate(group):
            if other != index:
                sock.close()
    return worker.run(supervisor.config, region, index, [group[index] for group in groups], channel)
