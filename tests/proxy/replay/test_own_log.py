"""What hkpguard writes itself: read back, a request is what it was."""

import io
import json
import struct
from typing import Any

import pytest

from fastpath import Record
from fastpath.record import FLAG_CACHED, RECORD_FORMAT
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.hkp.operation import Classifier, ClassifierOptions
from proxy.policy.actions import Action, Reason
from proxy.replay import own_log
from proxy.replay.line import BadLine, Line
from proxy.telemetry.log import AccessLog
from proxy.telemetry.numbers import FLAG_HTTP_1_0, METHODS, SHADOW

CLASSIFY = Classifier(ClassifierOptions(trap_prefixes=("/.env",)))
HERE = bytes([203, 0, 113, 7])
GET, POST = METHODS.index("GET"), METHODS.index("POST")
PLAIN = Record(
    10**15, 7, 8, 9, upstream_us=1500, wait_us=200_000, total_us=202_000, received=0, sent=1701, status=200,
    operation=OperationClass.CERT, action=Action.DELAY, reason=Reason.LIMIT, source=0, method=GET, flags=0, upstream=0,
    address=bytes(10) + b"\xff\xff" + HERE, subject=b"0123456789ABCDEF",
)  # fmt: skip


def _written(record: Record, form: str = "json", **asked: str) -> str:
    out = io.StringIO()
    settings = {"addresses": "on", "subjects": "on"} | asked
    environ = {f"HKPGUARD_LOG__{name.upper()}": value for name, value in (settings | {"format": form}).items()}
    AccessLog(Config.from_env(environ).log, out).write(struct.pack(RECORD_FORMAT, *record))
    return out.getvalue().rstrip("\n")


def _read(record: Record, form: str = "json", **asked: str) -> Line:
    line = own_log.parse(_written(record, form, **asked))
    assert line is not None
    return line


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    ("kind", "method", "subject"),
    [
        (OperationClass.CERT, GET, "0123456789ABCDEF"),
        (OperationClass.CERT, GET, "0123456789ABCDEF0123456789ABCDEF01234567"),
        (OperationClass.IDENTITY, GET, "somebody@example.org"),
        (OperationClass.IDENTITY, GET, "dizb37aqa5h4skgu7jf1xjr4q71w4paq@example.org"),
        (OperationClass.WORDS, GET, 'some body "quoted" &c = ü/%'),
        (OperationClass.UPLOAD, POST, ""),
        (OperationClass.MAIL, POST, ""),
        (OperationClass.ADMIN, POST, ""),
        (OperationClass.SYNC, POST, ""),
        (OperationClass.PREFIXLOG, GET, "2026-05-01"),
        (OperationClass.STATS, GET, ""),
        (OperationClass.STATIC, GET, ""),
        (OperationClass.UNKNOWN, GET, ""),
    ],
)
def test_a_request_asks_for_what_it_asked_for(form: str, kind: OperationClass, method: int, subject: str) -> None:
    """Class and subject are those of the record, in both forms of the log."""
    line = _read(PLAIN._replace(operation=kind, method=method, subject=subject.encode()), form)
    operation = CLASSIFY(line.method, line.target)
    assert (operation.kind, operation.subject) == (kind, subject)


def test_figures() -> None:
    """Times are taken apart: when it began, how long the keyserver took, how long the guard had it wait."""
    text = _written(PLAIN)
    line, at_once = own_log.parse(text), own_log.parse(text.replace('"total_ms": 202.0', '"total_ms": 0'))
    assert line is not None
    assert at_once is not None
    assert (line.address, line.status, line.size_bytes) == (HERE, 200, 1701)
    assert (line.service_us, line.took_us, line.wait_us) == (1500, 202_000, 200_000)
    assert line.start_ns == at_once.start_ns - 202_000_000


@pytest.mark.parametrize("form", ["json", "console"])
def test_how_it_was_asked(form: str) -> None:
    """How large an upload was, and in which version of HTTP it came."""
    line, old = _read(PLAIN._replace(received=4711), form), _read(PLAIN._replace(flags=FLAG_HTTP_1_0), form)
    assert (line.received_bytes, line.flags) == (4711, 0)
    assert (old.received_bytes, old.flags) == (0, FLAG_HTTP_1_0)


