"""The HTTP tests of gunicorn, llhttp and h11, sent through the whole client side, and through the upstream side.

What their authors hold to be valid reaches the keyserver with its meaning: method, target, fields, body, and one
request for each. What they hold to be invalid is refused: an error and a closed connection, or a closed connection
where the client left before its request was complete; and no part of it stays on a connection to the keyserver that
is used again. `EXCEPTIONS` names each case that ends otherwise, and says why.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

import httptools
import pytest

from proxy.hkp.operation import Classifier, Operation
from tests.fuzz.conversation import NEXT, Outcome, Relayed, converse, relay
from tests.fuzz.corpora import (
    COMPLETE,
    CUT,
    INVALID,
    Asked,
    Case,
    gunicorn,
    h11_requests,
    h11_responses,
    llhttp_lenient,
    llhttp_requests,
    llhttp_responses,
    need_corpora,
)

if TYPE_CHECKING:
    from tests.fuzz.corpora import Answer
    from tests.proxy.http.conftest import Start

SETTINGS = {"MODE": "off", "UNKNOWN": "pass", "HTTP__HEAD_BYTES": "65536"}

# Of the hop, of the framing, or ours to say.
NOT_FORWARDED = frozenset(
    {
        "connection", "content-length", "expect", "forwarded", "keep-alive", "proxy", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "x-forwarded-for", "x-forwarded-host",
        "x-forwarded-proto", "x-forwarded-ssl",
    }
)  # fmt: skip

# What ends otherwise than its authors say, and why. Valid for them, refused by us:
BODY = "a body for a method that has no use for one"
FRAGMENT = "a fragment in the target"
CODINGS = "a transfer coding other than chunked, alone"
FOLDED = "folded lines, which their test allows"
HOST = "a Host with characters that no name has"
PROXY_HEADER = "the PROXY protocol is no HTTP, and has its own reader where it is expected"
PROTOCOL = "another protocol"
OTHER_AUTHORITY = "Host says another authority than the target"
CONNECT = "CONNECT: we are no open proxy"
CUT_SHORT = "its body is shorter than its length"
# Invalid for them, accepted by us:
LIMIT = "a bound that their test sets, not the syntax"
METHOD = "methods are tokens; what no keyserver knows is 405, if the path is known"
UNDERSCORE = "names with an underscore are dropped"
TRAILERS = "trailers are dropped, whatever they are called"

EXCEPTIONS = {
    "gunicorn/valid/002": ("refused", HOST),
    "gunicorn/valid/003": ("refused", HOST),
    "gunicorn/valid/005": ("refused", FRAGMENT),
    "gunicorn/valid/008": ("refused", BODY),
    "gunicorn/valid/009": ("refused", FRAGMENT),
    "gunicorn/valid/020": ("refused", BODY),
    "gunicorn/valid/025": ("refused", CODINGS),
    "gunicorn/valid/025_line": ("refused", CODINGS),
    "gunicorn/valid/027": ("refused", FRAGMENT),
    "gunicorn/valid/028": ("refused", "white space before the colon, which their test allows"),
    "gunicorn/valid/029": ("refused", CODINGS),
    "gunicorn/valid/030": ("refused", CODINGS),
    "gunicorn/valid/031compat": ("changed", "their test wants methods in capitals; we leave them as they are"),
    "gunicorn/valid/040": ("refused", BODY),
    "gunicorn/valid/040_compat": ("refused", BODY),
    "gunicorn/valid/099": ("refused", CUT_SHORT),
    "gunicorn/valid/compat_obs_fold": ("refused", FOLDED),
    "gunicorn/valid/compat_obs_fold_huge": ("refused", FOLDED),
    "gunicorn/valid/pp_01": ("refused", PROXY_HEADER),
    "gunicorn/valid/pp_02": ("refused", PROXY_HEADER),
    "gunicorn/valid/pp_04": ("refused", PROXY_HEADER),
    "gunicorn/valid/pp_05": ("refused", PROXY_HEADER),
    "gunicorn/valid/rfc9110_body_framing_get_cl_nonzero_01": ("refused", BODY),
    "gunicorn/valid/rfc9112_smuggle_gzip_chunked_01": ("refused", CODINGS),
    "gunicorn/valid/rfc9112_smuggle_te_identity_chunked_01": ("refused", CODINGS),
    "gunicorn/valid/rfc9112_target_absolute_https_01": ("refused", "we are no proxy to other schemes"),
    "gunicorn/valid/rfc9112_target_absolute_userinfo_01": ("refused", "a user in the target"),
    "gunicorn/valid/rfc9112_target_authority_connect_01": ("refused", CONNECT),
    "gunicorn/valid/rfc9112_target_authority_ipv6_01": ("refused", CONNECT),
    "gunicorn/invalid/003c": ("accepted", METHOD),
    "gunicorn/invalid/006": ("accepted", LIMIT),
    "gunicorn/invalid/007": ("accepted", LIMIT),
    "gunicorn/invalid/008": ("accepted", LIMIT),
    "gunicorn/invalid/010": ("accepted", LIMIT),
    "gunicorn/invalid/017": ("accepted", LIMIT),
    "gunicorn/invalid/limit_header_default_01": ("accepted", LIMIT),
    "gunicorn/invalid/019": (
        "accepted",
        "X-Forwarded fields that contradict each other: they are dropped",
    ),
    "gunicorn/invalid/chunked_07": ("accepted", UNDERSCORE),
    "gunicorn/invalid/rfc9110_trailer_forbidden_cl_01": ("accepted", TRAILERS),
    "gunicorn/invalid/rfc9110_trailer_forbidden_host_01": ("accepted", TRAILERS),
    "gunicorn/invalid/rfc9110_trailer_forbidden_te_01": ("accepted", TRAILERS),
    "llhttp/content-length: Funky `Content-Length` with body": ("refused", BODY),
    "llhttp/method: M-SEARCH request": ("refused", "`*` is a target of OPTIONS only"),
    "llhttp/method: SOURCE request with ICE": ("refused", PROTOCOL),
    "llhttp/method: OPTIONS request with RTSP": ("refused", PROTOCOL),
    "llhttp/method: ANNOUNCE request with RTSP": ("refused", PROTOCOL),
    "llhttp/sample: curl GET": ("refused", HOST),
    "llhttp/sample: Firefox GET": ("refused", HOST),
    "llhttp/sample: No HTTP version": ("refused", "HTTP/0.9"),
    "llhttp/transfer-encoding: POST with `chunked` as last transfer-encoding": ("refused", CODINGS),
    "llhttp/transfer-encoding: POST with `chunked` as last transfer-encoding (multiple headers)": ("refused", CODINGS),
    "llhttp/uri: Host terminated by a query string": ("refused", OTHER_AUTHORITY),
    "llhttp/uri: `host:port` terminated by a query string": ("refused", OTHER_AUTHORITY),
    "llhttp/uri: `host:port` terminated by a space": ("refused", OTHER_AUTHORITY),
    "llhttp/uri: Fragment in URI": ("refused", FRAGMENT),
    "llhttp/uri: `host:port` and basic auth": ("refused", "a user in the target"),
    "llhttp/invalid: HTTP protocol and ANNOUNCE method": ("accepted", METHOD),
    "llhttp/invalid: Invalid method": ("accepted", METHOD),
    "llhttp/transfer-encoding: No extension after semicolon": ("accepted", "extensions are dropped"),
    "h11/test_readers_unusual 11": ("refused", FOLDED),
    "h11/test_allow_some_garbage_in_cookies 1": ("refused", "a control character in a cookie"),
    "h11/test_ChunkedReader 9": ("refused", "spaces behind the size of a chunk"),
    "h11/test_normalize_and_validate 20": ("refused", "Content-Length twice, though equal"),
    "h11/test_normalize_and_validate 21": ("refused", "a list of equal lengths"),
}

REPLY_EXCEPTIONS = {
    "llhttp/connection: HTTP 100 first, then 400": ("refused", "an empty line before a status line"),
    "llhttp/sample: RTSP response": ("refused", PROTOCOL),
    "llhttp/sample: ICE response": ("refused", PROTOCOL),
    "llhttp/sample: HTTP version 0.9": ("refused", "a keyserver speaks HTTP/1"),
    "llhttp/sample: Response starting with CRLF": ("refused", "an empty line before a status line"),
    "llhttp/transfer-encoding: `chunked` before other transfer-encoding": ("refused", CODINGS),
    "llhttp/transfer-encoding: multiple transfer-encoding where chunked is not the last one": ("refused", CODINGS),
    "llhttp/transfer-encoding: `chunkedchunked` transfer-encoding does not enable chunked enconding": (
        "refused",
        CODINGS,
    ),
    "llhttp/transfer-encoding: No extension after semicolon": ("accepted", "extensions are dropped"),
    "h11/test_readers_unusual 8": ("refused", "a bare LF"),
    "h11/test_readers_unusual 9": ("refused", "bare LFs"),
    "h11/test_readers_unusual 10": ("refused", "bare LFs"),
}


class Willing(Classifier):
    """Lets every operation pass, so that a 405 or 404 does not hide what becomes of the bytes."""

    __slots__ = ()

    def __call__(self, method: str, target: str) -> Operation:
        """Classify, but refuse nothing."""
        return super().__call__(method, target)._replace(refusal=0)


@pytest.fixture(autouse=True)
def _willing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make nodes that let every operation pass; need the corpora."""
    need_corpora()
    monkeypatch.setattr("proxy.worker.Classifier", Willing)


