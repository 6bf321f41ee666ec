"""Strict reader of HTTP/1 request and reply heads; the theory stands in `head.pyx`."""

from proxy.http.fields import CHUNKED as CHUNKED
from proxy.http.fields import NO_LENGTH as NO_LENGTH
from proxy.http.fields import HeadError as HeadError

class RequestHead:
    """A request head that has one meaning.

    Attributes:
        method: Token, case as sent.
        target: Origin form, starts with "/", visible ASCII; "/" for `OPTIONS *`.
        minor: 0 or 1, of HTTP/1.x.
        length: Bytes of the body; 0 where there is none; CHUNKED.
        keep_alive: Whether the client lets the connection be used again.
        expects_continue: It waits for `100 Continue` before it sends the body.
        host: Value of Host, or None.
        block: Lines that may be forwarded (Host among them), each with its CRLF.
        forwarded_for: X-Forwarded-For, all its lines joined by ", ", or None.
        forwarded: Forwarded (RFC 7239), likewise.
        forwarded_proto: X-Forwarded-Proto, or None.
        cf_connecting_ip: CF-Connecting-IP, or None; more than one are joined by ", ", which is no address.
        true_client_ip: True-Client-IP, likewise.
        x_real_ip: X-Real-IP, likewise.
        accept: Value of the first Accept, or None.
        content_type: Value of Content-Type, or None.
        encoded: There is a Content-Encoding.
        special: The answer may be for this client alone: a range, a condition, a cookie, credentials, an Origin.
        size: Bytes of the head in the buffer it was read from.

    """

    method: str
    target: str
    minor: int
    length: int
    keep_alive: bool
    expects_continue: bool
    host: bytes | None
    block: bytes
    forwarded_for: bytes | None
    forwarded: bytes | None
    forwarded_proto: bytes | None
    cf_connecting_ip: bytes | None
    true_client_ip: bytes | None
    x_real_ip: bytes | None
    accept: bytes | None
    content_type: bytes | None
    encoded: bool
    special: bool
    size: int

class ReplyHead:
    """A reply head of the upstream.

    Attributes:
        status: 100..599.
        minor: 0 or 1, of HTTP/1.x.
        length: Bytes of the body; CHUNKED; NO_LENGTH where the end of the connection ends it.
        keep_alive: Whether the upstream lets the connection be used again.
        block: `HTTP/1.1 <status> <reason>` CRLF and the lines that may be relayed, each with its CRLF.
        size: Bytes of the head in the buffer it was read from.

    """

    status: int
    minor: int
    length: int
    keep_alive: bool
    block: bytes
    size: int

def read_request(buffer: bytes, head_most: int, target_most: int, begin: int = 0) -> RequestHead | None:
    """Read the request head at `begin` in `buffer`.

    Args:
        buffer: Bytes received so far.
        head_most: Most bytes of a head; more is 431.
        target_most: Most bytes of a target; more is 414.
        begin: Offset of the head in `buffer`.

    Returns:
        The head, or None if it is not complete yet.

    Raises:
        HeadError: With the status to refuse it with (400, 414, 417, 431, 505).

    Source: RFC 9112 sections 2 to 6.

    """

def read_reply(buffer: bytes, head_most: int) -> ReplyHead | None:
    """Read the reply head at the start of `buffer`.

    Args:
        buffer: Bytes received from the upstream so far.
        head_most: Most bytes of a head.

    Returns:
        The head, or None if it is not complete yet.

    Raises:
        HeadError: The upstream does not speak HTTP/1 as we understand it; `status` means nothing here.

    Source: RFC 9112 sections 4 to 6.

    """
