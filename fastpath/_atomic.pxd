"""
Words of shared memory: GCC's atomics under the names that the tables use, the keyed hash, and the buffer to
work in.

Everything that decides is sequentially consistent: on x86-64 a load costs nothing extra and a
compare-and-swap is a full fence anyway, and the arguments about interleavings (`slots.pxd`) need one order
that all processes agree on.
"""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint64_t


cdef extern from *:
    """
    #include <stdint.h>

    #define hkp_load(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
    #define hkp_store(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
    #define hkp_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define hkp_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define hkp_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
    #define hkp_put(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
    #define hkp_prefetch(p) __builtin_prefetch((p), 1, 3)
    #define hkp_add(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)

    static inline int hkp_swap_u64(uint64_t *p, uint64_t seen, uint64_t wanted) {
        return __atomic_compare_exchange_n(p, &seen, wanted, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }

    static inline int hkp_swap_i64(int64_t *p, int64_t seen, int64_t wanted) {
        return __atomic_compare_exchange_n(p, &seen, wanted, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }

    /* The part of hash * n above the point: a hash onto 0..n-1 without a division. */
    static inline uint64_t hkp_scale(uint64_t hash, uint64_t n) {
        return (uint64_t)(((unsigned __int128)hash * n) >> 64);
    }

    /* SipHash-1-3 of one word; Aumasson, Bernstein 2012. Without the secret nobody can aim at a set. */
    #define HKP_ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
    #define HKP_ROUND \\
        v0 += v1; v1 = HKP_ROTATE(v1, 13); v1 ^= v0; v0 = HKP_ROTATE(v0, 32); \\
        v2 += v3; v3 = HKP_ROTATE(v3, 16); v3 ^= v2; \\
        v0 += v3; v3 = HKP_ROTATE(v3, 21); v3 ^= v0; \\
        v2 += v1; v1 = HKP_ROTATE(v1, 17); v1 ^= v2; v2 = HKP_ROTATE(v2, 32)

    static inline uint64_t hkp_hash(uint64_t k0, uint64_t k1, uint64_t word) {
        const uint64_t length = (uint64_t)8 << 56;
        uint64_t v0 = k0 ^ 0x736f6d6570736575ULL, v1 = k1 ^ 0x646f72616e646f6dULL;
        uint64_t v2 = k0 ^ 0x6c7967656e657261ULL, v3 = k1 ^ 0x7465646279746573ULL;
        v3 ^= word; HKP_ROUND; v0 ^= word;
        v3 ^= length; HKP_ROUND; v0 ^= length;
        v2 ^= 0xff; HKP_ROUND; HKP_ROUND; HKP_ROUND;
        return v0 ^ v1 ^ v2 ^ v3;
    }
    """
    uint64_t load "hkp_load"(const uint64_t *word) noexcept nogil
    int64_t load_time "hkp_load"(const int64_t *word) noexcept nogil
    void store "hkp_store"(uint64_t *word, uint64_t value) noexcept nogil
    uint64_t load_acquire "hkp_acquire"(const uint64_t *word) noexcept nogil
    void store_release "hkp_release"(uint64_t *word, uint64_t value) noexcept nogil
    uint64_t peek_word "hkp_relaxed"(const uint64_t *word) noexcept nogil
    void put_word "hkp_put"(uint64_t *word, uint64_t value) noexcept nogil
    void put_time "hkp_put"(int64_t *word, int64_t value) noexcept nogil
    void prefetch "hkp_prefetch"(const void *line) noexcept nogil
    void add "hkp_add"(uint64_t *word, uint64_t value) noexcept nogil
    bint swap "hkp_swap_u64"(uint64_t *word, uint64_t seen, uint64_t wanted) noexcept nogil
    bint swap_time "hkp_swap_i64"(int64_t *word, int64_t seen, int64_t wanted) noexcept nogil
    uint64_t scale "hkp_scale"(uint64_t hash, uint64_t n) noexcept nogil
    uint64_t keyed_hash "hkp_hash"(uint64_t k0, uint64_t k1, uint64_t word) noexcept nogil


cdef inline int map_words(Py_buffer *view, memory, str what, Py_ssize_t least_bytes) except -1:
    """Hold `memory` until the caller releases it with `unmap`; ValueError unless it fits."""
    PyObject_GetBuffer(memory, view, PyBUF_WRITABLE)
    if view.len < least_bytes:
        found = view.len
        PyBuffer_Release(view)
        raise ValueError(f"memory of {what}: {found} bytes, not {least_bytes}")
    if <size_t>view.buf % 8:
        PyBuffer_Release(view)
        raise ValueError(f"memory of {what} does not begin at a multiple of 8 bytes")
    return 0


cdef inline int unmap(Py_buffer *view) except -1:
    if view.obj is not None:
        PyBuffer_Release(view)
    return 0


cdef inline int read_secret(bytes secret, uint64_t *k0, uint64_t *k1) except -1:
    if len(secret) != 16:
        raise ValueError(f"secret has {len(secret)} bytes, not 16")
    k0[0] = int.from_bytes(secret[:8], "little")
    k1[0] = int.from_bytes(secret[8:], "little")
    return 0
