"""The canonicaliser and classifier: one canonical form, which means the same when it is read again."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from proxy.hkp.canonical import MAX_TARGET_BYTES, BadTarget
from proxy.hkp.operation import Classifier, ClassifierOptions
from tests.fuzz.corpora import files, gunicorn, llhttp_requests
from tests.fuzz.target import ACCEPTED, REFUSED, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 300
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE")
CLASSIFIERS = (
    Classifier(ClassifierOptions()),
    Classifier(ClassifierOptions(pass_unknown=True, word_search=False, static_prefixes=("/about", "/a/b"))),
)
INVISIBLE = re.compile(rb"[^!-\"$-~]+")
CANONICAL = re.compile(rb"/(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})*(?:\?(?:[A-Za-z0-9._~=&-]|%[0-9A-F]{2})*)?")


def check(data: bytes) -> str:
    """Take the first byte for method and options, the rest for the target."""
    choice = data[0] if data else 0
    method, classify = METHODS[choice % len(METHODS)], CLASSIFIERS[choice >> 7]
    target = "/" + INVISIBLE.sub(b"", data[1:]).decode("ascii").removeprefix("/")
    try:
        found = classify(method, target)
    except BadTarget:
        return REFUSED
    canonical = found.target
    assert len(canonical) <= MAX_TARGET_BYTES
    assert CANONICAL.fullmatch(canonical)
    assert not {b"..", b"."} & set(canonical.partition(b"?")[0].split(b"/"))
    assert b"%00" not in canonical
    assert found.price >= 0
    found.subject.encode()
    again = classify(method, canonical.decode("ascii"))
    assert again == found
    return str(found.refusal or ACCEPTED)


def seeds() -> Iterator[bytes]:
    """Yield targets of real clients, of the corpora, and of each endpoint."""
    targets = list(OWN)
    for path, content in files().items():
        if path.startswith("hkp_clients/trace"):
            heads = (json.loads(line).get("head", "").split(" ") for line in content.splitlines())
            targets += (head[1].encode("latin-1") for head in heads if len(head) > 1)
    for case in (*dict(gunicorn()).values(), *dict(llhttp_requests()).values()):
        targets += (asked.target.encode("latin-1", "replace") for asked in case.asked or ())
    for number, target in enumerate(targets):
        yield bytes([number % len(METHODS) | number % 2 << 7]) + target


FPR = b"740D7FE2AB3143E86C8FD12300186602339240CB"
OWN = (
    b"/pks/lookup?op=get&options=mr&search=0x" + FPR + b"&exact=on",
    b"/pks/lookup?op=vindex&search=alice%40example.org&fingerprint=on", b"/pks/lookup?op=stats",
    b"/pks/lookup?op=hget&search=0123456789abcdef", b"/pks/lookup?op=x-own&search=a",
    b"/pks/lookup?search=0x00186602339240CB&op=index", b"/pks/add", b"/pks/hashquery", b"/pks/replace",
    b"/pks/v2/certs/by-vfingerprint/04" + FPR, b"/pks/v2/certs/by-vfingerprint/04/" + FPR,
    b"/pks/v2/certs/by-keyid/00186602339240CB", b"/pks/v2/certs/by-identity/a%40b.c", b"/pks/v2/index/a@b.c",
    b"/pks/v2/prefixlog/2024-01-01", b"/pks/v2/canonical/a@b.c", b"/vks/v1/by-fingerprint/" + FPR,
    b"/vks/v1/by-email/a%40b.c", b"/.well-known/openpgpkey/example.org/hu/iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=a",
    b"/.well-known/openpgpkey/policy", b"/search?q=a@b.c", b"/s/0x" + FPR, b"/d/alice", b"/manage/token",
    b"/about/../x", b"/index.html", b"//pks/./lookup?op=get", b"/pks%2Flookup?op=%67et", b"/.env", b"/wp-login.php",
    b"*",
)  # fmt: skip
WORDS = (
    b"/pks/lookup", b"/pks", b"/lookup", b"?", b"&", b"=", b"op=", b"get", b"index", b"vindex", b"search=",
    b"options=mr", b"exact=on", b"fingerprint=", b"0x", FPR, FPR.lower(), FPR[24:], FPR[:32], b"%40", b"@", b"+",
    b"%20", b"%2F", b"%2f", b"%5C", b"%00", b"%", b"%%", b"%G0", b"%C3%A9", b"%FF", b"%E2%80%A8", b"%C2%85",
    b"%C5%BF", b"%E2%84%AA", b"%C4%B0", b"..", b"/../", b"/./", b"//", b"\\", b";", b"<", b">", b"%3C", b"%3E",
    b"a@b.c", b"by-", b"/hu/", b"/.well-known/", b"openpgpkey", b"%09", b"%0A", b"%0D", b"%7F", b"%1C", b"OP=",
    b"Search=", b"%6F%70=", b"q=", b"mr,nm", b"%2C", b",", b"\x04/", b"\x80/", b"%ED%A0%80", b"%F0%9F%94%91", b"hget",
    b"stats", b"/search", b"/vks/v1/", b"/manage/",
)  # fmt: skip
TARGET = Target(check, seeds, WORDS, LONGEST, share=6)
