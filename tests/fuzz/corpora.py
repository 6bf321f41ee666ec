"""HTTP tests of other projects as cases: bytes, and what their authors say that these bytes mean.

The corpora lie outside of the repository (`shared/data/dev.tar.xz` beside it, or above it): gunicorn's requests with
expectations in Python, llhttp's Markdown with a log for each input, h11's tests. Python is read, never run.

Their requests often lack Host, which HTTP/1.1 demands: it is put in, but not where it would make a body longer.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import tarfile
from collections import Counter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ARCHIVE = Path("shared", "data", "dev.tar.xz")
REQUEST_LINE = re.compile(rb" HTTP/1\.([01])\r\n")

COMPLETE = "complete"  # these requests, and then nothing
INVALID = "invalid"  # something behind them is malformed
CUT = "cut"  # something behind them is not complete
UPGRADE = "upgrade"  # what is behind them is of another protocol, if somebody wants to speak it


class Asked(NamedTuple):
    """One request; names of fields as they were written, or in other letters."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes


class Case(NamedTuple):
    """What a client sends and what it means; `asked` is None where the authors only say that it is invalid."""

    data: bytes
    ending: str
    asked: tuple[Asked, ...] | None


class Answer(NamedTuple):
    """What an upstream sends, and what it means: the first reply that is not interim.

    Attributes:
        data: All that comes over the connection before it is closed.
        status: Of the reply; None: there is no sound one.
        body: Without its framing.
        whole: The body is complete.

    """

    data: bytes
    status: int | None
    body: bytes = b""
    whole: bool = True


def archive() -> Path | None:
    """Return the path of the corpora, None if they are not here."""
    found = (folder / ARCHIVE for folder in Path(__file__).resolve().parents)
    return next((path for path in found if path.is_file()), None)


def need_corpora() -> None:
    """Skip the test, or let it fail where everything is promised to be there, if the corpora are missing."""
    if archive() is not None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{ARCHIVE}, beside the repository, is not here")
    pytest.skip(f"the corpora ({ARCHIVE}, beside the repository) are not here")


@functools.cache
def files() -> Mapping[str, bytes]:
    """Return the contents of the corpora by path; nothing if they are not here."""
    path = archive()
    if path is None:
        return {}
    with tarfile.open(path) as opened:
        return {
            member.name.removeprefix("./"): content.read()
            for member in opened
            if member.name.startswith(("./http/", "./hkp_clients/")) and (content := opened.extractfile(member))
        }


def hosted(data: bytes, requests: int | None = None) -> bytes:
    """Return requests with a Host where HTTP/1.1 has none.

    Args:
        data: Requests on the wire.
        requests: How many there are: what looks like a further one is a body. None: unknown.

    """
    if re.search(rb"(?im)^host\s*:", data):
        return data
    found = list(REQUEST_LINE.finditer(data))[:requests]
    for line in reversed(found):
        if line[1] == b"1":
            data = data[: line.end()] + b"Host: a\r\n" + data[line.end() :]
    return data


# gunicorn: NNN.http with escapes, NNN.py with `request = {...}`, `[{...}, ...]` or the name of an exception.


def gunicorn() -> Iterator[tuple[str, Case]]:
    """Yield each case with its name, such as `gunicorn/valid/001`."""
    for path, content in files().items():
        name = PurePath(path)
        if name.match("http/gunicorn/*/*.http"):
            data = _gunicorn_bytes(content)
            asked = _gunicorn_requests(files()[path.removesuffix("http") + "py"].decode())
            case = Case(hosted(data, len(asked) if asked else None), COMPLETE if asked else INVALID, asked)
            yield f"gunicorn/{name.parent.name}/{name.stem}", case


def _gunicorn_bytes(content: bytes) -> bytes:
    data = content.replace(b"\n", b"")
    for escape, byte in ((rb"\r", b"\r"), (rb"\n", b"\n"), (rb"\t", b"\t"), (rb"\0", b"\0")):
        data = data.replace(escape, byte)
    return re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes.fromhex(found[1].decode()), data)


