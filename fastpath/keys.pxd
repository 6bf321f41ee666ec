from libc.stdint cimport uint64_t


cpdef uint64_t client_key(bytes packed) except? 0
cpdef str address_text(bytes packed)
