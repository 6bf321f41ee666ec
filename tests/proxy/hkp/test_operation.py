"""Requests and what they are: class, subject, price, canonical target."""

import sys
from types import FrameType
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.hkp.canonical import BadTarget, decode_query
from proxy.hkp.operation import STATIC_PREFIXES, Classifier, ClassifierOptions, Operation
from proxy.hkp.operation import OperationClass as Kind

if TYPE_CHECKING:
    from _typeshed import TraceFunction

FPR = "740D7FE2AB3143E86C8FD12300186602339240CB"
V6 = "AB" * 32
KEY_ID = "00186602339240CB"
GET = f"/pks/lookup?op=get&options=mr&search=0x{FPR}"
INDEX = f"/pks/lookup?op=index&options=mr&search=0x{FPR}"
IDENTITY = "/pks/lookup?op=index&options=mr&search=a%40example.org"
WORDS = "/pks/lookup?op=index&options=mr&search=alice%20liddell"

classify = Classifier(ClassifierOptions())
passing = Classifier(ClassifierOptions(pass_unknown=True))


@pytest.mark.parametrize(
    ("target", "canonical"),
    [
        (GET, GET),
        (f"/pks/%6cookup?op=get&options=mr&search=0x{FPR}", GET),
        (f"/pks%2flookup?op=get&options=mr&search=0x{FPR}", GET),
        (f"/PKS/LookUp?op=get&options=mr&search=0x{FPR}", GET),
        (f"//pks//lookup?op=get&options=mr&search=0x{FPR}", GET),
        (f"/x/../pks/lookup?op=get&options=mr&search=0x{FPR}", GET),
        (f"/./pks/lookup/?op=get&options=mr&search=0x{FPR}", GET),
        (f"/pks/lookup?search=0x{FPR}&op=get&options=mr", GET),
        (f"/pks/lookup?search=0x{FPR}&options=mr&op=get&search=alice&op=stats", GET),
        (f"/pks/lookup?op=%67et&%6fptions=mr&search=%30%78{FPR.lower()}", GET),
        (f"/pks/lookup?OP=GET&options=mr&Search=0X{FPR}", GET),
        (f"/pks/lookup?op=+get+&options=,mr,&search=+0x{FPR}+", GET),
        (f"/pks/lookup?op=get&options=mr&search={FPR}", GET),
        (f"/pks/lookup?op=get&options=mr&search=%3C0x{FPR}%3e", GET),
        (f"/pks/lookup?&op=get&&options=mr&search=0x{FPR}&", GET),
        (f"/pks/lookup?op=%69ndex&options=mr&search=0x{FPR}", INDEX),
        (f"/pks/lookup?op=get&options=mr&search=0x{FPR}&exact=on", GET + "&exact=on"),
        (f"/pks/lookup?op=get&options=mr&exact=on&search=0x{FPR}", GET + "&exact=on"),
        (f"/pks/lookup?x-a=1;2&op=get&options=mr&search=0x{FPR}", GET + "&x-a=1%3B2"),
        (f"/pks/lookup?op=get&options=+mr+,+nm&search=0x{FPR}", GET.replace("mr", "mr%2Cnm")),
        ("/pks/lookup?op=index&options=mr&search=a@example.org", IDENTITY),
        ("/pks/lookup?op=index&options=mr&search=%3Ca%40example.org%3E", IDENTITY),
        ("/pks/lookup?op=index&options=mr&search=alice+liddell", WORDS),
        ("/pks/lookup?op=index&options=mr&search=alice%20liddell%0d", WORDS),
    ],
)
def test_one_request_has_one_spelling(target: str, canonical: str) -> None:
    """Every spelling of a request is classified and forwarded as its canonical spelling is."""
    assert classify("GET", target) == classify("GET", canonical)
    assert classify("GET", target).target == canonical.encode()


