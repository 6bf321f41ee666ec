from libc.stdint cimport int64_t, uint64_t

from proxy.http.client cimport ClientConnection
from proxy.http.guard cimport Guard
from proxy.http.head cimport ReplyHead, RequestHead
from proxy.http.parcel cimport Parcel
from proxy.http.upstream cimport UpstreamConnection
from proxy.policy.judge cimport Client, Facts, Verdict


# Where an exchange stands.
cdef enum Phase:
    JUDGING
    READING  # its body
    WAITING  # parked, or in the queue of its class
    SENDING
    RELAYING
    FINISHED


cdef class Exchange:
    cdef readonly Guard guard
    cdef readonly ClientConnection connection
    cdef readonly RequestHead head
    cdef readonly Client client
    cdef readonly Verdict verdict
    cdef Phase phase
    cdef readonly uint64_t request_id
    # The operation.
    cdef readonly int kind
    cdef readonly int price
    cdef int times  # as in the facts
    cdef readonly str subject
    cdef readonly uint64_t subject_word
    cdef readonly bytes target
    cdef readonly object intake  # its body; None without one
    cdef readonly int64_t received  # bytes of it
    cdef tuple deposit  # for what its body holds; None: nothing
    cdef object body_taken  # what was taken for it, while the cluster is asked about that; None: it is not
    cdef object claim  # number of what the cluster is asked; 0: nothing
    cdef readonly int64_t body_until_ns  # all of it has to be there by then
    # The cache.
    cdef uint64_t certificate  # all names of it have this word; 0 for other classes
    cdef uint64_t cache_key
    cdef uint64_t cache_check
    cdef object ticket  # of the flight that this request leads; None: it leads none
    cdef bint in_flight  # it waits for the answer that another one fetches
    cdef int flights  # that it has waited for
    cdef readonly int cache_use
    # A reply that goes out from a parcel: one that is to be kept, or a large one that was.
    cdef Parcel parcel  # None: it goes to the client as it comes
    cdef Py_ssize_t next_piece  # that the client has not got
    cdef bint whole  # all pieces are there
    cdef ReplyHead reply
    # The upstream side.
    cdef UpstreamConnection upstream
    cdef readonly tuple tried  # upstreams that could not be connected to
    cdef readonly int attempts  # times it was sent
    cdef readonly int upstream_index  # that was sent to last; -1: none
    # The client side.
    cdef bint reusable
    cdef bint chunked
    cdef readonly int status
    cdef readonly int64_t sent
    # Waiting.
    cdef object timer
    cdef list places  # that it wants, in this order; None: none
    cdef Py_ssize_t taken  # of them: asked for
    cdef bint dear  # the keyserver had much work with this subject lately
    # Times, ns; 0: not reached.
    cdef readonly int64_t started_ns
    cdef readonly int64_t decided_ns
    cdef readonly int64_t due_ns  # its tokens are there
    cdef readonly int64_t ready_ns  # all of the request was there
    cdef readonly int64_t wait_ns
    cdef readonly int64_t sent_ns
    cdef readonly int64_t first_byte_ns
    cdef readonly int64_t relay_ns

    cdef Exchange begin(self, Guard guard, ClientConnection connection, RequestHead head)
    cdef int run(self) except -1
    cdef Facts _classify(self)
    cdef int _canary(self) except -1
    cdef Facts _facts(self, int refused, str allow, int trap)
    cdef int _act(self) except -1
    cdef int _claim_own(self) except -1
    cdef int _claim(self, list takes, int64_t since_ns) except -1
    cdef int _granted(self) except -1
    cdef int _refused_elsewhere(self, answer) except -1
    cdef int _wait_elsewhere(self, answer) except -1
    cdef int _begin_body(self) except -1
    cdef int _go_on(self) except -1
    cdef int _park(self) except -1
    cdef int _read_body(self) except -1
    cdef int _when_others_had_theirs(self, bint judged) except -1
    cdef int _judge_body(self) except -1
    cdef int _claim_body(self) except -1
    cdef int _give_up_body(self, Verdict verdict) except -1
    cdef int _enter(self) except -1
    cdef int fetch(self) except -1
    cdef int _want(self, turnstile, uint64_t key, cap) except -1
    cdef int _take_places(self) except -1
    cdef int _settle(self, int64_t first_byte_ns) except -1
    cdef int serve(self, int status, bytes reply, Parcel rest) except -1
    cdef int _dispatch(self) except -1
    cdef bint waits(self)
    cdef bint repeatable(self)
    cdef int repeat(self, UpstreamConnection lost) except -1
    cdef bint wants_body(self)
    cdef int _name_certificate(self) except -1
    cdef bint body_unfinished(self)
    cdef bytes _request_bytes(self, bytes default_host)
    cdef int send_to(self, UpstreamConnection upstream) except -1
    cdef int body_received(self, bytes data) except -1
    cdef int reply_whole(self, ReplyHead reply, bytes body, int64_t first_byte_ns) except -1
    cdef bytes _reply_block(self, ReplyHead reply)
    cdef bytes _length_field(self, ReplyHead reply, Py_ssize_t body_bytes)
    cdef bytes connection_field(self)
    cdef int reply_started(self, ReplyHead reply, bytes payload, int64_t first_byte_ns) except -1
    cdef int reply_data(self, bytes payload) except -1
    cdef int reply_ended(self) except -1
    cdef int was_large(self, int64_t size) except -1
    cdef int _unpack(self, bytes payload) except -1
    cdef int _write_pieces(self) except -1
    cdef int write_more(self) except -1
    cdef int _write_payload(self, bytes payload) except -1
    cdef int _end_reply(self) except -1
    cdef int64_t _reply_bytes(self) noexcept
    cdef int pause(self) except -1
    cdef int resume(self) except -1
    cdef int upstream_failed(self) except -1
    cdef int body_timed_out(self) except -1
    cdef int client_gone(self) except -1
    cdef int _write(self, bytes data) except -1
    cdef int _refuse(self, Verdict verdict) except -1
    cdef int _hold(self) except -1
    cdef int _refund(self) except -1
    cdef int _finish(self, bint broken=*) except -1
