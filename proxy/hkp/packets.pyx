# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
A walk over the packets of certificates (RFC 9580 sections 4, 5 and 10.1) as they come, with the bounds first.

Whatever a packet's head says is checked before a byte of the body is kept: the tag, the length, the sum of all. A body
is kept only if it is looked at and comes in pieces, so a walk holds the largest packet that is allowed, once. Nothing
is verified.

Lengths that are not known beforehand (partial, indeterminate) are for messages, and refused. What comes first in each
armored block must be a primary key, or a signature that revokes one: a bare revocation.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.string cimport memcpy, memset

from fastpath.buckets cimport hash_bytes
from proxy.hkp.signatures cimport KEY_ID_BYTES, REVOKES_KEY, Primary, Signature, big_endian, read_signature
from proxy.hkp.user_ids cimport is_printable, is_utf8

from proxy.hkp.armor import SECRET_TEXT
from proxy.hkp.certs import LISTED_USER_IDS, BadUpload, Cert
from proxy.hkp.fingerprints import key_name

cdef enum:
    SIGNATURE = 2  # tags
    SECRET_KEY = 5
    PUBLIC_KEY = 6
    SECRET_SUBKEY = 7
    MARKER = 10
    TRUST = 12
    USER_ID = 13
    PUBLIC_SUBKEY = 14
    ATTRIBUTE = 17
    PADDING = 21
    TAGS = 64
    MOST_HEAD_BYTES = 6
    MARKER_BYTES = 3
    REFUSED = -1  # as the longest body

NO_PRIMARY_TEXT = "The upload does not begin with a primary key; send what gpg --export writes."


cdef int fail(int status, str text) except -1:
    raise BadUpload(status, text)


cdef int damaged() except -1:
    return fail(422, "The key is damaged, or this is no OpenPGP certificate; send what gpg --export writes.")


cdef int beyond(str what) except -1:
    return fail(413, what + " than this server takes.")


