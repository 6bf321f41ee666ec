"""What nginx and Apache write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.replay import web_log
from proxy.replay.line import BadLine, Line

NS = 1_000_000_000
TIME = 1_571_043_018 * NS  # 14 October 2019, 08:50:18 UTC
HERE = bytes([203, 0, 113, 7])
COMMON = '203.0.113.7 - - [14/Oct/2019:10:50:18 +0200] "GET /pks/lookup?op=stats HTTP/1.1" 200 1701'
STATS = Line(TIME, HERE, "GET", "/pks/lookup?op=stats", 200, 1701)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (COMMON, STATS),
        (COMMON + ' "-" "Mozilla/5.0 \\"quoted\\""', STATS),
        (COMMON + ' "https://example.org/" "curl/8" "-" 0.005', STATS),
        ("keys.example.org:443 " + COMMON, STATS),
        ('"' + COMMON + '"', STATS),
        (COMMON.replace("- -", "- some body"), STATS),
        (COMMON.replace("1701", "-"), STATS._replace(size_bytes=0)),
        (COMMON.replace("10:50:18 +0200", "08:50:18 +0000"), STATS),
        (COMMON.replace("10:50:18 +0200", "05:20:18 -0330"), STATS),
        (
            COMMON.replace("203.0.113.7", "2001:db8::7"),
            STATS._replace(address=bytes.fromhex("20010db8" + "0" * 22 + "07")),
        ),
        (COMMON.replace(" HTTP/1.1", ""), STATS),
        (COMMON.replace("HTTP/1.1", "HTTP/1.0"), STATS._replace(flags=1)),
        (COMMON.replace("/pks", "http://keys.example.org/pks"), STATS),
        (COMMON.replace("=stats", r"=\x22st\x22"), STATS._replace(target='/pks/lookup?op="st"')),
        (COMMON.replace("=stats", r"=\"st\""), STATS._replace(target='/pks/lookup?op="st"')),
        (
            COMMON.replace("GET /pks/lookup?op=stats HTTP/1.1", r"\x16\x03\x01"),
            STATS._replace(method=r"\x16\x03\x01", target=""),
        ),
        (COMMON.replace("lookup?op", "lookup ?op"), STATS._replace(target="")),
        (
            COMMON.replace("GET /pks/lookup?op=stats HTTP/1.1", "CONNECT example.org:443 HTTP/1.1"),
            STATS._replace(method="CONNECT", target=""),
        ),
        (COMMON.replace("GET /pks/lookup?op=stats HTTP/1.1", "-"), None),
        (COMMON.replace("GET /pks/lookup?op=stats HTTP/1.1", ""), None),
    ],
)
def test_lines(text: str, line: Line | None) -> None:
    """Time, client, request, status and size, whatever stands around them; what no guard could read has no target."""
    assert web_log.parse(text) == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rubbish",
        COMMON.replace("203.0.113.7 -", "crawler.example.org -"),
        COMMON.replace("14/Oct", "34/Oct"),
        COMMON.replace("Oct", "Okt"),
        COMMON.replace("2019", "9999"),
        COMMON.replace("2019", "1980"),
        COMMON.replace("+0200", "+02x0"),
        COMMON.replace(" 200 ", " ok "),
    ],
)
def test_bad_lines(text: str) -> None:
    """They are told as such: a host name is no client, and no clock tells such times."""
    with pytest.raises(BadLine):
        web_log.parse(text)


@given(st.text(max_size=200) | st.text(max_size=60).map(lambda text: COMMON.replace("stats", text)))
def test_anything_is_a_line_or_a_bad_one(text: str) -> None:
    """Nothing else comes out of a line, whatever is in it."""
    try:
        line = web_log.parse(text)
    except BadLine:
        return
    assert line is None or (len(line.address) in {4, 16} and line.target[:1] in {"", "/"})
