cdef class RequestHead:
    cdef readonly str method
    cdef readonly str target
    cdef readonly int minor
    cdef readonly long long length
    cdef readonly bint keep_alive
    cdef readonly bint expects_continue
    cdef bytes authority  # of a target in absolute form
    cdef readonly bytes host
    cdef readonly bytes block
    cdef readonly bytes forwarded_for
    cdef readonly bytes forwarded
    cdef readonly bytes forwarded_proto
    cdef readonly bytes cf_connecting_ip
    cdef readonly bytes true_client_ip
    cdef readonly bytes x_real_ip
    cdef readonly bytes accept
    cdef readonly bytes content_type
    cdef readonly bint encoded
    cdef readonly bint special
    cdef readonly Py_ssize_t size


cdef class ReplyHead:
    cdef readonly int status
    cdef readonly int minor
    cdef readonly long long length
    cdef readonly bint keep_alive
    cdef readonly bytes block
    cdef readonly Py_ssize_t size


cpdef RequestHead read_request(bytes buffer, Py_ssize_t head_most, Py_ssize_t target_most, Py_ssize_t begin=*)
cpdef ReplyHead read_reply(bytes buffer, Py_ssize_t head_most)
