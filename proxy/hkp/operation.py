"""What a request asks for: its class, its subject, its price, and the canonical target that goes upstream.

Classification looks at nothing but the canonical form (canonical.py), and what is forwarded is the canonical
form, so an operation cannot be one thing here and another at the keyserver. Classifying a canonical target
again gives the same operation. Everything is linear in the length of the target.

What is refused here never reaches the upstream:

| status | when | what gpg shows |
| --- | --- | --- |
| 400 | a lookup without a search, an argument that the endpoint cannot take | (gpg sends neither) |
| 400 | a certificate or an address to mail to in the query, where it belongs in the body | (gpg sends neither) |
| 404 | unknown path | "No data" |
| 405 | wrong method; `allow` names the right ones | (gpg uses none) |
| 501 | unknown `op`, words switched off, words too short | "Not implemented" |

501 for words that are too short, and not 400: for most errors gpg prints `key "ab" not found on keyserver`,
which is not true; 501 is the one that tells its user "not that kind of search" (HKP.md section 3).
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from proxy.hkp.canonical import BadTarget, decode_path, decode_query, encode_target
from proxy.hkp.classes import PRICES, REFUSED_PRICE, UNKNOWN_LOOKUP_PRICE, VINDEX_PRICE, OperationClass
from proxy.hkp.common import common_get
from proxy.hkp.endpoints import LOOKUP, READS, SEARCH_PARAMETERS, Route, find_route
from proxy.hkp.mail import ADDRESS_FIELDS
from proxy.hkp.recon import BadQuery, hget_digest
from proxy.hkp.terms import longest_word_bytes, read_term
from proxy.hkp.traps import is_trap

__all__ = ["BadTarget", "Classifier", "ClassifierOptions", "Operation", "OperationClass"]

# Files and folders of the front pages of Hockeypuck and Hagrid. None of them searches, uploads or sends mail:
# pages that do are endpoints (endpoints.py), which come first.
STATIC_PREFIXES = ("/about", "/assets", "/atom.xml", "/css", "/errors", "/fonts", "/images", "/js", "/static")

_READ_METHODS = ("GET", "HEAD")
_SEARCHING = frozenset({"get", "index", "vindex"})
_CERT = OperationClass.CERT
_CERT_PRICE = PRICES[_CERT]
# What some servers take from the query as well as from the body, where it is read before they hear of it.
_KEYS = frozenset({"keytext"})
_NOTHING: frozenset[str] = frozenset()
_IN_THE_BODY = {OperationClass.UPLOAD: _KEYS, OperationClass.ADMIN: _KEYS, OperationClass.MAIL: ADDRESS_FIELDS}


class Operation(NamedTuple):
    """One classified request.

    Args:
        kind: Its class, and the index of its limit.
        subject: What is asked for, one text for all spellings: the digits of a fingerprint or key id, an
            identity in lower case, words, a WKD digest, a date; empty if nothing is.
        price: Tokens of the total limit, 0 or more; one is a get by fingerprint.
        target: Canonical origin-form, ASCII; send exactly this upstream.
        refusal: 0, or the status with which the request is refused without asking the upstream.
        allow: With 405, the value of the `Allow` field.
        trap: No client of a keyserver asks for this path.

    """

    kind: OperationClass
    subject: str
    price: int
    target: bytes
    refusal: int = 0
    allow: str = ""
    trap: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierOptions:
    """What an operator may choose about operations.

    Args:
        pass_unknown: Forward unknown paths and lookups with an unknown `op`, else 404 and 501.
        word_search: Serve searches by words, else 501.
        word_min_chars: A search whose longest word is shorter is refused with 501; counted in bytes of UTF-8.
        static_prefixes: Files and folders that are served as pages: `/about` is itself and all below it.
        trap_prefixes: Unknown paths that begin so, in any case, are traps; see traps.py.

    Raises:
        ValueError: a prefix that is "/" or not spelled in the canonical way: it would match all or nothing.

    """

    pass_unknown: bool = False
    word_search: bool = True
    word_min_chars: int = 3
    static_prefixes: tuple[str, ...] = STATIC_PREFIXES
    trap_prefixes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the prefixes."""
        for prefix in self.static_prefixes:
            if not prefix.startswith("/") or prefix == "/" or decode_path(prefix) != prefix:
                raise ValueError(f"static prefix {prefix!r} is not a plain path below /")


