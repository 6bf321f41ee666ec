"""One small document of an upstream, whole or not at all, in bounded time and memory."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from proxy.http.body import decoder_for
from proxy.http.head import NO_LENGTH, read_reply
from proxy.http.proxy_header import LOCAL_HEADER

if TYPE_CHECKING:
    from proxy.http.head import ReplyHead
    from proxy.settings.addresses import Address

MOST_HEAD_BYTES: Final = 16 * 1024
PIECE_BYTES: Final = 64 * 1024


class FetchFailed(Exception):
    """There is no such document now; the text says why, and repeats nothing of the answer."""


async def fetch(address: Address, target: str, *, seconds: float, most_bytes: int, introduce: bool) -> bytes:
    """Return the body of what the server at `address` answers a GET of `target` with, if that is a 200.

    Args:
        address: Of the server.
        target: In origin form.
        seconds: The longest time for all of it.
        most_bytes: The largest body.
        introduce: Begin with a PROXY header, which says that nobody else is spoken for.

    Raises:
        FetchFailed: Anything else happens.

    """
    request = f"GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(address.host, address.port, limit=PIECE_BYTES)
            try:
                writer.write((LOCAL_HEADER if introduce else b"") + request)
                return await _read(reader, most_bytes)
            finally:
                writer.close()
    except TimeoutError:
        raise FetchFailed(f"no whole answer in {seconds:g} s") from None
    except OSError as error:
        raise FetchFailed(f"no connection: {error.strerror or type(error).__name__}") from None
    except ValueError:  # of the head or the chunks
        raise FetchFailed("the answer is no HTTP") from None


async def _read(reader: asyncio.StreamReader, most_bytes: int) -> bytes:
    head, rest = await _read_head(reader)
    if head.status != HTTPStatus.OK:
        raise FetchFailed(f"the answer is {head.status}")
    if head.length > most_bytes:
        raise FetchFailed(f"the answer has more than {most_bytes} bytes")
    decoder = decoder_for(head.length)
    body = bytearray(decoder.feed(rest))
    while not decoder.done and len(body) <= most_bytes:
        data = await reader.read(PIECE_BYTES)
        if not data:
            if head.length == NO_LENGTH:
                break
            raise FetchFailed("the answer ends too early")
        body += decoder.feed(data)
    if len(body) > most_bytes:
        raise FetchFailed(f"the answer has more than {most_bytes} bytes")
    return bytes(body)


async def _read_head(reader: asyncio.StreamReader) -> tuple[ReplyHead, bytes]:
    """Return the head of the answer, and what came with it of the body."""
    buffer = b""
    while (head := read_reply(buffer, MOST_HEAD_BYTES)) is None:
        data = await reader.read(PIECE_BYTES)
        if not data:
            raise FetchFailed("the answer ends too early")
        buffer += data
    return head, buffer[head.size :]
