"""What hostile clients say, read with the eyes of the guard."""

from itertools import islice

import pytest

from bench.sieges import SCENARIOS
from proxy.hkp.traps import TRAP_PATHS, is_trap
from proxy.http.head import HeadError, read_request

HEAD_BYTES, TARGET_BYTES = 16 * 1024, 8 * 1024
SLOW_HEADS = ("slow-head", "huge-head")
WHOLE_HEADS = ("slow-body", "bad-body", "slow-reader", "idle", "pipelining", "chunk-ext", "banned", "scanners")


def _said(key: str, steps: int = 6) -> bytes:
    """Return what a script sends in its first steps; what it reads is nothing."""
    script = SCENARIOS[key].script
    assert script is not None
    return b"".join(step for step in islice(script(7), steps) if isinstance(step, bytes))


@pytest.mark.parametrize("key", SLOW_HEADS)
def test_slow_heads_are_valid_and_never_complete(key: str) -> None:
    """Nothing but time tells that they are hostile."""
    said = _said(key)
    assert read_request(said, HEAD_BYTES, TARGET_BYTES, 0) is None
    assert read_request(said + b"\r\n", HEAD_BYTES, TARGET_BYTES, 0) is not None


def test_the_huge_head_takes_nearly_all_the_room_there_is() -> None:
    """Under the bound, with room for the fields that follow one by one."""
    assert HEAD_BYTES - 1024 < len(_said("huge-head", 1)) < HEAD_BYTES - 128


def test_the_oversized_head_is_refused_for_its_size() -> None:
    """A guard with the same bound answers 431."""
    with pytest.raises(HeadError) as refused:
        read_request(_said("over-head"), HEAD_BYTES, TARGET_BYTES, 0)
    assert refused.value.status == 431


@pytest.mark.parametrize("key", WHOLE_HEADS)
def test_the_others_begin_with_a_valid_head(key: str) -> None:
    """They get past the head reader: what they abuse comes after it."""
    assert read_request(_said(key), HEAD_BYTES, TARGET_BYTES, 0) is not None


def test_scanners_ask_for_a_trap() -> None:
    """Else nothing would hold them."""
    request = read_request(_said("scanners"), HEAD_BYTES, TARGET_BYTES, 0)
    assert request is not None
    assert is_trap(request.target, TRAP_PATHS)


def test_half_open_handshakes_begin_as_tls() -> None:
    """A record of kind 22; the part is too short for the length that it announces, the whole is not."""
    part, whole = _said("tls-part"), _said("tls-silent")
    announced = int.from_bytes(whole[3:5]) + 5
    assert part[0] == whole[0] == 0x16
    assert len(part) < announced == len(whole)