class Classifier:
    """Classifies requests by the tables of endpoints.py; immutable, one for a process."""

    __slots__ = ("_options", "_static_folders", "_trap_prefixes")

    def __init__(self, options: ClassifierOptions) -> None:
        """Take the options, which have checked themselves."""
        self._options = options
        self._static_folders = tuple(prefix.rstrip("/") + "/" for prefix in options.static_prefixes)
        self._trap_prefixes = tuple(prefix.lower() for prefix in options.trap_prefixes)

    def __call__(self, method: str, target: str) -> Operation:
        """Classify one request.

        Args:
            method: As sent; methods are case-sensitive.
            target: Origin-form: starts with "/", visible ASCII only.

        Raises:
            BadTarget: the target has no canonical form.

        """
        if digits := common_get(method, target):
            return Operation(_CERT, digits, _CERT_PRICE, target.encode())
        raw_path, _, query = target.partition("?")
        parameters = decode_query(query)
        options = parameters.get("options", "mr")
        if not options.isalnum():
            parameters["options"] = ",".join(filter(None, map(str.strip, options.split(","))))
        path = decode_path(raw_path)
        name = path.rstrip("/").lower()
        if name == LOOKUP:
            return self._lookup(method, parameters)
        if name in SEARCH_PARAMETERS:
            return self._search(method, name, parameters)
        route = find_route(path)
        if route is None or not (route.methods or method == "OPTIONS"):
            route = self._static_route(path)
        return self._routed(method, route, parameters) if route else self._unknown(path, parameters)

    def _lookup(self, method: str, parameters: dict[str, str]) -> Operation:
        op = parameters.get("op", "")
        if op not in _SEARCHING and op:
            parameters["op"] = op = op.strip().lower()
        if op in _SEARCHING or method not in _READ_METHODS:
            return self._search(method, LOOKUP, parameters)
        if op == "stats":
            return _accepted(OperationClass.STATS, "", LOOKUP, parameters)
        if op == "hget":
            return _hget(parameters)
        target = encode_target(LOOKUP, parameters)
        if self._options.pass_unknown:
            return Operation(OperationClass.UNKNOWN, "", UNKNOWN_LOOKUP_PRICE, target)
        return Operation(OperationClass.UNKNOWN, "", REFUSED_PRICE, target, HTTPStatus.NOT_IMPLEMENTED)

    def _search(self, method: str, path: str, parameters: dict[str, str]) -> Operation:
        if method not in _READ_METHODS:
            return _other_method(method, path, _READ_METHODS, parameters)
        name = SEARCH_PARAMETERS[path]
        kind, subject, text = read_term(parameters.get(name, ""))
        refusal = self._word_refusal(text) if kind is OperationClass.WORDS else 0
        if text:
            parameters[name] = text
        target = encode_target(path, parameters)
        if refusal:
            return Operation(kind, subject, REFUSED_PRICE, target, refusal)
        price = PRICES[kind]
        if path == LOOKUP and parameters["op"] == "vindex":
            price = max(price, VINDEX_PRICE)
        return Operation(kind, subject, price, target)

    def _word_refusal(self, text: str) -> int:
        if not text:
            return HTTPStatus.BAD_REQUEST
        if not self._options.word_search or longest_word_bytes(text) < self._options.word_min_chars:
            return HTTPStatus.NOT_IMPLEMENTED
        return 0

    def _routed(self, method: str, route: Route, parameters: dict[str, str]) -> Operation:
        kind = route.methods.get(method)
        if kind is None:
            return _other_method(method, route.path, tuple(route.methods), parameters)
        refusal = route.refusal or (self._word_refusal(route.words) if route.words else 0)
        if not _IN_THE_BODY.get(kind, _NOTHING).isdisjoint(map(str.lower, parameters)):
            refusal = HTTPStatus.BAD_REQUEST
        if refusal:
            target = encode_target(route.path, parameters)
            return Operation(kind, route.subject, REFUSED_PRICE, target, refusal)
        return _accepted(kind, route.subject, route.path, parameters)

    def _static_route(self, path: str) -> Route | None:
        is_static = (path + "/").startswith(self._static_folders)
        return Route(path, READS[OperationClass.STATIC]) if is_static else None

    def _unknown(self, path: str, parameters: dict[str, str]) -> Operation:
        target = encode_target(path, parameters)
        trap = is_trap(path, self._trap_prefixes)
        refusal = 0 if self._options.pass_unknown else HTTPStatus.NOT_FOUND
        return Operation(OperationClass.UNKNOWN, "", PRICES[OperationClass.UNKNOWN], target, refusal, trap=trap)


def _accepted(kind: OperationClass, subject: str, path: str, parameters: dict[str, str]) -> Operation:
    return Operation(kind, subject, PRICES[kind], encode_target(path, parameters))


def _hget(parameters: dict[str, str]) -> Operation:
    """Classify a lookup of a certificate by its digest: for peers, and the same for everyone."""
    try:
        parameters["search"] = digest = hget_digest(parameters.get("search", ""))
    except BadQuery as bad:
        return Operation(OperationClass.SYNC, "", REFUSED_PRICE, encode_target(LOOKUP, parameters), bad.status)
    return _accepted(OperationClass.SYNC, digest, LOOKUP, parameters)


def _other_method(method: str, path: str, allowed: tuple[str, ...], parameters: dict[str, str]) -> Operation:
    """Classify a method that the endpoint does not name: OPTIONS asks what there is (CORS), others err."""
    target = encode_target(path, parameters)
    if method == "OPTIONS":
        return Operation(OperationClass.STATIC, "", PRICES[OperationClass.STATIC], target)
    allow = ", ".join((*allowed, "OPTIONS"))
    return Operation(OperationClass.UNKNOWN, "", REFUSED_PRICE, target, HTTPStatus.METHOD_NOT_ALLOWED, allow)
