"""What a request leaves behind: nothing, neither for ever nor for the collector, who would stop everybody meanwhile."""

from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.proxy.http.harness import chunked, get, ok, turns
from tests.proxy.http.test_uploads import BAD, FORM, GOOD, KEYS, LARGE, READ, post

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.proxy.http.conftest import Start
    from tests.proxy.http.harness import Node

PATH = ("proxy.http.", "proxy.hkp.")
LAST = "Connection: close"
LOOKUP = get("/pks/lookup?op=get&search=0x0123456789abcdef", LAST)
UNENDING = get("/pks/add", f"Content-Type: {FORM}", "Content-Length: 9999", method="POST")

REFUSED = {
    "not armour": (READ, UNENDING + b"keytext=A", 422),
    "no certificate in it": (READ, post(BAD), 422),
    "a form that is none": (READ, post(b"keytext=%zz"), 400),
    "binary that is none": (READ, post(b"\x99\x00", content_type=KEYS), 422),
    "of no kind": (READ, post(GOOD, content_type="image/png"), 400),
    "encoded": (READ, post(GOOD, "Content-Encoding: gzip"), 400),
    "too large": (
        READ | {"HTTP__BODY_BYTES": "1KiB"},
        get("/pks/add", f"Content-Type: {KEYS}", "Transfer-Encoding: chunked", method="POST") + chunked(LARGE),
        413,
    ),
    "broken chunks": (READ, get("/pks/add", "Transfer-Encoding: chunked", method="POST") + b"x\r\n", 400),
    "malformed": ({}, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
}
STORED = {
    "an upload": (READ, post(GOOD, LAST)),
    "an upload to which is objected in vain": ({"UPLOADS__MODE": "shadow"}, post(BAD, LAST)),
    "an upload of no kind that is let through": (
        {"UPLOADS__MODE": "shadow"},
        post(GOOD, LAST, content_type="image/png"),
    ),
    "a look-up": ({}, LOOKUP),
}


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """Have nothing collected but by `ours`."""
    gc.disable()
    yield
    gc.enable()


def ours() -> Counter[str]:
    """Return how many objects of the request path there are, by type; those that nobody can reach are among them."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    kinds = (type(each) for each in gc.get_objects())
    found = Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith(PATH))
    gc.garbage.clear()
    return found


async def _is_refused(node: Node, request: bytes, status: int) -> None:
    client = await node.connect(request)
    assert (await client.reply()).status == status
    client.close()
    await turns(50)


async def _is_answered(node: Node, request: bytes) -> None:
    await node.ask(request, ok(b"", "Connection: close"))
    await turns(50)


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize(("settings", "request_bytes", "status"), REFUSED.values(), ids=REFUSED)
async def test_refusals_leave_nothing(
    start: Start, settings: dict[str, str], request_bytes: bytes, status: int
) -> None:
    """The second of them, and ten more, add no object of ours."""
    node = await start(settings)
    await _is_refused(node, request_bytes, status)
    before = ours()
    for _ in range(10):
        await _is_refused(node, request_bytes, status)
    assert ours() == before


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize(("settings", "request_bytes"), STORED.values(), ids=STORED)
async def test_answers_leave_nothing(start: Start, settings: dict[str, str], request_bytes: bytes) -> None:
    """What went to the keyserver and back is forgotten."""
    node = await start(settings)
    await _is_answered(node, request_bytes)
    before = ours()
    for _ in range(3):
        await _is_answered(node, request_bytes)
    assert ours() == before
