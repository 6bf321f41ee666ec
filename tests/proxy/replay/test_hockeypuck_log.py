"""What Hockeypuck writes."""

import json

import pytest

from proxy.replay import hockeypuck_log
from proxy.replay.line import BadLine, Line

TEXT = (
    'time="2026-05-01T12:00:03Z" level=info GET="/pks/lookup?op=get&options=mr&search=0x0123456789ABCDEF" '
    'duration=2.5s from="203.0.113.7:4242" host="keys.example.org" status-code=404 user-agent=sq'
)
FIELDS = {
    "GET": "/pks/lookup?op=get&options=mr&search=0x0123456789ABCDEF",
    "duration": "2.5s",
    "from": "203.0.113.7:4242",
    "level": "info",
    "msg": "",
    "status-code": 404,
    "time": "2026-05-01T14:00:03+02:00",
}
HERE = bytes([203, 0, 113, 7])
LINE = Line(1_777_636_800_500_000_000, HERE, "GET", str(FIELDS["GET"]), 404, 0, 2_500_000, 2_500_000)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TEXT, LINE),
        (json.dumps(FIELDS), LINE),
        (
            TEXT.replace("2.5s", "1m2.5s"),
            LINE._replace(start_ns=LINE.start_ns - 60_000_000_000, service_us=62_500_000, took_us=62_500_000),
        ),
        (
            TEXT.replace("2.5s", '"500µs"'),
            LINE._replace(start_ns=LINE.start_ns + 2_499_500_000, service_us=500, took_us=500),
        ),
        (
            json.dumps(FIELDS | {"from": "8.8.4.4:9", "x-forwarded-for": "192.0.2.9"}),
            LINE._replace(address=bytes([8, 8, 4, 4])),
        ),
        (json.dumps(FIELDS | {"from": "127.0.0.1:9", "x-forwarded-for": "192.0.2.9, 203.0.113.7"}), LINE),
        (json.dumps(FIELDS | {"from": "[::1]:9", "x-forwarded-for": "203.0.113.7"}), LINE),
        ('time="2026-05-01T12:00:03Z" level=info msg="hockeypuck listening"', None),
        (json.dumps({"level": "info", "msg": "gossip", "time": "x"}), None),
    ],
)
def test_lines(text: str, line: Line | None) -> None:
    """As text and as JSON; the time is that of the end; only a proxy nearby is believed what it forwards."""
    assert hockeypuck_log.parse(text) == line


@pytest.mark.parametrize(
    "text",
    [
        "rubbish",
        "{rubbish",
        json.dumps({name: value for name, value in FIELDS.items() if name != "from"}),
        json.dumps(FIELDS | {"from": "somebody"}),
        json.dumps(FIELDS | {"time": "yesterday"}),
        json.dumps(FIELDS | {"time": "0001-01-01T00:00:00Z"}),
        json.dumps(FIELDS | {"time": "1970-01-01T00:00:09Z"}),
        json.dumps(FIELDS | {"status-code": "fine"}),
        json.dumps(FIELDS | {"duration": "9" * 20 + "h"}),
        json.dumps(FIELDS | {"GET": "/\ud800"}),
        "[" * 100_000,
        '{"GET":' + "[" * 60_000,
    ],
)
def test_bad_lines(text: str) -> None:
    """They are told as such; one without a client can mean nothing."""
    with pytest.raises(BadLine):
        hockeypuck_log.parse(text)