@pytest.mark.parametrize(
    ("query", "kind", "subject", "price"),
    [
        (f"op=get&search=0x{FPR}", Kind.CERT, FPR, 1),
        (f"op=index&search=0x{KEY_ID}", Kind.CERT, KEY_ID, 1),
        ("op=get&search=0x339240CB", Kind.CERT, "339240CB", 1),
        (f"op=get&search=0x{V6}", Kind.CERT, V6, 1),
        (f"op=vindex&search=0x{FPR}", Kind.CERT, FPR, 4),
        ("op=get&search=A@example.org", Kind.IDENTITY, "a@example.org", 1),
        ("op=vindex&search=a@example.org", Kind.IDENTITY, "a@example.org", 4),
        ("op=index&search=Alice++Liddell", Kind.WORDS, "alice liddell", 60),
        ("op=get&search=deadbeef", Kind.WORDS, "deadbeef", 60),
        ("op=vindex&search=alice", Kind.WORDS, "alice", 60),
        ("op=index&search=@example.org", Kind.WORDS, "@example.org", 60),
        ("op=get&search=0x123", Kind.WORDS, "0x123", 60),
        ("op=stats", Kind.STATS, "", 1),
        ("op=STATS&options=mr&search=alice", Kind.STATS, "", 1),
        ("op=hget&search=" + "AB" * 16, Kind.SYNC, "ab" * 16, 60),
    ],
)
def test_lookups(query: str, kind: Kind, subject: str, price: int) -> None:
    """A lookup is what its op and its search say, with GET and with HEAD."""
    for method in ("GET", "HEAD"):
        operation = classify(method, "/pks/lookup?" + query)
        assert operation[:3] == (kind, subject, price)
        assert operation.refusal == 0


def test_digest_has_one_spelling() -> None:
    """A digest goes upstream in lower case, as keyservers keep it; all of it is asked for, and nothing else."""
    operation = classify("GET", "/pks/lookup?search=" + "A%42" * 16 + "&op=hget")
    assert operation.target == b"/pks/lookup?op=hget&search=" + b"ab" * 16
    assert operation.subject == "ab" * 16


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/pks/add?keytext=a", 400),
        ("POST", "/pks/add?options=mr&KeyText=a", 400),
        ("POST", "/pks/add?%6beytext", 400),
        ("PUT", "/?keytext=", 400),
        ("POST", "/pks/replace?keytext=a", 400),
        ("POST", "/pks/delete?keytext=a", 400),
        ("POST", "/pks/v2/sendtoken?address=a@example.org", 400),
        ("POST", "/vks/v1/request-verify?Addresses=a@example.org", 400),
        ("POST", "/manage?search_term=a@example.org", 400),
        ("POST", "/pks/add?options=mr&key=text", 0),
        ("POST", "/pks/v2/sendtoken?keytext=a", 0),
        ("GET", f"/vks/v1/by-fingerprint/{FPR}?keytext=a&address=b", 0),
        ("OPTIONS", "/pks/add?keytext=a", 0),
    ],
)
def test_what_belongs_in_the_body(method: str, target: str, status: int) -> None:
    """Some servers read a query as if it were the body, which is what is looked at: it is refused there."""
    assert classify(method, target).refusal == status


@pytest.mark.parametrize(
    ("target", "kind", "status"),
    [
        ("/pks/lookup", Kind.UNKNOWN, 501),
        ("/pks/lookup?search=alice", Kind.UNKNOWN, 501),
        ("/pks/lookup?op=+&search=alice", Kind.UNKNOWN, 501),
        ("/pks/lookup?op=x-photo&search=alice", Kind.UNKNOWN, 501),
        ("/pks/lookup?op=get", Kind.WORDS, 400),
        ("/pks/lookup?op=get&search=+", Kind.WORDS, 400),
        ("/pks/lookup?op=get&search=%3C%3E", Kind.WORDS, 400),
        ("/pks/lookup?op=index&search=ab", Kind.WORDS, 501),
        ("/pks/lookup?op=index&search=a.b.c+de", Kind.WORDS, 501),
        ("/s/ab", Kind.WORDS, 501),
        ("/search", Kind.WORDS, 400),
        ("/search?search=alice", Kind.WORDS, 400),
        ("/vks/v1/by-fingerprint/alice", Kind.CERT, 400),
        ("/vks/v1/by-keyid/339240CB", Kind.CERT, 400),
        ("/pks/v2/certs/by-keyid/" + FPR, Kind.CERT, 400),
        ("/pks/v2/certs/by-vfingerprint/" + FPR, Kind.CERT, 400),
        ("/pks/v2/certs/by-vfingerprint/06" + FPR, Kind.CERT, 400),
        ("/pks/v2/certs/by-vfingerprint/99/" + FPR, Kind.CERT, 400),
        ("/", Kind.STATIC, 0),
        ("/wp-login.php", Kind.UNKNOWN, 404),
        ("/pks", Kind.UNKNOWN, 404),
        ("/pks/lookup/x", Kind.UNKNOWN, 404),
        ("/pks/lookup;x?op=get", Kind.UNKNOWN, 404),
        ("/pks/v2/index", Kind.UNKNOWN, 404),
        ("/pks/v2/certs/by-keyid/", Kind.UNKNOWN, 404),
        ("/vks/v1/by-email/a/b", Kind.UNKNOWN, 404),
        ("/aboutx", Kind.UNKNOWN, 404),
        ("/ABOUT", Kind.UNKNOWN, 404),
        ("/.well-known/security.txt", Kind.UNKNOWN, 404),
        ("/.well-known/openpgpkey", Kind.UNKNOWN, 404),
        ("/.well-known/openpgpkey/hu", Kind.UNKNOWN, 404),
        ("/.well-known/openpgpkey/a/b/policy", Kind.UNKNOWN, 404),
        ("/.well-known/openpgpkey/a/b/hu/c", Kind.UNKNOWN, 404),
        ("/pks/lookup?op=hget", Kind.SYNC, 400),
        ("/pks/lookup?op=hget&search=" + "a" * 31, Kind.SYNC, 400),
        ("/pks/lookup?op=hget&search=" + "a" * 33, Kind.SYNC, 400),
        ("/pks/lookup?op=hget&search=" + "a" * 31 + "g", Kind.SYNC, 400),
        ("/pks/lookup?op=hget&search=0x" + "a" * 32, Kind.SYNC, 400),
        ("/pks/lookup?op=hget&search=+" + "a" * 31, Kind.SYNC, 400),
        ("/pks/lookup?op=hget&hash=" + "a" * 32, Kind.SYNC, 400),
        (f"/pks/lookup?op=HGET&search={FPR}", Kind.SYNC, 400),
    ],
)
def test_refusals(target: str, kind: Kind, status: int) -> None:
    """What no keyserver can answer is refused with a status that tells why, for the price of one token."""
    operation = classify("GET", target)
    assert (operation.kind, operation.refusal) == (kind, status)
    assert operation.price == (1 if status else 0)


