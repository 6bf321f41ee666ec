from libc.stdint cimport int64_t, uint64_t

from fastpath.gcra cimport Rate
from fastpath.table cimport Spending


cdef extern from *:  # HKP_ROUND is a macro of `_atomic.pxd`
    """
    #include <stddef.h>
    #include <string.h>

    /* SipHash-1-3 of any bytes; 0 is told as 1, because 0 is no key. Little-endian machines only, like the rest. */
    static inline uint64_t hkp_hash_bytes(uint64_t k0, uint64_t k1, const unsigned char *data, size_t size) {
        uint64_t v0 = k0 ^ 0x736f6d6570736575ULL, v1 = k1 ^ 0x646f72616e646f6dULL;
        uint64_t v2 = k0 ^ 0x6c7967656e657261ULL, v3 = k1 ^ 0x7465646279746573ULL;
        uint64_t word, last = (uint64_t)size << 56;
        const unsigned char *end = data + size / 8 * 8;
        for (; data != end; data += 8) {
            memcpy(&word, data, 8);
            v3 ^= word; HKP_ROUND; v0 ^= word;
        }
        word = 0;
        memcpy(&word, data, size % 8);
        last |= word;
        v3 ^= last; HKP_ROUND; v0 ^= last;
        v2 ^= 0xff; HKP_ROUND; HKP_ROUND; HKP_ROUND;
        word = v0 ^ v1 ^ v2 ^ v3;
        return word ? word : 1;
    }

    /* The finalizer of SplitMix64 (Steele, Lea, Flood 2014): each bit of the input changes half of the output. */
    static inline uint64_t hkp_stir(uint64_t word) {
        word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9ULL;
        word = (word ^ word >> 27) * 0x94d049bb133111ebULL;
        return word ^ word >> 31;
    }

    static inline uint64_t hkp_mix(uint64_t kind, uint64_t a, uint64_t b) {
        uint64_t word = hkp_stir(hkp_stir(kind * 0x9e3779b97f4a7c15ULL + a) * 0x9e3779b97f4a7c15ULL + b);
        return word ? word : 1;
    }
    """
    uint64_t hash_bytes "hkp_hash_bytes"(
        uint64_t k0, uint64_t k1, const unsigned char *data, size_t size
    ) noexcept nogil

    # A key of a bucket from its kind and two words; for one kind and `a` different `b` give different keys (but for
    # the one that would be 0). There is no secret in it: what an outsider chooses freely goes in as its keyed hash.
    uint64_t mix "hkp_mix"(uint64_t kind, uint64_t a, uint64_t b) noexcept nogil


cdef struct Set:  # two cache lines
    uint64_t keys[8]
    int64_t tat_ns[8]


cdef class Budget:
    cdef Rate rate
    cdef readonly int kind


cdef class BucketTable:
    cdef uint64_t k0
    cdef uint64_t k1
    cdef uint64_t *header
    cdef Set *sets
    cdef Py_buffer memory

    cdef int64_t tat(self, uint64_t key) noexcept
    cpdef Spending spend(self, Budget budget, uint64_t key, int64_t cost, int64_t now_ns)
    cpdef void refund(self, Budget budget, uint64_t key, int64_t cost, int64_t now_ns) except *
    cpdef void charge(self, Budget budget, uint64_t key, int64_t cost, int64_t now_ns) except *
