cdef bytes ja4(const unsigned char *message, Py_ssize_t size)
