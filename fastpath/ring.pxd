from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    SUBJECT = 64
    FINGERPRINT = 16


cdef packed struct Entry:  # a record: `record.RECORD_FORMAT`
    int64_t time_ns
    uint64_t client
    uint64_t request_id
    uint64_t subject_hash
    uint32_t upstream_us
    uint32_t wait_us
    uint32_t total_us
    uint32_t received
    uint32_t sent
    uint16_t status
    uint8_t operation
    uint8_t action
    uint8_t reason
    uint8_t source
    uint8_t method
    uint8_t flags
    uint8_t upstream
    uint8_t padding[3]
    uint8_t address[16]
    uint8_t subject[SUBJECT]
    uint8_t fingerprint[FINGERPRINT]


cdef class Ring:
    cdef uint64_t *words
    cdef Entry *entries
    cdef uint64_t size  # records, a power of two
    cdef Py_buffer memory

    cpdef bint write(
        self, int64_t time_ns, uint64_t client, uint64_t request_id, uint64_t subject_hash,
        int64_t upstream_us, int64_t wait_us, int64_t total_us, int64_t received, int64_t sent,
        uint16_t status, uint8_t operation, uint8_t action, uint8_t reason, uint8_t source, uint8_t method,
        uint8_t flags, uint8_t upstream, bytes address, bytes subject, bytes fingerprint,
    ) except -1
    cpdef bytes take(self, uint64_t most)
    cdef bytes copy(self, uint64_t first, uint64_t count)