cdef class PacketWalk:
    """Reads certificates in binary form, fed in pieces."""

    cdef Py_ssize_t longest[TAGS]  # body by tag, or REFUSED
    cdef Py_ssize_t most_certs, most_packets, most_cert_bytes, most_user_ids, most_attributes, most_third_party
    cdef bint latin1
    cdef long long latest_s
    cdef list certs  # that are complete
    cdef Py_ssize_t ended, all_packets  # certificates of earlier blocks; packets so far
    # the packet
    cdef unsigned char head[MOST_HEAD_BYTES]
    cdef int head_size, tag
    cdef bint in_body
    cdef Py_ssize_t body_size, got
    cdef unsigned char *kept  # its beginning, if it came in pieces
    # the certificate
    cdef Primary primary
    cdef list user_ids, foreign
    cdef Py_ssize_t user_id_count, attributes, packets, signatures, third_party, size

    def __cinit__(self, bounds, now_s):
        cdef int tag
        for tag in range(TAGS):
            self.longest[tag] = REFUSED
        self.longest[PUBLIC_KEY] = self.longest[PUBLIC_SUBKEY] = bounds.packet_bytes
        self.longest[TRUST] = self.longest[PADDING] = bounds.packet_bytes
        self.longest[MARKER] = MARKER_BYTES
        self.longest[SIGNATURE] = bounds.signature_bytes
        self.longest[USER_ID] = bounds.user_id_bytes
        self.longest[ATTRIBUTE] = bounds.attribute_bytes
        self.most_certs = bounds.certs
        self.most_packets = bounds.packets
        self.most_cert_bytes = bounds.cert_bytes
        self.most_user_ids = bounds.user_ids
        self.most_attributes = bounds.attributes
        self.most_third_party = bounds.third_party
        self.latin1 = bounds.latin1
        self.latest_s = now_s + bounds.ahead_s
        self.certs = []
        self.clear()

    def __dealloc__(self):
        PyMem_Free(self.kept)

    def feed(self, bytes data not None):
        cdef const unsigned char *at = <const unsigned char *>PyBytes_AS_STRING(data)
        cdef const unsigned char *end = at + PyBytes_GET_SIZE(data)
        cdef Py_ssize_t n
        while at < end:
            if not self.in_body:
                self.head_byte(at[0])
                at += 1
                if not self.in_body or self.body_size:
                    continue
            n = min(end - at, self.body_size - self.got)
            self.part(at, n)
            at += n

    def end_block(self):
        if self.in_body or self.head_size:
            fail(422, "The key is not complete: it ends within a packet.")
        self.close()
        if len(self.certs) == self.ended:
            fail(422, "There is no OpenPGP certificate in this upload, or in a part of it.")
        self.ended = len(self.certs)
        self.clear()

    def finish(self):
        if self.in_body or self.head_size or self.packets:
            self.end_block()
        if not self.certs:
            fail(422, "There is no OpenPGP certificate in this upload.")
        return tuple(self.certs)

    # Heads

    cdef int head_byte(self, unsigned char c) except -1:
        """Take a byte of a packet's head; at its end the body begins."""
        cdef int length_bytes, first = self.head[1]
        self.head[self.head_size] = c
        self.head_size += 1
        if self.head_size == 1:
            if c & 0x80 == 0 or (c & 0x40 == 0 and c & 3 == 3):
                damaged()
            return 0
        if self.head[0] & 0x40 == 0:
            length_bytes = 1 << (self.head[0] & 3)
            if self.head_size == 1 + length_bytes:
                self.begin(self.head[0] >> 2 & 15, big_endian(self.head + 1, length_bytes))
            return 0
        if self.head_size == 2:
            if c < 192:
                self.begin(self.head[0] & 63, c)
            elif 224 <= c < 255:
                damaged()
        elif first != 255:
            self.begin(self.head[0] & 63, (first - 192 << 8) + c + 192)
        elif self.head_size == MOST_HEAD_BYTES:
            self.begin(self.head[0] & 63, big_endian(self.head + 2, 4))
        return 0

    cdef int begin(self, int tag, Py_ssize_t size) except -1:
        """Begin with a packet, if its kind and its size may be."""
        if tag == SECRET_KEY or tag == SECRET_SUBKEY:
            fail(422, SECRET_TEXT)
        if self.longest[tag] == REFUSED:
            fail(422, "There is something else than public keys in this upload; send what gpg --export writes.")
        if size > self.longest[tag]:
            beyond("One part of the key is larger")
        self.all_packets += 1
        if self.all_packets > self.most_packets:
            beyond("The upload has more parts, such as signatures,")
        if tag == PUBLIC_KEY:
            self.close()
        elif not self.primary.version and tag != SIGNATURE and tag != MARKER and tag != PADDING:
            fail(422, NO_PRIMARY_TEXT)
        if not self.primary.version and tag in (PUBLIC_KEY, SIGNATURE) and len(self.certs) == self.most_certs:
            beyond("The upload has more keys")
        self.packets += 1
        self.size += self.head_size + size
        if self.size > self.most_cert_bytes:
            beyond("The key is larger")
        self.tag = tag
        self.body_size = size
        self.got = 0
        self.in_body = True
        return 0

    # Bodies

    cdef int part(self, const unsigned char *at, Py_ssize_t n) except -1:
        """Take what is there of a body; keep it if it is looked at and more is to come."""
        cdef bint whole = self.got + n == self.body_size
        cdef bint looked_at = self.tag != ATTRIBUTE and self.tag != PADDING and self.tag != TRUST
        if looked_at and not (whole and self.got == 0):
            if self.kept == NULL:
                self.kept = <unsigned char *>PyMem_Malloc(self.body_size)
                if self.kept == NULL:
                    raise MemoryError
            memcpy(self.kept + self.got, at, n)
            at = self.kept
        self.got += n
        if not whole:
            return 0
        self.body(at)
        PyMem_Free(self.kept)
        self.kept = NULL
        self.in_body = False
        self.head_size = 0
        return 0

    cdef int body(self, const unsigned char *at) except -1:
        """Look at a whole body."""
        if self.tag == SIGNATURE:
            self.signature(at)
        elif self.tag == USER_ID:
            self.user_id(at)
        elif self.tag == PUBLIC_KEY or self.tag == PUBLIC_SUBKEY:
            self.key(at)
        elif self.tag == ATTRIBUTE:
            self.attributes += 1
            if self.attributes > self.most_attributes:
                beyond("The key has more photographs or other attributes")
        return 0

    cdef int key(self, const unsigned char *at) except -1:
        cdef int version = at[0] if self.body_size > 6 else 0
        if not 2 <= version <= 6:
            damaged()
        if big_endian(at + 1, 4) > self.latest_s:
            fail(422, "The key says that it was made in the future; is the clock right where it was made?")
        if self.tag == PUBLIC_KEY:
            self.name(at, version)
        return 0

    cdef int name(self, const unsigned char *at, int version) except -1:
        """Compute fingerprint and key id of the primary key."""
        cdef object name = key_name(PyBytes_FromStringAndSize(<const char *>at, self.body_size))
        if name is None:
            damaged()
        self.primary.version = version
        self.primary.size = PyBytes_GET_SIZE(name.fingerprint)
        memcpy(self.primary.fingerprint, PyBytes_AS_STRING(name.fingerprint), self.primary.size)
        memcpy(self.primary.key_id, PyBytes_AS_STRING(name.key_id), KEY_ID_BYTES)
        return 0

    cdef int user_id(self, const unsigned char *at) except -1:
        self.user_id_count += 1
        if self.user_id_count > self.most_user_ids:
            beyond("The key has more user IDs")
        if not is_utf8(at, self.body_size) and not (self.latin1 and is_printable(at, self.body_size, 0xA0)):
            fail(422, "A user ID of the key is not text in UTF-8.")
        if not is_printable(at, self.body_size, 0x80):
            fail(422, "A user ID of the key has control characters in it.")
        if self.user_id_count <= LISTED_USER_IDS:
            self.user_ids.append(PyBytes_FromStringAndSize(<const char *>at, self.body_size))
        return 0

    cdef int signature(self, const unsigned char *at) except -1:
        cdef Signature found
        if not read_signature(at, self.body_size, &found, &self.primary):
            damaged()
        if not self.primary.version:
            if found.kind != REVOKES_KEY or (found.key_id == NULL and found.fingerprint == NULL):
                fail(422, NO_PRIMARY_TEXT)
            self.revocation(&found)
            return 0
        self.signatures += 1
        if found.foreign or (found.key_id == NULL and found.fingerprint == NULL):
            self.third_party += 1
            if self.third_party > self.most_third_party:
                beyond("The key has more signatures of other people")
            self.foreign.append(hash_bytes(0, 0, at, self.body_size))
        return 0

    # Certificates

    cdef int revocation(self, Signature *found) except -1:
        cdef bytes issuer
        if found.fingerprint != NULL:
            issuer = PyBytes_FromStringAndSize(<const char *>found.fingerprint, found.size)
        else:
            issuer = PyBytes_FromStringAndSize(<const char *>found.key_id, KEY_ID_BYTES)
        return self.add(Cert(issuer.hex().upper(), (), self.packets, 1, 0, self.size, True))

    cdef int close(self) except -1:
        """End the certificate, if there is one."""
        cdef bytes digest
        if not self.primary.version:
            return 0
        digest = PyBytes_FromStringAndSize(<const char *>self.primary.fingerprint, self.primary.size)
        name, user_ids = digest.hex().upper(), tuple(self.user_ids)
        return self.add(Cert(name, user_ids, self.packets, self.signatures, self.third_party, self.size, False, tuple(self.foreign)))

    cdef int add(self, cert) except -1:
        self.certs.append(cert)
        self.clear()
        return 0

    cdef void clear(self) noexcept:
        """Begin with the next certificate."""
        memset(&self.primary, 0, sizeof(Primary))
        self.user_ids = []
        self.foreign = []
        self.user_id_count = self.attributes = self.packets = self.signatures = self.third_party = self.size = 0