def meaning(request: Asked) -> tuple[object, ...]:
    """Return what a keyserver makes of a request: the decoded path, the parameters, the fields and the body.

    The target may be in absolute form. Of equal parameters the first counts, of slashes in a row one.
    """
    target = re.sub(r"(?i)^http://[^/?]*", "", request.target)
    path, _, query = target.partition("?")
    names = [part.partition("=")[0] for part in query.split("&") if part]
    parameters = dict(reversed(parse_qsl(query, keep_blank_values=True, encoding="latin-1")))
    assert len(parameters) <= len(names)
    plain = re.sub("/+", "/", "/" + unquote(path if path != "*" else "", encoding="latin-1").removeprefix("/"))
    return request.method, plain, parameters, request.body


def forwarded(request: Asked) -> list[tuple[str, str]]:
    """Return the fields that concern the keyserver, in their order; names in small letters."""
    fields = [(name.lower(), value) for name, value in request.fields]
    nominated = {
        word.strip().lower() for name, value in fields if name == "connection" for word in value.split(",")
    } - {"host"}
    dropped = NOT_FORWARDED | nominated
    return [(name, value) for name, value in fields if name not in dropped and "_" not in name]


def same_fields(expected: list[tuple[str, str]], got: list[tuple[str, str]]) -> bool:
    """Whether the keyserver got the fields of the client first, and then ours; a Host may have been put in."""
    if "host" not in dict(expected):
        got = [field for field in got if field[0] != "host"]
    return got[: len(expected)] == expected


