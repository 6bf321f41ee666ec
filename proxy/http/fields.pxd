cdef extern from "string.h" nogil:
    int strncasecmp(const char *a, const char *b, size_t n)


cdef enum:
    NO_BODY_LENGTH = -1
    CHUNKED_BODY = -2
    MAX_FIELDS = 100
    MAX_NOMINATED = 16

# What a byte may be part of.
cdef enum:
    TOKEN = 1
    VALUE = 2
    TARGET = 4
    AUTHORITY = 8

cdef unsigned char KIND[256]


cdef struct Field:
    const char *name
    Py_ssize_t name_len
    const char *value
    Py_ssize_t value_len
    const char *end  # one past the CRLF
    bint kept


cdef inline bint same_word(const char *text, Py_ssize_t length, const char *word, Py_ssize_t word_len) noexcept nogil:
    """Whether a text is a word, whatever the case."""
    return length == word_len and strncasecmp(text, word, word_len) == 0


cdef class Fields:
    """What the field lines of a head say of its framing and its connection."""

    cdef Field fields[MAX_FIELDS]
    cdef int count
    cdef long long length
    cdef bint has_length
    cdef bint has_coding
    cdef bint close
    cdef bint keep
    cdef Field nominated[MAX_NOMINATED]
    cdef int nominated_count

    cdef int read(self, const char *at, const char *end) except -1
    cdef int content_length(self, Field *field) except -1
    cdef int transfer_encoding(self, Field *field) except -1
    cdef int connection(self, Field *field) except -1
    cdef void drop_nominated(self) noexcept
    cdef int settle_framing(self, int minor) except -1
    cdef bint keeps_alive(self, int minor) noexcept
    cdef bytes block(self, const char *start_line, Py_ssize_t start_line_len)


cdef object refuse(int status, str why)
cdef const char *end_of_head(const char *at, Py_ssize_t size, Py_ssize_t most) except? NULL
