"""The paths that keyservers serve, as tables: which method does what, and what the path itself asks for.

Sources: HKP.md section 1; Hockeypuck `hkp/handler.go` (Register); Hagrid `web/vks_web.rs`, `web/manage.rs`;
the rewrites of the HAProxy configuration that Hockeypuck ships; draft-koch-openpgp-webkey-service for WKD.
Names of endpoints are matched without regard to case, and a slash at their end does not count; arguments
keep their case.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from proxy.hkp.classes import OperationClass as Kind
from proxy.hkp.terms import (
    FINGERPRINT_DIGITS,
    KEY_ID_DIGITS,
    hex_digits,
    normalised,
    read_term,
    without_prefix,
)

Methods = Mapping[str, Kind]

LOOKUP = "/pks/lookup"
# Endpoints whose query is the question, and the parameter that holds it.
SEARCH_PARAMETERS = {LOOKUP: "search", "/search": "q"}

READS: Mapping[Kind, Methods] = {kind: {"GET": kind, "HEAD": kind} for kind in Kind}

_FIXED: Mapping[str, Methods] = {
    # HKP
    "/pks/add": {"POST": Kind.UPLOAD},
    "/pks/replace": {"POST": Kind.ADMIN},
    "/pks/delete": {"POST": Kind.ADMIN},
    "/pks/hashquery": {"POST": Kind.SYNC},
    "/pks/health": READS[Kind.STATIC],
    "/pks/stats": READS[Kind.STATS],
    # HKP version 2
    "/pks/v2/certs": {"POST": Kind.UPLOAD},
    "/pks/v2/sendtoken": {"POST": Kind.MAIL},
    # VKS
    "/vks/v1/upload": {"POST": Kind.UPLOAD},
    "/vks/v1/request-verify": {"POST": Kind.MAIL},
    # Pages; `curl -T KEY https://server/` uploads to Hagrid
    "/": {"GET": Kind.STATIC, "HEAD": Kind.STATIC, "PUT": Kind.UPLOAD},
    "/index.html": READS[Kind.STATIC],
    "/robots.txt": READS[Kind.STATIC],
    "/favicon.ico": READS[Kind.STATIC],
    "/upload": READS[Kind.STATIC],
    "/upload/submit": {"POST": Kind.UPLOAD},
    "/upload/request-verify": {"POST": Kind.MAIL},
    "/manage": {"GET": Kind.STATIC, "HEAD": Kind.STATIC, "POST": Kind.MAIL},
    "/manage/unpublish": {"POST": Kind.ADMIN},
}

_WELL_KNOWN = ["", ".well-known", "openpgpkey"]
_VERSION_DIGITS = {"03": 32, "04": 40, "05": 64, "06": 64}


class Route(NamedTuple):
    """What a path is, before the method is looked at.

    Args:
        path: Canonical, decoded.
        methods: What each method does; empty for an endpoint that lacks its argument: OPTIONS only.
        subject: What the path asks for, normalised; empty if it asks for nothing.
        refusal: 400 if the argument cannot be what the endpoint takes, else 0.
        words: The argument, where it is a search by words, else empty.

    """

    path: str
    methods: Methods
    subject: str = ""
    refusal: int = 0
    words: str = ""


def find_route(path: str) -> Route | None:
    """Find the endpoint of a path, None if there is none.

    Args:
        path: Decoded and resolved, see canonical.py.

    """
    bare = path.rstrip("/") or "/"
    name = bare.lower()
    if name in _FIXED:
        return Route(name, _FIXED[name])
    if name in _ARGUMENT_READERS:
        return Route(name, {})
    head, _, argument = bare.rpartition("/")
    reader = _ARGUMENT_READERS.get(head.lower())
    if reader:
        return reader(head.lower(), argument)
    return _versioned(head, argument) or _well_known(bare.split("/"))


def _by_hex(lengths: frozenset[int]) -> Callable[[str, str], Route]:
    def read(head: str, argument: str) -> Route:
        digits = hex_digits(without_prefix(argument), lengths)
        return _certificate(head, digits, digits) if digits else _malformed(head, argument)

    return read


def _by_vfingerprint(head: str, argument: str) -> Route:
    """Read `04FPR` of draft-gallagher-openpgp-hkp; servers know one of the two forms, so each is kept."""
    digits = _vfingerprint_digits(argument[:2], argument[2:])
    return _certificate(head, argument[:2] + digits, digits) if digits else _malformed(head, argument)


def _versioned(head: str, argument: str) -> Route | None:
    """Read `04/FPR` of draft-ietf-openpgp-hkp."""
    parent, _, version = head.rpartition("/")
    if parent.lower() != _BY_VFINGERPRINT:
        return None
    digits = _vfingerprint_digits(version, argument)
    head = f"{_BY_VFINGERPRINT}/{version}"
    return _certificate(head, digits, digits) if digits else _malformed(head, argument)


def _vfingerprint_digits(version: str, fingerprint: str) -> str:
    return hex_digits(fingerprint, frozenset({_VERSION_DIGITS.get(version, -1)}))


def _certificate(head: str, argument: str, digits: str) -> Route:
    return Route(f"{head}/{argument}", READS[Kind.CERT], digits)


def _malformed(head: str, argument: str) -> Route:
    return Route(f"{head}/{argument}", READS[Kind.CERT], refusal=HTTPStatus.BAD_REQUEST)


def _by(methods: Methods) -> Callable[[str, str], Route]:
    def read(head: str, argument: str) -> Route:
        return Route(f"{head}/{argument}", methods, normalised(argument))

    return read


def _by_token(methods: Methods) -> Callable[[str, str], Route]:
    """Read a page whose argument is a secret that was sent by mail: it is nobody's subject."""

    def read(head: str, argument: str) -> Route:
        return Route(f"{head}/{argument}", methods)

    return read


