"""What HAProxy writes."""

import pytest

from proxy.replay import haproxy_log
from proxy.replay.line import BadLine, Line

TIME = 1_615_532_188_088_000_000  # 12 March 2021, 06:56:28.088
PLAIN = (
    "203.0.113.7:10285 [12/Mar/2021:06:56:28.088] hkp~ keys/one 0/0/0/1263/1264 200 20602 - - ---- 19/19/3/4/0 0/0 "
    '"GET /pks/lookup?op=stats HTTP/1.1"'
)
STATS = Line(TIME, bytes([203, 0, 113, 7]), "GET", "/pks/lookup?op=stats", 200, 20602, 1_263_000, 1_264_000)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (PLAIN, STATS),
        ("Mar 12 06:56:29 host haproxy[77]: " + PLAIN, STATS),
        (PLAIN.replace("---- 19", "---- {agent|x} 19"), STATS),
        (PLAIN.replace("HTTP/1.1", "HTTP/1.0"), STATS._replace(flags=1)),
        (PLAIN.replace("203.0.113.7", "::ffff:203.0.113.7"), STATS),
        (
            PLAIN.replace("0/0/0/1263/1264 200", "0/-1/-1/-1/10000 -1").replace(
                "GET /pks/lookup?op=stats HTTP/1.1", "<BADREQ>"
            ),
            STATS._replace(method="", target="", status=0, service_us=0, took_us=10_000_000),
        ),
        ("203.0.113.7:50033 [28/Feb/2025:02:43:10.123] hkp/1: SSL handshake failure", None),
        ("Mar 12 06:56:29 host haproxy[77]: Proxy hkp started.", None),
    ],
)
def test_lines(text: str, line: Line | None) -> None:
    """With or without syslog; times to the millisecond; connections without a request are none."""
    assert haproxy_log.parse(text) == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rubbish",
        PLAIN.replace("Mar", "Mrz"),
        PLAIN.replace("203.0.113.7", "here"),
        PLAIN.replace("/1264", "/" + "9" * 20),
    ],
)
def test_bad_lines(text: str) -> None:
    """They are told as such."""
    with pytest.raises(BadLine):
        haproxy_log.parse(text)
