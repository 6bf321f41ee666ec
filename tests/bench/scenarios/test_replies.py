"""Answers that are kept, in virtual time."""

from collections.abc import Mapping

import pytest

from bench.scenarios.certificates import gpg_get, mail_search
from bench.scenarios.clock import SECOND, START_NS
from bench.scenarios.replies import HEAD_BYTES, Replies
from bench.scenarios.upstream import COSTS, FAT, MISSING, Cost
from fastpath.cache import LARGEST_REPLY
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.hkp.operation import Classifier, ClassifierOptions, Operation
from proxy.policy.subjects import Subjects
from proxy.replay.node import SECRET

CLASSIFY = Classifier(ClassifierOptions())
KEY = "0123456789ABCDEF0123456789ABCDEF01234567"
GET = CLASSIFY("GET", gpg_get(KEY))
SEARCH = CLASSIFY("GET", mail_search("p@example.org"))
USUAL = COSTS[OperationClass.CERT]
LARGEST = LARGEST_REPLY - HEAD_BYTES
SMALL = {"HKPGUARD_CACHE__BYTES": "1MiB"}  # keeps answers of 256 KiB
OFF = {"HKPGUARD_CACHE__MODE": "off"}


def _replies(environ: Mapping[str, str] | None = None) -> Replies:
    return Replies(Config.from_env(environ or {}), Subjects(SECRET))


@pytest.mark.parametrize(
    ("operation", "cost", "kept_s"),
    [
        (GET, USUAL, 45),
        (GET, MISSING, 20),
        (SEARCH, USUAL, 10),
        (SEARCH, MISSING, 10),
        (GET, FAT, 45),
        (GET, Cost(0, LARGEST), 45),
    ],
)
def test_answers_are_kept_for_their_time(operation: Operation, cost: Cost, kept_s: int) -> None:
    """From when they came; until then the request is in flight, and others wait for it."""
    replies = _replies()
    assert not replies.has(operation, START_NS)
    replies.keep(operation, cost, START_NS)
    end_ns = START_NS + cost.service_us * 1000 + kept_s * SECOND
    assert not replies.has(operation, START_NS - 1)
    assert replies.has(operation, START_NS)
    assert replies.has(operation, end_ns - 1)
    assert not replies.has(operation, end_ns)
    replies.turn(end_ns - 1)
    assert replies.has(operation, end_ns - 1)


@pytest.mark.parametrize(
    ("environ", "operation", "cost"),
    [({}, GET, Cost(0, LARGEST + 1)), (SMALL, GET, FAT), (OFF, GET, USUAL), ({}, CLASSIFY("POST", "/pks/add"), USUAL)],
)
def test_some_answers_are_not_kept(environ: Mapping[str, str], operation: Operation, cost: Cost) -> None:
    """What is too large, what the operator does not want kept, what is no answer to a question."""
    replies = _replies(environ)
    replies.keep(operation, cost, START_NS)
    assert not replies.has(operation, START_NS)


def test_an_upload_ends_what_is_kept_of_its_certificate() -> None:
    """By its key id as well."""
    replies = _replies()
    by_key_id = CLASSIFY("GET", gpg_get(KEY[-16:]))
    for each in (GET, by_key_id, SEARCH):
        replies.keep(each, USUAL, START_NS)
    replies.forget(KEY)
    assert [replies.has(each, START_NS) for each in (GET, by_key_id, SEARCH)] == [False, False, True]
