"""
The step `admit`: whether a connection is taken on, decided from shared memory before anything is made for it.

The rate at which a client connects says nothing: gpg opens one connection for each key, more than a hundred a second.
What counts is whether it is banned, and how many connections it and its network hold at once, over all workers.
"""

from libc.stdint cimport int64_t, uint64_t

from fastpath.bans cimport BanTable
from fastpath.crowd cimport Crowd

from fastpath import Mode
from proxy.policy.actions import TurnedAway

cdef int _BANNED = TurnedAway.BANNED
cdef int _CROWDED = TurnedAway.CROWDED


cdef class Admission:

    def __init__(self, BanTable bans not None, Crowd crowd not None):
        self.bans = bans
        self.crowd = crowd

    def reload(self, config, policy, trusted):
        self.policy = policy
        self.trusted = trusted
        self.bans_hold = policy.bans_mode is Mode.ENFORCE
        self.most_of_client = config.connections_per_client
        self.most_of_network = config.connections_per_network

    cdef int enter(self, bytes peer, uint64_t key, uint64_t network, int64_t now_ns) except -2:
        """
        Count a connection in; `leave` counts it out.

        Returns:
            WELCOME, or why it is not taken on; it is not counted then.
        """
        if self.bans_hold and self.bans.look_up(peer, now_ns) and not self._untouchable(peer):
            return _BANNED
        self.crowd.enter(key)
        self.crowd.enter(network)
        if self.most_of_client and self.crowd.count(key) > self.most_of_client \
                or self.most_of_network and self.crowd.count(network) > self.most_of_network:
            if not self._untouchable(peer):
                self.leave(key, network)
                return _CROWDED
        return WELCOME

    cdef int leave(self, uint64_t key, uint64_t network) except -1:
        """Count a connection out."""
        self.crowd.leave(key)
        self.crowd.leave(network)
        return 0

    cdef bint _untouchable(self, bytes peer) except -1:
        """Whether bans and caps pass the peer by: allowed networks, keyserver peers, and proxies that speak for many."""
        profile = self.policy.profile(peer)
        return profile.exempt or profile.peer or self.trusted.get(peer) is not None
