cdef class Stream:
    cdef readonly int fd
    cdef object loop
    cdef public object protocol
    cdef bytes backlog  # not yet accepted by the kernel
    cdef object following  # deque of pieces that go out after it; None: there were never any
    cdef Py_ssize_t sent  # bytes of `backlog` already sent
    cdef bint reading
    cdef bint writing  # a writer is registered
    cdef readonly bint paused  # the protocol was told to pause
    cdef bint closing
    cdef bint ending  # FIN is due when the backlog is sent
    cdef bint at_eof

    cpdef bytes read_now(self)
    cpdef resume_reading(self)
    cpdef pause_reading(self)
    cpdef write(self, bytes data)
    cpdef write_all(self, pieces)
    cpdef close(self)
    cpdef abort(self)
    cpdef reset(self)
    cpdef shutdown_write(self)
    cdef int _read(self) except -1
    cdef int _send_backlog(self) except -1
    cdef int _flushed(self) except -1
    cdef int _release(self) except -1
    cdef int _drop(self) except -1
    cdef int _drop_soon(self) except -1
    cpdef int detach(self) except? -1
    cdef int _let_go(self) except? -1