def _gunicorn_requests(source: str) -> tuple[Asked, ...] | None:
    names: dict[str, Any] = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            names[statement.targets[0].id] = _value(statement.value, names)
    found = names["request"]
    requests = found if isinstance(found, list) else [found]
    return tuple(map(_gunicorn_request, requests)) if isinstance(requests[0], dict) else None


def _gunicorn_request(found: dict[str, Any]) -> Asked:
    body = found["body"]
    return Asked(found["method"], found["uri"], tuple(found["headers"]), body.encode() if body == "" else body)


def _value(node: ast.AST, names: Mapping[str, Any]) -> Any:
    """Return what an expression of literals is; None for anything else."""
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return names.get(node.id)
        case ast.List():
            return [_value(item, names) for item in node.elts]
        case ast.Tuple():
            return tuple(_value(item, names) for item in node.elts)
        case _:
            return _computed(node, names)


def _computed(node: ast.AST, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Dict():
            values = [_value(item, names) for item in node.values]
            return dict(zip([key and _value(key, names) for key in node.keys], values, strict=True))
        case ast.BinOp():
            left, right = _value(node.left, names), _value(node.right, names)
            return left + right if isinstance(node.op, ast.Add) else left * right
        case ast.Call():
            return _called(node, [_value(each, names) for each in node.args], names)
        case _:
            return None


def _called(node: ast.Call, args: list[Any], names: Mapping[str, Any]) -> Any:
    """Return the outcome of `uri(text)`, or of a method of texts."""
    if isinstance(node.func, ast.Name):
        return args[0] if node.func.id == "uri" else None
    if isinstance(node.func, ast.Attribute) and node.func.attr in {"decode", "encode", "replace", "join"}:
        return getattr(_value(node.func.value, names), node.func.attr)(*args)
    return None


# llhttp: Markdown with a title, a request or a response, and the log of llhttp's callbacks.

LLHTTP_TEST = re.compile(
    r"<!-- meta=(\{[^\n]*\}) -->\n```http\n((?:(?!```).)*)\n```\n.*?```log\n((?:(?!```).)*)```", re.DOTALL
)
LLHTTP_ESCAPES = {r"\r": "\r", r"\n": "\n", r"\t": "\t", r"\f": "\f"}
LOG_LINE = re.compile(r"off=\d+ (?:len=\d+ )?(?:span\[(\w+)\]=(.*)|(.*))")


class Logged(NamedTuple):
    """What llhttp's log says of one message."""

    texts: dict[str, str]
    fields: list[tuple[str, str]]
    complete: bool = False


def llhttp(kind: str) -> Iterator[tuple[str, dict[str, Any], bytes, str]]:
    """Yield (name, meta, bytes, log) of each test of `kind`: request or response, strict or lenient."""
    names: Counter[str] = Counter()
    for path, content in sorted(files().items()):
        if not path.startswith(f"http/llhttp/{kind}/"):
            continue
        text = content.decode()
        for test in LLHTTP_TEST.finditer(text):
            titles = re.findall(r"^#+ (.*)$", text[: test.start()], re.MULTILINE)
            name = f"llhttp/{PurePath(path).stem}: {titles[-1]}"
            number = names[name] = names[name] + 1  # some titles stand more than once
            yield (
                name if number == 1 else f"{name} {number}",
                json.loads(test[1]),
                llhttp_bytes(test[2]),
                test[3],
            )


def llhttp_bytes(text: str) -> bytes:
    """Return the bytes that a test of llhttp writes down."""
    text = re.sub(r"\\\n", "", text).replace("\n", "\r\n")
    for escape, char in LLHTTP_ESCAPES.items():
        text = text.replace(escape, char)
    return re.sub(r"\\x([0-9a-fA-F]+)", lambda found: chr(int(found[1], 16)), text).encode("latin-1", "replace")


def llhttp_requests() -> Iterator[tuple[str, Case]]:
    """Yield the strict cases. What llhttp takes only when it is told to be lenient is in `llhttp_lenient`."""
    for name, meta, data, log in llhttp("request"):
        if meta["type"] in {"request", "request-finish"} and not meta.get("skipBody"):
            messages = logged(log)
            asked = tuple(_llhttp_request(message) for message in messages if message.complete)
            yield name, Case(hosted(data, len(messages)), _ending(log, messages), asked)


def _ending(log: str, messages: list[Logged]) -> str:
    if "Pause on CONNECT/Upgrade" in log:
        return UPGRADE
    if "error code=" in log:
        return INVALID
    return COMPLETE if all(message.complete for message in messages) else CUT


def llhttp_lenient(kind: str) -> Iterator[tuple[str, bytes]]:
    """Yield the inputs that need a lenient reader, or show what one does with sound ones."""
    for name, meta, data, _ in llhttp(kind):
        if "lenient" in meta["type"]:
            yield name, hosted(data)


def llhttp_responses() -> Iterator[tuple[str, Answer]]:
    """Yield the strict cases."""
    for name, meta, data, log in llhttp("response"):
        if meta["type"] in {"response", "response-finish"} and not meta.get("skipBody"):
            yield name, _llhttp_answer(data, log)


def _llhttp_answer(data: bytes, log: str) -> Answer:
    final = [message for message in logged(log) if not message.texts.get("end", "").startswith("1")]
    if not final or not final[0].texts.get("end") or not (final[0].complete or "error code=" not in log):
        return Answer(data, None)
    texts, fields, complete = final[0]
    framed = "chunk header" in log or "content-length" in {name.lower() for name, _ in fields}
    body = texts.get("body", "").encode("latin-1")
    return Answer(data, int(texts["end"]), body, whole=complete or not framed)


def logged(log: str) -> list[Logged]:
    """Return the messages in a log."""
    messages: list[Logged] = []
    for line in log.splitlines():
        found = LOG_LINE.match(line)
        if found is None:
            continue
        span, value, event = found.groups()
        if event == "message begin":
            messages.append(Logged({}, []))
        elif event == "message complete":
            messages[-1] = messages[-1]._replace(complete=True)
        elif messages:
            _note(messages[-1], span, value, event)
    return messages


def _note(message: Logged, span: str | None, value: str, event: str | None) -> None:
    """Add a line of the log to its message; spans of one thing may come in pieces."""
    texts = message.texts
    if span:
        texts[span] = texts.get(span, "") + _spanned(value)
    elif event == "header_value complete" and "end" not in texts:  # no trailers
        message.fields.append((texts.pop("header_field", ""), texts.pop("header_value", "").strip(" \t")))
    elif event and (end := re.match(r"headers complete (?:status=(\d+))?", event)):
        texts["end"] = end[1] or ""


def _spanned(value: str) -> str:
    """Return the text of a span: in quotes, or the name of a line end."""
    text = {"cr": "\r", "lf": "\n"}.get(value) or value[1:-1]
    for escape, char in LLHTTP_ESCAPES.items():
        text = text.replace(escape, char)
    return text


def _llhttp_request(message: Logged) -> Asked:
    texts = message.texts
    body = texts.get("body", "").encode("latin-1", "replace")
    return Asked(texts.get("method", ""), texts.get("url", ""), tuple(message.fields), body)


# h11: calls in its tests, with bytes and with what is to come of them.

H11_READERS = {("CLIENT", "IDLE"): "request", ("SERVER", "SEND_RESPONSE"): "response"}
H11_GET = "GET / HTTP/1.1\r\nHost: a\r\n"
H11_POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def h11_requests() -> Iterator[tuple[str, Case]]:
    """Yield whole requests of test_io, chunked bodies of test_io and lists of fields of test_headers."""
    for name, data, event, kind in _h11_reads():
        if kind == "request":
            asked = (_h11_request(event),) if event else None
            yield name, Case(hosted(data, 1), COMPLETE if event else INVALID, asked)
    for name, data, events in _h11_chunks():
        body = b"".join(_keywords(event)["data"] for event in events if _name(event.func) == "Data")
        valid = any(_name(event.func) == "EndOfMessage" for event in events)
        asked = (Asked("POST", "/", (), body),) if valid else None
        yield name, Case(H11_POST + data, COMPLETE if valid else INVALID, asked)
    yield from _h11_fields()


def h11_responses() -> Iterator[tuple[str, Answer]]:
    """Yield the replies of test_io; those without a body are complete at the end of the head."""
    for name, data, event, kind in _h11_reads():
        if kind == "response":
            status = _keywords(event)["status_code"] if event else None
            yield name, Answer(data, status if status != SWITCHING_PROTOCOLS else None)


SWITCHING_PROTOCOLS = 101  # which nobody asked for


def _h11_tree(name: str) -> ast.Module:
    source = files().get(f"http/h11/h11/tests/{name}", b"")
    return ast.parse(source)


def _h11_calls(name: str, function: str) -> Iterator[tuple[str, ast.Call, bool]]:
    """Yield (name of the case, call, whether it must raise) for the calls of `function`."""
    for test in ast.walk(_h11_tree(name)):
        if not isinstance(test, ast.FunctionDef):
            continue
        doomed = {
            id(call)
            for block in ast.walk(test)
            if isinstance(block, ast.With) and "raises" in ast.unparse(block.items[0].context_expr)
            for call in ast.walk(block)
        }
        calls = [call for call in ast.walk(test) if isinstance(call, ast.Call) and _name(call.func) == function]
        calls.sort(key=lambda call: call.lineno)
        for number, call in enumerate(calls, 1):
            yield f"h11/{test.name} {number}", call, id(call) in doomed


def _h11_reads() -> Iterator[tuple[str, bytes, ast.Call | None, str]]:
    """Yield (name, bytes, event or None if they are refused, kind) of each `tr(READERS[role, state], ...)`."""
    for name, call, doomed in _h11_calls("test_io.py", "tr"):
        data = _value(call.args[1], {})
        if isinstance(call.args[0], ast.Subscript) and isinstance(data, bytes):
            yield name, data, None if doomed else _call(call.args[2]), _kind(call.args[0].slice)
    for statement in _h11_tree("test_io.py").body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "SIMPLE_CASES":
            for number, row in enumerate(ast.walk(statement.value)):
                if isinstance(row, ast.Tuple) and len(row.elts) == 3 and isinstance(row.elts[1], ast.Call):
                    state, event, data = row.elts
                    yield f"h11/SIMPLE_CASES {number}", _value(data, {}), _call(event), _kind(state)


def _kind(state: ast.AST) -> str:
    return H11_READERS[tuple(_name(each) for each in getattr(state, "elts", ()))]  # type: ignore[index]  # two of them


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _call(node: ast.AST) -> ast.Call:
    assert isinstance(node, ast.Call)
    return node


def _keywords(event: ast.Call) -> dict[str, Any]:
    return {each.arg or "": _value(each.value, {}) for each in event.keywords}


def _h11_request(event: ast.Call) -> Asked:
    given = _keywords(event)
    return Asked(given["method"], given["target"], tuple(given.get("headers", ())), b"")


def _h11_chunks() -> Iterator[tuple[str, bytes, list[ast.Call]]]:
    """Yield (name, bytes, events) of each `t_body_reader(ChunkedReader, ...)`; no event if they are refused."""
    for name, call, _ in _h11_calls("test_io.py", "t_body_reader"):
        if _name(call.args[0]) == "ChunkedReader":
            events = getattr(call.args[2], "elts", [])
            yield name, _value(call.args[1], {}), [event for event in events if isinstance(event, ast.Call)]


def _h11_fields() -> Iterator[tuple[str, Case]]:
    """Yield a request for each list of fields that h11 checks; a valid one may have a body: it is sent."""
    for name, call, doomed in _h11_calls("test_headers.py", "normalize_and_validate"):
        fields = [(_text(key), _text(value)) for key, value in _value(call.args[0], {})]
        if any(value != value.strip(" \t") for _, value in fields):
            continue  # white space around a value is of the wire, and none of a reader's business
        lines = "".join(f"{key}: {value}\r\n" for key, value in fields)
        body, payload = _body_of(dict(fields))
        data = f"POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode("latin-1") + body
        asked = None if doomed else (Asked("POST", "/", tuple(fields), payload),)
        yield name, Case(data, INVALID if doomed else COMPLETE, asked)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _body_of(fields: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Return a body as these fields announce it, and its payload."""
    if "Transfer-Encoding" in fields:
        return b"1\r\nx\r\n0\r\n\r\n", b"x"
    return (b"x", b"x") if fields.get("Content-Length") == "1" else (b"", b"")