@pytest.mark.parametrize(
    ("kind", "method", "target", "price"),
    [
        (Kind.UPLOAD, "POST", "/pks/add", 20),
        (Kind.MAIL, "POST", "/vks/v1/request-verify", 20),
        (Kind.ADMIN, "POST", "/pks/delete", 20),
        (Kind.SYNC, "POST", "/pks/hashquery", 60),
        (Kind.PREFIXLOG, "GET", "/pks/v2/prefixlog/2026-05-21", 20),
        (Kind.STATS, "GET", "/pks/stats", 1),
        (Kind.STATIC, "GET", "/pks/health", 0),
        (Kind.UNKNOWN, "GET", "/x", 1),
    ],
)
def test_prices(kind: Kind, method: str, target: str, price: int) -> None:
    """Every class has its price."""
    operation = classify(method, target)
    assert (operation.kind, operation.price) == (kind, price)


@pytest.mark.parametrize(
    ("target", "kind", "status"),
    [
        ("/pks/lookup", Kind.STATIC, 0),
        ("/pks/lookup?op=x-y", Kind.STATIC, 0),
        ("/pks/lookup?op=get", Kind.STATIC, 0),
        ("/pks/add", Kind.STATIC, 0),
        ("/pks/v2/certs/by-keyid", Kind.STATIC, 0),
        ("/search?q=alice", Kind.STATIC, 0),
        ("/pks", Kind.UNKNOWN, 404),
    ],
)
def test_options(target: str, kind: Kind, status: int) -> None:
    """OPTIONS is free of charge on every known endpoint, whatever the query, and 404 elsewhere."""
    operation = classify("OPTIONS", target)
    assert (operation.kind, operation.refusal) == (kind, status)
    assert operation.price == (1 if status else 0)


def test_pass_unknown() -> None:
    """With pass_unknown, what is no operation goes upstream in canonical form; an op costs what words do."""
    path = passing("POST", "//Some/./Page?b=1&a=+2")
    assert path == (Kind.UNKNOWN, "", 1, b"/Some/Page?b=1&a=%202", 0, "", False)
    assert passing("GET", "/Get/") == (Kind.UNKNOWN, "", 1, b"/Get/", 0, "", False)
    op = passing("GET", "/pks/lookup?op=x-photo&search=0xAB")
    assert op == (Kind.UNKNOWN, "", 60, b"/pks/lookup?op=x-photo&search=0xAB", 0, "", False)


def test_word_search_off() -> None:
    """With word_search off, words are refused with 501 on every endpoint, and nothing else is."""
    strict = Classifier(ClassifierOptions(word_search=False))
    refused = ["/pks/lookup?op=get&search=alice", "/search?q=alice", "/s/alice"]
    assert [strict("GET", target).refusal for target in refused] == [501] * 3
    served = [GET, IDENTITY, "/s/a@b", f"/s/{FPR}"]
    assert [strict("GET", target).refusal for target in served] == [0] * 4


