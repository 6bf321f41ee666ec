"""What one record adds to a window: whole numbers, so that sums do not depend on the order of adding.

Most are counts. Times and sizes are added as steps of a sixteenth of an octave (`octaves`), not in microseconds or
bytes: one long pause does not outweigh a hundred short ones, and every sum fits 32 bits.

What the guard did is left out where it can be. A pause is the time from the end of a request to the beginning of the
next, so what a request waited in the guard, or for the keyserver, is in neither. Misses count of what was answered
only. That a request was refused for want of tokens is not looked at: a client must not look worse for having been
limited, and shadow mode, or a log of another server, must show the same as the live guard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fastpath.record import SUBJECT_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.steps import Steps
    from models.strands import Strands

    Records = NDArray[np.void]
    Marks = NDArray[np.void]
    Flags = NDArray[np.bool_]
    Places = NDArray[np.intp]
    Words = NDArray[np.uint64]
    Whole = NDArray[np.int64]

# Numbers of records that mean something here. Their words are in the folder above, which models do not know; a test
# compares.
CERT, IDENTITY, WORDS, UPLOAD, MAIL, ADMIN, SYNC, PREFIXLOG, STATS, STATIC, UNKNOWN = range(1, 12)
ALLOW, DELAY, SHADOW = 0, 1, 6
MALFORMED, TOO_LARGE, TIMEOUT, GONE, BANNED, UNWANTED = 8, 9, 10, 12, 16, 17
GET, POST = 1, 3
FLAG_HTTP_1_0 = 1
NO_HEAD = 0  # subject_hash of a connection whose head was not read

SUMS: Final = (
    "requests", "certs", "identities", "words", "uploads", "pages", "rare", "unknown",
    "malformed", "unfinished", "odd_methods", "http_1_0",
    "searches", "missed", "domains", "same_domain", "text_bytes", "odd_bytes",
    "key_ids", "rises", "falls", "steps", "step_octaves",
    "pauses", "pause_octaves", "pause_squares", "overlaps",
    "upload_octaves", "upload_squares",
)  # fmt: skip
"""What is added up."""
PEAKS: Final = ("burst", "haste")
"""Of what the greatest is kept: requests since the last rest; SLOWEST less the octaves of a pause."""
MARKS: Final = np.dtype([(name, np.int32) for name in (*SUMS, *PEAKS)])

OCTAVE: Final = 16  # steps
SLOWEST: Final = 35 * OCTAVE  # a pause of 6 h, after which a client is forgotten, is 34.3 octaves of us
REST_US: Final = 1_000_000
MOST_BURST: Final = 1 << 30
_MANTISSA: Final = 48  # bits of a float64 below the first four of its fraction
_ONE: Final = 1023 * OCTAVE  # its exponent for 1.0

_BAD_INPUT: Final = np.zeros(256, np.bool_)
_BAD_INPUT[[MALFORMED, TOO_LARGE, UNWANTED]] = True
_KINDS: Final = slice(SUMS.index("certs"), SUMS.index("rare") + 1)
_KIND_OF: Final = np.zeros((256, _KINDS.stop - _KINDS.start), np.int32)  # one of them for each class of operations
_KIND_OF[[CERT, IDENTITY, WORDS, UPLOAD], [0, 1, 2, 3]] = 1
_KIND_OF[[STATS, STATIC], 4] = 1
_KIND_OF[[MAIL, ADMIN, SYNC, PREFIXLOG], 5] = 1
_FOUND, _NOT_FOUND = 200, 404
_FINGERPRINT_DIGITS: Final = 32  # of the shortest
_RANK_DIGITS: Final = 16
_RANK_BYTES: Final = 8
_DOMAIN_BYTES: Final = 32
_FINGERPRINT, _KEY_ID, _IDENTITY, _WORDS = range(1, 5)  # families of what is searched for, which have an order each
_FAMILY_OF: Final = np.zeros((2, 256), np.uint8)  # by whether it is a fingerprint, and operation
_FAMILY_OF[:, [CERT, IDENTITY, WORDS]] = [[_KEY_ID, _IDENTITY, _WORDS], [_FINGERPRINT, _IDENTITY, _WORDS]]
_PLAIN: Final = np.zeros(256, np.bool_)
_PLAIN[[0, *b" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+@',", *range(128, 256)]] = True
_DIGITS: Final = np.zeros(256, np.uint64)
_DIGITS[list(b"0123456789ABCDEF")] = range(16)
_PLACES: Final = np.arange(60, -1, -4, dtype=np.uint64)  # of 16 digits, bits
_ODD: Final = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)


class Lookups(NamedTuple):
    """The records of a block that ask for something that has a name."""

    where: Places  # in the block, shape (n,)
    text: NDArray[np.uint8]  # the bytes of the subject, filled up with 0, shape (n, 64)
    family: NDArray[np.uint8]  # shape (n,)


class Kept(NamedTuple):
    """What a row keeps for the next block, beside its window; 0: nothing. Arrays of shape (rows,)."""

    time_ns: Whole
    requests: Whole  # since it was forgotten last
    burst: Whole
    family: NDArray[np.uint8]
    rank: Words
    domain: Words

    @classmethod
    def empty(cls, rows: int) -> Kept:
        """Return what new rows keep."""
        dtypes = (np.int64, np.int64, np.int64, np.uint8, np.uint64, np.uint64)
        return cls(*(np.zeros(rows, dtype) for dtype in dtypes))  # type: ignore[arg-type]  # in the order of fields


def octaves(values: NDArray[np.unsignedinteger | np.signedinteger]) -> Whole:
    """Return log2(1 + value) of values from 0, in steps of a sixteenth, rounded down; straight between powers of two.

    It is read from the bits of the number, so it is the same on every machine and for every length of the array.
    """
    found: Whole = ((values.astype(np.float64) + 1).view(np.int64) >> _MANTISSA) - _ONE
    return found


def marks_of(records: Records, strands: Strands, kept: Kept) -> Steps[Marks]:
    """Find out, step by step, what each record adds.

    Args:
        records: Of RECORD_DTYPE, in the order of the strands, shape (n,).
        strands: Their order.
        kept: Of all rows; is changed.

    Returns:
        MARKS, shape (n,).

    """
    marks = np.zeros(len(records), MARKS)
    _mark_kind(marks, records)
    _mark_manners(marks, records)
    _mark_time(marks, records, strands, kept)
    _mark_uploads(marks, records)
    yield
    yield from _mark_lookups(marks, records, strands, kept)
    return marks


def matrix_of(marks: Marks) -> NDArray[np.int32]:
    """Return the same memory as a matrix, shape (n, len(SUMS) + len(PEAKS))."""
    return marks.view(np.int32).reshape(len(marks), len(SUMS) + len(PEAKS))


def are_lookups(records: Records) -> Flags:
    """Tell which records ask for something that has a name: a certificate, an identity or words."""
    flags: Flags = (records["operation"] >= CERT) & (records["operation"] <= WORDS)
    return flags


def _mark_kind(marks: Marks, records: Records) -> None:
    """Count what is asked for."""
    operation = records["operation"]
    bad_input = _BAD_INPUT[records["reason"]]
    matrix_of(marks)[:, _KINDS] = _KIND_OF[operation]
    marks["requests"] = 1
    marks["malformed"] = bad_input
    marks["unknown"] = (operation == UNKNOWN) & (records["subject_hash"] != NO_HEAD) & ~bad_input


def _mark_manners(marks: Marks, records: Records) -> None:
    """Count how it is asked for."""
    read = records["subject_hash"] != NO_HEAD
    marks["unfinished"] = (records["reason"] == TIMEOUT) | (records["reason"] == GONE)
    marks["odd_methods"] = read & (records["method"] != GET) & (records["method"] != POST)
    marks["http_1_0"] = records["flags"] & FLAG_HTTP_1_0


def _mark_time(marks: Marks, records: Records, strands: Strands, kept: Kept) -> None:
    """Tell pauses and bursts.

    Records of two workers may come in the wrong order where blocks meet; who ended before the one before is such a
    record, and overlaps nothing.
    """
    end_ns = records["time_ns"]
    before_ns = strands.before(end_ns, kept.time_ns)
    known = before_ns != 0
    pause_ns = end_ns - records["total_us"].astype(np.int64) * 1000 - before_ns
    marks["overlaps"] = known & (pause_ns < 0) & (end_ns >= before_ns)
    pause_us = np.maximum(pause_ns, 0) // 1000
    steps = np.where(known, octaves(pause_us), 0)
    marks["pauses"] = known
    marks["pause_octaves"] = steps
    marks["pause_squares"] = steps * steps
    marks["haste"] = np.where(known, SLOWEST - steps, 0)
    marks["burst"] = np.minimum(strands.count(kept.burst, known & (pause_us >= REST_US)), MOST_BURST)


def _mark_uploads(marks: Marks, records: Records) -> None:
    """Tell the sizes of uploads."""
    steps = np.where(records["operation"] == UPLOAD, octaves(records["received"]), 0)
    marks["upload_octaves"] = steps
    marks["upload_squares"] = steps * steps


def _mark_lookups(marks: Marks, records: Records, strands: Strands, kept: Kept) -> Steps[None]:
    """Tell what is searched for, and whether it was there."""
    lookups = _lookups_of(records)
    where, text, family = lookups
    _mark_misses(marks, records, lookups)
    _mark_order(marks, strands, kept, lookups)
    yield
    texts = family > _KEY_ID
    _mark_texts(marks, Lookups(where[texts], text[texts], family[texts]))
    identities = where[family == _IDENTITY]
    domain = _domain(text[family == _IDENTITY])
    marks["same_domain"][identities] = strands.before(domain, kept.domain, identities) == domain


def _lookups_of(records: Records) -> Lookups:
    where = np.flatnonzero(are_lookups(records))
    subjects = np.ascontiguousarray(records["subject"][where])
    text = subjects.view(np.uint8).reshape(len(subjects), SUBJECT_BYTES)
    long = (text[:, _FINGERPRINT_DIGITS - 1] != 0).view(np.uint8)
    return Lookups(where, text, _FAMILY_OF[long, records["operation"][where]])


def _mark_misses(marks: Marks, records: Records, lookups: Lookups) -> None:
    """Count misses, but of fingerprints: a refresh has them for every key that was never uploaded (HKP.md 5.4)."""
    where, _, family = lookups
    action, status = records["action"][where], records["status"][where]
    answered = (family != _FINGERPRINT) & ((action <= DELAY) | (action >= SHADOW))
    marks["searches"][where] = answered & ((status == _FOUND) | (status == _NOT_FOUND))
    marks["missed"][where] = answered & (status == _NOT_FOUND)
    marks["key_ids"][where] = family == _KEY_ID


def _mark_order(marks: Marks, strands: Strands, kept: Kept, lookups: Lookups) -> None:
    """Tell whether subjects come in their order, and how far ids are apart; the same one again is no step.

    Not the order of key ids: Debian's keyring is sorted by them, and who refreshes it does nothing wrong. Their
    fingerprints, by which gpg asks, are in no order.
    """
    where, _, family = lookups
    rank = _rank(lookups)
    family_before = strands.before(family, kept.family, where)
    rank_before = strands.before(rank, kept.rank, where)
    moved = (family_before == family) & (rank != rank_before)
    rises = rank > rank_before
    in_order = moved & (family != _KEY_ID)
    marks["rises"][where] = in_order & rises
    marks["falls"][where] = in_order & ~rises
    stepped = moved & (family <= _KEY_ID)
    distance = np.where(rises, rank - rank_before, rank_before - rank)
    marks["steps"][where] = stepped
    marks["step_octaves"][where] = np.where(stepped, octaves(distance), 0)


def _mark_texts(marks: Marks, lookups: Lookups) -> None:
    """Tell what texts are made of: whole domains, and signs that names and addresses do not have."""
    where, text, family = lookups
    marks["text_bytes"][where] = np.count_nonzero(text, axis=1)
    marks["odd_bytes"][where] = np.count_nonzero(~_PLAIN[text], axis=1)
    named = ((text == ord(".")) | (text == ord("@"))).any(axis=1) & ~(text == ord(" ")).any(axis=1)
    marks["domains"][where] = named & (family == _WORDS)


def _rank(lookups: Lookups) -> Words:
    """Return a number for each subject, in the order of subjects: the first 16 digits, or the first 8 bytes."""
    _, text, family = lookups
    cert = family <= _KEY_ID
    rank: Words = text[:, :_RANK_BYTES].copy().view(">u8").astype(np.uint64).reshape(-1)
    rank[cert] = (_DIGITS[text[cert, :_RANK_DIGITS]] << _PLACES).sum(axis=1)
    return rank


def _domain(text: NDArray[np.uint8]) -> Words:
    """Return a word for what comes after the `@` of each text, never 0; as far as the record shows it."""
    filled = np.zeros((len(text), text.shape[1] + _DOMAIN_BYTES + 1), np.uint8)
    filled[:, : text.shape[1]] = text
    signs = text == ord("@")
    at = np.where(signs.any(axis=1), signs.argmax(axis=1), text.shape[1])
    domain = np.take_along_axis(filled, at[:, None] + np.arange(1, _DOMAIN_BYTES + 1), axis=1)
    word: Words = (domain.view(np.uint64) * _ODD).sum(axis=1, dtype=np.uint64)
    return word | np.uint64(1)