def _by_term(head: str, argument: str) -> Route:
    """Read a search in the path; only a certificate is respelled, a trimmed word could be a dot segment."""
    term = read_term(argument)
    if term.kind is Kind.CERT:
        return _certificate(head, term.text, term.subject)
    words = term.text if term.kind is Kind.WORDS else ""
    return Route(f"{head}/{argument}", READS[term.kind], term.subject, words=words)


def _well_known(segments: list[str]) -> Route | None:
    """Read the Web Key Directory: the direct method, or the advanced one with a domain in the path."""
    root, rest = segments[:3], segments[3:]
    if not rest or [segment.lower() for segment in root] != _WELL_KNOWN:
        return None
    is_lookup = len(rest) > 1 and rest[-2].lower() == "hu"
    domains = rest[:-2] if is_lookup else rest[:-1]
    if len(domains) > 1:
        return None
    return _wkd_lookup(domains, rest[-1]) if is_lookup else _wkd_file(domains, rest[-1].lower())


def _wkd_lookup(domains: list[str], digest: str) -> Route:
    """Take the digest as it is, files have a case; the parameter `l` is the client's word and no subject."""
    path = _joined(*map(str.lower, domains), "hu", digest)
    return Route(path, READS[Kind.IDENTITY], "@".join(map(normalised, (digest, *domains))))


def _wkd_file(domains: list[str], name: str) -> Route | None:
    is_file = name in {"policy", "submission-address"}
    return Route(_joined(*map(str.lower, domains), name), READS[Kind.STATIC]) if is_file else None


def _joined(*segments: str) -> str:
    return "/".join([*_WELL_KNOWN, *segments])


_BY_VFINGERPRINT = "/pks/v2/certs/by-vfingerprint"
_ARGUMENT_READERS: Mapping[str, Callable[[str, str], Route]] = {
    _BY_VFINGERPRINT: _by_vfingerprint,
    "/pks/v2/certs/by-keyid": _by_hex(KEY_ID_DIGITS),
    "/pks/v2/certs/by-identity": _by(READS[Kind.IDENTITY]),
    "/pks/v2/index": _by(READS[Kind.IDENTITY]),
    "/pks/v2/canonical": _by({**READS[Kind.IDENTITY], "PUT": Kind.UPLOAD}),
    "/pks/v2/prefixlog": _by(READS[Kind.PREFIXLOG]),
    "/vks/v1/by-fingerprint": _by_hex(FINGERPRINT_DIGITS),
    "/vks/v1/by-keyid": _by_hex(KEY_ID_DIGITS),
    "/vks/v1/by-email": _by(READS[Kind.IDENTITY]),
    # Pages behind a mailed link: looking does nothing, confirming publishes an address
    "/verify": _by_token({"GET": Kind.STATIC, "HEAD": Kind.STATIC, "POST": Kind.UPLOAD}),
    "/manage": _by_token(READS[Kind.STATIC]),
    "/upload": _by_token(READS[Kind.STATIC]),
    # Short forms that HAProxy rewrites to lookups
    "/s": _by_term,
    "/search": _by_term,
    "/g": _by_term,
    "/get": _by_term,
    "/d": _by_term,
    "/download": _by_term,
}