def test_word_min_chars() -> None:
    """A search is refused below the minimum and served at it; 0 serves anything that is not empty."""
    target = "/pks/lookup?op=index&search="
    for minimum, search, status in [(5, "abcd", 501), (5, "abcde", 0), (0, "-", 0), (0, "", 400)]:
        assert Classifier(ClassifierOptions(word_min_chars=minimum))("GET", target + search).refusal == status


def test_static_prefixes() -> None:
    """A prefix covers itself and what is below it, and never hides an endpoint."""
    own = Classifier(ClassifierOptions(static_prefixes=("/pks", "/my/pages/", "/get")))
    assert [own("GET", path).kind for path in ("/pks/x", "/my/pages", "/my/pages/a", "/get")] == [Kind.STATIC] * 4
    assert own("GET", "/get/alice").kind is Kind.WORDS
    assert own("GET", "/my/pagesx").kind is Kind.UNKNOWN
    assert own("GET", "/about").kind is Kind.UNKNOWN
    assert own("GET", WORDS).kind is Kind.WORDS


@pytest.mark.parametrize("prefix", ["", "/", "about", "/a//b", "/a/../b", "/%61", "/a%zz", "/a\\b"])
def test_bad_static_prefix(prefix: str) -> None:
    """A prefix that would match all or nothing is an error at start."""
    with pytest.raises(ValueError, match=r"static prefix|escape|backslash"):
        ClassifierOptions(static_prefixes=(prefix,))


def test_bad_target() -> None:
    """A target without a canonical form is a BadTarget, in its path and in its query."""
    for target in ("/%zz", "/?a=%zz", "/?" + "&" * 64, "/%00", "/?a=%00", "/?a=" + "@" * 4000):
        with pytest.raises(BadTarget):
            classify("GET", target)


