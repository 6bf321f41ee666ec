"""Listening sockets: groups of one port, what their connections inherit, and addresses that are taken."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from proxy.settings.addresses import Address
from proxy.sockets import ListenError, bind, bind_group

LOOPBACK = Address("127.0.0.1", 0)


def test_group_has_one_port() -> None:
    """Each worker has a socket of its own, all of them on the port that the first one was given."""
    with ExitStack() as stack:
        group = [stack.enter_context(sock) for sock in bind_group(LOOPBACK, 3)]
        assert len({sock.fileno() for sock in group}) == 3
        assert len({sock.getsockname() for sock in group}) == 1


def test_nobody_is_answered_before_his_address_is_proven() -> None:
    """No data is taken with a SYN (TCP Fast Open): who forges an address gets a SYN-ACK at most, never a reply."""
    with bind(LOOPBACK) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN) == 0


def test_address_that_is_taken() -> None:
    """What is not to be shared is one's alone, and the error names it."""
    with bind(LOOPBACK, share=False) as sock:
        taken = Address(*sock.getsockname())
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{taken.port}: Address already in use"):
            bind(taken, share=False)


def test_group_shares_with_nobody() -> None:
    """A second guard on the address of the first would get part of its clients; it does not start."""
    with ExitStack() as stack:
        first = [stack.enter_context(sock) for sock in bind_group(LOOPBACK, 2)]
        taken = Address(*first[0].getsockname())
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{taken.port}: Address already in use"):
            bind_group(taken, 2)
