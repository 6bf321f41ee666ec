# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
How networks have done with their handshakes: a byte for each cell of a table, two networks in one cell by chance.

A handshake costs us ten times what its first message costs the client, and a place until it is done. Who leaves it
unfinished is not told from who is far away, until the time for it is over; but an address that answers can be had
again and again, and is known then. So a network has credit: one more for each handshake that is finished, one less for
each that is not. Who is in debt is not refused, but comes after the others where places are short.

Debts end: each sweep forgets a few cells, all of them in the course of minutes, and never many at a time, so that those
who were silent together are not forgiven together. Which cell is whose is decided by a secret: nobody can aim at
another network's.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from fastpath._atomic cimport keyed_hash, read_secret

import os

cdef enum:
    MOST_CREDIT = 8
    FORGOTTEN_AT_ONCE = 64  # of 131,072 cells: with four sweeps a second all within nine minutes

SWEEPS_OF_MEMORY = CELLS // FORGOTTEN_AT_ONCE


cdef class Standing:

    def __cinit__(self):
        read_secret(os.urandom(16), &self.k0, &self.k1)

    cpdef bint in_debt(self, uint64_t network) noexcept:
        return self.credit[self._cell(network)] < 0

    cpdef int note(self, uint64_t network, bint finished) noexcept:
        cdef signed char *credit = &self.credit[self._cell(network)]
        if finished and credit[0] < MOST_CREDIT:
            credit[0] += 1
        elif not finished and credit[0] >= 0:
            credit[0] -= 1
        return 0

    cpdef int forget_some(self) noexcept:
        memset(&self.credit[self.next_cell], 0, FORGOTTEN_AT_ONCE)
        self.next_cell = (self.next_cell + FORGOTTEN_AT_ONCE) % CELLS
        return 0

    cdef inline int _cell(self, uint64_t network) noexcept:
        return <int>(keyed_hash(self.k0, self.k1, network) >> (64 - CELL_BITS))
