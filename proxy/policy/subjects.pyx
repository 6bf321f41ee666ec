# cython: language_level=3str
"""
Words of 64 bits for what is asked for: what is counted, remembered and cached goes by them.

The hashes are keyed with the secret of the region, the same in all processes of a node: nobody outside can make two
subjects share a word.
"""

from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint64_t

from fastpath._atomic cimport read_secret
from fastpath.buckets cimport hash_bytes

from proxy.hkp.classes import OperationClass

cdef enum:
    KEY_ID = 16  # digits
    V4_FINGERPRINT = 40
    V6_FINGERPRINT = 64
    SHORT_ID = 8

cdef int _CERT = OperationClass.CERT
cdef int _IDENTITY = OperationClass.IDENTITY


cdef class Subjects:

    def __init__(self, bytes secret not None):
        read_secret(secret, &self.k0, &self.k1)

    cdef uint64_t word(self, str text) except? 0:
        cdef Py_ssize_t size
        cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
        return hash_bytes(self.k0, self.k1, <const unsigned char *>data, size)

    cdef uint64_t counted(self, int kind, str subject) except? 0:
        cdef Py_ssize_t size
        cdef const char *data
        if kind != _CERT and kind != _IDENTITY:
            return 0
        data = PyUnicode_AsUTF8AndSize(subject, &size)
        if kind == _CERT and size == V4_FINGERPRINT:
            data += V4_FINGERPRINT - KEY_ID
            size = KEY_ID
        elif kind == _CERT and size == V6_FINGERPRINT:
            size = KEY_ID
        return hash_bytes(self.k0, self.k1, <const unsigned char *>data, size)

    cdef uint64_t certificate(self, str digits) except? 0:
        cdef Py_ssize_t size
        cdef const char *data = PyUnicode_AsUTF8AndSize(digits, &size)
        if size == V4_FINGERPRINT:
            data += V4_FINGERPRINT - SHORT_ID
        elif size == V6_FINGERPRINT or size == KEY_ID:
            data += KEY_ID - SHORT_ID
        if size == V4_FINGERPRINT or size == V6_FINGERPRINT or size == KEY_ID:
            size = SHORT_ID
        return hash_bytes(self.k0, self.k1, <const unsigned char *>data, size)

    cdef uint64_t domain(self, int kind, str subject) except? 0:
        cdef str domain
        if kind != _IDENTITY:
            return 0
        domain = subject.rpartition("@")[2]
        return self.word(domain) if len(domain) < len(subject) else 0

    def word_of(self, str text not None):
        return self.word(text)

    def counted_as(self, int kind, str subject not None):
        return self.counted(kind, subject)

    def certificate_of(self, str digits not None):
        return self.certificate(digits)

    def domain_of(self, int kind, str subject not None):
        return self.domain(kind, subject)
