"""One spelling of a request target, so that the guard and the keyserver read the same request.

Servers disagree about the same bytes: Hockeypuck takes the first of two equal parameters, Hagrid the last;
Go refuses `;` in a query, others split at it; `/pks/%6cookup` and `/pks%2Flookup` are `/pks/lookup` to
Hockeypuck; a CGI program written in C ends a string at `%00`. A limiter that looks at the raw text is evaded
by each of these (HKP.md 0.10).

So the target is decoded exactly once, what two programs could read in two ways is removed or refused, and it
is written again in one way: unreserved characters (RFC 3986) as they are, every other octet as upper-case
`%XX`. This canonical form is what goes upstream, and decoding it again gives the same text.

Text inside is `str` with surrogate escapes: octets that are no UTF-8 come back as they were.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

MAX_PARAMETERS = 64
MAX_TARGET_BYTES = 8192

# The order in which the parameters that keyservers know are written; all others follow as they came.
ORDER = ("op", "options", "search", "exact", "fingerprint", "hash")

_FORBIDDEN_IN_PATH = re.compile(r"[\x00-\x1f\x7f\\]")
_RESERVED = re.compile(r"[^A-Za-z0-9._~-]")
_ESCAPES = {octet: f"%{octet:02X}" for octet in range(128) if _RESERVED.match(chr(octet))}
_RESERVED_IN_PATH = re.compile(r"[^A-Za-z0-9._~/-]")


class BadTarget(ValueError):
    """The client's fault, answered with 400; the text tells why and repeats nothing of the request."""


def percent_decode(text: str) -> str:
    """Decode `%XX` once.

    Args:
        text: ASCII.

    Raises:
        BadTarget: an escape without two hexadecimal digits, or an escaped NUL.

    """
    if "%" not in text:
        return text
    # Python's own escapes, `\xNN`, are as strict and are read in C: 55 us for 8 KB of escapes, by parts 400
    escapes = text.replace("\\", r"\x5c").replace("%", r"\x").encode("ascii")
    try:
        octets = escapes.decode("unicode_escape")
    except UnicodeDecodeError:
        raise BadTarget("bad percent escape") from None
    if "\0" in octets:
        raise BadTarget("NUL character")
    return octets.encode("latin-1").decode("utf-8", "surrogateescape")


def decode_path(raw: str) -> str:
    """Decode a path, collapse `//` and resolve dot segments (RFC 3986, 5.2.4; `..` at the root stays there).

    An escaped slash is a slash: Hockeypuck routes so, and a server that does not gets it plain.

    Args:
        raw: ASCII that starts with "/".

    Raises:
        BadTarget: a bad escape, a control character or a backslash.

    """
    path = percent_decode(raw)
    if _FORBIDDEN_IN_PATH.search(path):
        raise BadTarget("control character or backslash in the path")
    return _resolved(path) if "//" in path or "/." in path else path


def _resolved(path: str) -> str:
    segments = path.split("/")
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(segment)
    folder = kept and segments[-1] in {"", ".", ".."}
    return "/" + "/".join(kept) + ("/" if folder else "")


def decode_query(raw: str) -> dict[str, str]:
    """Decode a query into its parameters, in the order in which they came; of equal names the first wins.

    Only `&` separates; `+` is a space; known names are matched without regard to case. `name` is `name=`.

    Args:
        raw: ASCII, without the "?".

    Raises:
        BadTarget: a bad escape, a NUL, or more than MAX_PARAMETERS.

    """
    if raw.count("&") >= MAX_PARAMETERS:
        raise BadTarget("too many parameters")
    parameters: dict[str, str] = {}
    for piece in raw.split("&"):
        if not piece:
            continue
        name, _, value = piece.partition("=")
        if "%" in piece or "+" in piece:
            name = percent_decode(name.replace("+", " "))
            value = percent_decode(value.replace("+", " "))
        if name not in ORDER and name.lower() in ORDER:
            name = name.lower()
        if name not in parameters:
            parameters[name] = value
    return parameters


def encode(text: str) -> str:
    """Escape everything but unreserved characters."""
    if not _RESERVED.search(text):
        return text
    # As `quote` does, in half of the time.
    return text.translate(_ESCAPES) if text.isascii() else quote(text, safe="", errors="surrogateescape")


def encode_target(path: str, parameters: Mapping[str, str]) -> bytes:
    """Write the canonical target.

    Args:
        path: Decoded, starts with "/", no dot segments.
        parameters: Decoded.

    Raises:
        BadTarget: longer than MAX_TARGET_BYTES. Escaping can make a target three times as long, so this is
            checked on what the upstream must read, and not on what came.

    """
    target = quote(path, errors="surrogateescape") if _RESERVED_IN_PATH.search(path) else path
    if parameters:
        pieces = [f"{name}={encode(parameters[name])}" for name in ORDER if name in parameters]
        if len(pieces) < len(parameters):
            pieces += [f"{encode(name)}={encode(parameters[name])}" for name in parameters if name not in ORDER]
        target = f"{target}?{'&'.join(pieces)}"
    if len(target) > MAX_TARGET_BYTES:
        raise BadTarget("target too long")
    return target.encode("ascii")
