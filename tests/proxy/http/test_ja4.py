"""JA4 of a client's first message: published examples, real programs beside a second reader, and rubbish.

Whatever else may be sent: `tests/fuzz/targets/ja4.py`.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from proxy.http.ja4 import VERSIONS, ja4_text, pack_ja4
from tests.fuzz.targets.ja4 import (
    ALGORITHMS,
    ALPN,
    CHROME,
    CHROME_ALGORITHMS,
    CHROME_EXTENSIONS,
    GREASE,
    NO_HASH,
    SNI,
    VERSION,
    hello,
    numbers,
    reference,
    vector,
)
from tests.proxy.http.harness import SAFETY_SECONDS
from tests.proxy.http.tls_harness import program

if TYPE_CHECKING:
    from collections.abc import Callable


def told(message: bytes) -> str:
    """Return the fingerprint as text."""
    return ja4_text(pack_ja4(message))


@pytest.mark.parametrize(
    ("ciphers", "extensions", "algorithms", "expected"),
    [
        (CHROME, CHROME_EXTENSIONS, CHROME_ALGORITHMS, "t13d1516h2_8daaf6152771_e5627efa2ab1"),
        (CHROME, CHROME_EXTENSIONS, "", "t13d1516h2_8daaf6152771_6d807ffa2a79"),
        (
            CHROME,
            "fe0d,0010,0017,0033,44cd,ff01,000a,000d,0023,002b,000b,ca34,002d,0000,0005,001b,0012",
            "0904,0905,0906,0403,0804,0401,0503,0805,0501,0806,0601",
            "t13d1517h2_8daaf6152771_cb7bf5808d99",
        ),
        (
            "00ff,1301,1302,1303,c02b,c02c,c02f,c030,cca8,cca9",
            "0005,000a,000b,000d,0017,0023,002b,002d,0033,0000,0010",
            "0503,0403,0807,0806,0805,0804,0601,0501,0401",
            "t13d1011h2_61a7ad8aa9b6_3fcd1a44f3e3",
        ),
    ],
)
def test_published_examples(ciphers: str, extensions: str, algorithms: str, expected: str) -> None:
    """What others have published for what programs send; the second is the first without signature algorithms."""
    assert told(hello(numbers(ciphers), numbers(extensions), numbers(algorithms))) == expected


@pytest.mark.parametrize("alike", [list(reversed(numbers(CHROME))), [*GREASE, *numbers(CHROME)]])
def test_order_and_grease_change_nothing(alike: list[int]) -> None:
    """A browser that shuffles, or that adds values that mean nothing, stays itself; of signatures the order counts."""
    usual, algorithms = numbers(CHROME_EXTENSIONS), numbers(CHROME_ALGORITHMS)
    expected = "t13d1516h2_8daaf6152771_e5627efa2ab1"
    assert told(hello(alike, [*GREASE, *reversed(usual)], [*GREASE, *algorithms])) == expected
    assert told(hello(alike, usual, algorithms[::-1]))[:24] == expected[:24]
    assert told(hello(alike, usual, algorithms[::-1])) != expected


@pytest.mark.parametrize(
    ("alpn", "expected"),
    [
        ([], "00"),
        ([b""], "00"),
        ([b"h2"], "h2"),
        ([b"http/1.1", b"h2"], "h1"),
        ([b"x"], "xx"),
        ([b"\xab"], "ab"),
        ([b"\xab\xcd"], "ad"),
        ([b"0\xab"], "3b"),
        ([b"01\xab\xcd"], "3d"),
        ([b"0\xab\xcd1"], "01"),
        ([b"/Z"], "2a"),
    ],
)
def test_protocol_names(alpn: list[bytes], expected: str) -> None:
    """The first name counts, by its first and last character; the examples are those of the document."""
    assert told(hello([1], [ALPN], alpn=alpn))[8:10] == expected
    assert told(hello([1], []))[8:10] == "00"


@pytest.mark.parametrize(
    ("version", "expected"),
    [(0x0304, "13"), (0x0303, "12"), (0x0302, "11"), (0x0301, "10"), (0x0300, "s3"), (2, "s2"), (0x0305, "00")],
)
def test_versions(version: int, expected: str) -> None:
    """The highest that the extension names, else that of the message."""
    assert told(hello([1], [VERSION], versions=(0x0A0A, version), legacy=0x0301))[1:3] == expected
    assert told(hello([1], [], legacy=version))[1:3] == expected
    assert set(VERSIONS) >= {expected}


def test_what_is_not_there_is_told() -> None:
    """No name of the server, no extensions, and none that is hashed; hashes of nothing are zeros."""
    assert told(hello([], None)) == f"t12i000000_{NO_HASH}_{NO_HASH}"
    assert told(hello([], [SNI, ALPN])) == f"t12d0002h2_{NO_HASH}_{NO_HASH}"


def test_more_than_99_are_99() -> None:
    """Two digits are all there is; beyond 256 nobody honest is."""
    ciphers = [each for each in range(1, 300) if each not in GREASE]
    assert told(hello(ciphers[:256], ciphers[50:250]))[:10] == "t12d999900".replace("d", "i")
    for lists in ((ciphers[:257], [SNI]), ([1], ciphers[50:]), ([1], [ALGORITHMS], ciphers)):
        message = hello(*lists)
        assert (pack_ja4(message) == b"") == (max(map(len, lists)) > 256)


def test_text_of_none() -> None:
    """16 bytes 0 are no fingerprint, and anything but 16 bytes is a mistake of ours."""
    assert ja4_text(bytes(16)) == ""
    with pytest.raises(ValueError, match="15 bytes"):
        ja4_text(bytes(15))


# Rubbish.

MESSAGE = hello(numbers(CHROME), numbers(CHROME_EXTENSIONS), numbers(CHROME_ALGORITHMS))


def test_a_part_of_a_message_is_none() -> None:
    """However it is cut, whatever length it claims then, and if anything follows it; extensions may be missing."""
    assert len(pack_ja4(MESSAGE)) == 16
    assert not any(pack_ja4(MESSAGE[:size]) for size in range(len(MESSAGE)))
    whole = [size for size in range(4, len(MESSAGE)) if pack_ja4(b"\1" + vector(3, MESSAGE[4:size]))]
    assert whole == [len(hello(numbers(CHROME), None))]
    assert pack_ja4(MESSAGE + b"\0") == b""
    assert pack_ja4(b"\2" + MESSAGE[1:]) == b""


@pytest.mark.parametrize("kind", [SNI, ALGORITHMS, ALPN, VERSION])
def test_extension_that_is_there_twice(kind: int) -> None:
    """Nobody could say which of them counts."""
    assert pack_ja4(hello([1], [kind])) != b""
    assert pack_ja4(hello([1], [kind, kind])) == b""


@pytest.mark.parametrize(
    ("kind", "content"), [(ALGORITHMS, b"\0\2\4\3"), (ALPN, b"\0\3\2h2"), (VERSION, b"\2\3\4"), (SNI, b"")]
)
def test_lists_end_where_their_extension_ends(kind: int, content: bytes) -> None:
    """What stands behind a list, or is missing of it, makes it none; the name of the server is not read."""
    head = hello([1], None)[4:]
    for given in (content, content + b"\0", content[:-1]):
        read = pack_ja4(b"\1" + vector(3, head + vector(2, kind.to_bytes(2) + vector(2, given))))
        assert bool(read) == (given == content or kind == SNI)


# Real programs.


def by_openssl(*arguments: str) -> Callable[[int], list[str]]:
    """Return the command of openssl s_client."""
    return lambda port: [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", *arguments]


def by_curl(*arguments: str) -> Callable[[int], list[str]]:
    """Return the command of curl."""
    return lambda port: [program("curl"), "-sk", *arguments, f"https://localhost:{port}/"]


def by_wget(port: int) -> list[str]:
    """Return the command of wget, which has GnuTLS in Debian."""
    return [program("wget"), "-q", "-t", "1", "--no-check-certificate", "-O", "/dev/null", f"https://localhost:{port}/"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("command", "start"),
    [
        (by_openssl("-servername", "keys.example", "-alpn", "http/1.1"), "t13d"),
        (by_openssl("-noservername", "-tls1_2"), "t12i"),
        (by_curl(), "t13d"),
        (by_curl("--http1.1", "--tls-max", "1.2"), "t12d"),
        (by_wget, "t13d"),
    ],
)
def test_real_programs(command: Callable[[int], list[str]], start: str) -> None:
    """Their first message is read as the second reader reads it, and twice the same, whatever is random in it."""
    found = {told(first_message(command)) for _ in range(2)}
    assert len(found) == 1
    assert found.pop().startswith(start)


def first_message(command: Callable[[int], list[str]]) -> bytes:
    """Return the ClientHello that a program sends, which the second reader has understood in the same way."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SAFETY_SECONDS)
        client = subprocess.Popen(
            command(listener.getsockname()[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as sent:
                connection.settimeout(SAFETY_SECONDS)
                message = sent.read(int.from_bytes(sent.read(5)[3:]))
        finally:
            client.kill()
            client.wait()
    assert told(message) == reference(message)
    return message


def test_python() -> None:
    """The TLS of Python itself, where there are no other programs."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="keys.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    message = outgoing.read()[5:]
    assert told(message) == reference(message)
    assert told(message).startswith("t13d")