def test_the_common_get_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gpg sends takes the short way, and only with GET."""

    def decoded(raw: str) -> dict[str, str]:
        raise AssertionError(raw)

    monkeypatch.setattr("proxy.hkp.operation.decode_query", decoded)
    assert classify("GET", GET) == (Kind.CERT, FPR, 1, GET.encode(), 0, "", False)
    with pytest.raises(AssertionError):
        classify("POST", GET)


@given(
    st.sampled_from(["get", "index"]),
    st.sampled_from([16, 40]).flatmap(lambda n: st.text("0123456789ABCDEF", min_size=n, max_size=n)),
    st.sampled_from(["", "&exact=on"]),
)
def test_the_short_way_gives_what_the_long_way_gives(op: str, digits: str, exact: str) -> None:
    """The same request, written so that the short way does not take it, is the same operation."""
    short = f"/pks/lookup?op={op}&options=mr&search=0x{digits}{exact}"
    assert classify("GET", short) == classify("GET", short.replace("lookup", "%6cookup"))


# --- properties over all targets ---

VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
PIECES = st.one_of(
    st.sampled_from(
        [
            *(
                "/pks/lookup",
                "/PKS",
                "/pks/add",
                "/vks/v1/by-email/",
                "/pks/v2/certs/by-vfingerprint/",
                "04",
                "/",
            ),
            *(
                "/.well-known/openpgpkey/",
                "hu/",
                "policy",
                "/search",
                "/s/",
                "/verify/",
                "/about",
                "/..",
                "//",
                "/.",
            ),
            *(
                "?",
                "&",
                "=",
                "op=",
                "get",
                "index",
                "vindex",
                "stats",
                "hget",
                "x-y",
                "search=",
                "q=",
                "options=",
            ),
            *(
                "%2e",
                "%2F",
                "%",
                "%zz",
                "%C3",
                "%A9",
                "%FF",
                "%0a",
                "%20",
                "+",
                ",",
                ";",
                "<",
                ">",
                "@",
                "0x",
                "0X",
            ),
            *(
                FPR,
                FPR.lower(),
                KEY_ID,
                "alice",
                "a@b",
                "%3C",
                "%3e",
                "%e2%84%aa",
                "%C4%B0",
                "%00",
                "mr",
                "#",
            ),
        ]
    ),
    st.text(VISIBLE, max_size=8),
)
TARGETS = st.lists(PIECES, max_size=14).map(lambda pieces: "/" + "".join(pieces))
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "x"])
CLASSIFIERS = st.sampled_from([classify, passing])


def outcome(classifier: Classifier, method: str, target: str) -> Operation | None:
    """Classify; None for a target without a canonical form."""
    try:
        return classifier(method, target)
    except BadTarget:
        return None


@given(CLASSIFIERS, METHODS, TARGETS)
@example(classify, "GET", "/by-email/%20..")
@example(classify, "GET", "/s/%20..%20")
@example(classify, "GET", "/pks/lookup?op=get&search=%3C+%3C+a@b+%3E+%3E")
@example(classify, "GET", "/pks/lookup?op=get&options=%C3,%20,%A9&search=%C3")
@example(passing, "GET", "/%2E%2e%2f%2F")
def test_idempotent(classifier: Classifier, method: str, target: str) -> None:
    """The canonical target is classified as the request was and has itself as canonical target."""
    operation = outcome(classifier, method, target)
    if operation is not None:
        assert classifier(method, operation.target.decode("ascii")) == operation


@given(CLASSIFIERS, METHODS, st.text(VISIBLE).map("/".__add__))
def test_total(classifier: Classifier, method: str, target: str) -> None:
    """Any visible ASCII is an operation or a BadTarget, and every part of an operation is in its range."""
    operation = outcome(classifier, method, target)
    if operation is not None:
        assert operation.kind is not Kind.TOTAL
        assert operation.price >= 0
        assert operation.target.startswith(b"/")
        assert operation.refusal in {0, 400, 404, 405, 501}
        assert bool(operation.allow) == (operation.refusal == 405)
        operation.subject.encode()


def respelled(text: str, choices: st.DataObject, keep: str) -> str:
    """Escape some characters of a decoded text; those in `keep` always, as they would mean something else."""
    picks = f"{choices.draw(st.integers(0, 2 ** len(text) - 1)):0{len(text)}b}" if text else ""
    return "".join(
        "".join(f"%{octet:02x}" for octet in char.encode())
        if pick == "1" or char in keep or char not in VISIBLE
        else char
        for char, pick in zip(text, picks, strict=True)
    )


@given(
    st.permutations(["op", "search", "options", "exact", "x-y"]),
    st.sampled_from(["get", "index", "vindex", "stats", "hget", "x"]),
    st.one_of(st.sampled_from([FPR, "0x" + FPR, "<a@b>", "alice liddell"]), st.text(max_size=12)),
    st.data(),
)
def test_spelling_and_order_change_nothing(names: list[str], op: str, search: str, data: st.DataObject) -> None:
    """Two spellings of one query, in any order and with later duplicates, are one operation."""
    search = search.replace("\0", "")
    values = {"op": op, "search": search, "options": "mr", "exact": "on", "x-y": "1"}
    pieces = [f"{respelled(n, data, '&=+%')}={respelled(values[n], data, '&+%')}" for n in names]
    straight = [f"{n}={respelled(values[n], data, VISIBLE)}" for n in sorted(values)]
    one = classify("GET", "/pks/lookup?" + "&".join([*pieces, "op=stats", "search=0x1"]))
    other = classify("GET", "/pks/lookup?" + "&".join(straight))
    assert one == other


def steps(classifier: Classifier, target: str) -> int:
    """Count the bytecode instructions of one classification."""
    count = 0

    def trace(frame: FrameType, _event: str, _arg: object) -> "TraceFunction":
        nonlocal count
        frame.f_trace_opcodes = True
        count += 1
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        outcome(classifier, "GET", target)
    finally:
        sys.settrace(previous)
    return count


@pytest.mark.parametrize(
    ("start", "unit"),
    [
        *((start, unit) for start in ("/", "/x?", "/x?a=") for unit in ("%2e", "%C3", "+", "=", "%26", "a")),
        *(("/", unit) for unit in ("a/../", "/", "./", "%2e%2e/", "a/", "@")),
        *(("/pks/lookup?op=get&search=", unit) for unit in ("%3c", "%20", "a+", "a@", "dead+", "0x", "%3C%3e")),
        *(("/pks/lookup?options=", unit) for unit in (",", "a,", "+,")),
    ],
)
def test_hostile_targets_take_linear_time(start: str, unit: str) -> None:
    """Twice as long a target takes at most twice the steps."""
    short, long = (start + unit * (chars // len(unit)) for chars in (400, 800))
    assert steps(passing, long) <= 2 * steps(passing, short) + 50


def test_default_prefixes_hold_no_endpoint() -> None:
    """The default pages are plain files: none of them is or hides something that costs."""
    for prefix in STATIC_PREFIXES:
        assert classify("GET", prefix) == (Kind.STATIC, "", 0, prefix.encode(), 0, "", False)
        assert classify("POST", prefix).refusal == 405


def test_the_upstream_reads_what_was_classified() -> None:
    """Decoding the forwarded query gives the subject that was priced, also under duplicates."""
    operation = classify("GET", f"/pks/lookup?search=0x{FPR}&search=alice&op=get&op=index")
    query = operation.target.decode().partition("?")[2]
    assert decode_query(query) == {"op": "get", "search": "0x" + operation.subject}
