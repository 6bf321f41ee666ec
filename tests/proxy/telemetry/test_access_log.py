"""One line for each request, without personal data unless it is asked for."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from fastpath.record import FLAG_CACHED
from proxy.config import LogConfig
from proxy.hkp.classes import OperationClass
from proxy.http.address import Source
from proxy.http.ja4 import ja4_text
from proxy.policy.actions import Action, Reason
from proxy.telemetry.log import AccessLog, action_text, configure, name_of
from proxy.telemetry.numbers import FLAG_HTTP_1_0, METHODS, SHADOW
from tests.proxy.admin.records_for_tests import block, record, refused

if TYPE_CHECKING:
    from fastpath import Record


def written(*records: Record, **settings: bool | str) -> str:
    """Return what is written about records."""
    out = io.StringIO()
    AccessLog(LogConfig.model_validate(settings), out).write(block(*records))
    return out.getvalue()


def lines(*records: Record, **settings: bool | str) -> list[dict[str, Any]]:
    """Return the lines as JSON."""
    return [json.loads(line) for line in written(*records, **settings).splitlines()]


def test_fields() -> None:
    """What an operator wants to know of a request, under names with units."""
    (line,) = lines(record(wait_us=2500, method=3, received=77))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("time"))
    assert line == {
        "event": "request",
        "request_id": "0123456789abcdef",
        "method": "POST",
        "http": "1.1",
        "operation": "cert",
        "action": "allow",
        "reason": "none",
        "status": 200,
        "cached": False,
        "wait_ms": 2.5,
        "upstream_ms": 1.5,
        "total_ms": 2.0,
        "received": 77,
        "sent": 1234,
        "network": "192.0.2.0/24",
        "source": "peer",
    }


@pytest.mark.parametrize("flags", [0, FLAG_HTTP_1_0, FLAG_CACHED, FLAG_CACHED | FLAG_HTTP_1_0])
def test_answers_from_the_cache(flags: int) -> None:
    """They are marked, whichever version of HTTP asked for them."""
    (line,) = lines(record(flags=flags))
    assert line["cached"] is (flags >= FLAG_CACHED)


@pytest.mark.parametrize(
    ("address", "network"), [("192.0.2.200", "192.0.2.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48")]
)
@pytest.mark.parametrize("form", ["json", "console"])
def test_personal_data_is_not_written(address: str, network: str, form: str) -> None:
    """Neither the address nor what was searched, in either form; the network around it is no personal datum."""
    text = written(record(address, subject=b"alice@example.org"), format=form)
    assert network in text
    assert address not in text.replace(network, "")
    assert "alice" not in text


def test_addresses_where_they_are_asked_for() -> None:
    """IPv4 as IPv4, IPv6 as IPv6."""
    found = lines(record("192.0.2.200"), record("2001:db8::3"), addresses="on")
    assert [line["address"] for line in found] == ["192.0.2.200", "2001:db8::3"]
    assert not any("subject" in line for line in found)


def test_programs_are_told_with_addresses() -> None:
    """What a client's TLS tells of it, and nothing where there is none."""
    packed = bytes.fromhex("3e83a0d18daaf6152771e5627efa2ab1")
    found = lines(record(fingerprint=packed), record(), addresses="on")
    assert [line["ja4"] for line in found] == [ja4_text(packed), ""]
    assert "ja4" not in lines(record(fingerprint=packed))[0]


def test_subjects_where_they_are_asked_for() -> None:
    """Without the padding of the ring, and not the address with it."""
    (line,) = lines(record(subject=b"alice@example.org"), subjects="on")
    assert line["subject"] == "alice@example.org"
    assert "address" not in line


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        (b'"}, {"event": "forged', '"}, {"event": "forged'),
        (b"a\nb\r\x1b[31m", "a\nb\r\x1b[31m"),
        (b"\xff\xc3", "��"),
        ("schlüssel".encode()[:5], "schl�"),
        (b"100%s %d %(a)s", "100%s %d %(a)s"),
        (b"back\\slash", "back\\slash"),
        (b"", ""),
    ],
)
def test_subject_cannot_forge_a_line(subject: bytes, shown: str) -> None:
    """Whatever was searched for stays one value of one line, in JSON and for the eye."""
    (line,) = lines(record(subject=subject), subjects="on")
    assert line["subject"] == shown
    console = written(record(subject=subject), subjects="on", format="console")
    assert console.count("\n") == 1
    assert "\x1b" not in console
    assert "\r" not in console


def test_console() -> None:
    """The other form has the same fields as words."""
    text = written(refused(), format="console")
    for word in ("action=limit", "status=429", "operation=cert", "network=192.0.2.0/24"):
        assert word in text


def test_lines_of_a_block() -> None:
    """One line each, in their order."""
    assert [line["status"] for line in lines(record(), refused(), record(status=404))] == [200, 429, 404]


def test_off() -> None:
    """An operator may do without."""
    assert written(record(), access="off") == ""
    assert written() == ""


def test_shadow_is_told_apart() -> None:
    """What a limit in shadow mode would have done is marked."""
    (line,) = lines(record(action=SHADOW + Action.LIMIT))
    assert line["action"] == "limit_shadow"


def test_numbers_of_a_newer_worker() -> None:
    """What we have no word for is a number; a method beyond our list is OTHER."""
    (line,) = lines(record(operation=200, reason=201, source=202, method=203))
    assert (line["operation"], line["reason"], line["source"], line["method"]) == ("200", "201", "202", METHODS[0])


def test_words() -> None:
    """Every number that is written has its word."""
    assert [action_text(action) for action in Action] == ["allow", "delay", "limit", "deny", "tarpit", "drop"]
    assert all(action_text(SHADOW + action) == f"{action_text(action)}_shadow" for action in Action)
    for kind in (OperationClass, Reason, Source):
        assert [name_of(kind, member) for member in kind] == [member.name.lower() for member in kind]


@pytest.mark.parametrize("form", ["json", "console"])
def test_log_of_a_process(form: str) -> None:
    """What processes say of themselves has a level, a time, and the chosen form; lower levels are dropped."""
    out = io.StringIO()
    try:
        configure(LogConfig.model_validate({"format": form, "level": "warning"}), out)
        log = structlog.get_logger().bind(process="worker-0")
        log.info("quiet")
        log.warning("odd", size=3)
    finally:
        structlog.reset_defaults()
    text = out.getvalue()
    assert "quiet" not in text
    assert "odd" in text
    if form == "json":
        line = json.loads(text)
        assert (line["event"], line["level"], line["size"], line["process"]) == ("odd", "warning", 3, "worker-0")
        assert line["timestamp"].endswith("Z")
