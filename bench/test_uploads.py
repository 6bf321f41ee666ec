"""What reading an upload costs: run with `python -m pytest bench/test_uploads.py`.

`extra_info` has the time of one piece of 64 KiB, in us: `us_per_piece` on average, `us_worst` the dearest piece of an
upload in the best of all rounds. The goal is 1,000; a worker answers others between two pieces.
"""

import time
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from proxy.hkp.certs import BadUpload, UploadBounds
from proxy.hkp.uploads import UploadKind, UploadReader
from tests.certs_for_tests import (
    NOW_S,
    PADDING,
    PUBLIC_KEY,
    SIGNATURE,
    USER_ID,
    armored,
    certificate,
    flooded,
    form,
    json_object,
    key,
    packet,
    user_id,
)

PIECE = 65_536
MIB = 1_048_576
ROUNDS = 20
# The most that an operator may allow, so that nothing ends early.
WIDE = UploadBounds(certs=200, packets=100_000, cert_bytes=64 * MIB, third_party=100_000, user_ids=10_000)
BOUNDS = {"default": UploadBounds(), "widest": WIDE}
PRIMARY = packet(PUBLIC_KEY, key(0).body)


def filled(beginning: bytes, part: bytes) -> bytes:
    """Return a MiB: a beginning, and then one thing again and again."""
    return beginning + part * ((MIB - len(beginning)) // len(part))


def subpackets(size: int) -> bytes:
    """Return a signature whose hashed area is full of the shortest subpackets."""
    return packet(SIGNATURE, b"\x04\x10\x16\x08" + size.to_bytes(2) + b"\x01\x02" * (size // 2) + bytes(10))


def escaped(text: bytes) -> bytes:
    """Return a form in which every byte is an escape."""
    return b"keytext=" + b"".join(b"%%%02X" % byte for byte in text)


def uploads() -> Iterator[tuple[str, UploadKind, bytes]]:
    """Yield what people send, and what nobody but an attacker does."""
    ordinary = armored(certificate(signatures=20))
    yield "form of 4 KB", UploadKind.FORM, form(ordinary)
    yield "object of 4 KB", UploadKind.JSON, json_object(ordinary)
    large = flooded(4200)
    yield "flooded, 500 KB, binary", UploadKind.BINARY, large
    yield "flooded, 500 KB, armored", UploadKind.BINARY, armored(large)
    yield "flooded, 500 KB, form", UploadKind.FORM, form(armored(large))
    yield "flooded, 500 KB, object", UploadKind.JSON, json_object(armored(large))
    yield "1 MiB of escapes", UploadKind.FORM, escaped(armored(large))[:MIB]
    yield "1 MiB of escapes in another field", UploadKind.FORM, filled(b"", b"a=" + b"%41" * 4000 + b"&")
    yield "1 MiB of escapes in JSON", UploadKind.JSON, filled(b'{"keytext":"', b"\\u000a")
    yield "1 MiB of empty lines", UploadKind.FORM, filled(b"keytext=", b"%0A")
    yield "1 MiB of short lines", UploadKind.BINARY, filled(armored(PRIMARY)[:40], b"\nq")
    yield "1 MiB of empty packets", UploadKind.BINARY, filled(PRIMARY, packet(PADDING, b""))
    yield "1 MiB of primary keys", UploadKind.BINARY, filled(b"", PRIMARY)
    yield "1 MiB of user IDs", UploadKind.BINARY, filled(PRIMARY, user_id("a" * 20))
    yield "1 MiB of Latin-1", UploadKind.BINARY, filled(PRIMARY, packet(USER_ID, b"\xe9" * 20))
    yield (
        "1 MiB of short signatures",
        UploadKind.BINARY,
        filled(PRIMARY, packet(SIGNATURE, b"\4\x10\x16\x08" + bytes(7))),
    )
    yield "1 MiB of subpackets", UploadKind.BINARY, filled(PRIMARY, subpackets(60_000))


CASES = {name: (kind, body) for name, kind, body in uploads()}


def times_of_pieces(kind: UploadKind, body: bytes, bounds: UploadBounds) -> list[float]:
    """Return the seconds that each piece took, up to the one that is refused."""
    reader = UploadReader(kind, bounds, NOW_S)
    times: list[float] = []
    for start in range(0, len(body), PIECE):
        piece = body[start : start + PIECE]
        begin = time.perf_counter()
        try:
            reader.feed(piece)
        except BadUpload:
            return [*times, time.perf_counter() - begin]
        times.append(time.perf_counter() - begin)
    return times


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("name", CASES)
def test_upload(benchmark: BenchmarkFixture, name: str, bounds: str) -> None:
    """One upload in pieces, until it is refused if it is."""
    kind, body = CASES[name]
    rounds: list[list[float]] = []
    benchmark.pedantic(  # type: ignore[no-untyped-call]  # theirs
        lambda: rounds.append(times_of_pieces(kind, body, BOUNDS[bounds])), rounds=ROUNDS, warmup_rounds=1
    )
    best = [min(times) for times in zip(*rounds, strict=True)]
    benchmark.extra_info["pieces"] = len(best)
    benchmark.extra_info["us_worst"] = round(max(best) * 1e6, 1)
    benchmark.extra_info["us_per_piece"] = round(sum(best) / len(best) * 1e6, 1)
    benchmark.extra_info["us_worst_ever"] = round(max(map(max, rounds)) * 1e6, 1)
