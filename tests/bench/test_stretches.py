"""Stretches: what is sent, and what is said of the figures."""

import pytest

from bench.stretches import CASES, MIB, Case, Stretches, cases, shortfalls
from proxy.hkp.certs import BadUpload, UploadBounds
from proxy.hkp.uploads import UploadReader, upload_kind
from tests.certs_for_tests import NOW_S

ALL = list(cases(2))
OK = 200


def status_of(case: Case, body: bytes) -> int:
    """Return how the defaults answer an upload, as far as its reader decides."""
    kind = upload_kind(case.content_type.encode())
    assert kind is not None
    reader = UploadReader(kind, UploadBounds(), NOW_S)
    try:
        reader.feed(body)
        assert reader.finish().certs
    except BadUpload as fault:
        return fault.status
    return OK


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_defaults_decide_as_is_expected(case: Case) -> None:
    """Each upload is near the largest that the defaults admit, or is refused as the case says."""
    assert {status_of(case, body) for body in case.bodies} == {case.status}
    assert all(200_000 < len(body) <= MIB for body in case.bodies)


def test_each_upload_is_of_other_certificates() -> None:
    """What is admitted is new each time, so that each upload is work."""
    assert len(ALL) == CASES
    assert all(len(set(case.bodies)) == len(case.bodies) for case in ALL if case.status == OK)


def test_worst_counts() -> None:
    """One stretch beyond the goal is a shortfall, however short the others were."""
    kept, missed = Stretches("kept", 1, [0.2, 1.0]), Stretches("missed", 1, [0.2, 1.24, 0.1])
    assert list(shortfalls([kept, missed])) == ["missed: 1.24 ms at a stretch; the goal is 1"]
