"""Listening sockets: for each address one a worker, in a SO_REUSEPORT group, bound before there are any workers."""

from __future__ import annotations

import resource
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.settings.addresses import Address

BACKLOG: Final = 4096
DEFER_SECONDS: Final = 1  # a client that stays silent is handed over then


class ListenError(Exception):
    """An address cannot be bound; the text says why."""


def bind(address: Address, *, share: bool = True) -> socket.socket:
    """Return a listening socket; `share` lets others of ours listen on the same address."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        if share:
            # Clients speak first here: take them from the kernel when they have, which saves a turn of the loop.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_SECONDS)
        sock.bind((address.host, address.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot listen on {address.host}:{address.port}: {error.strerror}") from error
    return sock


def bind_group(address: Address, workers: int) -> list[socket.socket]:
    """Return one listening socket for each worker, all on the same address; port 0 picks one port for all.

    Raises:
        ListenError: It cannot be bound, or another program of the same user listens there, such as a second guard:
            the kernel would take that one's sockets for some of the group, and give it part of the clients.

    """
    bind(address, share=False).close()
    first = bind(address)
    port = first.getsockname()[1]
    return [first, *(bind(address._replace(port=port)) for _ in range(workers - 1))]


def raise_descriptor_limit() -> None:
    """Allow as many descriptors as the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