@pytest.mark.parametrize(
    ("changes", "figures"),
    [
        ({"flags": FLAG_CACHED}, (200, 0, 0)),  # the keyserver was not asked
        ({"action": Action.LIMIT, "status": 429}, (0, 0, 0)),  # what it had said nobody knows
        ({"action": SHADOW + Action.LIMIT}, (200, 1701, 1500)),  # nobody was refused
    ],
)
def test_only_what_the_keyserver_said_is_taken_for_its_answer(
    changes: dict[str, Any], figures: tuple[int, int, int]
) -> None:
    """Status, size and time."""
    line = _read(PLAIN._replace(**changes))
    assert (line.status, line.size_bytes, line.service_us) == figures


@pytest.mark.parametrize(
    ("reason", "refusal", "trap"),
    [(Reason.TRAP, 404, True), (Reason.UNKNOWN, 404, False), (Reason.NOT_OFFERED, 501, False)],
)
def test_what_was_refused_by_its_nature_is_refused_again(reason: Reason, refusal: int, trap: bool) -> None:  # noqa: FBT001
    """Traps are traps, and unknown operations unknown."""
    line = _read(PLAIN._replace(operation=OperationClass.UNKNOWN, action=Action.DENY, reason=reason, subject=b"x"))
    operation = CLASSIFY(line.method, line.target)
    assert (operation.refusal, operation.trap) == (refusal, trap)


def test_what_was_no_http_has_no_target() -> None:
    """A slip in a search has one, though it has no canonical form."""
    line = _read(PLAIN._replace(operation=OperationClass.UNKNOWN, reason=Reason.MALFORMED, action=Action.DENY))
    assert not line.target
    assert _read(PLAIN._replace(operation=OperationClass.WORDS, reason=Reason.MALFORMED, action=Action.DENY)).target


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_the_log_does_not_tell_is_said(form: str) -> None:
    """Without addresses networks are clients, and without subjects all ask for the same."""
    text = _written(PLAIN, form, addresses="off", subjects="off")
    assert len(own_log.missing(text)) == 2
    assert own_log.missing(_written(PLAIN, form)) == ()
    line = own_log.parse(text)
    assert line is not None
    assert line.address == bytes([203, 0, 113, 0])
    assert CLASSIFY(line.method, line.target).subject == own_log.NO_SUBJECT


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"time": "', '"time": "x'),
        ('"total_ms": ', '"total_ms": "x", "y": '),
        ('"total_ms": ', '"total_ms": 1e300, "y": '),
        ('"total_ms": ', '"total_ms": 4294968, "y": '),
        ('"total_ms": ', '"total_ms": NaN, "y": '),
        ('"address": "2', '"address": "3'),
        ('"status": ', '"status": 1000, "y": '),
        ('"sent": ', '"sent": 1e300, "y": '),
        ('"received": ', '"received": -1, "y": '),
        ('"action": ', '"action": 1, "x": '),
        ('"subject": "', '"subject": "\\ud800'),
        ("{", "{{"),
    ],
)
def test_bad_lines(old: str, new: str) -> None:
    """They are told as such."""
    with pytest.raises(BadLine):
        own_log.parse(_written(PLAIN).replace(old, new, 1))


@pytest.mark.parametrize("method", [[], "\ud800"])
def test_what_is_no_method(method: object) -> None:
    """So is a request whose method is told as it was sent, and can have been sent by nobody."""
    fields = json.loads(_written(PLAIN)) | {"operation": "unknown", "method": method}
    with pytest.raises(BadLine):
        own_log.parse(json.dumps(fields))


def test_bad_words() -> None:
    """So is a subject that ends in the middle: formats are recognised by trying each on lines of all kinds."""
    with pytest.raises(BadLine):
        own_log.parse('event=request subject="abc')


def test_other_lines_are_none() -> None:
    """Processes speak of themselves, too."""
    assert own_log.parse('{"event": "started", "pid": 1}') is None
    assert own_log.parse("2026-05-01T12:00:00Z [info] started pid=1") is None