def difference(case: Case, outcome: Outcome) -> str:
    """Return what became of a case that should not: accepted, refused, changed; empty if nothing."""
    assert not outcome.half, "a part of a request stayed on a good connection"
    if case.asked is None:
        return "accepted" if outcome.asked and not outcome.refused else ""
    if len(outcome.asked) > len(case.asked):
        return "accepted" if case.ending in {INVALID, CUT} else ""
    for expected, got in zip(case.asked, outcome.asked, strict=False):
        if meaning(expected) != meaning(got) or not same_fields(forwarded(expected), forwarded(got)):
            return "changed"
    if len(outcome.asked) < len(case.asked) and case.ending in {COMPLETE, CUT}:
        assert outcome.refused or outcome.dropped
        return "refused"
    return ""


def reply_difference(answer: Answer, relayed: Relayed) -> str:
    """Return what became of a reply that should not: accepted, refused, changed; empty if nothing."""
    assert (relayed.after, relayed.following) == (b"", NEXT)
    broken = relayed.status == HTTPStatus.SERVICE_UNAVAILABLE or not relayed.whole
    if answer.status is None or not answer.whole:
        return "" if broken else "accepted"
    if broken:
        return "refused"
    return "" if (answer.status, answer.body) == (relayed.status, relayed.body) else "changed"


