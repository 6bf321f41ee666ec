cdef class ProxyHeader:
    cdef readonly Py_ssize_t size
    cdef readonly int version
    cdef readonly bint local
    cdef readonly bytes address
    cdef readonly int port


cpdef ProxyHeader read_proxy_header(bytes buffer)
cpdef bytes proxy_v2_header(bytes source, int source_port, bytes destination, int destination_port)