async def differences(start: Start, cases: dict[str, Case]) -> dict[str, str]:
    """Return the cases that end otherwise than their authors say."""
    found = {}
    for name, case in cases.items():
        node = await start(SETTINGS)
        found[name] = difference(case, await converse(node, case.data))
    return {name: problem for name, problem in found.items() if problem}


async def reply_differences(start: Start, answers: dict[str, Answer]) -> dict[str, str]:
    """Return the replies that reach the client otherwise than their authors say."""
    found = {}
    for name, answer in answers.items():
        node = await start(SETTINGS)
        found[name] = reply_difference(answer, await relay(node, answer.data))
    return {name: problem for name, problem in found.items() if problem}


def expected(table: dict[str, tuple[str, str]], project: str) -> dict[str, str]:
    """Return the exceptions for the cases of one project."""
    return {name: problem for name, (problem, _) in table.items() if name.startswith(project + "/")}


REQUESTS = {"gunicorn": (gunicorn, 130), "llhttp": (llhttp_requests, 120), "h11": (h11_requests, 45)}


@pytest.mark.parametrize("project", REQUESTS)
async def test_requests(start: Start, project: str) -> None:
    """Valid requests reach the keyserver with their meaning, invalid ones are refused, with the exceptions above."""
    read, least = REQUESTS[project]
    cases = dict(read())
    assert len(cases) >= least
    assert await differences(start, cases) == expected(EXCEPTIONS, project)


REPLIES = {"llhttp": (llhttp_responses, 70), "h11": (h11_responses, 12)}


@pytest.mark.parametrize("project", REPLIES)
async def test_replies(start: Start, project: str) -> None:
    """Valid replies reach the client as they are, others as a 503 or broken off; the next request gets its own."""
    read, least = REPLIES[project]
    answers = dict(read())
    assert len(answers) >= least
    assert await reply_differences(start, answers) == expected(REPLY_EXCEPTIONS, project)


class Messages:
    """Counts what httptools calls back."""

    complete = 0

    def on_message_complete(self) -> None:
        """Count a message."""
        self.complete += 1


async def test_lenient_inputs(start: Start) -> None:
    """What llhttp takes only where it is told to be lenient is refused, or not read, as by llhttp without that."""
    refused = 0
    for name, data in llhttp_lenient("request"):
        outcome = await converse(await start(SETTINGS), data)
        assert not outcome.half, name
        messages = Messages()
        try:
            httptools.HttpRequestParser(messages).feed_data(data)
        except httptools.HttpParserUpgrade:
            continue
        except httptools.HttpParserError:
            refused += 1
        assert len(outcome.asked) <= messages.complete, name
    assert refused >= 15


def test_missing_corpora_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    """On somebody's own machine the tests are skipped, with a sentence that names what is missing."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("tests.fuzz.corpora.archive", lambda: None)
    with pytest.raises(pytest.skip.Exception, match=r"dev\.tar\.xz"):
        need_corpora()


def test_missing_corpora_fail_where_they_are_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under CI=true missing corpora are a failure."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr("tests.fuzz.corpora.archive", lambda: None)
    with pytest.raises(pytest.fail.Exception, match=r"dev\.tar\.xz"):
        need_corpora()
